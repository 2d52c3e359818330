"""The verdict's algebra: every combination, and the invariants that no combination may break."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import CouldNotMeasure
from cutover.model import Clause, Outcome, Result, Risk
from cutover.runbook import verdict
from cutover.runbook.journal import Entry
from cutover.runbook.plan import NotRunKind

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.runbook.verdict import Verdict

START = datetime(2026, 11, 23, 4, tzinfo=UTC)
DIGEST = "sha256:" + "0" * 64


def clause(id_: str, *, built: bool = True) -> Clause:
    return Clause(
        id=id_,
        title=f"title of {id_}",
        phase="1",
        stage=1,
        guide="g",
        performed_by="h",
        check="c",
        risk=Risk.REVERSIBLE,
        changes="",
        undo="",
        built=built,
        not_built_reason="" if built else "not yet",
    )


class Lines:
    """A journal's lines, as data."""

    def __init__(self, *, scope: str = "all", max_failed: int = 0) -> None:
        self.entries: list[Entry] = []
        self.add(
            "run_started",
            upgrade_id="2026-11-23-0400",
            target={"name": "t", "kind": "staging", "notice": ""},
            **{"from": "a", "to": "b"},
            strategy="gradual",
            scope=scope,
            policy_sha256=DIGEST,
            target_sha256=DIGEST,
            max_failed=max_failed,
            operator="me@here",
        )

    def add(self, event: str, clause_id: str | None = None, **data: Any) -> Lines:  # noqa: ANN401
        number = len(self.entries)
        self.entries.append(
            Entry(
                seq=number,
                time=START + timedelta(seconds=number),
                event=event,
                clause=clause_id,
                data=data,
                previous="",
                digest="",
            )
        )
        return self

    def result(self, clause_id: str, result: str, **data: Any) -> Lines:  # noqa: ANN401
        if result != "NOT_RUN":
            self.add("clause_started", clause_id, scenario=f"scenario of {clause_id}")
        return self.add(
            "clause_finished",
            clause_id,
            result=Result(result),
            scenario=f"scenario of {clause_id}",
            reason=data.pop("reason", "because"),
            **data,
        )

    def traffic(self, *, attempted: int = 100, failed: int = 0) -> Lines:
        return self.add("load_finished", planned=120, attempted=attempted, failed=failed, by_colour={"blue": attempted})

    def evidence(self, *, before: int = 5, missing: int = 0, changed: int = 0) -> Lines:
        return self.add("evidence", before=before, after=before, missing=missing, changed=changed, added=0, unchanged=5)

    def judge(self, *ids: str) -> Verdict:
        return verdict.compute(self.entries, [clause(id_) for id_ in ids])


def full(*results: tuple[str, str]) -> Lines:
    lines = Lines().traffic().evidence()
    for id_, result in results:
        lines.result(id_, result, kind="not-needed")
    return lines


# -- every combination -------------------------------------------------------------------------------------------------

OUTCOMES = [("PASS", None), ("FAIL", None), ("ERROR", None), ("INCONCLUSIVE", None)] + [
    ("NOT_RUN", kind.value) for kind in NotRunKind
]
ALLOWED = {"not-built", "strategy", "not-needed", "observation"}


def _expected(combination: tuple[tuple[str, str | None], ...], *, load: str, evidence: str, cut: str) -> Outcome:
    """Say again, in other words, what the verdict must be."""
    results = [result for result, _ in combination]
    kinds = {kind for result, kind in combination if result == "NOT_RUN"}
    if "FAIL" in results or load == "failed" or evidence in {"missing", "changed"}:
        return Outcome.FAILED
    for result, outcome in (("ERROR", Outcome.ERROR), ("INCONCLUSIVE", Outcome.INCONCLUSIVE)):
        if result in results:
            return outcome
    if cut or kinds - ALLOWED - {"unreported"}:
        return Outcome.INCOMPLETE
    whole = "PASS" in results and load == "some" and evidence == "some" and "unreported" not in kinds
    return Outcome.PASSED if whole else Outcome.ERROR


