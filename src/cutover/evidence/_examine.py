"""Examining items: the content read once, hashed, judged against its row; in a thread, a process or a cluster.

Invariants: an examination keeps no state of its own and depends on nothing but its rows, the store and the trust root;
it travels to a worker as bytes, so whatever reads the contents must pickle where the work is not done in this process.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple

from cutover.evidence import dsse, leaves, oci, trust
from cutover.evidence._format import Line
from cutover.evidence.errors import EvidenceError, Finding
from cutover.evidence.sources import ContentMissing, ContentSource, EvidenceRow

ATTESTATION_TYPE: Final = "application/vnd.in-toto+json"
MAX_PARSED_BYTES: Final = 16 << 20
"""Manifests and attestations are read whole up to this size; a larger one is refused, any other content is streamed."""

BlobKey = Callable[[str], str | None]
"""Gives the store's key of a blob that a manifest names by digest; None when the store does not hold it."""

_PARSED = {"attestation": "envelope-malformed", "oci-manifest": "manifest-malformed"}
_RECIPES_KEPT = 4


class Examined(NamedTuple):
    """One item as examined: what the totals need, the bytes of its line, its leaf hashes by schema, what was refused.

    A tuple, because a hundred thousand of them travel from worker to worker.
    """

    id: str
    kind: str
    created: str
    size_bytes: int
    leaf_index: int
    leaf_hashes: tuple[bytes, ...]
    raw: bytes
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, line: Line, findings: tuple[Finding, ...] = (), *, raw: bytes | None = None) -> Examined:
        """Make it from a line, whose bytes are `raw` where they are known."""
        return cls(
            line.id,
            line.kind,
            line.created,
            line.size_bytes or 0,
            line.leaf_index,
            leaf_hashes(line),
            line.encode() if raw is None else raw,
            findings,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What an examination needs; `readers` contents are read at a time."""

    contents: ContentSource
    trust: trust.TrustRoot
    blob_key: BlobKey | None
    readers: int


class Examiner:
    """Reads and judges items; used by several threads at once."""

    def __init__(self, recipe: Recipe) -> None:
        self._contents = recipe.contents
        self._keys = dsse.KeyRing(recipe.trust.attestation_keys)
        self._blob_key = recipe.blob_key
        self._readers = (
            ThreadPoolExecutor(recipe.readers, thread_name_prefix="evidence") if recipe.readers > 1 else None
        )

    def batch(self, rows: Sequence[EvidenceRow]) -> list[Examined]:
        """Examine some items, several contents at a time; the results in the order of the rows."""
        return list((self._readers.map if self._readers is not None else map)(self._examine, rows))

    def close(self) -> None:
        """End the readers."""
        if self._readers is not None:
            self._readers.shutdown(cancel_futures=True)

    def _examine(self, row: EvidenceRow) -> Examined:
        keep = row.kind in _PARSED
        hasher, size, kept = sha256(), 0, bytearray()
        try:
            for chunk in _chunks(self._contents.open(row.object_key)):
                hasher.update(chunk)
                size += len(chunk)
                if keep and size <= MAX_PARSED_BYTES:
                    kept += chunk
        except ContentMissing:
            missing = Finding.of("content-missing", row.id, expected=row.object_key, actual="no such object")
            return Examined.of(_line(row, digest=None, size=None, signers=()), (missing,))
        digest, found, signers = hasher.hexdigest(), list[Finding](), tuple[str, ...]()
        if digest != row.sha256:
            found.append(Finding.of("content-mismatch", row.id, expected=f"sha256:{row.sha256}", actual=digest))
        elif size != row.size_bytes:
            found.append(Finding.of("size-mismatch", row.id, expected=row.size_bytes, actual=size))
        try:
            signers = self._parse(row, bytes(kept), size, intact=not found)
        except EvidenceError as error:
            found.append(error.finding(row.id))
        return Examined.of(_line(row, digest=digest, size=size, signers=signers), tuple(found))

    def _parse(self, row: EvidenceRow, content: bytes, size: int, *, intact: bool) -> tuple[str, ...]:
        """Verify what a content says of itself; return the keys that signed it."""
        if row.kind not in _PARSED:
            return ()
        if size > MAX_PARSED_BYTES:
            raise EvidenceError(_PARSED[row.kind], row.id, expected=f"at most {MAX_PARSED_BYTES} bytes", actual=size)
        if row.kind == "attestation":
            return verify_attestation(content, self._keys, item=row.id).key_ids
        if intact:
            oci.verify_manifest(content, digest=f"sha256:{row.sha256}", blobs=self._blob, item=row.id)
        return ()

    def _blob(self, digest: str) -> Iterable[bytes] | None:
        key = self._blob_key(digest) if self._blob_key is not None else None
        if key is None:
            return None
        try:  # a source may open lazily: only the first chunk tells whether the object is there
            chunks = iter(_chunks(self._contents.open(key)))
            first = next(chunks, b"")
        except ContentMissing:
            return None
        return itertools.chain((first,), chunks)


def examine(recipe: bytes, rows: Sequence[EvidenceRow]) -> list[Examined]:
    """Examine some items in a worker; `recipe` is a pickled `Recipe`, made ready once in each worker."""
    return _ready(recipe).batch(rows)


@lru_cache(maxsize=_RECIPES_KEPT)
def _ready(recipe: bytes) -> Examiner:
    return Examiner(pickle.loads(recipe))  # noqa: S301 - our own bytes, from the process that hands out the work


def verify_attestation(content: bytes, keys: dsse.KeyRing, *, item: str) -> dsse.Verified:
    """Verify an attestation's signature and that it is an in-toto statement.

    Raises:
        EvidenceError: as `dsse.verify`, and `envelope-malformed` for another payload type.

    """
    verified = keys.verify(content, item=item)
    if verified.payload_type != ATTESTATION_TYPE:
        raise EvidenceError("envelope-malformed", item, expected=ATTESTATION_TYPE, actual=verified.payload_type)
    return verified


def leaf_hashes(line: Line) -> tuple[bytes, ...]:
    """Return an item's leaf hash in each of `leaves.SCHEMAS`, over what was recomputed where there is content."""
    return tuple(
        leaves.leaf_hash(
            schema,
            id=line.id,
            kind=line.kind,
            sha256=line.sha256 or line.declared_sha256,
            size_bytes=line.declared_size_bytes if line.size_bytes is None else line.size_bytes,
            created=line.created,
        )
        for schema in leaves.SCHEMAS
    )


def _line(row: EvidenceRow, *, digest: str | None, size: int | None, signers: tuple[str, ...]) -> Line:
    return Line(
        id=row.id,
        kind=row.kind,
        media_type=row.media_type,
        size_bytes=size,
        sha256=digest,
        declared_size_bytes=row.size_bytes,
        declared_sha256=row.sha256,
        declared_signer_key_id=row.signer_key_id,
        signer_key_ids=signers,
        leaf_index=row.leaf_index,
        log_index=row.log_index,
        created=leaves.timestamp(row.created),
    )


def _chunks(content: bytes | Iterable[bytes]) -> Iterable[bytes]:
    return (content,) if isinstance(content, bytes) else content
