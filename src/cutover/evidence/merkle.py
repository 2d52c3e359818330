"""Merkle trees of RFC 6962 §2.1 and RFC 9162 §2.1: roots, inclusion and consistency.

Invariants: a hash is 32 `bytes` (SHA-256), a proof a sequence of them, a root is computed over *leaf hashes*, so the
bytes of an item pass through `leaf_hash` once and are not kept. Nothing is accepted on a shape that the standard
excludes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import islice
from typing import Final

from cutover.evidence.errors import EvidenceError

HASH_BYTES: Final = 32
MAX_SIZE: Final = 2**63 - 1
"""The largest tree size a proof may speak of. Source: RFC 9162 §4.10 has 64 bits; logs and PostgreSQL count in 63."""
_BLOCK_LEAVES: Final = 1 << 10
EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of a tree without leaves. Source: RFC 9162 §2.1.1, MTH({}) = HASH()."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of one leaf's data. Source: RFC 9162 §2.1.1, HASH(0x00 || d)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node. Source: RFC 9162 §2.1.1, HASH(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows at its right edge and keeps only the roots of its full subtrees: O(log n) memory.

    `size` is the number of leaves appended so far.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # roots of full subtrees, widest first: one a set bit of `size`

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash (32 bytes) at the right edge.

        Raises:
            EvidenceError: `hash-malformed`.

        """
        _demand_hash(leaf, f"leaf {self.size}")
        self._carry(leaf, self.size)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes in order; whole blocks of them at the speed of the hash. Raises as `append` does."""
        upcoming = iter(leaves)
        for leaf in islice(upcoming, -self.size % _BLOCK_LEAVES):
            self.append(leaf)
        while len(block := list(islice(upcoming, _BLOCK_LEAVES))) == _BLOCK_LEAVES and _are_hashes(block):
            self._carry(_full_root(block), self.size // _BLOCK_LEAVES)
            self.size += _BLOCK_LEAVES
        for leaf in block:
            self.append(leaf)

    def root(self) -> bytes:
        """Return the root over the leaves so far (32 bytes)."""
        if not self._peaks:
            return EMPTY_ROOT
        peaks = reversed(self._peaks)
        root = next(peaks)
        for peak in peaks:  # RFC 9162 §2.1.1: the left subtree is the largest power of two below n
            root = node_hash(peak, root)
        return root

    def _carry(self, node: bytes, position: int) -> None:
        """Add a full subtree that is the `position`-th of its width: join it with the left neighbours it completes."""
        peaks = self._peaks
        while position & 1:
            node = node_hash(peaks.pop(), node)
            position >>= 1
        peaks.append(node)


def root_hash(leaves: Iterable[bytes]) -> bytes:
    """Return the root over n leaf hashes of 32 bytes each (see `leaf_hash`), in order; one pass, O(log n) memory.

    Raises:
        EvidenceError: `hash-malformed`, when a leaf is not 32 bytes.

    Source: RFC 9162 §2.1.1.

    """
    tree = Tree()
    tree.extend(leaves)
    return tree.root()


def verify_inclusion(*, leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Verify that a leaf is at `index` in the tree of `size` leaves with this `root`.

    `proof` runs from the leaf's sibling to the root's child.

    Raises:
        EvidenceError: `hash-malformed`, `proof-malformed`, `index-out-of-range`, `proof-length` or `root-mismatch`.

    Source: RFC 9162 §2.1.3.2, steps numbered as there.

    """
    _demand_sizes("inclusion proof", index=index, size=size)
    item = f"leaf {index} of {size}"
    _demand_hash(leaf_hash, f"{item}, its hash")
    _demand_hash(root, f"{item}, the root")
    _demand_proof(proof, item)
    if index >= size:  # 1.
        raise EvidenceError("index-out-of-range", item, expected=f"an index below {size}", actual=index)
    fn, sn = index, size - 1  # 2.
    r = leaf_hash  # 3.
    for p in proof:  # 4.
        if sn == 0:  # 4.a
            raise EvidenceError("proof-length", item, expected="no hash beyond the root", actual=f"{len(proof)} hashes")
        if fn & 1 or fn == sn:  # 4.b
            r = node_hash(p, r)
            fn, sn = _climb(fn, sn)
        else:  # 4.c
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1  # 4.d
    if sn != 0:  # 5.
        raise EvidenceError("proof-length", item, expected="a path up to the root", actual=f"{len(proof)} hashes")
    if r != root:
        raise EvidenceError("root-mismatch", item, expected=root, actual=r)


