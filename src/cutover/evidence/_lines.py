"""What the guarantees and the merge of two snapshots need of a line, read faster than the line as a whole.

Invariant: `facts` reads as `Line.decode` does or refuses; it refuses in addition what no line can hold, a value of
another type and text that has no UTF-8 form.
"""

from __future__ import annotations

from json import JSONDecoder
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple

from cutover.evidence.errors import EvidenceError
from cutover.evidence.snapshot import FIELDS, Line


class Facts(NamedTuple):
    """Some fields of a line, see `Line`. A tuple, because millions of them are made."""

    id: str
    kind: str
    declared_sha256: str
    declared_size_bytes: int
    leaf_index: int
    log_index: int
    created: str


_TYPES: Final = (str, str, str, int, int, int, str)
_decode = JSONDecoder().decode
_of_fields = itemgetter(*Facts._fields)
_of_line = attrgetter(*Facts._fields)


def facts(raw: bytes) -> Facts:
    """Read some fields of a line.

    Raises:
        EvidenceError: `snapshot-malformed`.

    """
    found = _usual(raw) or _any(raw)
    if tuple(map(type, found)) != _TYPES:
        raise EvidenceError("snapshot-malformed", "lines.jsonl", expected="a line", actual="a value of another type")
    return found


def _usual(raw: bytes) -> Facts | None:
    """Read a line as `Line.encode` writes it, without an escape; None for any other."""
    if b"\\" in raw:
        return None
    try:
        fields = _decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if type(fields) is not dict or tuple(fields) != FIELDS or type(fields["signer_key_ids"]) is not list:
        return None
    return Facts._make(_of_fields(fields))


def _any(raw: bytes) -> Facts:
    """Read any line."""
    found = Facts._make(_of_line(Line.decode(raw)))
    try:
        for value in found:
            str(value).encode("utf-8")
    except ValueError as error:
        raise EvidenceError("snapshot-malformed", "lines.jsonl", expected="text in UTF-8", actual=error) from error
    return found
