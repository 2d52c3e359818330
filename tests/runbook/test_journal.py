"""The journal: its chain, what tampering looks like, actions, waits, redaction."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cutover.clock import ManualClock
from cutover.errors import ClauseFailed, JournalBroken
from cutover.model import Result
from cutover.redaction import forms
from cutover.runbook.journal import GENESIS, Entry, Journal, plain
from cutover.waiting import hold, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Return a journal of four lines."""
    made = Journal(tmp_path / "journal.jsonl", clock=ManualClock(), secrets=("hunter22",))
    made.write("run_started", upgrade_id="u")
    made.write("weight", percent=10, clause="3.1a")
    made.write("weight", percent=25, clause="3.1b")
    made.write("run_finished", result=Result.PASS)
    return made


def test_lines_are_chained_and_verified(journal: Journal) -> None:
    entries = Journal.verify(journal.path, head=journal.head)
    assert [entry.seq for entry in entries] == [0, 1, 2, 3]
    assert entries[0].previous == GENESIS
    assert [entry.previous for entry in entries[1:]] == [entry.digest for entry in entries[:-1]]
    assert entries == list(journal.entries())
    assert entries[-1].data == {"result": "PASS"}


def test_an_empty_file_is_an_empty_journal(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"")
    assert Journal.verify(tmp_path / "j", head=GENESIS) == []


def test_a_journal_goes_on_where_it_ended(journal: Journal) -> None:
    journal.close()
    again = Journal(journal.path)
    again.write("more")
    assert [entry.event for entry in Journal.verify(journal.path)][-2:] == ["run_finished", "more"]


def _edit(change: Callable[[dict[str, Any]], None], line: int) -> Callable[[list[str]], list[str]]:
    def do(lines: list[str]) -> list[str]:
        document = json.loads(lines[line])
        change(document)
        return [*lines[:line], json.dumps(document), *lines[line + 1 :]]

    return do


@pytest.mark.parametrize(
    ("tamper", "line", "part"),
    [
        (_edit(lambda d: d["data"].update(percent=99), 1), 2, "was changed"),
        (_edit(lambda d: d.update(clause="2.1a"), 2), 3, "was changed"),
        (_edit(lambda d: d.update(time="2026-01-01T00:00:00.000001Z"), 0), 1, "was changed"),
        (_edit(lambda d: d.pop("digest"), 0), 1, "was changed"),
        (_edit(lambda d: d.update(note="added"), 3), 4, "was changed"),
        (lambda lines: [lines[0], lines[2], lines[3]], 2, "does not follow"),
        (lambda lines: lines[1:], 1, "does not follow"),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], 2, "does not follow"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3, "does not follow"),
        (lambda lines: [*lines[:3], lines[3][:40]], 4, "is not a whole line"),
        (lambda lines: [*lines[:3], "[]"], 4, "is not an object"),
        (lambda lines: [*lines[:3], '{"a": NaN}'], 4, "is not a whole line"),
    ],
)
def test_a_journal_that_was_touched_is_found_with_its_line(
    journal: Journal, tamper: Callable[[list[str]], list[str]], line: int, part: str
) -> None:
    lines = tamper(journal.path.read_text("utf-8").splitlines())
    journal.path.write_text("\n".join(lines) + "\n", "utf-8")
    with pytest.raises(JournalBroken, match=part) as raised:
        Journal.verify(journal.path)
    assert raised.value.facts["line"] == line


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_truncated_journal_is_whole_in_itself_and_found_by_its_head(journal: Journal, kept: int) -> None:
    lines = journal.path.read_text("utf-8").splitlines(keepends=True)
    journal.path.write_text("".join(lines[:kept]), "utf-8")
    assert len(Journal.verify(journal.path)) == kept
    with pytest.raises(JournalBroken, match="does not end where the record says"):
        Journal.verify(journal.path, head=journal.head)


