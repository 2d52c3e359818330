"""After a failure support gets its archive, and nothing that goes wrong with it changes what the run came to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cutover.clock import ManualClock
from cutover.errors import CouldNotMeasure
from cutover.model import ExitCode, Outcome
from cutover.procedures import support
from cutover.runbook import verdict
from cutover.runbook.catalogue import load_clauses
from cutover.runbook.journal import Journal
from fixtures import failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CATALOGUE = load_clauses()
HEAD = {
    "upgrade_id": "t",
    "from": "2027.Q1",
    "to": "2027.Q2",
    "target": {"name": "here", "kind": "staging", "notice": ""},
    "target_sha256": "sha256:0",
    "policy_sha256": "sha256:0",
    "strategy": "gradual",
    "scope": "all",
}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    found = Journal(tmp_path / "journal.jsonl", clock=ManualClock())
    found.write("run_started", **HEAD)
    yield found
    found.close()


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], list[str]]:
    """Return what sets how a capture ends, and gives the failures that were captured."""

    def set_to(outcome: object) -> list[str]:
        asked: list[str] = []

        def capture(_site: object, _upgrade: object, *, failed: str) -> object:
            asked.append(failed)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(support, "capture", capture)
        return asked

    return set_to


def run_of(journal: Journal, **changed: Any) -> Any:  # noqa: ANN401 (of the run what is used)
    upgrade = SimpleNamespace(journal=journal, clock=journal.clock)
    run = {"upgrade": upgrade, "catalogue": CATALOGUE, "site": object(), "stopped": "", "reported": set()}
    return SimpleNamespace(**{**run, **changed})


def fails(journal: Journal, result: str = "FAIL", exit_code: int = 1) -> None:
    journal.write("clause_started", clause="2.1a", scenario="s", phase="2", title="t")
    facts = {"diagnosis": "image-not-pulled"}
    journal.write("clause_finished", clause="2.1a", result=result, reason="broken", exit_code=exit_code, facts=facts)


def results(journal: Journal) -> dict[str, tuple[str, str]]:
    return {
        str(entry.clause): (entry.data["result"], entry.data["reason"])
        for entry in journal.entries()
        if entry.event == "clause_finished" and str(entry.clause).startswith("S.")
    }


def taken(problem: str = "") -> object:
    return SimpleNamespace(diagnostics=(SimpleNamespace(colour="blue", problem=problem),))


def test_a_failure_is_captured_with_its_row(journal: Journal, captures: Callable[[object], list[str]]) -> None:
    asked = captures(taken())
    fails(journal)
    run = run_of(journal)
    failure.escalate(run)
    assert asked == ["2.1a: broken (image-not-pulled)"]
    assert results(journal) == {
        "S.1": ("PASS", ""),
        "S.2": ("NOT_RUN", "no traffic had to go back"),
        "S.3": ("PASS", ""),
    }
    assert run.reported == {"S.1", "S.2", "S.3"}


@pytest.mark.parametrize(
    ("requests", "wanted"), [(100, ("PASS", "")), (0, ("NOT_RUN", "the way back is not proven: mixed serves"))]
)
def test_the_way_back_is_what_this_attempt_proved(
    journal: Journal, captures: Callable[[object], list[str]], requests: int, wanted: tuple[str, str]
) -> None:
    captures(taken())
    fails(journal)
    serves = "blue" if requests else "mixed"
    journal.write("rollback_finished", took_s=1.0, serves=serves, verified_requests=requests, detail="")
    failure.escalate(run_of(journal))
    assert results(journal)["S.2"] == wanted


def test_an_earlier_attempts_failure_is_not_captured_again(
    journal: Journal, captures: Callable[[object], list[str]]
) -> None:
    asked = captures(taken())
    fails(journal)
    journal.write("run_resumed", procedure="resume", attempt=2)
    failure.escalate(run_of(journal))
    assert asked == []
    assert results(journal) == {}


@pytest.mark.parametrize(
    ("changed", "exit_code"),
    [({"stopped": "SIGINT"}, 1), ({"site": None}, 1), ({}, 2)],
    ids=["stopped", "no site", "input"],
)
def test_the_site_is_left_alone(
    journal: Journal, captures: Callable[[object], list[str]], changed: dict[str, Any], exit_code: int
) -> None:
    asked = captures(taken())
    fails(journal, result="ERROR", exit_code=exit_code)
    failure.escalate(run_of(journal, **changed))
    assert asked == []


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (CouldNotMeasure("the API server does not answer"), "the API server does not answer"),
        (RuntimeError("a defect"), "fault of the harness: RuntimeError: a defect"),
        (taken("the command hangs"), "blue: the command hangs"),
    ],
    ids=["unreachable", "defect", "no export"],
)
def test_what_cannot_be_had_is_said_and_changes_no_verdict(
    journal: Journal, captures: Callable[[object], list[str]], outcome: object, said: str
) -> None:
    captures(outcome)
    fails(journal, result="INCONCLUSIVE", exit_code=4)
    failure.escalate(run_of(journal))
    assert results(journal)["S.1"] == ("NOT_RUN", said)
    judged = verdict.compute(journal.entries(), CATALOGUE)
    assert (judged.outcome, judged.exit_code) == (Outcome.INCONCLUSIVE, ExitCode.UNDECIDED)


def test_a_record_that_cannot_be_written_is_no_secret(
    journal: Journal, captures: Callable[[object], list[str]]
) -> None:
    captures(OSError(28, "No space left on device"))
    fails(journal)
    with pytest.raises(OSError, match="No space"):
        failure.escalate(run_of(journal))
