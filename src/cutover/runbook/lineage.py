"""The upgrade before this one on the same site: which it was, how its record is linked, and whether it is finished.

The site itself says which it was: its Lease keeps the record that worked on it last, with length and head of the
journal. So a record names the one before it by digest, and one that was cut or exchanged since is told.
Invariants: nothing is written; an upgrade that sent traffic to green and is not at its end is never built upon; a
record that is not here, or not whole, is told and hinders nobody: it may lie in an archive.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutover.clock import rfc3339
from cutover.errors import JournalBroken, Refused, WrongInput
from cutover.model import Outcome, Result
from cutover.runbook import attempts, records, standing

if TYPE_CHECKING:
    from datetime import datetime

    from cutover.runbook.catalogue import Catalogue
    from cutover.runbook.records import Record
    from cutover.runbook.standing import Standing

_REMOVED, _CONTRACTED = "5.2a", "C.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """The record that worked on the site last, as the site names it and as it was found."""

    id: str
    record: str
    """Where it was when it worked on the site."""
    entries: int
    """Lines of its journal."""
    head: str
    """Digest of the last of them, `sha256:<hex>`."""
    from_release: str = ""
    to_release: str = ""
    result: str = ""
    """What its newest attempt came to; empty when it was broken off, or could not be read."""
    verdict_sha256: str = ""
    """`sha256:<hex>` over its verdict.json; empty when there is none."""
    serves_green: bool = False
    """Whether its green has the traffic, by its journal."""
    contracted: bool = False
    """Whether it applied category B of its release."""
    problem: str = ""
    """Why it could not be read, or is not the one that the site knows; empty when it is."""

    def document(self) -> dict[str, Any]:
        """Return it in JSON's types, as `run_started` and verdict.json hold it."""
        return {
            "id": self.id,
            "record": self.record,
            "from": self.from_release,
            "to": self.to_release,
            "result": self.result,
            "journal": {"entries": self.entries, "head": self.head},
            "verdict_sha256": self.verdict_sha256,
            "contracted": self.contracted,
            "problem": self.problem,
        }

    def remarks(self) -> tuple[str, ...]:
        """Return what a person is told before the upgrade begins, one sentence each."""
        if self.problem:
            return (f"the record before this one on this site, {self.id}, is not linked whole: {self.problem}",)
        said = [f"follows {self.id}: {self.from_release} → {self.to_release}, {self.result or 'broken off'}"]
        if self.serves_green and not self.contracted:
            said.append(f"{self.id} did not apply category B of {self.to_release} (C.1): the platform may ask for it")
        return tuple(said)


def before(
    folder: Path, *, record: str, entries: int, head: str, catalogue: Catalogue, now: datetime
) -> Previous | None:
    """Return the upgrade that worked on the site last; None when a process works on its record right now.

    folder: where this upgrade's record will be; the other is looked for where it was, then beside. record, entries,
    head: as the site's Lease names them.
    Raises:
        Refused: it sent traffic to green and is not at its end; says what is left to do.
    """
    name = Path(record).name
    try:
        found = _read(Path(record), folder / name)
    except (WrongInput, JournalBroken) as error:
        return Previous(id=name, record=record, entries=entries, head=head, problem=str(error))
    if found.is_busy:
        return None
    stands = standing.of(found, catalogue, now=now)
    problem, known = _difference(found, entries, head), found.entries
    _require_finished(found, stands, catalogue, problem)
    results = attempts.results(found.attempts, catalogue)
    return Previous(
        id=stands.id,
        record=str(found.folder),
        entries=len(known),
        head=known[-1].digest,
        from_release=stands.from_release,
        to_release=stands.to_release,
        result=found.attempts[-1].outcome,
        verdict_sha256=_digest(found.folder / "verdict.json"),
        serves_green=bool(stands.weight),
        contracted=results.get(_CONTRACTED) is Result.PASS,
        problem=problem,
    )


def _read(*candidates: Path) -> Record:
    """Return the first record that is there. Raises WrongInput: none is; JournalBroken."""
    there = next((folder for folder in candidates if (folder / records.JOURNAL).is_file()), candidates[0])
    return records.read(there)


def _difference(found: Record, entries: int, head: str) -> str:
    """Return how a journal differs from what the site knows of it; empty when it has all of that."""
    if len(found.entries) < entries:
        return f"its journal lost its end: {len(found.entries)} lines, the site knows {entries}"
    if entries and found.entries[entries - 1].digest != head:
        return f"line {entries} of its journal is not the one that the site knows: {head}"
    return ""


def _require_finished(found: Record, stands: Standing, catalogue: Catalogue, problem: str) -> None:
    """Refuse to build on an upgrade whose green serves and that is not at its end. Raises Refused."""
    if not stands.weight:
        return
    results = attempts.results(found.attempts, catalogue)
    if stands.state != Outcome.PASSED:
        seen, do = f"it is {stands.state}", f"{stands.next} ({found.folder})"
    elif stands.observation != "complete":
        until = f", until {rfc3339(stands.observation_until)}" if stands.observation_until else ""
        seen, do = f"its observation is {stands.observation}{until}", f"./cutover observe {found.folder}"
    elif results.get(_REMOVED) is not Result.PASS:
        seen, do = "its blue was not removed: there is no place for the next green", "./cutover decommission"
        do = f"{do} {found.folder}"
    else:
        return
    raise Refused(
        f"the upgrade before this one, {stands.id} ({stands.from_release} → {stands.to_release}), is not finished",
        code="previous-unfinished",
        seen=f"{seen}; {problem}" if problem else seen,
        do=f"finish it first: {do}",
        state="nothing was changed",
    )


def _digest(path: Path) -> str:
    try:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    except FileNotFoundError:
        return ""