@given(position=st.integers(min_value=0, max_value=10_000), bit=st.integers(min_value=0, max_value=7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_no_single_bit_can_be_flipped(journal: Journal, position: int, bit: int) -> None:
    content = journal.path.read_bytes()
    place = position % len(content)
    flipped = bytearray(content)
    flipped[place] ^= 1 << bit
    other = journal.path.with_name("flipped")
    other.write_bytes(bytes(flipped))
    with pytest.raises(JournalBroken):
        Journal.verify(other, head=journal.head)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A record with what JSON lacks."""

    path: Path
    ratio: float
    at: datetime
    result: Result


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**53, "9007199254740992"),
        (-(2**60), str(-(2**60))),
        (2**53 - 1, 2**53 - 1),
        (True, True),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (b"\x01\xff", "01ff"),
        ({1: {2}}, {"1": [2]}),
        ((1, (2,)), [1, [2]]),
        (
            Sample(path=Path("a/b"), ratio=0.5, at=datetime(2026, 1, 2, tzinfo=UTC), result=Result.FAIL),
            {"path": "a/b", "ratio": 0.5, "at": "2026-01-02T00:00:00.000000Z", "result": "FAIL"},
        ),
    ],
)
def test_data_becomes_jsons_own_types(value: object, expected: object) -> None:
    assert plain(value) == expected


def test_secrets_do_not_reach_the_file_nor_the_listeners(journal: Journal) -> None:
    heard: list[Entry] = []
    journal.listen(heard.append)
    journal.write("command", argv=["psql", "postgresql://a:hunter22@h"], env={"P": "hunter22"})
    journal.announce("wait", last="hunter22")
    assert "hunter22" not in journal.path.read_text("utf-8")
    assert "hunter22" not in str(heard)
    assert heard[0].data["argv"][1] == "postgresql://a:[redacted]@h"


@pytest.mark.parametrize("form", sorted(forms("hunter22")))
def test_no_form_of_a_secret_reaches_the_file(journal: Journal, form: str) -> None:
    journal.write("observation", what="headers", headers={form: [f"Basic {form}"]})
    assert form not in journal.path.read_text("utf-8")


def test_the_running_clause_is_the_default(journal: Journal) -> None:
    journal.clause = "2.1a"
    assert journal.write("observation").clause == "2.1a"
    assert journal.write("observation", clause="R.1").clause == "R.1"


def test_last_finds_the_newest_that_matches(journal: Journal) -> None:
    assert (found := journal.last("weight")) is not None
    assert found.data["percent"] == 25
    assert (found := journal.last("weight", percent=10)) is not None
    assert found.clause == "3.1a"
    assert journal.last("weight", percent=50) is None


def test_an_action_is_written_before_and_after(journal: Journal) -> None:
    with journal.action("shift", percent=50) as done:
        assert journal.entries()[-1].event == "intent"
        done(share=0.5)
    closing = journal.entries()[-1]
    assert (closing.event, closing.data) == (
        "done",
        {"action": "shift", "percent": 50, "share": 0.5, "duration_s": 0},
    )


@pytest.mark.parametrize(
    ("error", "code"), [(ClauseFailed("no", code="x"), "x"), (KeyboardInterrupt("SIGINT"), "fault")]
)
def test_an_action_that_breaks_is_written_as_failed(journal: Journal, error: BaseException, code: str) -> None:
    with pytest.raises(type(error)), journal.action("promote"):
        raise error
    closing = journal.entries()[-1]
    assert (closing.event, closing.data["error"], closing.data["code"]) == ("failed", str(error), code)


def test_a_long_wait_is_written_every_few_seconds_and_announced_in_between(tmp_path: Path) -> None:
    clock = ManualClock()
    journal = Journal(tmp_path / "j", clock=clock)
    heard: list[Entry] = []
    journal.listen(heard.append)
    wait_for(
        "ready",
        clock.monotonic,
        until=lambda s: s >= 12,
        bound_s=60,
        interval_s=1,
        listener=journal.waits(),
        clock=clock,
    )
    written = [entry.data["waited_s"] for entry in journal.entries()]
    assert written == [5, 10, 12]
    assert len(heard) == 13
    assert journal.entries()[-1].data["done"] is True


@pytest.mark.parametrize(("duration_s", "written"), [(0.1, []), (0.2, [0.2]), (3, [3])])
def test_a_short_wait_leaves_one_line_and_hardly_any_leaves_none(
    tmp_path: Path, duration_s: float, written: list[float]
) -> None:
    clock = ManualClock()
    journal = Journal(tmp_path / "j", clock=clock)
    hold("bake", clock.monotonic, duration_s=duration_s, interval_s=0.1, listener=journal.waits(), clock=clock)
    assert [entry.data["waited_s"] for entry in journal.entries()] == written


def test_threads_do_not_break_the_chain(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    threads = [threading.Thread(target=lambda: [journal.write("load", n=n) for n in range(25)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Journal.verify(journal.path, head=journal.head)) == 100
