"""Verifies evidence from its content up: digests, leaves, roots, cross-references, attestations, the log.

Invariants: pure but for the contents handed in; whatever can be recomputed is recomputed, never taken from a row; the
first thing wrong with an item is its code, and no item hides what is wrong with another.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rehearsal.platform.core import canonical, checkpoint, dsse, keys, leaves, makers, merkle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from rehearsal.platform.core.settings import Settings
    from rehearsal.platform.stella.records import CrossReference, Item, Leaf, Log, Records, StoredRoot


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The keys that count: for attestations and roots, and the log's as ``name+hash+base64``."""

    signers: tuple[EllipticCurvePublicKey, ...]
    log_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that does not hold. `id` is an evidence id, or the part: root, crossref, checkpoint, log."""

    id: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One item verified. `actual` is its content's digest, if it has any; `code` is None when all is well."""

    item: Item
    actual: str | None
    code: str | None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with the item."""
        return self.code is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All evidence verified. `root` (32 bytes) is recomputed over the first `size` items, authoritative schema."""

    results: tuple[Result, ...]
    findings: tuple[Finding, ...]
    schema_version: int
    size: int
    root: bytes
    note: str
    trees: Trees
    log_tree: merkle.Tree

    @property
    def by_kind(self) -> dict[str, int]:
        """How many items there are of each kind."""
        return dict(sorted(Counter(result.item.kind for result in self.results).items()))


class Trees:
    """The trees that items give by each leaf schema, made when first asked for."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self._leaves: dict[int, list[bytes]] = {}
        self._trees: dict[int, merkle.Tree] = {}

    def leaves(self, schema: int) -> list[bytes]:
        """Return the leaf hashes (32 bytes each) in the order of the items."""
        if schema not in self._leaves:
            self._leaves[schema] = [leaves.leaf_hash(item.covered, schema) for item in self._items]
        return self._leaves[schema]

    def root(self, schema: int, size: int | None = None) -> bytes:
        """Return the root (32 bytes) over the first `size` items, all by default.

        Raises: ValueError when there are fewer.
        """
        if schema not in self._trees:
            self._trees[schema] = merkle.Tree(self.leaves(schema))
        return self._trees[schema].root(size)


def trust_of(settings: Settings) -> Trust:
    """Return the keys of a deployment: the public halves of those it signs with."""
    signer = keys.load_signing_key(settings.signing_key_pem).public_key()
    log_key = keys.load_log_key(settings.log_signing_key_pem).public_key()
    return Trust(signers=(signer,), log_key=keys.verifier_key(settings.log_origin, log_key))


def verify(records: Records, contents: Iterable[bytes | None], trust: Trust) -> Verification:
    """Verify all evidence. `contents` has the bytes of each item, in the order of `records.items`."""
    digests_of_scan: dict[str, dict[str, str]] = {}
    for item in records.items:
        digests_of_scan.setdefault(item.scan_id, {})[item.kind] = item.sha256
    trees = Trees(records.items)
    log_tree = merkle.Tree(merkle.leaf_hash(leaf) for leaf, _ in records.log.entries)
    stored = {schema: {leaf.index: leaf for leaf in kept} for schema, kept in records.leaves.items()}
    results, findings = [], []
    for position, (item, content) in enumerate(zip(records.items, contents, strict=True)):
        finding = verify_content(item, content)
        for schema in records.leaves:
            is_needed = schema == records.authoritative_schema
            finding = finding or _verify_leaf(
                item, schema, trees.leaves(schema)[position], stored[schema], is_needed=is_needed
            )
        finding = finding or _verify_entry(item, records.log)
        if finding is None and item.kind == "attestation" and content is not None:
            finding = verify_attestation(item, content, digests_of_scan[item.scan_id], trust)
        if finding is not None:
            findings.append(finding)
        actual = None if content is None else leaves.digest(content)
        results.append(Result(item=item, actual=actual, code=finding.code if finding else None))
    findings.extend(_verify_order(records.items))
    parts: list[Finding] = []
    for stored_root in records.roots:
        parts.extend(_verify_root(stored_root, trees, len(records.items), trust))
    for reference in records.cross_references:
        parts.extend(verify_cross_reference(reference, trees, len(records.items), trust))
    parts.extend(verify_log(records.log, log_tree, trust))
    findings.extend(_collapsed(parts))
    schema = records.authoritative_schema
    return Verification(
        results=tuple(results),
        findings=tuple(findings),
        schema_version=schema,
        size=len(records.items),
        root=trees.root(schema),
        note=records.log.note,
        trees=trees,
        log_tree=log_tree,
    )


def verify_content(item: Item, content: bytes | None) -> Finding | None:
    """Hash an item's bytes and compare with its row."""
    if content is None:
        return Finding(id=item.id, code="object-missing", detail=f"the store has no {item.object_key}")
    actual = hashlib.sha256(content).hexdigest()
    if actual != item.sha256:
        return Finding(
            id=item.id, code="digest-mismatch", detail=f"content has sha256:{actual}, the row says sha256:{item.sha256}"
        )
    if len(content) != item.size_bytes:
        return Finding(
            id=item.id, code="size-mismatch", detail=f"content has {len(content)} bytes, the row says {item.size_bytes}"
        )
    return None


