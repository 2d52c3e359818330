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


def test_a_process_that_was_left_is_found() -> None:
    mark = f"test-{os.getpid()}"
    waiting = "import sys; sys.stdin.read()"
    environment = {**os.environ, matrix.MARK: mark}
    with subprocess.Popen([sys.executable, "-c", waiting], stdin=subprocess.PIPE, env=environment) as left:
        assert len(matrix.processes_marked(mark)) == 1
        left.communicate()
    assert matrix.processes_marked(mark) == []
