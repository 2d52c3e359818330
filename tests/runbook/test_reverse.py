"""The way back, from every point an upgrade can stand at: a table of journals, what was seen, and the clauses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.clock import ManualClock
from cutover.runbook import reverse
from cutover.runbook.journal import Journal
from cutover.runbook.reverse import Observed, Point

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cutover.runbook.reverse import ReversePlan

Line = tuple[str, dict[str, Any]]


def begun(action: str, **data: object) -> Line:
    return "intent", {"action": action, **data}


def done(action: str, **data: object) -> list[Line]:
    return [begun(action, **data), ("done", {"action": action, **data})]


def weight(percent: int) -> list[Line]:
    return [*done("shift", percent=percent), ("weight", {"percent": percent, "target": "green"})]


STARTED: list[Line] = [("run_started", {}), ("observation", {"what": "roles", "blue": "blue", "green": "green"})]
INSTALLED = [*STARTED, *done("install green"), *done("run migrations", category="A")]
CANARY = [*INSTALLED, *weight(10)]
PROMOTED = [*CANARY, *weight(100), *done("promote", to="green"), ("weight", {"percent": 100})]
OBSERVED = [*PROMOTED, ("fact", {"name": "observation", "facts": {"state": "complete"}})]
CONTRACTED = [*OBSERVED, begun("contract")]
REMOVED = [*OBSERVED, begun("decommission", release="stellaops-blue")]
REMOVED_AND_CONTRACTED = [*REMOVED, *done("run migrations", category="B")]
BACK = [*CANARY, ("rollback_started", {}), ("rollback_finished", {"serves": "blue"})]

VERIFIED = [*BACK, ("clause_finished", {"clause": "R.2c", "result": "PASS"})]

PROVEN: Line = ("clause_finished", {"clause": "R.2d", "result": "PASS"})

WITH_BLUE = Observed(serves="blue", is_split=False, blue_installed=True, green_installed=True, breaking=())
ON_GREEN = Observed(serves="green", is_split=False, blue_installed=True, green_installed=True, breaking=())
WITHOUT_BLUE = Observed(serves="green", is_split=False, blue_installed=False, green_installed=True, breaking=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A journal, what was seen, and the clauses of the way back in order."""

    lines: list[Line]
    point: Point
    needed: list[str]
    seen: Observed = field(default_factory=Observed)
    remove_green: bool = False


