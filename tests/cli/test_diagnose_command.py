"""`cutover diagnose`: its exit codes, its words and its document, of a site that a test made up."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cutover import project, site
from cutover.cli.diagnose import diagnose
from cutover.clock import ManualClock
from cutover.procedures import examination, support
from cutover.procedures.examination import Sight, SiteExamined, Trouble
from cutover.runbook.causes import Diagnosis
from cutover.runbook.diagnosis import Examined
from cutover.runbook.support_archive import LeftOut, Written
from cutover.target import Target

if TYPE_CHECKING:
    from pathlib import Path

TARGET = str(project.CONTRACT / "examples" / "target.toml")
GOOD = Sight(part="database", is_good=True, said="stellaops")
BAD = Sight(part="public host", is_good=False, said="of 20 requests: failed 20 (status 502)")
SILENT = Sight(part="metrics", is_good=None, said="Prometheus does not answer")
ROW = Trouble(
    where="green", diagnosis=Diagnosis(id="selector-wrong", cause="it selects nobody", remedy="verify it", clause="T.4")
)


@pytest.fixture(autouse=True)
def _target(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STELLA_DSN", "STELLA_LOG_DSN", "STELLA_ADMIN_DSN"):
        monkeypatch.setenv(name, "postgresql://u:not-a-real-one@db.example/x")
    for name in ("STELLA_BLUE_CACHE_URL", "STELLA_GREEN_CACHE_URL"):
        monkeypatch.setenv(name, "redis://cache.example:6379/0")
    for name in ("STELLA_STORE_ACCESS_KEY", "STELLA_STORE_SECRET_KEY"):
        monkeypatch.setenv(name, "some-key-of-the-store")
    monkeypatch.setattr(site, "connect", lambda _: SimpleNamespace(close=lambda: None))


def found(monkeypatch: pytest.MonkeyPatch, *sights: Sight, troubles: tuple[Trouble, ...] = ()) -> None:
    roles = Target.load(TARGET).default_roles()
    colour = Examined(
        environment=roles.blue, is_installed=True, ready_pods=3, pods=3, ready_endpoints=2, diagnosis=None
    )
    green = Examined(
        environment=roles.green, is_installed=False, ready_pods=0, pods=0, ready_endpoints=None, diagnosis=None
    )
    seen = SiteExamined(
        site="here",
        time=ManualClock().now(),
        roles=roles,
        colours=(colour, green),
        sights=sights,
        troubles=troubles,
    )
    monkeypatch.setattr(examination, "examine", lambda _: seen)


@pytest.mark.parametrize(
    ("sights", "troubles", "code", "words"),
    [
        ((GOOD,), (), 0, ("nothing is wrong", "3 of 3 pods ready", "not installed")),
        ((GOOD, BAD), (), 1, ("status 502", "no row of the table of causes fits")),
        ((GOOD, SILENT), (), 3, ("? metrics", "no row")),
        ((BAD, SILENT), (ROW,), 1, ("green: selector-wrong (T.4)", "cause  it selects nobody", "do     verify it")),
    ],
    ids=["sound", "bad", "silent", "a row"],
)
def test_exit_code_and_words(
    monkeypatch: pytest.MonkeyPatch,
    sights: tuple[Sight, ...],
    troubles: tuple[Trouble, ...],
    code: int,
    words: tuple[str, ...],
) -> None:
    found(monkeypatch, *sights, troubles=troubles)
    result = CliRunner().invoke(diagnose, ["--target", TARGET])
    assert result.exit_code == code
    assert all(word in result.output for word in words), result.output


def test_one_document(monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, GOOD, SILENT, troubles=(ROW,))
    document = json.loads(CliRunner().invoke(diagnose, ["--target", TARGET, "--json"]).stdout)
    assert (document["schema"], document["sound"]) == ("cutover/diagnosis/v1", False)
    assert document["troubles"][0]["clause"] == "T.4"
    assert [part["good"] for part in document["parts"]] == [True, None]


def test_the_archive_is_named_with_what_is_not_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found(monkeypatch, GOOD)
    path = tmp_path / "s.tar.gz"

    def write(_site: object, _found: object, given: Path, *, record: Path | None) -> Written:
        assert (given, record) == (path, tmp_path)
        left_out = (LeftOut(name="cluster", why="forbidden"),)
        return Written(path=given, size_bytes=7, sha256="0" * 64, members=(), left_out=left_out)

    monkeypatch.setattr(support, "bundle", write)
    result = CliRunner().invoke(diagnose, ["--target", TARGET, "--archive", str(path), "--record", str(tmp_path)])
    assert result.exit_code == 0
    assert "not in it: cluster: forbidden" in result.output


def test_a_record_without_an_archive_is_wrong_input() -> None:
    result = CliRunner().invoke(diagnose, ["--target", TARGET, "--record", "."])
    assert result.exit_code == 2
    assert "--record is about --archive" in result.output
