"""Traffic: moving it, proving who serves it, and what the load saw (3.1, 3.2, R.1, F.2, F.3, F.4, F.7).

Invariant: a weight is what the public host's answers show, never what an annotation says.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.errors import CouldNotMeasure, CutoverError, Timeout
from cutover.model import Result
from cutover.procedures import health
from cutover.procedures.diagnosed import diagnosed
from cutover.runbook import gates
from cutover.runbook.checks import expect
from cutover.site.database import compare_markers

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutover.model import Environment
    from cutover.runbook.gates import Bake
    from cutover.runbook.journal import Entry
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.site.load import LoadRunner

SAMPLE = 60
"""Requests, each on a connection of its own, in a proof of who serves."""
_FIRST_WRITE_S = 15.0
"""A load that writes at all has written and been read by then."""
_SENDING_S = 10.0
"""A load that runs sends, and is read, more often than that."""
_EXTENSION = 2
"""As of a bake: so many bake times are waited for what could not be decided yet."""
_PHASES = {"4": "validate", "5": "observe"}
"""What the load is told at a clause of a phase; while traffic moves, each weight says it."""


def keep_load_running(upgrade: Upgrade, load: LoadRunner) -> None:
    """Start the load where it does not run, and tell it in which phase the upgrade is.

    Raises: CouldNotMeasure when it cannot be started, or ended by itself.
    """
    phase = _PHASES.get((upgrade.clause or "")[:1]) or _moved_phase(upgrade, load)
    if phase:
        load.enter(phase)
    gates.begin_to_get_ready()
    load.ensure_running()


def _moved_phase(upgrade: Upgrade, load: LoadRunner) -> str:
    """Return the phase in which a load begins that finds traffic on green already; empty for any other."""
    weight = upgrade.journal.last("weight")
    if load.process is not None or weight is None or not upgrade.traffic_moved:
        return ""
    return f"weight-{weight.data['percent']}"


def require_served_by(site: Site, environment: Environment, *, requests: int = SAMPLE, borne: int = 0) -> None:
    """Demand that every sampled public request succeeds and is served by one colour.

    borne: so many of them may fail.
    Raises:
        ClauseFailed: another colour answered, or a request failed.
    """
    served = site.routing.who_serves(requests)
    mine = served.by_colour.get(environment.name, 0) + min(served.failed, borne)
    with diagnosed(site, environment):
        expect(
            mine == served.total == requests,
            f"the public host is not served by {environment.name} alone",
            seen=f"of {requests} requests: {dict(served.by_colour)}, {served.failed} failed",
            expected=f"{requests} by {environment.name}",
            do="see ./cutover lint-routing, and the endpoints of the Service that the public route names",
            code="served-by-other",
        )


def require_sound_route(site: Site, upgrade: Upgrade) -> None:
    """Prepare green's way to the public host, and refuse it while it cannot work (F.2, F.3).

    Raises:
        ClauseFailed: the topology lint found something, or green is not ready.
    """
    green = upgrade.roles.green
    health.require_available(site, green)
    with diagnosed(site, green):
        site.routing.prepare()
        findings = gates.route_topology(upgrade, site)
        expect(
            not findings,
            "green cannot take the traffic",
            seen="; ".join(finding.message for finding in findings),
            do="; ".join(dict.fromkeys(finding.remedy for finding in findings)),
            guide="3.1 and 3.2, deviations F.2 and F.3",
            code=findings[0].code if findings else "",
            topology=[finding.code for finding in findings],
        )
    if upgrade.journal.last("deviation", id="F.2") is None:
        upgrade.deviation(
            "F.2",
            did=f"{site.routing.way}, and measured the share",
            instead_of="a canary in green's namespace without a class",
            why="a canary in another namespace than the public route is ignored in silence",
        )
        upgrade.deviation(
            "F.3",
            did="proved that the Service which the route will name exists and has ready endpoints",
            instead_of="patching the route to a Service that its namespace does not have",
            why="every request would get 503",
        )


def shift_and_bake(site: Site, upgrade: Upgrade, load: LoadRunner, percent: int) -> Bake:
    """Set a weight and watch the gates for the policy's bake time (3.1).

    A weight that an attempt before this one had set is not set again, and watched for the whole time all the same.
    Raises: as `gates.bake`.
    """
    load.enter(f"weight-{percent}")
    set_weight(site, upgrade, percent)
    return gates.bake(upgrade, site, load, percent=percent)


def set_weight(site: Site, upgrade: Upgrade, percent: int) -> None:
    """Set a weight, unless it is set already. Raises: as the routes' `shift`."""
    with upgrade.shield():
        if _is_already(lambda: site.routing.stands_at(percent)):
            upgrade.journal.write("observation", what="already", action="shift", percent=percent)
            site.routing.shift(percent)  # patches nothing: it reads back and writes down
            return
        with upgrade.journal.action("shift", percent=percent) as done:
            site.routing.shift(percent)
            done(percent=percent)