def verify_consistency(*, size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """Verify that the tree of `size2` leaves continues the tree of `size1` leaves.

    From size 0 nothing is proven: accepted only for the empty root with an empty proof (and never a non-empty root).

    Raises:
        EvidenceError: `hash-malformed`, `proof-malformed`, `tree-shrank`, `consistency-from-empty`, `proof-length` or
            `root-mismatch`.

    Source: RFC 9162 §2.1.4.2, steps numbered as there.

    """
    _demand_sizes("consistency proof", size1=size1, size2=size2)
    item = f"tree of {size2} after {size1}"
    _demand_hash(root1, f"{item}, the first root")
    _demand_hash(root2, f"{item}, the second root")
    _demand_proof(proof, item)
    if _needs_no_path(item, size1=size1, size2=size2, proof=proof, root1=root1, root2=root2):
        return
    if not proof:  # 1.
        raise EvidenceError("proof-length", item, expected="at least one hash", actual="an empty proof")
    # 2. at an exact power of two the first root stands for itself
    path = [root1, *proof] if size1 & (size1 - 1) == 0 else list(proof)
    fn, sn = size1 - 1, size2 - 1  # 3.
    while fn & 1:  # 4.
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]  # 5.
    for c in path[1:]:  # 6.
        if sn == 0:  # 6.a
            raise EvidenceError("proof-length", item, expected="no hash beyond the root", actual=f"{len(proof)} hashes")
        if fn & 1 or fn == sn:  # 6.b
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            fn, sn = _climb(fn, sn)
        else:  # 6.c
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1  # 6.d
    if sn != 0:  # 7.
        raise EvidenceError("proof-length", item, expected="a path up to the root", actual=f"{len(proof)} hashes")
    for name, stated, computed in (("first", root1, fr), ("second", root2, sr)):
        if computed != stated:
            raise EvidenceError("root-mismatch", f"{item}, the {name} root", expected=stated, actual=computed)


def _full_root(level: list[bytes]) -> bytes:
    """Return the root over a power of two of hashes."""
    while len(level) > 1:
        nodes = iter(level)
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(nodes, nodes, strict=True)]
    return level[0]


def _are_hashes(values: Sequence[object]) -> bool:
    return set(map(type, values)) == {bytes} and set(map(len, values)) == {HASH_BYTES}  # type: ignore[arg-type]


def _needs_no_path(item: str, *, size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> bool:
    """Settle the sizes that a path says nothing about: shrunk, empty, equal. Source: RFC 9162 §2.1.4.2."""
    if size1 > size2:
        raise EvidenceError("tree-shrank", item, expected=f"at least {size1} leaves", actual=size2)
    for size, root in ((size1, root1), (size2, root2)):
        if size == 0 and root != EMPTY_ROOT:
            raise EvidenceError("consistency-from-empty", item, expected=EMPTY_ROOT, actual=root)
    if size1 in (0, size2) and proof:
        raise EvidenceError("proof-length", item, expected="an empty proof", actual=f"{len(proof)} hashes")
    if size1 == size2 and root1 != root2:
        raise EvidenceError("root-mismatch", item, expected=root1, actual=root2)
    return size1 in (0, size2)


def _climb(fn: int, sn: int) -> tuple[int, int]:
    """Leave the right edge: shift both until fn is odd or 0. Source: RFC 9162 §2.1.3.2, step 4.b."""
    while not fn & 1 and fn != 0:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _demand_hash(value: object, item: str) -> None:
    if not isinstance(value, bytes) or len(value) != HASH_BYTES:
        actual = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
        raise EvidenceError("hash-malformed", item, expected=f"{HASH_BYTES} bytes", actual=actual)


def _demand_sizes(item: str, **values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SIZE:
            raise EvidenceError("proof-malformed", item, expected=f"{name}: 0 to {MAX_SIZE}", actual=value)


def _demand_proof(proof: object, item: str) -> None:
    if not isinstance(proof, Sequence) or isinstance(proof, bytes | str):
        raise EvidenceError("proof-malformed", item, expected="a list of hashes", actual=type(proof).__name__)
    for position, value in enumerate(proof):
        _demand_hash(value, f"{item}, proof hash {position}")
