"""Clause E.3: the evidence tree, rebuilt from our own lines; every stored leaf, root and cross-reference recomputed."""

from __future__ import annotations

from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Final

from cutover.evidence import dsse, leaves
from cutover.evidence._findings import Check, Misplaced
from cutover.evidence._json import parse_object
from cutover.evidence._table import HashTable, RootCursor
from cutover.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cutover.evidence._lines import Facts
    from cutover.evidence.snapshot import Snapshot
    from cutover.evidence.sources import SignedRoot, TreeSource
    from cutover.evidence.trust import TrustRoot

ROOT_TYPE: Final = "application/vnd.stella.merkle-root+json"
CROSS_REFERENCE_TYPE: Final = "application/vnd.stella.merkle-crossref+json"
BASE_SCHEMA: Final = 1
"""The leaf schema in force before any release brought another."""
_MAX_GAPS: Final = 100


class TreeCheck(Check):
    """The evidence tree; see `verify.tree`. `size` is the number of items of the two snapshots together.

    Tables hold the leaf hashes we computed, by schema; `owners` the hash of each leaf's id.
    """

    def __init__(
        self,
        title: str,
        before: Snapshot,
        after: Snapshot,
        *,
        size: int,
        trust: TrustRoot,
        source: TreeSource,
        new_schema: int | None,
        base_schema: int,
    ) -> None:
        super().__init__("E.3", title)
        self._before, self._after = before, after
        self._size = size
        self._keys = dsse.KeyRing(trust.attestation_keys)
        self._source = source
        self._new_schema, self._base_schema = new_schema, base_schema
        self._stored = source.schemas()
        self._references = list(source.cross_references())
        named = {schema for one in self._references for schema in (one.old_schema, one.new_schema)}
        wanted = {base_schema, *self._stored, *named} | ({new_schema} if new_schema is not None else set())
        for schema in sorted(wanted - set(leaves.SCHEMAS)):
            self.found.add("schema-unknown", f"leaf schema {schema}", expected=leaves.SCHEMAS, actual=schema)
        known = sorted(wanted & set(leaves.SCHEMAS))
        self._tables = {schema: self.opened.enter_context(HashTable(size)) for schema in known}
        self._owners = self.opened.enter_context(HashTable(size))
        self._roots = {schema: RootCursor(table) for schema, table in self._tables.items()}

    def see(self, facts: Facts, *_: bytes | None) -> None:
        """Compute the item's leaf in every schema from the believed line."""
        self.found.checked += 1
        if not self._owners.put(facts.leaf_index, _owner(facts.id)):
            actual = f"leaf index {facts.leaf_index}, taken or beyond the {self._size} leaves"
            self.found.add("leaf-duplicate", facts.id, expected="a leaf index of its own", actual=actual)
            return
        for schema, table in self._tables.items():
            value = leaves.leaf_hash(
                schema,
                id=facts.id,
                kind=facts.kind,
                sha256=facts.declared_sha256,
                size_bytes=facts.declared_size_bytes,
                created=facts.created,
            )
            table.put(facts.leaf_index, value)

    def conclude(self) -> None:
        """Compare the tree with what the platform stores about it."""
        self._demand_items()
        if not self._stored:
            self.found.add("leaf-missing", "evidence tree", expected="stored leaves", actual="no table of them")
        signed = {schema: self._verify_roots(schema, self._source.roots(schema)) for schema in self._tables}
        bound = self._verify_cross_references()
        self._compare_baseline()
        self._require(signed, bound)
        misplaced = Misplaced(self.found, "leaf_index")
        for schema in sorted(set(self._stored) & set(self._tables)):
            reach = self._size if schema == min(self._stored) else max(signed[schema], bound.get(schema, 0))
            self._compare_leaves(schema, min(reach, self._size), misplaced)
        misplaced.name(self._before, self._after)

    def _demand_items(self) -> None:
        """Demand an item for every leaf."""
        empty = (index for index, cell in enumerate(self._owners.cells()) if cell is None)
        for index in islice(empty, _MAX_GAPS):
            self.found.add("leaf-missing", f"leaf index {index}", expected="an item with this leaf", actual="none")

    def _compare_baseline(self) -> None:
        """Demand the baseline's root over the leaves."""
        if self._base_schema not in self._roots:
            return  # an unknown schema, which is a finding already
        stated = self._before.manifest.roots.get(self._base_schema)
        computed = self._roots[self._base_schema].root_at(self._before.manifest.watermark.leaves)
        # A baseline with findings of its own has a root over other bytes than its rows declare.
        if self._before.manifest.findings_total == 0 and computed is not None and computed.hex() != stated:
            self.found.add("root-mismatch", "the baseline's root", expected=stated, actual=computed)

    def _verify_roots(self, schema: int, roots: Iterable[SignedRoot]) -> int:
        """Verify the signed roots of a schema; return the largest size at which one holds."""
        reached = 0
        for stored in roots:
            if stored.size > self._size:
                break  # made after the snapshot's watermark
            self.found.checked += 1
            item = f"root of schema {schema} at {stored.size}"
            computed = self._roots[schema].root_at(stored.size)
            if computed is None:
                break  # a gap, which is a finding already
            if computed != stored.root:
                self.found.add("root-mismatch", item, expected=computed, actual=stored.root)
                continue
            statement = {"schema_version": schema, "size": stored.size, "root": computed.hex()}
            if self._is_signed(stored.envelope, ROOT_TYPE, statement, item, "root-statement-wrong"):
                reached = stored.size
        return reached

    def _verify_cross_references(self) -> dict[int, int]:
        """Verify the cross-references; return, by new schema, the largest size that one binds to an older schema."""
        bound: dict[int, int] = {}
        for stored in self._references:
            if stored.size > self._size:
                break
            if not {stored.old_schema, stored.new_schema} <= set(self._roots):
                continue  # an unknown schema, which is a finding already
            self.found.checked += 1
            item = f"cross-reference {stored.old_schema} to {stored.new_schema} at {stored.size}"
            old = self._roots[stored.old_schema].root_at(stored.size)
            new = self._roots[stored.new_schema].root_at(stored.size)
            if old is None or new is None:
                break
            if (stored.old_root, stored.new_root) != (old, new):
                actual = f"{stored.old_root.hex()}, {stored.new_root.hex()}"
                self.found.add("crossref-wrong", item, expected=f"{old.hex()}, {new.hex()}", actual=actual)
                continue
            statement = {
                "size": stored.size,
                "old_schema": stored.old_schema,
                "new_schema": stored.new_schema,
                "old_root": old.hex(),
                "new_root": new.hex(),
            }
            if (
                self._is_signed(stored.envelope, CROSS_REFERENCE_TYPE, statement, item, "crossref-wrong")
                and stored.old_schema < stored.new_schema
            ):
                bound[stored.new_schema] = max(bound.get(stored.new_schema, 0), stored.size)
        return bound

    def _require(self, signed: Mapping[int, int], bound: Mapping[int, int]) -> None:
        """Demand a root that holds for all of the baseline, and a cross-reference for every schema that came later."""
        baseline = self._before.manifest.watermark.leaves
        if max(signed.values(), default=0) < baseline:
            actual = f"one at {max(signed.values(), default=0)}"
            self.found.add(
                "root-missing",
                "evidence tree",
                expected=f"a signed root that holds at {baseline} or more",
                actual=actual,
            )
        for schema, reached in signed.items():
            if schema <= self._base_schema or not (reached or schema == self._new_schema):
                continue
            if bound.get(schema, -1) < baseline:
                expected = f"a signed cross-reference to schema {schema} that holds at {baseline} leaves or more"
                actual = f"one at {bound[schema]}" if schema in bound else "none"
                self.found.add("crossref-missing", f"leaf schema {schema}", expected=expected, actual=actual)

    def _compare_leaves(self, schema: int, reach: int, misplaced: Misplaced) -> None:
        """Compare the stored leaves with ours; those below `reach` must be there, those above the watermark are new."""
        upcoming = iter(self._source.leaves(schema))
        leaf = next(upcoming, None)
        ours = zip(self._tables[schema].cells(), self._owners.cells(), strict=True)
        for index, (expected, owner) in enumerate(ours):
            if leaf is None or leaf.index != index:
                if index < reach and expected is not None:
                    misplaced.add("leaf-missing", index, expected=expected, actual="no leaf is stored")
                continue
            self.found.checked += 1
            if expected is None:
                misplaced.add("leaf-unknown", index, expected="no leaf", actual=leaf.leaf_hash)
            elif leaf.leaf_hash != expected:
                misplaced.add("leaf-changed", index, expected=expected, actual=leaf.leaf_hash)
            elif owner != _owner(leaf.evidence_id):
                misplaced.add("leaf-changed", index, expected="the item's own id", actual=leaf.evidence_id)
            leaf = next(upcoming, None)

    def _is_signed(
        self, envelope: Mapping[str, object], kind: str, statement: Mapping[str, object], item: str, code: str
    ) -> bool:
        """Whether a trusted key signed this very statement; if not, the finding is made."""
        try:
            verified = self._keys.verify(envelope, item=item)
            stated = dict(parse_object(verified.payload, code=code, item=item))
        except EvidenceError as error:
            self.found.refuse(error, item)
            return False
        given = {"payloadType": verified.payload_type} | {name: stated.get(name) for name in statement}
        for name, expected in ({"payloadType": kind} | dict(statement)).items():
            if given[name] != expected or isinstance(given[name], bool):
                self.found.add(code, item, expected=f"{name} {expected}", actual=f"{name} {given[name]}")
                return False
        return True


def _owner(evidence_id: str) -> bytes:
    return sha256(evidence_id.encode("utf-8", "surrogatepass")).digest()
