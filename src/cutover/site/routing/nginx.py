"""Move traffic between the colours with Ingress objects, as the guide does, at the place where it works.

The guide's canary has no namespace and no class, and names a Service that its namespace does not have (F.2, F.3). Here
the canary lives beside the public route and names a Service beside it: the colour's own, or a bridge (ExternalName).
Invariants: the public route is patched in place, never recreated; every patch tests the resourceVersion that was read;
a weight is read back after it was written; nothing names a Service without ready endpoints; restoring needs nothing
from green.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.errors import ClauseFailed, CouldNotMeasure, Refused
from cutover.site.cluster import guarded, pointer
from cutover.site.routing.interface import MANAGED_BY, SERVICE_PORT, SiteRouting, is_ours
from cutover.site.routing.nginx_lint import CANARY, WEIGHT, Topology, backend_of, backends_of, check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.model import Environment
    from cutover.runbook.ports import RouteFinding
    from cutover.site.cluster import Manifest
    from cutover.target import NginxRoutes

_INGRESS = "Ingress"
_SERVICE = "Service"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """The public route as it was read, and the one path of it that is moved."""

    manifest: Manifest
    pointer: str
    """JSON Pointer of the backend Service's name."""
    backend: str
    """The Service that it names now."""


class NginxRouting(SiteRouting):
    """Canary annotations of the nginx Ingress controller and of those that honour them."""

    _settings: NginxRoutes

    @property
    def way(self) -> str:
        """The canary beside the public route, and a bridge where green lives in another namespace."""
        beside = self._roles.green.namespace == self._settings.namespace
        return "put the canary" + ("" if beside else ", and a bridge Service for it,") + " beside the public route"

    # -- reading ---------------------------------------------------------------------------------------------------

    def primary_backend(self) -> str:
        """Return the name of the Service that the public route names for the host, several joined by "and"."""
        named = [service for _, _, service in backends_of(self._read(), self._settings.host)]
        return " and ".join(dict.fromkeys(named))

    def split_by(self) -> str:
        """Name the canary, where there is one."""
        settings = self._settings
        return f"Ingress {settings.canary} in namespace {settings.namespace}" if self._canary() is not None else ""

    def weight(self) -> int:
        """Return the canary's weight in percent; 0 when there is none.

        Raises: CouldNotMeasure `weight-unreadable`: a controller may read such a weight as 0.
        """
        canary = self._canary()
        return 0 if canary is None else _weight_of(canary)

    def stands_at(self, percent: int) -> bool:
        """Whether the canary has this weight and leads to green, and the public route names blue."""
        canary, green = self._canary(), self.service_beside_route(self._roles.green)
        if self.primary_backend() != self.service_beside_route(self._roles.blue):
            return False
        if canary is None:
            return percent == 0
        named = {service for _, _, service in backends_of(canary, self._settings.host)}
        return _has_weight(canary, percent) and named == {green}

    def _canary(self) -> Manifest | None:
        return self._cluster.get(*self._canary_place)

    def _read(self) -> Manifest:
        settings = self._settings
        manifest = self._cluster.get(*self._primary)
        if manifest is None:
            raise ClauseFailed(
                f"the public route {settings.primary} does not exist in namespace {settings.namespace}",
                code="primary-absent",
                do="correct [routing] primary and namespace of the target, or create the Ingress",
            )
        return manifest

    def _route(self) -> _Route:
        """Read the public route and find the path that sends the public host's requests."""
        settings, manifest = self._settings, self._read()
        found = backend_of(manifest, settings.host)
        if found is None:
            raise ClauseFailed(
                f"the public route {settings.primary} has no rule for {settings.host} that names one Service",
                code="primary-without-rule",
                do="correct [routing] host of the target, or give the Ingress a rule for it with one path",
            )
        rule, path, backend = found
        return _Route(manifest=manifest, pointer=_service_of_path(rule, path), backend=backend)

    # -- checking --------------------------------------------------------------------------------------------------

    def lint(self) -> tuple[RouteFinding, ...]:
        """Return every reason why moving traffic to green cannot work; empty when the topology is sound."""
        settings, green = self._settings, self._roles.green
        beside = self.service_beside_route(green)
        return check(
            Topology(
                settings=settings,
                green=green,
                ingresses=self._cluster.of_every_namespace(_INGRESS),
                green_service=self._cluster.service(green.namespace, green.service),
                green_endpoints=self._cluster.ready_endpoints(green.namespace, green.service),
                beside=self._cluster.service(settings.namespace, beside),
                beside_name=beside,
            )
        )

    # -- changing --------------------------------------------------------------------------------------------------

    def to_prepare(self) -> str:
        """Name the bridge Service, where it is needed, is not there or not right, and nobody is sent through it."""
        green, settings = self._roles.green, self._settings
        if green.namespace == settings.namespace:
            return ""
        wanted = bridge_manifest(settings.bridge, green)["spec"]["externalName"]
        found = self._cluster.service(settings.namespace, settings.bridge)
        if found is not None and (
            not is_ours(found) or found["spec"].get("externalName") == wanted or self._canary() is not None
        ):
            return ""
        return f"Service {settings.bridge} in namespace {settings.namespace}, leading to {wanted}"

    def prepare(self) -> None:
        """Make the bridge Service beside the public route, where green lives in another namespace (F.2).

        Raises: Refused `bridge-foreign` when a Service of that name leads elsewhere and is not ours.
        """
        green, settings = self._roles.green, self._settings
        if green.namespace == settings.namespace:
            return
        wanted = bridge_manifest(settings.bridge, green)
        found = self._cluster.service(settings.namespace, settings.bridge)
        if found is None:
            self._last_set.set(self._bridge, self._cluster.create(settings.namespace, wanted))
            return
        if found["spec"].get("externalName") == wanted["spec"]["externalName"]:
            self._last_set.adopt(self._bridge, found)
            return
        if is_ours(found):
            operation = {"op": "replace", "path": "/spec/externalName", "value": wanted["spec"]["externalName"]}
            self._last_set.set(self._bridge, self._write(_SERVICE, found, lambda read: guarded(read, operation)))
            return
        raise Refused(
            f"a Service {settings.bridge} already exists in namespace {settings.namespace} and is not the bridge",
            code="bridge-foreign",
            seen=f"type {found['spec'].get('type')}, leads to {found['spec'].get('externalName', 'pods of its own')}",
            guide="deviation F.2",
            do="name another bridge in [routing] of the target",
        )

    @property
    def _bridge(self) -> tuple[str, str, str]:
        return _SERVICE, self._settings.namespace, self._settings.bridge

    @property
    def _primary(self) -> tuple[str, str, str]:
        return _INGRESS, self._settings.namespace, self._settings.primary

    def shift(self, percent: int) -> None:
        """Set the canary's weight, making the canary first where there is none, and read it back (3.1).

        Raises: Refused when green's Service has nobody ready, or somebody else changed the routes; ClauseFailed
        `weight-not-kept` when another weight is read back.
        """
        self._require_percentage(percent)
        self._require_unchanged()
        if percent:
            self._require_ready(self._roles.green)
            self.prepare()
        canary = self._canary()
        if canary is None and percent == 0:
            return
        route = self._route()
        if canary is None:
            service = self.service_beside_route(self._roles.green)
            manifest = canary_manifest(self._settings.canary, route.manifest, self._settings.host, service, percent)
            written = self._cluster.create(self._settings.namespace, manifest)
        elif _has_weight(canary, percent):
            written = canary
        else:
            written = self._write(_INGRESS, canary, lambda read: weight_patch(read, percent))
        found = self.weight()
        if found != percent:
            raise ClauseFailed(
                f"the weight of {self._settings.canary} does not stay at {percent}",
                code="weight-not-kept",
                seen=f"read back {found}",
                do="look for a reconciler (Argo CD, Flux) that reverts the Ingress, and pause it",
            )
        self._last_set.adopt(self._primary, route.manifest)
        self._last_set.set(self._canary_place, written)
        self._keep(percent, self._roles.green)

    def promote(self) -> None:
        """Patch the public route to green's Service, then remove the canary (3.2, F.7).

        Raises: Refused when green's Service has nobody ready, or somebody else changed the routes.
        """
        green = self._roles.green
        self._require_unchanged()
        self._require_ready(green)
        self.prepare()
        self._point_route_at(self.service_beside_route(green))
        self._remove_canary()
        self._keep(100, green)

    def restore(self) -> None:
        """Send every request to blue: the canary to 0 and away, the public route to blue's Service (R.1, F.4).

        Idempotent. Somebody else's change in between is read again and overruled: blue serves is the safe state. What
        cannot be changed keeps nothing else from it.
        Raises: ClauseFailed `route-not-kept`, after all was done, when the route names another Service still or again.
        """
        self._do_all(
            lambda: self._insist(self._silence_canary), lambda: self._insist(self._leave_green), self._remove_canary
        )
        self._keep(0, self._roles.green)
        self._require_named(self.service_beside_route(self._roles.blue))

    def _silence_canary(self) -> None:
        canary = self._canary()
        if canary is not None and (canary["metadata"].get("annotations") or {}).get(WEIGHT) != "0":
            self._write(_INGRESS, canary, lambda read: weight_patch(read, 0))

    def _leave_green(self) -> None:
        """Let every path of the host that names green name blue; of a host's one path, whatever it names."""
        blue, green = (self.service_beside_route(each) for each in (self._roles.blue, self._roles.green))
        written = self._read()
        backends = backends_of(written, self._settings.host)
        operations = [
            {"op": "replace", "path": _service_of_path(rule, path), "value": blue}
            for rule, path, service in backends
            if service == green or (len(backends) == 1 and service != blue)
        ]
        if operations:
            written = self._write(_INGRESS, written, lambda read: guarded(read, *operations))
        self._last_set.set(self._primary, written)

    def _remove_canary(self) -> None:
        self._cluster.delete(*self._canary_place)
        self._last_set.set(self._canary_place, None)

    @property
    def _canary_place(self) -> tuple[str, str, str]:
        return _INGRESS, self._settings.namespace, self._settings.canary

    def _point_route_at(self, service: str) -> None:
        route = self._route()
        written = route.manifest
        if route.backend != service:
            operation = {"op": "replace", "path": route.pointer, "value": service}
            written = self._write(_INGRESS, route.manifest, lambda read: guarded(read, operation))
        self._require_named(service)
        self._last_set.set(self._primary, written)

    def _require_named(self, service: str) -> None:
        found = self.primary_backend()
        if found != service:
            raise ClauseFailed(
                f"the public route does not stay at Service {service}",
                code="route-not-kept",
                seen=f"read back {found}",
                do="look for a reconciler (Argo CD, Flux) that reverts the Ingress, and pause it",
            )


