"""Upgrade after upgrade on one site: release by release, the colours swapped each time, each record naming the last.

Invariants: what a person does between two upgrades is done as a person does it: the schema contracted by the command
line, the target file pointed at the next release, its plan approved anew. Who serves is for the harness to see.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rehearsal import chained
from rehearsal.environment import overrides
from rehearsal.node.catalogue import RELEASES, REPOSITORY
from rehearsal.node.images import resolve

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rehearsal.environment.layout import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One upgrade of the succession."""

    origin: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.origin} → {self.wanted}"


STEPS: tuple[Step, ...] = tuple(Step(origin=origin, wanted=wanted) for origin, wanted in pairwise(RELEASES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What one upgrade's record says."""

    record: str
    """Name of its folder."""
    verdict: dict[str, Any]
    served: tuple[str, str]
    """The colours that served before and after."""
    problem: str
    """Why it is not the one that had to follow the record before it; empty when it is."""


def point_at(place: Place, step: Step) -> None:
    """Let the target file ask for the next upgrade, as whoever keeps it would."""
    image = resolve(place.images, f"{REPOSITORY}:{step.wanted}")
    wanted = {"from": step.origin, "to": step.wanted, "image_digests": [image.digest]}
    overrides.write(place.target, {f"upgrade.{key}": value for key, value in wanted.items()})


def contraction(folder: Path, place: Place) -> list[str]:
    """Return the command that applies category B of the newest upgrade: the platform refuses the next one without it.

    folder: of records.
    """
    ours = _records(folder, place)
    record = str(ours[-1][0]) if ours else "RECORD"
    return [sys.executable, "-m", "cutover.cli", "contract", record]


def told(folder: Path, place: Place) -> list[Done]:
    """Return what the records of a site came to, oldest first, each held to the one before it. folder: of records."""
    done: list[Done] = []
    for record, entries in _records(folder, place):
        verdict = json.loads((record / "verdict.json").read_bytes())
        before = folder / done[-1].record if done else None
        done.append(
            Done(
                record=record.name,
                verdict=verdict,
                served=_roles(entries),
                problem=_problem(record, entries, verdict, before, done[-1] if done else None),
            )
        )
    return done


def _roles(entries: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Return the colour that served when the upgrade began, and the one that it went to; empty when nobody looked."""
    for entry in entries:
        if entry["event"] == "observation" and entry["data"].get("what") == "roles":
            return str(entry["data"]["blue"]), str(entry["data"]["green"])
    return "", ""


def _records(folder: Path, place: Place) -> list[tuple[Path, list[dict[str, Any]]]]:
    """Return folder and journal of each record of a site, oldest first; it is known by its target file."""
    found = []
    for path in folder.glob("*/journal.jsonl"):
        entries = chained.entries(path)
        if entries and entries[0]["data"].get("target", {}).get("file") == str(place.target):
            found.append((path.parent, entries))
    return sorted(found, key=lambda one: str(one[1][0]["time"]))


def _problem(
    record: Path, entries: Sequence[dict[str, Any]], verdict: dict[str, Any], before: Path | None, last: Done | None
) -> str:
    """Return why a record is not sound, or does not follow the one before it; empty when it does."""
    if line := chained.broken_line(record / "journal.jsonl"):
        return f"line {line} of its journal is not what was written"
    said = entries[0]["data"].get("previous")
    if said != verdict.get("previous"):
        return "its verdict names another record before it than its journal"
    if before is None or last is None:
        return "" if said is None else f"it names {said['id']} before it, and there was none"
    lines = chained.entries(before / "journal.jsonl")
    digest = f"sha256:{hashlib.sha256((before / 'verdict.json').read_bytes()).hexdigest()}"
    wanted = (last.record, last.verdict["upgrade"]["to"], len(lines), lines[-1]["digest"], digest, True, "")
    named = said or {"journal": {}}
    got = (
        *(named.get(key) for key in ("id", "to")),
        *(named["journal"].get(key) for key in ("entries", "head")),
        *(named.get(key) for key in ("verdict_sha256", "contracted", "problem")),
    )
    return "" if got == wanted else f"it names {got} before it, which was {wanted}"


def lines(done: Sequence[Done]) -> list[str]:
    """Return a line an upgrade, for a person."""
    found = []
    for number, one in enumerate(done, 1):
        upgrade, previous = one.verdict["upgrade"], one.verdict.get("previous")
        follows = f"follows {previous['id']}" if previous else "the first"
        said = f"{number}  {upgrade['from']} → {upgrade['to']}  {one.verdict['result']:<12} {' → '.join(one.served)}"
        found.append(f"{said:<52} record {one.record}, {one.problem or follows}")
    return found


def is_sound(done: Sequence[Done]) -> bool:
    """Whether every release was reached, each record PASSED and linked, and the colours changed each time."""
    reached = [(one.verdict["upgrade"]["from"], one.verdict["upgrade"]["to"]) for one in done]
    swapped = all(after.served == before.served[::-1] for before, after in pairwise(done))
    passed = all(one.verdict["result"] == "PASSED" and not one.problem for one in done)
    return reached == [(step.origin, step.wanted) for step in STEPS] and swapped and passed
