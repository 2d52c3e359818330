"""Everything the harness says no with.

    CutoverError
     ├ WrongInput          exit 2   what the operator gave cannot be used
     │   ├ TargetInvalid
     │   ├ PolicyInvalid
     │   └ RunbookInvalid           features, steps and catalogue disagree
     ├ ClauseFailed        exit 1   FAIL: the check was made and the site does not satisfy it
     │   └ Timeout                  a bound passed while waiting for it
     ├ CouldNotMeasure     exit 3   ERROR: unreachable, timed out, unreadable
     │   └ JournalBroken            the journal's chain does not hold
     ├ Undecided           exit 4   INCONCLUSIVE: measured, and not enough to decide
     └ Refused             exit 5   a guard said no; nothing was tried

Each has a stable code, its facts as fields, what was seen, a remedy in one line, and its cause chained with `from`.
Anything else that escapes a step is a fault of the harness and is reported as one.
"""

# ruff: noqa: N818  # these are the runbook's words for what can happen

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from cutover.model import ExitCode, Result

if TYPE_CHECKING:
    from cutover.model import Clause

_LABEL_WIDTH = 10


class CutoverError(Exception):
    """The root; raise one of its children."""

    default_code: ClassVar[str] = "error"
    result: ClassVar[Result] = Result.ERROR
    exit_code: ClassVar[ExitCode] = ExitCode.COULD_NOT_MEASURE

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        seen: str = "",
        guide: str = "",
        do: str = "",
        state: str = "",
        cause_text: str = "",
        **facts: object,
    ) -> None:
        """Take the sentence and what belongs to it.

        seen: what was observed, in the operator's words. guide: clause and deviation ("3.2, deviation F.3").
        do: the remedy, one line. state: what serves, what was changed. cause_text: the cause in words.
        facts: further values, kept in `facts` and in the journal.
        """
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.seen = seen
        self.guide = guide
        self.do = do
        self.state = state
        self.cause_text = cause_text
        self.facts = facts

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with every fact: errors travel from worker processes."""
        return _restored, (type(self), self.args, self.__dict__)


class WrongInput(CutoverError):
    """What the operator gave cannot be used; nothing was done."""

    default_code = "wrong-input"
    exit_code = ExitCode.WRONG_INPUT


class TargetInvalid(WrongInput):
    """The target file is absent, unreadable, or says something that cannot be."""

    default_code = "target-invalid"


class PolicyInvalid(WrongInput):
    """The policy file is absent, unreadable, or says something that cannot be."""

    default_code = "policy-invalid"


class RunbookInvalid(WrongInput):
    """Features, steps and the catalogue of clauses do not agree; nothing was run."""

    default_code = "runbook-invalid"


class ClauseFailed(CutoverError):
    """The check was made and the site does not satisfy it."""

    default_code = "clause-failed"
    result = Result.FAIL
    exit_code = ExitCode.FAILED


class Timeout(ClauseFailed):
    """A bound passed. Facts: `waited_s`, `bound_s`, `last`."""

    default_code = "timeout"


class CouldNotMeasure(CutoverError):
    """The check could not be made."""

    default_code = "could-not-measure"


class JournalBroken(CouldNotMeasure):
    """A line of the journal is not the one that was written. Fact: `line`, from 1."""

    default_code = "journal-broken"


class Undecided(CutoverError):
    """Measured, and not enough to decide; a person decides."""

    default_code = "undecided"
    result = Result.INCONCLUSIVE
    exit_code = ExitCode.UNDECIDED


class Refused(CutoverError):
    """A guard said no; what it guards was not tried."""

    default_code = "refused"
    result = Result.FAIL
    exit_code = ExitCode.REFUSED


def _restored(kind: type[CutoverError], args: tuple[object, ...], facts: dict[str, object]) -> CutoverError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(facts)
    return error


def result_of(error: BaseException) -> Result:
    """Return what an error that ended a scenario makes of its clause.

    A failed assertion is a comparison that did not hold: FAIL. Anything that is not ours is a harness fault: ERROR.
    """
    if isinstance(error, CutoverError):
        return error.result
    return Result.FAIL if isinstance(error, AssertionError) else Result.ERROR


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code that an error alone would give the process."""
    if isinstance(error, CutoverError):
        return error.exit_code
    return ExitCode.FAILED if isinstance(error, AssertionError) else ExitCode.COULD_NOT_MEASURE


def render(error: CutoverError, clause: Clause | str | None = None, *, word: str = "") -> str:
    """Return the block the operator reads: one line saying what, then seen, cause, guide, do, state where known.

    word: what it starts with; by default the result (`FAIL`, `ERROR`, ...) or `REFUSED`.
    """
    clause_id = clause if isinstance(clause, str) else clause.id if clause is not None else ""
    opening = word or ("REFUSED" if isinstance(error, Refused) else str(error.result))
    return block(
        opening,
        clause_id,
        error.message,
        seen=error.seen,
        cause=error.cause_text,
        guide=error.guide or clause_id,
        do=error.do,
        state=error.state,
    )


def block(opening: str, clause_id: str, message: str, **rows: str) -> str:
    """Return the same block from its parts; empty rows are left out, and the order is the caller's."""
    lines = [f"{opening} {clause_id}  {message}" if clause_id else f"{opening}: {message}"]
    for label, text in rows.items():
        for index, row in enumerate(text.splitlines()):
            lines.append(f"     {label if index == 0 else '':<{_LABEL_WIDTH}}{row}")
    return "\n".join(lines)
