"""Commands on the operator host: real shells, real deadlines, real process groups."""

from __future__ import annotations

import os
import subprocess
import time
from typing import IO, TYPE_CHECKING

import pytest

from cutover.errors import ClauseFailed, CouldNotMeasure, WrongInput
from cutover.redaction import Redactor
from cutover.runbook.journal import Journal
from cutover.site.operator import PRIVATE_FOLDER, Operator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "hunter2-hunter2"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.jsonl", secrets=[SECRET])
    yield journal
    journal.close()


SSH = """#!/bin/sh
# The client's contract: the last word is a line for the shell of the other side, whose exit code is handed back.
for last; do :; done
[ -e "$(dirname "$0")/unreachable" ] && { echo "no route to host" >&2; exit 255; }
exec sh -c "$last"
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an ssh client on the path whose other side is this machine; return its folder."""
    folder = tmp_path / "client"
    folder.mkdir()
    (folder / "ssh").write_text(SSH)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture(params=["local://", "ssh://operator@bastion.example"])
def operator(request: pytest.FixtureRequest, tmp_path: Path, journal: Journal, ssh: Path) -> Iterator[Operator]:
    """Return the same operator here and over ssh."""
    del ssh
    made = Operator(
        request.param,
        path=[str(tmp_path / "bin with space")],
        environment={"GREETING": "it's $HOME; `no`", "TOKEN": SECRET},
        default_timeout_s=10,
        redactor=Redactor([SECRET]),
        folder=tmp_path / "artifacts",
        journal=journal,
    )
    yield made
    made.close()


def test_an_operator_host_that_does_not_answer(ssh: Path, tmp_path: Path) -> None:
    (ssh / "unreachable").touch()
    operator = Operator("ssh://operator@bastion.example", redactor=Redactor(), folder=tmp_path / "artifacts")
    with pytest.raises(CouldNotMeasure) as caught:
        operator.run(["true"])
    assert caught.value.code == "operator-unreachable"
    assert "no route to host" in caught.value.seen


def test_words_and_environment_arrive_as_they_are(operator: Operator) -> None:
    result = operator.run(["sh", "-c", 'printf "%s|" "$GREETING" "$@"', "x", "a b", "*", "$HOME", "'", ""])
    assert result.stdout == "it's $HOME; `no`|a b|*|$HOME|'||"


def test_input_arrives_whole(operator: Operator) -> None:
    data = bytes(range(256)) * 400
    assert operator.run(["cat"], input=data).stdout_bytes == data


def test_the_targets_folders_come_first_on_the_path(operator: Operator, tmp_path: Path) -> None:
    folder = tmp_path / "bin with space"
    folder.mkdir()
    tool = folder / "stella"
    tool.write_text("#!/bin/sh\necho mine\n")
    tool.chmod(0o755)
    assert operator.run(["stella"]).stdout == "mine\n"


def test_the_environment_is_on_no_command_line(operator: Operator) -> None:
    listing = operator.run(["sh", "-c", "cat /proc/*/cmdline | tr '\\0' ' '"], check=False, quiet=True).stdout
    assert "cat" in listing
    assert SECRET not in listing


def test_transcript_and_journal_hold_the_command_and_no_secret(
    operator: Operator, journal: Journal, tmp_path: Path
) -> None:
    result = operator.run(["sh", "-c", 'echo "token $TOKEN"; echo problem >&2; exit 3', SECRET], check=False)
    assert result.exit_code == 3
    assert result.transcript is not None
    text = result.transcript.read_text()
    assert "problem" in text
    assert "exit code 3" in text
    entry = journal.last("command")
    assert entry is not None
    assert entry.data["exit_code"] == 3
    assert (tmp_path / entry.data["transcript"]).is_file()
    for path in (result.transcript, journal.path):
        assert SECRET not in path.read_text()


def test_a_failing_command_is_a_failed_clause_with_its_last_words(operator: Operator) -> None:
    with pytest.raises(ClauseFailed) as caught:
        operator.run(["sh", "-c", "echo the reason >&2; exit 4"])
    assert caught.value.code == "command-failed"
    assert caught.value.seen == "the reason"
    assert caught.value.facts["exit_code"] == 4


def test_a_missing_command_could_not_measure(operator: Operator) -> None:
    with pytest.raises(CouldNotMeasure) as caught:
        operator.run(["no-such-tool-here", "x"])
    assert caught.value.code == "command-missing"
    assert "no-such-tool-here" in caught.value.message


def test_127_of_a_command_that_exists_is_its_own(operator: Operator) -> None:
    assert operator.run(["sh", "-c", "exit 127"], check=False).exit_code == 127


@pytest.mark.parametrize("script", ["sleep 987.25 & sleep 987.5", "trap '' TERM; sleep 987.25; sleep 987.5"])
def test_a_deadline_ends_the_whole_group(operator: Operator, script: str) -> None:
    started = time.monotonic()
    with pytest.raises(CouldNotMeasure, match="timed out") as caught:
        operator.run(["sh", "-c", script], timeout_s=0.5)
    assert caught.value.code == "command-timeout"
    assert time.monotonic() - started < 8
    left = subprocess.run(["pgrep", "-f", "^sleep 987"], check=False, capture_output=True, text=True)
    assert left.stdout == ""


def test_the_private_folder_of_a_process_that_is_gone_is_removed_by_its_name(
    operator: Operator, journal: Journal
) -> None:
    folder = operator.temp
    operator.write_through(folder / "archive", lambda stream: stream.write(b"rows"))
    begun = journal.last("intent", action=PRIVATE_FOLDER)
    assert begun is not None
    assert begun.data["scratch"] == folder.name
    operator.remove_left(folder.name)
    operator.remove_left(folder.name)
    assert operator.run(["ls", str(folder)], check=False, quiet=True).exit_code != 0


def test_files_are_written_byte_for_byte_or_not_at_all(operator: Operator) -> None:
    there = operator.temp / "some file"
    data = bytes(range(256)) * 1000
    assert operator.write_through(there, lambda stream: stream.write(data)) == len(data)
    assert operator.fetch(there) == data
    assert operator.run(["stat", "-c", "%a", str(there)], quiet=True).stdout.strip() == "600"

    def broken(stream: IO[bytes]) -> None:
        stream.write(data)
        raise ValueError("half of it")

    with pytest.raises(ValueError, match="half of it"):
        operator.write_through(there, broken)
    assert operator.files(operator.temp) == ()
    with pytest.raises(CouldNotMeasure) as caught:
        operator.write_through(operator.temp / "no folder" / "file", lambda _stream: None)
    assert caught.value.code == "send-failed"


def test_files_are_fetched_byte_for_byte(operator: Operator, tmp_path: Path) -> None:
    there = operator.temp / "some file"
    data = bytes(range(256)) * 1000
    operator.run(["sh", "-c", 'cat > "$0"', str(there)], input=data)
    assert operator.fetch(there) == data
    here = operator.fetch_to(there, tmp_path / "copies" / "file")
    assert here.read_bytes() == data
    assert here.stat().st_mode & 0o777 == 0o600
    assert operator.files(operator.temp) == (there,)
    operator.close()
    with pytest.raises(CouldNotMeasure):
        operator.fetch_to(there, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_host_that_cannot_be_driven_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(WrongInput, match="docker"):
        Operator("docker://x", redactor=Redactor(), folder=tmp_path)
