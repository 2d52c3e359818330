"""The Merkle tree of RFC 6962: roots, inclusion proofs, consistency proofs, and a frontier that grows by one leaf.

Invariants: leaves and nodes are 32 bytes; a leaf hash begins from 0x00, a node hash from 0x01, so no leaf can pass for
a node.  Proofs are lists from the leaf upwards.  Source: RFC 6962 §2.1.
"""

import hashlib
from collections.abc import Iterable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash one entry's bytes: SHA-256(0x00 || data).  Source: RFC 6962 §2.1."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children of 32 bytes: SHA-256(0x01 || left || right).  Source: RFC 6962 §2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(size: int) -> int:
    """Give the largest power of two smaller than `size` (at least 2).  Source: RFC 6962 §2.1."""
    return 1 << (size - 1).bit_length() - 1


class Frontier:
    """The right edge of a tree: enough to append and to know the root, in 32 bytes times log2(size).

    Shape: one hash for each bit set in `size`, the largest perfect subtree first.
    """

    __slots__ = ("_edge", "size")

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        self._edge: list[bytes] = []
        self.size = 0
        for digest in leaf_hashes:
            self.append(digest)

    def append(self, digest: bytes) -> None:
        """Add one leaf hash of 32 bytes at the right.

        Raises:
            ValueError: the hash has another length.

        """
        if len(digest) != HASH_BYTES:
            raise ValueError(f"a leaf hash has {HASH_BYTES} bytes, not {len(digest)}")
        carry, size = digest, self.size
        while size & 1:
            carry = node_hash(self._edge.pop(), carry)
            size >>= 1
        self._edge.append(carry)
        self.size += 1

    def copy(self) -> "Frontier":
        """Give a frontier that grows on its own."""
        twin = Frontier()
        twin._edge, twin.size = self._edge.copy(), self.size
        return twin

    def root(self) -> bytes:
        """Give the root over all leaves so far, 32 bytes; of no leaves, SHA-256 of nothing."""
        if not self._edge:
            return EMPTY_ROOT
        root = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            root = node_hash(left, root)
        return root


class Tree:
    """All leaves with every perfect subtree kept, so that roots and proofs of any size cost O(log n) to O(log^2 n).

    Shape: level k holds the hashes of all complete, aligned subtrees of 2**k leaves.
    """

    __slots__ = ("_levels",)

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        self.extend(leaf_hashes)

    @property
    def size(self) -> int:
        """How many leaves the tree holds."""
        return len(self._levels[0])

    def extend(self, leaf_hashes: Iterable[bytes]) -> None:
        """Add leaf hashes of 32 bytes each at the right.

        Raises:
            ValueError: one of them has another length; those before it are added.

        """
        for digest in leaf_hashes:
            if len(digest) != HASH_BYTES:
                raise ValueError(f"a leaf hash has {HASH_BYTES} bytes, not {len(digest)}")
            self._levels[0].append(digest)
            level = 0
            while len(self._levels[level]) % 2 == 0:
                if level + 1 == len(self._levels):
                    self._levels.append([])
                self._levels[level + 1].append(node_hash(*self._levels[level][-2:]))
                level += 1

    def root(self, size: int | None = None) -> bytes:
        """Give the root over the first `size` leaves (all by default).

        Raises:
            ValueError: the tree has fewer leaves.

        """
        return self._range(0, self._within(self.size if size is None else size))

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Prove that leaf `index` is in the tree of the first `size` leaves.  Source: RFC 6962 §2.1.1.

        Raises:
            ValueError: no such leaf or no such size.

        """
        size = self._within(self.size if size is None else size)
        if not 0 <= index < size:
            raise ValueError(f"leaf {index} is not in a tree of {size}")
        proof: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + split(end - start)
            if index < middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(start, middle))
                start = middle
        return proof[::-1]

    def consistency(self, first: int, second: int | None = None) -> list[bytes]:
        """Prove that the tree of `first` leaves is a prefix of that of `second`.  Source: RFC 6962 §2.1.2.

        Raises:
            ValueError: sizes out of order, or `first` is 0, from which a proof would prove nothing.

        """
        second = self._within(self.size if second is None else second)
        if not 0 < first <= second:
            raise ValueError(f"no consistency proof from {first} to {second}: need 0 < from <= to")
        proof: list[bytes] = []
        start, end, whole = 0, second, True
        while first != end:
            middle = start + split(end - start)
            if first <= middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(start, middle))
                start, whole = middle, False
        if not whole:
            proof.append(self._range(start, end))
        return proof[::-1]

    def _within(self, size: int) -> int:
        if not 0 <= size <= self.size:
            raise ValueError(f"a tree of {self.size} leaves has no state of {size}")
        return size

    def _range(self, start: int, end: int) -> bytes:
        """Hash leaves start..end; `start` is aligned to the power of two that covers the range."""
        if start == end:
            return EMPTY_ROOT
        count = end - start
        if count & (count - 1) == 0:
            level = count.bit_length() - 1
            return self._levels[level][start >> level]
        middle = start + split(count)
        return node_hash(self._range(start, middle), self._range(middle, end))


def root_from_inclusion(digest: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Compute the root that `proof` leads to from a leaf hash.  Source: RFC 9162 §2.1.3.2.

    Raises:
        ValueError: the index is outside the tree, or the proof has the wrong length.

    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    node, last, root = index, size - 1, digest
    for sibling in proof:
        if last == 0:
            raise ValueError("the proof is too long")
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ValueError("the proof is too short")
    return root


def roots_from_consistency(  # noqa: C901 - the steps of the RFC, in its order
    first: int, second: int, old_root: bytes, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Compute the (old, new) roots that a consistency proof leads to.  Source: RFC 9162 §2.1.4.2.

    Raises:
        ValueError: sizes out of order, or the proof has the wrong length.

    """
    if not 0 < first <= second:
        raise ValueError(f"no consistency proof from {first} to {second}: need 0 < from <= to")
    if first == second:
        if proof:
            raise ValueError("the proof is too long")
        return old_root, old_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise ValueError("the proof is too short")
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ValueError("the proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ValueError("the proof is too short")
    return old, new
