"""Numbers out of raw answers, one way for a run and for a record.

Invariants: an answer without exactly one finite number gives none, and says why; pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.runbook.gates.results import GateVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cutover.runbook.gates.results import Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one answer holds: a number, or the verdict and the reason of there being none."""

    number: float | None = None
    verdict: GateVerdict = GateVerdict.PASS
    reason: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there was an answer without any value; a value that is not a number is one."""
        return self.verdict is GateVerdict.NO_DATA and self.reason == _NO_DATA


_NO_DATA = "no data"


def no_answer(why: str) -> Reading:
    """Return the reading of a question that nobody answered."""
    return Reading(verdict=GateVerdict.ERROR, reason=why)


def number_of(value: object) -> Reading:
    """Return the reading of one value in JSON's types."""
    if value is None:
        return Reading(verdict=GateVerdict.NO_DATA, reason=_NO_DATA)
    try:
        number = float(str(value)) if not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        return Reading(verdict=GateVerdict.NO_DATA, reason=f"not a number: {str(value)[:40]}")
    return Reading(number=number)


def prometheus(asked: Asked | None) -> Reading:
    """Return the reading of an instant query: the document that Prometheus answered."""
    if asked is None:
        return no_answer("it was not asked")
    if asked.error:
        return no_answer(asked.error)
    try:
        data = asked.raw["data"]
        values = [data["result"]] if data["resultType"] == "scalar" else [entry["value"] for entry in data["result"]]
        found = [value[1] for value in values]
    except (KeyError, TypeError, IndexError):
        return no_answer("the answer is not Prometheus' own")
    if len(found) > 1:
        return no_answer("more than one series where one was expected")
    return number_of(found[0] if found else None)


def field(document: object, path: str) -> object:
    """Return what stands in JSON at a place: names and indices, with dots; None where there is nothing."""
    found: Any = document
    for part in path.split("."):
        if isinstance(found, dict):
            found = found.get(part)
        elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            return None
    return found


def whole(raw: Mapping[str, Any], key: str) -> int:
    """Return a count out of a raw answer. Raises KeyError, ValueError, TypeError for anything else."""
    value = raw[key]
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{key}: {value!r} is no count")
    return value


def as_ranges(numbers: Iterable[int]) -> str:
    """Return numbers, sorted and with repetitions, as text: `1-250,252,252`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def of_ranges(text: str) -> list[int]:
    """Return the numbers that `as_ranges` wrote. Raises ValueError."""
    found: list[int] = []
    for part in text.split(",") if text else []:
        low, _, high = part.partition("-")
        found.extend(range(int(low), int(high or low) + 1))
    return found
