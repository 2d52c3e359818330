"""The site's drivers as the sources that the evidence package reads from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.errors import ClauseFailed
from cutover.evidence.sources import (
    ContentMissing,
    CrossReference,
    EvidenceRow,
    Leaf,
    LogEntry,
    SignedRoot,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.site.database import Database
    from cutover.site.store import Store


def rows(database: Database) -> Iterator[EvidenceRow]:
    """Yield every evidence row in the order of ids, from one query and so from one moment."""
    for row in database.evidence_rows():
        yield EvidenceRow(
            id=row.id,
            kind=row.kind,
            media_type=row.media_type,
            size_bytes=row.size_bytes,
            sha256=row.sha256,
            object_key=row.object_key,
            leaf_index=row.leaf_index,
            log_index=row.log_index,
            signer_key_id=row.signer_keyid,
            created=row.created,
        )


class Contents:
    """The object store as a content source; safe from several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def open(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes.

        Raises:
            ContentMissing: the store has no such object.
        """
        try:
            yield from self._store.open(key)
        except ClauseFailed as error:
            if error.code != "object-absent":
                raise
            raise ContentMissing(key) from error


class StoredTree:
    """The evidence tree as the platform's database stores it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def schemas(self) -> tuple[int, ...]:
        """Return the leaf schemas that have a table, ascending."""
        return self._database.leaf_schemas()

    def leaves(self, schema: int) -> Iterator[Leaf]:
        """Yield the stored leaves of one schema, by index."""
        for leaf in self._database.merkle_leaves(schema):
            yield Leaf(index=leaf.leaf_index, evidence_id=leaf.evidence_id, leaf_hash=bytes(leaf.leaf_hash))

    def roots(self, schema: int) -> Iterator[SignedRoot]:
        """Yield the signed roots of one schema, by size."""
        for root in sorted(self._database.merkle_roots(), key=lambda item: item.size):
            if root.schema_version == schema:
                yield SignedRoot(schema=schema, size=root.size, root=bytes(root.root), envelope=root.envelope)

    def cross_references(self) -> Iterator[CrossReference]:
        """Yield the signed cross-references, by size."""
        for reference in sorted(self._database.merkle_crossrefs(), key=lambda item: item.size):
            yield CrossReference(
                size=reference.size,
                old_schema=reference.old_schema,
                new_schema=reference.new_schema,
                old_root=bytes(reference.old_root),
                new_root=bytes(reference.new_root),
                envelope=reference.envelope,
            )


class StoredLog:
    """The transparency log as its database stores it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def checkpoint(self) -> str | None:
        """Return the newest checkpoint, as signed."""
        newest = self._database.log_checkpoint()
        return newest.note if newest else None

    def entries(self, start: int, end: int) -> Iterator[LogEntry]:
        """Yield the stored entries from start to before end, by index."""
        for entry in self._database.log_entries(start=start, end=end):
            yield LogEntry(index=entry.log_index, data=bytes(entry.leaf), leaf_hash=bytes(entry.leaf_hash))
