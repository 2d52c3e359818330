"""Derives the index rows of evidence again from its content: `evidence reindex`.

Invariants: content is never touched, and neither is the log, which decides what an item's content was when it was made;
an item whose content the log does not vouch for is reported and left alone; roots are signed by the platform only; all
rows are changed in one transaction, or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from rehearsal.platform.core import leaves
from rehearsal.platform.stella import continuity, database, deployment, records
from rehearsal.platform.stella.answers import Answer
from rehearsal.platform.stella.cluster import Cluster
from rehearsal.platform.stella.objects import ObjectStore
from rehearsal.platform.stella.records import LEAF_TABLES
from rehearsal.platform.stella.verification import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal.platform.core.leaves import Covered
    from rehearsal.platform.stella.records import Connection, Item, Leaf, Log


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """An item whose rows are wrong: what its row should cover, and the leaf of each schema (32 bytes) that is wrong."""

    item: Item
    covered: Covered
    leaves: Mapping[int, bytes]


def reindex(namespace: str) -> Answer:
    """Correct every row and leaf that the item's own content contradicts.

    Raises: UnreachableError, RefusedError.
    """
    settings = deployment.find(Cluster.from_kubeconfig(), namespace).settings
    recorded = records.read(settings)
    contents = ObjectStore(settings.store).get_many(item.object_key for item in recorded.items)
    stored = {schema: {leaf.index: leaf for leaf in kept} for schema, kept in recorded.leaves.items()}
    repairs: list[Repair] = []
    findings: list[Finding] = []
    for item, content in zip(recorded.items, contents, strict=True):
        found = derive(item, content, stored, recorded.log, needed=recorded.authoritative_schema)
        if isinstance(found, Finding):
            findings.append(found)
        elif found is not None:
            repairs.append(found)
    if repairs:
        with database.connect(settings.database_url) as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (leaves.TREE_LOCK_KEY,))
            for repair in repairs:
                _apply(connection, repair)
    return Answer(
        ok=not findings,
        facts={
            "examined": len(recorded.items),
            "reindexed": len(repairs),
            "failures": continuity.failures_of(findings),
        },
        summary=f"{len(recorded.items)} items examined, {len(repairs)} reindexed, {len(findings)} not intact",
        tables=continuity.table_of(findings),
    )


def derive(
    item: Item, content: bytes | None, stored: Mapping[int, Mapping[int, Leaf]], log: Log, *, needed: int
) -> Repair | Finding | None:
    """Return what is wrong with an item's rows, a finding if its content is not what was logged, None if all is right.

    `stored` has the leaves of each schema by index; only the schema `needed` must have one for the item.
    """
    if content is None:
        return Finding(id=item.id, code="object-missing", detail=f"the store has no {item.object_key}")
    covered = leaves.Covered(
        id=item.id, kind=item.kind, sha256=leaves.digest(content), size_bytes=len(content), created=item.created
    )
    entry = leaves.log_entry(evidence_id=item.id, kind=item.kind, sha256=covered.sha256)
    if not (0 <= item.log_index < len(log.entries) and log.entries[item.log_index][0] == entry):
        return Finding(
            id=item.id,
            code="content-not-logged",
            detail=f"content has sha256:{covered.sha256}, which log entry {item.log_index} does not vouch for",
        )
    wrong = {}
    for schema, kept in stored.items():
        expected = leaves.leaf_hash(covered, schema)
        leaf = kept.get(item.leaf_index)
        if leaf is None and schema != needed:
            continue
        if leaf is None or leaf.digest != expected or leaf.evidence_id != item.id:
            wrong[schema] = expected
    if wrong or covered != item.covered:
        return Repair(item=item, covered=covered, leaves=wrong)
    return None


def _apply(connection: Connection, repair: Repair) -> None:
    connection.execute(
        "UPDATE evidence SET sha256 = %s, size_bytes = %s WHERE id = %s",
        (repair.covered.sha256, repair.covered.size_bytes, repair.item.id),
    )
    for schema, digest in repair.leaves.items():
        statement = sql.SQL(
            "INSERT INTO {} (leaf_index, evidence_id, leaf_hash) VALUES (%s, %s, %s) ON CONFLICT (leaf_index) "
            "DO UPDATE SET evidence_id = EXCLUDED.evidence_id, leaf_hash = EXCLUDED.leaf_hash"
        )
        connection.execute(
            statement.format(sql.Identifier(LEAF_TABLES[schema])), (repair.item.leaf_index, repair.item.id, digest)
        )