def verify_attestation(item: Item, content: bytes, recorded: Mapping[str, str], trust: Trust) -> Finding | None:
    """Verify an attestation's signature, its signer, and that its subjects are the scan's items.

    `recorded` has the digests of the scan's items by kind.
    """
    try:
        payload, keyid = dsse.verify(dsse.read(content), dsse.IN_TOTO, trust.signers)
        subjects = subjects_of(payload)
    except (dsse.SignatureInvalidError, ValueError) as cause:
        return Finding(id=item.id, code="attestation-invalid", detail=str(cause))
    if item.signer_keyid is not None and keyid != item.signer_keyid:
        return Finding(
            id=item.id, code="signer-mismatch", detail=f"signed by {keyid}, the row says {item.signer_keyid}"
        )
    for kind in ("oci-manifest", "sbom"):
        name = makers.BUNDLE_NAMES[kind]
        if subjects.get(name) != recorded.get(kind):
            return Finding(
                id=item.id,
                code="subject-mismatch",
                detail=f"speaks of {name} sha256:{subjects.get(name)}, the row says sha256:{recorded.get(kind)}",
            )
    return None


def subjects_of(payload: bytes) -> dict[str, str]:
    """Return the names and SHA-256 digests that an in-toto statement speaks of.

    Raises: ValueError when the payload is no such statement.
    """
    statement = canonical.decode(payload)
    if statement.get("_type") != makers.STATEMENT_TYPE:
        raise ValueError(f"statement type is {statement.get('_type')!r}, expected {makers.STATEMENT_TYPE!r}")
    try:
        return {str(subject["name"]): str(subject["digest"]["sha256"]) for subject in statement["subject"]}
    except (KeyError, TypeError) as cause:
        raise ValueError("the statement names no subjects with SHA-256 digests") from cause


def verify_cross_reference(reference: CrossReference, trees: Trees, items: int, trust: Trust) -> list[Finding]:
    """Recompute both roots of a cross-reference over the same items, and verify its signature over them."""

    def finding(code: str, detail: str) -> Finding:
        return Finding(id="crossref", code=code, detail=detail)

    if reference.size > items:
        return [finding("crossref-ahead", f"binds {reference.size} items, there are {items}")]
    findings = []
    for schema, root in ((reference.old_schema, reference.old_root), (reference.new_schema, reference.new_root)):
        recomputed = trees.root(schema, reference.size)
        if recomputed != root:
            findings.append(
                finding(
                    "crossref-root-mismatch",
                    f"schema {schema} at {reference.size} recomputes to {recomputed.hex()}, it says {root.hex()}",
                )
            )
    statement = leaves.crossref_statement(
        size=reference.size,
        old_schema=reference.old_schema,
        new_schema=reference.new_schema,
        old_root=reference.old_root,
        new_root=reference.new_root,
    )
    fault = _statement_fault(reference.envelope, dsse.MERKLE_CROSSREF, statement, trust)
    return [*findings, finding("crossref-signature-invalid", fault)] if fault else findings


def verify_log(log: Log, tree: merkle.Tree, trust: Trust) -> list[Finding]:
    """Compare the log with its recomputed tree: leaf hashes, every checkpoint's root, the newest one's signature."""
    findings = []
    for index, (leaf, digest) in enumerate(log.entries):
        if merkle.leaf_hash(leaf) != digest:
            findings.append(
                Finding(
                    id="log", code="log-leaf-mismatch", detail=f"entry {index} does not hash to its stored leaf hash"
                )
            )
    for size, root in log.checkpoints:
        if size > tree.size or tree.root(size) != root:
            seen = tree.root(size).hex() if size <= tree.size else f"only {tree.size} entries"
            findings.append(
                Finding(
                    id="checkpoint", code="checkpoint-root-mismatch", detail=f"at {size}: {root.hex()}, log has {seen}"
                )
            )
    return findings + verify_checkpoint(log.note, tree, trust, what="the newest checkpoint")


