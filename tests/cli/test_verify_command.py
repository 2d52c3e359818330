"""`cutover verify` as a reader runs it: a table, an exit code, each reason with its place, and the same as JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cutover.cli.group import cli
from cutover.model import ExitCode
from cutover.record import again
from cutover.record.keys import SigningKey
from tests.record.whole_record import ID, WholeRecord

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


@pytest.fixture(scope="module")
def handed_over(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a sealed record and the trust root, and nothing else."""
    folder = tmp_path_factory.mktemp("reader")
    key = SigningKey.make("Release engineering")
    with pytest.MonkeyPatch.context() as patched:
        record = WholeRecord(folder / ID, patched)
        record.run()
        record.seal(key)
    key.trust_root(notice="for a test").save(folder / "root.json")
    return folder


@pytest.fixture
def spoilt(handed_over: Path, tmp_path: Path) -> Path:
    """Return a copy whose verdict was edited."""
    shutil.copytree(handed_over, tmp_path / "copy")
    path = tmp_path / "copy" / ID / again.VERDICT
    path.write_bytes(path.read_bytes().replace(b'"PASSED"', b'"FAILED"', 1))
    return tmp_path / "copy"


def ran(folder: Path, *more: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["verify", str(folder / ID), "--trust-root", str(folder / "root.json"), *more])


def test_a_record_that_holds_is_said_to_hold(handed_over: Path) -> None:
    done = ran(handed_over)
    assert done.exit_code == ExitCode.PASSED, done.output
    assert "VERIFIED in" in done.output
    assert "notice   for a test" in done.output
    assert "signed by Release engineering" in done.output
    assert "FAIL" not in done.output


def test_a_record_that_was_changed_is_said_to_be_so_with_file_and_field(spoilt: Path) -> None:
    done = ran(spoilt)
    assert done.exit_code == ExitCode.FAILED
    assert 'FAIL  verdict.json, result: it says "FAILED", the journal gives "PASSED"' in done.output
    assert "NOT VERIFIED" in done.output
    assert "do not rely on this record" in done.output


def test_the_same_as_json(handed_over: Path, spoilt: Path) -> None:
    good = json.loads(ran(handed_over, "--json").stdout)
    assert (good["schema"], good["verified"], good["result"]) == ("cutover/verified/v1", True, "PASSED")
    assert all(check["holds"] for check in good["checks"])
    bad = ran(spoilt, "--json")
    assert bad.exit_code == ExitCode.FAILED
    reasons = [reason for check in json.loads(bad.stdout)["checks"] for reason in check["reasons"]]
    assert {"file": "verdict.json", "where": "result", "code": "verdict-differs"}.items() <= reasons[1].items()


def test_in_an_empty_folder_without_a_network_and_without_colour_where_none_is_wanted(handed_over: Path) -> None:
    """As an auditor has it: another working folder, another home, no proxy, the two things that were handed over."""
    command = [sys.executable, "-m", "cutover.cli", "verify", ID, "--trust-root", "root.json"]
    settings = {"PATH": os.environ["PATH"], "HOME": str(handed_over), "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=handed_over, env=settings, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("record", "root", "said"),
    [
        ("absent", "root.json", "holds no record"),
        (ID, "absent.json", "trust root"),
        (ID, f"{ID}/seal.json", "trust root"),
    ],
)
def test_what_cannot_be_read_is_wrong_input(handed_over: Path, record: str, root: str, said: str) -> None:
    arguments = ["verify", str(handed_over / record), "--trust-root", str(handed_over / root)]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert said in done.output
