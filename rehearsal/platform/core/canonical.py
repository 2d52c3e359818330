"""Canonical JSON: the one byte form in which anything here is hashed or signed.

Invariant: `encode(decode(encode(x))) == encode(x)`.  Source: RFC 8785 (JSON Canonicalization Scheme).
"""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

import rfc8785


def encode(value: Any) -> bytes:  # noqa: ANN401 - JSON has no narrower type
    """Give the RFC 8785 bytes of `value`.

    Raises:
        rfc8785.CanonicalizationError: `value` has no canonical form (a float that is not finite, a foreign type).

    """
    return rfc8785.dumps(value)


def decode(data: bytes | str) -> Mapping[str, Any]:
    """Read one JSON object.

    Raises:
        ValueError: `data` is no JSON, or JSON of another type than an object.

    """
    value = json.loads(data)
    if not isinstance(value, dict):
        message = f"expected a JSON object, got {type(value).__name__}"
        raise ValueError(message)  # noqa: TRY004 - the text is wrong, not the caller's type
    return value


def timestamp(moment: dt.datetime) -> str:
    """Write `moment` as RFC 3339 in UTC with microseconds and `Z`: the only form that enters a leaf or a statement.

    Raises:
        ValueError: `moment` is naive.

    """
    if moment.tzinfo is None:
        raise ValueError("a time without a zone cannot be written as UTC")
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
