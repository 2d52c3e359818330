"""An API server in the sandbox of one test, and what happens to real routes in it; run by `unshare`, driven by input.

Each line of input is the name of a scenario below and the kind of routes; the answer is one line, a JSON string: empty
when it went as it should, else the traceback. A thread does what a Gateway's controller does: it reports on routes.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cutover.errors import Refused
from cutover.model import Environment, Roles
from cutover.runbook.attempts import RESUMED
from cutover.runbook.journal import Journal
from cutover.site.cluster import Cluster
from cutover.site.routing import routing_of
from cutover.target import GatewayRoutes, NginxRoutes
from rehearsal.environment import layout, parts, pki, routes
from rehearsal.environment.api import ApiClient
from rehearsal.environment.supervisor import make_network

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutover.site.routing import SiteRouting

READY_BOUND_S = 40.0
GATEWAY_API = "/apis/gateway.networking.k8s.io/v1"
INSIDE = f"{GATEWAY_API}/namespaces/{layout.BLUE_NAMESPACE}"
INGRESSES = f"/apis/networking.k8s.io/v1/namespaces/{layout.BLUE_NAMESPACE}/ingresses"


def colour(name: str, namespace: str) -> Environment:
    """Return a colour as the embedded environment names it."""
    service = f"stellaops-{name}"
    return Environment(name=name, namespace=namespace, release=service, service=service, values=(), cache_url="")


BLUE, GREEN = colour("blue", layout.BLUE_NAMESPACE), colour("green", layout.GREEN_NAMESPACE)


class World:
    """The API server, and fresh routes for each scenario."""

    def __init__(self, root: Path, programs: dict[str, str]) -> None:
        self.place = layout.Place(name="routes", root=root)
        self.programs = programs
        self.interfere: Callable[[], object] | None = None
        self._number = 0

    def begin(self) -> None:
        """Start etcd and the API server, and make what belongs to both kinds."""
        make_network()
        pki.write(self.place)
        scene = parts.Scene(place=self.place, tools=parts.Tools(programs=self.programs), uid_is_root=True)
        for part in parts.control_plane(scene)[:2]:
            with (self.place.root / f"{part.name}.log").open("ab") as log:
                subprocess.Popen(part.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            deadline_s = time.monotonic() + READY_BOUND_S
            while part.ready is not None and not part.ready():
                assert time.monotonic() < deadline_s, part.name
                time.sleep(0.05)
        with ApiClient(self.place) as api:
            for namespace in (layout.BLUE_NAMESPACE, layout.GREEN_NAMESPACE):
                api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        for each in (BLUE, GREEN):
            self.serve(each)

    def serve(self, environment: Environment) -> None:
        """Make a colour's Service and an endpoint of it."""
        inside = f"namespaces/{environment.namespace}"
        with ApiClient(self.place) as api:
            api.create(
                f"/api/v1/{inside}/services",
                {"metadata": {"name": environment.service}, "spec": {"ports": [{"port": 80}]}},
            )
            api.create(
                f"/apis/discovery.k8s.io/v1/{inside}/endpointslices",
                {
                    "metadata": {
                        "name": environment.service,
                        "labels": {"kubernetes.io/service-name": environment.service},
                    },
                    "addressType": "IPv4",
                    "endpoints": [{"addresses": ["10.244.0.9"], "conditions": {"ready": True}}],
                    "ports": [{"port": 8080}],
                },
            )

    def define(self) -> None:
        """Install the Gateway API, and report on its routes from now on."""
        with ApiClient(self.place) as api:
            routes.define(api, Path(self.programs["gateway-api-crds"]))
            routes.create(api, "gateway")
        threading.Thread(target=self._control, daemon=True).start()

    def _control(self) -> None:
        with ApiClient(self.place) as api:
            while True:
                for kind, wanted in (
                    ("gateways", ("Accepted", "Programmed")),
                    ("httproutes", ("Accepted", "ResolvedRefs")),
                ):
                    for item in api.get(f"{INSIDE}/{kind}")["items"]:
                        # A scenario may have deleted the route since it was listed; a controller outlives that.
                        with contextlib.suppress(httpx.HTTPStatusError):
                            self._report(api, kind, item, wanted)
                time.sleep(0.02)

    @staticmethod
    def _report(api: ApiClient, kind: str, item: dict[str, Any], wanted: tuple[str, str]) -> None:
        generation = item["metadata"]["generation"]
        conditions = [
            {
                "type": each,
                "status": "True",
                "reason": each,
                "message": "",
                "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for each in wanted
        ]
        reported: dict[str, Any] = {"conditions": conditions}
        if kind == "httproutes":
            parent = {"parentRef": item["spec"]["parentRefs"][0], "controllerName": "a.test/controller"}
            reported = {"parents": [{**parent, **reported}]}
        status = item.get("status") or {}
        if all(status.get(key) == value for key, value in reported.items()):
            return
        path = f"{INSIDE}/{kind}/{item['metadata']['name']}/status"
        api.patch(path, [{"op": "add", "path": "/status", "value": reported}])

    def routing(self, kind: routes.Kind) -> SiteRouting:
        """Return the routes as a sound site has them, blue serving, through the driver that a run uses."""
        table = dict(routes.target_table(kind))
        settings = (
            NginxRoutes(**table)
            if kind == "nginx"
            else GatewayRoutes(**{"gateway_namespace": layout.BLUE_NAMESPACE, **table})
        )
        cluster = Cluster(
            self.place.kubeconfig,
            context=pki.CONTEXT,
            allowed_contexts=[pki.CONTEXT],
            allowed_namespaces=[layout.BLUE_NAMESPACE, layout.GREEN_NAMESPACE],
        )
        if kind == "nginx":
            for name in (routes.ROUTE, "stellaops-canary"):
                cluster.delete("Ingress", layout.BLUE_NAMESPACE, name)
        elif cluster.delete("HTTPRoute", layout.BLUE_NAMESPACE, routes.ROUTE):
            cluster.delete("ReferenceGrant", layout.GREEN_NAMESPACE, f"{routes.ROUTE}-to-{GREEN.service}")
        with ApiClient(self.place) as api:
            routes.create(api, kind)
        self._number += 1
        public: Any = None
        return routing_of(
            settings,
            cluster=_Watched(cluster, self),  # type: ignore[arg-type]
            public=public,
            roles=Roles(blue=BLUE, green=GREEN),
            journal=Journal(self.place.root / f"journal-{self._number}.jsonl"),
        )

    @staticmethod
    def process(routing: SiteRouting) -> SiteRouting:
        """Return the same routes as another process of the same run has them."""
        assert routing._journal is not None
        routing._journal.write(RESUMED, procedure="resume")
        return routing_of(
            routing._settings,
            cluster=routing._cluster,
            public=routing._public,
            roles=Roles(blue=BLUE, green=GREEN),
            journal=routing._journal,
        )

    def edit(self, kind: routes.Kind, *operations: dict[str, Any]) -> None:
        """Patch what holds the weights, as somebody else would."""
        path = f"{INSIDE}/httproutes/{routes.ROUTE}" if kind == "gateway" else f"{INGRESSES}/stellaops-canary"
        with ApiClient(self.place) as api:
            api.patch(path, list(operations))

    def weigh(self, kind: routes.Kind, percent: int) -> None:
        """Set another weight, as somebody else would."""
        if kind == "nginx":
            path = "/metadata/annotations/nginx.ingress.kubernetes.io~1canary-weight"
            self.edit(kind, {"op": "replace", "path": path, "value": str(percent)})
        else:
            base = "/spec/rules/0/backendRefs"
            self.edit(
                kind,
                {"op": "replace", "path": f"{base}/0/weight", "value": 100 - percent},
                {"op": "replace", "path": f"{base}/1/weight", "value": percent},
            )


class _Watched:
    """The driver, with somebody else's act put before its next patch."""

    def __init__(self, cluster: Cluster, world: World) -> None:
        self._cluster = cluster
        self._world = world

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._cluster, name)

    def patch(self, *arguments: Any) -> Any:  # noqa: ANN401
        act, self._world.interfere = self._world.interfere, None
        if act is not None:
            act()
        return self._cluster.patch(*arguments)


