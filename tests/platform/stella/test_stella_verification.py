"""Every way in which evidence can be altered has its own code, and what is whole verifies without a finding."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rehearsal.platform.core import canonical, checkpoint, dsse, keys, leaves, makers
from rehearsal.platform.stella import verification
from rehearsal.platform.stella.records import Leaf
from tests.platform.stella.stella_world import CREATED, LOG_KEY, ORIGIN, World, make_world

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER_KEY = keys.derived_signing_key(2)


def codes(world: World) -> list[tuple[str, str]]:
    found = verification.verify(world.records, world.listed(), world.trust)
    return [(finding.id, finding.code) for finding in found.findings]


@pytest.mark.parametrize("schemas", [(1,), (1, 2), (2,)], ids=["schema 1", "both", "schema 2 alone"])
def test_whole_evidence_has_no_findings(schemas: tuple[int, ...]):
    world = make_world(schemas=schemas)
    found = verification.verify(world.records, world.listed(), world.trust)
    assert found.findings == ()
    assert all(result.ok for result in found.results)
    assert found.by_kind == dict.fromkeys(sorted(makers.KINDS), 3)
    assert (found.size, found.schema_version) == (12, schemas[0])
    assert found.root == found.trees.root(schemas[0])


def alter_content(world: World) -> tuple[str, str]:
    item = world.item("sbom")
    content = world.contents[item.object_key]
    world.contents[item.object_key] = content[:-1] + bytes([content[-1] ^ 1])
    return item.id, "digest-mismatch"


def lose_content(world: World) -> tuple[str, str]:
    item = world.item("bundle")
    del world.contents[item.object_key]
    return item.id, "object-missing"


def change_size(world: World) -> tuple[str, str]:
    item = world.item("bundle")
    world.replace_item(item.id, size_bytes=item.size_bytes + 1)
    return item.id, "size-mismatch"


def change_row_digest(world: World) -> tuple[str, str]:
    item = world.item("bundle")
    world.replace_item(item.id, sha256="0" * 64)
    return item.id, "digest-mismatch"


def drop_leaf(world: World) -> tuple[str, str]:
    item = world.item("sbom")
    kept = tuple(leaf for leaf in world.records.leaves[1] if leaf.index != item.leaf_index)
    world.records = replace(world.records, leaves={1: kept})
    return item.id, "leaf-missing"


def swap_leaves(world: World) -> tuple[str, str]:
    first, second, *rest = world.records.leaves[1]
    swapped = (replace(first, digest=second.digest), replace(second, digest=first.digest), *rest)
    world.records = replace(world.records, leaves={1: swapped})
    return first.evidence_id, "leaf-mismatch"


def sign_with_another_key(world: World) -> tuple[str, str]:
    """Everything is rewritten consistently, but for the key: only the signature gives it away."""
    item = world.item("attestation")
    payload, _ = dsse.verify(dsse.read(world.contents[item.object_key]), dsse.IN_TOTO, world.trust.signers)
    forged = canonical.encode(dsse.sign(dsse.IN_TOTO, payload, OTHER_KEY))
    digest = leaves.digest(forged)
    world.contents[leaves.object_key(digest)] = forged
    row = {"sha256": digest, "size_bytes": len(forged), "object_key": leaves.object_key(digest)}
    world.replace_item(item.id, **row)
    covered = replace(item, **row).covered
    stored = [
        replace(leaf, digest=leaves.leaf_hash(covered, 1)) if leaf.evidence_id == item.id else leaf
        for leaf in world.records.leaves[1]
    ]
    world.records = replace(world.records, leaves={1: tuple(stored)})
    entries = list(world.records.log.entries)
    entry = leaves.log_entry(evidence_id=item.id, kind=item.kind, sha256=digest)
    entries[item.log_index] = (entry, entries[item.log_index][1])
    world.replace_log(entries=tuple(entries))
    return item.id, "attestation-invalid"


def point_outside_the_log(world: World) -> tuple[str, str]:
    item = world.item("bundle")
    world.replace_item(item.id, log_index=999)
    return item.id, "log-entry-missing"


def rewrite_log_entry(world: World) -> tuple[str, str]:
    entries = list(world.records.log.entries)
    entries[0] = (b'{"evidence_id":"ev-x","kind":"sbom","sha256":""}', entries[0][1])
    world.replace_log(entries=tuple(entries))
    return "log", "log-leaf-mismatch"


def shorten_log(world: World) -> tuple[str, str]:
    world.replace_log(entries=world.records.log.entries[:-1])
    return "checkpoint", "checkpoint-ahead"


def sign_checkpoint_with_another_key(world: World) -> tuple[str, str]:
    signed = checkpoint.read(world.records.log.note)
    world.replace_log(note=checkpoint.sign(signed, keys.derived_log_key(2)))
    return "checkpoint", "checkpoint-invalid"


def sign_another_root(world: World) -> tuple[str, str]:
    other = checkpoint.Checkpoint(origin=ORIGIN, size=12, root=b"r" * 32)
    world.replace_log(note=checkpoint.sign(other, LOG_KEY))
    return "checkpoint", "checkpoint-inconsistent"


def change_root(world: World) -> tuple[str, str]:
    world.records = replace(world.records, roots=(replace(world.records.roots[0], root=b"r" * 32),))
    return "root", "root-mismatch"


def sign_root_with_another_key(world: World) -> tuple[str, str]:
    root = world.records.roots[0]
    statement = leaves.root_statement(schema_version=1, size=root.size, root=root.root, created=CREATED)
    envelope = dsse.sign_statement(dsse.MERKLE_ROOT, statement, OTHER_KEY)
    world.records = replace(world.records, roots=(replace(root, envelope=envelope),))
    return "root", "root-signature-invalid"


def roll_items_back(world: World) -> tuple[str, str]:
    world.records = replace(world.records, items=world.records.items[:-4])
    return "root", "root-ahead"


def remove_an_item(world: World) -> tuple[str, str]:
    world.records = replace(world.records, items=(*world.records.items[:4], *world.records.items[5:]))
    return world.records.items[4].id, "leaf-index-gap"


@pytest.mark.parametrize(
    "alter",
    [
        alter_content,
        lose_content,
        change_size,
        change_row_digest,
        drop_leaf,
        swap_leaves,
        sign_with_another_key,
        point_outside_the_log,
        rewrite_log_entry,
        shorten_log,
        sign_checkpoint_with_another_key,
        sign_another_root,
        change_root,
        sign_root_with_another_key,
        roll_items_back,
        remove_an_item,
    ],
)
def test_each_alteration_is_found(world: World, alter: Callable[[World], tuple[str, str]]):
    assert alter(world) in codes(world)


def test_one_altered_item_does_not_hide_another(world: World):
    first, second = alter_content(world), lose_content(world)
    assert {first, second} <= set(codes(world))


def test_a_later_tree_may_be_behind_the_authoritative_one():
    world = make_world(schemas=(1, 2))
    world.records = replace(world.records, leaves={**world.records.leaves, 2: world.records.leaves[2][:-4]})
    assert codes(world) == []


@pytest.mark.parametrize("field", ["old_root", "new_root"])
def test_a_cross_reference_binds_roots_that_recompute(field: str):
    world = make_world(schemas=(1, 2))
    altered = replace(world.records.cross_references[0], **{field: b"r" * 32})
    world.records = replace(world.records, cross_references=(altered,))
    assert codes(world) == [("crossref", "crossref-root-mismatch"), ("crossref", "crossref-signature-invalid")]


def test_an_attestation_about_other_items_is_found(world: World):
    attestation = world.item("attestation")
    content = world.contents[attestation.object_key]
    recorded = {"oci-manifest": "0" * 64, "sbom": world.item("sbom").sha256}
    finding = verification.verify_attestation(attestation, content, recorded, world.trust)
    assert finding is not None
    assert finding.code == "subject-mismatch"


def test_findings_of_one_part_are_told_once_with_their_number(world: World):
    root = world.records.roots[0]
    wrong = tuple(replace(root, size=size, root=b"r" * 32, envelope=None) for size in (4, 8, 12))
    world.records = replace(world.records, roots=wrong)
    found = verification.verify(world.records, world.listed(), world.trust)
    assert len(found.findings) == 1
    assert found.findings[0].detail.endswith("; and 2 more")


def test_a_foreign_leaf_in_a_place_is_found(world: World):
    first, *rest = world.records.leaves[1]
    foreign = Leaf(index=first.index, evidence_id="ev-x", digest=first.digest)
    world.records = replace(world.records, leaves={1: (foreign, *rest)})
    assert codes(world) == [(first.evidence_id, "leaf-mismatch")]
