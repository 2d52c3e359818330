"""A window that was watched: each gate at each interval of it, afterwards, by range queries (5.1, F.14).

Invariants: nothing but finite numbers that Prometheus had at the time count, so that a time without scrapes is a gap;
every step is in the sample of its gate, and in `gates/window.json` to be read, of a second window in
`gates/window-2.json`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cutover.files import write_whole
from cutover.runbook.gates import archive, judging, sampling
from cutover.runbook.gates.definitions import GATES, resolve
from cutover.runbook.gates.results import Asked, GateVerdict
from cutover.runbook.journal import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cutover.policy import Policy
    from cutover.runbook.gates.archive import Archive
    from cutover.runbook.gates.definitions import Gate
    from cutover.runbook.gates.results import GateResult
    from cutover.runbook.ports import SitePorts
    from cutover.runbook.upgrade import Upgrade

_MOST_STEPS = 5000
"""So many steps at most are asked for at once; Prometheus refuses more than 11,000."""
FILE = "gates/window.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What Prometheus knows of one gate at one moment of a window; None where it has no finite number."""

    time: datetime
    value: float | None
    count: float | None
    is_measured: bool
    """The value is a number and rests on enough samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One gate over a whole window: its verdict and every step that it rests on."""

    name: str
    title: str
    verdict: GateResult
    """Over the window's totals and over each step: the worse of them."""
    queries: Mapping[str, str]
    """The resolved range queries, by role."""
    range_s: float
    """What each step looks back on."""
    steps: tuple[Step, ...]
    longest_gap_s: float
    """The longest time between two measured steps; the whole window when there is none."""
    allowed_gap_s: float
    """For a fast gate one step: each must be measured. A slow one may miss a step that its range spans."""

    @property
    def is_whole(self) -> bool:
        """Whether the window has no gap for this gate."""
        return self.longest_gap_s <= self.allowed_gap_s


def over_window(upgrade: Upgrade, site: SitePorts, *, began: datetime, ended: datetime) -> tuple[Watched, ...]:
    """Judge green over a whole window, afterwards, by range queries: each gate at each interval of it (5.1, F.14).

    The queries, steps and gaps of each gate are written to `gates/window.json`.
    Raises: CouldNotMeasure when Prometheus does not answer.
    """
    step_s = upgrade.policy.observation.interval_s
    kept = archive.Archive(upgrade)
    watched = tuple(_watch(upgrade, site, gate, kept, began=began, ended=ended) for gate in GATES.values())
    document = {"began": began, "ended": ended, "step_s": step_s, "gates": watched}
    content = (json.dumps(plain(document), ensure_ascii=False, indent=1) + "\n").encode()
    file = _next_file(upgrade)
    write_whole(upgrade.path(*file.split("/")), content)
    upgrade.journal.write(
        "observation",
        what="window",
        file=file,
        sha256=archive.digest(content),
        steps={item.name: len(item.steps) for item in watched},
        measured={item.name: sum(step.is_measured for step in item.steps) for item in watched},
        longest_gap_s={item.name: item.longest_gap_s for item in watched},
    )
    return watched


def _next_file(upgrade: Upgrade) -> str:
    """Return where the next window is written: what the journal names is never written over."""
    before = sum(
        entry.event == "observation" and entry.data.get("what") == "window" for entry in upgrade.journal.entries()
    )
    return FILE if not before else FILE.replace(".json", f"-{before + 1}.json")


def so_far(upgrade: Upgrade, site: SitePorts, *, began: datetime, ended: datetime) -> tuple[Watched, ...]:
    """Look at a window that has not ended as `over_window` would, and keep nothing of it.

    Raises: CouldNotMeasure when Prometheus does not answer.
    """
    return tuple(_watch(upgrade, site, gate, None, began=began, ended=ended) for gate in GATES.values())


def whole_since(watched: Sequence[Watched], policy: Policy, *, began: datetime, ended: datetime) -> datetime:
    """Return from when on, up to its end, a window has no gap for any gate; its end when one reaches so far."""
    step_s = policy.observation.interval_s
    return max((_whole_since(item, began=began, ended=ended, step_s=step_s) for item in watched), default=ended)


def has_failed(watched: Watched, policy: Policy) -> bool:
    """Whether a gate has failed, and does not only look so because there is a gap in its window.

    A rate over a time in which nothing was recorded for a while is too low by as much, over the whole window and at the
    steps right behind the gap: there only a step counts that looks back on nothing but what was measured.
    """
    gate = GATES[watched.name]
    if watched.verdict.result is not GateVerdict.FAIL or watched.is_whole or not gate.is_rate:
        return watched.verdict.result is GateVerdict.FAIL
    begins: datetime | None = None
    before: datetime | None = None
    for step in watched.steps:
        if not step.is_measured or step.value is None:
            continue
        if begins is None or before is None or _between_s(before, step.time) > watched.allowed_gap_s:
            begins = step.time if before is not None else step.time - timedelta(seconds=watched.range_s)
        before = step.time
        if _between_s(begins, step.time) >= watched.range_s and not gate.within(step.value, gate.limit(policy)):
            return True
    return False


def _whole_since(watched: Watched, *, began: datetime, ended: datetime, step_s: float) -> datetime:
    moments = _measured(watched.steps, ended=ended, first_s=step_s)
    after = [later for earlier, later in pairwise(moments) if _between_s(earlier, later) > watched.allowed_gap_s]
    if not moments or (after and after[-1] == ended):
        return ended
    return after[-1] if after else began