# -- scenarios ---------------------------------------------------------------------------------------------------------


def all_the_way(world: World, kind: routes.Kind) -> None:
    """Set every weight, promote, and go back: what is read is what was set, and nothing of it is drift."""
    routing = world.routing(kind)
    assert "absent" in " ".join(finding.code for finding in routing.lint()) or kind == "nginx"
    assert routing.to_prepare() or kind == "nginx"
    routing.prepare()
    wait_until_sound(routing)
    assert not routing.is_split()
    for percent in (10, 25, 50, 100):
        routing.shift(percent)
        assert (routing.weight(), routing.is_split(), routing.drift(), routing.lint()) == (percent, True, (), ())
    routing.promote()
    assert routing.primary_backend() == routing.service_beside_route(GREEN)
    assert not routing.is_split()
    assert routing.drift() == ()
    routing.restore()
    assert routing.primary_backend() == routing.service_beside_route(BLUE)
    assert (routing.is_split(), routing.weight(), routing.drift()) == (False, 0, ())


def at_once(world: World, kind: routes.Kind) -> None:
    """Promote without a weight before, and go back, twice."""
    routing = world.routing(kind)
    routing.promote()
    assert routing.primary_backend() == routing.service_beside_route(GREEN)
    assert routing.drift() == ()
    routing.restore()
    routing.restore()
    assert routing.primary_backend() == routing.service_beside_route(BLUE)


