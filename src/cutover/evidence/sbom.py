"""SBOMs, compared by their raw bytes (clause E.2).

Invariant: bytes alone decide. The canonical form (RFC 8785) only explains a difference: same content in other bytes, or
which parts differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING

from cutover.evidence._json import canonical, parse
from cutover.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DIFFERENCES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The verdict on two SBOMs: `same` by bytes, both digests as hex, and in words why not.

    `differences` are JSON Pointers (RFC 6901) of the first parts that differ, at most `MAX_DIFFERENCES`.
    """

    same: bool
    before_sha256: str
    after_sha256: str
    explanation: str
    differences: tuple[str, ...]


def compare(before: bytes, after: bytes) -> Comparison:
    """Compare two SBOMs. Bytes decide; whatever the bytes are, there is an answer. Source: clause E.2."""
    same = before == after
    explanation, differences = ("identical", ()) if same else _explain(before, after)
    return Comparison(
        same=same,
        before_sha256=sha256(before).hexdigest(),
        after_sha256=sha256(after).hexdigest(),
        explanation=explanation,
        differences=differences,
    )


def verify(before: bytes, after: bytes, *, item: str = "SBOM") -> None:
    """Demand the same bytes.

    Raises:
        EvidenceError: `content-changed`, with the explanation.

    """
    result = compare(before, after)
    if not result.same:
        actual = f"{result.after_sha256} ({result.explanation})"
        raise EvidenceError("content-changed", item, expected=result.before_sha256, actual=actual)


def _explain(before: bytes, after: bytes) -> tuple[str, tuple[str, ...]]:
    try:
        old, new = (parse(raw, code="report-malformed", item="SBOM") for raw in (before, after))
        if canonical(old, code="report-malformed", item="SBOM") == canonical(new, code="report-malformed", item="SBOM"):
            return "same content, other bytes", ()
        found = tuple(islice(_differences(old, new, ""), MAX_DIFFERENCES))
    except (EvidenceError, RecursionError):
        return "other bytes; not both are JSON with a canonical form", ()
    return f"other content at {', '.join(found[:3])}{' and elsewhere' if len(found) > 3 else ''}", found


def _differences(old: object, new: object, pointer: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            escaped = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            if name in old and name in new:
                yield from _differences(old[name], new[name], escaped)
            else:
                yield escaped
    elif isinstance(old, list) and isinstance(new, list):
        for position, (left, right) in enumerate(zip(old, new, strict=False)):
            yield from _differences(left, right, f"{pointer}/{position}")
        if len(old) != len(new):
            yield f"{pointer}/{min(len(old), len(new))}"
    elif type(old) is not type(new) or old != new:
        yield pointer or "/"