CASES = {
    "nothing": Case(lines=STARTED, point=Point.NOTHING, needed=[]),
    "green installed": Case(lines=INSTALLED, point=Point.GREEN, needed=[]),
    "green installed, to be removed": Case(lines=INSTALLED, point=Point.GREEN, needed=["R.3"], remove_green=True),
    "install begun and broken off": Case(lines=[*STARTED, begun("install green")], point=Point.GREEN, needed=[]),
    "a weight": Case(lines=CANARY, point=Point.CUTOVER, needed=["R.1", "R.2c"]),
    "a weight begun and broken off": Case(
        lines=[*INSTALLED, begun("shift", percent=10)], point=Point.CUTOVER, needed=["R.1", "R.2c"]
    ),
    "a weight begun, and blue alone is seen": Case(
        lines=[*INSTALLED, begun("shift", percent=10)], seen=WITH_BLUE, point=Point.CUTOVER, needed=["R.2c"]
    ),
    "blue is seen, with green still behind the route": Case(
        lines=CANARY,
        seen=Observed(serves="blue", is_split=True, blue_installed=True),
        point=Point.CUTOVER,
        needed=["R.1", "R.2c"],
    ),
    "nothing by the journal, and green is seen": Case(
        lines=INSTALLED, seen=ON_GREEN, point=Point.CUTOVER, needed=["R.1", "R.2c"]
    ),
    "promoted: requests first, then the assessment": Case(
        lines=PROMOTED, point=Point.PROMOTED, needed=["R.2b", "R.1", "R.2a", "R.2c"]
    ),
    "promotion begun and broken off": Case(
        lines=[*CANARY, begun("promote", to="green")], point=Point.PROMOTED, needed=["R.2b", "R.1", "R.2a", "R.2c"]
    ),
    "promoted, green to be removed": Case(
        lines=PROMOTED, point=Point.PROMOTED, needed=["R.2b", "R.1", "R.2a", "R.2c", "R.3"], remove_green=True
    ),
    "observed": Case(lines=OBSERVED, point=Point.OBSERVED, needed=["R.2b", "R.1", "R.2a", "R.2c"]),
    "category B with blue still there": Case(
        lines=CONTRACTED, point=Point.OBSERVED, needed=["R.2a", "R.2b", "R.2d", "R.1", "R.2c"]
    ),
    "blue removed": Case(lines=REMOVED, point=Point.DECOMMISSIONED, needed=["R.2a", "R.2b", "R.2e", "R.1", "R.2c"]),
    "removal begun, and blue is seen": Case(
        lines=REMOVED, seen=ON_GREEN, point=Point.DECOMMISSIONED, needed=["R.2b", "R.1", "R.2a", "R.2c"]
    ),
    "somebody else removed blue": Case(
        lines=PROMOTED, seen=WITHOUT_BLUE, point=Point.DECOMMISSIONED, needed=["R.2a", "R.2b", "R.2e", "R.1", "R.2c"]
    ),
    "blue removed and category B": Case(
        lines=REMOVED_AND_CONTRACTED,
        point=Point.DECOMMISSIONED,
        needed=["R.2a", "R.2b", "R.2d", "R.2e", "R.1", "R.2c"],
    ),
    "the database is swapped, and its restore was broken off": Case(
        lines=[*REMOVED_AND_CONTRACTED, *done("swap database"), *done("keep the replaced database")],
        seen=WITHOUT_BLUE,
        point=Point.DECOMMISSIONED,
        needed=["R.2a", "R.2b", "R.2d", "R.2e", "R.1", "R.2c"],
    ),
    "the database is restored, and the rest was broken off": Case(
        lines=[*REMOVED_AND_CONTRACTED, *done("swap database"), PROVEN],
        point=Point.DECOMMISSIONED,
        needed=["R.2a", "R.2b", "R.2e", "R.1", "R.2c"],
    ),
    "blue is deployed again, and the rest was broken off": Case(
        lines=[*REMOVED, *done("redeploy blue")], point=Point.OBSERVED, needed=["R.2b", "R.1", "R.2a", "R.2c"]
    ),
    "blue's deployment was begun and broken off": Case(
        lines=[*REMOVED, begun("redeploy blue")],
        point=Point.DECOMMISSIONED,
        needed=["R.2a", "R.2b", "R.2e", "R.1", "R.2c"],
    ),
    "category B by the journal, none in the table": Case(
        lines=CONTRACTED, seen=ON_GREEN, point=Point.OBSERVED, needed=["R.2b", "R.1", "R.2a", "R.2c"]
    ),
    "category B in the table, none by the journal": Case(
        lines=PROMOTED,
        seen=Observed(serves="green", is_split=False, blue_installed=True, breaking=("0102",)),
        point=Point.PROMOTED,
        needed=["R.2a", "R.2b", "R.2d", "R.1", "R.2c"],
    ),
    "gone back": Case(lines=BACK, point=Point.BACK, needed=["R.2c"]),
    "gone back, and the evidence verified": Case(lines=VERIFIED, point=Point.BACK, needed=[]),
    "gone back, and the evidence not whole": Case(
        lines=[*BACK, ("clause_finished", {"clause": "R.2c", "result": "FAIL"})], point=Point.BACK, needed=["R.2c"]
    ),
    "gone back and verified, and somebody moved traffic again": Case(
        lines=VERIFIED, seen=ON_GREEN, point=Point.CUTOVER, needed=["R.1", "R.2c"]
    ),
    "verified, and the cutover begun again": Case(
        lines=[*VERIFIED, *weight(10)], point=Point.CUTOVER, needed=["R.1", "R.2c"]
    ),
    "gone back, and the cutover begun again": Case(
        lines=[*BACK, *weight(10)], point=Point.CUTOVER, needed=["R.1", "R.2c"]
    ),
    "a rollback that nobody saw the end of": Case(
        lines=[*CANARY, ("rollback_finished", {"serves": "mixed"})], point=Point.CUTOVER, needed=["R.1", "R.2c"]
    ),
    "nobody serves": Case(
        lines=PROMOTED,
        seen=Observed(serves="nobody", is_split=False, blue_installed=True, breaking=()),
        point=Point.PROMOTED,
        needed=["R.2b", "R.1", "R.2a", "R.2c"],
    ),
}


def plan_of(
    lines: Sequence[Line], tmp_path: Path, *, observed: Observed | None = None, remove_green: bool = False
) -> ReversePlan:
    journal = Journal(tmp_path / "journal.jsonl", clock=ManualClock())
    for event, data in lines:
        journal.write(event, **data)
    return reverse.plan(journal.entries(), observed=observed, remove_green=remove_green)