def _watch(
    upgrade: Upgrade, site: SitePorts, gate: Gate, kept: Archive | None, *, began: datetime, ended: datetime
) -> Watched:
    step_s = upgrade.policy.observation.interval_s
    length_s = max(0.001, (ended - began).total_seconds())
    # A range shorter than a step would leave time between the steps that nothing looks at; a range longer than the
    # window would reach back before it.
    range_s = min(max(gate.window_s(upgrade.policy), step_s), length_s)
    queries = {
        role: resolve(query, namespace=upgrade.roles.green.namespace, window_s=range_s)
        for role, query in (("value", gate.value_query), ("count", gate.count_query))
    }
    moments = _moments(began + timedelta(seconds=range_s), ended, step_s)
    found = {role: _range(upgrade, site, query, moments, step_s) for role, query in queries.items()}
    rows = [
        [_milliseconds(moment), *(found[role].get(_milliseconds(moment)) for role in queries)] for moment in moments
    ]
    asked = Asked(role="steps", query=queries["value"], time=ended, raw=plain(rows))
    total = sampling.metric(upgrade, site, gate, percent=None, at=ended, window_s=length_s)
    taken = replace(total, asked=(*total.asked, asked))
    verdict = judging.judge(upgrade.policy, taken)
    if kept is not None:
        kept.keep(verdict, taken)
    return watched_of(
        gate, upgrade.policy, rows, verdict=verdict, queries=queries, range_s=range_s, began=began, ended=ended
    )


def watched_of(
    gate: Gate,
    policy: Policy,
    rows: Sequence[Sequence[Any]],
    *,
    verdict: GateResult,
    queries: Mapping[str, str],
    range_s: float,
    began: datetime,
    ended: datetime,
) -> Watched:
    """Return what the steps of a window come to; pure. rows: milliseconds, value and count of each step."""
    step_s = policy.observation.interval_s
    steps = tuple(_step(gate, policy, row) for row in rows)
    return Watched(
        name=gate.name,
        title=gate.title,
        verdict=verdict,
        queries=queries,
        range_s=range_s,
        steps=steps,
        longest_gap_s=_longest_gap_s(steps, began=began, ended=ended, first_s=step_s),
        allowed_gap_s=max(range_s, step_s) if gate.is_slow else step_s,
    )


def _longest_gap_s(steps: Sequence[Step], *, began: datetime, ended: datetime, first_s: float) -> float:
    """Return the longest time in seconds between measured steps.

    first_s: before the first step, which looks back to the window's beginning, so long a time counts as a gap.
    """
    moments = _measured(steps, ended=ended, first_s=first_s)
    if not moments:
        return _between_s(began, ended)
    return max(_between_s(earlier, later) for earlier, later in pairwise(moments))


def _measured(steps: Sequence[Step], *, ended: datetime, first_s: float) -> list[datetime]:
    """Return the moments between which nothing was measured: the beginning, each measured step, the end; or none."""
    measured = [step.time for step in steps if step.is_measured]
    return [steps[0].time - timedelta(seconds=first_s), *measured, ended] if measured else []


def _between_s(earlier: datetime, later: datetime) -> float:
    return round((later - earlier).total_seconds(), 3)


def _step(gate: Gate, policy: Policy, row: Sequence[Any]) -> Step:
    moment, *numbers = row
    value, count = (_finite(number) for number in numbers)
    measured = value is not None and count is not None and gate.decides(value, count, policy)
    time = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=moment)
    return Step(time=time, value=value, count=count, is_measured=measured)


def _finite(number: object) -> float | None:
    return float(number) if isinstance(number, int | float) and math.isfinite(number) else None


def _moments(first: datetime, ended: datetime, step_s: float) -> list[datetime]:
    """Return every step from the first on, and the end, where no step falls on it; whole milliseconds, as asked."""
    first, ended = _whole(first + timedelta(microseconds=999)), _whole(ended)
    steps = max(0, math.floor((ended - first).total_seconds() / step_s + 1e-6))
    found = [first + timedelta(seconds=step_s * number) for number in range(steps + 1)]
    return found if found[-1] >= ended else [*found, ended]


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _range(
    upgrade: Upgrade, site: SitePorts, query: str, moments: Sequence[datetime], step_s: float
) -> dict[int, float]:
    """Return a query's value at each step, by its time in milliseconds; a step without an answer is absent.

    Only a single series has one value at a step: of two, which would have to be chosen from, none is taken.
    Raises: CouldNotMeasure.
    """
    # The last moment need not lie on the grid of the others, so it is asked for by itself.
    grid = moments[:-1]
    parts = [grid[at : at + _MOST_STEPS] for at in range(0, len(grid), _MOST_STEPS)]
    found: dict[int, list[float]] = {}
    for part in (*parts, moments[-1:]):
        start, end = part[0], part[-1]
        series = sampling.ask(
            upgrade,
            lambda start=start, end=end: site.prometheus.query_range(query, start=start, end=end, step_s=step_s),  # type: ignore[misc]
        )
        for sample in (sample for entry in series for sample in entry.samples):
            found.setdefault(_milliseconds(sample.time), []).append(sample.value)
    return {moment: values[0] for moment, values in found.items() if len(values) == 1}


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
