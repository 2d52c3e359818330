"""Move traffic between the colours with the weights of one HTTPRoute of the Gateway API.

The public route stays in its namespace and names both colours' Services itself; a ReferenceGrant beside green's Service
allows it, so there is neither a bridge nor a second object to keep in step.
Invariants: the route is patched in place, on the very version that was read; a colour is named with weight 0 first, and
gets requests only after the Gateway's controller has reported that it resolved it; a weight is read back, and in effect
by the controller's own word, when `shift` returns; restoring waits for nobody and needs nothing from green.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.errors import ClauseFailed, CouldNotMeasure, Refused
from cutover.site.cluster import guarded, pointer
from cutover.site.routing.gateway_lint import (
    GROUP,
    Topology,
    backends_of,
    check,
    covers,
    leads_to,
    only_rule,
    permits,
    taken_problem,
    weight_of,
)
from cutover.site.routing.interface import MANAGED_BY, SERVICE_PORT, SiteRouting, is_ours
from cutover.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.model import Environment
    from cutover.runbook.ports import RouteFinding
    from cutover.site.cluster import Manifest
    from cutover.target import GatewayRoutes

_ROUTE = "HTTPRoute"
_GRANT = "ReferenceGrant"
_TAKEN_BOUND_S = 15.0
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """The public route as it was read."""

    manifest: Manifest
    pointer: str
    """JSON Pointer of the one rule's backendRefs."""
    backends: tuple[dict[str, Any], ...]


