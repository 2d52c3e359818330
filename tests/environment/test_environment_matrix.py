"""The fault matrix itself: a row must not hold by accident."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rehearsal import matrix
from rehearsal.environment import faults

EVERY = [(fault, strategy) for strategy in ("gradual", "instant") for fault in faults.load(strategy)]


def _failing(fault: faults.Fault, **changed: str) -> list[dict[str, str]]:
    words = {"cause": " ".join(fault.cause), "remedy": " ".join(fault.remedy)}
    return [{"id": fault.clause, "result": "FAIL", "reason": "", **words, **changed}]


@pytest.mark.parametrize(("fault", "strategy"), EVERY, ids=[f"{fault.name}-{strategy}" for fault, strategy in EVERY])
def test_a_row_holds_only_for_what_is_listed(fault: faults.Fault, strategy: str) -> None:
    assert strategy
    assert not list(matrix.differences_of(fault, fault.exit_code, _failing(fault), fault.serves))
    assert list(matrix.differences_of(fault, 0, _failing(fault), fault.serves))
    assert list(matrix.differences_of(fault, fault.exit_code, [], fault.serves))
    assert list(matrix.differences_of(fault, fault.exit_code, _failing(fault, id="P.1"), fault.serves))
    assert list(matrix.differences_of(fault, fault.exit_code, _failing(fault), "green"))
    assert list(matrix.differences_of(fault, fault.exit_code, _failing(fault, cause="", remedy=""), fault.serves))


def _said(fault: faults.Fault, *findings: str) -> str:
    return "\n".join(f"    {fault.name} {faults.MUST_LEAD_TO} {finding}" for finding in findings)


def test_an_alteration_must_be_named_in_the_record_and_in_what_was_printed() -> None:
    (fault,) = faults.named(["evidence-altered:row-digest"])
    told = f"E.2 {faults.guarantees()['E.2']}: row-changed ev-1, expected this, found that"
    said = _said(fault, "E.2 row-changed ev-1")
    assert not list(matrix.unnamed(fault, f"{told}\n{said}", _failing(fault, cause=told)))
    assert len(list(matrix.unnamed(fault, said, _failing(fault, cause=told)))) == 1
    assert len(list(matrix.unnamed(fault, told + "\n" + said, _failing(fault, cause="something")))) == 1
    other = told.replace("ev-1", "ev-2")
    assert len(list(matrix.unnamed(fault, f"{other}\n{said}", _failing(fault, cause=other)))) == 2
    assert list(matrix.unnamed(fault, told, _failing(fault, cause=told)))


def test_the_kinds_of_altered_evidence_are_runs_of_their_own() -> None:
    plain = {fault.name for fault in matrix.chosen_faults((), "gradual", kinds=False)}
    assert "evidence-altered" in plain
    assert not [name for name in plain if ":" in name]
    kinds = [fault for fault in matrix.chosen_faults(("stella-lies",), "gradual", kinds=True) if fault.kind]
    assert {fault.kind for fault in kinds} == set(faults.alterations())
    assert len(matrix.chosen_faults(("evidence-altered:log-*",), "gradual", kinds=False)) >= 5


def test_a_process_that_was_left_is_found() -> None:
    mark = f"test-{os.getpid()}"
    waiting = "import sys; sys.stdin.read()"
    environment = {**os.environ, matrix.MARK: mark}
    with subprocess.Popen([sys.executable, "-c", waiting], stdin=subprocess.PIPE, env=environment) as left:
        assert len(matrix.processes_marked(mark)) == 1
        left.communicate()
    assert matrix.processes_marked(mark) == []
