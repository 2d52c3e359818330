"""Merkle trees: known roots of RFC 6962, proofs against the RFC's own recursion, and all that must be refused."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.evidence import merkle
from cutover.evidence.errors import EvidenceError
from tests.evidence import reference

# The eight inputs and the roots over the first n of them that Certificate Transparency's own tests use for RFC 6962.
INPUTS = (
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
LEAVES = [merkle.leaf_hash(bytes.fromhex(data)) for data in INPUTS]


def made(size: int) -> list[bytes]:
    return [merkle.leaf_hash(b"%d" % index) for index in range(size)]


@pytest.mark.parametrize("size", range(9))
def test_reference_roots(size: int):
    assert merkle.root_hash(LEAVES[:size]).hex() == ROOTS[size]


@given(st.integers(0, 200))
def test_roots_equal_the_recursion(size: int):
    assert merkle.root_hash(iter(made(size))) == reference.root(made(size))


@given(st.lists(st.integers(0, 40) | st.integers(1000, 1100), max_size=5))
def test_a_tree_grown_in_pieces_has_the_roots_of_each_size(pieces: list[int]):
    tree, leaves = merkle.Tree(), made(sum(pieces))
    for piece in pieces:
        tree.extend(leaves[tree.size : tree.size + piece])
        assert tree.root() == reference.root(leaves[: tree.size])


def test_memory_grows_with_the_logarithm_of_the_leaves():
    tree = merkle.Tree()
    tree.extend(bytes(32) for _ in range(100_000))
    assert len(tree._peaks) <= 17


@given(st.data())
def test_inclusion_proofs_are_accepted(data: st.DataObject):
    size = data.draw(st.integers(1, 150))
    index = data.draw(st.integers(0, size - 1))
    leaves = made(size)
    merkle.verify_inclusion(
        leaf_hash=leaves[index],
        index=index,
        size=size,
        proof=reference.inclusion(index, leaves),
        root=reference.root(leaves),
    )


@given(st.data())
def test_altered_inclusion_proofs_are_refused(data: st.DataObject):
    """Another leaf, index, hash, length or root: whatever is altered, and only ever an EvidenceError."""
    size = data.draw(st.integers(2, 150))
    index = data.draw(st.integers(0, size - 1))
    leaves = made(size)
    good = {
        "leaf_hash": leaves[index],
        "index": index,
        "size": size,
        "proof": reference.inclusion(index, leaves),
        "root": reference.root(leaves),
    }
    proof = list(good["proof"])  # type: ignore[call-overload]
    position = data.draw(st.integers(0, len(proof) - 1))
    bad = data.draw(
        st.sampled_from(
            (
                {"leaf_hash": leaves[index - 1]},
                {"index": (index + 1) % size},
                {"index": size},
                {"root": sha256(b"other").digest()},
                {"proof": proof[:-1]},
                {"proof": [*proof, bytes(32)]},
                {"proof": [*proof[:position], bytes(32), *proof[position + 1 :]]},
            )
        )
    )
    with pytest.raises(EvidenceError):
        merkle.verify_inclusion(**(good | bad))  # type: ignore[arg-type]


@given(st.data())
def test_consistency_proofs_are_accepted(data: st.DataObject):
    size2 = data.draw(st.integers(1, 150))
    size1 = data.draw(st.integers(1, size2))
    leaves = made(size2)
    merkle.verify_consistency(
        size1=size1,
        size2=size2,
        proof=reference.consistency(size1, leaves),
        root1=reference.root(leaves[:size1]),
        root2=reference.root(leaves),
    )


@given(st.data())
def test_altered_consistency_proofs_are_refused(data: st.DataObject):
    size2 = data.draw(st.integers(2, 150))
    size1 = data.draw(st.integers(1, size2 - 1))
    leaves = made(size2)
    proof = reference.consistency(size1, leaves)
    position = data.draw(st.integers(0, len(proof) - 1))
    good = {
        "size1": size1,
        "size2": size2,
        "proof": proof,
        "root1": reference.root(leaves[:size1]),
        "root2": reference.root(leaves),
    }
    bad = data.draw(
        st.sampled_from(
            (
                {"root1": sha256(b"other").digest()},
                {"root2": sha256(b"other").digest()},
                {"root1": good["root2"], "root2": good["root1"]},
                {"size1": size2, "size2": size1},
                {"proof": []},
                {"proof": [*proof, bytes(32)]},
                {"proof": [*proof[:position], bytes(32), *proof[position + 1 :]]},
            )
        )
    )
    with pytest.raises(EvidenceError):
        merkle.verify_consistency(**(good | bad))  # type: ignore[arg-type]


ROOT = bytes.fromhex(ROOTS[1])
INCLUSION = {"leaf_hash": ROOT, "index": 0, "size": 1, "proof": [], "root": ROOT}
CONSISTENCY = {"size1": 1, "size2": 1, "proof": [], "root1": ROOT, "root2": ROOT}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"leaf_hash": ROOT[:31]}, "hash-malformed"),
        ({"leaf_hash": ROOT.hex()}, "hash-malformed"),
        ({"root": b""}, "hash-malformed"),
        ({"proof": [b"short"]}, "hash-malformed"),
        ({"proof": None}, "proof-malformed"),
        ({"proof": ROOT}, "proof-malformed"),
        ({"index": -1}, "proof-malformed"),
        ({"index": True}, "proof-malformed"),
        ({"size": 1.0}, "proof-malformed"),
        ({"size": 10**5000}, "proof-malformed"),
        ({"size": 0}, "index-out-of-range"),
        ({"index": 1}, "index-out-of-range"),
        ({"proof": [ROOT]}, "proof-length"),
        ({"size": 2}, "proof-length"),
        ({"root": bytes(32)}, "root-mismatch"),
    ],
)
def test_inclusion_refusals(change: dict[str, object], code: str):
    with pytest.raises(EvidenceError) as refused:
        merkle.verify_inclusion(**(INCLUSION | change))  # type: ignore[arg-type]
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"root1": ROOT[:31]}, "hash-malformed"),
        ({"proof": [1]}, "hash-malformed"),
        ({"size1": -1}, "proof-malformed"),
        ({"size1": 2}, "tree-shrank"),
        ({"size1": 0}, "consistency-from-empty"),
        ({"size1": 0, "size2": 0}, "consistency-from-empty"),
        ({"size1": 0, "root1": merkle.EMPTY_ROOT, "proof": [ROOT]}, "proof-length"),
        ({"proof": [ROOT]}, "proof-length"),
        ({"root2": bytes(32)}, "root-mismatch"),
        ({"size2": 2}, "proof-length"),
    ],
)
def test_consistency_refusals(change: dict[str, object], code: str):
    with pytest.raises(EvidenceError) as refused:
        merkle.verify_consistency(**(CONSISTENCY | change))  # type: ignore[arg-type]
    assert refused.value.code == code


def test_from_the_empty_tree_only_the_empty_root_is_accepted():
    """It proves nothing, and claims nothing: design, "Consistency from size 0"."""
    merkle.verify_consistency(size1=0, size2=1, proof=[], root1=merkle.EMPTY_ROOT, root2=ROOT)


@pytest.mark.parametrize("position", [0, 1023, 1024, 2500])
@pytest.mark.parametrize("leaf", [b"data", "x" * 32, None])
def test_a_leaf_that_is_no_hash_is_refused(leaf: bytes, position: int):
    """Data passed where leaf hashes belong must not give some root."""
    leaves = [bytes(32)] * 3000
    leaves[position] = leaf
    with pytest.raises(EvidenceError) as refused:
        merkle.root_hash(leaves)
    assert (refused.value.code, refused.value.item) == ("hash-malformed", f"leaf {position}")
