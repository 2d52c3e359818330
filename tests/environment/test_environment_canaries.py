"""Planted secrets are where a run comes past them, and one that is left behind is named without being said."""

from __future__ import annotations

import base64
import os
import time
import tomllib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from cutover import redaction
from cutover.target import Target
from rehearsal import canaries as search
from rehearsal.environment import approving, canaries, layout, sitedata, target
from rehearsal.environment.canaries import Canaries
from rehearsal.node.catalogue import platform_images
from rehearsal.node.images import build_layout

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal.environment.layout import Place


@pytest.fixture
def site(place: Place) -> Place:
    """Return a place in which the operator's files are written."""
    for name in ("signing-key.pem", "log-signing-key.pem"):
        (place.root / name).write_text("PEM\n")
    place.pki("ca.key").parent.mkdir(parents=True, exist_ok=True)
    build_layout(place.images, platform_images())
    known = sitedata.Secrets.fresh()
    known.write(place.root)
    target.write(place, known, sitedata.History())
    return place


def test_each_environment_has_its_own_and_nobody_else_may_read_them(site: Place) -> None:
    assert Canaries.fresh() != Canaries.fresh()
    assert (site.root / canaries.FILE).stat().st_mode & 0o077 == 0


def test_they_are_among_the_operators_variables_and_in_a_connection_string(site: Place) -> None:
    planted = Canaries.read(site.root)
    variables = tomllib.loads(site.target.read_text())["operator"]["environment"]
    assert variables["STELLA_REPORTING_TOKEN"] == planted.environment
    assert planted.connection not in variables["STELLA_REPORTING_URL"], "a URL escapes it"
    assert redaction.Redactor([planted.connection]).redact(variables["STELLA_REPORTING_URL"]).count("[redacted]") == 1


def test_a_run_knows_those_of_its_target_and_not_the_one_in_the_cluster(site: Place) -> None:
    planted, known = Canaries.read(site.root), Target.load(site.target).secrets()
    assert {planted.environment, planted.connection} <= set(known)
    assert planted.secret not in known
    assert planted.manifest["stringData"]["token"] == planted.secret


def test_passwords_have_characters_that_are_escaped_on_their_way() -> None:
    known = sitedata.Secrets.fresh()
    parts = urlsplit(known.dsn("stellaops"))
    assert parts.password is not None
    assert known.password not in parts.password
    assert (parts.hostname, parts.port, parts.path) == ("postgres.stella.test", 5432, "/stellaops")


def test_keys_count_by_their_lines(site: Place) -> None:
    lines = [line for line in (site.root / "approver.key").read_text().splitlines() if "-----" not in line]
    assert {canaries.planted(site)[line] for line in lines} == {"key approver.key"}
    assert "key backup.agekey" in canaries.planted(site).values()
    assert approving.PUBLIC_KEY not in str(canaries.planted(site).values())


PLANTED = ("canary environment", "canary connection", "canary secret", "site's password", "key approver.key")


@pytest.mark.parametrize("kind", PLANTED)
def test_one_that_is_left_behind_is_named_and_not_said(site: Place, tmp_path: Path, kind: str) -> None:
    secret = next(value for value, where in canaries.planted(site).items() if where == kind)
    record = tmp_path / "records" / "2026-11-23-0412"
    record.mkdir(parents=True)
    (record / "journal.jsonl").write_text(f"x {base64.b64encode(secret.encode()).decode()}\n", "utf-8")
    code, lines = search.report(site, search.left_behind(site, record.parent))
    assert (code, lines) == (search.FOUND, [f"SECRET LEFT BEHIND: {kind} in {record}/journal.jsonl"])
    assert secret not in str(lines)


def test_only_what_was_written_since_the_site_was_made_is_its_doing(site: Place, tmp_path: Path) -> None:
    secret = Canaries.read(site.root).secret
    for name, age_s in (("older", 3600), ("newer", -5)):
        folder = tmp_path / "records" / name
        folder.mkdir(parents=True)
        (folder / "journal.jsonl").write_text(secret, "utf-8")
        os.utime(folder / "journal.jsonl", (time.time() - age_s,) * 2)
    (tmp_path / "records" / "index.html").write_text("clean", "utf-8")
    os.utime(tmp_path / "records" / "index.html", (time.time() + 5,) * 2)
    found = [path.name for path in search.left_behind(site, tmp_path / "records")]
    assert found[:2] == ["index.html", "newer"]
    assert list(search.left_behind(site, tmp_path / "absent"))[0:0] == []


def test_output_that_goes_to_a_file_is_searched_too(
    site: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "out.txt").open("w", encoding="utf-8") as output:
        monkeypatch.setattr("sys.stdout", output)
        monkeypatch.setattr("sys.stderr", output)
        output.write(f"token {Canaries.read(site.root).environment}\n")
        output.flush()
        code, lines = search.report(site, search.left_behind(site, tmp_path / "absent"))
    assert code == search.FOUND
    assert lines[0] == f"SECRET LEFT BEHIND: canary environment in {tmp_path}/out.txt"


def test_anybody_may_look_through_files_of_their_choice(site: Place, tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("nothing\n", "utf-8")
    assert site.root == layout.Place.named("trial").root
    clean = CliRunner().invoke(search.main, ["--name", "trial", str(tmp_path / "log.txt")])
    assert (clean.exit_code, "in 1 files, none found" in clean.output) == (0, True)
    (tmp_path / "log.txt").write_text(Canaries.read(site.root).connection, "utf-8")
    assert CliRunner().invoke(search.main, ["--name", "trial", str(tmp_path)]).exit_code == search.FOUND
