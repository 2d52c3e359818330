"""JSON's values as a report needs them, whatever they are: a record that was damaged has a page too."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

from cutover.clock import parse_rfc3339


def text(value: object) -> str:
    """Return a text as it is, nothing as an empty one, and anything else as its JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def obj(value: object) -> dict[str, Any]:
    """Return an object as it is, and an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """Return an array as it is, and an empty one for anything else."""
    return value if isinstance(value, list) else []


def texts(value: object) -> dict[str, str]:
    """Return an object with every value as a text."""
    return {str(key): text(inner) for key, inner in obj(value).items()}


def numbers(value: object) -> dict[str, float]:
    """Return the members of an object that are numbers."""
    return {str(key): found for key, inner in obj(value).items() if (found := number(inner)) is not None}


def number(value: object) -> float | None:
    """Return a finite number; None for anything else, true and false too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def whole(value: object) -> int | None:
    """Return a number without its fraction; None for anything else."""
    found = number(value)
    return int(found) if found is not None else None


def time(value: object) -> datetime | None:
    """Return a time with its zone, as RFC 3339 or Python writes it; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        return parse_rfc3339(value)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
