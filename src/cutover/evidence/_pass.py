"""The files of a pass that may end at any moment: written as it goes, marked when durable, taken up where they were.

    pass.jsonl         a header, then one mark for each stretch of items that is on disk; gone when the pass is complete
    lines.partial      what becomes lines.jsonl
    findings.partial   what becomes findings.jsonl

Invariants: what stands before the last whole mark is never written again; what stands after it is cut off when the pass
is taken up; one process at a time works on a folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Final, Self

from cutover.evidence._examine import Examined
from cutover.evidence._format import FINDINGS, LINES, MANIFEST, ItemFinding, Line
from cutover.evidence._table import HashTable
from cutover.evidence.errors import EvidenceError, Finding
from cutover.evidence.leaves import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

JOURNAL: Final = "pass.jsonl"
_SCHEMA: Final = "cutover/evidence-pass/v1"
_MARK_EVERY_S: Final = 1.0
_MAX_LEAVES: Final = 1 << 32


@dataclass(slots=True, kw_only=True)
class Totals:
    """What was seen so far: items, content bytes, kinds, findings by code, the last id and the newest time."""

    items: int = 0
    size_bytes: int = 0
    last_id: str | None = None
    newest: str | None = None
    by_kind: Counter[str]
    findings: Counter[str]

    def add(self, item: Examined) -> None:
        """Count one item."""
        self.items += 1
        self.size_bytes += item.size_bytes
        self.last_id = item.id
        self.newest = item.created if self.newest is None else max(self.newest, item.created)
        self.by_kind[item.kind] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a pass is of: the site by name, the trust root, the last id that belongs to it (None without items).

    `begun` is when it began, RFC 3339 UTC: its oldest readings are of that time.
    """

    site: str
    trust_digest: str
    through: str | None
    begun: str


class Pass:
    """One pass over a folder, used as a context manager; `header` is None until `begin`, or as it was begun before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened = ExitStack()
        self._lines = _Growing(folder / LINES)
        self._findings = _Growing(folder / FINDINGS)
        self._journal: IO[bytes] | None = None
        self._marked = 0.0
        self._is_whole = True  # every item that was written has its findings, and more items may follow
        self.header: Header | None = None
        self.totals = Totals(by_kind=Counter(), findings=Counter())
        self.tables = {schema: self._opened.enter_context(HashTable(_MAX_LEAVES)) for schema in SCHEMAS}

    def __enter__(self) -> Self:
        """Take the folder, and what an interrupted pass left in it.

        Raises:
            FileExistsError: the folder holds a snapshot already.
            EvidenceError: `snapshot-busy`, when another process works on it; `snapshot-malformed`.

        """
        with self._opened:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._journal = self._opened.enter_context((self._folder / JOURNAL).open("a+b"))
            self._take_folder(self._journal)
            self._recover(self._journal)
            self._opened = self._opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._opened:
            if kind is not None and self.header is not None and self._is_whole:
                with suppress(OSError):  # what ended the pass is what is told
                    self._mark()

    def begin(self, header: Header) -> None:
        """Write down what the pass is, before its first item."""
        fields = {name: getattr(header, name) for name in Header.__slots__}
        self._note({"schema": _SCHEMA} | fields)
        self.header = header

    def write(self, items: Iterable[Examined]) -> None:
        """Add items in order: their lines, their findings, their leaves."""
        self._is_whole = False
        for item in items:
            found = [*item.findings, *self._place(item)]
            self._lines.write(item.raw)
            self.totals.add(item)
            self._refuse(item.kind, found)
        self._is_whole = True
        if time.monotonic() - self._marked >= _MARK_EVERY_S:
            self._mark()

    def conclude(self, findings: Iterable[Finding]) -> None:
        """Add the findings that are of no item, when there are no more items; made anew if the pass is taken up."""
        self._is_whole = False
        self._refuse("", findings)

    def _refuse(self, kind: str, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.totals.findings[finding.code] += 1
            self._findings.write(ItemFinding(kind=kind, finding=finding).encode())

    def finish(self) -> tuple[str, str]:
        """Give lines and findings their names; return the digests of the two."""
        return self._lines.finish(), self._findings.finish()

    def seal(self, manifest: Mapping[str, object]) -> None:
        """Write the manifest: the pass is over, the folder is a snapshot."""
        write_file(self._folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False).encode("utf-8") + b"\n")
        (self._folder / JOURNAL).unlink()

    # -- taking up -------------------------------------------------------------------------------------------------

    def _take_folder(self, journal: IO[bytes]) -> None:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            name = self._folder.name
            raise EvidenceError("snapshot-busy", name, expected="a folder of its own", actual="another pass") from error
        if (self._folder / MANIFEST).exists():
            (self._folder / JOURNAL).unlink(missing_ok=True)
            raise FileExistsError(self._folder / MANIFEST)

    def _recover(self, journal: IO[bytes]) -> None:
        header, marks = _read(journal)
        usable = [
            mark for mark in marks if self._lines.has(mark.lines_bytes) and self._findings.has(mark.findings_bytes)
        ]
        mark = usable[-1] if usable else _Mark(lines_bytes=0, findings_bytes=0, ends_at=0)
        self.header = header if usable else None  # without a mark there is nothing to take up
        journal.truncate(mark.ends_at)
        self._opened.enter_context(self._lines.open_at(mark.lines_bytes))
        self._opened.enter_context(self._findings.open_at(mark.findings_bytes))
        for raw in self._lines.written():
            item = Examined.of(Line.decode(raw), raw=raw)
            self._place(item)
            self.totals.add(item)
        self.totals.findings.update(ItemFinding.decode(raw).finding.code for raw in self._findings.written())

    def _place(self, item: Examined) -> list[Finding]:
        """Put the item's leaves where its row says."""
        for table, value in zip(self.tables.values(), item.leaf_hashes, strict=True):
            if not table.put(item.leaf_index, value):
                actual = f"leaf index {item.leaf_index}, taken or out of range"
                return [Finding.of("leaf-duplicate", item.id, expected="a leaf index of its own", actual=actual)]
        return []

    # -- making durable --------------------------------------------------------------------------------------------

    def _mark(self) -> None:
        self._note({"lines_bytes": self._lines.sync(), "findings_bytes": self._findings.sync()})
        self._marked = time.monotonic()

    def _note(self, fields: Mapping[str, object]) -> None:
        if self._journal is not None:
            self._journal.write(json.dumps(fields).encode("utf-8") + b"\n")
            self._journal.flush()
            os.fsync(self._journal.fileno())


