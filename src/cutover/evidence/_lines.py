"""What the guarantees and the merge of two snapshots need of a line, read faster than the line as a whole.

Invariant: of a line that `Line.decode` reads, `facts` reads the same; a line that is not in its usual spelling it
leaves to that, and fields that it does not return it does not judge.
"""

from __future__ import annotations

from json import JSONDecoder
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple

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
    return _usual(raw) or Facts._make(_of_line(Line.decode(raw)))


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
    found = Facts._make(_of_fields(fields))
    return found if tuple(map(type, found)) == _TYPES else None
