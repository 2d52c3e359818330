"""The records in a folder: which there are, where each stands, and whether one may be gone on with.

Reads files alone. Invariants: a folder without a journal is no record; nothing is written; a record is never taken for
another's: its target and its policy are known by their digests.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cutover.clock import parse_rfc3339
from cutover.errors import JournalBroken, Refused, WrongInput
from cutover.model import Strategy
from cutover.runbook import attempts
from cutover.runbook.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.policy import Policy
    from cutover.runbook.attempts import Attempt
    from cutover.runbook.journal import Entry
    from cutover.target import Target

JOURNAL = "journal.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record, as its journal has it."""

    folder: Path
    entries: tuple[Entry, ...]
    attempts: tuple[Attempt, ...]
    torn_bytes: int
    """Of a last line that a killed process left half written."""
    is_busy: bool
    """Whether a process works on it now."""

    @property
    def head(self) -> Entry:
        """The line that began it."""
        return self.attempts[0].entries[0]

    @property
    def strategy(self) -> Strategy:
        """How it moves traffic."""
        return Strategy(self.head.data["strategy"])

    @property
    def target_name(self) -> str:
        """The site's name."""
        return str(self.head.data["target"]["name"])

    @property
    def target_file(self) -> str:
        """Where the target file was when the record began; empty when it does not say."""
        return str(self.head.data["target"].get("file", ""))

    def require_same(self, target: Target, policy: Policy) -> None:
        """Refuse to go on with another site or policy than the record was begun with. Raises Refused."""
        for what, file, now, then in (
            ("target file", target.path, target.sha256, self.head.data["target_sha256"]),
            ("policy", target.policy_path, policy.sha256, self.head.data["policy_sha256"]),
        ):
            if now != then:
                raise Refused(
                    f"the {what} is not the one that the record {self.folder.name} was begun with",
                    code="drift",
                    seen=f"{file} has {now} (the record: {then})",
                    do="put it back as it was (the record keeps a copy), or begin a new record",
                    state="nothing was changed",
                )


def read(folder: Path) -> Record:
    """Return the record in a folder. Raises WrongInput when it is none, JournalBroken when its chain does not hold."""
    path = folder / JOURNAL
    if not path.is_file():
        raise WrongInput(
            f"{folder} is no record: it has no {JOURNAL}", code="record-absent", do="name a folder of records/"
        )
    entries, torn_bytes = Journal.read(path)
    found = attempts.split(entries)
    if not found:
        raise WrongInput(
            f"the record {folder} was given up before anything was written", code="record-empty", do="begin a new one"
        )
    return Record(
        folder=folder,
        entries=tuple(entries),
        attempts=found,
        torn_bytes=torn_bytes,
        is_busy=Journal.is_held(path),
    )


def sealed(folder: Path) -> tuple[int, str]:
    """Return how many lines the journal had when it was sealed, and the last one's digest; 0 where no verdict says."""
    try:
        said = json.loads((folder / "verdict.json").read_bytes())["journal"]
        return int(said["entries"]), str(said["head"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""


def newest(parent: Path) -> Record:
    """Return the record that was begun last. Raises WrongInput when there is none, JournalBroken when it is damaged."""
    for folder in sorted(_folders(parent), key=_began, reverse=True):
        with contextlib.suppress(WrongInput):  # given up before anything was written
            return read(folder)
    raise WrongInput(f"there is no record in {parent}", code="record-absent", do="name one, or give --record DIR")


def list_all(parent: Path) -> list[Record]:
    """Return every record in a folder that can be read, oldest first."""
    found = []
    for folder in _folders(parent):
        with contextlib.suppress(WrongInput, JournalBroken):
            found.append(read(folder))
    return sorted(found, key=lambda record: (record.head.time, record.folder.name))


def _folders(parent: Path) -> list[Path]:
    return [path.parent for path in parent.glob(f"*/{JOURNAL}")]


def _began(folder: Path) -> tuple[datetime, str]:
    """Return when a record was begun, by the first line of its journal alone, else when it was last written."""
    path = folder / JOURNAL
    try:
        with path.open("rb") as file:
            time = parse_rfc3339(json.loads(file.readline())["time"])
    except (OSError, ValueError, KeyError, TypeError):
        time = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return time, folder.name
