"""Going on with a record that another process began: whether that may be, and what is left to do.

What is decided follows from the journal and from who answers at the public host now; that the process which began it
meant to do something counts for nothing.
Invariants: an attempt that cannot lead anywhere is refused before a line is written; a run that was going back, or had
failed under traffic, is gone on with only to bring blue back; what is not kept is performed again from its beginning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cutover.clock import parse_rfc3339
from cutover.errors import Refused
from cutover.model import Outcome, Result
from cutover.runbook import attempts as attempted
from cutover.runbook import records
from cutover.runbook.attempts import Procedure
from cutover.runbook.plan import ROLLBACK_CLAUSE, NotRunKind
from cutover.runbook.upgrade import MOVING_ACTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cutover.model import Clause
    from cutover.runbook.attempts import Attempt
    from cutover.runbook.catalogue import Catalogue
    from cutover.runbook.ports import Served
    from cutover.runbook.upgrade import Upgrade

CLAUSES_OF: Mapping[Procedure, tuple[str, ...]] = {
    Procedure.OBSERVE: ("5.1",),
    Procedure.DECOMMISSION: ("5.2a", "5.2b"),
    Procedure.CONTRACT: ("C.1",),
}
"""What a procedure beside the plan performs; of a rollback the reverse plan says it."""
_BACKUPS: Mapping[str, str] = {"1.2a": "database", "1.2b": "evidence", "1.2c": "configuration", "1.2d": "secrets"}
"""By clause, the name under which the journal keeps what each backup is."""

_BEFORE_REMOVAL = (1, 2, 3, 4)
"""The phases that come before blue's removal, but for the observation, which has a check of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoingOn:
    """What a further attempt finds."""

    attempts: tuple[Attempt, ...]
    """Those before it."""
    since: Mapping[str, int]
    """By clause that has passed: the number of the line that says so."""
    again: Mapping[str, str]
    """Of those, the ones to perform again, with the reason."""
    halted: str
    """Why nothing but the way back to blue is performed; empty when the attempt goes forwards."""

    @property
    def left_rollback_open(self) -> bool:
        """Whether the way back was begun as a clause and has no result: it is proven again, whoever serves by now."""
        began = attempted.decisive(self.attempts, ROLLBACK_CLAUSE)
        return bool(began) and attempted.result_of(self.attempts, ROLLBACK_CLAUSE) is None

    def keeps(self, clauses: Iterable[Clause]) -> bool:
        """Whether the earlier result of every one of these clauses stands."""
        return all(clause.id in self.since and clause.id not in self.again for clause in clauses)

    @staticmethod
    def of(upgrade: Upgrade, catalogue: Catalogue, procedure: Procedure, served: Served) -> GoingOn:
        """Decide. served: who answers at the public host now.

        Raises:
            Refused: this procedure cannot go on from where the record stands.
        """
        known = _as_sealed(upgrade)
        results = attempted.results(known, catalogue)
        failed = tuple(clause_id for clause_id in attempted.bad(results) if catalogue[clause_id].phase != "rollback")
        halted = ""
        if procedure.follows_plan:
            halted = _halted(upgrade, known, failed, results)
            _admit(upgrade, known, failed, halted)
        elif procedure in {Procedure.OBSERVE, Procedure.DECOMMISSION}:
            _admit_after_cutover(upgrade, procedure, failed)
        if procedure is Procedure.DECOMMISSION:
            _require_all_done(known, catalogue, results)
        again: Mapping[str, str] = {}
        if procedure.follows_plan:
            blue_alone = served.only(upgrade.roles.blue.name)
            again = attempted.to_repeat(
                known, catalogue, traffic_on_green=upgrade.traffic_moved, blue_serves_alone=blue_alone
            )
            if not upgrade.traffic_moved:
                again = {**again, **outdated_backups(upgrade, results)}
        return GoingOn(
            attempts=known,
            since=_passed(known, results) if procedure is not Procedure.ROLLBACK else {},
            again=again,
            halted=halted,
        )


def _as_sealed(upgrade: Upgrade) -> tuple[Attempt, ...]:
    """Return the attempts so far; the newest has not ended when it died between its last line and its verdict."""
    known = attempted.split(upgrade.journal.entries())
    if not known or known[-1].finished is None:
        return known
    _, sealed = records.sealed(upgrade.folder)
    if sealed == known[-1].finished.digest:
        return known
    left = tuple(entry for entry in known[-1].entries if entry.event != attempted.FINISHED)
    return (*known[:-1], replace(known[-1], entries=left))


def continued(asked: Procedure, known: Sequence[Attempt]) -> Procedure:
    """Return what an attempt performs: `resume` goes on with whatever procedure was broken off."""
    newest = known[-1]
    if asked is Procedure.RESUME and newest.finished is None and not newest.procedure.follows_plan:
        return newest.procedure
    return asked


