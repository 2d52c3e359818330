"""The evidence of a small site, made as the platform makes it, for the tests of `stella`."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any

from rehearsal.platform.core import checkpoint, dsse, keys, leaves, makers, merkle
from rehearsal.platform.stella.records import CrossReference, Item, Leaf, Log, Records, StoredRoot
from rehearsal.platform.stella.verification import Trust

ORIGIN = "log.stella.test"
CREATED = dt.datetime(2027, 4, 1, 12, 0, tzinfo=dt.UTC)
SIGNING_KEY = keys.derived_signing_key(1)
LOG_KEY = keys.derived_log_key(1)


@dataclass(slots=True)
class World:
    """The evidence of a site: `records` as the databases have it, `contents` by object key as the store has it."""

    records: Records
    contents: dict[str, bytes]
    trust: Trust

    def listed(self) -> list[bytes | None]:
        return [self.contents.get(item.object_key) for item in self.records.items]

    def item(self, kind: str) -> Item:
        return next(item for item in self.records.items if item.kind == kind)

    def replace_item(self, name: str, **values: Any) -> None:  # noqa: ANN401 -- any field's
        items = tuple(replace(item, **values) if item.id == name else item for item in self.records.items)
        self.records = replace(self.records, items=items)

    def replace_log(self, **values: Any) -> None:  # noqa: ANN401 -- any field's
        self.records = replace(self.records, log=replace(self.records.log, **values))


def make_world(scans: int = 3, schemas: tuple[int, ...] = (1,)) -> World:
    """Make the evidence of some scans: four items each, with leaves, a root and, for two schemas, a cross-reference."""
    items: list[Item] = []
    contents: dict[str, bytes] = {}
    entries: list[tuple[bytes, bytes]] = []
    for number in range(scans):
        scan = makers.Scan(id=f"scan-{number}", image=f"registry.test/image:{number}", created=CREATED)
        for made in makers.make_evidence(scan, SIGNING_KEY):
            index = len(items)
            name = leaves.evidence_id(index)
            contents[made.object_key] = made.content
            entry = leaves.log_entry(evidence_id=name, kind=made.kind, sha256=made.sha256)
            entries.append((entry, merkle.leaf_hash(entry)))
            items.append(
                Item(
                    id=name,
                    scan_id=scan.id,
                    kind=made.kind,
                    size_bytes=len(made.content),
                    sha256=made.sha256,
                    object_key=made.object_key,
                    leaf_index=index,
                    log_index=index,
                    signer_keyid=made.signer_keyid,
                    created=CREATED,
                )
            )
    hashed = {schema: [leaves.leaf_hash(item.covered, schema) for item in items] for schema in (1, 2)}
    roots = {schema: merkle.Frontier(digests).root() for schema, digests in hashed.items()}
    size = len(items)
    log_root = merkle.Frontier(digest for _, digest in entries).root()
    note = checkpoint.sign(checkpoint.Checkpoint(origin=ORIGIN, size=size, root=log_root), LOG_KEY)
    statement = leaves.crossref_statement(size=size, old_schema=1, new_schema=2, old_root=roots[1], new_root=roots[2])
    reference = CrossReference(
        size=size,
        old_schema=1,
        new_schema=2,
        old_root=roots[1],
        new_root=roots[2],
        envelope=dsse.sign_statement(dsse.MERKLE_CROSSREF, statement, SIGNING_KEY),
    )
    records = Records(
        items=tuple(items),
        leaves={
            schema: tuple(
                Leaf(index=item.leaf_index, evidence_id=item.id, digest=digest)
                for item, digest in zip(items, hashed[schema], strict=True)
            )
            for schema in schemas
        },
        roots=tuple(_signed_root(schema, size, roots[schema]) for schema in (1, *schemas[1:])),
        cross_references=(reference,) if 2 in schemas else (),
        log=Log(entries=tuple(entries), checkpoints=((size, log_root),), note=note),
    )
    trust = Trust(signers=(SIGNING_KEY.public_key(),), log_key=keys.verifier_key(ORIGIN, LOG_KEY.public_key()))
    return World(records=records, contents=contents, trust=trust)


def _signed_root(schema: int, size: int, root: bytes) -> StoredRoot:
    statement = leaves.root_statement(schema_version=schema, size=size, root=root, created=CREATED)
    envelope = dsse.sign_statement(dsse.MERKLE_ROOT, statement, SIGNING_KEY)
    return StoredRoot(schema_version=schema, size=size, root=root, envelope=envelope)