def somebody_else(world: World, kind: routes.Kind) -> None:
    """Change a weight between reading and writing: it is refused by the API server's own word, and drift afterwards."""
    routing = world.routing(kind)
    routing.shift(10)
    world.interfere = lambda: world.weigh(kind, 90)
    with pytest.raises(Refused, match="changed by someone else"):
        routing.shift(25)
    assert routing.weight() == 90
    assert [finding.code for finding in routing.drift()] == ["route-changed"]
    assert "90" in routing.drift()[0].message
    world.interfere = lambda: world.weigh(kind, 80)
    routing.restore()
    assert routing.primary_backend() == routing.service_beside_route(BLUE)
    assert not routing.is_split()


def a_label_in_between(world: World, kind: routes.Kind) -> None:
    """Change what decides nothing: that makes another version of the object, and is no hindrance."""
    routing = world.routing(kind)
    routing.shift(10)
    world.interfere = lambda: world.edit(kind, {"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}})
    routing.shift(25)
    assert (routing.weight(), routing.drift()) == (25, ())


def recreated(world: World, kind: routes.Kind) -> None:
    """Make an object anew with the same content: it is told from the one that was set."""
    routing = world.routing(kind)
    routing.shift(10)
    collection = f"{INSIDE}/httproutes" if kind == "gateway" else INGRESSES
    name = routes.ROUTE if kind == "gateway" else "stellaops-canary"
    with ApiClient(world.place) as api:
        found = api.get(f"{collection}/{name}")
        place = ("HTTPRoute" if kind == "gateway" else "Ingress", layout.BLUE_NAMESPACE, name)
        routing._cluster.delete(*place)
        assert "route-removed" in [finding.code for finding in routing.drift()]
        kept = {key: found["metadata"][key] for key in ("name", "annotations", "labels") if key in found["metadata"]}
        api.create(
            collection,
            {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": kept, "spec": found["spec"]},
        )
    assert [finding.code for finding in routing.drift()] == ["route-recreated"]


def gone_on_with(world: World, kind: routes.Kind) -> None:
    """Do again what a process before did: the API server keeps the very objects that it had."""
    routing = world.routing(kind)
    path = f"{INSIDE}/httproutes/{routes.ROUTE}" if kind == "gateway" else f"{INGRESSES}/stellaops-canary"
    assert not routing.stands_at(10)
    routing.shift(10)
    with ApiClient(world.place) as api:
        before = api.get(path)["metadata"]["generation"]
        again = world.process(routing)
        assert again.stands_at(10)
        assert not again.stands_at(25)
        again.shift(10)
        assert api.get(path)["metadata"]["generation"] == before
    assert (again.weight(), again.drift()) == (10, ())
    assert not again.is_promoted()
    again.promote()
    last = world.process(again)
    assert last.is_promoted()
    last.promote()
    assert last.drift() == ()
    last.restore()
    assert not last.is_promoted()


def undefined(world: World, _kind: routes.Kind) -> None:
    """Look for routes where the Gateway API is unknown: they are said to be absent, it is not stumbled over."""
    table = {"gateway_namespace": layout.BLUE_NAMESPACE, **routes.target_table("gateway")}
    cluster = Cluster(
        world.place.kubeconfig,
        context=pki.CONTEXT,
        allowed_contexts=[pki.CONTEXT],
        allowed_namespaces=[layout.BLUE_NAMESPACE, layout.GREEN_NAMESPACE],
    )
    public: Any = None
    routing = routing_of(GatewayRoutes(**table), cluster=cluster, public=public, roles=Roles(blue=BLUE, green=GREEN))
    codes = [finding.code for finding in routing.lint()]
    assert codes == ["route-absent", "gateway-absent", "grant-absent"], codes


def define(world: World, _kind: routes.Kind) -> None:
    """Install the Gateway API."""
    world.define()


SCENARIOS = {
    each.__name__: each
    for each in (all_the_way, at_once, somebody_else, a_label_in_between, recreated, gone_on_with, undefined, define)
}


def wait_until_sound(routing: SiteRouting) -> None:
    """Wait until the controller has reported and the lint finds nothing."""
    deadline_s = time.monotonic() + READY_BOUND_S
    while findings := routing.lint():
        assert time.monotonic() < deadline_s, findings
        time.sleep(0.05)


def main() -> None:
    """Begin, then answer until the input ends."""
    world = World(Path(sys.argv[1]), json.loads(sys.argv[2]))
    world.begin()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        scenario, kind = line.split()
        try:
            SCENARIOS[scenario](world, "gateway" if kind == "gateway" else "nginx")
            answer = ""
        except Exception:  # noqa: BLE001 (all of it is the test's to see)
            answer = traceback.format_exc()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
