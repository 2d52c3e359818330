"""The gates of a policy tried on a site before the window: whether every question has an answer, for both colours.

Invariants: nothing is changed, written or sent but questions; a colour without traffic, or not installed, is said to be
so and is no error; a verdict that would be now decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from cutover import waiting
from cutover.clock import SYSTEM_CLOCK, rfc3339
from cutover.policy import Source
from cutover.procedures.routes import roles_by_route
from cutover.runbook.gates import GATES, Asked, GateVerdict, Taken, judge, judging, sampling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from cutover.errors import CutoverError
    from cutover.model import Environment, Roles
    from cutover.policy import CustomGate, Policy
    from cutover.runbook.gates import Gate
    from cutover.site import Site

T = TypeVar("T")

SCHEMA = "cutover/gates-check/v1"
_NO_RUN = "cutover-gates-check"
"""A series of write markers that nobody writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One question of one gate, asked of one colour now."""

    gate: str
    source: str
    colour: str
    """The colour's name, or empty where the question is of the whole site."""
    query: str
    answers: bool
    """There was an answer, be it an empty one."""
    value: float | None
    samples: int
    verdict: GateVerdict | None
    """What it would be now; None for blue, and for what only a run can tell."""
    said: str
    """What is missing, or what it means."""
    do: str
    """The remedy, where one is needed."""

    def as_json(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {
            "gate": self.gate,
            "source": self.source,
            "colour": self.colour,
            "query": self.query,
            "answers": self.answers,
            "value": self.value,
            "samples": self.samples,
            "verdict_if_now": self.verdict.value if self.verdict else None,
            "said": self.said,
            "do": self.do,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """Every gate, tried once."""

    site: str
    time: datetime
    roles: Roles
    trials: tuple[Trial, ...]
    warnings: tuple[str, ...]
    """What in the policy could keep a run from passing."""

    @property
    def unanswered(self) -> tuple[Trial, ...]:
        """Questions that nobody answered."""
        return tuple(trial for trial in self.trials if not trial.answers)

    def as_json(self) -> dict[str, Any]:
        """Return it as one JSON document."""
        return {
            "schema": SCHEMA,
            "site": self.site,
            "time": rfc3339(self.time),
            "blue": self.roles.blue.name,
            "green": self.roles.green.name,
            "answered": not self.unanswered,
            "gates": [trial.as_json() for trial in self.trials],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asker:
    """Asks once: a trial is repeated by the one who reads it."""

    policy: Policy
    roles: Roles

    def wait_for(  # the signature is the asker's
        self,
        what: str,
        observe: Callable[[], T],
        *,
        until: Callable[[T], bool],
        bound_s: float,
        interval_s: float = 0.5,
        tolerate: tuple[type[CutoverError], ...] = (),
        describe: Callable[[T], str] = str,
    ) -> T:
        """Observe once."""
        del bound_s
        return waiting.wait_for(
            what, observe, until=until, bound_s=0, interval_s=interval_s, tolerate=tolerate, describe=describe
        )


def try_gates(site: Site, policy: Policy) -> TrialReport:
    """Ask every question of every gate once. Green is the colour that the public route does not name.

    Raises: CouldNotMeasure when not even the cluster answers.
    """
    roles = roles_by_route(site)
    site.assign_roles(roles)
    trial = _Trials(site=site, asker=_Asker(policy=policy, roles=roles), at=SYSTEM_CLOCK.now())
    return TrialReport(
        site=site.target.name,
        time=trial.at,
        roles=roles,
        trials=tuple(trial.run()),
        warnings=tuple(_warnings(policy)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trials:
    """One trial of all gates."""

    site: Site
    asker: _Asker
    at: datetime

    def run(self) -> Iterator[Trial]:
        """Yield what each question came to."""
        policy = self.asker.policy
        for gate in GATES.values():
            yield from self._metric(gate)
        yield self._markers()
        yield self._routes()
        yield self._ready()
        for custom in policy.gates.custom:
            yield from self._custom(custom)
        names = ["failed_requests", "load_attempted", "probe_latency", "served_by", "route_unchanged"]
        names += [gate.against_blue for gate in GATES.values() if policy.gates.compare.enabled]
        for name in names:
            words = judging.words_of(policy, name)
            yield self._later(name, words.source, "measured while traffic moves")

    def _metric(self, gate: Gate) -> Iterator[Trial]:
        policy, roles = self.asker.policy, self.asker.roles
        taken = sampling.metric(
            self.asker,
            self.site,
            gate,
            percent=None,
            at=self.at,
            window_s=gate.window_s(policy),
            with_blue=True,
        )
        blue = tuple(
            replace(one, role=one.role.removeprefix("blue_")) for one in taken.asked if one.role.startswith("blue_")
        )
        green = tuple(one for one in taken.asked if not one.role.startswith("blue_"))
        yield self._prometheus(gate.name, roles.green, green)
        yield self._prometheus(gate.name, roles.blue, blue)

    def _prometheus(self, name: str, colour: Environment, asked: tuple[Asked, ...]) -> Trial:
        verdict = judge(self.asker.policy, Taken(name=name, percent=None, time=self.at, asked=asked))
        is_green = colour.name == self.asker.roles.green.name
        answers = not any(one.error for one in asked)
        said, do = verdict.reason, ""
        if not answers:
            do = "check that Prometheus runs, and url in [prometheus] of the target; then the query"
        elif verdict.result in {GateVerdict.NO_DATA, GateVerdict.INCONCLUSIVE}:
            said = f"{verdict.reason}: {colour.name} is not installed yet, not scraped, or has no traffic"
            if verdict.result is GateVerdict.NO_DATA and not is_green:
                do = "blue serves: check the metric's name in the query, and that Prometheus scrapes this colour"
        return Trial(
            gate=name,
            source=verdict.source,
            colour=colour.name,
            query=verdict.query,
            answers=answers,
            value=verdict.value,
            samples=verdict.samples,
            verdict=verdict.result if is_green else None,
            said=said,
            do=do,
        )

    def _markers(self) -> Trial:
        (_, there) = sampling.markers(self.asker, self.site, _NO_RUN, [], at=self.at)
        do = "check [database] of the target: the role must be able to read write_markers"
        return self._plain("write_markers", "postgresql", there, "the table can be read", do)

    def _routes(self) -> Trial:
        asked = sampling.routes(self.asker, "the lint of the routes", self.site.routing.lint, at=self.at)
        said = "; ".join(finding["message"] for finding in asked.raw or ()) or "nothing was found"
        do = "./cutover lint-routing says what to do" if asked.raw or asked.error else ""
        return self._plain("route_topology", "kubernetes", asked, said, do)

    def _ready(self) -> Trial:
        asked = sampling.readiness(self.asker, self.site, {}, at=self.at)
        pods = (asked.raw or {}).get("pods", [])
        ready = sum(pod["status"] == 200 for pod in pods)
        said = f"{ready} of {len(pods)} pods are ready" if pods else "green is not installed yet"
        trial = self._plain("green_ready", "kubernetes", asked, said, "check [kubernetes] of the target")
        return replace(trial, colour=self.asker.roles.green.name, value=float(ready), samples=len(pods))

    def _custom(self, gate: CustomGate) -> Iterator[Trial]:
        source, roles = gate.source.value, self.asker.roles
        if gate.source is Source.LOAD:
            yield self._later(gate.name, source, "measured by the load of a run")
            return
        if gate.source is Source.PROMETHEUS:
            for environment in (roles.green, roles.blue):
                taken = self._ask(gate, namespace=environment.namespace)
                yield self._prometheus(gate.name, environment, taken.asked)
            return
        taken = self._ask(gate)
        verdict = judge(self.asker.policy, taken)
        unanswered = next((one for one in taken.asked if one.error), None)
        absent = gate.source is Source.PLATFORM and not taken.asked
        colour = roles.green.name if gate.source is Source.PLATFORM else ""
        yield Trial(
            gate=gate.name,
            source=source,
            colour=colour,
            query=gate.query or f"GET {gate.path}",
            answers=absent or (unanswered is None and verdict.result is not GateVerdict.ERROR),
            value=verdict.value,
            samples=verdict.samples,
            verdict=None if absent else verdict.result,
            said=f"{colour} is not installed yet" if absent else verdict.reason,
            do=""
            if absent or unanswered is None
            else "try it by hand, and correct it in [[gates.custom]] of the policy",
        )

    def _ask(self, gate: CustomGate, *, namespace: str = "") -> Taken:
        return sampling.custom(
            self.asker, self.site, None, gate, percent=None, at=self.at, since=self.at, namespace=namespace
        )

    def _plain(self, name: str, source: str, asked: Asked, said: str, do: str) -> Trial:
        return Trial(
            gate=name,
            source=source,
            colour="",
            query=asked.query,
            answers=not asked.error,
            value=None,
            samples=0,
            verdict=None,
            said=asked.error or said,
            do=do if asked.error or name == "route_topology" else "",
        )

    @staticmethod
    def _later(name: str, source: str, why: str) -> Trial:
        return Trial(
            gate=name,
            source=source,
            colour="",
            query="",
            answers=True,
            value=None,
            samples=0,
            verdict=None,
            said=why,
            do="",
        )


def _warnings(policy: Policy) -> Iterator[str]:
    """Yield what a policy asks for that its own times cannot bring."""
    traffic, gates = policy.traffic, policy.gates
    samples = int(max(0.0, traffic.bake_s - gates.range_s) / traffic.interval_s) + 1
    if gates.compare.enabled and samples < gates.compare.min_samples:
        yield (
            f"a bake of {traffic.bake_s:g} s brings {samples} samples, [gates.compare] needs "
            f"{gates.compare.min_samples}: each bake will be longer"
        )
    expected = policy.load.requests_per_s * policy.load.cutover_share * gates.range_s * traffic.weights[0] / 100
    if expected < gates.error_ratio.min_requests:
        yield (
            f"at {traffic.weights[0]} percent about {expected:.0f} requests reach green in range_s, "
            f"error_ratio.min_requests is {gates.error_ratio.min_requests}: every sample will be INCONCLUSIVE"
        )
    if policy.load.write_share == 0:
        yield "without writes (load.write_share = 0) no write marker is compared"
