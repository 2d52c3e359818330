"""The session object: record folders, facts, deviations, and whether traffic may be on green."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import Refused, WrongInput
from cutover.runbook.interrupts import SIGNALS, Interrupted, Interrupts
from cutover.runbook.upgrade import Upgrade, facts_of, new_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


NOON = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)


def test_records_are_numbered_and_never_reused(tmp_path: Path) -> None:
    ids = [new_record(tmp_path / "records", now=NOON)[0] for _ in range(3)]
    assert ids == ["2026-11-23-1200", "2026-11-23-1200-2", "2026-11-23-1200-3"]


def test_a_record_that_cannot_be_made_is_wrong_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WrongInput, match="no record can be written"):
        new_record(tmp_path / "file", now=NOON)


def test_paths_stay_inside_the_record(upgrade: Upgrade) -> None:
    path = upgrade.path("evidence", "before", "lines.jsonl")
    assert path.parent.is_dir()
    with pytest.raises(ValueError, match="outside"):
        upgrade.path("..", "elsewhere")


def test_facts_are_in_the_journal(upgrade: Upgrade) -> None:
    upgrade.remember("baseline", digest="sha256:1", items=3)
    upgrade.remember("baseline", digest="sha256:2", items=4)
    assert upgrade.recall("baseline") == {"digest": "sha256:2", "items": 4}
    assert upgrade.knows("baseline")
    assert not upgrade.knows("dump")
    with pytest.raises(Refused, match="this upgrade has no dump"):
        upgrade.recall("dump")


def test_a_deviation_is_said_once(upgrade: Upgrade) -> None:
    for _ in range(2):
        upgrade.deviation("F.1", did="--install", instead_of="upgrade alone", why="there is no release yet")
    assert [entry.event for entry in upgrade.journal.entries()] == ["deviation"]


def test_roles_follow_who_serves(upgrade: Upgrade) -> None:
    assert upgrade.roles.blue.name == "blue"
    assert upgrade.assign_roles("green").blue.name == "green"
    assert upgrade.roles.named("blue") is upgrade.roles.green
    with pytest.raises(Refused, match="purple"):
        upgrade.assign_roles("purple")


def test_facts_of_a_record(upgrade: Upgrade) -> None:
    assert facts_of(upgrade.roles.blue)["namespace"] == "stellaops-prod"
    with pytest.raises(TypeError):
        facts_of("no record")


SHIFT: tuple[str, dict[str, Any]] = ("intent", {"action": "shift", "percent": 10})
WEIGHT: tuple[str, dict[str, Any]] = ("weight", {"percent": 10, "target": "green"})
PROMOTE: tuple[str, dict[str, Any]] = ("intent", {"action": "promote"})
RESTORED: tuple[str, dict[str, Any]] = ("rollback_finished", {"took_s": 1, "serves": "blue"})
MIXED: tuple[str, dict[str, Any]] = ("rollback_finished", {"took_s": 1, "serves": "mixed"})
ZERO: tuple[str, dict[str, Any]] = ("weight", {"percent": 0, "target": "green"})
GONE: tuple[str, dict[str, Any]] = ("intent", {"action": "decommission"})


@pytest.mark.parametrize(
    ("lines", "moved", "needs"),
    [
        ([], False, False),
        ([("intent", {"action": "backup"})], False, False),
        ([ZERO], False, False),
        ([SHIFT], True, True),
        ([WEIGHT], True, True),
        ([PROMOTE], True, True),
        ([WEIGHT, ZERO], True, True),
        ([WEIGHT, ZERO, RESTORED], False, False),
        ([WEIGHT, MIXED], True, True),
        ([WEIGHT, RESTORED, SHIFT], True, True),
        ([PROMOTE, GONE], True, False),
    ],
)
def test_whether_a_failure_needs_a_rollback(
    upgrade: Upgrade, lines: list[tuple[str, dict[str, Any]]], moved: bool, needs: bool
) -> None:
    for event, data in lines:
        upgrade.journal.write(event, **data)
    assert (upgrade.traffic_moved, upgrade.needs_rollback) == (moved, needs)


# -- stopping ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    """Return stop requests that are installed, and put the handlers back."""
    made = Interrupts()
    made.install()
    yield made
    made.restore()


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_request_raises(interrupts: Interrupts, number: signal.Signals) -> None:
    with pytest.raises(Interrupted, match=number.name):
        os.kill(os.getpid(), number)
    assert interrupts.requested == number.name


def test_a_shield_lets_its_block_finish(interrupts: Interrupts) -> None:
    reached = []

    def change() -> None:
        with interrupts.shield():
            with interrupts.shield():
                os.kill(os.getpid(), signal.SIGTERM)
            reached.append("inner")
        reached.append("outer")

    with pytest.raises(Interrupted):
        change()
    assert reached == ["inner"], "it takes effect where the outermost shield ends"


def test_a_request_during_a_shield_is_not_lost_with_an_error(interrupts: Interrupts) -> None:
    def change() -> None:
        with interrupts.shield():
            os.kill(os.getpid(), signal.SIGINT)
            raise ValueError("the patch failed")

    with pytest.raises(Interrupted) as raised:
        change()
    assert isinstance(raised.value.__context__, ValueError)


def test_once_settled_a_request_changes_nothing(interrupts: Interrupts) -> None:
    interrupts.settle()
    os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.requested == "SIGINT"


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    made = Interrupts()
    made.install()
    made.restore()
    assert [signal.getsignal(number) for number in SIGNALS] == before