class _Growing:
    """A file that grows under another name and gets its own when it is complete and on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_suffix(".partial")
        self._stream: IO[bytes] | None = None
        self._hasher = sha256()
        self._size_bytes = 0

    def has(self, size_bytes: int) -> bool:
        """Whether that many bytes are there."""
        return self._partial.exists() and self._partial.stat().st_size >= size_bytes

    def open_at(self, size_bytes: int) -> IO[bytes]:
        """Keep the first bytes, cut the rest off, go on after them; return the file, to be closed."""
        self._stream = self._partial.open("ab", buffering=1 << 20)
        self._stream.truncate(size_bytes)
        return self._stream

    def written(self) -> Iterable[bytes]:
        """Return the lines that are kept; they count from here on as written."""
        with self._partial.open("rb", buffering=1 << 20) as stream:
            for raw in stream:
                self._hasher.update(raw)
                self._size_bytes += len(raw)
                yield raw

    def write(self, raw: bytes) -> None:
        if self._stream is not None:
            self._stream.write(raw)
            self._hasher.update(raw)
            self._size_bytes += len(raw)

    def sync(self) -> int:
        """Bring everything to the disk; return the size in bytes."""
        if self._stream is not None:
            self._stream.flush()
            os.fsync(self._stream.fileno())
        return self._size_bytes

    def finish(self) -> str:
        """Give the file its name; return its digest."""
        self.sync()
        self._partial.replace(self._path)
        return f"sha256:{self._hasher.hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """How much of both files is on disk, and where the mark itself ends in the pass's journal."""

    lines_bytes: int
    findings_bytes: int
    ends_at: int


def _read(journal: IO[bytes]) -> tuple[Header | None, list[_Mark]]:
    """Read a pass's own journal; a last line that was not written whole does not count.

    Raises:
        EvidenceError: `snapshot-malformed`.

    """
    journal.seek(0)
    header, marks, ends_at = None, list[_Mark](), 0
    try:
        for raw in journal:
            if not raw.endswith(b"\n"):
                break
            ends_at += len(raw)
            fields = json.loads(raw)
            if header is not None:
                marks.append(_Mark(**fields, ends_at=ends_at))
            elif fields.pop("schema") == _SCHEMA:
                header = Header(**fields)
            else:
                raise ValueError("another schema")  # noqa: TRY301 - one refusal for every way of being malformed
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EvidenceError("snapshot-malformed", JOURNAL, expected=_SCHEMA, actual=error) from error
    return header, marks


def write_file(path: Path, raw: bytes) -> None:
    """Write a small file whole or not at all."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        stream.write(raw)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
