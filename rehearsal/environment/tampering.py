"""Altering evidence: every kind of alteration that `contract/faults.toml` lists, done to a real site.

A kind is struck on the site's PostgreSQL, its log's database, its store, or the files and keys of its operator, by a
seeded random generator that also picks the victims. Whoever strikes is told what must be found.

Invariants: a kind is struck whole or not at all; the same seed on the same site does the same; undone, the site is as
it was. Nothing here asks what verification does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rehearsal.environment import faults
from rehearsal.environment.deeds import DEEDS
from rehearsal.environment.hand import Hand, Site

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from rehearsal.environment.faults import Expected
    from rehearsal.environment.hand import Names

__all__ = ["Site", "Struck", "deeds", "strike"]


@dataclass(slots=True, kw_only=True)
class Struck:
    """What was done: the kind, the layer, the victims by name, the findings it must lead to, and the way back."""

    kind: str
    layer: str
    names: Names
    findings: tuple[Expected, ...]
    way_back: list[Callable[[], None]] = field(repr=False)

    @property
    def victims(self) -> tuple[str, ...]:
        """What was altered, as findings call it: evidence ids, or names such as `root of schema 1 at 40`."""
        return tuple(dict.fromkeys(finding.item for finding in self.findings))

    def undo(self) -> None:
        """Bring the site back to what it was, newest change first; a second time does nothing."""
        while self.way_back:
            self.way_back.pop(0)()


def strike(kind: str, site: Site, rng: random.Random) -> Struck:
    """Alter evidence in one way.

    Raises: KeyError for a kind that is not listed; LookupError when the site has nothing of that sort.
    """
    listed = faults.alterations()[kind]
    hand = Hand(site=site, rng=rng, kinds=listed.items)
    try:
        names = DEEDS[kind](hand)
    except BaseException:
        for step in hand.way_back():
            step()
        raise
    found = tuple(dict.fromkeys(one for pattern in listed.findings for one in pattern.named(names)))
    return Struck(kind=kind, layer=listed.layer, names=names, findings=found, way_back=hand.way_back())


def deeds() -> tuple[str, ...]:
    """Return the kinds that can be struck."""
    return tuple(DEEDS)
