"""What leads to a colour, which colour a route names, what a look at the routes reports and makes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from click.testing import CliRunner

from cutover import site as sites
from cutover.cli.group import cli
from cutover.errors import CouldNotMeasure, Refused
from cutover.model import Roles
from cutover.procedures import decommission, routes
from cutover.site.routing import routing_of

sys.path.insert(0, str(Path(__file__).parents[1] / "site"))

from memory_cluster import MemoryCluster
from route_objects import (
    BLUE,
    GATEWAY,
    GREEN,
    NGINX,
    backend,
    canary,
    gateway,
    grant,
    http_route,
    ingress,
    service,
    services,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

BRIDGE = service("to-green", "prod", externalName="stellaops-green.green.svc.cluster.local")

OURS_ELSEWHERE = service("to-green", "prod", externalName="x.y") | {
    "metadata": {"name": "to-green", "namespace": "prod", "labels": {"app.kubernetes.io/managed-by": "cutover"}}
}


class MemorySite:
    """A site of routes alone."""

    def __init__(self, kind: str) -> None:
        self.cluster = MemoryCluster()
        services(self.cluster)
        self.cluster.put(gateway())
        settings = GATEWAY if kind == "gateway" else NGINX
        memory: Any = self.cluster
        public: Any = None
        colours = {"blue": BLUE, "green": GREEN}
        default = Roles(blue=BLUE, green=GREEN)
        self.routing = routing_of(settings, cluster=memory, public=public, roles=default)
        self.target = SimpleNamespace(
            name="memory",
            routing=settings,
            colours=colours,
            default_roles=lambda: default,
            roles_when_serving=lambda name: default if name == "blue" else Roles(blue=GREEN, green=BLUE),
        )

    def assign_roles(self, roles: Roles) -> None:
        self.routing.assign_roles(roles)

    def close(self) -> None:
        """Close nothing."""


def site_of(kind: str, *objects: Any) -> Site:  # noqa: ANN401
    """Return a site with these objects."""
    site = MemorySite(kind)
    for each in objects:
        site.cluster.put(each)
    return cast("Site", site)


LEADS: list[tuple[str, list[Any], list[str], list[str]]] = [
    ("an Ingress", [ingress()], ["Ingress main in namespace prod"], []),
    ("an Ingress by the bridge", [ingress(backend="to-green"), BRIDGE], [], ["Ingress main in namespace prod"]),
    ("a bridge that nobody names", [BRIDGE], [], []),
    (
        "a second Service over the same pods",
        [
            service("stellaops-blue", "prod", selector={"app": "web", "release": "blue"}),
            service("preview", "prod", selector={"app": "web", "release": "blue", "track": "next"}),
            ingress("preview", backend="preview"),
        ],
        ["Ingress preview in namespace prod"],
        [],
    ),
    (
        "a Service over other pods",
        [
            service("stellaops-blue", "prod", selector={"app": "web", "release": "blue"}),
            service("cache", "prod", selector={"app": "cache", "release": "blue"}),
            service("outside", "prod", selector={}),
            ingress("cache", backend="cache"),
            ingress("outside", backend="outside"),
        ],
        [],
        [],
    ),
    (
        "a default backend",
        [{**ingress("all"), "spec": {"defaultBackend": {"service": {"name": "stellaops-blue"}}}}],
        ["Ingress all in namespace prod"],
        [],
    ),
    ("a Service of that name elsewhere", [ingress(namespace="green")], [], []),
    (
        "an HTTPRoute, even with weight 0",
        [http_route(backends=[backend(weight=0), backend("stellaops-green", namespace="green", weight=1)])],
        ["HTTPRoute main in namespace prod"],
        ["HTTPRoute main in namespace prod"],
    ),
    (
        "a mirror",
        [
            http_route(
                backends=[],
                rule={"filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": backend()}}]},
            )
        ],
        ["HTTPRoute main in namespace prod"],
        [],
    ),
]


@pytest.mark.parametrize(("objects", "blue", "green"), [row[1:] for row in LEADS], ids=[row[0] for row in LEADS])
def test_every_route_that_leads_to_a_colour_is_named(objects: list[Any], blue: list[str], green: list[str]) -> None:
    site = site_of("nginx", *objects)
    assert (list(routes.routes_to(site, BLUE)), list(routes.routes_to(site, GREEN))) == (blue, green)


@pytest.mark.parametrize("route", [ingress("left"), http_route("left")])
def test_blue_is_not_removed_while_a_route_leads_to_it(upgrade: Upgrade, route: Any) -> None:  # noqa: ANN401
    blue = upgrade.roles.blue
    route["metadata"]["namespace"] = blue.namespace
    site = site_of("nginx", route)
    with pytest.raises(Refused) as caught:
        decommission.uninstall_blue(site, upgrade)
    assert caught.value.code == "blue-still-routed"
    assert "left in namespace" in caught.value.seen
    assert upgrade.journal.last("intent") is None


@pytest.mark.parametrize(
    ("kind", "objects", "blue"),
    [
        ("nginx", [ingress()], "blue"),
        ("nginx", [ingress(backend="to-green"), BRIDGE], "green"),
        ("nginx", [], "blue"),
        ("gateway", [http_route()], "blue"),
        ("gateway", [http_route(backends=[backend("stellaops-green", namespace="green")])], "green"),
        ("gateway", [http_route(backends=[backend(), backend("stellaops-green", namespace="green")])], "blue"),
        ("gateway", [], "blue"),
    ],
)
def test_who_serves_by_the_route(kind: str, objects: list[Any], blue: str) -> None:
    assert routes.roles_by_route(site_of(kind, *objects)).blue.name == blue


LOOKS: list[tuple[str, list[Any], bool, str, bool, list[str]]] = [
    ("nginx", [ingress()], False, "Service to-green", False, ["bridge-absent"]),
    ("nginx", [ingress()], True, "Service to-green", True, []),
    ("nginx", [ingress(), service("to-green", "prod")], True, "", False, ["bridge-elsewhere"]),
    ("nginx", [ingress(), OURS_ELSEWHERE], True, "Service to-green", True, []),
    ("nginx", [ingress(), OURS_ELSEWHERE, canary()], True, "", False, ["bridge-elsewhere"]),
    ("gateway", [http_route()], False, "ReferenceGrant", False, ["grant-absent"]),
    ("gateway", [http_route()], True, "ReferenceGrant", True, []),
    ("gateway", [http_route(), grant("main-to-stellaops-green", to="o")], True, "", False, ["grant-absent"]),
]


@pytest.mark.parametrize(("kind", "objects", "fix", "to_make", "made", "codes"), LOOKS)
def test_a_look_makes_only_what_is_safe(
    *, kind: str, objects: list[Any], fix: bool, to_make: str, made: bool, codes: list[str]
) -> None:
    report = routes.look(site_of(kind, *objects), fix=fix)
    assert report.to_make.startswith(to_make)
    assert bool(report.to_make) is bool(to_make)
    assert (report.made, [finding.code for finding in report.findings]) == (made, codes)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, upgrade: Upgrade) -> Callable[..., Any]:
    """Return what runs `lint-routing` on a site of objects."""

    def do(site: Site, *options: str) -> Any:  # noqa: ANN401
        monkeypatch.setattr(sites, "connect", lambda _: site)
        return CliRunner().invoke(cli, ["lint-routing", "--target", str(upgrade.target.path), *options])

    return do


@pytest.mark.parametrize(
    ("options", "code", "said", "left"),
    [
        ((), 1, ("grant-absent", "--fix", "1 finding"), False),
        (("--fix", "--dry-run"), 1, ("to make ReferenceGrant", "grant-absent"), False),
        (("--fix",), 0, ("made    ReferenceGrant", "sound: nothing was found"), True),
        (("--json",), 1, ('"sound": false', '"code": "grant-absent"'), False),
        (("--dry-run",), 2, ("--dry-run is about --fix",), False),
    ],
)
def test_the_command(
    *, run: Callable[..., Any], options: tuple[str, ...], code: int, said: tuple[str, ...], left: bool
) -> None:
    site = site_of("gateway", http_route())
    result = run(site, *options)
    assert result.exit_code == code, result.output
    assert all(words in result.output for words in said), result.output
    assert (site.cluster.get("ReferenceGrant", "green", "main-to-stellaops-green") is not None) is left


def test_routes_that_cannot_be_read_are_no_verdict(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    site = site_of("gateway", http_route())

    def silent(*_: object) -> None:
        raise CouldNotMeasure("the API server does not answer", code="kubernetes-unreachable")

    monkeypatch.setattr(site.cluster, "get", silent)
    result = run(site)
    assert result.exit_code == 3
    assert "does not answer" in result.output
