"""The rollback matrix: what a site may differ in after the way back, and what not."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal import asked, upgrades, wayback

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rehearsal import survey


def _site() -> survey.Facts:
    database: dict[str, Any] = {"columns": {"scans.id": "text not null"}, "constraints": {}, "indexes": {}}
    return {
        "namespaces": {"stellaops-prod": "Active"},
        "deployments": {"stellaops-prod/stellaops-blue-web": {"replicas": 2}},
        "services": {"stellaops-prod/stellaops-blue": {"type": "ClusterIP"}},
        "ingresses": {"stellaops-prod/stellaops-main": {"rules": "blue"}},
        "HTTP routes": {},
        "grants": [],
        "configuration": ["stellaops-prod/stellaops-blue-config"],
        "leases held": {},
        "once": {"changes of Ingress stellaops-prod/stellaops-main": 1},
        "evidence database": {**database, "migrations": [["0001_base", "A 2027.Q1"]], "sequences behind": []},
        "log database": {**copy.deepcopy(database), "sequences behind": []},
        "databases": {"names": ["postgres", "stellaops"], "locks held": []},
        "store": {"archive": {}, "left in evidence": []},
        "documents": {"CURRENT_VERSION.md": "2027.Q1"},
    }


def _green_stays(site: survey.Facts) -> None:
    site["namespaces"]["stellaops-green"] = "Active"
    site["deployments"]["stellaops-green/stellaops-green-web"] = {"replicas": 2}
    site["services"]["stellaops-prod/stellaops-green"] = {"type": "ExternalName"}
    site["configuration"].append("stellaops-green/stellaops-green-config")
    site["once"]["changes of Ingress stellaops-prod/stellaops-main"] = 3


def _expanded(site: survey.Facts) -> None:
    site["evidence database"]["columns"]["scans.requested_by"] = "text"
    site["evidence database"]["migrations"].append(["0101_expand_leaf_v2", "A 2027.Q2"])


def _archived(site: survey.Facts) -> None:
    site["store"]["archive"]["upgrades/RECORD/x"] = 1


@pytest.mark.parametrize("change", [_green_stays, _expanded, _archived, lambda _: None])
def test_green_and_what_category_a_added_may_stay(change: Callable[[survey.Facts], None]) -> None:
    after = _site()
    change(after)
    assert wayback.of_site(_site(), after) == []


def _set(*path: str, value: object) -> Callable[[survey.Facts], None]:
    def change(site: survey.Facts) -> None:
        for name in path[:-1]:
            site = site[name]
        site[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("ingresses", "stellaops-prod/stellaops-canary", value={"canary-weight": "0"}), "stellaops-canary"),
        (_set("ingresses", "stellaops-prod/stellaops-main", value={"rules": "green"}), "stellaops-main"),
        (_set("deployments", "stellaops-prod/stellaops-blue-web", "replicas", value=1), "replicas: 1, not 2"),
        (_set("evidence database", "columns", "scans.id", value="bigint"), "scans.id"),
        (_set("evidence database", "columns", value={}), "scans.id"),
        (_set("evidence database", "migrations", value=[["0102_contract", "B 2027.Q2"]]), "0102_contract"),
        (_set("databases", "names", value=["postgres", "stellaops", "cutover_scratch_1"]), "cutover_scratch_1"),
        (_set("databases", "locks held", value=["cutover holds advisory lock 3"]), "locks held"),
        (_set("leases held", "stellaops-prod/cutover", value="somebody"), "leases held"),
        (_set("documents", "CURRENT_VERSION.md", value="2027.Q2"), "CURRENT_VERSION.md"),
        (_set("store", "left in evidence", value=["scratch/x"]), "scratch/x"),
        (_set("evidence database", "sequences behind", value=["merkle_roots.id"]), "merkle_roots.id"),
    ],
)
def test_anything_else_that_differs_is_named(change: Callable[[survey.Facts], None], words: str) -> None:
    after = _site()
    change(after)
    assert words in "; ".join(wayback.of_site(_site(), after))


def test_the_lock_of_a_killed_run_may_stay_where_nobody_came_after_it() -> None:
    after = _site()
    after["leases held"] = {"stellaops-prod/cutover": "somebody"}
    assert wayback.of_site(_site(), after, is_locked=True) == []
    assert len(wayback.of_site(_site(), after)) == 1


def _attempt(code: int) -> upgrades.Attempt:
    return upgrades.Attempt(exit_code=code, duration_s=1, output="output-1.txt")


@pytest.mark.parametrize(
    ("clause", "run", "back", "verdict", "sound"),
    [
        ("3.1b", upgrades.KILLED, 0, wayback.ROLLED_BACK, True),
        ("3.1b", upgrades.KILLED, 1, wayback.ROLLED_BACK, False),
        ("3.1b", upgrades.KILLED, 1, "FAILED", False),
        ("3.1b", 1, 0, wayback.ROLLED_BACK, False),
        ("2.1a", upgrades.KILLED, 0, "none", True),
        ("2.1a", upgrades.KILLED, 1, "none", False),
    ],
)
def test_a_row_needs_an_abort_at_its_clause_and_a_rollback_that_says_so(
    clause: str, run: int, back: int, verdict: str, sound: bool
) -> None:
    assert (not list(wayback.of_processes(clause, _attempt(run), _attempt(back), verdict))) is sound


@pytest.mark.parametrize(
    ("facts", "clause", "sound"),
    [
        ({}, "3.1b", True),
        ({"serves": "mixed"}, "3.1b", False),
        ({"evidence": "exit code 1"}, "2.1a", False),
        ({"markers": "1 missing, 0 repeated of 20"}, "3.1b", False),
        ({"markers": "none was acknowledged"}, "2.1a", True),
    ],
)
def test_nothing_may_be_lost_and_blue_must_serve(facts: dict[str, str], clause: str, sound: bool) -> None:
    usual = {"serves": "blue", "evidence": asked.INTACT, "markers": asked.EXACT}
    assert (not list(wayback.of_proof(**{**usual, **facts}, clause=clause))) is sound


def test_every_clause_of_both_strategies_is_a_row_unless_some_are_asked_for() -> None:
    every = wayback.wanted((), ())
    assert len(every) == 2 * len(wayback.CLAUSES) - len(wayback.GRADUAL_ALONE)
    assert wayback.wanted(("3.1a", "3.2"), ()) == [("3.1a", "gradual"), ("3.2", "gradual"), ("3.2", "instant")]
    assert set(wayback.CLAUSES) >= wayback.BEFORE_TRAFFIC | wayback.GRADUAL_ALONE


def test_the_newest_result_of_a_row_counts_and_is_shown(tmp_path: Path) -> None:
    row = {"clause": "3.2", "strategy": "instant", "verdict": "FAILED", "serves": "green", "evidence": asked.INTACT}
    row |= {"markers": asked.EXACT, "rollback_s": 4.2, "differences": ["served by green"]}
    good = {**row, "verdict": wayback.ROLLED_BACK, "serves": "blue", "differences": []}
    (tmp_path / "results.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(good) + "\n")
    found = wayback.results_in(tmp_path)
    assert found == [good]
    assert wayback.cells(found[0]) == [
        *("3.2 instant", "instant", "ROLLED_BACK", "blue", "intact", "exact", "4", "yes"),
    ]
    assert len(wayback.cells(found[0])) == len(wayback.HEAD)


def test_one_replaced_database_is_kept_behind_a_breaking_migration_and_nothing_else_may_be_left() -> None:
    before, after = _site(), _site()
    after["databases"]["names"].append("stellaops_replaced_2027_04_12_0930")
    assert wayback.of_site(before, after)
    assert wayback.of_site(before, after, is_replaced=True) == []
    after["databases"]["names"].append("stellaops_replaced_2027_04_12_0931")
    assert wayback.of_site(before, after, is_replaced=True), "one upgrade replaces one"
    after["databases"]["names"][-1] = "cutover_restored_2027_04_12_0930"
    assert wayback.of_site(before, after, is_replaced=True)
    after["databases"]["names"].pop()
    after["evidence database"]["migrations"].append(["0102_contract_leaf_v1", "B 2027.Q2"])
    assert wayback.of_site(before, after, is_replaced=True)


def test_the_breaking_migration_has_its_row_with_either_strategy() -> None:
    assert wayback.wanted(("C.1",), ("gradual",)) == [("C.1", "gradual")]
    assert wayback.wanted((), ("instant",))[-1] == ("C.1", "instant")
    assert set(wayback.CLAUSES) >= wayback.BREAKING
