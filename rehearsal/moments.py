"""The moments at which a run is killed, chosen from the journal of one that was not.

Pure. Invariants: the same journal, seed and numbers give the same cases, whoever asks, so that shards and a second call
agree; the moments of a case are in the order of the run; every moment is used once.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from rehearsal.killing import START, Moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

T = TypeVar("T")

BY_THE_CLOCK = frozenset({"load", "wait", "lock", "run_started", "plan"})
"""Lines that come when it is time for them, wherever the run is; and those before anybody listens to the journal."""
REPEATED = frozenset({"gate", "markers", "share", "routes"})
"""Lines of every sample: of those in a clause the first is a boundary, and one in the middle."""
STEP = "step"
_LEAST_INSIDE_S = 0.02
_FIRST_S = 3.0
"""A run has its record and its first clause within so long."""
_STARTS = 3
_TORN_EVERY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill, and what is made of the journal before the run goes on."""

    moment: Moment
    is_torn: bool = False
    """The process died within the write of its next line: half of one is at the end."""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Kill:
        """Read it from JSON's types."""
        return cls(moment=Moment(**document["moment"]), is_torn=document["is_torn"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One upgrade of one site, killed at each of these moments and gone on with each time."""

    strategy: str
    kills: tuple[Kill, ...]

    @property
    def name(self) -> str:
        """The same for the same kills, so that what was done is known again."""
        text = json.dumps([asdict(kill) for kill in self.kills], sort_keys=True)
        return f"{self.strategy}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def boundaries(entries: Sequence[Mapping[str, Any]]) -> list[tuple[float, Moment]]:
    """Return a moment right after each line of a journal, with when that was: seconds since its beginning."""
    kept = [entry for entry in entries if entry["event"] not in BY_THE_CLOCK]
    total: dict[tuple[str, str, str], int] = {}
    for entry in kept:
        total[_kind(entry)] = total.get(_kind(entry), 0) + 1
    counted: dict[tuple[str, str, str], int] = {}
    found = []
    for entry in kept:
        kind = _kind(entry)
        counted[kind] = nth = counted.get(kind, 0) + 1
        if entry["event"] in REPEATED and nth not in {1, (total[kind] + 1) // 2}:
            continue
        clause, event, action = kind
        found.append((_since(entries, entry), Moment(event=event, clause=clause, action=action, nth=nth)))
    return found


def insides(entries: Sequence[Mapping[str, Any]], chance: random.Random) -> list[tuple[float, Moment]]:
    """Return moments inside of what takes time: each action, each clause, and what comes before the first line."""
    found = []
    begun: dict[tuple[str, str], tuple[Mapping[str, Any], int]] = {}
    counted: dict[tuple[str, str, str], int] = {}
    for entry in entries:
        kind = _kind(entry)
        clause, event, action = kind
        counted[kind] = counted.get(kind, 0) + 1
        if event in {"intent", "clause_started"}:
            begun[clause, action] = (entry, counted[kind])
        elif event in {"done", "clause_finished"} and (clause, action) in begun:
            start, nth = begun.pop((clause, action))
            lasted_s = _since(entries, entry) - _since(entries, start)
            if lasted_s >= _LEAST_INSIDE_S:
                after_s = round(chance.uniform(_LEAST_INSIDE_S / 2, lasted_s), 3)
                moment = Moment(event=start["event"], clause=clause, action=action, nth=nth, after_s=after_s)
                found.append((_since(entries, start) + after_s, moment))
    for _ in range(_STARTS):
        after_s = round(chance.uniform(0, _FIRST_S), 3)
        found.append((after_s - _FIRST_S, Moment(event=START, after_s=after_s)))
    return found


def _kind(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return entry["clause"] or "", entry["event"], str(entry["data"].get("action", ""))


def _since(entries: Sequence[Mapping[str, Any]], entry: Mapping[str, Any]) -> float:
    """Return the seconds between a journal's first line and another."""
    from datetime import datetime  # noqa: PLC0415 - beside its use

    first, then = (datetime.fromisoformat(each["time"]) for each in (entries[0], entry))
    return (then - first).total_seconds()


def cases(
    entries: Sequence[Mapping[str, Any]], strategy: str, *, seed: int, kills: int, kills_per_site: int
) -> list[Case]:
    """Deal moments to sites: at most so many kills in all, 0 for every one there is, and so many for each site.

    Of more moments than are wanted, half are inside of actions and clauses; both are taken evenly over the run, and of
    the steps of a clause the first alone.
    """
    chance = random.Random(f"{seed} {strategy}")  # noqa: S311 - which moments are taken is no secret
    inside = insides(entries, chance)
    on_line = boundaries(entries)
    if kills:
        inside = _evenly(sorted(inside, key=_when), min(len(inside), kills // 2))
        told = [pair for pair in on_line if pair[1].event != STEP or pair[1].nth == 1]
        on_line = _evenly(told, min(len(told), kills - len(inside)))
    chosen = [moment for _, moment in sorted([*inside, *on_line], key=_when)]
    sites = -(-len(chosen) // kills_per_site)
    dealt = [chosen[site::sites] for site in range(sites)]
    return [Case(strategy=strategy, kills=tuple(_armed(moments, chance))) for moments in dealt]


def _armed(moments: Iterable[Moment], chance: random.Random) -> Iterable[Kill]:
    for moment in moments:
        whole = Moment(**{**asdict(moment), "is_whole": chance.random() < 0.5})
        yield Kill(moment=whole, is_torn=chance.randrange(_TORN_EVERY) == 0)


def _when(pair: tuple[float, Moment]) -> float:
    return pair[0]


def _evenly(pairs: list[tuple[float, Moment]], count: int) -> list[tuple[float, Moment]]:
    """Return so many of them, spread evenly over their order."""
    return [pairs[index * len(pairs) // count] for index in range(count)]


def of_shard(every: Sequence[T], shard: int, shards: int) -> list[T]:
    """Return what belongs to one shard, 1 to `shards`."""
    return [case for index, case in enumerate(every) if index % shards == shard - 1]
