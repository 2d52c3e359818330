"""Every rule about routes: what breaks it, and what comes close and does not."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cutover.site.routing as package
from cutover.site.routing import routing_of

sys.path.insert(0, str(Path(__file__).parent))

from memory_cluster import MemoryCluster
from route_objects import (
    CANARY,
    GATEWAY,
    NGINX,
    ROLES,
    WEIGHT,
    backend,
    canary,
    condition,
    gateway,
    grant,
    http_route,
    ingress,
    service,
    services,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutover.site.routing import SiteRouting

    Change = Callable[[MemoryCluster], object]

AFFINITY = "nginx.ingress.kubernetes.io/affinity"
BY = "nginx.ingress.kubernetes.io/canary-by"
TOTAL = "nginx.ingress.kubernetes.io/canary-weight-total"


def put(*manifests: Any) -> Change:  # noqa: ANN401
    """Return the change that puts objects there."""
    return lambda cluster: [cluster.put(manifest) for manifest in manifests]


def gone(kind: str, namespace: str, name: str) -> Change:
    """Return the change that takes an object away."""
    return lambda cluster: cluster.delete(kind, namespace, name)


NGINX_RULES: list[tuple[str, list[Change], list[Change]]] = [
    ("primary-absent", [gone("Ingress", "prod", "main")], []),
    (
        "primary-without-rule",
        [
            put(ingress(host="other.example")),
            put(ingress() | {"spec": {"ingressClassName": "nginx", "rules": ingress()["spec"]["rules"] * 2}}),
        ],
        [put(ingress(host=None))],
    ),
    ("primary-is-canary", [put(ingress(annotations={CANARY: "true", WEIGHT: "0"}))], [put(canary())]),
    (
        "primary-class",
        [put(ingress(cls="traefik")), put(ingress(cls=None))],
        [put(ingress(cls=None, annotations={"kubernetes.io/ingress.class": "nginx"}))],
    ),
    ("service-absent", [gone("Service", "green", "stellaops-green")], [put(service("another", "green"))]),
    ("service-without-endpoints", [lambda c: c.endpoints.pop(("green", "stellaops-green"))], []),
    ("bridge-absent", [gone("Service", "prod", "to-green")], []),
    (
        "bridge-elsewhere",
        [put(service("to-green", "prod", externalName="x.example")), put(service("to-green", "prod"))],
        [put(service("to-green", "prod", externalName="stellaops-green.green.svc.cluster.local"))],
    ),
    (
        "canary-elsewhere",
        [put(ingress("preview", namespace="green", annotations={CANARY: "true", WEIGHT: "10"}))],
        [put(ingress("preview", namespace="green", host="o.example", annotations={CANARY: "true", WEIGHT: "10"}))],
    ),
    (
        "canary-second",
        [put(ingress("other", backend="to-green", annotations={CANARY: "true", WEIGHT: "10"}))],
        [put(ingress("other", host="o.example", annotations={CANARY: "true", WEIGHT: "10"}))],
    ),
    ("canary-unmarked", [put(canary(marks={CANARY: "false"}))], [put(canary())]),
    ("canary-backend", [put(canary(backend="stellaops-blue")), put(canary(backend="x"))], [put(canary())]),
    (
        "canary-path",
        [put(canary(path="/api")), put(canary(path_type="Exact")), put(canary(host="other.example"))],
        [put(ingress(path="/api"), canary(path="/api"))],
    ),
    ("canary-class", [put(canary(cls=None)), put(canary(cls="traefik"))], [put(canary())]),
    (
        "weight-unreadable",
        [put(canary(marks={WEIGHT: text})) for text in ("", "ten", "101", "-1", "1.5", "²")],
        [put(canary(marks={WEIGHT: text})) for text in ("0", "100")],
    ),
    ("weight-total", [put(canary(marks={TOTAL: "1000"}))], [put(canary(marks={TOTAL: "100"}))]),
    (
        "canary-by-rule",
        [put(canary(marks={f"{BY}-header": "X-Go"})), put(canary(marks={f"{BY}-cookie": "go"}))],
        [put(canary())],
    ),
    (
        "primary-recreated",
        [put(canary(created="2025-01-01T00:00:00Z"))],
        [put(canary()), put(canary(created="2027-01-01T00:00:00Z"))],
    ),
    (
        "sticky-sessions",
        [
            put(ingress(annotations={AFFINITY: "cookie"})),
            put(ingress(annotations={AFFINITY: "cookie", f"{AFFINITY}-canary-behavior": "sticky"})),
        ],
        [put(ingress(annotations={AFFINITY: "cookie", f"{AFFINITY}-canary-behavior": "legacy"}))],
    ),
    (
        "path-taken",
        [
            put(ingress("other", path="/api")),
            put(ingress("other", path="/api", path_type="Exact", namespace="green")),
            put(ingress("other")),
            put(ingress(path="/api"), ingress("other", path="/api/v1")),
        ],
        [
            put(ingress("other", path="/api", cls="traefik")),
            put(ingress("other", path="/api", host="o.example")),
            put(ingress(path="/api"), ingress("other", path="/")),
            put(ingress(path="/api"), ingress("other", path="/apis")),
            put(ingress(path="/api", path_type="Exact"), ingress("other", path="/api")),
        ],
    ),
    (
        "preview-on-green",
        [
            put(ingress("preview", namespace="green", backend="stellaops-green", host="p.example")),
            put(ingress("preview", backend="to-green", host="p.example")),
        ],
        [
            put(ingress("preview", namespace="green", backend="preview", host="p.example")),
            put(ingress("preview", namespace="prod", backend="stellaops-green", host="p.example")),
        ],
    ),
    (
        "reconciled",
        [
            put(ingress(labels={"argocd.argoproj.io/instance": "prod"})),
            put(ingress(annotations={"argocd.argoproj.io/tracking-id": "prod"})),
            put(ingress(labels={"kustomize.toolkit.fluxcd.io/name": "prod"})),
            put(ingress(labels={"helm.toolkit.fluxcd.io/name": "prod"})),
        ],
        [put(ingress(labels={"app.kubernetes.io/managed-by": "Helm"}))],
    ),
]

BOTH = [backend(weight=90), backend("stellaops-green", namespace="green", weight=10)]
GATEWAY_RULES: list[tuple[str, list[Change], list[Change]]] = [
    ("route-absent", [gone("HTTPRoute", "prod", "main")], []),
    (
        "route-without-host",
        [put(http_route(hosts=["other.example"])), put(http_route(hosts=["*.public.example"]))],
        [
            put(http_route(hosts=["*.example"])),
            put(http_route(hosts=[])),
            put(http_route(hosts=["a", "public.example"])),
        ],
    ),
    (
        "route-shape",
        [
            put(http_route(rules=[])),
            put(http_route(rules=http_route()["spec"]["rules"] * 2)),
            put(http_route(rule={"matches": [{"path": {"value": "/a"}}, {"path": {"value": "/b"}}]})),
        ],
        [put(http_route(rule={"matches": []}))],
    ),
    (
        "route-parent",
        [
            put(http_route(parents=[])),
            put(http_route(parents=[{"name": "other"}])),
            put(http_route(parents=[{"name": "public", "namespace": "green"}])),
        ],
        [put(http_route(parents=[{"name": "other"}, {"name": "public", "namespace": "prod"}]))],
    ),
    ("gateway-absent", [gone("Gateway", "prod", "public")], []),
    (
        "gateway-not-programmed",
        [
            put(gateway(conditions=[])),
            put(gateway(conditions=[condition("Accepted")])),
            put(gateway(conditions=[condition("Accepted"), condition("Programmed", status="False")])),
            put(gateway(generation=2)),
        ],
        [put(gateway(generation=2, conditions=[condition(each, generation=2) for each in ("Accepted", "Programmed")]))],
    ),
    (
        "listener-refuses",
        [
            put(http_route(parents=[{"name": "public", "sectionName": "other"}])),
            put(http_route(parents=[{"name": "public", "port": 443}])),
            put(gateway(hostname="other.example")),
            put(gateway(protocol="TCP")),
            put(gateway(allowedRoutes={"namespaces": {"from": "None"}})),
            put(gateway(allowedRoutes={"kinds": [{"kind": "GRPCRoute"}]})),
        ],
        [
            put(http_route(parents=[{"name": "public", "sectionName": "web", "port": 80}])),
            put(gateway(hostname="*.example")),
            put(gateway(allowedRoutes={"namespaces": {"from": "All"}})),
            put(gateway(allowedRoutes={"namespaces": {"from": "Selector"}})),
            put(gateway(allowedRoutes={"kinds": [{"kind": "HTTPRoute"}]})),
        ],
    ),
    (
        "route-not-accepted",
        [
            put(http_route(conditions=[])),
            put(http_route(conditions=[condition("Accepted", status="False"), condition("ResolvedRefs")])),
            put(http_route(conditions=[condition("Accepted"), condition("ResolvedRefs", status="False")])),
            put(http_route(generation=2)),
            put({**http_route(), "status": {}}),
        ],
        [put(http_route())],
    ),
    ("service-absent", [gone("Service", "green", "stellaops-green")], []),
    ("service-without-endpoints", [lambda c: c.endpoints.pop(("green", "stellaops-green"))], []),
    (
        "grant-absent",
        [
            gone("ReferenceGrant", "green", "main-to-stellaops-green"),
            lambda c: (gone("ReferenceGrant", "green", "main-to-stellaops-green")(c), c.put(grant(to="other"))),
            lambda c: (gone("ReferenceGrant", "green", "main-to-stellaops-green")(c), c.put(grant(namespace="dev"))),
            lambda c: (gone("ReferenceGrant", "green", "main-to-stellaops-green")(c), c.put(grant(kind="TCPRoute"))),
        ],
        [
            lambda c: (gone("ReferenceGrant", "green", "main-to-stellaops-green")(c), c.put(grant())),
            lambda c: (
                gone("ReferenceGrant", "green", "main-to-stellaops-green")(c),
                c.put(grant(to="stellaops-green")),
            ),
        ],
    ),
    (
        "backend-foreign",
        [
            put(http_route(backends=[backend(), backend("third")])),
            put(http_route(backends=[backend(), backend("stellaops-green")])),
            put(http_route(backends=[backend(kind="ServiceImport", group="multicluster.x-k8s.io")])),
        ],
        [put(http_route(backends=BOTH))],
    ),
    (
        "weights-zero",
        [put(http_route(backends=[backend(weight=0)])), put(http_route(backends=[]))],
        [put(http_route(backends=[{"name": "stellaops-blue", "port": 80}]))],
    ),
    ("sticky-sessions", [put(http_route(rule={"sessionPersistence": {"sessionName": "s"}}))], []),
    (
        "backend-filters",
        [put(http_route(backends=[backend(filters=[{"type": "RequestHeaderModifier"}])]))],
        [put(http_route(rule={"filters": [{"type": "RequestHeaderModifier"}]}))],
    ),
    ("answered-by-gateway", [put(http_route(rule={"filters": [{"type": "RequestRedirect"}]}))], []),
    (
        "match-before-weight",
        [
            put(http_route(match={"headers": [{"name": "X-Go", "value": "1"}]})),
            put(http_route(match={"queryParams": [{"name": "go", "value": "1"}]})),
            put(http_route(match={"method": "GET"})),
        ],
        [put(http_route(match={"path": {"type": "PathPrefix", "value": "/api"}}))],
    ),
    (
        "route-second",
        [
            put(http_route("other", match={"path": {"type": "PathPrefix", "value": "/api"}})),
            put(http_route("other", match={"path": {"type": "Exact", "value": "/api"}})),
            put(http_route("other", match={"path": {"type": "RegularExpression", "value": "/v[0-9]+"}})),
            put(http_route("other", match={"headers": [{"name": "X-Go", "value": "1"}]})),
            put(http_route("other", match={"method": "POST"})),
            put(http_route("other", created="2025-01-01T00:00:00Z")),
            put(http_route("a-same-age")),
            put(http_route(hosts=["*.example"]), http_route("other", created="2027-01-01T00:00:00Z")),
            put(
                http_route(
                    "other",
                    namespace="green",
                    parents=[{"name": "public", "namespace": "prod"}],
                    rules=[{}],
                    created="2025-01-01T00:00:00Z",
                )
            ),
        ],
        [
            put(http_route("other", created="2027-01-01T00:00:00Z")),
            put(http_route("other", hosts=["o.example"], created="2025-01-01T00:00:00Z")),
            put(http_route("other", hosts=["*.example"], created="2025-01-01T00:00:00Z")),
            put(http_route("other", parents=[{"name": "another"}], created="2025-01-01T00:00:00Z")),
            put(http_route("other", namespace="green", created="2025-01-01T00:00:00Z")),
            put(
                http_route(match={"path": {"type": "PathPrefix", "value": "/api"}}),
                http_route("other", match={"path": {"type": "PathPrefix", "value": "/apis"}}),
                http_route("wider", created="2025-01-01T00:00:00Z"),
            ),
        ],
    ),
    (
        "reconciled",
        [put(http_route(labels={"argocd.argoproj.io/instance": "prod"}))],
        [put(http_route(labels={"app.kubernetes.io/managed-by": "Helm"}))],
    ),
]
RULES = {"nginx": NGINX_RULES, "gateway": GATEWAY_RULES}


def sound(kind: str) -> tuple[SiteRouting, MemoryCluster]:
    """Return routes with which nothing is wrong, and the cluster that they are in."""
    cluster = MemoryCluster()
    services(cluster)
    cluster.put(ingress() if kind == "nginx" else http_route())
    cluster.put(gateway())
    memory: Any = cluster
    public: Any = None
    routing = routing_of(NGINX if kind == "nginx" else GATEWAY, cluster=memory, public=public, roles=ROLES)
    routing.prepare()
    assert routing.lint() == ()
    return routing, cluster


def rows(which: int) -> list[Any]:
    """Return the rows of the tables: kind, code, change; which: 1 for what breaks a rule, 2 for what does not."""
    return [
        pytest.param(kind, row[0], change, id=f"{kind}-{row[0]}-{number}")
        for kind, rules in RULES.items()
        for row in rules
        for number, change in enumerate(row[which])  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize(("kind", "code", "change"), rows(1))
def test_what_breaks_a_rule_is_named(kind: str, code: str, change: Change) -> None:
    routing, cluster = sound(kind)
    change(cluster)
    findings = routing.lint()
    assert code in [finding.code for finding in findings]
    assert all(finding.message and finding.remedy for finding in findings)


@pytest.mark.parametrize(("kind", "code", "change"), rows(2))
def test_what_comes_close_breaks_none(kind: str, code: str, change: Change) -> None:
    routing, cluster = sound(kind)
    change(cluster)
    assert [finding.code for finding in routing.lint()] == [], code


@pytest.mark.parametrize("kind", RULES)
def test_every_rule_is_in_its_table(kind: str) -> None:
    folder = Path(str(package.__file__)).parent
    text = "".join((folder / name).read_text("utf-8") for name in ("lint.py", f"{kind}_lint.py"))
    assert {row[0] for row in RULES[kind]} == set(re.findall(r'code="([a-z-]+)"', text))


@pytest.mark.parametrize("kind", RULES)
def test_objects_of_others_are_passed_over(kind: str) -> None:
    routing, cluster = sound(kind)
    cluster.put(ingress("neighbour", backend="other", host="other.example"))
    cluster.put(ingress("theirs", host="other.example", annotations={CANARY: "true", WEIGHT: "10"}))
    cluster.put(http_route("neighbour", hosts=["other.example"], backends=[backend("other")]))
    assert routing.lint() == ()
