"""The journal: what happened, in order, append-only, fsynced, hash-chained.

One JSON object a line: `seq` from 0, `time`, `event`, `clause`, `data`, `previous` (the digest of the line before;
of nothing for the first), `digest` (sha256 over the RFC 8785 form of the line without it). A line is on disk before
`write` returns. Redaction happens on the way in: no secret of the target reaches the file.
Invariants: an action is written as `intent` before it starts and as `done` or `failed` when it is over; listeners see
every line after it is on disk, in the order of the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import math
import os
import threading
import weakref
from datetime import datetime
from enum import Enum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Self

import rfc8785

from cutover.clock import SYSTEM_CLOCK, Clock, parse_rfc3339, rfc3339
from cutover.errors import CutoverError, JournalBroken, Refused
from cutover.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    from cutover.waiting import Wait

    Listener = Callable[["Entry"], None]

GENESIS = "sha256:" + hashlib.sha256(b"").hexdigest()

_LARGEST_INTEGER = 2**53 - 1
"""RFC 8785 numbers are IEEE 754 doubles; a larger integer is written as its text."""

WAIT_HEARTBEAT_S = 5.0
"""A wait is written to the file this often; listeners see every observation."""
WAIT_WORTH_WRITING_S = 0.2
"""So long a wait is written when it is over, so that the record can say where the time went."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line."""

    seq: int
    """From 0; -1 for what only listeners see."""
    time: datetime
    event: str
    clause: str | None
    data: Mapping[str, Any]
    previous: str
    digest: str


def plain(value: object) -> Any:  # noqa: ANN401, C901, PLR0911, PLR0912  # JSON's own types, one arm each
    """Return `value` in JSON's own types: records become objects, times RFC 3339, NaN and infinities their names."""
    match value:
        case None | bool():
            return value
        case Enum():
            return plain(value.value)
        case str():
            return str(value)
        case int():
            return value if abs(value) <= _LARGEST_INTEGER else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime():
            return rfc3339(value)
        case bytes():
            return value.hex()
        case PurePath():
            return str(value)
        case dict():
            return {str(plain(key)): plain(item) for key, item in value.items()}
        case _ if dataclasses.is_dataclass(value):
            return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case _ if hasattr(value, "items"):
            return {str(plain(key)): plain(item) for key, item in value.items()}
        case _ if hasattr(value, "__iter__"):
            return [plain(item) for item in value]
        case _:
            return str(value)


def _digest(line: Mapping[str, Any]) -> str:
    return "sha256:" + hashlib.sha256(rfc8785.dumps(dict(line))).hexdigest()


