"""What a leaf of the evidence tree covers, in each release, and the statements signed over its roots.

Invariants: schema 1 (2027.Q1) covers id, kind and sha256; schema 2 (from 2027.Q2 on) adds created and size_bytes.  A
schema's bytes never change once released.  Until category B of 2027.Q2 has run, schema 1 is authoritative.
"""

import dataclasses
import datetime as dt
import hashlib
from typing import Any

from rehearsal.platform.core import canonical, merkle

SCHEMA_OF_RELEASE = {"2027.Q1": 1, "2027.Q2": 2, "2027.Q3": 2}
#: Transactions that allocate leaf indexes take this advisory lock, in every release.
TREE_LOCK_KEY = 0x7374656C_0001
#: Whoever appends to the log takes this advisory lock in the log's database.
LOG_LOCK_KEY = 0x7374656C_0002


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """The columns of an evidence row that some leaf schema covers."""

    id: str
    kind: str
    sha256: str
    size_bytes: int
    created: dt.datetime


def leaf_data_v1(item: Covered) -> bytes:
    """Give the bytes that a schema 1 leaf covers: RFC 8785 of {"id","kind","sha256"}."""
    return canonical.encode({"id": item.id, "kind": item.kind, "sha256": item.sha256})


def leaf_data_v2(item: Covered) -> bytes:
    """Give the bytes that a schema 2 leaf covers: schema 1 with created and size_bytes."""
    return canonical.encode(
        {
            "created": canonical.timestamp(item.created),
            "id": item.id,
            "kind": item.kind,
            "sha256": item.sha256,
            "size_bytes": item.size_bytes,
        }
    )


LEAF_DATA = {1: leaf_data_v1, 2: leaf_data_v2}


def leaf_hash(item: Covered, schema_version: int) -> bytes:
    """Give the leaf hash of `item`, 32 bytes.

    Raises:
        KeyError: no release has such a schema.

    """
    return merkle.leaf_hash(LEAF_DATA[schema_version](item))


def log_entry(*, evidence_id: str, kind: str, sha256: str) -> bytes:
    """Give the entry that the transparency log keeps for an item."""
    return canonical.encode({"evidence_id": evidence_id, "kind": kind, "sha256": sha256})


def root_statement(*, schema_version: int, size: int, root: bytes, created: dt.datetime) -> dict[str, Any]:
    """Give the statement signed for each root of the evidence tree."""
    return {
        "created": canonical.timestamp(created),
        "root": root.hex(),
        "schema_version": schema_version,
        "size": size,
    }


def crossref_statement(
    *, size: int, old_schema: int, new_schema: int, old_root: bytes, new_root: bytes
) -> dict[str, Any]:
    """Give the statement that binds the roots of two schemas over the same `size` items."""
    return {
        "new_root": new_root.hex(),
        "new_schema": new_schema,
        "old_root": old_root.hex(),
        "old_schema": old_schema,
        "size": size,
    }


def evidence_id(number: int) -> str:
    """Name an item so that ids sort as numbers do."""
    return f"ev-{number:012d}"


def object_key(sha256: str) -> str:
    """Give the key under which the store keeps content with this digest."""
    return f"evidence/{sha256[:2]}/{sha256}"


def digest(content: bytes) -> str:
    """Give the SHA-256 of content, 64 hex digits."""
    return hashlib.sha256(content).hexdigest()
