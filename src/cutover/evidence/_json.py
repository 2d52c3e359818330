"""Strict JSON and base64: what two readers could understand differently is refused.

Duplicate keys, NaN, text that is not UTF-8, nesting beyond the interpreter's depth, and base64 that does not encode
back to itself are refused with the caller's own code.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping

import rfc8785

from cutover.evidence.errors import EvidenceError


def parse(raw: bytes | str, *, code: str, item: str) -> object:
    """Read one JSON document.

    Raises:
        EvidenceError: `code`, when the text is not strict JSON (RFC 8259 §4: names within an object are unique here).

    """
    try:
        text = raw.decode("utf-8") if isinstance(raw, bytes) else raw
        text.encode("utf-8")
        return _decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(code, item, expected="one strict JSON document", actual=error) from error


def parse_object(raw: bytes | str | Mapping[str, object], *, code: str, item: str) -> Mapping[str, object]:
    """Read one JSON object, or take one that is already read."""
    value = raw if isinstance(raw, Mapping) else parse(raw, code=code, item=item)
    if not isinstance(value, Mapping):
        raise EvidenceError(code, item, expected="a JSON object", actual=type(value).__name__)
    return value


def canonical(value: object, *, code: str, item: str) -> bytes:
    """Return RFC 8785 bytes of a JSON value.

    Raises:
        EvidenceError: `code`, when the value has no canonical form (a number beyond 2**53, a lone surrogate).

    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # the parser above makes only JSON types
    except (ValueError, RecursionError) as error:
        raise EvidenceError(code, item, expected="a value with an RFC 8785 form", actual=error) from error


def from_base64(text: object, *, code: str, item: str) -> bytes:
    """Decode padded base64, either alphabet but not both, in its one canonical spelling (RFC 4648 §3.5, §4, §5)."""
    if not isinstance(text, str):
        raise EvidenceError(code, item, expected="base64 text", actual=type(text).__name__)
    url_safe = "-" in text or "_" in text
    if url_safe and ("+" in text or "/" in text):
        raise EvidenceError(code, item, expected="one base64 alphabet", actual="characters of both")
    try:
        raw = text.encode("ascii")
        return standard_base64(raw.translate(_STANDARD) if url_safe else raw)
    except ValueError as error:
        raise EvidenceError(code, item, expected="canonical base64", actual=error) from error


def standard_base64(raw: bytes) -> bytes:
    """Decode padded base64 of the standard alphabet in its one canonical spelling.

    Raises:
        ValueError: it is not.

    """
    decoded = binascii.a2b_base64(raw, strict_mode=True)
    # Four characters for three bytes: with the length right, only bits of the last group that no byte takes are open.
    groups = (len(decoded) - 1) // 3  # -1 of nothing, where both slices below are empty
    if raw[4 * groups :] != binascii.b2a_base64(decoded[3 * groups :], newline=False):
        raise ValueError("bits left over, or padding amiss")
    return decoded


_STANDARD = bytes.maketrans(b"-_", b"+/")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice in an object")
    return result


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