class Journal:
    """One journal file, appended to by this process alone; safe to write from several threads."""

    def __init__(
        self, path: Path, *, clock: Clock = SYSTEM_CLOCK, secrets: Iterable[str] = (), mend: bool = False
    ) -> None:
        """Open `path`, new or with a chain that holds. mend: cut off a half-written last line, as `Journal.mend`.

        Raises JournalBroken, Refused when another process writes it.
        """
        self.path = path
        self.clock = clock
        self.clause: str | None = None
        """The clause that lines belong to when the writer names none."""
        self.guard: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
        """Entered around every line, so that a stop request cannot leave one half written."""
        self._redactor = Redactor(secrets)
        self._lock = threading.RLock()
        self._listeners: list[Listener] = []
        self._closed = False
        self._release = weakref.finalize(self, os.close, _hold(path, os.O_RDWR | os.O_CREAT | os.O_APPEND))
        self.mended_bytes = Journal.mend(path) if mend else 0
        """Of a last line that a killed process left half written."""
        self._entries = Journal.verify(path)

    @property
    def head(self) -> str:
        """The digest of the last line; of nothing when there is none."""
        return self._entries[-1].digest if self._entries else GENESIS

    def __len__(self) -> int:
        return len(self._entries)

    def listen(self, listener: Listener) -> None:
        """Call `listener` with every further line, in the writer's thread."""
        self._listeners.append(listener)

    def write(self, event: str, *, clause: str | None = None, **data: object) -> Entry:
        """Append one line and return when it is on disk."""
        with self.guard(), self._lock:
            line: dict[str, Any] = {
                "seq": len(self._entries),
                "time": rfc3339(self.clock.now()),
                "event": event,
                "clause": clause if clause is not None else self.clause,
                "data": self._redactor.redact_all(plain(data)),
                "previous": self.head,
            }
            line["digest"] = _digest(line)
            if self._closed:
                raise RuntimeError(f"the journal {self.path} is closed")
            content = _written(line) + b"\n"
            with self.path.open("ab", buffering=0) as file:
                file.write(content)
                os.fsync(file.fileno())
            entry = _entry(line)
            self._entries.append(entry)
            self._tell(entry)
            return entry

    def announce(self, event: str, *, clause: str | None = None, **data: object) -> None:
        """Tell the listeners alone: for what changes several times a second and is not worth a line."""
        with self._lock:
            self._tell(
                Entry(
                    seq=-1,
                    time=self.clock.now(),
                    event=event,
                    clause=clause if clause is not None else self.clause,
                    data=self._redactor.redact_all(plain(data)),
                    previous="",
                    digest="",
                )
            )

    def _tell(self, entry: Entry) -> None:
        for listener in self._listeners:
            listener(entry)

    def action(self, name: str, **data: object) -> Action:
        """Return a context that writes `intent` on entering, and `done` or `failed` on leaving.

        Used as `with journal.action("shift", percent=10) as done: ...; done(share=0.1)`; what `done` is given goes into
        the closing line. Raises what the body raises.
        """
        return Action(self, name, data)

    def waits(self) -> Callable[[Wait], None]:
        """Return a listener for `waiting.wait_for` that announces each observation and writes some of them.

        Written are one every few seconds, and the last one.
        """
        written_s = 0.0

        def listener(wait: Wait) -> None:
            nonlocal written_s
            facts: dict[str, Any] = {
                "for_": wait.what,
                "waited_s": round(wait.waited_s, 3),
                "bound_s": wait.bound_s,
                "last": wait.last,
                "done": wait.done,
            }
            due = wait.waited_s - written_s >= WAIT_HEARTBEAT_S
            if due or (wait.done and wait.waited_s >= WAIT_WORTH_WRITING_S):
                written_s = wait.waited_s
                self.write("wait", **facts)
            else:
                self.announce("wait", **facts)

        return listener

    def entries(self) -> tuple[Entry, ...]:
        """Return every line so far, oldest first."""
        with self._lock:
            return tuple(self._entries)

    def last(self, event: str, **match: object) -> Entry | None:
        """Return the newest line of `event` whose data has every pair of `match`, or None."""
        wanted = plain(match)
        for entry in reversed(self.entries()):
            if entry.event == event and all(entry.data.get(key) == value for key, value in wanted.items()):
                return entry
        return None

    def close(self) -> None:
        """Seal the journal in this process; nothing can be written afterwards, and another process may go on."""
        self._closed = True
        self._release()

    @staticmethod
    def is_held(path: Path) -> bool:
        """Return whether a process writes the journal at `path` now."""
        try:
            os.close(_hold(path, os.O_RDONLY))
        except Refused:
            return True
        return False

    @staticmethod
    def mend(path: Path) -> int:
        """Cut off the line that a killed process left half written; return how many bytes that were.

        Such a line was never acknowledged: `write` returns when the whole of it is on disk, no action begins before.
        """
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with path.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())
        return len(content) - whole

    @staticmethod
    def read(path: Path) -> tuple[list[Entry], int]:
        """Return every whole line of a journal whose chain holds, and how many bytes of a half-written one follow.

        Raises JournalBroken.
        """
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        return list(_checked(whole, path.name)), len(content) - len(whole)

    @staticmethod
    def verify(path: Path, *, head: str | None = None) -> list[Entry]:
        """Return every line of a journal whose chain holds, ending in `head` where it is given.

        Raises JournalBroken naming the first line that is not what was written, or that the file ends too early.
        """
        entries = list(_checked(path.read_bytes(), path.name))
        found = entries[-1].digest if entries else GENESIS
        if head is not None and found != head:
            raise JournalBroken(
                f"the journal {path.name} does not end where the record says",
                code="journal-truncated",
                seen=f"line {len(entries)} has digest {found} (expected {head})",
                line=len(entries),
            )
        return entries


