"""The immediate rollback: every request back to blue, and proof that it is so (R.1, deviation F.4).

The guide patches the public route alone; during a gradual cutover that changes nothing, for the canary goes on
sending. `send_back` does it at once, before anybody looks for the cause; `restore_blue` makes sure of it and proves it.
Invariants: success is what the public host's answers show, never what was written to an object; the rollback needs
nothing from green; it is attempted whatever was observed before.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.errors import CutoverError, Timeout
from cutover.runbook.attempts import RESUMED

if TYPE_CHECKING:
    from cutover.runbook.journal import Entry
    from cutover.runbook.ports import Served, SitePorts
    from cutover.runbook.upgrade import Upgrade

NOBODY = "nobody"
MIXED = "mixed"
_SERVES_AGAIN = "blue serves again"
_LOOK = 20
"""Requests of a first look at who serves, and of the last when blue alone does not."""
_PROOF = 100
"""Requests of the proof, each on a connection of its own: a weight of 10 would show itself all but surely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackReport:
    """What a rollback came to."""

    took_s: float
    """From the decision to the first look that saw blue alone, or to giving up."""
    serves: str
    """The name of the colour that answers every request, `nobody`, or `mixed`."""
    verified_requests: int
    """Requests of the proof, all answered by blue; 0 when it was not proven."""
    detail: str

    @property
    def is_proven(self) -> bool:
        """Whether every request of the proof was answered by blue."""
        return self.verified_requests > 0


def send_back(upgrade: Upgrade, site: SitePorts, trigger: object) -> None:
    """Send every request back to blue at once and see that it serves; the proof, and what fails here, is R.1's.

    Done once: while a rollback is not finished it is not begun again. trigger: why; an error, or a sentence. Raises
    nothing of ours.
    """
    if _begun(upgrade) is not None:
        return
    blue = upgrade.roles.blue
    upgrade.journal.write("rollback_started", trigger=_sentence(trigger))
    started_s = upgrade.clock.monotonic()
    with contextlib.suppress(CutoverError):
        with upgrade.shield(), upgrade.journal.action("restore", to=blue.name):
            site.routing.restore()
        upgrade.wait_for(
            "blue to serve again",
            lambda: site.routing.who_serves(_LOOK),
            until=lambda served: served.only(blue.name),
            bound_s=upgrade.policy.limits.rollback_s,
            interval_s=0.1,
        )
        took_s = round(upgrade.clock.monotonic() - started_s, 3)
        upgrade.journal.write("observation", what=_SERVES_AGAIN, colour=blue.name, took_s=took_s, requests=_LOOK)


def restore_blue(upgrade: Upgrade, site: SitePorts, trigger: object) -> RollbackReport:
    """Send every request back to blue and prove it; when it cannot be proven, say who serves.

    Goes on with what `send_back` began. trigger: why; an error, or a sentence. Raises nothing for a blue that does not
    serve: the report says so. Raises: CutoverError when the route itself cannot be changed, after writing down that the
    rollback was tried.
    """
    blue = upgrade.roles.blue
    begun = _begun(upgrade)
    if begun is None:
        begun = upgrade.journal.write("rollback_started", trigger=_sentence(trigger))
    started_s = upgrade.clock.monotonic() - (upgrade.clock.now() - begun.time).total_seconds()
    try:
        with upgrade.shield(), upgrade.journal.action("restore", to=blue.name):
            site.routing.restore()
    except CutoverError as error:
        served = site.routing.who_serves(_LOOK)
        _finish(upgrade, started_s, serves=who(served), verified=0, detail=f"{error.message}; {served}")
        raise
    proof, detail = None, ""
    try:
        proof = upgrade.wait_for(
            "every request to be served by blue",
            lambda: site.routing.who_serves(_PROOF),
            until=lambda served: served.only(blue.name),
            bound_s=upgrade.policy.limits.rollback_s,
            interval_s=0.2,
            code="rollback-unproven",
        )
    except Timeout as error:
        detail = error.seen
    took_s = upgrade.clock.monotonic() - started_s
    seen = upgrade.journal.last("observation", what=_SERVES_AGAIN)
    if proof is not None and seen is not None and seen.seq > begun.seq:
        took_s = float(seen.data["took_s"])
    upgrade.deviation(
        "F.4",
        did="took green out of what splits the traffic, let the public route name blue, proved who serves",
        instead_of="patching the primary Ingress alone",
        why="during a gradual cutover the primary already names blue, and the split goes on sending to green",
    )
    served = proof or site.routing.who_serves(_LOOK)
    serves = who(served)
    if proof is None and serves == blue.name:
        serves = MIXED  # few requests of blue alone prove nothing after many that were not
    return _finish(
        upgrade,
        started_s,
        took_s=took_s,
        serves=serves,
        verified=proof.total if proof else 0,
        detail=detail or str(served),
    )


def _begun(upgrade: Upgrade) -> Entry | None:
    """Return the entry that began a rollback which is not finished, or None.

    One that another process began is begun anew: how long nobody went on with it says nothing of how long it takes.
    """
    for entry in reversed(upgrade.journal.entries()):
        if entry.event in {"rollback_finished", RESUMED}:
            return None
        if entry.event == "rollback_started":
            return entry
    return None


def who(served: Served) -> str:
    """Return who serves by a number of answers: one colour, `nobody`, or `mixed`."""
    if served.single_colour is not None:
        return served.single_colour
    return MIXED if served.by_colour else NOBODY


def _finish(
    upgrade: Upgrade, started_s: float, *, serves: str, verified: int, detail: str, took_s: float | None = None
) -> RollbackReport:
    took_s = upgrade.clock.monotonic() - started_s if took_s is None else took_s
    report = RollbackReport(took_s=round(took_s, 3), serves=serves, verified_requests=verified, detail=detail)
    upgrade.journal.write(
        "rollback_finished", took_s=report.took_s, serves=serves, verified_requests=verified, detail=detail
    )
    return report


def _sentence(trigger: object) -> str:
    if isinstance(trigger, CutoverError):
        return trigger.message
    return str(trigger) if trigger else "asked for"
