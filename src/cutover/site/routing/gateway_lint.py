"""Which arrangements of HTTPRoutes cannot move traffic, and why: pure rules over what was read.

The weights of an HTTPRoute hold among the requests that reach its one rule: whatever takes requests away before, or
decides after them, makes a share differ from its weight.
Invariant: rules read, and only the facts handed in.
Source: Gateway API v1, HTTPRoute (precedence of matches), ReferenceGrant, conditions of Gateways and routes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.runbook.ports import RouteFinding
from cutover.site.routing.lint import green_can_serve, is_within, kept_by_reconciler, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cutover.model import Environment
    from cutover.target import GatewayRoutes

GROUP = "gateway.networking.k8s.io"
_OWN_ANSWERS = ("RequestRedirect",)
"""Filters of a rule by which the Gateway answers itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What was read of the routes."""

    settings: GatewayRoutes
    blue: Environment
    green: Environment
    routes: Sequence[Mapping[str, Any]]
    """Every HTTPRoute of the allowed namespaces."""
    gateway: Mapping[str, Any] | None
    grants: Sequence[Mapping[str, Any]]
    """The ReferenceGrants of green's namespace."""
    green_service: Mapping[str, Any] | None
    green_endpoints: int

    @property
    def route(self) -> Mapping[str, Any] | None:
        """The public route."""
        wanted = (self.settings.namespace, self.settings.route)
        return next((route for route in self.routes if name_of(route) == wanted), None)

    @property
    def rule(self) -> Mapping[str, Any] | None:
        """The public route's one rule, where it has one."""
        route = self.route
        index = only_rule(route) if route is not None else None
        return None if route is None or index is None else route["spec"]["rules"][index]


def check(topology: Topology) -> tuple[RouteFinding, ...]:
    """Return every rule that the topology breaks, in the order in which to mend them."""
    return tuple(finding for rule in _RULES for finding in rule(topology))


# -- reading an HTTPRoute ----------------------------------------------------------------------------------------------


def only_rule(route: Mapping[str, Any]) -> int | None:
    """Return the index of the one rule of a route; None when it has none, several, or one for several paths."""
    rules = (route.get("spec") or {}).get("rules") or []
    if len(rules) != 1 or len(rules[0].get("matches") or []) > 1:
        return None
    return 0


