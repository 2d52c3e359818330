"""A weight that is watched: every gate every interval, failed requests every second, and what that comes to.

Invariants: a verdict that was written is never made milder; a gate that could not decide by the end has not passed; a
bake ends at once when nothing that follows can make it good; the decision and its time are in the journal before
anything is done about it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cutover.errors import CutoverError, Timeout
from cutover.policy import GATE_NAMES
from cutover.runbook import attempts, rollback
from cutover.runbook.gates import archive, judging, reading, results, sampling
from cutover.runbook.gates.definitions import GATES, VS_BLUE
from cutover.runbook.gates.results import Asked, GateVerdict, Taken
from cutover.runbook.gates.share import Share, share_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from cutover.runbook.gates.comparing import Pair
    from cutover.runbook.gates.results import GateResult
    from cutover.runbook.ports import Load, SitePorts
    from cutover.runbook.upgrade import Upgrade

_LIVE_BOUND_S = 15.0
_LIVE_LOOK_S = 2.0
"""A weight counts as live when two whole seconds of load have its share."""
_BEHIND_S = (1.0, 3.0, 9.0)
"""How far the load's seconds may be behind the clock."""
_TICK_S = 1.0
"""How often failed requests are looked at, whatever the interval of the samples is."""
_MARKER_AGE_S = 2.0
"""A write that was acknowledged so long ago must be in the table."""
_ELSEWHERE = frozenset({"route_topology"})
"""Gates that are asked before a weight is set, and not while it is watched."""
_EXTENSION = 2
"""So many bake times more are waited for what could not be decided yet: a small weight brings little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bake:
    """A weight that was watched for the policy's time."""

    percent: int
    results: tuple[GateResult, ...]
    """What each gate came to."""
    share: Share
    effective: datetime
    """From when on the load showed the weight."""
    samples: int


def bake(upgrade: Upgrade, site: SitePorts, load: Load, *, percent: int) -> Bake:
    """Watch a weight that was just set for the policy's bake time, and return what was seen.

    Starts when the load shows the weight, so that no window holds data of the weight before. What cannot be decided
    at the end of the bake is waited for, at most twice its time more. Ends with the decision, in the journal; of
    anything but PASS the traffic is back on blue before it is raised. Raises: as `require_passed`.
    """
    watch = _Watch(upgrade, site, load, percent)
    watch.wait_until_live()
    watch.run()
    return watch.decide()