@pytest.mark.parametrize("name", CASES)
def test_the_way_back(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    made = plan_of(case.lines, tmp_path, observed=case.seen, remove_green=case.remove_green)
    assert (made.point, list(made.needed)) == (case.point, case.needed)


@pytest.mark.parametrize("name", CASES)
def test_every_clause_of_the_way_back_is_in_it_once_with_its_reason(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    made = plan_of(case.lines, tmp_path, observed=case.seen, remove_green=case.remove_green)
    assert sorted(step.clause for step in made.steps) == ["R.1", "R.2a", "R.2b", "R.2c", "R.2d", "R.2e", "R.3"]
    assert all(step.why for step in made.steps)
    flags = [step.needed for step in made.steps]
    assert flags == sorted(flags, reverse=True), "what is needed comes first"
    assert made.document()["nothing_to_send_back"] is ("R.1" not in case.needed)
    assert made.points_of_no_return == (("R.2d",) if "R.2d" in case.needed else ())


def test_colours_are_read_from_the_journal(tmp_path: Path) -> None:
    swapped: list[Line] = [("observation", {"what": "roles", "blue": "green", "green": "blue"})]
    made = plan_of([*swapped, *weight(10)], tmp_path)
    assert (made.blue, made.green) == ("green", "blue")
    assert made.steps[0].changes == "the public route names green alone"


def test_green_served_from_its_first_weight_on(tmp_path: Path) -> None:
    assert plan_of(INSTALLED, tmp_path).green_served_from is None
    (tmp_path / "journal.jsonl").unlink()
    made = plan_of(CANARY, tmp_path)
    assert made.green_served_from is not None
    assert made.document()["green_served_from"].endswith("Z")


@pytest.mark.parametrize(
    ("lines", "seen", "note"),
    [
        (INSTALLED, ON_GREEN, "by the journal blue serves, by its own answers the public host is served by green"),
        (PROMOTED, WITHOUT_BLUE, "the journal does not remove blue, which is not there"),
        (REMOVED, ON_GREEN, "the journal has the removal of blue, which is still there"),
        (
            PROMOTED,
            Observed(breaking=("0102",)),
            "migrations of category B are applied that this upgrade did not apply: 0102",
        ),
        (
            CONTRACTED,
            ON_GREEN,
            "the migrations of category B that this upgrade began are not in the migration table",
        ),
        (CANARY, Observed(problems=("nobody answers",)), "nobody answers"),
    ],
)
def test_where_journal_and_site_differ_it_is_said(lines: list[Line], seen: Observed, note: str, tmp_path: Path) -> None:
    assert note in plan_of(lines, tmp_path, observed=seen).notes


def test_where_they_agree_nothing_is_said(tmp_path: Path) -> None:
    assert plan_of(PROMOTED, tmp_path, observed=ON_GREEN).notes == ()


EVENTS = st.sampled_from(
    [
        *done("install green"),
        *done("run migrations", category="A"),
        *done("run migrations", category="B"),
        *weight(10),
        *weight(0),
        *done("promote"),
        *done("decommission"),
        *done("redeploy blue"),
        *done("swap database"),
        PROVEN,
        *done("remove green"),
        ("rollback_finished", {"serves": "blue"}),
        ("rollback_finished", {"serves": "green"}),
    ]
)
SEEN = st.builds(
    Observed,
    serves=st.sampled_from([None, "blue", "green", "mixed", "nobody"]),
    is_split=st.sampled_from([None, True, False]),
    blue_installed=st.sampled_from([None, True, False]),
    green_installed=st.sampled_from([None, True, False]),
    breaking=st.sampled_from([None, (), ("0102",)]),
)


@settings(deadline=None)
@given(lines=st.lists(EVENTS, max_size=8), seen=SEEN)
def test_whatever_happened_the_order_holds(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Line], seen: Observed
) -> None:
    made = plan_of(lines, tmp_path_factory.mktemp("plan"), observed=seen, remove_green=True)
    needed = list(made.needed)

    def comes_before(first: str, second: str) -> bool:
        return not {first, second} <= set(needed) or needed.index(first) < needed.index(second)

    for first, second in (("R.2b", "R.2d"), ("R.2d", "R.1"), ("R.2e", "R.1"), ("R.1", "R.2c"), ("R.1", "R.3")):
        assert comes_before(first, second), needed
    if {"R.2d", "R.2e"} & set(needed):
        assert needed[0] == "R.2a", "assessed before anything is done that takes long"
        assert "R.2b" in needed, "nobody restores or redeploys undecided"
    if seen.serves not in {None, "blue"}:
        assert "R.1" in needed, "who does not see blue alone goes back"