@pytest.mark.parametrize("cut", ["", "scope", "stop"])
@pytest.mark.parametrize("load", ["none", "some", "failed"])
@pytest.mark.parametrize("evidence", ["none", "some", "missing", "changed"])
def test_every_combination(cut: str, load: str, evidence: str) -> None:
    for combination in itertools.product(OUTCOMES, repeat=2):
        lines = Lines(scope="until 2" if cut == "scope" else "all")
        if load != "none":
            lines.traffic(failed=int(load == "failed"))
        if evidence != "none":
            lines.evidence(missing=int(evidence == "missing"), changed=int(evidence == "changed"))
        for id_, (result, kind) in zip(("1.1a", "1.1b"), combination, strict=True):
            if kind != "unreported":
                lines.result(id_, result, **({"kind": kind} if kind else {}))
        if cut == "stop":
            lines.add("run_interrupted", signal="SIGINT")
        judged = lines.judge("1.1a", "1.1b")
        expected = _expected(combination, load=load, evidence=evidence, cut=cut)
        assert judged.outcome is expected, (combination, cut, load, evidence, judged.reasons)
        assert (judged.exit_code == 0) == (judged.outcome is Outcome.PASSED)
        assert judged.outcome is Outcome.PASSED or judged.reasons, "what is not green says why"


# -- single rules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "codes", "outcome", "code"),
    [
        (["FAIL"], [1], "FAILED", 1),
        (["FAIL"], [5], "FAILED", 5),
        (["FAIL", "FAIL"], [5, 1], "FAILED", 1),
        (["ERROR"], [3], "ERROR", 3),
        (["ERROR"], [2], "ERROR", 2),
        (["ERROR", "ERROR"], [2, 3], "ERROR", 3),
        (["INCONCLUSIVE"], [4], "INCONCLUSIVE", 4),
        (["ERROR", "FAIL"], [3, 1], "FAILED", 1),
        (["INCONCLUSIVE", "ERROR"], [4, 3], "ERROR", 3),
    ],
)
def test_exit_codes(results: list[str], codes: list[int], outcome: str, code: int) -> None:
    lines = Lines().traffic().evidence()
    ids = ["1.1a", "1.1b"][: len(results)]
    for id_, result, exit_code in zip(ids, results, codes, strict=True):
        lines.result(id_, result, exit_code=exit_code)
    judged = lines.judge(*ids)
    assert (judged.outcome, judged.exit_code) == (outcome, code)


@pytest.mark.parametrize(
    ("event", "code"), [("intent", 3), ("done", 2), ("observation", 2), ("command", 2), ("rollback_started", 2)]
)
def test_wrong_input_is_nothing_done_only_until_an_action_was_begun(event: str, code: int) -> None:
    lines = Lines().traffic().evidence().add(event, action="install green")
    lines.result("2.1a", "ERROR", exit_code=2)
    judged = lines.judge("2.1a")
    assert (judged.outcome, judged.exit_code) == (Outcome.ERROR, code)


@pytest.mark.parametrize("order", list(itertools.permutations(["PASS", "FAIL", "INCONCLUSIVE"])))
def test_of_several_scenarios_of_a_clause_the_worst_counts(order: tuple[str, ...]) -> None:
    judged = full(*(("1.1a", result) for result in order)).judge("1.1a")
    assert judged.clauses[0].record.result is Result.FAIL


def test_a_clause_of_which_one_scenario_was_not_reached_has_not_passed() -> None:
    lines = full(("1.1a", "PASS")).result("1.1a", "NOT_RUN", kind="not-reached", reason="not reached: 1.1b failed")
    judged = lines.judge("1.1a")
    assert judged.clauses[0].record.result is Result.NOT_RUN
    assert judged.outcome is Outcome.INCOMPLETE


def test_a_journal_that_ends_in_the_middle_is_incomplete() -> None:
    lines = full(("1.1a", "PASS")).add("clause_started", "1.1b", scenario="s")
    judged = lines.judge("1.1a", "1.1b")
    assert judged.outcome is Outcome.INCOMPLETE
    assert judged.clauses[1].record.reason == "started and never finished"


def test_a_planned_clause_that_nobody_reported_is_an_error() -> None:
    judged = full(("1.1a", "PASS")).judge("1.1a", "1.1b")
    assert (judged.outcome, judged.exit_code) == (Outcome.ERROR, 3)
    assert judged.reasons[0].startswith("no result was reported: 1.1b")


def test_a_clause_that_is_not_built_needs_no_line() -> None:
    lines = full(("1.1a", "PASS"))
    judged = verdict.compute(lines.entries, [clause("1.1a"), clause("T.1", built=False)])
    assert judged.outcome is Outcome.PASSED
    assert judged.clauses[1].record.reason == "not yet"


@pytest.mark.parametrize(("allowed", "outcome"), [(0, "FAILED"), (2, "FAILED"), (3, "PASSED")])
def test_failed_requests_against_the_policys_limit(allowed: int, outcome: str) -> None:
    lines = Lines(max_failed=allowed).traffic(failed=3).evidence().result("1.1a", "PASS")
    assert lines.judge("1.1a").outcome == outcome