class _Watch:
    """One bake while it runs."""

    def __init__(self, upgrade: Upgrade, site: SitePorts, load: Load, percent: int) -> None:
        self._upgrade, self._site, self._load, self._percent = upgrade, site, load, percent
        self._archive = archive.Archive(upgrade)
        self._set = upgrade.clock.now()
        self._effective = self._set
        self._unwatched = _kept_since(upgrade) or self._set
        """From when on nobody has watched the load: users have been there since the weight before was decided."""
        self._seen: list[GateResult] = []
        self._pairs: dict[str, list[Pair]] = {gate.name: [] for gate in _PAIRED}
        self._acknowledged: list[tuple[datetime, int]] = []
        self._sampled_s = float("-inf")
        self._is_over = False
        self._restarts = self._restarts_before()
        self._failed_before = load.probe(_began(upgrade), self._set).failed
        """Of the probe; every look counts the rest, every sample all of them."""

    # -- before --------------------------------------------------------------------------------------------------------

    def _restarts_before(self) -> dict[str, int]:
        try:
            pods = sampling.ask(self._upgrade, lambda: sampling.green_pods(self._site, self._upgrade))
        except CutoverError:
            return {}
        return {pod.name: pod.restarts for pod in pods}

    def wait_until_live(self) -> None:
        """Wait until the load shows the weight, or a failed request, or long enough.

        A controller needs a moment to follow. When the share does not come in time the bake starts all the same: it is
        then judged over the whole window, and fails by that.
        """
        upgrade, load, percent = self._upgrade, self._load, self._percent

        def recent() -> Share:
            # On a busy machine the newest seconds may not be written yet; what is older than the weight is none of it.
            for behind_s in _BEHIND_S:
                since = max(self._set, upgrade.clock.now() - timedelta(seconds=_LIVE_LOOK_S + behind_s))
                share = self._share(since)
                if share.total:
                    break
            return share

        def is_live(share: Share) -> bool:
            return share.is_inside and load.window(self._set).seconds >= _LIVE_LOOK_S

        try:
            upgrade.wait_for(
                f"{percent} percent to take effect",
                recent,
                until=lambda share: self._has_failed() or is_live(share),
                bound_s=_LIVE_BOUND_S,
                interval_s=0.25,
                describe=lambda share: f"{share.green} of {share.total} requests",
                code="weight-not-live",
            )
        except Timeout as error:
            upgrade.journal.write("observation", what="weight not live", percent=percent, seen=error.seen)
        self._delay()
        self._effective = upgrade.clock.now()
        if not self._compares:
            why = "blue has no traffic" if percent == 100 else "the policy does not ask for it"
            upgrade.journal.write("observation", what="no comparison with blue", percent=percent, why=why)

    def _delay(self) -> None:
        """Let the policy's delay pass, with an eye on failed requests alone."""
        delay_s = self._upgrade.policy.gates.initial_delay_s
        if delay_s:
            self._upgrade.hold(
                f"{self._percent} percent to settle",
                self._has_failed,
                duration_s=delay_s,
                interval_s=_TICK_S,
                describe=lambda failed: "requests failed" if failed else "no request failed",
                stop=bool,
            )

    def _share(self, since: datetime) -> Share:
        """Return what green served of the requests since a time, with the interval of the weight."""
        upgrade = self._upgrade
        green, confidence = upgrade.roles.green.name, upgrade.policy.traffic.confidence
        return share_of(self._load.window(since), green, self._percent, confidence)

    @property
    def _compares(self) -> bool:
        return self._upgrade.policy.gates.compare.enabled and self._percent < 100

    # -- while it runs -------------------------------------------------------------------------------------------------

    @property
    def _elapsed_s(self) -> float:
        return (self._upgrade.clock.now() - self._effective).total_seconds()

    @property
    def _duration_s(self) -> float:
        policy = self._upgrade.policy
        return max(policy.traffic.bake_s, policy.gates.range_s)

    def run(self) -> None:
        """Look for the policy's time, and longer for what could not be decided."""
        policy = self._upgrade.policy
        tick_s = min(_TICK_S, policy.traffic.interval_s)
        for what, duration_s in (
            (f"{self._percent} percent to bake", self._duration_s),
            (f"enough data at {self._percent} percent", _EXTENSION * policy.traffic.bake_s),
        ):
            if not self._is_over:
                self._upgrade.hold(
                    what,
                    self._look,
                    duration_s=duration_s,
                    interval_s=tick_s,
                    describe=results.describe,
                    stop=lambda _: self._is_over,
                )
        if not self._is_over:
            self._sample(is_last=True)

    def _look(self) -> tuple[GateResult, ...]:
        """Look at the failed requests, and sample every gate when it is time; return what was seen."""
        policy, elapsed_s = self._upgrade.policy, self._elapsed_s
        self._upgrade.journal.announce("share", **_share_facts(self._share(self._effective)))
        if self._has_failed():
            failed = self._failed_requests()
            self._write(self._judge(failed), failed)
            self._is_over = True
            return tuple(self._seen[-1:])
        is_due = elapsed_s - self._sampled_s >= policy.traffic.interval_s - _TICK_S / 4
        if not (is_due or elapsed_s >= self._duration_s):
            return ()
        return self._sample(is_last=False)

    def _has_failed(self) -> bool:
        """Whether more requests have failed than the run bears, by the load generator and the probe together."""
        failed = self._load.totals().failed + self._failed_before + self._load.probe(self._set).failed
        return failed > self._upgrade.policy.load.max_failed

    def _sample(self, *, is_last: bool) -> tuple[GateResult, ...]:
        """Sample every gate that has data by now, and write what is decided. The last sample decides everything."""
        elapsed_s = self._elapsed_s
        self._sampled_s = elapsed_s
        taken = list(self._samples(elapsed_s))
        judged = [(self._judge(one), one) for one in taken]
        waits = any(self._is_held(result) for result, _ in judged) or self._lacks_pairs(taken) or self._lacks(taken)
        is_last = is_last or (elapsed_s >= self._duration_s and not waits)
        if is_last:
            judged = [(self._judge(again), again) for again in (replace(one, is_last=True) for one in taken)]
        for result, one in judged:
            if is_last or not self._is_held(result):
                self._write(result, one)
        for one in self._comparisons(is_last=is_last):
            result = self._judge(one)
            judged.append((result, one))
            self._write(result, one)
        for one in self._never_sampled() if is_last else ():
            self._write(self._judge(one), one)
        self._is_over = is_last or results.is_decided(results.assess(self._seen, self._upgrade.policy.gates))
        return tuple(result for result, _ in judged)

    def _is_held(self, result: GateResult) -> bool:
        """Whether more data alone could turn a verdict into a pass: it is not written before the last sample."""
        return result.result in judging.words_of(self._upgrade.policy, result.name).held

    def _lacks_pairs(self, taken: Sequence[Taken]) -> bool:
        """Whether a comparison will still have too few pairs after these samples."""
        policy = self._upgrade.policy
        more = {one.name for one in taken if judging.pair_of(policy, one, 0) is not None}
        return self._compares and any(
            len(self._pairs[gate.name]) + (gate.name in more) < policy.gates.compare.min_samples for gate in _PAIRED
        )

    def _lacks(self, taken: Sequence[Taken]) -> bool:
        """Whether a gate that needs no comparison has neither a verdict nor a sample among these."""
        seen = {result.name for result in self._seen} | {one.name for one in taken}
        return any(name not in seen for name in self._expected if not name.endswith(VS_BLUE))

    @property
    def _expected(self) -> tuple[str, ...]:
        """Every gate that a bake at this weight must have a verdict of."""
        policy = self._upgrade.policy
        names = (name for name in GATE_NAMES if name not in _ELSEWHERE)
        own = tuple(gate.name for gate in policy.gates.custom)
        return *own, *(
            name
            for name in names
            if (self._compares or not name.endswith(VS_BLUE)) and (policy.load.write_share or name != "write_markers")
        )

    def _never_sampled(self) -> Iterator[Taken]:
        """Yield, of each gate without a verdict at the end, that it has none: what was not sampled has not passed."""
        seen, at = {result.name for result in self._seen}, self._upgrade.clock.now()
        for name in self._expected:
            if name not in seen:
                asked = Asked(role="none", query="", time=at, raw=None, error="it was never sampled at this weight")
                yield Taken(name=name, percent=self._percent, time=at, asked=(asked,))

    def _comparisons(self, *, is_last: bool) -> Iterator[Taken]:
        """Yield the comparisons that have enough pairs; of the last sample all, for too few is no pass."""
        at, least = self._upgrade.clock.now(), self._upgrade.policy.gates.compare.min_samples
        for gate in _PAIRED if self._compares else ():
            pairs = [(pair.line, pair.green, pair.blue) for pair in self._pairs[gate.name]]
            if is_last or len(pairs) >= least:
                yield sampling.pairs(gate, pairs, percent=self._percent, at=at, is_last=is_last)

    def _judge(self, taken: Taken) -> GateResult:
        pairs = next((self._pairs[gate.name] for gate in _PAIRED if gate.against_blue == taken.name), ())
        return judging.judge(self._upgrade.policy, taken, pairs)

    def _write(self, result: GateResult, taken: Taken) -> None:
        self._seen.append(result)
        line = self._archive.keep(result, taken)
        pair = judging.pair_of(self._upgrade.policy, taken, line)
        if pair is not None:
            self._pairs[taken.name].append(pair)

    # -- what is asked -------------------------------------------------------------------------------------------------

    def _samples(self, elapsed_s: float) -> Iterator[Taken]:
        """Yield one sample of each gate whose window holds nothing but data at this weight."""
        upgrade, at = self._upgrade, self._upgrade.clock.now()
        yield self._failed_requests()
        yield self._routes(at)
        yield self._pods(at)
        yield from self._markers(at)
        # A window that is not full yet says little; that nobody sends any more is known without one.
        if elapsed_s >= upgrade.policy.gates.range_s or not self._load.running():
            yield from self._of_load(at)
        if elapsed_s < upgrade.policy.gates.range_s:
            return
        yield from self._metrics(at, elapsed_s)
        for gate in upgrade.policy.gates.custom:
            yield sampling.custom(
                upgrade, self._site, self._load, gate, percent=self._percent, at=at, since=self._effective
            )

    def _failed_requests(self) -> Taken:
        upgrade, at = self._upgrade, self._upgrade.clock.now()
        asked = (
            sampling.of_load(upgrade, self._load, None, at=at),
            sampling.of_probe(upgrade, self._load, _began(upgrade), at=at),
        )
        return Taken(name="failed_requests", percent=self._percent, time=at, asked=asked, is_last=False)

    def _of_load(self, at: datetime) -> Iterator[Taken]:
        sent = sampling.of_load(self._upgrade, self._load, self._unwatched, at=at)
        probed = sampling.of_probe(self._upgrade, self._load, self._unwatched, at=at)
        served = sampling.of_load(self._upgrade, self._load, self._effective, at=at)
        for name, asked in (("load_attempted", sent), ("probe_latency", probed), ("served_by", served)):
            yield Taken(name=name, percent=self._percent, time=at, asked=(asked,), is_last=False)

    def _routes(self, at: datetime) -> Taken:
        words = "in what the routes differ from what this run set last"
        asked = sampling.routes(self._upgrade, words, self._site.routing.drift, at=at)
        return Taken(name="route_unchanged", percent=self._percent, time=at, asked=(asked,), is_last=False)

    def _pods(self, at: datetime) -> Taken:
        asked = sampling.readiness(self._upgrade, self._site, self._restarts, at=at)
        return Taken(name="green_ready", percent=self._percent, time=at, asked=(asked,), is_last=False)

    def _markers(self, at: datetime) -> Iterator[Taken]:
        """Yield the comparison of the writes that were acknowledged long enough ago, in their order, with the table."""
        if not self._upgrade.policy.load.write_share:
            return
        run, numbers = self._load.markers()
        self._acknowledged.append((at, len(numbers)))
        old = [count for time, count in self._acknowledged if (at - time).total_seconds() >= _MARKER_AGE_S]
        if not old:
            return
        asked = sampling.markers(self._upgrade, self._site, run, numbers[: old[-1]], at=at)
        taken = Taken(name="write_markers", percent=self._percent, time=at, asked=tuple(asked), is_last=False)
        write_markers(self._upgrade, taken)
        yield taken

    def _metrics(self, at: datetime, elapsed_s: float) -> Iterator[Taken]:
        for gate in GATES.values():
            window_s = elapsed_s if gate.is_slow else gate.window_s(self._upgrade.policy)
            taken = sampling.metric(
                self._upgrade,
                self._site,
                gate,
                percent=self._percent,
                at=at,
                window_s=window_s,
                with_blue=self._compares,
            )
            taken = replace(taken, is_last=False)
            yield taken
            if self._compares and gate.is_slow:
                yield sampling.against_blue(self._upgrade, self._site, gate, taken, window_s=window_s, is_last=False)

    # -- the end -------------------------------------------------------------------------------------------------------

    def decide(self) -> Bake:
        """Write what green's share was and what the gates decided. Raises: as `require_passed`."""
        upgrade, percent = self._upgrade, self._percent
        share = self._share(self._effective)
        upgrade.journal.write("share", **_share_facts(share))
        found = results.assess(self._seen, upgrade.policy.gates)
        decided_after_s = round((upgrade.clock.now() - self._set).total_seconds(), 3)
        upgrade.journal.write("gate_decision", **decision(percent, self._seen, found), decided_after_s=decided_after_s)
        try:
            results.require_passed(found)
        except CutoverError as error:
            self._send_back(error)
            raise
        return Bake(percent=percent, results=found, share=share, effective=self._effective, samples=len(self._seen))

    def _send_back(self, error: CutoverError) -> None:
        """Give the traffic back to blue before anything else is done about a decision; R.1 proves it."""
        with contextlib.suppress(CutoverError):
            self._load.enter("rollback")
        rollback.send_back(self._upgrade, self._site, f"{self._upgrade.clause}: {error}")


