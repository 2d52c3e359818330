"""What this package reads, as protocols: rows, contents, the evidence tree, the log. A site implements them.

Invariants: rows come in ascending order of id; leaves, roots and entries in ascending order of their index or size; a
content that the store does not have is `ContentMissing`, any other failure to read is the reader's own exception and
means that nothing was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime


class ContentMissing(Exception):  # noqa: N818 - it states a fact of the store, which becomes a finding
    """The store has no object under this key. The only exception of a source that is an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    """One row of the evidence table. `created` is aware; `sha256` is 64 hex digits, as the row declares it."""

    id: str
    kind: str
    media_type: str
    size_bytes: int
    sha256: str
    object_key: str
    leaf_index: int
    log_index: int
    signer_key_id: str | None
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One stored leaf of the evidence tree: its place, the item it stands for, its hash (32 bytes)."""

    index: int
    evidence_id: str
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRoot:
    """One stored root of the evidence tree and the DSSE envelope over its statement."""

    schema: int
    size: int
    root: bytes
    envelope: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossReference:
    """One stored binding of the roots of two leaf schemas over the same `size` items, with its DSSE envelope."""

    size: int
    old_schema: int
    new_schema: int
    old_root: bytes
    new_root: bytes
    envelope: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry of the transparency log: its place, its bytes, and the leaf hash stored beside it, if any."""

    index: int
    data: bytes
    leaf_hash: bytes | None = None


class RowSource(Protocol):
    """The evidence table."""

    def last_evidence_id(self) -> str | None:
        """Return the greatest id; None when there is no item."""
        ...

    def evidence_rows(self, *, after: str = "", through: str | None = None) -> Iterable[EvidenceRow]:
        """Return the rows with `after` < id <= `through`, by id."""
        ...


class RowList:
    """Rows that are in memory already, ascending by id, as a source."""

    def __init__(self, rows: Sequence[EvidenceRow]) -> None:
        self._rows = rows

    def last_evidence_id(self) -> str | None:
        """Return the greatest id; None when there is no row."""
        return max((row.id for row in self._rows), default=None)

    def evidence_rows(self, *, after: str = "", through: str | None = None) -> Iterator[EvidenceRow]:
        """Return the rows with `after` < id <= `through`."""
        return (row for row in self._rows if row.id > after and (through is None or row.id <= through))


class ContentSource(Protocol):
    """The object store, read from several threads at once; pickles where other processes shall read it."""

    def open(self, key: str) -> bytes | Iterable[bytes]:
        """Return an object's bytes, whole or in chunks.

        Raises:
            ContentMissing: the store has no such object.

        """
        ...


class TreeSource(Protocol):
    """The evidence tree as the platform stores it."""

    def schemas(self) -> tuple[int, ...]:
        """Return the leaf schemas that have a table of leaves, ascending; the lowest is authoritative."""
        ...

    def leaves(self, schema: int) -> Iterable[Leaf]:
        """Return the stored leaves of one schema, by index."""
        ...

    def roots(self, schema: int) -> Iterable[SignedRoot]:
        """Return the signed roots of one schema, by size."""
        ...

    def cross_references(self) -> Iterable[CrossReference]:
        """Return the signed cross-references, by size."""
        ...


class CheckpointSource(Protocol):
    """Whoever knows the newest checkpoint of the log."""

    def checkpoint(self) -> str | None:
        """Return the newest checkpoint, as signed; None when the log has none."""
        ...


class LogSource(CheckpointSource, Protocol):
    """The transparency log."""

    def entries(self, start: int, end: int) -> Iterable[LogEntry]:
        """Return the stored entries with start <= index < end, by index."""
        ...