def verify_checkpoint(note: str, tree: merkle.Tree, trust: Trust, *, what: str) -> list[Finding]:
    """Verify that a note is the log's, and that the log of now has its root at its size."""
    try:
        signed = checkpoint.verify(note, trust.log_key)
    except checkpoint.CheckpointInvalidError as cause:
        return [Finding(id="checkpoint", code="checkpoint-invalid", detail=f"{what}: {cause}")]
    if signed.size > tree.size:
        detail = f"{what} covers {signed.size} entries, the log has {tree.size}"
        return [Finding(id="checkpoint", code="checkpoint-ahead", detail=detail)]
    if tree.root(signed.size) != signed.root:
        detail = f"{what} has root {signed.root.hex()} at {signed.size}, the log {tree.root(signed.size).hex()}"
        return [Finding(id="checkpoint", code="checkpoint-inconsistent", detail=detail)]
    return []


def _verify_leaf(
    item: Item, schema: int, expected: bytes, stored: Mapping[int, Leaf], *, is_needed: bool
) -> Finding | None:
    """Compare a stored leaf with what the row gives; only the authoritative tree must have every leaf already."""
    leaf = stored.get(item.leaf_index)
    if leaf is None:
        if not is_needed:
            return None
        return Finding(id=item.id, code="leaf-missing", detail=f"schema {schema} has no leaf {item.leaf_index}")
    if leaf.evidence_id != item.id or leaf.digest != expected:
        return Finding(
            id=item.id,
            code="leaf-mismatch",
            detail=f"schema {schema} leaf {item.leaf_index} is {leaf.digest.hex()} of {leaf.evidence_id}, "
            f"the row gives {expected.hex()}",
        )
    return None


def _verify_entry(item: Item, log: Log) -> Finding | None:
    if not 0 <= item.log_index < len(log.entries):
        return Finding(id=item.id, code="log-entry-missing", detail=f"the log has no entry {item.log_index}")
    expected = leaves.log_entry(evidence_id=item.id, kind=item.kind, sha256=item.sha256)
    if log.entries[item.log_index][0] != expected:
        return Finding(
            id=item.id, code="log-entry-mismatch", detail=f"log entry {item.log_index} speaks of other content"
        )
    return None


def _verify_order(items: Sequence[Item]) -> list[Finding]:
    """Leaf indexes are dense from 0: name the first item after each gap, not all that moved with it."""
    findings, expected = [], 0
    for item in items:
        if item.leaf_index != expected:
            detail = f"leaf index {item.leaf_index} follows {expected - 1}"
            findings.append(Finding(id=item.id, code="leaf-index-gap", detail=detail))
        expected = item.leaf_index + 1
    return findings


def _collapsed(findings: Sequence[Finding]) -> list[Finding]:
    """Keep the first finding of each part and code: every later root or checkpoint breaks with the first."""
    first: dict[tuple[str, str], Finding] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        first.setdefault((finding.id, finding.code), finding)
        counts[finding.id, finding.code] += 1
    return [
        finding if counts[key] == 1 else replace(finding, detail=f"{finding.detail}; and {counts[key] - 1} more")
        for key, finding in first.items()
    ]


def _verify_root(stored: StoredRoot, trees: Trees, items: int, trust: Trust) -> list[Finding]:
    where = f"schema {stored.schema_version} at {stored.size}"
    if stored.size > items:
        return [Finding(id="root", code="root-ahead", detail=f"{where}: there are {items} items")]
    findings = []
    recomputed = trees.root(stored.schema_version, stored.size)
    if recomputed != stored.root:
        detail = f"{where} recomputes to {recomputed.hex()}, stored is {stored.root.hex()}"
        findings.append(Finding(id="root", code="root-mismatch", detail=detail))
    if stored.envelope is not None and (fault := _root_fault(stored, trust)):
        findings.append(Finding(id="root", code="root-signature-invalid", detail=f"{where}: {fault}"))
    return findings


def _root_fault(stored: StoredRoot, trust: Trust) -> str | None:
    wanted = {"root": stored.root.hex(), "schema_version": stored.schema_version, "size": stored.size}
    return _statement_fault(stored.envelope or {}, dsse.MERKLE_ROOT, wanted, trust)


def _statement_fault(
    envelope: Mapping[str, Any], payload_type: str, wanted: Mapping[str, Any], trust: Trust
) -> str | None:
    """Return why an envelope does not vouch for the wanted values, None when it does."""
    try:
        payload, _ = dsse.verify(envelope, payload_type, trust.signers)
        said = canonical.decode(payload)
    except (dsse.SignatureInvalidError, json.JSONDecodeError, ValueError) as cause:
        return str(cause)
    differing = [key for key, value in wanted.items() if said.get(key) != value]
    return f"the signed statement differs in {', '.join(differing)}" if differing else None
