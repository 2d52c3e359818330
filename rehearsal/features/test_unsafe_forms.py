# ruff: noqa: INP001, D103  # a folder of pytest, as features and steps are
"""The steps of the unsafe forms: the guide's are done with kubectl as the guide has it, the runbook's by the engine.

They reach a site as any run does, through its target file. Invariant: after each scenario the routes and Services are
what they were before it, and blue serves every request.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest_bdd import given, parsers, scenarios, then, when

from cutover import waiting
from cutover.errors import Refused
from cutover.site import connect
from cutover.target import NginxRoutes, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.model import Environment
    from cutover.runbook.ports import Served
    from cutover.site import Site

scenarios("unsafe_forms.feature")

SAMPLE = 40
LIVE_BOUND_S = 15.0
"""So long a controller may take to follow a change."""
STAYS_S = 4.0
"""What is to stay as it is must do so for twice the time in which a controller follows."""
_CANARY = "nginx.ingress.kubernetes.io/canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """The operator's kubectl, at the target's cluster."""

    target: Target

    def __call__(self, *arguments: str, given: object = None) -> str:
        """Run it, with a manifest on its input where there is one; return its output."""
        where = self.target.kubernetes
        command = ["kubectl", "--kubeconfig", str(where.kubeconfig), "--context", where.context, *arguments]
        text = json.dumps(given) if given is not None else None
        return subprocess.run(command, check=True, capture_output=True, text=True, input=text).stdout

    def found(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """Return an object."""
        document: dict[str, Any] = json.loads(self("get", kind, name, "-n", namespace, "-o", "json"))
        return document

    def replace(self, kind: str, namespace: str, name: str, path: str, value: object) -> None:
        """Patch one field."""
        patch = json.dumps([{"op": "replace", "path": path, "value": value}])
        self("patch", kind, name, "-n", namespace, "--type", "json", "-p", patch)


@pytest.fixture(scope="module")
def target(request: pytest.FixtureRequest) -> Target:
    """Return the target, which is disposable: otherwise this module would not be here."""
    found = Target.load(Path(request.config.invocation_params.dir, request.config.getoption("--target")))
    assert found.disposable
    return found


@pytest.fixture
def site(target: Target) -> Iterator[Site]:
    """Connect to the site anew: what a scenario puts back by hand is another's change to the engine that saw it."""
    connected = connect(target)
    yield connected
    connected.close()


@pytest.fixture(scope="module")
def kubectl(target: Target) -> Kubectl:
    """Return the operator's kubectl."""
    return Kubectl(target=target)


@pytest.fixture
def green(target: Target) -> Environment:
    """Return green."""
    return target.default_roles().green


@pytest.fixture(autouse=True)
def _only_where_it_applies(request: pytest.FixtureRequest, target: Target) -> None:
    ways = {mark.name for mark in request.node.iter_markers()} & {"nginx", "gateway"}
    if ways and target.routing.kind not in ways:
        pytest.skip("the guide's form is an Ingress; with an HTTPRoute there is nothing of the kind to get wrong")


@pytest.fixture(autouse=True)
def _as_it_was(_only_where_it_applies: None, site: Site, target: Target, kubectl: Kubectl) -> Iterator[None]:
    """Put everything back with kubectl alone, and demand that it is what it was."""
    green = target.default_roles().green
    before = _objects(kubectl, target)
    yield
    for kind, namespace, name in _objects(kubectl, target).keys() - before.keys():
        kubectl("delete", kind, name, "-n", namespace, "--wait=true")
    for (kind, namespace, name), wanted in before.items():
        found = kubectl.found(kind, namespace, name)
        if found["spec"] != wanted:
            kubectl.replace(kind, namespace, name, "/spec", wanted)
    waiting.wait_for(
        "green to be ready again",
        lambda: site.cluster.ready_endpoints(green.namespace, green.service),
        until=bool,
        bound_s=LIVE_BOUND_S,
    )
    _wait_for(site, "blue to serve every request again", "blue")
    assert _objects(kubectl, target) == before


def _objects(kubectl: Kubectl, target: Target) -> dict[tuple[str, str, str], Any]:
    """Return the specs of everything that routes in both colours' namespaces."""
    kinds = "ingress,service" if isinstance(target.routing, NginxRoutes) else "httproute,referencegrant,service"
    found: dict[tuple[str, str, str], Any] = {}
    for namespace in sorted(target.kubernetes.allowed_namespaces):
        for item in json.loads(kubectl("get", kinds, "-n", namespace, "-o", "json"))["items"]:
            found[item["kind"], namespace, item["metadata"]["name"]] = item["spec"]
    return found


def _wait_for(site: Site, what: str, colour: str) -> None:
    waiting.wait_for(
        what,
        lambda: site.routing.who_serves(SAMPLE),
        until=lambda served: served.only(colour),
        bound_s=LIVE_BOUND_S,
    )


