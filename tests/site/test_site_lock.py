"""What a Lease says, read without a cluster: who is gone, whose journal is cut, what another tool wrote."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cutover.clock import ManualClock
from cutover.errors import JournalBroken
from cutover.runbook.journal import Journal
from cutover.site import lock
from cutover.site.lock import Held, Holder

if TYPE_CHECKING:
    from pathlib import Path

RECORD = "2027-01-02-0304"
FREE = Held(
    identity="",
    operator="",
    host="",
    pid=None,
    process="",
    record=RECORD,
    since=None,
    renewed=None,
    duration_s=20,
    fence=1,
    journal_length=0,
    journal_head="",
    token="",
)


def held_by(holder: Holder) -> Held:
    return dataclasses.replace(FREE, identity=holder.identity, pid=holder.pid, process=holder.process)


# -- whose process is gone ---------------------------------------------------------------------------------------------


def test_this_process_lives() -> None:
    here = Holder.here(record=RECORD)
    assert (here.pid, here.record) == (os.getpid(), RECORD)
    assert here.process
    assert not lock._is_gone(held_by(here))


def test_one_that_ended_is_gone_reaped_or_not() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    scope = lock._scope()
    held = dataclasses.replace(
        FREE, identity="x", pid=process.pid, process=f"{scope}/{lock._started_ticks(process.pid)}"
    )
    assert not lock._is_gone(held)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert lock._is_gone(held)
    process.communicate()
    assert lock._is_gone(held)


def test_a_pid_that_another_process_has_now_is_gone() -> None:
    here = Holder.here(record=RECORD)
    scope, _, ticks = here.process.rpartition("/")
    later = dataclasses.replace(here, process=f"{scope}/{int(ticks) + 1}")
    assert lock._is_gone(held_by(later))


@pytest.mark.parametrize("process", ["", "another-boot/1/2", "another-boot/1/", "no slash"])
def test_of_another_host_boot_or_container_nothing_is_told(process: str) -> None:
    gone = dataclasses.replace(Holder.here(record=RECORD), pid=2**22 + 1, process=process)
    assert not lock._is_gone(held_by(gone))


def test_a_process_that_is_hidden_from_us_is_not_called_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Holder.here(record=RECORD)

    def hidden(_pid: int) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(lock, "_started_ticks", hidden)
    assert not lock._is_gone(held_by(here))


def test_a_process_of_another_user_is_not_called_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Holder.here(record=RECORD)

    def forbidden(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert not lock._is_gone(held_by(here))


# -- whose journal is cut ----------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "journal.jsonl", clock=ManualClock())
    for number in range(5):
        journal.write("observation", what=number)
    return journal


def test_a_journal_as_long_as_the_lease_knows_it_or_longer_is_whole(journal: Journal) -> None:
    entries = journal.entries()
    for length in range(1, 6):
        known = dataclasses.replace(FREE, journal_length=length, journal_head=entries[length - 1].digest)
        known.require_journal(RECORD, entries)
        for shorter in range(length):
            with pytest.raises(JournalBroken) as caught:
                known.require_journal(RECORD, entries[:shorter])
            assert (caught.value.code, caught.value.facts["line"]) == ("journal-truncated", shorter + 1)


def test_a_journal_that_was_cut_and_written_on_is_another_one(journal: Journal, tmp_path: Path) -> None:
    known = dataclasses.replace(FREE, journal_length=5, journal_head=journal.head)
    content = journal.path.read_bytes().splitlines(keepends=True)
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"".join(content[:4]))
    other = Journal(cut, clock=ManualClock())
    other.write("observation", what="something else")
    assert len(other) == 5
    with pytest.raises(JournalBroken) as caught:
        known.require_journal(RECORD, other.entries())
    assert (caught.value.code, caught.value.facts["line"]) == ("journal-differs", 5)


def test_of_another_record_or_of_no_length_nothing_is_demanded() -> None:
    known = dataclasses.replace(FREE, journal_length=5, journal_head="sha256:aa")
    known.require_journal("another", ())
    dataclasses.replace(known, journal_length=0).require_journal(RECORD, ())
    with pytest.raises(JournalBroken):
        known.require_journal(RECORD, ())


# -- what another tool wrote -------------------------------------------------------------------------------------------


def test_a_lease_of_another_tool_is_read() -> None:
    read = lock._held(
        {
            "metadata": {"name": "cutover"},
            "spec": {
                "holderIdentity": "somebody",
                "leaseDurationSeconds": 30,
                "renewTime": "2027-01-02T03:04:05.000006Z",
                "acquireTime": "2027-01-02T03:04:00Z",
                "leaseTransitions": 4,
            },
        }
    )
    assert (read.identity, read.duration_s, read.fence, read.pid, read.journal_length) == ("somebody", 30, 4, None, 0)
    assert read.renewed == datetime(2027, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert read.describe() == "somebody, since 2027-01-02 03:04:00Z"


@pytest.mark.parametrize(
    "manifest",
    [
        {"metadata": {}},
        {"metadata": {"annotations": None}, "spec": None},
        {
            "metadata": {"annotations": {"cutover.stellaops.io/pid": "x", "cutover.stellaops.io/since": "soon"}},
            "spec": {"holderIdentity": None, "renewTime": None},
        },
    ],
)
def test_a_lease_that_says_nothing_is_nobodys(manifest: dict[str, object]) -> None:
    read = lock._held(manifest)
    assert not read.is_held
    assert (read.pid, read.since, read.renewed, read.fence) == (None, None, None, 0)
    assert read.duration_s > 0
    assert read.describe() == "nobody"