def _service_of_path(rule: int, path: int) -> str:
    """Return the JSON Pointer of the Service's name that a path of an Ingress names."""
    return pointer("spec", "rules", rule, "http", "paths", path, "backend", "service", "name")


def bridge_manifest(name: str, environment: Environment) -> dict[str, Any]:
    """Return a Service that leads from one namespace to a colour's Service in another."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {**MANAGED_BY}},
        "spec": {
            "type": "ExternalName",
            "externalName": f"{environment.service}.{environment.namespace}.svc.cluster.local",
            "ports": [{"name": "http", "port": SERVICE_PORT}],
        },
    }


def canary_manifest(name: str, primary: Mapping[str, Any], host: str, service: str, percent: int) -> dict[str, Any]:
    """Return a canary that matches the public route's host, path, pathType and class, and names another Service."""
    found = backend_of(primary, host)
    if found is None:
        raise CouldNotMeasure(f"the public route has no rule for {host}", code="primary-without-rule")
    rule_index, path_index, _ = found
    rule = primary["spec"]["rules"][rule_index]
    path = rule["http"]["paths"][path_index]
    same = {key: path[key] for key in ("path", "pathType") if key in path}
    port = path["backend"]["service"].get("port") or {"number": SERVICE_PORT}
    spec: dict[str, Any] = {
        "rules": [
            {
                **({"host": rule["host"]} if "host" in rule else {}),
                "http": {"paths": [{**same, "backend": {"service": {"name": service, "port": port}}}]},
            }
        ]
    }
    if primary["spec"].get("ingressClassName"):
        spec["ingressClassName"] = primary["spec"]["ingressClassName"]
    annotations = {CANARY: "true", WEIGHT: str(percent)}
    class_annotation = "kubernetes.io/ingress.class"
    if class_annotation in (primary["metadata"].get("annotations") or {}):
        annotations[class_annotation] = primary["metadata"]["annotations"][class_annotation]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "labels": {**MANAGED_BY}, "annotations": annotations},
        "spec": spec,
    }


