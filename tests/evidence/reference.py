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