def test_a_defect_of_the_harness_is_never_green() -> None:
    judged = full(("1.1a", "PASS")).add("fault", message="ValueError: x").judge("1.1a")
    assert (judged.outcome, judged.exit_code) == (Outcome.ERROR, 3)
    assert judged.reasons[0] == "fault of the harness: ValueError: x"


def test_no_run_has_no_verdict() -> None:
    with pytest.raises(CouldNotMeasure):
        verdict.compute([], [clause("1.1a")])


def test_deviations_are_sorted_by_number_and_said_once() -> None:
    lines = full(("1.1a", "PASS"))
    for id_, did in (("F.10", "x"), ("F.2", "y"), ("F.2", "z")):
        lines.add("deviation", id=id_, did=did, instead_of="i", why="w")
    assert [(d.id, d.did) for d in lines.judge("1.1a").deviations] == [("F.2", "z"), ("F.10", "x")]


def test_the_reasons_of_a_failure_begin_with_the_failed_clause() -> None:
    lines = full(("1.1a", "PASS"))
    lines.result("3.1a", "FAIL", reason="the share is wrong")
    lines.add("rollback_started", trigger="3.1a")
    lines.add("rollback_finished", took_s=2.9, serves="blue")
    judged = lines.judge("1.1a", "3.1a")
    assert judged.reasons == ("3.1a FAIL: the share is wrong", "rolled back; served by blue")
    assert judged.rollback == {"performed": True, "serves": "blue", "took_s": 2.9, "trigger": "3.1a"}


@pytest.mark.parametrize("result", ["PASS", "FAIL", "ERROR", "INCONCLUSIVE", "NOT_RUN"])
def test_the_document_satisfies_its_schema(tmp_path: Path, result: str) -> None:
    lines = full(("1.1a", result)).add("plan", digest=DIGEST)
    lines.add("fact", name="observation", facts={"state": "running", "until": "2026-11-26T04:00:00.000000Z"})
    lines.add("command", argv=["true"])
    path = tmp_path / "verdict.json"
    verdict.write(lines.judge("1.1a").document(entries=9, journal_head=DIGEST), path)
    written = json.loads(path.read_text("utf-8"))
    assert written["counts"][result] == 1
    assert written["observation"]["state"] == "running"
    assert (written["commands"], written["load"]["planned"]) == (1, 120)


@pytest.mark.parametrize(
    ("key", "value"),
    [("result", "GREEN"), ("exit_code", 1), ("exit_code", 9), ("upgrade", {}), ("load", {"planned": -1})],
)
def test_a_document_that_breaks_the_schema_is_not_written(tmp_path: Path, key: str, value: object) -> None:
    document = full(("1.1a", "PASS")).judge("1.1a").document()
    with pytest.raises(CouldNotMeasure, match="does not fit its own schema"):
        verdict.write({**document, key: value}, tmp_path / "verdict.json")
    assert not (tmp_path / "verdict.json").exists()


# -- what the journal says of the traffic, whatever the clauses say ----------------------------------------------------


def gate(lines: Lines, result: str, **data: Any) -> Lines:  # noqa: ANN401
    facts = {"name": "error_ratio", "source": "prometheus", "percent": 10, "reason": "0.2 ratio, limit 0.01", **data}
    return lines.add("gate", "3.1a", result=result, **facts)


@pytest.mark.parametrize(
    ("result", "outcome", "code"),
    [
        ("PASS", "PASSED", 0),
        ("INCONCLUSIVE", "INCONCLUSIVE", 4),
        ("ERROR", "ERROR", 3),
        ("NO_DATA", "ERROR", 3),
        ("FAIL", "FAILED", 1),
        ("GREEN", "ERROR", 3),
        ("NOT_RUN", "ERROR", 3),
    ],
)
def test_a_gate_counts_though_every_clause_passed(result: str, outcome: str, code: int) -> None:
    lines = gate(gate(full(("1.1a", "PASS"), ("3.1a", "PASS")), result), "PASS")
    judged = lines.judge("1.1a", "3.1a")
    assert (judged.outcome, judged.exit_code) == (outcome, code), "a later, milder verdict overwrites nothing"
    if code:
        assert judged.reasons[0] == (f"gate error_ratio {result} at 10 %: 0.2 ratio, limit 0.01, and no clause says so")