def outdated_backups(upgrade: Upgrade, results: Mapping[str, Result | None]) -> Mapping[str, str]:
    """Return the backups that have passed and that 1.3d could not accept any more, by clause, each with the reason."""
    found: dict[str, str] = {}
    for clause_id, kind in _BACKUPS.items():
        if results.get(clause_id) is not Result.PASS or not upgrade.knows(f"backup-{kind}"):
            continue
        facts = upgrade.recall(f"backup-{kind}")
        age_s = (upgrade.clock.now() - parse_rfc3339(facts["made"])).total_seconds()
        if age_s > upgrade.policy.limits.backup_max_age_s:
            found[clause_id] = f"the {kind} backup is {age_s:.0f} s old: older than the policy allows"
        elif not (upgrade.folder / facts["path"]).exists():
            found[clause_id] = f"the {kind} backup is not in the record any more"
    return found


def _passed(known: Sequence[Attempt], results: Mapping[str, Result | None]) -> dict[str, int]:
    return {
        clause_id: attempted.decisive(known, clause_id)[-1].seq
        for clause_id, result in results.items()
        if result is Result.PASS
    }


def _halted(
    upgrade: Upgrade, known: Sequence[Attempt], failed: Sequence[str], results: Mapping[str, Result | None]
) -> str:
    """Return why the attempt may only bring blue back, or only complete the record; empty when it may go forwards."""
    newest = known[-1]
    if upgrade.needs_rollback:
        going_back = attempted.begun_to_go_back(known)
        # What did not pass days after the cutover, and sent nothing back, is looked at again.
        standing = failed if upgrade.way_back_is_open else [each for each in failed if not each.startswith("5.")]
        if standing:
            return f"{standing[0]} was {results[standing[0]]} before the interruption"
        return f"{going_back} before the interruption" if going_back else ""
    if failed and newest.finished is None and _ever_moved(upgrade) and not upgrade.decommissioned:
        return f"{failed[0]} was {results[failed[0]]}, and blue has the traffic again"
    return ""


def _admit(upgrade: Upgrade, known: Sequence[Attempt], failed: Sequence[str], halted: str) -> None:
    newest = known[-1]
    if newest.outcome == Outcome.PASSED:
        raise Refused(
            f"nothing is left to resume: the upgrade {upgrade.id} has PASSED",
            code="nothing-left",
            do="go on with ./cutover observe or ./cutover decommission where those are still to come",
            state="nothing was changed",
        )
    if newest.procedure is Procedure.ROLLBACK and newest.finished is not None:
        raise Refused(
            f"the upgrade {upgrade.id} was rolled back, and its record is complete",
            code="rolled-back",
            do="begin a new one: ./cutover run",
            state="nothing was changed",
        )
    if failed and not halted and _ever_moved(upgrade) and not upgrade.decommissioned and newest.finished is not None:
        raise Refused(
            f"the upgrade {upgrade.id} has ended: {failed[0]} did not pass, and the traffic went back to blue",
            code="ended",
            do="mend the cause, then begin a new one: ./cutover run",
            state="nothing was changed",
        )


def _admit_after_cutover(upgrade: Upgrade, procedure: Procedure, failed: Sequence[str]) -> None:
    standing = [clause_id for clause_id in failed if not clause_id.startswith("5.")]
    if not upgrade.traffic_moved or upgrade.journal.last("intent", action="promote") is None:
        raise Refused(
            f"there is nothing to {procedure}: green does not have the traffic",
            code="not-promoted",
            guide="5.1",
            do="perform the cutover first: ./cutover run, or ./cutover resume",
            state="nothing was changed",
        )
    if standing:
        raise Refused(
            f"blue may not be given up: {standing[0]} did not pass",
            code="not-passed",
            guide="5.1",
            do="mend the cause, or go back: ./cutover rollback",
            state="nothing was changed",
        )


def _require_all_done(known: Sequence[Attempt], catalogue: Catalogue, results: Mapping[str, Result | None]) -> None:
    """Refuse to remove blue while a clause of the phases before has no result that allows it. Raises Refused."""
    left = [
        clause.id
        for clause in catalogue
        if clause.built and clause.stage in _BEFORE_REMOVAL and not _is_done(known, clause.id, results[clause.id])
    ]
    if left:
        raise Refused(
            f"blue may not be given up: {left[0]} was not performed"
            + (f", nor {len(left) - 1} more" * (len(left) > 1)),
            code="not-performed",
            seen=", ".join(left),
            guide="5.2",
            do="perform what is left first: ./cutover resume --until 4",
            state="nothing was changed",
        )


def _is_done(known: Sequence[Attempt], clause_id: str, result: Result | None) -> bool:
    if result is not Result.NOT_RUN:
        return result is Result.PASS
    return NotRunKind(attempted.decisive(known, clause_id)[-1].data["kind"]).allows_passing


def _ever_moved(upgrade: Upgrade) -> bool:
    return any(upgrade.journal.last("intent", action=action) for action in MOVING_ACTIONS)
