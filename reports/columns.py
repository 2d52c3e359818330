"""Lines of evidence in columns: 100,000 of them in a few megabytes of text that a page carries and unpacks.

    file      4 bytes, little endian: the length of the head · head, JSON · the columns, one after the other
    columns   whole numbers as LEB128, differences to the row before as zigzag LEB128, texts and digests as they are

Invariants: nothing is rounded: a row that the columns cannot hold exactly (a content that differs from its row, a
number past 2**52, a time in another form) stands in the head as text, whole; the same rows give the same bytes. An id
is the length it shares with the id before and the rest, both counted in UTF-16 units, which is what a browser's strings
are made of.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cutover.evidence.snapshot import FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.evidence.snapshot import Line

STATES: Final = ("unchanged", "changed", "missing", "added")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_EXACT: Final = 1 << 52
"""The differences of such numbers, doubled, are still exact in a browser."""
_NUMBERS: Final = ("size_bytes", "leaf_index", "log_index")


class Items:
    """Items with their state and lines. Of an item in both snapshots the first line is the baseline's."""

    def __init__(self) -> None:
        self._states = bytearray()
        self._ids = _Ids()
        self._first = _Rows()
        self._second = _Rows()
        """The later lines of the changed items, in their order."""

    def __len__(self) -> int:
        return len(self._states)

    def add(self, state: str, line: Line, later: Line | None = None) -> int:
        """Add an item and return its number; `later` is its line in the second snapshot, where the two differ."""
        self._states.append(STATES.index(state))
        self._ids.add(legible(str(line.id)))
        self._first.add(line)
        if later is not None:
            self._second.add(later)
        return len(self._states) - 1

    def pack(self, head: Mapping[str, Any]) -> str:
        """Return everything, with more facts of the page in the head, compressed (zlib) and in base64."""
        columns = {
            "state": bytes(self._states),
            **self._ids.columns(),
            **{f"first.{name}": raw for name, raw in self._first.columns().items()},
            **{f"second.{name}": raw for name, raw in self._second.columns().items()},
        }
        facts = {
            **head,
            "items": len(self),
            "first": self._first.head(),
            "second": self._second.head(),
            "columns": [[name, len(raw)] for name, raw in columns.items()],
        }
        encoded = json.dumps(facts, ensure_ascii=True, separators=(",", ":")).encode("ascii")
        whole = b"".join((len(encoded).to_bytes(4, "little"), encoded, *columns.values()))
        return base64.b64encode(zlib.compress(whole, 6)).decode("ascii")


def legible(text: str) -> str:
    """Return a text that UTF-8 can hold; what it cannot is escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class _Ids:
    """Texts in ascending order, each as what it shares with the one before, and its rest."""

    def __init__(self) -> None:
        self._shared = bytearray()
        self._length = bytearray()
        self._rest: list[str] = []
        self._last = ""

    def add(self, text: str) -> None:
        shared, most = 0, min(len(text), len(self._last))
        while shared < most and text[shared] == self._last[shared]:
            shared += 1
        rest = text[shared:]
        _number(self._shared, shared if text.isascii() else _units(text[:shared]))
        _number(self._length, len(rest) if rest.isascii() else _units(rest))
        self._rest.append(rest)
        self._last = text

    def columns(self) -> dict[str, bytes]:
        return {
            "id.shared": bytes(self._shared),
            "id.length": bytes(self._length),
            "id.rest": "".join(self._rest).encode("utf-8"),
        }


class _Rows:
    """Lines without their ids: a digest, numbers, and the rest by profile, of which a site has a handful."""

    def __init__(self) -> None:
        self._count = 0
        self._digests = bytearray()
        self._profile_of = bytearray()
        self._numbers = {name: bytearray() for name in (*_NUMBERS, "created")}
        self._last = dict.fromkeys(self._numbers, 0)
        self._profiles: dict[tuple[Any, ...], int] = {}
        self._odd: dict[int, dict[str, Any]] = {}

    def add(self, line: Line) -> None:
        created = _microseconds(line)
        if created is None:
            self._odd[self._count] = {name: _shown(getattr(line, name)) for name in FIELDS if name != "id"}
            profile: tuple[Any, ...] = ()
            digest = bytes(32)
        else:
            profile = (line.kind, line.media_type, line.declared_signer_key_id, line.signer_key_ids)
            digest = bytes.fromhex(line.declared_sha256)
            last, numbers = self._last, self._numbers
            for name in _NUMBERS:
                value = getattr(line, name)
                _difference(numbers[name], value - last[name])
                last[name] = value
            _difference(numbers["created"], created - last["created"])
            last["created"] = created
        _number(self._profile_of, self._profiles.setdefault(profile, len(self._profiles)))
        self._digests += digest
        self._count += 1

    def head(self) -> dict[str, Any]:
        return {
            "rows": self._count,
            "profiles": [[_shown(value) for value in profile] for profile in self._profiles],
            "odd": {str(row): fields for row, fields in self._odd.items()},
        }

    def columns(self) -> dict[str, bytes]:
        return {
            "profile": bytes(self._profile_of),
            "sha256": bytes(self._digests),
            **{name: bytes(raw) for name, raw in self._numbers.items()},
        }


def _microseconds(line: Line) -> int | None:
    """Return when the item was made, in microseconds since 1970; None where the line does not fit the columns."""
    if line.sha256 != line.declared_sha256 or line.size_bytes != line.declared_size_bytes:
        return None
    if not isinstance(line.sha256, str) or _DIGEST.fullmatch(line.sha256) is None:
        return None
    for name in _NUMBERS:
        value = getattr(line, name)
        if type(value) is not int or not 0 <= value < _EXACT:
            return None
    if not isinstance(line.created, str) or _TIME.fullmatch(line.created) is None:
        return None
    try:
        since = (datetime.fromisoformat(line.created) - _EPOCH) // _MICROSECOND
    except ValueError:
        return None
    return since if 0 <= since < _EXACT else None


def _shown(value: object) -> Any:  # noqa: ANN401  # text, a list of texts, or None
    """Return a field as the page shows it."""
    if value is None:
        return None
    if isinstance(value, tuple | list):
        return [legible(str(one)) for one in value]
    return legible(str(value))


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _number(column: bytearray, value: int) -> None:
    while value > 0x7F:
        column.append(value & 0x7F | 0x80)
        value >>= 7
    column.append(value)


def _difference(column: bytearray, value: int) -> None:
    _number(column, value << 1 if value >= 0 else (-value << 1) - 1)
