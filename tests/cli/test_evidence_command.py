"""`cutover evidence`: what is said of a difference, exit codes, and wrong input; the rest is tried on a real site."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cutover import project
from cutover.cli import progress
from cutover.cli.group import cli
from tests.cli.test_cli import ENVIRONMENT
from tests.evidence.world import World, item, trust_file

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """Return the snapshot of a site of twelve items."""
    return World.of(3).snapshot(tmp_path / "before")


def run(*arguments: object) -> Result:
    return CliRunner(env=ENVIRONMENT).invoke(cli, ["evidence", *map(str, arguments)])


@pytest.mark.parametrize("command", ["snapshot", "diff", "verify"])
def test_every_command_explains_itself_with_an_example(command: str):
    done = run(command, "--help")
    assert done.exit_code == 0
    assert f"cutover evidence {command}" in done.output


def test_two_snapshots_of_a_site_that_grew_do_not_differ(before: Path, tmp_path: Path):
    done = run("diff", before, World.of(4).snapshot(tmp_path / "after"))
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "before 12 = 12 unchanged + 0 changed + 0 missing",
        "after  16 = 12 before - 0 missing + 4 added",
    ]


def test_a_difference_names_each_item_and_what_changed(before: Path, tmp_path: Path):
    world = World.of(3)
    world.objects[world.rows[5].object_key] += b"!"
    world.rows[2] = replace(world.rows[2], media_type="text/plain")
    del world.rows[11]
    after = world.snapshot(tmp_path / "after")
    done = run("diff", before, after)
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[0] == "before 12 = 9 unchanged + 2 changed + 1 missing"
    assert lines[2] == f"changed  {item(2)}  attestation  media_type application/x-attestation → text/plain"
    assert lines[3].startswith(f"changed  {item(5)}  sbom  size_bytes ")
    assert lines[4] == f"missing  {item(11)}  bundle"
    document = json.loads(run("diff", before, after, "--json").stdout)
    assert (document["changed"], document["missing"], len(document["items"])) == (2, 1, 3)


def test_a_folder_that_is_no_snapshot_or_was_changed_is_one_clear_error(before: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    done = run("diff", before, tmp_path / "empty")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == "ERROR: empty cannot be used: snapshot-malformed"
    path = before / "lines.jsonl"
    path.write_bytes(path.read_bytes().replace(b"oci-manifest", b"oci-Manifest"))
    done = run("diff", before, before)
    assert done.exit_code == 2
    assert "lines.jsonl cannot be used: snapshot-altered" in done.stderr


def test_a_baseline_of_nothing_proves_nothing(before: Path, tmp_path: Path):
    done = run("diff", World().snapshot(tmp_path / "empty"), before)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "evidence-empty" in done.stderr


def test_ctrl_c_is_no_verdict(monkeypatch: pytest.MonkeyPatch, before: Path):
    """Exit code 1 would say that evidence was lost."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cutover.evidence.diff.compare", stop)
    done = run("diff", before, before)
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.splitlines() == [
        "a pass that has a folder goes on where it was when the same command is given again",
        "INTERRUPTED: nothing is decided",
    ]


def test_a_target_without_its_trust_root_is_said_before_anything_is_asked(tmp_path: Path):
    target = project.CONTRACT / "examples" / "target.toml"
    for arguments in (("snapshot", "--out", tmp_path / "s"), ("verify", "--baseline", tmp_path)):
        done = run(arguments[0], "--target", target, *arguments[1:])
        assert done.exit_code == 2
        assert "names a trust root that is not there" in done.stderr
    assert not (tmp_path / "s").exists()


def test_a_site_that_does_not_answer_could_not_be_measured(tmp_path: Path):
    text = (project.CONTRACT / "examples" / "target.toml").read_text("utf-8")
    (tmp_path / "target.toml").write_text(text, encoding="utf-8")
    (tmp_path / "trust.json").write_bytes(trust_file())
    dsn = {"STELLA_DSN": "postgresql://stella:data-pass@127.0.0.1:1/stellaops"}
    arguments = ["evidence", "snapshot", "--target", str(tmp_path / "target.toml"), "--out", str(tmp_path / "s")]
    done = CliRunner(env=ENVIRONMENT | dsn).invoke(cli, arguments)
    assert done.exit_code == 3
    assert done.stderr.startswith("ERROR: the database at 127.0.0.1:1 does not answer")


def test_progress_says_items_bytes_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Away from a terminal: one line each five seconds, on the error stream."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.shown("evidence", 2000) as told:
        for items in (500, 600, 1000):  # 500 were there from before an interruption
            told(items, items * 4096)
            now[0] += 4.0
    assert capsys.readouterr().err == "evidence: 1,000 of 2,000 items, 4 MiB, 62 items/s, 16 s left\n"
