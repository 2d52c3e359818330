"""How long a run will take: what past records teach, and what the policy says where there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cutover.model import Strategy
from cutover.runbook import estimates
from cutover.runbook.estimates import Basis
from cutover.runbook.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from planned_site import PlannedSite

    from cutover.runbook.estimates import Estimates

SITE = "staging-eu"


def _record(
    planned: PlannedSite,
    name: str,
    took_s: dict[str, float],
    *,
    site: str = SITE,
    bake_s: int = 600,
    result: str = "PASS",
) -> Path:
    folder = planned.folder / "records" / name
    folder.mkdir(parents=True)
    text = (planned.folder / "policy.toml").read_text("utf-8")
    (folder / "policy.toml").write_text(text.replace("bake_s = 600", f"bake_s = {bake_s}"), "utf-8")
    journal = Journal(folder / "journal.jsonl")
    journal.write("run_started", target={"name": site}, strategy="gradual")
    for clause, seconds in took_s.items():
        journal.write("clause_finished", clause=clause, result=result, duration_s=seconds)
    journal.close()
    return folder


def _estimates(planned: PlannedSite, *, strategy: Strategy = Strategy.GRADUAL) -> Estimates:
    past = estimates.past_runs(planned.folder / "records", target_name=SITE, strategy=strategy)
    return estimates.make(planned.plan(strategy=strategy), planned.policy(), past)


def test_without_a_record_only_the_policys_waits_are_known(planned: PlannedSite) -> None:
    found = _estimates(planned)
    assert {one.id: one.seconds for one in found.clauses} == dict.fromkeys(("3.1a", "3.1b", "3.1c", "3.1d", "3.2"), 600)
    assert {one.basis for one in found.clauses} == {Basis.POLICY}
    assert "2.1a" in found.unknown
    assert found.total_s == 3000


def test_the_median_of_past_records_is_taken(planned: PlannedSite) -> None:
    for day, seconds in enumerate((10.0, 90.0, 20.0), 1):
        _record(planned, f"2026-11-0{day}-0400", {"2.1a": seconds})
    found = _estimates(planned)
    installed = found.of("2.1a")
    assert installed is not None
    assert (installed.seconds, installed.basis) == (20, Basis.RECORDS)
    assert found.records == ("2026-11-03-0400", "2026-11-02-0400", "2026-11-01-0400")


def test_another_wait_in_the_policy_now_is_another_estimate(planned: PlannedSite) -> None:
    _record(planned, "2026-11-01-0400", {"3.1a": 68.0}, bake_s=60)
    shifted = _estimates(planned).of("3.1a")
    assert shifted is not None
    assert shifted.seconds == 608


@pytest.mark.parametrize("facts", [{"site": "another"}, {"result": "FAIL"}])
def test_another_site_and_what_did_not_pass_teach_nothing(planned: PlannedSite, facts: dict[str, str]) -> None:
    _record(planned, "2026-11-01-0400", {"2.1a": 10.0}, **facts)
    assert _estimates(planned).records == ()


def test_another_strategy_teaches_nothing(planned: PlannedSite) -> None:
    _record(planned, "2026-11-01-0400", {"2.1a": 10.0})
    assert _estimates(planned, strategy=Strategy.INSTANT).records == ()


def test_a_broken_record_stops_nothing(planned: PlannedSite) -> None:
    _record(planned, "2026-11-01-0400", {"2.1a": 10.0})
    for day, spoil in enumerate(("journal.jsonl", "policy.toml"), 2):
        (_record(planned, f"2026-11-0{day}-0400", {"2.1a": 99.0}) / spoil).write_text("{not", "utf-8")
    (planned.folder / "records" / "empty").mkdir()
    (planned.folder / "records" / "index.html").write_text("", "utf-8")
    assert _estimates(planned).records == ("2026-11-01-0400",)


def test_only_the_newest_are_read(planned: PlannedSite) -> None:
    for minute in range(estimates.AT_MOST + 3):
        _record(planned, f"2026-11-01-04{minute:02}", {"2.1a": 10.0})
    records = _estimates(planned).records
    assert (len(records), records[0]) == (estimates.AT_MOST, f"2026-11-01-04{estimates.AT_MOST + 2:02}")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (250, "4 min 10 s"),
        (3600, "1 h"),
        (259_200, "72 h"),
        (5460, "1 h 31 min"),
    ],
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert estimates.in_words(seconds) == words
