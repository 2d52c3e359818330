"""The platform's trees agree with RFC 6962, every proof leads to its root, and wrong shapes are refused."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.platform.core import merkle

# The reference entries of the Certificate Transparency project and the roots over the first n of them.
ENTRIES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
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
LEAVES = [merkle.leaf_hash(bytes.fromhex(entry)) for entry in ENTRIES]


@pytest.mark.parametrize(("size", "root"), list(enumerate(ROOTS)))
def test_roots_agree_with_the_reference(size: int, root: str) -> None:
    assert merkle.Tree(LEAVES).root(size).hex() == root
    assert merkle.Frontier(LEAVES[:size]).root().hex() == root


@given(st.integers(1, 200), st.data())
def test_every_proof_leads_to_its_root(size: int, data: st.DataObject) -> None:
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(size)]
    tree = merkle.Tree(leaves)
    within = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, within - 1))
    earlier = data.draw(st.integers(1, within))

    assert tree.root(within) == merkle.Frontier(leaves[:within]).root()
    proof = tree.inclusion(index, within)
    assert merkle.root_from_inclusion(leaves[index], index, within, proof) == tree.root(within)
    old_root, new_root = tree.root(earlier), tree.root(within)
    consistency = tree.consistency(earlier, within)
    assert merkle.roots_from_consistency(earlier, within, old_root, consistency) == (old_root, new_root)


@pytest.mark.parametrize("change", [lambda proof: proof[:-1], lambda proof: [*proof, proof[0]]], ids=["short", "long"])
def test_a_proof_of_another_length_is_refused(change: Callable[[list[bytes]], list[bytes]]) -> None:
    tree = merkle.Tree(LEAVES)
    with pytest.raises(ValueError, match=r"too (short|long)"):
        merkle.root_from_inclusion(LEAVES[3], 3, 7, change(tree.inclusion(3, 7)))
    with pytest.raises(ValueError, match=r"too (short|long)"):
        merkle.roots_from_consistency(3, 7, tree.root(3), change(tree.consistency(3, 7)))


def test_another_leaf_leads_to_another_root() -> None:
    tree = merkle.Tree(LEAVES)
    assert merkle.root_from_inclusion(LEAVES[4], 3, 7, tree.inclusion(3, 7)) != tree.root(7)


def test_nothing_is_proven_from_size_zero() -> None:
    with pytest.raises(ValueError, match="from 0 to 8"):
        merkle.Tree(LEAVES).consistency(0)


@pytest.mark.parametrize("digest", [b"", b"\0" * 31, b"\0" * 33])
def test_a_hash_of_another_length_is_refused(digest: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        merkle.Tree([digest])
    with pytest.raises(ValueError, match="32 bytes"):
        merkle.Frontier([digest])


def test_a_copied_frontier_grows_on_its_own() -> None:
    first = merkle.Frontier(LEAVES[:5])
    second = first.copy()
    second.append(LEAVES[5])
    assert (first.root().hex(), second.root().hex()) == (ROOTS[5], ROOTS[6])