@pytest.mark.parametrize("cut", [{"scope": "until 3"}, {}])
def test_a_gate_is_worse_than_a_cut_scope_and_than_a_milder_clause(cut: dict[str, str]) -> None:
    lines = gate(Lines(**cut).traffic().evidence(), "FAIL")  # type: ignore[arg-type]
    lines.result("3.1a", "INCONCLUSIVE", reason="too few samples")
    judged = lines.judge("3.1a")
    assert (judged.outcome, judged.exit_code) == (Outcome.FAILED, 1)
    assert judged.reasons[:2] == (
        "gate error_ratio FAIL at 10 %: 0.2 ratio, limit 0.01, and no clause says so",
        "3.1a INCONCLUSIVE: too few samples",
    )


def test_a_gate_that_its_clause_tells_of_is_not_said_twice() -> None:
    lines = gate(full(), "FAIL").result("3.1a", "FAIL", reason="a gate does not hold")
    assert lines.judge("3.1a").reasons == ("3.1a FAIL: a gate does not hold",)


@pytest.mark.parametrize(
    ("name", "results", "outcome"),
    [
        ("error_ratio", ["FAIL", "PASS"], "PASSED"),
        ("error_ratio", ["PASS", "FAIL", "FAIL"], "FAILED"),
        ("error_ratio", ["FAIL"], "FAILED"),
        ("error_ratio", ["PASS", "INCONCLUSIVE"], "INCONCLUSIVE"),
        ("error_ratio", ["PASS", "NO_DATA"], "ERROR"),
        ("failed_requests", ["FAIL", "PASS"], "FAILED"),
        ("attestation_success", ["PASS", "FAIL"], "FAILED"),
        ("latency_p99_vs_blue", ["PASS", "FAIL"], "FAILED"),
    ],
)
def test_what_the_policy_bears_is_no_reason_to_fail(name: str, results: list[str], outcome: str) -> None:
    lines = full(("3.1a", "PASS"))
    lines.entries[0].data["failure_limit"] = 1  # type: ignore[index]
    for result in results:
        gate(lines, result, name=name)
    assert lines.judge("3.1a").outcome == outcome


SHARE = {"percent": 10, "green": 100, "total": 1000, "low": 0.07, "high": 0.13}


@pytest.mark.parametrize(
    ("event", "data", "said"),
    [
        ("share", {**SHARE, "green": 131}, "the share of green at 10 % is outside of its interval"),
        ("share", {**SHARE, "green": 0, "total": 0, "low": 0, "high": 0}, "the share of green at 10 %"),
        ("markers", {"acknowledged": 9, "missing": 1, "repeated": 0}, "1 acknowledged writes were found missing"),
        ("markers", {"acknowledged": 9, "missing": [], "repeated": [7]}, "1 acknowledged writes were found doubled"),
        ("rollback_started", {"trigger": "by hand"}, "the run went back to blue though no clause failed"),
        (
            "gate_decision",
            {"percent": 10, "decision": "rollback", "gate": "latency_p99"},
            "latency_p99 decided to go back at 10 %, and that was not done",
        ),
        ("weight", {"percent": 10, "target": "green"}, "no gate decided to advance at 10 %"),
    ],
)
def test_what_the_traffic_showed_forbids_passing(event: str, data: dict[str, Any], said: str) -> None:
    judged = full(("3.1a", "PASS")).add(event, "3.1a", **data).judge("3.1a")
    assert (judged.outcome, judged.exit_code) == (Outcome.FAILED, 1)
    assert judged.reasons[0].startswith(said)


@pytest.mark.parametrize("clause", ["PASS", "ERROR", "INCONCLUSIVE"])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"attempted": 9, "complete": False}, "the load generator did not write its own summary"),
        ({"attempted": 9, "complete": True, "workers_lost": ["w1"]}, "the load lost 1 of its workers"),
    ],
)
def test_a_load_that_did_not_end_in_order_was_not_measured(clause: str, data: dict[str, Any], said: str) -> None:
    judged = full(("3.1a", clause)).add("load_finished", "3.1a", **data).judge("3.1a")
    assert (judged.outcome, judged.exit_code, judged.reasons[0]) == (Outcome.ERROR, 3, said)


@pytest.mark.parametrize(
    ("failed", "at_probe", "outcome"), [(0, 1, "FAILED"), (1, 0, "PASSED"), (0, 0, "PASSED"), (1, 1, "FAILED")]
)
def test_a_request_that_failed_at_the_probe_alone_counts(failed: int, at_probe: int, outcome: str) -> None:
    lines = Lines(max_failed=failed).evidence().result("3.1a", "PASS")
    probe = {"planned": 40, "answered": 40 - at_probe, "failed": at_probe}
    lines.add("load_finished", planned=100, attempted=100, failed=failed, by_colour={}, probe=probe)
    assert lines.judge("3.1a").outcome == outcome


