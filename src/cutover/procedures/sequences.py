"""Sequences: before requests move to another colour, no id that is about to be given may be in use (F.13, R.2d).

A table that was restored, replicated or filled with ids of its own leaves its sequence behind; the next insert fails.
Invariant: every sequence that gives a column ids is compared with that column; a database without one passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from cutover.site import Site
    from cutover.site.database import Database, SequenceState

SHOWN = 5


def require_ahead(site: Site) -> tuple[SequenceState, ...]:
    """Demand of the site's database what `require_ahead_in` demands, and write down how many sequences there were."""
    found = require_ahead_in(site.database)
    if site.journal is not None:
        site.journal.write("observation", what="every sequence is ahead of the ids in use", sequences=len(found))
    return found


def require_ahead_in(database: Database) -> tuple[SequenceState, ...]:
    """Demand that every sequence of a database gives ids next that no row has, and has some left; return them all.

    Raises:
        ClauseFailed: `sequence-behind`, `sequence-exhausted`.
        CouldNotMeasure: the database does not answer, or does not show its sequences.
    """
    states = database.sequences()
    behind = [state for state in states if not state.is_ahead]
    expect(
        not behind,
        "the next inserts would fail: ids that are about to be given are in use",
        seen="; ".join(
            f"{state.name} gives {state.following} next, {state.column} holds {state.farthest}"
            for state in behind[:SHOWN]
        ),
        do="set each ahead while nobody writes: "
        + "; ".join(f"SELECT setval('{state.name}', {state.farthest})" for state in behind[:SHOWN]),
        code="sequence-behind",
        sequences=[state.name for state in behind],
    )
    exhausted = [state for state in states if state.is_exhausted]
    expect(
        not exhausted,
        "the next inserts would fail: a sequence has no id left",
        seen="; ".join(f"{state.name} ends at {state.limit} for {state.column}" for state in exhausted[:SHOWN]),
        do="widen the column and its sequence before the upgrade",
        code="sequence-exhausted",
        sequences=[state.name for state in exhausted],
    )
    return states
