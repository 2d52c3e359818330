"""Which arrangements of Ingress objects cannot move traffic, and why: pure rules over what was read.

Each rule was measured or is documented by a controller: most of these mistakes are not refused by anything, the traffic
just stays where it was, or fails.
Invariant: rules read, and only the facts handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.runbook.ports import RouteFinding
from cutover.site.routing.lint import annotations_of, green_can_serve, is_within, kept_by_reconciler, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cutover.model import Environment
    from cutover.target import NginxRoutes

CANARY = "nginx.ingress.kubernetes.io/canary"
WEIGHT = "nginx.ingress.kubernetes.io/canary-weight"
_TOTAL = "nginx.ingress.kubernetes.io/canary-weight-total"
_BEFORE_WEIGHT = (
    "nginx.ingress.kubernetes.io/canary-by-header",
    "nginx.ingress.kubernetes.io/canary-by-cookie",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What was read of the routes: every Ingress of the allowed namespaces, and the Services on green's way."""

    settings: NginxRoutes
    green: Environment
    ingresses: Sequence[Mapping[str, Any]]
    green_service: Mapping[str, Any] | None
    green_endpoints: int
    beside: Mapping[str, Any] | None
    """The Service beside the public route by which it can name green."""
    beside_name: str


def check(topology: Topology) -> tuple[RouteFinding, ...]:
    """Return every rule that the topology breaks, in the order in which to mend them."""
    return tuple(finding for rule in _RULES for finding in rule(topology))


def backends_of(ingress: Mapping[str, Any], host: str) -> list[tuple[int, int, str]]:
    """Return rule index, path index and Service of every path that serves a host.

    A rule without a host serves every host, where no other rule names it.
    """
    rules = ingress.get("spec", {}).get("rules") or []
    named = [index for index, rule in enumerate(rules) if rule.get("host") == host]
    candidates = named or [index for index, rule in enumerate(rules) if not rule.get("host")]
    return [
        (rule, path, str(entry["backend"]["service"]["name"]))
        for rule in candidates
        for path, entry in enumerate((rules[rule].get("http") or {}).get("paths") or [])
        if (entry.get("backend") or {}).get("service")
    ]


def backend_of(ingress: Mapping[str, Any], host: str) -> tuple[int, int, str] | None:
    """Return rule index, path index and Service of the one path that serves a host; None when it is not one."""
    found = backends_of(ingress, host)
    return found[0] if len(found) == 1 else None


def _class(ingress: Mapping[str, Any]) -> str:
    named = ingress.get("spec", {}).get("ingressClassName")
    return str(named or annotations_of(ingress).get("kubernetes.io/ingress.class", ""))


def _hosts(ingress: Mapping[str, Any]) -> set[str]:
    return {str(rule.get("host") or "") for rule in ingress.get("spec", {}).get("rules") or []}


def _services(ingress: Mapping[str, Any]) -> set[str]:
    return {
        str(path["backend"]["service"]["name"])
        for rule in ingress.get("spec", {}).get("rules") or []
        for path in (rule.get("http") or {}).get("paths") or []
        if (path.get("backend") or {}).get("service")
    }


def _is_canary(ingress: Mapping[str, Any]) -> bool:
    return annotations_of(ingress).get(CANARY) == "true"


def _primary(topology: Topology) -> Mapping[str, Any] | None:
    wanted = (topology.settings.namespace, topology.settings.primary)
    return next((ingress for ingress in topology.ingresses if name_of(ingress) == wanted), None)


def _canaries(topology: Topology) -> list[Mapping[str, Any]]:
    """Return every canary for the host, and the Ingress that has the canary's name whatever it is."""
    settings = topology.settings
    own = (settings.namespace, settings.canary)
    return [
        ingress
        for ingress in topology.ingresses
        if name_of(ingress) == own or (_is_canary(ingress) and settings.host in _hosts(ingress))
    ]


def _match(ingress: Mapping[str, Any], host: str) -> tuple[str, str] | None:
    """Return pathType and path of the rule that serves a host."""
    found = backend_of(ingress, host)
    if found is None:
        return None
    return _path(ingress["spec"]["rules"][found[0]]["http"]["paths"][found[1]])