def promote_and_bake(site: Site, upgrade: Upgrade, load: LoadRunner) -> Bake:
    """Let the public route name green alone, and watch the gates for the bake time (3.2, F.7); as `shift_and_bake`.

    Raises: as `gates.bake`.
    """
    load.enter("promoted")
    promote(site, upgrade)
    upgrade.deviation(
        "F.7",
        did="let the public route name green, and nothing beside it lead to blue, all under load",
        instead_of="calling the cutover complete at weight 100",
        why="sticky sessions and header rules may still reach blue, and the public route would still name it",
    )
    return gates.bake(upgrade, site, load, percent=100)


def promote(site: Site, upgrade: Upgrade) -> None:
    """Let the public route name green alone, unless it does already. Raises: as the routes' `promote`."""
    green = upgrade.roles.green.name
    with upgrade.shield():
        if _is_already(site.routing.is_promoted):
            upgrade.journal.write("observation", what="already", action="promote", to=green)
            site.routing.promote()  # patches nothing: it reads back and writes down
            return
        with upgrade.journal.action("promote", to=green) as done:
            site.routing.promote()
            done(primary=site.routing.primary_backend())


def _is_already(look: Callable[[], bool]) -> bool:
    """Whether the routes are already as an action would leave them; where nobody can tell, the action tells why."""
    try:
        return look()
    except CutoverError:
        return False


def require_share(upgrade: Upgrade, bake: Bake) -> None:
    """Demand that the share which green served lies in the exact interval of the weight."""
    share = bake.share
    expect(
        share.total >= upgrade.policy.traffic.min_requests and share.low <= share.green <= share.high,
        f"green's share is not what {bake.percent} percent means",
        seen=f"{share.green} of {share.total} requests served by green",
        expected=f"{share.low} to {share.high} of them, and at least {upgrade.policy.traffic.min_requests} requests",
        do="see ./cutover lint-routing: what takes requests before the weights, or decides after them (F.2)",
        code="share-outside-interval",
    )


def require_no_failures(load: LoadRunner) -> None:
    """Demand that the load sent requests and that not one of them has failed since it began."""
    totals = load.totals()
    expect(
        totals.attempted > 0 and totals.failed == 0,
        "public requests failed",
        seen=f"{totals.failed} of {totals.attempted} requests failed",
        expected="0 failed, more than 0 attempted",
        do="read load/summary.json for the first failures, with their time and error",
        code="public-requests-failed",
    )


def require_sending(upgrade: Upgrade, load: LoadRunner) -> None:
    """Demand that requests are sent at this moment: "none failed" says nothing of a generator that stands still.

    Raises: CouldNotMeasure `load-stands-still`.
    """
    before = load.totals().attempted
    try:
        upgrade.wait_for(
            "the load to send requests",
            lambda: load.totals().attempted,
            until=lambda attempted: attempted > before,
            bound_s=_SENDING_S,
            describe=lambda attempted: f"{attempted - before} requests",
        )
    except Timeout as error:
        raise CouldNotMeasure(
            "the load generator stands still",
            code="load-stands-still",
            seen=error.seen,
            do="see load/ of the record for what it last did, then run again: what was not sent was not measured",
        ) from error


def require_gates(bake: Bake) -> None:
    """Demand that every gate passed for the whole bake time; the worst verdict decides.

    Raises:
        ClauseFailed, Undecided, CouldNotMeasure: by the worst verdict.
    """
    gates.require_passed(bake.results)