# -- what is given -----------------------------------------------------------------------------------------------------


@given("green is ready beside blue, which serves every request")
def green_beside_blue(site: Site, green: Environment) -> None:
    assert site.cluster.ready_endpoints(green.namespace, green.service) > 0
    assert site.routing.who_serves(SAMPLE).only("blue")


@given("the runbook has moved half of the requests to green")
def half_moved(site: Site) -> None:
    site.routing.prepare()
    site.routing.shift(50)
    waiting.wait_for(
        "both colours to serve",
        lambda: site.routing.who_serves(SAMPLE),
        until=lambda served: served.failed == 0 and len(served.by_colour) > 1,
        bound_s=LIVE_BOUND_S,
    )


@given("green's Service has nobody behind it")
def nobody_behind(site: Site, kubectl: Kubectl, green: Environment) -> None:
    kubectl.replace("service", green.namespace, green.service, "/spec/selector", {"app": "nobody"})
    waiting.wait_for(
        "green's Service to have no endpoint",
        lambda: site.cluster.ready_endpoints(green.namespace, green.service),
        until=lambda ready: ready == 0,
        bound_s=LIVE_BOUND_S,
    )


# -- the guide's forms -------------------------------------------------------------------------------------------------


@when(parsers.parse("the guide's canary is made in green's namespace with weight {percent:d}"))
def guides_canary(kubectl: Kubectl, target: Target, green: Environment, percent: int) -> None:
    """Guide 3.1: the canary has no class, and lives where green does."""
    backend = {"service": {"name": green.service, "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    manifest = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "stellaops-canary",
            "annotations": {_CANARY: "true", f"{_CANARY}-weight": str(percent)},
        },
        "spec": {"rules": [{"host": target.routing.host, "http": {"paths": [path]}}]},
    }
    kubectl("apply", "-n", green.namespace, "-f", "-", given=manifest)


@when("the public route is patched to green's Service as the guide does")
def guides_switch(kubectl: Kubectl, target: Target, green: Environment) -> None:
    """Guide 3.2: the route names a Service of another namespace as if it were its own."""
    _point_route(kubectl, target, green.service)


@when("the public route alone is patched to blue as the guide's rollback does")
def guides_rollback(kubectl: Kubectl, target: Target) -> None:
    """Guide, rollback: one patch of the main Ingress."""
    _point_route(kubectl, target, target.default_roles().blue.service)


def _point_route(kubectl: Kubectl, target: Target, service: str) -> None:
    kind, _, name = target.routing.public_route.partition(" ")
    place = "http/paths/0/backend/service" if isinstance(target.routing, NginxRoutes) else "backendRefs/0"
    kubectl.replace(kind.lower(), target.routing.namespace, name, f"/spec/rules/0/{place}/name", service)


# -- the runbook's -----------------------------------------------------------------------------------------------------


@when(parsers.parse("the runbook sets the weight to {percent:d} percent"))
def runbooks_weight(site: Site, percent: int) -> None:
    site.routing.prepare()
    site.routing.shift(percent)


@when("the runbook switches the public route to green")
def runbooks_switch(site: Site) -> None:
    site.routing.promote()


@when("the runbook is asked to switch the public route to green", target_fixture="refusal")
def runbook_asked(site: Site) -> Refused:
    with pytest.raises(Refused) as raised:
        site.routing.promote()
    return raised.value


@when("the runbook restores blue")
def runbooks_rollback(site: Site) -> None:
    site.routing.restore()


# -- what is seen ------------------------------------------------------------------------------------------------------


@then("the runbook refuses and changes nothing")
def refused(refusal: Refused) -> None:
    assert (refusal.code, refusal.state) == ("service-without-endpoints", "nothing was changed")


@then(parsers.parse("every sampled request is served by {colour:w}"))
def served_by(site: Site, colour: str) -> None:
    _wait_for(site, f"every request to be served by {colour}", colour)
    assert all(served.only(colour) for served in _stays(site))


@then("no sampled request is served")
def served_by_nobody(site: Site) -> None:
    found = waiting.wait_for(
        "every request to fail",
        lambda: site.routing.who_serves(SAMPLE),
        until=lambda served: served.failed == served.total,
        bound_s=LIVE_BOUND_S,
    )
    assert any("status 50" in problem for problem in found.problems), found.problems


@then("part of the sampled requests is served by green")
def part_by_green(site: Site) -> None:
    seen = _stays(site)
    assert all(served.failed == 0 and served.by_colour.get("green", 0) > 0 for served in seen)
    assert any(served.by_colour.get("blue", 0) > 0 for served in seen)


def _stays(site: Site) -> list[Served]:
    return waiting.hold(
        "who serves to stay as it is", lambda: site.routing.who_serves(SAMPLE), duration_s=STAYS_S, interval_s=0.5
    )
