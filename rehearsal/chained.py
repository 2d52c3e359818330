"""A record's journal, read by its documented form alone and not by the code that wrote it.

One JSON object a line; `digest` is sha256 over the RFC 8785 form of the line without it, `previous` that of the line
before, of nothing for the first. Pure but for reading the file.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import rfc8785

if TYPE_CHECKING:
    from pathlib import Path

_NOTHING = f"sha256:{hashlib.sha256(b'').hexdigest()}"


def entries(path: Path) -> list[dict[str, Any]]:
    """Return every whole line."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def broken_line(path: Path) -> int:
    """Return the first line, from 1, that is not what was written after the one before; 0 when all are."""
    previous = _NOTHING
    content = path.read_bytes()
    lines = content.split(b"\n")
    for number, raw in enumerate(lines[:-1], 1):
        try:
            document = json.loads(raw)
            claimed = document.pop("digest")
            calculated = f"sha256:{hashlib.sha256(rfc8785.dumps(document)).hexdigest()}"
        except (ValueError, KeyError, AttributeError):
            return number
        if (claimed, document.get("previous"), document.get("seq")) != (calculated, previous, number - 1):
            return number
        previous = claimed
    return len(lines) if lines[-1] else 0