def _path(entry: Mapping[str, Any]) -> tuple[str, str]:
    return str(entry.get("pathType", "")), str(entry.get("path", "/"))


def _primary_exists(topology: Topology) -> Iterator[RouteFinding]:
    settings, primary = topology.settings, _primary(topology)
    if primary is None:
        yield RouteFinding(
            code="primary-absent",
            message=f"the public route {settings.primary} does not exist in namespace {settings.namespace}",
            remedy="correct [routing] primary and namespace of the target, or create the Ingress",
        )
    elif backend_of(primary, settings.host) is None:
        yield RouteFinding(
            code="primary-without-rule",
            message=f"the public route {settings.primary} has not exactly one path for {settings.host}",
            remedy="correct [routing] host of the target, or give the Ingress one rule with one path for it",
        )
    elif _is_canary(primary):
        yield RouteFinding(
            code="primary-is-canary",
            message=f"the public route {settings.primary} is itself marked as a canary",
            remedy=f"remove the annotation {CANARY} from it",
        )
    elif _class(primary) != settings.ingress_class:
        yield RouteFinding(
            code="primary-class",
            message=f"the public route has class {_class(primary) or 'none'}, the target says {settings.ingress_class}",
            remedy="correct [routing] ingress_class of the target: another controller would serve the canary",
        )


def _green_can_serve(topology: Topology) -> Iterator[RouteFinding]:
    yield from green_can_serve(topology.green, topology.green_service, topology.green_endpoints)


def _named_beside(topology: Topology) -> Iterator[RouteFinding]:
    settings, green = topology.settings, topology.green
    if topology.beside is None:
        yield RouteFinding(
            code="bridge-absent",
            message=f"the public route cannot name green: no Service {topology.beside_name} in {settings.namespace}",
            remedy="let the harness create the bridge Service: ./cutover lint-routing --fix (F.2)",
        )
        return
    if green.namespace == settings.namespace:
        return
    wanted = f"{green.service}.{green.namespace}.svc.cluster.local"
    if topology.beside["spec"].get("externalName") != wanted:
        yield RouteFinding(
            code="bridge-elsewhere",
            message=f"the Service {topology.beside_name} beside the public route does not lead to {wanted}",
            remedy="name another bridge in [routing] of the target, or correct its externalName",
        )


def _canary_matches(topology: Topology) -> Iterator[RouteFinding]:
    settings, primary = topology.settings, _primary(topology)
    canaries = _canaries(topology)
    for canary in canaries:
        namespace, name = name_of(canary)
        if namespace != settings.namespace:
            yield RouteFinding(
                code="canary-elsewhere",
                message=f"canary {name} is in namespace {namespace}, the public route in {settings.namespace}:"
                " it is ignored in silence",
                remedy=f"delete it: kubectl delete ingress {name} -n {namespace} (F.2)",
            )
        elif name != settings.canary:
            yield RouteFinding(
                code="canary-second",
                message=f"there is another canary {name} for {settings.host}: only one a rule is honoured",
                remedy=f"delete it: kubectl delete ingress {name} -n {namespace}",
            )
        elif primary is not None:
            yield from _pair(canary, primary, topology)


