"""The samples of a record: each with its verdict, its questions and their raw answers, chained into the journal.

One line of `gates/samples.jsonl` a verdict; the journal's `gate` entry names the line's number and the sha256 of its
bytes, so that a line which is changed, taken out or moved is found. Invariants: a line is never changed once the
journal names it; what a killed process left that the journal does not name is cut off by the next, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from cutover.clock import parse_rfc3339
from cutover.runbook.gates.results import Asked, Taken
from cutover.runbook.journal import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.runbook.gates.results import GateResult
    from cutover.runbook.upgrade import Upgrade

SAMPLES = ("gates", "samples.jsonl")
_MENDED: WeakKeyDictionary[Upgrade, int] = WeakKeyDictionary()
"""By upgrade, the attempt that has looked for what one before it left: the file of a long observation is long."""


class Archive:
    """The samples of one upgrade, as they are written."""

    def __init__(self, upgrade: Upgrade) -> None:
        """Take the upgrade, go on after the last line that its journal names, and cut off what was left behind it."""
        self._upgrade = upgrade
        self._path = upgrade.path(*SAMPLES)
        named = upgrade.journal.last("gate")
        self._lines = int(named.data.get("line", 0)) if named is not None else 0
        if _MENDED.get(upgrade) != upgrade.attempt:
            self._mend()
            _MENDED[upgrade] = upgrade.attempt

    def _mend(self) -> None:
        """Cut off what no entry of the journal can name: half a line, and the one sample before its entry was written.

        More than that no process leaves behind; it stays, for `replay` to tell of.
        """
        content = self._path.read_bytes() if self._path.exists() else b""
        *lines, torn = content.split(b"\n")
        if len(lines) == self._lines + 1:
            torn = lines.pop() + b"\n" + torn
        if not torn:
            return
        with self._path.open("r+b") as stream:
            stream.truncate(len(content) - len(torn))
            os.fsync(stream.fileno())
        self._upgrade.journal.write(
            "observation",
            what="samples cut off",
            file="/".join(SAMPLES),
            after_line=len(lines),
            size_bytes=len(torn),
        )

    def keep(self, result: GateResult, taken: Taken) -> int:
        """Write a sample and its verdict, then its entry in the journal; return the line's number, from 1."""
        line = {**plain(result), "is_last": taken.is_last, "asked": plain(taken.asked)}
        content = json.dumps(line, ensure_ascii=False).encode()
        with self._path.open("ab") as stream:
            stream.write(content + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._lines += 1
        facts = {key: value for key, value in plain(result).items() if key != "time"}
        self._upgrade.journal.write("gate", **facts, line=self._lines, sha256=digest(content))
        return self._lines


def digest(content: bytes) -> str:
    """Return the digest of a line's bytes, as the journal names it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the samples as it stands in a record."""

    number: int
    content: bytes
    taken: Taken
    said: Mapping[str, Any]
    """The verdict's fields, as they were written."""


def read_line(number: int, content: bytes) -> Line:
    """Return a line of the samples. Raises ValueError, KeyError, TypeError for anything that is none."""
    document = json.loads(content)
    asked = tuple(
        Asked(
            role=one["role"],
            query=one["query"],
            time=parse_rfc3339(one["time"]),
            raw=one["raw"],
            error=one["error"],
        )
        for one in document["asked"]
    )
    taken = Taken(
        name=document["name"],
        percent=document["percent"],
        time=parse_rfc3339(document["time"]),
        asked=asked,
        is_last=document["is_last"],
    )
    said = {key: value for key, value in document.items() if key not in {"asked", "is_last"}}
    return Line(number=number, content=content, taken=taken, said=said)
