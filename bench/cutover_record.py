"""What a record of a rehearsal says of speed: pure, from the files of its folder.

Invariants: times of one clock alone are subtracted from each other; what overlaps is counted once.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

BLUE: Final = "blue"
SLACK_S: Final = 3.0
"""Beside two gate intervals, what the way back may take."""
_WATCHED: Final = (" percent to bake", "enough data at ", "observation")
"""Words of waits in which the policy has green watched."""
_SPANS: Final = ("commands", "actions", "bakes", "waits")
"""What is no overhead, in the order in which a moment that belongs to several is counted."""

Span = tuple[float, float]


# -- from the first bad answer to blue ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """How long users had a bad green. Times in seconds since the epoch."""

    first_bad_s: float
    """When the first bad answer came, to the probe or to the load generator."""
    back_s: float
    """When the last answer came that was not a good one of blue: to the probe, or a bad one to the load generator."""
    probe_first_bad_s: float | None
    """When the first bad answer came to the probe; None when it had none."""
    bad: int
    """Bad answers that the probe had."""
    answers: int

    @property
    def took_s(self) -> float:
        """Seconds from the one to the other."""
        return self.back_s - self.first_bad_s


def breach(record: Path, *, blue: str = BLUE) -> Breach:
    """Return what the probe saw of a bad green, and the load generator where it saw it earlier or longer.

    The probe sends few requests, so that the first bad answers may all be the load generator's: it widens the breach
    and never narrows it. Raises ValueError when nobody had a bad answer: there is nothing to measure.
    """
    with (record / "load" / "probe.jsonl").open(encoding="utf-8") as lines:
        answers = list(_answers(lines, blue))
    summary = json.loads((record / "load" / "summary.json").read_text(encoding="utf-8"))
    failures_s = [_seconds(failure["time"]) for failure in summary["failures"]]
    bad = [came_s for came_s, is_bad, _ in answers if is_bad]
    if not bad and not failures_s:
        raise ValueError(f"the probe had {len(answers)} answers, and nobody had a bad one")
    first_bad_s = min([*bad, *failures_s])
    others = [came_s for came_s, is_bad, is_blue in answers if came_s >= first_bad_s and (is_bad or not is_blue)]
    return Breach(
        first_bad_s=first_bad_s,
        back_s=max([first_bad_s, *others, *failures_s]),
        probe_first_bad_s=min(bad, default=None),
        bad=len(bad),
        answers=len(answers),
    )


def _answers(lines: Iterable[str], blue: str) -> Iterator[tuple[float, bool, bool]]:
    """Yield of each answer to the probe when it came, whether it was bad, and whether it was blue's."""
    start_s = rate = 0.0
    for line in lines:
        facts = json.loads(line)
        if "start" in facts:
            start_s, rate = facts["start"], facts["requests_per_s"]
        elif "n" in facts:
            yield start_s + facts["n"] / rate + facts["ms"] / 1000, bool(facts["error"]), facts["colour"] == blue


def gate_interval_s(record: Path) -> float:
    """Return the interval of the record's own policy."""
    return float(tomllib.loads((record / "policy.toml").read_text(encoding="utf-8"))["traffic"]["interval_s"])


# -- overhead of the steps ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """Where the time of a run went, in seconds; every moment is counted once."""

    total_s: float
    commands_s: float
    """Of the operator's host."""
    actions_s: float
    """What the runbook has the harness do itself, outside of commands: snapshots, the archive, changes of the route."""
    bakes_s: float
    """Bakes and the observation window."""
    waits_s: float
    """For the site: pods, queues, a weight to take effect."""
    by_clause_s: Mapping[str, float]
    """What is left, the longest first."""

    @property
    def own_s(self) -> float:
        """What the steps themselves took: asking, comparing, writing down."""
        return self.total_s - self.commands_s - self.actions_s - self.bakes_s - self.waits_s

    @property
    def share(self) -> float:
        """That by the total."""
        return self.own_s / self.total_s

    @property
    def share_with_actions(self) -> float:
        """The same, were the harness's own actions overhead too."""
        return (self.own_s + self.actions_s) / self.total_s


def overhead(lines: Iterable[str]) -> Overhead:
    """Return where the time went between the journal's first line and the one that ends the run."""
    entries = [json.loads(line) for line in lines]
    began_s = _seconds(entries[0]["time"])
    ended_s = next(_seconds(entry["time"]) for entry in reversed(entries) if entry["event"] == "run_finished")
    spans: dict[str, list[Span]] = {name: [] for name in _SPANS}
    for entry in entries:
        data, end_s = entry["data"], _seconds(entry["time"])
        if entry["event"] == "command":
            spans["commands"].append((end_s - data["duration_s"], end_s))
        elif entry["event"] in {"done", "failed"}:
            spans["actions"].append((end_s - data["duration_s"], end_s))
        elif entry["event"] == "wait":
            kind = "bakes" if any(words in data["for_"] for words in _WATCHED) else "waits"
            spans[kind].append((end_s - data["waited_s"], end_s))
    counted: list[Span] = []
    took_s: dict[str, float] = {}
    for name in _SPANS:
        before_s = _length_s(counted)
        counted = _union([*counted, *((max(began_s, start), min(ended_s, end)) for start, end in spans[name])])
        took_s[name] = _length_s(counted) - before_s
    return Overhead(
        total_s=ended_s - began_s,
        commands_s=took_s["commands"],
        actions_s=took_s["actions"],
        bakes_s=took_s["bakes"],
        waits_s=took_s["waits"],
        by_clause_s=_by_clause_s(entries, counted),
    )


def _by_clause_s(entries: Sequence[Mapping[str, Any]], counted: Sequence[Span]) -> dict[str, float]:
    """Return for each clause how long it took outside of the counted spans."""
    started: dict[str, float] = {}
    found: dict[str, float] = {}
    for entry in entries:
        clause, moment_s = entry["clause"], _seconds(entry["time"])
        if entry["event"] == "clause_started":
            started.setdefault(clause, moment_s)
        elif entry["event"] == "clause_finished" and clause in started:
            mine = (started[clause], moment_s)
            inside = [(max(mine[0], start), min(mine[1], end)) for start, end in counted]
            found[clause] = mine[1] - mine[0] - _length_s([span for span in inside if span[1] > span[0]])
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _union(spans: Iterable[Span]) -> list[Span]:
    """Return the same moments as spans that do not touch, in order."""
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[1] > span[0]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _length_s(spans: Iterable[Span]) -> float:
    return sum(end - start for start, end in spans)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