def test_each_weight_needs_a_decision_of_its_own() -> None:
    lines = full(("3.1a", "PASS")).add("weight", "3.1a", percent=10)
    lines.add("gate_decision", "3.1a", percent=10, decision="advance").add("weight", "3.1b", percent=25)
    assert lines.judge("3.1a").reasons[0] == "no gate decided to advance at 25 %"
    lines.add("gate_decision", "3.1b", percent=25, decision="advance")
    assert lines.judge("3.1a").outcome is Outcome.PASSED


def test_a_share_at_the_very_end_of_its_interval_is_inside() -> None:
    lines = full(("3.1a", "PASS")).add("share", "3.1a", percent=10, green=1, total=3, low=0.0, high=0.333333)
    judged = lines.judge("3.1a")
    assert judged.outcome is Outcome.PASSED
    assert judged.traffic["shares"][0]["inside"]


def test_the_way_back_is_told_with_its_times(tmp_path: Path) -> None:
    lines = gate(gate(full(("1.1a", "PASS")), "PASS"), "FAIL")
    lines.add("share", "3.1a", **SHARE)
    lines.add("markers", run="r", acknowledged=4, missing=0, repeated=0)
    lines.add("markers", run="r", acknowledged=9, missing=0, repeated=0)
    first_bad = lines.entries[-1].time.isoformat().replace("+00:00", "Z")
    lines.add(
        "gate_decision",
        "3.1a",
        percent=10,
        decision="rollback",
        gate="error_ratio",
        result="FAIL",
        decided_after_s=1.0,
        first_bad=first_bad,
    )
    lines.result("3.1a", "FAIL", reason="a gate does not hold")
    lines.add("rollback_started", trigger="3.1a")
    lines.add("rollback_finished", took_s=0.5, serves="blue")
    probe = {"planned": 40, "answered": 39, "failed": 1, "p50_ms": 3.5, "p99_ms": "nan", "max_ms": None}
    lines.add("load_finished", planned=1000, attempted=950, failed=0, by_colour={}, probe=probe)
    document = lines.judge("1.1a", "3.1a").document(entries=9, journal_head=DIGEST)
    verdict.write(document, tmp_path / "verdict.json")
    traffic = document["traffic"]
    back = traffic["rollback"]
    assert (back["gate"], back["percent"], back["serves"]) == ("error_ratio", 10, "blue")
    assert (back["bad_to_decision_s"], back["decision_to_blue_s"], back["bad_to_blue_s"]) == (1.0, 3.5, 4.5)
    assert traffic["gates"][0] | {"clause": ""} == {
        "name": "error_ratio",
        "source": "prometheus",
        "clause": "",
        "percent": 10,
        "worst": "FAIL",
        "verdicts": 2,
    }
    assert traffic["markers"]["compared"] == 2
    assert (traffic["markers"]["acknowledged"], traffic["markers"]["missing"]) == (9, 0)
    assert traffic["load"] == {"planned": 1000, "attempted": 950, "failed": 0, "attempted_ratio": 0.95}
    assert traffic["probe"] == {
        "planned": 40,
        "answered": 39,
        "failed": 1,
        "p50_ms": 3.5,
        "p99_ms": None,
        "max_ms": None,
    }


def test_a_journal_without_traffic_has_an_empty_section() -> None:
    document = full(("1.1a", "PASS")).judge("1.1a").document()["traffic"]
    assert (document["shares"], document["decisions"], document["rollback"]) == ([], [], None)
    assert (document["markers"], document["probe"]) == (None, None)


@pytest.mark.parametrize(
    ("reported", "result"),
    [(("one", "two"), Result.PASS), (("one",), Result.NOT_RUN), (("two",), Result.NOT_RUN)],
)
def test_a_clause_with_two_scenarios_has_passed_when_both_reported(reported: tuple[str, ...], result: Result) -> None:
    lines = Lines().add("plan", digest="d", clauses=[{"id": "1.1", "scenario": "one · two"}])
    for name in reported:
        lines.add("clause_started", "1.1", scenario=name)
        lines.add("clause_finished", "1.1", scenario=name, result="PASS", reason="")
    judged = verdict.compute(lines.entries, [clause("1.1")])
    assert judged.clauses[0].record.result is result
    if result is Result.NOT_RUN:
        assert judged.clauses[0].kind is NotRunKind.UNREPORTED
        assert judged.outcome is not Outcome.PASSED
        assert judged.clauses[0].record.reason.startswith("planned, and no result was reported: ")