def backends_of(rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the backendRefs of a rule."""
    return [dict(entry) for entry in rule.get("backendRefs") or []]


def weight_of(backend: Mapping[str, Any]) -> int:
    """Return the weight of a backendRef; one that states none has 1."""
    return int(backend.get("weight", 1))


def leads_to(backend: Mapping[str, Any], environment: Environment, namespace: str) -> bool:
    """Whether a backendRef is a colour's Service. namespace: the route's own."""
    return (
        (backend.get("group") or "", backend.get("kind") or "Service") == ("", "Service")
        and backend["name"] == environment.service
        and (backend.get("namespace") or namespace) == environment.namespace
    )


def covers(route: Mapping[str, Any], host: str) -> tuple[int, int] | None:
    """Return how precisely a route's hostnames name a host, larger being more so; None when they do not.

    An exact name goes before a wildcard, a longer wildcard before a shorter one; a route without hostnames takes those
    of its listener.
    """
    names = (route.get("spec") or {}).get("hostnames") or []
    if not names:
        return 0, 0
    found = [
        (2, len(name)) if name == host else (1, len(name))
        for name in names
        if name == host or (name.startswith("*.") and host.endswith(name[1:]))
    ]
    return max(found, default=None)


def problem_of(conditions: Sequence[Mapping[str, Any]], wanted: Sequence[str], generation: int) -> str:
    """Return which of the wanted conditions does not hold for a generation, and why; empty when all do."""
    known = {entry["type"]: entry for entry in conditions}
    for kind in wanted:
        entry = known.get(kind)
        if entry is None:
            return f"{kind} is not reported"
        if int(entry.get("observedGeneration") or 0) < generation:
            return f"{kind} is reported for generation {entry.get('observedGeneration')}, not yet for {generation}"
        if entry.get("status") != "True":
            return f"{kind} is {entry.get('status')}: {entry.get('reason', '')} {entry.get('message', '')}".strip()
    return ""


def taken_problem(route: Mapping[str, Any], settings: GatewayRoutes) -> str:
    """Return why the Gateway's controller does not route as the route says now; empty when it does."""
    generation = int(route["metadata"].get("generation") or 0)
    parents = [
        parent
        for parent in (route.get("status") or {}).get("parents") or []
        if _is_gateway(parent.get("parentRef") or {}, settings)
    ]
    if not parents:
        return f"no controller of Gateway {settings.gateway} reports on it"
    problems = (
        problem_of(parent.get("conditions") or [], ("Accepted", "ResolvedRefs"), generation) for parent in parents
    )
    return next((problem for problem in problems if problem), "")


def permits(grant: Mapping[str, Any], namespace: str, service: str) -> bool:
    """Whether a ReferenceGrant lets HTTPRoutes of a namespace name a Service that lives beside the grant."""
    spec = grant.get("spec") or {}
    comes = any(
        (entry.get("group"), entry.get("kind"), entry.get("namespace")) == (GROUP, "HTTPRoute", namespace)
        for entry in spec.get("from") or []
    )
    goes = any(
        (entry.get("group") or "", entry.get("kind")) == ("", "Service") and entry.get("name") in {None, "", service}
        for entry in spec.get("to") or []
    )
    return comes and goes


def _is_gateway(reference: Mapping[str, Any], settings: GatewayRoutes, *, beside: str | None = None) -> bool:
    """Whether a parentRef is the Gateway. beside: the namespace of the route that has it, if not the public one's."""
    return (
        (reference.get("group") or GROUP, reference.get("kind") or "Gateway") == (GROUP, "Gateway")
        and reference.get("name") == settings.gateway
        and (reference.get("namespace") or beside or settings.namespace) == settings.gateway_namespace
    )


def _parents(topology: Topology) -> list[Mapping[str, Any]]:
    route = topology.route
    return [
        reference
        for reference in ((route or {}).get("spec") or {}).get("parentRefs") or []
        if _is_gateway(reference, topology.settings)
    ]


# -- rules -------------------------------------------------------------------------------------------------------------


def _route_exists(topology: Topology) -> Iterator[RouteFinding]:
    settings, route = topology.settings, topology.route
    if route is None:
        yield RouteFinding(
            code="route-absent",
            message=f"the public route HTTPRoute {settings.route} does not exist in namespace {settings.namespace}",
            remedy="correct [routing] route and namespace of the target, or create the HTTPRoute",
        )
        return
    if covers(route, settings.host) is None:
        yield RouteFinding(
            code="route-without-host",
            message=f"HTTPRoute {settings.route} does not name {settings.host}",
            remedy="correct [routing] host of the target, or add the host to the route's hostnames",
        )
    if only_rule(route) is None:
        yield RouteFinding(
            code="route-shape",
            message=f"HTTPRoute {settings.route} has not exactly one rule with one path:"
            " the weights of one rule say nothing of another's requests",
            remedy="give the host's other paths a route of their own, and leave one rule with one path in this one",
        )
    if not _parents(topology):
        yield RouteFinding(
            code="route-parent",
            message=f"HTTPRoute {settings.route} is not attached to Gateway {settings.gateway}"
            f" of namespace {settings.gateway_namespace}",
            remedy="correct [routing] gateway of the target, or the route's parentRefs",
        )


def _gateway_works(topology: Topology) -> Iterator[RouteFinding]:
    settings, gateway, route = topology.settings, topology.gateway, topology.route
    if gateway is None:
        yield RouteFinding(
            code="gateway-absent",
            message=f"Gateway {settings.gateway} does not exist in namespace {settings.gateway_namespace}",
            remedy="correct [routing] gateway and gateway_namespace of the target, or create the Gateway",
        )
        return
    conditions = (gateway.get("status") or {}).get("conditions") or []
    problem = problem_of(conditions, ("Accepted", "Programmed"), int(gateway["metadata"].get("generation") or 0))
    if problem:
        yield RouteFinding(
            code="gateway-not-programmed",
            message=f"Gateway {settings.gateway} does not work as it is written: {problem}",
            remedy="see whether its controller runs, and what it says of the Gateway's listeners",
        )
    if route is not None and _parents(topology):
        yield from _listener_takes(topology, route, gateway)
        problem = taken_problem(route, settings)
        if problem:
            yield RouteFinding(
                code="route-not-accepted",
                message=f"HTTPRoute {settings.route} is not in effect as it is written: {problem}",
                remedy="see what the controller says in the route's status; what it names must exist and be allowed",
            )


def _listener_takes(topology: Topology, route: Mapping[str, Any], gateway: Mapping[str, Any]) -> Iterator[RouteFinding]:
    settings = topology.settings
    listeners = (gateway.get("spec") or {}).get("listeners") or []
    for reference in _parents(topology):
        wanted = [
            listener
            for listener in listeners
            if reference.get("sectionName") in {None, listener.get("name")}
            and reference.get("port") in {None, listener.get("port")}
        ]
        refusals = [_refusal(listener, route, settings) for listener in wanted]
        if all(refusals):  # none that takes it, or none at all
            where = f"listener {reference['sectionName']}" if reference.get("sectionName") else "any listener"
            yield RouteFinding(
                code="listener-refuses",
                message=f"HTTPRoute {settings.route} is not taken by {where} of Gateway {settings.gateway}: "
                + ("; ".join(refusals) or "there is none of that name and port"),
                remedy="correct the route's parentRefs, or the listener's hostname and allowedRoutes",
            )


def _refusal(listener: Mapping[str, Any], route: Mapping[str, Any], settings: GatewayRoutes) -> str:
    """Return why a listener does not take the public route; empty when it does.

    Whom a selector of namespaces admits is the controller's to say: its condition Accepted tells.
    """
    name = listener.get("name")
    if listener.get("protocol") not in {"HTTP", "HTTPS"}:
        return f"{name} speaks {listener.get('protocol')}"
    hostname = listener.get("hostname")
    if hostname and covers({"spec": {"hostnames": [hostname]}}, settings.host) is None:
        return f"{name} is for {hostname}"
    allowed = listener.get("allowedRoutes") or {}
    source = (allowed.get("namespaces") or {}).get("from", "Same")
    if source == "None" or (source == "Same" and route["metadata"]["namespace"] != settings.gateway_namespace):
        return f"{name} admits routes from namespaces: {source}"
    kinds = allowed.get("kinds") or []
    if kinds and not any(((kind.get("group") or GROUP), kind.get("kind")) == (GROUP, "HTTPRoute") for kind in kinds):
        return f"{name} admits no HTTPRoute"
    return ""


def _green_can_serve(topology: Topology) -> Iterator[RouteFinding]:
    yield from green_can_serve(topology.green, topology.green_service, topology.green_endpoints)


def _green_is_granted(topology: Topology) -> Iterator[RouteFinding]:
    settings, green = topology.settings, topology.green
    if green.namespace == settings.namespace:
        return
    if not any(permits(grant, settings.namespace, green.service) for grant in topology.grants):
        yield RouteFinding(
            code="grant-absent",
            message=f"no ReferenceGrant in namespace {green.namespace} lets HTTPRoutes of {settings.namespace}"
            f" name Service {green.service}: its share would be answered with 500",
            remedy="let the harness create it: ./cutover lint-routing --fix",
        )


def _weights_mean_a_share(topology: Topology) -> Iterator[RouteFinding]:
    settings, rule = topology.settings, topology.rule
    if rule is None:
        return
    backends = backends_of(rule)
    foreign = [
        backend["name"]
        for backend in backends
        if not any(leads_to(backend, colour, settings.namespace) for colour in (topology.blue, topology.green))
    ]
    if foreign:
        yield RouteFinding(
            code="backend-foreign",
            message=f"HTTPRoute {settings.route} also sends to {', '.join(foreign)}, which is neither colour's Service",
            remedy="take it out of the route, or correct [colours] service of the target",
        )
    if sum(weight_of(backend) for backend in backends) == 0:
        yield RouteFinding(
            code="weights-zero",
            message=f"the weights of HTTPRoute {settings.route} sum up to 0: every request is answered with an error",
            remedy="give the colour that serves a weight above 0",
        )


def _nothing_before_weights(topology: Topology) -> Iterator[RouteFinding]:
    settings, rule = topology.settings, topology.rule
    if rule is None:
        return
    if rule.get("sessionPersistence"):
        yield RouteFinding(
            code="sticky-sessions",
            message=f"HTTPRoute {settings.route} keeps sessions (sessionPersistence): weights come after them",
            remedy="remove sessionPersistence for the cutover (F.7)",
        )
    if any(backend.get("filters") for backend in backends_of(rule)):
        yield RouteFinding(
            code="backend-filters",
            message=f"HTTPRoute {settings.route} has filters of one backend: requests of the colours would differ",
            remedy="move the filters to the rule, where they hold for both colours",
        )
    own = [entry["type"] for entry in rule.get("filters") or [] if entry.get("type") in _OWN_ANSWERS]
    if own:
        yield RouteFinding(
            code="answered-by-gateway",
            message=f"HTTPRoute {settings.route} has the filter {own[0]}: the Gateway answers, no colour does",
            remedy="give the redirect a route of its own",
        )
    match = (rule.get("matches") or [{}])[0]
    before = [kind for kind in ("method", "headers", "queryParams") if match.get(kind)]
    if before:
        yield RouteFinding(
            code="match-before-weight",
            message=f"HTTPRoute {settings.route} takes only requests of certain {', '.join(before)}:"
            " the others never reach the weights",
            remedy="match the path alone, and give the special requests a route of their own (F.7)",
        )


def _no_other_route_wins(topology: Topology) -> Iterator[RouteFinding]:
    settings, ours = topology.settings, topology.route
    if ours is None or topology.rule is None or covers(ours, settings.host) is None:
        return
    for other in topology.routes:
        namespace, name = name_of(other)
        references = ((other.get("spec") or {}).get("parentRefs")) or []
        if (
            other is ours
            or covers(other, settings.host) is None
            or not any(_is_gateway(reference, settings, beside=namespace) for reference in references)
        ):
            continue
        if any(_takes_from(other, match, ours, settings.host) for match in _matches(other)):
            yield RouteFinding(
                code="route-second",
                message=f"HTTPRoute {name} in namespace {namespace} takes requests of {settings.host} before"
                f" {settings.route} does: they never reach the weights",
                remedy="delete it for the cutover, or give it a host of its own",
            )


def _matches(route: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rules = (route.get("spec") or {}).get("rules") or []
    return [match for rule in rules for match in rule.get("matches") or [{}]]


def _path(match: Mapping[str, Any]) -> tuple[str, str]:
    path = match.get("path") or {}
    return str(path.get("type", "PathPrefix")), str(path.get("value", "/"))


def _takes_from(other: Mapping[str, Any], match: Mapping[str, Any], ours: Mapping[str, Any], host: str) -> bool:
    """Whether a match of another route gets requests that ours would get without it, by the API's precedence."""
    mine = _matches(ours)[0]
    (their_kind, theirs), (our_kind, own) = _path(match), _path(mine)
    if "RegularExpression" in {their_kind, our_kind}:
        return True  # its precedence is each controller's own
    if not (is_within((their_kind, theirs), (our_kind, own)) or is_within((our_kind, own), (their_kind, theirs))):
        return False

    def rank(route: Mapping[str, Any], entry: Mapping[str, Any], kind: str, value: str) -> tuple[Any, ...]:
        return (
            covers(route, host),
            kind == "Exact",
            len(value.rstrip("/")),
            bool(entry.get("method")),
            len(entry.get("headers") or []),
            len(entry.get("queryParams") or []),
        )

    their_rank, our_rank = rank(other, match, their_kind, theirs), rank(ours, mine, our_kind, own)
    if their_rank != our_rank:
        return their_rank > our_rank
    return _age(other) < _age(ours)


def _age(route: Mapping[str, Any]) -> tuple[str, tuple[str, str]]:
    return str(route["metadata"].get("creationTimestamp") or ""), name_of(route)


def _reconciled(topology: Topology) -> Iterator[RouteFinding]:
    if topology.route is not None:
        yield from kept_by_reconciler(topology.route)


_RULES: tuple[Callable[[Topology], Iterator[RouteFinding]], ...] = (
    _route_exists,
    _gateway_works,
    _green_can_serve,
    _green_is_granted,
    _weights_mean_a_share,
    _nothing_before_weights,
    _no_other_route_wins,
    _reconciled,
)
