"""The table of causes: what is seen, what probably causes it, what to do, and the guide's row that names it.

One row a cause; `docs/diagnosis.md` is generated from it, and every fault of `contract/faults.toml` names its row.
Invariants: pure; the table is read from the top and the first row that fits is the diagnosis; a cause in words names
what was seen; where no row fits, nothing is guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cutover.errors import CutoverError
    from cutover.model import Environment
    from cutover.runbook.ports import Deployment, Pod, RouteFinding

EXAMINED = "examined"
"""The code of the error that stands in the facts where a site is examined and nothing has failed."""
DATABASE_CONNECTIVITY = "check database connectivity from the pod: address, route, credentials and connection limit"
_COMPONENT = "app.kubernetes.io/component"
_IMAGE_PROBLEMS = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"})
_DATABASE_WORDS = ("database does not answer", "connection refused", "could not connect", "connection timeout")
_INDEX_ONLY = frozenset({"row-changed", "leaf-changed", "leaf-missing", "agreement-missing"})
"""Findings of evidence that `stella evidence reindex` may mend."""
_UNTRUE = frozenset({"continuity-disagrees", "platform-continuity-not-ok", "stella-contradicts-itself"})
_OWN_PROBES = frozenset(
    {"store-not-shared", "system-not-ok", "read-probe-failed", "write-probe-failed", "round-trip-failed"}
)
_PLATFORM_FINDS = re.compile(r"[a-z]+-altered: ")
_FAULTY_ANSWER = re.compile(r"(?:status|write|read) 5\d\d\b")
_NOBODY = re.compile(r"^of \d+ requests: \{\},")
_ROUND_TRIP = re.compile(r"(?:write|read) 20\d by (\w+)")
_NONE_COUNTED = re.compile(r"(?<![\d.])0 samples")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The row that fits, and it in words. `remedy` is one line; `clause` is T.1 to T.4, or empty."""

    id: str
    cause: str
    remedy: str = ""
    clause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known when a cause is looked for."""

    environment: Environment
    error: CutoverError
    pods: tuple[Pod, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    """Of the colour's release."""
    selector: Mapping[str, str] | None = None
    """Of the colour's Service; None when there is no such Service, or nobody could be asked."""
    ready_endpoints: int | None = None
    """Behind the colour's Service; None when nobody could be asked."""
    readiness: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By pod that is not ready: its own checks that are not ok, name to sentence."""
    init_log: str = ""
    """The end of what a failing or waiting init container wrote."""
    crash_log: str = ""
    """The end of what a crashing container wrote."""
    database_problem: str = ""
    """Why the database does not answer on the operator's path; empty when it does."""
    warnings: tuple[str, ...] = ()
    """Warning events of the namespace, newest last."""
    routes: tuple[RouteFinding, ...] = ()
    """What somebody else changed of the routes, then what cannot work; looked at when traffic is not as it ought."""

    @property
    def unready(self) -> tuple[Pod, ...]:
        """The pods that are not ready."""
        return tuple(pod for pod in self.pods if not pod.ready)

    @property
    def web(self) -> tuple[Pod, ...]:
        """The pods that a Service leads to: those called web, all where none is."""
        return tuple(pod for pod in self.pods if pod.labels.get(_COMPONENT) in {None, "web"}) or self.pods

    @property
    def gates(self) -> frozenset[str]:
        """The gates that the error says did not pass."""
        named: Any = self.error.facts.get("gates") or ()
        return frozenset(map(str, named))

    @property
    def told(self) -> str:
        """What the error saw, in one line."""
        return self.error.seen.replace("\n", "; ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A row fits: the cause in words, and a remedy more exact than the row's where there is one."""

    cause: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One row."""

    id: str
    shows: str
    """What is seen, in general."""
    probable: str
    """What probably causes it."""
    remedy: str
    """What to do; empty where the failed check itself says it best."""
    fits: Callable[[Facts], Seen | None]
    clause: str = ""
    """The row of the guide's troubleshooting table (T.1 to T.4), or empty."""


def cause_of(facts: Facts) -> Diagnosis | None:
    """Return the first row of the table that fits the facts; None when none does."""
    for row in CAUSES:
        seen = row.fits(facts)
        if seen is not None:
            return Diagnosis(id=row.id, cause=seen.cause, remedy=seen.remedy or row.remedy, clause=row.clause)
    return None


# -- what fits: the error says it --------------------------------------------------------------------------------------


def _command(facts: Facts) -> Seen | None:
    if facts.error.code != "command-timeout":
        return None
    shown = str(facts.error.facts.get("argv", "a command"))
    return Seen(cause=f"`{shown}` timed out: it neither ended nor failed by itself")


def _metrics(facts: Facts) -> Seen | None:
    code, seen = facts.error.code, facts.error.seen
    if code.startswith("prometheus-") or (code == "gate-not-measured" and "prometheus-" in seen):
        return Seen(cause="Prometheus does not answer, so no gate can be measured")
    return None


def _queue(facts: Facts) -> Seen | None:
    if "queue" not in facts.error.code:
        return None
    return Seen(cause=f"scans are not finished, the queue does not drain: {facts.error.seen}")


def _platform_untrue(facts: Facts) -> Seen | None:
    if facts.error.code not in _UNTRUE and not facts.error.code.startswith("agreement-"):
        return None
    return Seen(cause=f"the platform's own report is not what the harness recomputed: {facts.told}")


def _finding_codes(facts: Facts) -> frozenset[str] | None:
    """Return the codes of what verification refused; None when the error is not about evidence."""
    found: Any = facts.error.facts.get("findings")
    if facts.error.facts.get("guarantees") is not None:
        return frozenset(str(one.get("code", "")) for one in found or () if isinstance(one, dict))
    return frozenset() if facts.error.code.startswith(("continuity", "evidence")) else None


def _index_damaged(facts: Facts) -> Seen | None:
    codes = _finding_codes(facts)
    if not codes or not codes <= _INDEX_ONLY:
        return None
    return Seen(cause=f"rows or leaves of the evidence index differ, and no content was found altered: {facts.told}")


def _evidence(facts: Facts) -> Seen | None:
    if _finding_codes(facts) is not None:
        return Seen(cause=f"evidence is not what it was before the upgrade: {facts.error.seen}")
    if facts.error.code == "stella-not-ok" and _PLATFORM_FINDS.match(facts.error.seen):
        return Seen(cause=f"the platform finds evidence that is not what it recorded: {facts.told}")
    return None


def _by_code(*codes: str, words: str) -> Callable[[Facts], Seen | None]:
    """Return a rule that fits by the error's code alone; a code that ends in a dash fits all that begin so."""

    def fits(facts: Facts) -> Seen | None:
        code = facts.error.code
        if not any(code.startswith(each) if each.endswith("-") else code == each for each in codes):
            return None
        return Seen(cause=f"{words}: {facts.told or facts.error.message}")

    return fits


def _any_of(*rules: Callable[[Facts], Seen | None]) -> Callable[[Facts], Seen | None]:
    """Return a rule that fits when one of these does; the first that does says how."""

    def fits(facts: Facts) -> Seen | None:
        return next((seen for rule in rules if (seen := rule(facts)) is not None), None)

    return fits


def _not_kept(facts: Facts) -> Seen | None:
    """Read a probe whose write was acknowledged and is not in the database."""
    if facts.error.code != "write-probe-failed" or not facts.error.seen.startswith("status 201"):
        return None
    return Seen(cause=f"{facts.environment.name} acknowledges a write that it does not keep: {facts.told}")


def _own_probe(facts: Facts) -> Seen | None:
    """Read a check of the harness's own that the colour answered with an error of its own."""
    if facts.error.code not in _OWN_PROBES or not _FAULTY_ANSWER.search(facts.error.seen):
        return None
    return Seen(cause=f"{facts.environment.name} answers with errors: {facts.told}")


# -- what fits: the colour shows it ------------------------------------------------------------------------------------


def _database_lost(facts: Facts) -> Seen | None:
    if not facts.database_problem:
        return None
    return Seen(cause=f"the shared database does not answer, for either colour: {facts.database_problem}")


def _image(facts: Facts) -> Seen | None:
    pod = next((pod for pod in facts.pods if pod.problem in _IMAGE_PROBLEMS), None)
    if pod is None:
        return None
    images = ", ".join(pod.images)
    return Seen(cause=f"pod {pod.name}: {pod.problem}, image {images} cannot be pulled ({pod.problem_detail})")


def _in_init(facts: Facts) -> tuple[Pod, str] | None:
    """Return the pod that does not leave an init container, and what is known of it in words; None when none does."""
    pod = next((pod for pod in facts.pods if pod.problem_in_init or pod.init_running), None)
    if pod is None:
        return None
    last = facts.init_log.splitlines()[-1] if facts.init_log else pod.problem_detail
    return pod, f"pod {pod.name} is stuck in init container {pod.problem_container or pod.init_running}: {last}"


def _init_database(facts: Facts) -> Seen | None:
    found = _in_init(facts)
    if found is None or not any(word in facts.init_log.lower() for word in _DATABASE_WORDS):
        return None
    pod, last = found[0], facts.init_log.splitlines()[-1]
    container = pod.problem_container or pod.init_running
    return Seen(cause=f"pod {pod.name} is stuck in init container {container}: it cannot reach the database ({last})")


def _init(facts: Facts) -> Seen | None:
    found = _in_init(facts)
    return Seen(cause=found[1]) if found is not None else None


def _crash(facts: Facts) -> Seen | None:
    pod = next((pod for pod in facts.pods if pod.problem and pod.problem not in _IMAGE_PROBLEMS), None)
    if pod is None:
        return _restarted(facts)
    last = f"; it last wrote: {facts.crash_log.splitlines()[-1]}" if facts.crash_log else ""
    return Seen(
        cause=f"pod {pod.name}: {pod.problem}, {pod.problem_detail}{last}",
        remedy=f"read its log: kubectl logs {pod.name} -c {pod.problem_container} -n {pod.namespace} --previous",
    )


def _restarted(facts: Facts) -> Seen | None:
    """Read a crash that the cluster does not call a loop yet."""
    pod = next((pod for pod in facts.unready if pod.restarts and not pod.problem), None)
    if pod is None:
        return None
    return Seen(
        cause=f"pod {pod.name} ended and was started again (restarts: {pod.restarts}), and is not ready",
        remedy=f"read its log: kubectl logs {pod.name} -n {pod.namespace} --previous",
    )


def _database_check(facts: Facts) -> Seen | None:
    for pod, checks in facts.readiness.items():
        for name in ("database", "schema"):
            if name in checks and "pending" not in checks[name]:
                return Seen(cause=f"pod {pod} says that it cannot reach its database ({checks[name]})")
    return None


def _dependency(facts: Facts) -> Seen | None:
    for pod, checks in facts.readiness.items():
        for name in ("database", "schema", "cache", "store"):
            if name in checks:
                return Seen(
                    cause=f"pod {pod} is not ready: its {name} check says {checks[name]}",
                    remedy=f"check the {name} of {facts.environment.name}: address and credentials in its values",
                )
    return None


def _no_pods(facts: Facts) -> Seen | None:
    short = next((each for each in facts.deployments if each.desired == 0), None)
    if short is None:
        return None
    name = facts.environment.name
    return Seen(
        cause=f"{name} has nobody to answer: its Deployment {short.name} wants 0 replicas",
        remedy=f"find out who scaled {short.name} in namespace {short.namespace} to 0, and scale it up again",
    )


def _service_absent(facts: Facts) -> Seen | None:
    if not _without_endpoints(facts) or facts.selector is not None:
        return None
    environment = facts.environment
    return Seen(cause=f"no endpoint to route to: no Service {environment.service} in namespace {environment.namespace}")


def _selector(facts: Facts) -> Seen | None:
    if not _without_endpoints(facts) or facts.selector is None:
        return None
    web = facts.web
    wrong = [
        f"{key}={value} (pods carry {web[0].labels.get(key, 'none')})"
        for key, value in facts.selector.items()
        if web[0].labels.get(key) != value
    ]
    return Seen(
        cause=f"Service {facts.environment.service} has no ready endpoint though its pods are ready: "
        + (f"its selector wants {', '.join(wrong)}" if wrong else "its selector matches no ready pod")
    )


def _without_endpoints(facts: Facts) -> bool:
    return facts.ready_endpoints == 0 and any(pod.ready for pod in facts.web)


def _unready(facts: Facts) -> Seen | None:
    unready = [pod for pod in facts.unready if not pod.problem]
    if not unready:
        return None
    pod = unready[0]
    said = "; ".join(f"{name}: {text}" for name, text in facts.readiness.get(pod.name, {}).items())
    warning = next((text for text in reversed(facts.warnings) if text.startswith(pod.name)), "")
    return Seen(cause=f"pod {pod.name} runs and is not ready, its probe fails: {said or warning or 'no reason given'}")


def _doctor_database(facts: Facts) -> Seen | None:
    """Read the platform's own examination where the pods have not noticed yet."""
    if facts.error.code != "doctor-not-ok" or "database" not in facts.error.seen:
        return None
    name = facts.environment.name
    return Seen(
        cause=f"{name} cannot reach its database: {facts.error.seen.partition(';')[0]}",
        remedy=f"check database connectivity from {name}: address, route, credentials, connection limit",
    )


# -- what fits: the gates and the routes show it -----------------------------------------------------------------------


def _gate(
    *names: str, codes: tuple[str, ...] = ("gate-failed",), without: tuple[str, ...] = (), words: str
) -> Callable[[Facts], Seen | None]:
    """Return a rule that fits when one of these gates did not pass, and none of `without`; words may hold {colour}."""

    def fits(facts: Facts) -> Seen | None:
        if facts.error.code not in codes or not facts.gates.intersection(names) or facts.gates.intersection(without):
            return None
        return Seen(cause=f"{words.format(colour=facts.environment.name)}: {facts.told}")

    return fits


def _unmeasured(words: str, *, said: str) -> Callable[[Facts], Seen | None]:
    def fits(facts: Facts) -> Seen | None:
        if facts.error.code != "gate-not-measured" or said not in facts.error.seen:
            return None
        return Seen(cause=f"{words}: {facts.told}")

    return fits


def _stands_still(facts: Facts) -> Seen | None:
    if facts.error.code != "gate-undecided" or "served_by" in facts.gates:
        return None
    if not _NONE_COUNTED.search(facts.error.seen):
        return None
    return Seen(cause=f"requests were answered, and the metrics of {facts.environment.name} count none: {facts.told}")


def _topology(facts: Facts) -> Seen | None:
    if not facts.error.facts.get("topology"):
        return None
    return Seen(cause=f"the routes cannot do what the runbook wants: {facts.told}", remedy=facts.error.do)


def _routes(facts: Facts) -> Seen | None:
    is_changed = any(finding.code == "route-changed" for finding in facts.routes)
    if not facts.routes or (_is_silent(facts) and not is_changed):
        return None
    first = facts.routes[0]
    more = f", and {len(facts.routes) - 1} more" if len(facts.routes) > 1 else ""
    return Seen(cause=f"{first.message}{more}", remedy=first.remedy)


def _is_silent(facts: Facts) -> bool:
    """Say whether nobody at all answers though the colour's pods are there: what its routes lack is not why."""
    is_there = bool(facts.ready_endpoints) and any(pod.ready for pod in facts.web)
    return facts.error.code == "served-by-other" and _NOBODY.search(facts.error.seen) is not None and is_there


def _led_elsewhere(facts: Facts) -> Seen | None:
    """Read a round trip that succeeded at another colour: the route may have been put right since."""
    seen = facts.error.seen.partition("(expected")[0]
    served = _ROUND_TRIP.findall(seen) if facts.error.code == "round-trip-failed" else []
    if not served or facts.environment.name in served:
        return None
    return Seen(cause=f"the public host leads to {served[0]} instead of {facts.environment.name}: {facts.told}")


def _any_gate(facts: Facts) -> Seen | None:
    if facts.error.code != "gate-failed":
        return None
    return Seen(cause=f"{facts.environment.name} does worse than the policy allows: {facts.told}")


# -- the table ---------------------------------------------------------------------------------------------------------

CAUSES: tuple[Cause, ...] = (
    Cause(
        id="command-hangs",
        shows="a command did not end within its time limit",
        probable="it waits for something that does not come: a lock, a server, an answer at a terminal",
        remedy="see in its transcript what it waits for; raise its time limit only if it was still working",
        fits=_command,
    ),
    Cause(
        id="metrics-down",
        shows="Prometheus does not answer",
        probable="it was stopped or is starting, or the target names another address",
        remedy="check that Prometheus runs and that url in [prometheus] of the target is right",
        fits=_metrics,
    ),
    Cause(
        id="queue-does-not-drain",
        shows="scans or jobs are not finished within the bound",
        probable="the worker takes no jobs, or jobs come faster than it works",
        remedy="see whether the worker takes jobs (its log, its readiness); restart it, then run again",
        fits=_queue,
    ),
    Cause(
        id="platform-report-untrue",
        shows="the platform's report and the harness's own result differ, or an exit code and its document do",
        probable="the platform's command reads another database or store, or has a defect",
        remedy="do not trust that report; the harness's own numbers are in evidence/ of the record",
        fits=_platform_untrue,
    ),
    Cause(
        id="index-damaged",
        shows="rows or leaves of evidence differ from the baseline, and no content was found altered",
        probable="the index was damaged or written by hand; the contents may be intact",
        remedy="run `stella evidence reindex`; the check passes afterwards only if the content is intact",
        fits=_index_damaged,
        clause="T.3",
    ),
    Cause(
        id="evidence-altered",
        shows="a content, signature, root or log entry is not what the baseline has",
        probable="evidence was altered or lost since the baseline was sealed",
        remedy="run `stella evidence reindex`: it mends an index; altered content must come back from the backup",
        fits=_evidence,
        clause="T.3",
    ),
    Cause(
        id="database-lost",
        shows="the database does not answer on the operator's path",
        probable="the shared PostgreSQL is down, restarting, or out of connections",
        remedy="bring PostgreSQL back first: neither colour can serve without it, and moving traffic does not help",
        fits=_database_lost,
    ),
    Cause(
        id="image-not-pulled",
        shows="a pod waits with ImagePullBackOff",
        probable="the registry does not have the tag, or its credentials are wrong",
        remedy="push the image to the registry, or correct the release in [upgrade] of the target, then install again",
        fits=_image,
    ),
    Cause(
        id="init-without-database",
        shows="a pod does not leave its init step, whose log says that the database does not answer",
        probable="the colour's path to the database is broken",
        remedy=DATABASE_CONNECTIVITY,
        fits=_init_database,
        clause="T.2",
    ),
    Cause(
        id="init-stuck",
        shows="a pod does not leave its init step",
        probable="the migration waits for a lock that another session holds, or needs longer than it is given",
        remedy="increase migrationTimeoutSeconds in the values, and see who holds the migration lock",
        fits=_init,
        clause="T.1",
    ),
    Cause(
        id="migration-blocked",
        shows="while migrations ran, a session waited for a lock longer than the policy allows",
        probable="another session holds a table or the migration lock",
        remedy="end the session that is named, or increase migrationTimeoutSeconds and the policy's limit",
        fits=_by_code("lock-waited-too-long", "migrations-locked", words="a migration waits for another session"),
        clause="T.1",
    ),
    Cause(
        id="container-crashes",
        shows="a container ends each time it starts (CrashLoopBackOff)",
        probable="the release does not start with this configuration; its last words say why",
        remedy="read the log of its run before this one",
        fits=_crash,
    ),
    Cause(
        id="database-out-of-reach",
        shows="a pod's own readiness check names the database",
        probable="that colour's path to the database is broken: address, route, credentials, connection limit",
        remedy=DATABASE_CONNECTIVITY,
        fits=_database_check,
        clause="T.2",
    ),
    Cause(
        id="dependency-out-of-reach",
        shows="a pod's own readiness check names the cache, the store or a pending schema",
        probable="that dependency is down, or the colour's values name another one",
        remedy="check that dependency: address and credentials in the colour's values",
        fits=_dependency,
    ),
    Cause(
        id="no-pods",
        shows="a Deployment of the colour wants no replica",
        probable="somebody, or an autoscaler, scaled it to 0",
        remedy="find out who scaled it, and scale it up again",
        fits=_no_pods,
    ),
    Cause(
        id="service-absent",
        shows="the pods are ready, and the Service that routes would name is not there",
        probable="the target names another Service than the chart makes, or it was deleted",
        remedy="verify the Service's name in the target, and its selector labels",
        fits=_service_absent,
        clause="T.4",
    ),
    Cause(
        id="selector-wrong",
        shows="the pods are ready, and their Service has no endpoint: requests get 502 or 503",
        probable="the Service's selector labels are not those of the pods",
        remedy="verify the service selector labels against the labels of the pods",
        fits=_selector,
        clause="T.4",
    ),
    Cause(
        id="writes-lost",
        shows="a write that the public host acknowledged is not in the database, or is there twice",
        probable="green answers before it has written, or writes elsewhere",
        remedy="find the numbers in load/markers.jsonl of the record, and in the log of the colour that answered",
        fits=_any_of(
            _gate("write_markers", words="{colour} acknowledges writes that are not kept exactly once"),
            _by_code("writes-lost", words="acknowledged writes are not kept exactly once"),
            _not_kept,
        ),
    ),
    Cause(
        id="route-changed",
        shows="the routes are not what this run set last",
        probable="somebody else, or a reconciler, changes them meanwhile",
        remedy="find out who changes it (kubectl get -o yaml --show-managed-fields) and stop them, then run again",
        fits=_gate("route_unchanged", words="somebody else changed the route while it was measured"),
    ),
    Cause(
        id="load-not-sent",
        shows="fewer requests were attempted than planned, or none",
        probable="the load generator ended or stands still",
        remedy="see load/ of the record for how it ended; what was not sent has not been measured: run again",
        fits=_any_of(
            _gate(
                "load_attempted",
                codes=("gate-not-measured", "gate-undecided"),
                words="the load generator does not send what was planned",
            ),
            _by_code("load-stands-still", words="the load generator stands still"),
            _by_code("load-ended", "probe-ended", "load-unreadable", words="the load generator ended by itself"),
        ),
    ),
    Cause(
        id="green-stands-still",
        shows="the open-loop probe waits far longer than the policy allows, and no request fails",
        probable="green's processes are stopped for seconds: garbage collection, a lock, no CPU",
        remedy="look at green's CPU limits and pauses at that second; the probe's times are in load/",
        fits=_gate("probe_latency", without=("failed_requests",), words="{colour} stands still for a while"),
    ),
    Cause(
        id="probe-fails",
        shows="a pod runs, and its readiness probe fails",
        probable="most often the database; otherwise what the pod's own /readyz names",
        remedy="check database connectivity first, then what the pod's /readyz names",
        fits=_unready,
        clause="T.2",
    ),
    Cause(
        id="doctor-names-database",
        shows="the platform's examination of a colour names the database, before its pods do",
        probable="that colour's path to the database has just broken",
        remedy=DATABASE_CONNECTIVITY,
        fits=_doctor_database,
        clause="T.2",
    ),
    Cause(
        id="route-unsound",
        shows="the topology lint finds what would keep a weight from being a share",
        probable="sticky sessions, a foreign canary, a Service without endpoints, or another such obstacle",
        remedy="see ./cutover lint-routing, which names each with its remedy",
        fits=_topology,
    ),
    Cause(
        id="route-in-the-way",
        shows="traffic is not where it ought to be, and the routes show why",
        probable="a route was changed, or another takes requests before it",
        remedy="see ./cutover lint-routing, which names each with its remedy",
        fits=_any_of(_routes, _led_elsewhere),
    ),
    Cause(
        id="requests-fail",
        shows="requests fail at the public host while green has a share",
        probable="green answers with errors, or the way to it (the Ingress controller) breaks off",
        remedy="read the logs of green's pods and of the Ingress controller; load/ names the first failures",
        fits=_any_of(
            _gate("failed_requests", words="requests fail at the public host while {colour} has a share"),
            _by_code("public-requests-failed", words="requests fail at the public host"),
        ),
    ),
    Cause(
        id="green-errors",
        shows="green's error ratio is above the limit or blue's, or it answers the harness's own checks with errors",
        probable="a route of the new release is broken",
        remedy="read the log of green's pods for answers of 500; the resolved query is in gates/",
        fits=_any_of(
            _own_probe,
            _gate("error_ratio", "error_ratio_vs_blue", words="{colour} answers with errors"),
        ),
    ),
    Cause(
        id="platform-tests-fail",
        shows="the platform's own tests do not pass, or none ran",
        probable="the release is broken in what the named tests do",
        remedy="read what the failed tests say, and the log of that colour's pods at that time",
        fits=_by_code("platform-tests-failed", words="the platform's own tests do not pass"),
    ),
    Cause(
        id="green-slow",
        shows="green's latency is above the limit or blue's",
        probable="the new release needs longer: a missing index, a cold cache, too little CPU",
        remedy="compare green's slow requests with blue's in load/, and its CPU with its limits",
        fits=_gate("latency_p99", "latency_p99_vs_blue", words="{colour} is slower than the policy allows"),
    ),
    Cause(
        id="attestations-fail",
        shows="green makes fewer attestations than it attempts",
        probable="its signing service refuses, or its key is missing",
        remedy="read the log of green's worker for refused signatures, and check its signing key",
        fits=_gate(
            "attestation_success", "attestation_success_vs_blue", words="{colour} does not make its attestations"
        ),
    ),
    Cause(
        id="evidence-stalls",
        shows="green does fewer operations on evidence than the limit or blue",
        probable="its worker or its path to the store is stuck, or it answers without doing the work",
        remedy="read the log of green's worker, and compare what it answers with the rows it writes",
        fits=_gate("evidence_operations", "evidence_operations_vs_blue", words="{colour} hardly works on evidence"),
    ),
    Cause(
        id="share-wrong",
        shows="green serves another share of the requests than its weight",
        probable="another route takes requests before the weights, or something decides after them",
        remedy="see ./cutover lint-routing: what takes requests before the weights, or decides after them (F.2)",
        fits=_gate("served_by", words="{colour} does not serve the share that its weight means"),
    ),
    Cause(
        id="metric-not-a-number",
        shows="a metric's value is no number",
        probable="green exports NaN: a division by nothing, or a broken exporter",
        remedy="look at green's /metrics: ./cutover gates check asks every question once",
        fits=_unmeasured("green exports a value that is no number", said="not a number"),
    ),
    Cause(
        id="metric-absent",
        shows="a metric of green has no data",
        probable="green does not export it, or Prometheus does not scrape or keep it",
        remedy="check green's /metrics and Prometheus' scrape of it: ./cutover gates check asks every question once",
        fits=_unmeasured("a metric of green is not there", said="no data"),
    ),
    Cause(
        id="metric-stands-still",
        shows="requests are answered, and green's metrics count none",
        probable="green's exporter is stuck, or Prometheus keeps an old target's values",
        remedy="compare two scrapes of green's /metrics; restart what stands still, then bake again",
        fits=_stands_still,
    ),
    Cause(
        id="window-has-gaps",
        shows="a part of the observation window was not measured",
        probable="Prometheus or green's exporter was silent meanwhile, or nearly nobody used the public host",
        remedy="see gates/window.json of the record for when; mend it and observe a whole window again",
        fits=_by_code("window-has-gaps", words="the observation window was not measured as a whole"),
    ),
    Cause(
        id="too-few-samples",
        shows="there is too little traffic to decide",
        probable="nearly nobody uses the public host at this hour, or the policy's load is too small",
        remedy="bake longer, or send more load, by the policy",
        fits=_by_code("gate-undecided", words="too few samples to decide"),
    ),
    Cause(
        id="gate-fails",
        shows="a gate does not hold",
        probable="green does worse than the policy allows",
        remedy="",
        fits=_any_gate,
    ),
    Cause(
        id="object-changed",
        shows="an object was changed between reading and writing it",
        probable="somebody else, or a controller, works on the same object",
        remedy="find out who changes it (kubectl get -o yaml --show-managed-fields), stop them, then resume",
        fits=_by_code("changed-by-someone-else", words="somebody else works on the same object"),
    ),
    Cause(
        id="cluster-out-of-reach",
        shows="the API server does not answer, or refuses",
        probable="the cluster is down, or the kubeconfig's user lacks a right",
        remedy="check that the cluster runs, and the rights of the kubeconfig's user",
        fits=_by_code("kubernetes-", words="the cluster's API server does not do what it is asked"),
    ),
    Cause(
        id="store-out-of-reach",
        shows="the object storage does not answer, or refuses",
        probable="it is down, or bucket or credentials are others",
        remedy="check [store] of the target: endpoint, bucket and credentials",
        fits=_by_code("store-unreachable", "store-refused", words="the object storage does not do what it is asked"),
    ),
    Cause(
        id="cache-out-of-reach",
        shows="a colour's cache does not answer",
        probable="it is down, or the target names another address",
        remedy="check cache_url of that colour in the target",
        fits=_by_code("cache-unreachable", words="a cache does not answer"),
    ),
    Cause(
        id="platform-out-of-reach",
        shows="`stella` cannot reach the platform, or its answer cannot be read",
        probable="a part of the platform is down, or the command is of another version than the contract",
        remedy="read its transcript; compare `stella version` with contract/stella",
        fits=_by_code(
            "stella-unreachable", "stella-unreadable", "stella-usage", words="the platform's command gives no answer"
        ),
    ),
    Cause(
        id="operator-host",
        shows="the operator's host does not answer, or lacks a command",
        probable="ssh to it fails, or a tool is not installed there",
        remedy="check [operator] of the target: host and path",
        fits=_by_code("operator-unreachable", "command-missing", words="the operator's host cannot do its part"),
    ),
    Cause(
        id="public-host-silent",
        shows="the public host does not answer",
        probable="the Ingress controller is down, or the name leads elsewhere",
        remedy="see ./cutover lint-routing, and whether the Ingress controller runs",
        fits=_by_code("public-unreachable", "served-by-other", words="the public host does not answer as it ought"),
    ),
)


def row(cause_id: str) -> Cause:
    """Return a row. Raises KeyError."""
    for cause in CAUSES:
        if cause.id == cause_id:
            return cause
    raise KeyError(cause_id)
