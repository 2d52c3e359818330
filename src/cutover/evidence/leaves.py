"""What a leaf of the evidence tree and an entry of the log cover, byte for byte.

Invariant: the bytes are RFC 8785 JSON. The objects hold text and whole numbers below 2**53 only, under names that are
written here in their order; the standard library escapes text as RFC 8785 does. The tests compare with `rfc8785`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from json.encoder import encode_basestring as _text
from typing import Final

from cutover.evidence import merkle

SCHEMAS: Final = (1, 2)
"""Leaf schemas this package can recompute: 1 since release 2027.Q1, 2 since 2027.Q2."""


def leaf_data(schema: int, *, id: str, kind: str, sha256: str, size_bytes: int, created: str) -> bytes:  # noqa: A002
    """Return the bytes that a leaf covers. `created` is RFC 3339 in UTC with microseconds and Z (see `timestamp`).

    Raises:
        ValueError: no release has such a schema.

    Source: schema 1 is {"id","kind","sha256"}; schema 2 adds "created" and "size_bytes".

    """
    if schema == 1:
        data = f'{{"id":{_text(id)},"kind":{_text(kind)},"sha256":{_text(sha256)}}}'
    elif schema == 2:
        data = (
            f'{{"created":{_text(created)},"id":{_text(id)},"kind":{_text(kind)},"sha256":{_text(sha256)},'
            f'"size_bytes":{size_bytes:d}}}'
        )
    else:
        raise ValueError(f"leaf schema {schema} is none of {SCHEMAS}")
    return data.encode("utf-8")


def leaf_hash(schema: int, *, id: str, kind: str, sha256: str, size_bytes: int, created: str) -> bytes:  # noqa: A002
    """Return the leaf hash (32 bytes) of `leaf_data`."""
    data = leaf_data(schema, id=id, kind=kind, sha256=sha256, size_bytes=size_bytes, created=created)
    return merkle.leaf_hash(data)


def log_entry(*, id: str, kind: str, sha256: str) -> bytes:  # noqa: A002
    """Return the bytes of an item's entry in the log: {"evidence_id","kind","sha256"}."""
    return f'{{"evidence_id":{_text(id)},"kind":{_text(kind)},"sha256":{_text(sha256)}}}'.encode()


def timestamp(moment: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC with microseconds and Z.

    Raises:
        ValueError: the time has no zone.

    """
    if moment.tzinfo is None:
        raise ValueError("a time without a zone cannot be written as UTC")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