def require_markers(site: Site, upgrade: Upgrade, load: LoadRunner) -> None:
    """Demand that every write that the public host acknowledged is in the database exactly once (F.8).

    Of every attempt: what a killed one had written down as acknowledged was promised as well. A load that has only
    just begun, as behind an interruption, is given time for its first write.
    """
    own, acknowledged = load.markers()
    if not acknowledged:
        with contextlib.suppress(Timeout):
            upgrade.wait_for(
                "a first write to be acknowledged",
                lambda: len(load.markers()[1]),
                until=lambda count: count > 0,
                bound_s=_FIRST_WRITE_S,
            )
    checks = {run: compare_markers(numbers, site.database.markers(run)) for run, numbers in load.series().items()}
    for run, check in checks.items():
        upgrade.journal.write(
            "markers", run=run, acknowledged=check.acknowledged, missing=check.missing, repeated=check.repeated
        )
    bad = {run: check for run, check in checks.items() if not check.is_exact}
    expect(
        checks[own].acknowledged > 0 and not bad,
        "acknowledged writes were lost or doubled",
        seen="; ".join(
            f"{run}: {len(check.missing)} of {check.acknowledged} missing, first {list(check.missing[:5])}, "
            f"{len(check.repeated)} doubled"
            for run, check in (bad or {own: checks[own]}).items()
        ),
        do="find them in the markers.jsonl of the record's load, and in the log of the colour that acknowledged them",
        code="writes-lost",
    )


def why_back(upgrade: Upgrade) -> str:
    """Say which clause made the rollback necessary, from the journal."""
    for entry in reversed(upgrade.journal.entries()):
        if entry.event == "clause_finished" and entry.data.get("result") not in {Result.PASS, Result.NOT_RUN}:
            return f"{entry.clause}: {entry.data.get('reason', '')}"
    return "asked for"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateHistory:
    """A fresh measurement of one metric, and the worst verdict of the cutover so far."""

    now: gates.GateResult
    samples: int
    worst: gates.GateVerdict


def _await_enough(site: Site, upgrade: Upgrade, gate: str) -> None:
    """Wait until a metric rests on enough to be decided: behind an interruption the load has only just begun.

    As long as a bake waits for what it could not decide, and no longer: then the measurement says what is missing.
    """
    policy = upgrade.policy

    def decided() -> bool:
        found = {result.name: result.result for result in gates.look(upgrade, site)}
        return found[gate] not in {gates.GateVerdict.INCONCLUSIVE, gates.GateVerdict.NO_DATA}

    with contextlib.suppress(Timeout):
        upgrade.wait_for(
            f"enough data of the {gate}",
            decided,
            until=bool,
            bound_s=_EXTENSION * max(policy.traffic.bake_s, policy.gates.range_s),
        )


def _since_blue_had_all(upgrade: Upgrade) -> list[Entry]:
    """Return the lines of this cutover, newest first: those of one that went back are of another."""
    return list(
        itertools.takewhile(lambda entry: entry.event != "rollback_finished", reversed(upgrade.journal.entries()))
    )


def measure(site: Site, upgrade: Upgrade, gate: str) -> GateHistory:
    """Measure one of the guide's four metrics afresh on green, beside its history in the journal (3.3)."""
    if upgrade.journal.last("deviation", id="F.5") is None:
        upgrade.deviation(
            "F.5",
            did="took the quantile over rates of the window, summed by bucket",
            instead_of="histogram_quantile over raw buckets",
            why="raw buckets count since the process started, per series",
        )
        upgrade.deviation(
            "F.6",
            did="judged errors as a ratio with a minimum of requests; no data never passes",
            instead_of="a rate of errors alone",
            why="low traffic looks healthy by its error rate",
        )
    history = [
        gates.GateVerdict(entry.data["result"])
        for entry in _since_blue_had_all(upgrade)
        if entry.event == "gate" and entry.data["name"] == gate
    ]
    if upgrade.attempt > 1:
        _await_enough(site, upgrade, gate)
    now = gates.measure(upgrade, site, gate)
    return GateHistory(now=now, samples=len(history), worst=gates.worst(gates.not_borne(history, upgrade.policy.gates)))
