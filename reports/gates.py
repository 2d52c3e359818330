"""Gates in words and rows: by gate, each with what was measured of it, and what they decided.

Invariants: a block's verdict is the worst that was measured; where a comparison with blue was not made the block says
so; a time that the record does not hold is left out of a sentence, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports import wording

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from reports.views import GateView, Line, Record

AGAINST_BLUE = "_vs_blue"
"""How the name of a gate ends that compares green with blue."""
ALL_GREEN = 100
_SOURCES: Mapping[str, str] = {
    "prometheus": "Prometheus",
    "load": "load generator and probe",
    "postgresql": "PostgreSQL",
    "kubernetes": "Kubernetes",
    "platform": "Kubernetes and the platform",
}
_SEVERITY = ("PASS", "INCONCLUSIVE", "NO_DATA", "ERROR", "FAIL")
_VERBS = {"FAIL": "did not hold", "INCONCLUSIVE": "could not be decided"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """One gate at one weight of one clause, by the measurement that decides."""

    gate: GateView
    measured: int
    """How often."""

    @property
    def weight(self) -> str:
        """The weight, or that it was a whole window."""
        return f"{self.gate.percent} %" if self.gate.percent is not None else "window"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateBlock:
    """One gate with everything that was measured of it."""

    name: str
    title: str
    source: str
    limit: str
    """As people read it; of several limits, each once."""
    worst: str
    rows: tuple[GateRow, ...]
    samples: tuple[GateView, ...]
    """Every measurement, in the journal's order."""
    query: str
    """Of the deciding measurement of the last row."""
    is_comparison: bool
    absent: str
    """Where it was not compared, and why; empty when it was everywhere."""


def blocks(record: Record) -> list[GateBlock]:
    """Return every gate of a record, a comparison with blue behind the gate that it compares."""
    groups: dict[str, dict[tuple[str, int | None], list[GateView]]] = {}
    for gate in record.gates:
        groups.setdefault(gate.name, {}).setdefault((gate.clause, gate.percent), []).append(gate)
    seen = list(groups)
    order = sorted(seen, key=lambda name: (_place(name, seen), name.endswith(AGAINST_BLUE)))
    weights = {gate.percent for gate in record.gates if gate.percent is not None}
    why = {line.data.get("percent"): str(line.data.get("why") or "") for line in _uncompared(record)}
    return [_block(name, groups[name], weights, why) for name in order]


def _uncompared(record: Record) -> Iterator[Line]:
    return (line for line in record.events("observation") if line.data.get("what") == "no comparison with blue")


def _place(name: str, order: Sequence[str]) -> int:
    base = name.removesuffix(AGAINST_BLUE)
    return order.index(base if base in order else name)


def _block(
    name: str,
    groups: Mapping[tuple[str, int | None], list[GateView]],
    weights: set[int],
    why: Mapping[object, str],
) -> GateBlock:
    rows = tuple(GateRow(gate=wording.deciding(found), measured=len(found)) for found in groups.values())
    every = [gate for found in groups.values() for gate in found]
    last = rows[-1].gate
    limits = dict.fromkeys(wording.measure(gate.limit, gate.unit) for gate in every if gate.limit is not None)
    is_comparison = name.endswith(AGAINST_BLUE)
    return GateBlock(
        name=name,
        title=last.title,
        source=_SOURCES.get(last.source, last.source),
        limit=", ".join(limits) or "none",
        worst=worst(every),
        rows=rows,
        samples=tuple(sorted(every, key=lambda gate: gate.time)),
        query=last.query,
        is_comparison=is_comparison,
        absent=_absent(weights - {gate.percent for gate in every}, why) if is_comparison else "",
    )


def _absent(weights: Collection[int], why: Mapping[object, str]) -> str:
    """Say at which weights blue and green were not compared, and why where the record does."""
    parts = []
    for weight in sorted(weights):
        because = why.get(weight) or ("blue has no traffic" if weight == ALL_GREEN else "")
        parts.append(f"Not compared at {weight} %{f': {because}' if because else ''}.")
    return " ".join([*parts, "The absolute limit stands alone there."]) if parts else ""


def worst(gates: Sequence[GateView]) -> str:
    """Return the worst result of one or more measurements; a word that is no result is the worst."""
    return max((gate.result for gate in gates), key=_severity)


def _severity(result: str) -> int:
    return _SEVERITY.index(result) if result in _SEVERITY else len(_SEVERITY)


# -- what they decided -------------------------------------------------------------------------------------------------


def decision(record: Record) -> str:
    """Say which gate sent the traffic back, on which number, and how long that took; empty when none did."""
    back = record.way_back
    if back is None:
        return ""
    view = _decisive(record, back.gate, back.percent)
    title = view.title if view is not None else back.gate or "a gate"
    verb = _VERBS.get(view.result if view is not None else "", "could not be measured")
    at = f"At {back.percent} % the" if back.percent is not None else "The"
    numbers = f": {_numbers(view)}" if view is not None else ""
    return f"{at} gate “{title}” {verb}{numbers}. {_times(record)}"


def _decisive(record: Record, name: str, percent: int | None) -> GateView | None:
    mine = [gate for gate in record.gates if gate.name == name and gate.percent == percent and gate.result != "PASS"]
    return max(mine, key=lambda gate: _severity(gate.result)) if mine else None


def _numbers(view: GateView) -> str:
    """Return what was measured beside its limit, or why nothing was."""
    if view.value is None:
        return view.reason or "no data"
    of_green = view.blue is not None or view.source in {"", "prometheus"}
    parts = [f"{'green' if of_green else 'measured'} {wording.measure(view.value, view.unit)}"]
    if view.blue is not None:
        parts.append(f"blue {wording.measure(view.blue, view.unit)}")
    if view.limit is not None:
        parts.append(f"limit {wording.measure(view.limit, view.unit)}")
    return ", ".join([*parts, f"over {wording.many(view.samples, 'sample')}"])


def _times(record: Record) -> str:
    back = record.way_back
    if back is None:
        return ""
    since = f" after the first bad sample at {_precise(back.first_bad)}" if back.first_bad else ""
    took = wording.duration(back.bad_to_decision_s) + since if back.bad_to_decision_s is not None else ""
    decided = f"The decision fell at {_precise(back.decided)}{f', {took}' if took else ''}"
    if back.decision_to_blue_s is None:
        return f"{decided}; {wording.serves(back.serves)}, and when it began to is not in the record."
    whole = f", {wording.duration(back.bad_to_blue_s)} in all" if back.bad_to_blue_s is not None else ""
    first = record.serving_first or "blue"
    served = f"{first} served every request" if back.serves == first else wording.serves(back.serves)
    return f"{decided}; {wording.duration(back.decision_to_blue_s)} later {served}{whole}."


def _precise(moment: datetime | None) -> str:
    return moment.strftime("%H:%M:%S.%f")[:-5] if moment is not None else "an unknown time"


def decisions(record: Record) -> list[tuple[str, str, str, str]]:
    """Return what was decided at the end of each bake: when, at which weight, what, and by which gate."""
    return [
        (
            wording.clock(one.time),
            f"{one.percent} %" if one.percent is not None else "",
            "go back to blue" if one.goes_back else "advance",
            f"{one.gate} {one.result}".strip() if one.goes_back else "every gate",
        )
        for one in record.decisions
    ]
