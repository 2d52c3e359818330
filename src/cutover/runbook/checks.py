"""Comparisons that say what they expected, what they saw and what to do.

Invariant: a check acts on nothing; it returns, or raises ClauseFailed.
"""

from __future__ import annotations

from typing import Any

from cutover.errors import ClauseFailed


def expect(
    condition: bool,
    message: str,
    *,
    seen: object,
    expected: object = "",
    do: str = "",
    guide: str = "",
    code: str = "expectation",
    **facts: Any,  # noqa: ANN401  # whatever belongs to the failure
) -> None:
    """Pass when `condition` holds; otherwise raise ClauseFailed.

    message: one sentence that states what is wrong, as the operator would say it ("3 pods are not ready").
    """
    if condition:
        return
    text = str(seen) if expected == "" else f"{seen} (expected {expected})"
    raise ClauseFailed(message, code=code, seen=text, do=do, guide=guide, expected=str(expected), **facts)