def _pair(canary: Mapping[str, Any], primary: Mapping[str, Any], topology: Topology) -> Iterator[RouteFinding]:
    settings = topology.settings
    name = settings.canary
    found = backend_of(canary, settings.host)
    if not _is_canary(canary):
        yield RouteFinding(
            code="canary-unmarked",
            message=f"Ingress {name} has no annotation {CANARY}: it is a second route of its own, not a share",
            remedy="delete it; the harness makes the canary anew from the public route",
        )
    if found is not None and found[2] != topology.beside_name:
        yield RouteFinding(
            code="canary-backend",
            message=f"canary {name} sends to Service {found[2]}, not to {topology.beside_name}",
            remedy="delete the canary; the harness makes it anew for the colour that is next",
        )
    if _match(canary, settings.host) != _match(primary, settings.host):
        yield RouteFinding(
            code="canary-path",
            message=f"canary {name} has another host, path or pathType than the public route: it matches nothing",
            remedy="delete the canary; the harness makes it anew from the public route",
        )
    if _class(canary) != _class(primary):
        yield RouteFinding(
            code="canary-class",
            message=f"canary {name} is of class {_class(canary) or 'none'}, the public route of {_class(primary)}",
            remedy="delete the canary; the harness makes it anew from the public route (F.2)",
        )
    weight = annotations_of(canary).get(WEIGHT, "")
    if not (weight.isascii() and weight.isdigit() and int(weight) <= 100):
        yield RouteFinding(
            code="weight-unreadable",
            message=f"canary {name} has the weight {weight!r}, which a controller may read as 0",
            remedy="set it to a whole number from 0 to 100, or delete the canary",
        )
    total = annotations_of(canary).get(_TOTAL, "100")
    if total != "100":
        yield RouteFinding(
            code="weight-total",
            message=f"canary {name} counts its weight of {total}, not of 100: no weight is a percentage",
            remedy=f"remove the annotation {_TOTAL}",
        )
    for annotation in _BEFORE_WEIGHT:
        if annotation in annotations_of(canary):
            yield RouteFinding(
                code="canary-by-rule",
                message=f"canary {name} has {annotation.rpartition('/')[2]}, which goes before the weight",
                remedy="remove the annotation: the share would not be the weight (F.7)",
            )
    created, made = (str(item["metadata"].get("creationTimestamp") or "") for item in (primary, canary))
    if created and made and created > made:
        yield RouteFinding(
            code="primary-recreated",
            message="the public route is younger than the canary: controllers pair them by age and skip it",
            remedy="delete the canary; the harness makes it anew. Patch the public route in place, never recreate it",
        )


def _sticky(topology: Topology) -> Iterator[RouteFinding]:
    primary = _primary(topology)
    if primary is not None and annotations_of(primary).get("nginx.ingress.kubernetes.io/affinity") == "cookie":
        behaviour = annotations_of(primary).get("nginx.ingress.kubernetes.io/affinity-canary-behavior", "sticky")
        if behaviour != "legacy":
            yield RouteFinding(
                code="sticky-sessions",
                message="the public route keeps sessions by cookie, also across the canary: weights come after cookies",
                remedy='set nginx.ingress.kubernetes.io/affinity-canary-behavior to "legacy" for the cutover (F.7)',
            )


def _paths_taken(topology: Topology) -> Iterator[RouteFinding]:
    """No other Ingress takes requests away before the split: a longer path goes first, of the same one either may."""
    settings, primary = topology.settings, _primary(topology)
    own = _match(primary, settings.host) if primary is not None else None
    if primary is None or own is None:
        return
    for ingress in topology.ingresses:
        namespace, name = name_of(ingress)
        if ingress is primary or _is_canary(ingress) or _class(ingress) != _class(primary):
            continue
        taken = [
            entry.get("path", "/")
            for rule in ingress.get("spec", {}).get("rules") or []
            if rule.get("host") == settings.host
            for entry in (rule.get("http") or {}).get("paths") or []
            if is_within(_path(entry), own)
        ]
        if taken:
            yield RouteFinding(
                code="path-taken",
                message=f"Ingress {name} in namespace {namespace} takes {settings.host}{taken[0]}:"
                " those requests never reach the weights",
                remedy="delete it for the cutover, or give it a host of its own",
            )


def _preview(topology: Topology) -> Iterator[RouteFinding]:
    settings = topology.settings
    for ingress in topology.ingresses:
        namespace, name = name_of(ingress)
        if (namespace, name) == (settings.namespace, settings.canary) or _is_canary(ingress):
            continue
        own = namespace == topology.green.namespace and topology.green.service in _services(ingress)
        bridged = namespace == settings.namespace and topology.beside_name in _services(ingress)
        if (own or bridged) and name != settings.primary:
            yield RouteFinding(
                code="preview-on-green",
                message=f"Ingress {name} in namespace {namespace} routes to green's own Service:"
                " weights can become ineffective",
                remedy="point it at a second Service over the same pods, or delete it for the cutover",
            )


def _reconciled(topology: Topology) -> Iterator[RouteFinding]:
    primary = _primary(topology)
    if primary is not None:
        yield from kept_by_reconciler(primary)


_RULES = (
    _primary_exists,
    _green_can_serve,
    _named_beside,
    _canary_matches,
    _sticky,
    _paths_taken,
    _preview,
    _reconciled,
)