class Action:
    """One action, written before and after it; see `Journal.action`."""

    def __init__(self, journal: Journal, name: str, data: Mapping[str, Any]) -> None:
        self._journal = journal
        self._name = name
        self._data = data
        self._results: dict[str, Any] = {}
        self._start_s = 0.0

    def __call__(self, **results: object) -> None:
        """Add to what the closing line says."""
        self._results.update(results)

    def __enter__(self) -> Self:
        self._journal.write("intent", action=self._name, **self._data)
        self._start_s = self._journal.clock.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        facts: dict[str, Any] = {"action": self._name, **self._data, **self._results}
        facts["duration_s"] = round(self._journal.clock.monotonic() - self._start_s, 3)
        if error is None:
            self._journal.write("done", **facts)
            return
        code = error.code if isinstance(error, CutoverError) else "fault"
        self._journal.write("failed", **facts, error=str(error) or type(error).__name__, code=code)


def _hold(path: Path, flags: int) -> int:
    """Open a journal and take its lock, which ends with the descriptor. Raises Refused."""
    descriptor = os.open(path, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Refused(
            f"another process works on the record {path.parent}",
            code="record-busy",
            do="wait for it, or stop it; see ./cutover status",
            state="nothing was changed",
        ) from None
    return descriptor


def _written(line: Mapping[str, Any]) -> bytes:
    """Return a line as it is written: a file that says the same in other bytes was changed too."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()


def _entry(line: Mapping[str, Any]) -> Entry:
    return Entry(**{**line, "time": parse_rfc3339(line["time"])})


def _checked(content: bytes, name: str) -> Iterator[Entry]:
    previous = GENESIS
    *lines, rest = content.split(b"\n")
    for number, raw in enumerate(lines, 1):
        line = _line(raw, name, number)
        is_as_written = _written(line) == raw
        claimed = line.pop("digest", None)
        facts: dict[str, Any] = {"line": number}
        calculated = _digest(line)
        if claimed != calculated:
            raise JournalBroken(
                f"line {number} of {name} was changed", seen=f"digest {calculated} (expected {claimed})", **facts
            )
        if line.get("previous") != previous or line.get("seq") != number - 1:
            raise JournalBroken(
                f"line {number} of {name} does not follow the one before it",
                seen=f"previous {line.get('previous')}, number {line.get('seq')} (expected {previous}, {number - 1})",
                **facts,
            )
        if not is_as_written:
            raise JournalBroken(f"line {number} of {name} was changed", seen="it is written in another form", **facts)
        previous = str(claimed)
        yield _entry({**line, "digest": claimed})
    if rest:
        number = len(lines) + 1
        raise JournalBroken(f"line {number} of {name} is not a whole line", seen="it has no end", line=number)


def _line(raw: bytes, name: str, number: int) -> dict[str, Any]:
    try:
        line = json.loads(raw)
        rfc8785.dumps(line)
    except (ValueError, rfc8785.CanonicalizationError) as problem:
        raise JournalBroken(f"line {number} of {name} is not a whole line", seen=str(problem), line=number) from problem
    if not isinstance(line, dict):
        raise JournalBroken(f"line {number} of {name} is not an object", line=number)
    return line
