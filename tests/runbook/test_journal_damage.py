"""The damage matrix: whatever happens to a journal's file is found, with its line.

Rows: one bit, a line dropped, repeated, brought in or written anew, two lines swapped, the file cut at any byte. Each
is looked for with the file alone, and with what somebody else knows of its end: the Lease, or the record's own verdict.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cutover.cli.journal import journal as command
from cutover.clock import ManualClock
from cutover.errors import JournalBroken
from cutover.runbook import records
from cutover.runbook.journal import Journal
from cutover.site.lock import Held

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINES = 6
RECORD = "2027-01-02-0304"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A journal that nobody touched: its file, and its end as others know it."""

    path: Path
    content: bytes
    lease: Held

    @property
    def lines(self) -> list[bytes]:
        """The lines, each with its end."""
        return self.content.splitlines(keepends=True)

    def found_at(self, content: bytes, *, with_lease: bool) -> int:
        """Put content in its place and return the line, from 1, at which it is found to be damaged; 0 when it is not.

        As `resume` does it: half a line at the end is what a killed process leaves, and is no damage.
        """
        self.path.write_bytes(content)
        try:
            entries, _ = Journal.read(self.path)
            if with_lease:
                self.lease.require_journal(RECORD, entries)
        except JournalBroken as broken:
            return int(broken.facts["line"])
        return 0


def _lease(length: int, head: str) -> Held:
    return Held(
        identity="somebody@somewhere pid 1",
        operator="somebody",
        host="somewhere",
        pid=1,
        process="",
        record=RECORD,
        since=None,
        renewed=None,
        duration_s=15,
        fence=1,
        journal_length=length,
        journal_head=head,
        token="",
    )


@pytest.fixture
def known(tmp_path: Path) -> Known:
    """Return a journal with every type that JSON has, and numbers that can be written in two ways."""
    folder = tmp_path / RECORD
    folder.mkdir()
    made = Journal(folder / "journal.jsonl", clock=ManualClock())
    made.write("run_started", upgrade_id=RECORD, strategy="gradual", target={"name": "x"})
    made.write("intent", clause="3.1a", action="shift", percent=10)
    made.write("done", clause="3.1a", action="shift", percent=10, duration_s=1e-07)
    made.write("share", clause="3.1a", low=0.0848, total=5410, high=1e22, words='ü\u2028 \\ / "')
    made.write("gate", clause="3.1a", result=None, tiny=2.5e-9, sound=True, raw=["1e5", -0.0])
    made.write("clause_finished", clause="3.1a", result="PASS")
    assert len(made) == LINES
    lease = _lease(len(made), made.head)
    made.close()
    return Known(path=made.path, content=made.path.read_bytes(), lease=lease)


def _line_of(content: bytes, position: int) -> int:
    """Return the line, from 1, that a byte belongs to; the end of a line belongs to it."""
    return content[:position].count(b"\n") + 1


def test_what_nobody_touched_is_sound(known: Known) -> None:
    assert known.found_at(known.content, with_lease=False) == 0
    assert known.found_at(known.content, with_lease=True) == 0


@pytest.mark.timeout(120)
def test_one_bit_anywhere_is_found_in_its_line(known: Known) -> None:
    """Every bit of the two lines with every type in them, and one of each byte elsewhere, the ends of lines too.

    The last byte of all is left out: without it the last line is half written, see the cuts below.
    """
    rich = len(b"".join(known.lines[:3])), len(b"".join(known.lines[:5]))
    for position in range(len(known.content) - 1):
        is_rich = rich[0] <= position < rich[1]
        for bit in range(8) if is_rich else (position % 8,):
            _flip(known, position, bit)


def _flip(known: Known, position: int, bit: int) -> None:
    damaged = bytearray(known.content)
    damaged[position] ^= 1 << bit
    found = known.found_at(bytes(damaged), with_lease=False)
    assert found == _line_of(known.content, position), f"byte {position}, bit {bit}"


@pytest.mark.parametrize("bit", range(8))
def test_one_bit_of_the_very_end_is_found_with_the_lease(known: Known, bit: int) -> None:
    damaged = known.content[:-1] + bytes([known.content[-1] ^ (1 << bit)])
    assert known.found_at(damaged, with_lease=True) == LINES


@pytest.mark.parametrize("dropped", range(LINES))
def test_a_dropped_line_is_found_where_it_was(known: Known, dropped: int) -> None:
    lines = known.lines
    damaged = b"".join(lines[:dropped] + lines[dropped + 1 :])
    is_last = dropped == LINES - 1
    assert known.found_at(damaged, with_lease=False) == (0 if is_last else dropped + 1)
    assert known.found_at(damaged, with_lease=True) == dropped + 1


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(range(LINES), 2)))
def test_two_swapped_lines_are_found_at_the_first(known: Known, one: int, other: int) -> None:
    lines = known.lines
    lines[one], lines[other] = lines[other], lines[one]
    assert known.found_at(b"".join(lines), with_lease=False) == one + 1


