"""The five guarantees of the guide (clauses E.1 to E.5), each verified from an independent source.

    digests       E.1  manifests, bundles and all that is neither SBOM nor attestation, by re-hash
    sboms         E.2  SBOMs by their raw bytes
    tree          E.3  the evidence tree rebuilt from our own lines; every signed root and cross-reference recomputed
    attestations  E.4  signatures against the trust root held before the upgrade
    log           E.5  every entry, the old checkpoint and the new one, by rebuilding the log's tree

Invariants: of an item in the baseline, the baseline's line is believed; of a later one the row, whose digest was
checked against the content when the snapshot was taken. So a finding names the layer that was altered: a flipped
content is E.1, E.2 or E.4 and leaves E.3 and E.5 standing. A guarantee over nothing does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from cutover.evidence import diff, snapshot
from cutover.evidence._contents import ContentsCheck
from cutover.evidence._findings import KEEP_FINDINGS, Check, Guarantee, verified
from cutover.evidence._log import LogCheck, verify_consistency
from cutover.evidence._tree import BASE_SCHEMA, CROSS_REFERENCE_TYPE, ROOT_TYPE, TreeCheck

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cutover.evidence.errors import Finding
    from cutover.evidence.snapshot import Snapshot
    from cutover.evidence.sources import LogSource, TreeSource
    from cutover.evidence.trust import TrustRoot

__all__ = [
    "BASE_SCHEMA",
    "CROSS_REFERENCE_TYPE",
    "KEEP_FINDINGS",
    "ROOT_TYPE",
    "TITLES",
    "Guarantee",
    "Report",
    "attestations",
    "digests",
    "five_guarantees",
    "log",
    "sboms",
    "tree",
    "verify_consistency",
]

TITLES: Final[Mapping[str, str]] = {
    "E.1": "OCI digests unchanged",
    "E.2": "SBOM content hashes unchanged",
    "E.3": "Merkle roots recomputed, cross-reference kept",
    "E.4": "Attestation signatures valid",
    "E.5": "Log entries immutable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All five, the balance of items, and the digests of the two manifests they are about."""

    guarantees: tuple[Guarantee, ...]
    diff: diff.Diff
    before_digest: str
    after_digest: str

    @property
    def holds(self) -> bool:
        """Whether every guarantee holds, and no item slipped in before the baseline's watermark (F.8)."""
        return all(guarantee.holds for guarantee in self.guarantees) and not self.diff.unaccounted

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every named finding, in the order of the guarantees."""
        return tuple(finding for guarantee in self.guarantees for finding in guarantee.findings)

    def as_json(self) -> dict[str, object]:
        """Return the report, as the record keeps it."""
        return {
            "holds": self.holds,
            "before_digest": self.before_digest,
            "after_digest": self.after_digest,
            "diff": self.diff.as_json(),
            "guarantees": [guarantee.as_json() | {"holds": guarantee.holds} for guarantee in self.guarantees],
        }


def five_guarantees(
    before_dir: Path,
    after_dir: Path,
    *,
    trust: TrustRoot,
    tree_source: TreeSource,
    log_source: LogSource,
    new_schema: int | None = None,
    base_schema: int = BASE_SCHEMA,
) -> Report:
    """Verify all five over two snapshots; for a site on its own, give the same folder twice.

    `new_schema` is the leaf schema that the target release introduces, if it does: then a signed cross-reference to it
    must cover the baseline. `base_schema` is the one in force when the baseline was taken: those up to it were bound by
    an upgrade before. Read tree and log after the second snapshot: what is newer than it is left aside.

    Raises:
        EvidenceError: `snapshot-altered`, `snapshot-malformed` or `balance-wrong`: the harness's own files are not
        whole.

    """
    balance = diff.compare(before_dir, after_dir)
    before, after = snapshot.load(before_dir), snapshot.load(after_dir)
    size = balance.before + balance.added
    checks = (
        _digests(after),
        _sboms(after),
        _tree(
            before, after, size=size, trust=trust, source=tree_source, new_schema=new_schema, base_schema=base_schema
        ),
        _attestations(before, after, trust),
        _log(before, after, trust=trust, source=log_source),
    )
    return Report(
        guarantees=verified(before, after, checks),
        diff=balance,
        before_digest=before.manifest.digest,
        after_digest=after.manifest.digest,
    )


def digests(before: Snapshot, after: Snapshot) -> Guarantee:
    """Verify that every manifest and bundle of the baseline is there with its bytes. Source: clause E.1."""
    return verified(before, after, [_digests(after)])[0]


def sboms(before: Snapshot, after: Snapshot) -> Guarantee:
    """Verify that every SBOM of the baseline is there with its bytes. Source: clause E.2."""
    return verified(before, after, [_sboms(after)])[0]


def tree(
    before: Snapshot,
    after: Snapshot,
    *,
    trust: TrustRoot,
    source: TreeSource,
    new_schema: int | None = None,
    base_schema: int = BASE_SCHEMA,
) -> Guarantee:
    """Rebuild the evidence tree from our own lines and verify what the platform stores about it. Source: clause E.3.

    The first leaves are the baseline's own, so a signed root at or above its size that recomputes proves that the tree
    of now continues the tree of then. A newer leaf schema needs a signed cross-reference over at least the baseline,
    whose two roots both recompute.
    """
    size = sum(1 for _ in diff.pairs(before, after))
    check = _tree(before, after, size=size, trust=trust, source=source, new_schema=new_schema, base_schema=base_schema)
    return verified(before, after, [check])[0]


def attestations(before: Snapshot, after: Snapshot, *, trust: TrustRoot) -> Guarantee:
    """Verify that every attestation, old and new, is signed by a key trusted before the upgrade. Source: clause E.4.

    The signatures were verified when the snapshots were taken; both must have used this very trust root.
    """
    return verified(before, after, [_attestations(before, after, trust)])[0]


def log(before: Snapshot, after: Snapshot, *, trust: TrustRoot, source: LogSource) -> Guarantee:
    """Rebuild the log from its entries and verify both checkpoints over them. Source: clause E.5.

    Every item's entry is compared with the one its line makes (which is inclusion of every item, by recomputation), the
    old checkpoint must be a state of the tree that leads to the new one (which is consistency), and the log's key must
    have signed both.
    """
    return verified(before, after, [_log(before, after, trust=trust, source=source)])[0]


_tree = partial(TreeCheck, TITLES["E.3"])
_log = partial(LogCheck, TITLES["E.5"])


def _digests(after: Snapshot) -> Check:
    return ContentsCheck("E.1", TITLES["E.1"], after, lambda kind: kind not in {"sbom", "attestation"})


def _sboms(after: Snapshot) -> Check:
    return ContentsCheck("E.2", TITLES["E.2"], after, lambda kind: kind == "sbom")


def _attestations(before: Snapshot, after: Snapshot, trust: TrustRoot) -> Check:
    check = ContentsCheck("E.4", TITLES["E.4"], after, lambda kind: kind == "attestation")
    for name, taken in (("the baseline", before), ("the later snapshot", after)):
        if taken.manifest.trust_digest != trust.digest:
            check.found.add("trust-root-changed", name, expected=trust.digest, actual=taken.manifest.trust_digest)
    return check
