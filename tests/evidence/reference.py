"""Merkle trees as RFC 6962 §2.1 writes them down, recursive and slow: the oracle of the tests."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def _split(n: int) -> int:
    """Return k, the largest power of two smaller than n."""
    return 1 << (n - 1).bit_length() - 1


def root(leaves: Sequence[bytes]) -> bytes:
    """MTH(D[n]), over leaf hashes. Source: RFC 6962 §2.1."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = _split(len(leaves))
    return sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:])).digest()


def inclusion(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]). Source: RFC 6962 §2.1.1."""
    if len(leaves) == 1:
        return []
    k = _split(len(leaves))
    if m < k:
        return [*inclusion(m, leaves[:k]), root(leaves[k:])]
    return [*inclusion(m - k, leaves[k:]), root(leaves[:k])]


def consistency(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PROOF(m, D[n]). Source: RFC 6962 §2.1.2."""
    return _subproof(m, leaves, is_whole=True) if 0 < m < len(leaves) else []


def _subproof(m: int, leaves: Sequence[bytes], *, is_whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if is_whole else [root(leaves)]
    k = _split(len(leaves))
    if m <= k:
        return [*_subproof(m, leaves[:k], is_whole=is_whole), root(leaves[k:])]
    return [*_subproof(m - k, leaves[k:], is_whole=False), root(leaves[:k])]


# Proofs, read as they are written down: every function takes the hashes in the order in which PATH and PROOF list them.


def root_of_path(m: int, n: int, leaf: bytes, path: Sequence[bytes]) -> bytes | None:
    """Return the root to which PATH(m, D[n]) leads, None for a path of another length. Source: RFC 6962 §2.1.1."""
    if n <= 1:
        return leaf if not path else None
    if not path:
        return None
    k, (*below, beside) = _split(n), path
    within = root_of_path(m, k, leaf, below) if m < k else root_of_path(m - k, n - k, leaf, below)
    if within is None:
        return None
    return sha256(b"\x01" + (within + beside if m < k else beside + within)).digest()


def roots_of_proof(m: int, n: int, proof: Sequence[bytes], old: bytes) -> tuple[bytes, bytes] | None:
    """Return the roots of m and of n leaves to which PROOF(m, D[n]) leads; `old` is believed of m leaves.

    Source: RFC 6962 §2.1.2.
    """
    return _roots_of_subproof(m, n, list(proof), old, is_whole=True) if 0 < m < n else None


def _roots_of_subproof(m: int, n: int, proof: list[bytes], old: bytes, *, is_whole: bool) -> tuple[bytes, bytes] | None:
    if m == n:
        if is_whole:
            return (old, old) if not proof else None
        return (proof[0], proof[0]) if len(proof) == 1 else None
    if not proof:
        return None
    k, (*below, beside) = _split(n), proof
    if m <= k:
        found = _roots_of_subproof(m, k, below, old, is_whole=is_whole)
        return found and (found[0], sha256(b"\x01" + found[1] + beside).digest())
    found = _roots_of_subproof(m - k, n - k, below, old, is_whole=False)
    return found and (
        sha256(b"\x01" + beside + found[0]).digest(),
        sha256(b"\x01" + beside + found[1]).digest(),
    )
