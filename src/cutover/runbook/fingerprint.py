"""The state of a site, so far as going back must restore it: taken before green comes, compared after the way back.

Schema, migrations, sequences, routes, blue's replicas and images, and the evidence of the time.
Invariants: a difference is allowed for one of the reasons named here or not at all; of what was taken the record keeps
the whole, its digest is in the journal; taking changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from cutover.clock import rfc3339
from cutover.errors import ClauseFailed
from cutover.files import write_whole
from cutover.runbook.journal import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cutover.model import Roles
    from cutover.runbook.upgrade import Upgrade

SCHEMA = "cutover/state/v1"
FACT = "state"
FOLDER = ("artifacts", "state")
COMPATIBLE = "A"
"""The category of migrations that the release before works with."""
ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceState:
    """The evidence up to a number of leaves, and how much of it there is in all."""

    leaves: int
    root: str
    """Of the tree over the first `leaves` items, recomputed from their rows, in hex."""
    items: int
    """All of them, later ones too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The state of a site at one moment."""

    blue: str
    """The colour whose workloads are in it."""
    schema: Mapping[str, str]
    """By table and column, constraint or index: what it is. A column that must be given a value says `required`."""
    migrations: Mapping[str, str]
    """By id: category, release and checksum, with spaces between."""
    sequences: Mapping[str, int | None]
    """By name: the last value given, None before the first."""
    routes: Mapping[str, str]
    replicas: Mapping[str, int]
    """By deployment of blue: how many are wanted."""
    images: tuple[str, ...]
    """Digests of what blue's pods run, sorted."""
    evidence: EvidenceState | None
    """None where it was left out."""

    def document(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {"schema": SCHEMA, "state": plain(self)}

    @staticmethod
    def of(document: Mapping[str, Any]) -> Fingerprint:
        """Return what `document` gave. Raises KeyError, TypeError for anything else."""
        state = dict(document["state"])
        evidence = state.pop("evidence")
        images = tuple(state.pop("images"))
        return Fingerprint(**state, images=images, evidence=EvidenceState(**evidence) if evidence else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it was."""

    part: str
    """A field of `Fingerprint`."""
    name: str
    before: str
    after: str
    why: str
    """Why it may be so, or what it means."""
    is_allowed: bool = field(default=False)

    def __str__(self) -> str:
        return f"{self.part} {self.name}: {self.before} before, {self.after} now; {self.why}"


class HasState(Protocol):
    """A site, as far as its state can be taken."""

    def state(self, roles: Roles, *, leaves: int | None = None, with_evidence: bool = True) -> Fingerprint:
        """Look at everything. leaves: so many items of evidence go into the root; None for all there are."""
        ...


def take(upgrade: Upgrade, site: HasState) -> Fingerprint:
    """Keep the state as it is before green comes; once it is kept, return that.

    Raises:
        ClauseFailed: `state-altered`, what the record kept is not what was taken.
        CouldNotMeasure: something does not answer.
    """
    found = kept(upgrade)
    if found is not None:
        return found
    found = site.state(upgrade.roles)
    path = upgrade.path(*FOLDER, "before.json")
    digest = _write(path, {**found.document(), "taken": rfc3339(upgrade.clock.now())})
    upgrade.remember(FACT, path=path.relative_to(upgrade.folder), digest=digest, blue=found.blue)
    return found


def kept(upgrade: Upgrade) -> Fingerprint | None:
    """Return the state before green came; None when nobody kept it.

    Raises:
        ClauseFailed: `state-altered`, it is not what was taken.
    """
    if not upgrade.knows(FACT):
        return None
    facts = upgrade.recall(FACT)
    try:
        content = (upgrade.folder / facts["path"]).read_bytes()
        found = Fingerprint.of(json.loads(content))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise _altered(str(problem)) from problem
    if (digest := _digest(content)) != facts["digest"]:
        raise _altered(f"{digest} (expected {facts['digest']})")
    return found


def _altered(seen: str) -> ClauseFailed:
    return ClauseFailed(
        "the state of the site that the record kept is not the one that was taken",
        code="state-altered",
        seen=seen,
        do="find out who wrote into the record; compare schema, routes and workloads with the backup by hand",
    )


def compare(upgrade: Upgrade, site: HasState, *, with_evidence: bool = True) -> tuple[Difference, ...] | None:
    """Look at the state now and return in what it differs from the one before green; None when nobody kept that.

    What was seen goes into the record, and how much differs into the journal. Raises: as `kept`, and as looking does.
    """
    before = kept(upgrade)
    if before is None:
        upgrade.journal.write("state_compared", kept=False, allowed=0, forbidden=[])
        return None
    leaves = before.evidence.leaves if before.evidence is not None else None
    after = site.state(upgrade.roles, leaves=leaves, with_evidence=with_evidence and before.evidence is not None)
    found = differences(before, after)
    left_out = "" if with_evidence else "-without-evidence"
    path = upgrade.path(*FOLDER, f"after-{upgrade.attempt}{left_out}.json")
    taken = rfc3339(upgrade.clock.now())
    _write(path, {**after.document(), "taken": taken, "differences": plain(found)})
    upgrade.journal.write(
        "state_compared",
        kept=True,
        path=path.relative_to(upgrade.folder),
        evidence=after.evidence is not None,
        allowed=sum(one.is_allowed for one in found),
        forbidden=[str(one) for one in forbidden(found)],
    )
    return found


def forbidden(found: Iterable[Difference]) -> tuple[Difference, ...]:
    """Return the differences that nothing allows."""
    return tuple(one for one in found if not one.is_allowed)


def _write(path: Path, document: Mapping[str, Any]) -> str:
    """Write a document, in place of one that an attempt may have left, and return its digest."""
    content = json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n"
    write_whole(path, content)
    return _digest(content)


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


# -- differences -------------------------------------------------------------------------------------------------------


def differences(before: Fingerprint, after: Fingerprint) -> tuple[Difference, ...]:
    """Return in what a later state differs, part by part; evidence only where both have it.

    Allowed are what migrations of category A add, sequences that went on, evidence that grew, and more replicas.
    """
    return (
        *_migrations(before, after),
        *_schema(before, after),
        *_sequences(before, after),
        *_routes(before, after),
        *_replicas(before, after),
        *_images(before, after),
        *_evidence(before, after),
    )


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the names whose values differ, with both values; None for one that is not there."""
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old != new or (name in before) is not (name in after):
            yield name, old, new


def _category(migration: str) -> str:
    return migration.partition(" ")[0]


def _is_expanded(before: Fingerprint, after: Fingerprint) -> bool:
    """Whether a migration of category A was applied between the two."""
    added = (value for key, value in after.migrations.items() if key not in before.migrations)
    return any(_category(value) == COMPATIBLE for value in added)


def _migrations(before: Fingerprint, after: Fingerprint) -> Iterator[Difference]:
    for name, old, new in _changed(before.migrations, after.migrations):
        is_compatible = old is None and _category(new) == COMPATIBLE
        why = (
            "category A stays: the release before works with it"
            if is_compatible
            else "the release before does not work with it"
            if old is None
            else "a migration that was applied is not there as it was"
        )
        yield _difference("migrations", name, old, new, why, is_allowed=is_compatible)


def _schema(before: Fingerprint, after: Fingerprint) -> Iterator[Difference]:
    expanded = _is_expanded(before, after)
    tables = {_table(name) for name in before.schema}
    for name, old, new in _changed(before.schema, after.schema):
        is_bearable = _table(name) not in tables or not str(new).endswith(" required")
        if old is not None:
            why, allowed = "what was there is gone or is something else", False
        elif not expanded:
            why, allowed = "no migration of category A was applied that could have added it", False
        elif not is_bearable:
            why, allowed = "the release before does not give it a value: its writes fail", False
        else:
            why, allowed = "added by category A", True
        yield _difference("schema", name, old, new, why, is_allowed=allowed)


def _table(name: str) -> str:
    return name.partition(" ")[0]


def _sequences(before: Fingerprint, after: Fingerprint) -> Iterator[Difference]:
    expanded = _is_expanded(before, after)
    for name, old, new in _changed(before.sequences, after.sequences):
        if name not in before.sequences:
            why, allowed = "added by category A" if expanded else "nobody is known to have added it", expanded
        elif name not in after.sequences:
            why, allowed = "the sequence is gone", False
        else:
            allowed = new is not None and (old is None or new > old)
            why = "went on" if allowed else "went back: numbers would be given twice"
        yield _difference("sequences", name, old, new, why, is_allowed=allowed)


def _routes(before: Fingerprint, after: Fingerprint) -> Iterator[Difference]:
    for name, old, new in _changed(before.routes, after.routes):
        yield _difference("routes", name, old, new, "the routes are not what they were")


def _replicas(before: Fingerprint, after: Fingerprint) -> Iterator[Difference]:
    for name, old, new in _changed(before.replicas, after.replicas):
        more = old is not None and new is not None and new > old
        why = "more than before" if more else "blue is not what it was"
        yield _difference("replicas", name, old, new, why, is_allowed=more)


def _images(before: Fingerprint, after: Fingerprint) -> Iterator[Difference]:
    if before.images != after.images:
        old, new = (", ".join(one.images) or "none" for one in (before, after))
        yield _difference("images", before.blue, old, new, "blue runs another image")


def _evidence(before: Fingerprint, after: Fingerprint) -> Iterator[Difference]:
    old, new = before.evidence, after.evidence
    if old is None or new is None:
        return
    if (old.leaves, old.root) != (new.leaves, new.root):
        was, found = (f"{one.root} over {one.leaves}" for one in (old, new))
        yield _difference("evidence", "root", was, found, "the evidence of the time is not what it was")
    if old.items != new.items:
        grew = new.items > old.items
        why = "grew" if grew else "items are missing"
        yield _difference("evidence", "items", old.items, new.items, why, is_allowed=grew)


def _difference(
    part: str, name: str, before: object, after: object, why: str, *, is_allowed: bool = False
) -> Difference:
    old, new = (ABSENT if value is None else str(value) for value in (before, after))
    return Difference(part=part, name=name, before=old, after=new, why=why, is_allowed=is_allowed)


def describe(found: Sequence[Difference]) -> str:
    """Return differences for a person, one a line."""
    return "\n".join(map(str, found)) or "nothing differs"
