"""The content of evidence items, as the verification library reads it: from the store, by many threads at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.errors import ClauseFailed
from cutover.evidence.sources import ContentMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.site.store import Store


class Contents:
    """A store as a source of evidence content."""

    def __init__(self, store: Store) -> None:
        """Read from this store's bucket."""
        self._store = store

    def open(self, key: str) -> Iterator[bytes]:
        """Yield an object's bytes in chunks.

        Raises: ContentMissing when the store has no such object; CouldNotMeasure when it cannot be read.
        """
        try:
            yield from self._store.open(key)
        except ClauseFailed as error:
            if error.code != "object-absent":
                raise
            raise ContentMissing(key) from error