@pytest.mark.parametrize("repeated", range(LINES))
def test_a_repeated_line_is_found(known: Known, repeated: int) -> None:
    lines = known.lines
    damaged = b"".join([*lines[: repeated + 1], *lines[repeated:]])
    assert known.found_at(damaged, with_lease=False) == repeated + 2


def test_a_file_that_was_cut_is_found_by_its_known_end_at_every_byte(known: Known) -> None:
    """By the file alone a cut is what a kill leaves: whole lines, and half of one that nothing was done after."""
    for size in range(len(known.content)):
        cut = known.content[:size]
        whole = cut.count(b"\n")
        assert known.found_at(cut, with_lease=False) == 0, size
        assert known.found_at(cut, with_lease=True) == whole + 1, size
        if not cut.endswith(b"\n") and cut:
            with pytest.raises(JournalBroken) as raised:
                Journal.verify(known.path)
            assert raised.value.facts["line"] == whole + 1


def test_half_a_line_after_the_known_end_is_no_damage_and_is_cut_off(known: Known) -> None:
    for size in range(1, len(known.lines[0]) - 1):
        torn = known.content + known.lines[0][:size]
        assert known.found_at(torn, with_lease=True) == 0
        assert Journal.mend(known.path) == size
        assert known.path.read_bytes() == known.content


def _chained_anew(known: Known, at: int, change: Callable[[str], str]) -> bytes:
    """Return the file that somebody makes who changes a line and writes every digest after it anew."""
    other = known.path.with_name("anew.jsonl")
    other.unlink(missing_ok=True)
    made = Journal(other, clock=ManualClock())
    for number, raw in enumerate(known.lines):
        line = json.loads(change(raw.decode()) if number == at else raw)
        made.write(line["event"], clause=line["clause"], **line["data"])
    made.close()
    return other.read_bytes()


@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_journal_that_was_written_anew_is_found_by_its_known_end_alone(known: Known, at: int) -> None:
    damaged = _chained_anew(known, at, lambda line: line.replace("3.1a", "3.1d"))
    assert damaged != known.content
    assert known.found_at(damaged, with_lease=False) == 0
    assert known.found_at(damaged, with_lease=True) == LINES
    assert known.found_at(_chained_anew(known, at, str), with_lease=True) == 0


def test_a_line_of_another_journal_is_found(known: Known) -> None:
    anew = _chained_anew(known, 0, lambda line: line.replace("gradual", "instant")).splitlines(keepends=True)
    for number in range(1, LINES):
        lines = known.lines
        lines[number] = anew[number]
        assert known.found_at(b"".join(lines), with_lease=False) == number + 1


def test_a_journal_that_went_on_since_the_lease_was_written_is_sound(known: Known) -> None:
    known.path.write_bytes(known.content)
    more = Journal(known.path, clock=ManualClock())
    more.write("weight", clause="3.1b", percent=25)
    more.close()
    assert known.found_at(known.path.read_bytes(), with_lease=True) == 0


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda lines: lines[:2] + lines[3:], 3),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 2),
        (lambda lines: [*lines[:4], lines[4].replace(b"2.5e-09", b"2.5E-09"), *lines[5:]], 5),
    ],
)
def test_a_damaged_journal_is_neither_written_to_nor_gone_on_with(
    known: Known, damage: Callable[[list[bytes]], list[bytes]], line: int
) -> None:
    known.path.write_bytes(b"".join(damage(known.lines)))
    for open_it in (Journal, lambda path: records.read(path.parent)):
        with pytest.raises(JournalBroken) as raised:
            open_it(known.path)
        assert raised.value.facts["line"] == line
    said = CliRunner().invoke(command, ["verify", str(known.path.parent)])
    assert isinstance(said.exception, JournalBroken)
    assert f"line {line} of journal.jsonl" in str(said.exception)


def test_the_records_own_verdict_finds_a_journal_that_ends_too_early(known: Known) -> None:
    head = json.loads(known.lines[-1])["digest"]
    sealed = {"journal": {"entries": LINES, "head": head}}
    (known.path.parent / "verdict.json").write_text(json.dumps(sealed))
    for kept in range(1, LINES + 1):
        known.path.write_bytes(b"".join(known.lines[:kept]))
        said = CliRunner().invoke(command, ["verify", str(known.path.parent)])
        if kept == LINES:
            assert said.exit_code == 0, said.output
            continue
        assert isinstance(said.exception, JournalBroken)
        assert said.exception.facts["line"] == kept
