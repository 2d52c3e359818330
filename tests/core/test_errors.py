"""Errors: what each makes of a clause and of the process, and the block the operator reads."""

from __future__ import annotations

import pytest

from cutover import errors
from cutover.errors import (
    ClauseFailed,
    CouldNotMeasure,
    CutoverError,
    JournalBroken,
    PolicyInvalid,
    Refused,
    RunbookInvalid,
    TargetInvalid,
    Timeout,
    Undecided,
    WrongInput,
)
from cutover.model import Result


@pytest.mark.parametrize(
    ("kind", "result", "code"),
    [
        (WrongInput, Result.ERROR, 2),
        (TargetInvalid, Result.ERROR, 2),
        (PolicyInvalid, Result.ERROR, 2),
        (RunbookInvalid, Result.ERROR, 2),
        (ClauseFailed, Result.FAIL, 1),
        (Timeout, Result.FAIL, 1),
        (CouldNotMeasure, Result.ERROR, 3),
        (JournalBroken, Result.ERROR, 3),
        (Undecided, Result.INCONCLUSIVE, 4),
        (Refused, Result.FAIL, 5),
    ],
)
def test_each_kind_has_its_result_and_exit_code(kind: type[CutoverError], result: Result, code: int) -> None:
    error = kind("no")
    assert (errors.result_of(error), errors.exit_code_of(error)) == (result, code)
    assert error.code


@pytest.mark.parametrize(("error", "result", "code"), [(AssertionError(), "FAIL", 1), (ValueError(), "ERROR", 3)])
def test_what_is_not_ours(error: Exception, result: str, code: int) -> None:
    assert (errors.result_of(error), errors.exit_code_of(error)) == (result, code)


def test_the_block_is_what_the_operator_reads() -> None:
    error = ClauseFailed(
        "green cannot take the traffic",
        seen="503 on every request\nfrom 2 pods",
        guide="3.2, deviation F.3",
        do="create the Service",
        state="blue serves 100 %",
    )
    assert errors.render(error, "3.2").splitlines() == [
        "FAIL 3.2  green cannot take the traffic",
        "     seen      503 on every request",
        "               from 2 pods",
        "     guide     3.2, deviation F.3",
        "     do        create the Service",
        "     state     blue serves 100 %",
    ]


def test_without_a_clause_the_word_stands_alone_and_empty_rows_are_left_out() -> None:
    assert errors.render(Refused("the lock is held")) == "REFUSED: the lock is held"


def test_facts_are_kept() -> None:
    assert ClauseFailed("no", code="x", pods=3).facts == {"pods": 3}