def weight_patch(canary: Mapping[str, Any], percent: int) -> list[dict[str, Any]]:
    """Return the JSON Patch that sets a canary's weight, on the very version that was read."""
    annotations = canary["metadata"].get("annotations")
    operations: list[dict[str, Any]] = []
    if annotations is None:
        operations.append({"op": "add", "path": "/metadata/annotations", "value": {}})
    if (annotations or {}).get(CANARY) != "true":
        operations.append({"op": "add", "path": pointer("metadata", "annotations", CANARY), "value": "true"})
    operations.append({"op": "add", "path": pointer("metadata", "annotations", WEIGHT), "value": str(percent)})
    return guarded(canary, *operations)


def _has_weight(canary: Mapping[str, Any], percent: int) -> bool:
    annotations = canary["metadata"].get("annotations") or {}
    return annotations.get(CANARY) == "true" and annotations.get(WEIGHT) == str(percent)


def _weight_of(canary: Mapping[str, Any]) -> int:
    text = (canary["metadata"].get("annotations") or {}).get(WEIGHT, "")
    if not text.isascii() or not text.isdigit() or int(text) > 100:
        raise CouldNotMeasure(
            "the canary's weight is not a percentage",
            code="weight-unreadable",
            seen=f"{WEIGHT}: {text!r}; a controller may read it as 0",
            do="set it to a whole number from 0 to 100, or delete the canary",
        )
    return int(text)