class GatewayRouting(SiteRouting):
    """Weights of an HTTPRoute."""

    _settings: GatewayRoutes

    @property
    def way(self) -> str:
        """The route itself, and a ReferenceGrant where green lives in another namespace."""
        allowed = ", which a ReferenceGrant in green's namespace allows"
        beside = self._roles.green.namespace == self._settings.namespace
        return "named green in the public HTTPRoute itself" + ("" if beside else allowed)

    # -- reading ---------------------------------------------------------------------------------------------------

    @property
    def _place(self) -> tuple[str, str, str]:
        return _ROUTE, self._settings.namespace, self._settings.route

    def _read(self) -> Manifest:
        manifest = self._cluster.get(*self._place)
        if manifest is None:
            raise ClauseFailed(
                f"the public route {self._settings.public_route} does not exist"
                f" in namespace {self._settings.namespace}",
                code="route-absent",
                do="correct [routing] route and namespace of the target, or create the HTTPRoute",
            )
        return manifest

    def _route(self) -> _Route:
        """Read the public route, and find the one rule that sends the public host's requests."""
        settings, manifest = self._settings, self._read()
        index = only_rule(manifest)
        if index is None or covers(manifest, settings.host) is None:
            raise ClauseFailed(
                f"HTTPRoute {settings.route} has not exactly one rule with one path for {settings.host}",
                code="route-shape",
                do="see ./cutover lint-routing for what to change",
            )
        return _Route(
            manifest=manifest,
            pointer=_backends_of_rule(index),
            backends=tuple(backends_of(manifest["spec"]["rules"][index])),
        )

    def primary_backend(self) -> str:
        """Return the Services that the route names, whatever their weights, joined by "and"."""
        return " and ".join(self._named())

    def _named(self) -> list[str]:
        """Return every Service that a rule of the route names, each once."""
        rules = self._read()["spec"].get("rules") or []
        return list(dict.fromkeys(self._name(backend) for rule in rules for backend in backends_of(rule)))

    def _name(self, backend: dict[str, Any]) -> str:
        namespace = backend.get("namespace") or self._settings.namespace
        beside = namespace == self._settings.namespace
        return str(backend["name"]) if beside else f"{namespace}/{backend['name']}"

    def weight(self) -> int:
        """Return green's share of the route's weights in percent.

        Raises: CouldNotMeasure `weight-unreadable` when they sum up to 0.
        """
        backends = self._route().backends
        total = sum(weight_of(backend) for backend in backends)
        if total == 0:
            raise CouldNotMeasure(
                "the weights of the public route say nothing",
                code="weight-unreadable",
                seen=f"HTTPRoute {self._settings.route}: they sum up to 0",
                do="give the colour that serves a weight above 0",
            )
        green = sum(weight_of(backend) for backend in backends if self._is(backend, self._roles.green))
        return round(100 * green / total)

    def split_by(self) -> str:
        """Name the route and its Services, where it names more than one."""
        settings, named = self._settings, self._named()
        if len(named) == 1:
            return ""
        return f"HTTPRoute {settings.route} in namespace {settings.namespace} names {' and '.join(named) or 'nobody'}"

    def _is(self, backend: dict[str, Any], environment: Environment) -> bool:
        return leads_to(backend, environment, self._settings.namespace)

    def stands_at(self, percent: int) -> bool:
        """Whether the route names both colours with these weights, and the controller routes by them."""
        blue, green = self._roles.blue, self._roles.green
        route = self._route()
        wanted = [(blue, 100 - percent), (green, percent)] if percent else [(blue, 100)]
        named = [self._backend(route.backends, colour, weight) for colour, weight in wanted]
        return [*route.backends] == named and not taken_problem(route.manifest, self._settings)

    def lint(self) -> tuple[RouteFinding, ...]:
        """Return every reason why moving traffic to green cannot work; empty when the topology is sound."""
        settings, green = self._settings, self._roles.green
        return check(
            Topology(
                settings=settings,
                blue=self._roles.blue,
                green=green,
                routes=self._cluster.of_every_namespace(_ROUTE),
                gateway=self._cluster.get("Gateway", settings.gateway_namespace, settings.gateway),
                grants=self._grants(green.namespace),
                green_service=self._cluster.service(green.namespace, green.service),
                green_endpoints=self._cluster.ready_endpoints(green.namespace, green.service),
            )
        )

    def _grants(self, namespace: str) -> Sequence[Manifest]:
        every = self._cluster.of_every_namespace(_GRANT)
        return [grant for grant in every if grant["metadata"]["namespace"] == namespace]

    # -- changing --------------------------------------------------------------------------------------------------

    def to_prepare(self) -> str:
        """Name the ReferenceGrant, where one is needed, none permits what it would, and it has a namespace to be in."""
        green, settings = self._roles.green, self._settings
        if green.namespace == settings.namespace or green.namespace not in self._cluster.namespaces():
            return ""
        permitted, ours = self._permission(green)
        if permitted is not None or (ours is not None and not is_ours(ours)):
            return ""
        name = _grant_name(settings, green)
        return (
            f"ReferenceGrant {name} in namespace {green.namespace}, which lets HTTPRoutes of {settings.namespace}"
            f" name Service {green.service}"
        )

    def prepare(self) -> None:
        """Allow the route to name green's Service, where green lives in another namespace.

        Raises: Refused `grant-foreign` when a ReferenceGrant of our name is somebody else's.
        """
        self._permit(self._roles.green)

    def _permission(self, environment: Environment) -> tuple[Manifest | None, Manifest | None]:
        """Return a grant that permits to name a colour's Service, and the one of our name, each None if absent."""
        settings = self._settings
        grants = self._grants(environment.namespace)
        name = _grant_name(settings, environment)
        return (
            next((one for one in grants if permits(one, settings.namespace, environment.service)), None),
            next((one for one in grants if one["metadata"]["name"] == name), None),
        )

    def _permit(self, environment: Environment) -> None:
        if environment.namespace == self._settings.namespace:
            return
        permitted, ours = self._permission(environment)
        if permitted is not None:
            self._last_set.adopt((_GRANT, environment.namespace, str(permitted["metadata"]["name"])), permitted)
            return
        wanted = grant_manifest(self._settings, environment)
        name = wanted["metadata"]["name"]
        if ours is None:
            written = self._cluster.create(environment.namespace, wanted)
        elif is_ours(ours):
            operation = {"op": "replace", "path": "/spec", "value": wanted["spec"]}
            written = self._write(_GRANT, ours, lambda read: guarded(read, operation))
        else:
            raise Refused(
                f"a ReferenceGrant {name} already exists in namespace {environment.namespace} and is not ours",
                code="grant-foreign",
                seen=f"it does not let HTTPRoutes of {self._settings.namespace} name Service {environment.service}",
                guide="deviation F.2",
                do="rename it, or let it allow that as well",
            )
        self._last_set.set((_GRANT, environment.namespace, name), written)

    def shift(self, percent: int) -> None:
        """Set the weights of blue and green, read them back, and wait until the controller routes by them (3.1).

        Raises: Refused when green's Service has nobody ready, or somebody else changed the routes; ClauseFailed
        `weight-not-kept` when another weight is read back, `route-not-taken` when the controller does not follow.
        """
        self._require_percentage(percent)
        self._require_unchanged()
        blue, green = self._roles.blue, self._roles.green
        if percent:
            self._require_ready(green)
            self._introduce(green)
        elif not any(self._is(backend, green) for backend in self._route().backends):
            return
        self._name_only((blue, 100 - percent), (green, percent))
        found = self.weight()
        if found != percent:
            raise ClauseFailed(
                f"green's weight in HTTPRoute {self._settings.route} does not stay at {percent}",
                code="weight-not-kept",
                seen=f"read back {found}",
                do="look for a reconciler (Argo CD, Flux) that reverts the HTTPRoute, and pause it",
            )
        self._wait_until_taken()
        self._keep(percent, green)

    def promote(self) -> None:
        """Let the route name green alone (3.2, F.7).

        Raises: Refused when green's Service has nobody ready, or somebody else changed the routes; ClauseFailed
        `route-not-kept` when it is changed back, `route-not-taken` when the controller does not follow.
        """
        green = self._roles.green
        self._require_unchanged()
        self._require_ready(green)
        self._introduce(green)
        self._name_only((green, 100))
        self._require_named(green)
        self._wait_until_taken()
        self._keep(100, green)

    def restore(self) -> None:
        """Send every request to blue: every rule of the route that names a colour names blue alone (R.1, F.4).

        Where none names a colour, as after the guide's patch to a Service that is not there (F.3), every rule does.
        Idempotent. Somebody else's change, also one that gave the route more rules, is read again and overruled: blue
        serves is the safe state.
        Raises: ClauseFailed `route-not-kept`, after all was done, when the route names another Service still or again.
        """
        blue = self._roles.blue
        with contextlib.suppress(CouldNotMeasure):  # it was permitted when it served; the proof shows if it is not
            self._permit(blue)
        self._insist(self._leave_green)
        self._keep(0, self._roles.green)
        self._require_named(blue)

    def _leave_green(self) -> None:
        written = self._read()
        rules = [backends_of(rule) for rule in written["spec"].get("rules") or []]
        known = {index for index, backends in enumerate(rules) if any(self._colour(backend) for backend in backends)}
        operations = [
            {"op": "replace" if backends else "add", "path": _backends_of_rule(index), "value": wanted}
            for index, backends in enumerate(rules)
            if (index in known or not known)
            and (wanted := [self._backend(backends, self._roles.blue, 100)]) != backends
        ]
        if operations:
            written = self._write(_ROUTE, written, lambda read: guarded(read, *operations))
        self._last_set.set(self._place, written)

    def _introduce(self, environment: Environment) -> None:
        """Name a colour with weight 0 and wait until the controller has resolved it; nothing when it is named already.

        A request that meets a Service which the controller has not resolved is answered with 500.
        """
        self.prepare()
        route = self._route()
        self._require_ours(route)
        if any(self._is(backend, environment) for backend in route.backends):
            return
        named = [(colour, weight_of(backend)) for backend in route.backends if (colour := self._colour(backend))]
        self._name_only(*named, (environment, 0))
        self._wait_until_taken()

    def _colour(self, backend: dict[str, Any]) -> Environment | None:
        return next((colour for colour in (self._roles.blue, self._roles.green) if self._is(backend, colour)), None)

    def _require_ours(self, route: _Route) -> None:
        """Refuse to write over a backend that is neither colour's: it would lose its requests."""
        foreign = [self._name(backend) for backend in route.backends if self._colour(backend) is None]
        if foreign:
            raise ClauseFailed(
                f"HTTPRoute {self._settings.route} also sends to a Service that is neither colour's",
                code="backend-foreign",
                seen=", ".join(foreign),
                do="take it out of the route, or correct [colours] service of the target",
            )

    def _name_only(self, *weights: tuple[Environment, int]) -> None:
        """Let the route name exactly these colours with these weights."""
        route = self._route()
        wanted = [self._backend(route.backends, colour, weight) for colour, weight in weights]
        written = route.manifest
        if [*route.backends] != wanted:
            operation = {"op": "replace", "path": route.pointer, "value": wanted}
            written = self._write(_ROUTE, route.manifest, lambda read: guarded(read, operation))
        self._last_set.set(self._place, written)

    def _backend(self, backends: Sequence[dict[str, Any]], colour: Environment, weight: int) -> dict[str, Any]:
        """Return a colour's backendRef: the one that a rule has, or one with the port of those that it has."""
        for backend in backends:
            if self._is(backend, colour):
                return {**backend, "weight": weight}
        port = next((backend["port"] for backend in backends if "port" in backend), SERVICE_PORT)
        other = {} if colour.namespace == self._settings.namespace else {"namespace": colour.namespace}
        return {"group": "", "kind": "Service", "name": colour.service, **other, "port": port, "weight": weight}

    def _require_named(self, environment: Environment) -> None:
        found, wanted = self.primary_backend(), self.service_beside_route(environment)
        if found != wanted:
            raise ClauseFailed(
                f"the public route does not stay at Service {wanted}",
                code="route-not-kept",
                seen=f"read back {found}",
                do="look for a reconciler (Argo CD, Flux) that reverts the HTTPRoute, and pause it",
            )

    def _wait_until_taken(self) -> None:
        wait_for(
            f"Gateway {self._settings.gateway} to route as HTTPRoute {self._settings.route} says",
            lambda: taken_problem(self._route().manifest, self._settings),
            until=lambda problem: not problem,
            bound_s=_TAKEN_BOUND_S,
            interval_s=_LOOK_S,
            describe=lambda problem: problem or "it does",
            do="see whether the Gateway's controller runs, and what it says in the route's status",
            code="route-not-taken",
        )


def _backends_of_rule(index: int) -> str:
    """Return the JSON Pointer of a rule's backendRefs."""
    return pointer("spec", "rules", index, "backendRefs")


def _grant_name(settings: GatewayRoutes, environment: Environment) -> str:
    return f"{settings.route}-to-{environment.service}"


def grant_manifest(settings: GatewayRoutes, environment: Environment) -> dict[str, Any]:
    """Return what allows the routes of the public route's namespace to name a colour's Service, and nothing else."""
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": _GRANT,
        "metadata": {"name": _grant_name(settings, environment), "labels": {**MANAGED_BY}},
        "spec": {
            "from": [{"group": GROUP, "kind": _ROUTE, "namespace": settings.namespace}],
            "to": [{"group": "", "kind": "Service", "name": environment.service}],
        },
    }