def _began(upgrade: Upgrade) -> datetime:
    """Return when the upgrade began, in whichever attempt that was."""
    entry = upgrade.journal.last(attempts.STARTED)
    return upgrade.started if entry is None else min(entry.time, upgrade.started)


def _kept_since(upgrade: Upgrade) -> datetime | None:
    """Return when this attempt decided to keep the weight before; None when it has not: there was no load before it."""
    for entry in reversed(upgrade.journal.entries()):
        if entry.event == attempts.RESUMED:
            return None
        if entry.event == "gate_decision" and entry.data.get("decision") == "advance":
            return entry.time
    return None


_PAIRED = tuple(gate for gate in GATES.values() if not gate.is_slow)
"""What is compared with blue by pairs of samples."""


def decision(percent: int, seen: Sequence[GateResult], found: Sequence[GateResult]) -> dict[str, Any]:
    """Return what the gates of a bake decided, and by which of them; pure.

    seen: every sample. found: what each gate came to. The deciding gate is the worst; of equally bad ones the first to
    have been bad.
    """
    verdict = results.worst(result.result for result in found)
    if verdict is GateVerdict.PASS:
        return {"percent": percent, "decision": "advance", "gate": "", "result": verdict, "first_bad": None}
    worst = {result.name for result in found if result.result is verdict}
    decisive = next((sample for sample in seen if sample.name in worst and sample.result is verdict), None)
    first_bad = next((sample.time for sample in seen if sample.result is not GateVerdict.PASS), None)
    name = decisive.name if decisive is not None else ""
    return {"percent": percent, "decision": "rollback", "gate": name, "result": verdict, "first_bad": first_bad}


def write_markers(upgrade: Upgrade, taken: Taken) -> None:
    """Write what a comparison of the write markers with the table found; nothing when there was no answer."""
    said, there = taken.of("load"), taken.of("database")
    if said is None or there is None or there.raw is None:
        return
    acknowledged = reading.of_ranges(said.raw["acknowledged"])
    missing, repeated = judging.lost_or_doubled(acknowledged, reading.of_ranges(there.raw["present"]))
    upgrade.journal.write(
        "markers", run=said.raw["run"], acknowledged=len(acknowledged), missing=missing, repeated=repeated
    )


def _share_facts(share: Share) -> dict[str, Any]:
    total = share.total or 1
    return {
        "percent": share.percent,
        "green": share.green,
        "total": share.total,
        "low": round(share.low / total, 6),
        "high": round(share.high / total, 6),
    }
