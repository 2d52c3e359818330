"""Moving traffic by an HTTPRoute: what is written and in which order, what is refused, what a restore undoes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import ClauseFailed, CouldNotMeasure, Refused, WrongInput
from cutover.model import Roles
from cutover.runbook.journal import Journal
from cutover.site.routing import GatewayRouting
from cutover.site.routing import gateway as module

sys.path.insert(0, str(Path(__file__).parent))

from memory_cluster import MemoryCluster
from route_objects import BLUE, GATEWAY, GREEN, ROLES, backend, condition, gateway, grant, http_route, services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLACE = ("HTTPRoute", "prod", "main")
GRANT = ("ReferenceGrant", "green", "main-to-stellaops-green")


def follow(route: Any) -> None:  # noqa: ANN401
    """Do what a controller does: take the route as it is now."""
    generation = route["metadata"]["generation"]
    for parent in route.get("status", {}).get("parents", []):
        parent["conditions"] = [condition(each, generation=generation) for each in ("Accepted", "ResolvedRefs")]


@pytest.fixture
def cluster() -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.controller = follow
    services(cluster)
    cluster.put(http_route())
    cluster.put(gateway())
    return cluster


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.jsonl")
    yield journal
    journal.close()


def routes(cluster: MemoryCluster, journal: Journal, roles: Roles = ROLES) -> GatewayRouting:
    """Return the routes of a process of the run."""
    memory: Any = cluster
    public: Any = None
    return GatewayRouting(GATEWAY, cluster=memory, public=public, roles=roles, journal=journal)


@pytest.fixture
def routing(cluster: MemoryCluster, journal: Journal) -> GatewayRouting:
    return routes(cluster, journal)


def named(cluster: MemoryCluster) -> list[tuple[str, int]]:
    """Return the Services that the route names, with their weights."""
    route = cluster.get(*PLACE)
    assert route is not None
    return [(entry["name"], entry["weight"]) for entry in route["spec"]["rules"][0]["backendRefs"]]


def written(cluster: MemoryCluster) -> list[list[tuple[str, int]]]:
    """Return the backends of each patch of the route, each of which tests the version that was read."""
    found = []
    for kind, _, operations in cluster.patches:
        if kind == "HTTPRoute":
            test, replace = operations
            assert (test["op"], test["path"]) == ("test", "/metadata/resourceVersion")
            assert (replace["op"], replace["path"]) == ("replace", "/spec/rules/0/backendRefs")
            found.append([(entry["name"], entry["weight"]) for entry in replace["value"]])
    return found


def perform(routing: GatewayRouting, moves: str) -> None:
    """Do what the words say in turn: a weight, `promote`, `restore`."""
    for move in moves.split():
        if move.isdigit():
            routing.shift(int(move))
        else:
            getattr(routing, move)()


BLUE_ALONE, GREEN_ALONE = [("stellaops-blue", 100)], [("stellaops-green", 100)]


@pytest.mark.parametrize(
    ("moves", "steps"),
    [
        ("10", [[("stellaops-blue", 1), ("stellaops-green", 0)], [("stellaops-blue", 90), ("stellaops-green", 10)]]),
        (
            "10 25",
            [
                [("stellaops-blue", 1), ("stellaops-green", 0)],
                [("stellaops-blue", 90), ("stellaops-green", 10)],
                [("stellaops-blue", 75), ("stellaops-green", 25)],
            ],
        ),
        ("promote", [[("stellaops-blue", 1), ("stellaops-green", 0)], GREEN_ALONE]),
        (
            "100 promote",
            [
                [("stellaops-blue", 1), ("stellaops-green", 0)],
                [("stellaops-blue", 0), ("stellaops-green", 100)],
                GREEN_ALONE,
            ],
        ),
        ("0", []),
        ("restore", [BLUE_ALONE]),
    ],
)
def test_green_is_named_with_weight_0_before_it_gets_any_request(
    routing: GatewayRouting, cluster: MemoryCluster, moves: str, steps: list[list[tuple[str, int]]]
) -> None:
    perform(routing, moves)
    assert written(cluster) == steps


def test_the_first_weight_is_allowed_by_a_grant_of_ours(
    routing: GatewayRouting, cluster: MemoryCluster, journal: Journal
) -> None:
    routing.shift(10)
    made = cluster.get(*GRANT)
    assert made is not None
    assert made["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "cutover"}
    assert made["spec"]["to"] == [{"group": "", "kind": "Service", "name": "stellaops-green"}]
    route = cluster.get(*PLACE)
    assert route is not None
    assert route["spec"]["rules"][0]["backendRefs"] == [
        backend(weight=90),
        backend("stellaops-green", namespace="green", weight=10),
    ]
    assert (routing.weight(), routing.is_split()) == (10, True)
    assert "stellaops-blue and green/stellaops-green" in routing.split_by()
    assert routing.lint() == ()
    assert journal.last("weight", percent=10, target="green") is not None


def test_what_a_backend_says_else_is_kept(routing: GatewayRouting, cluster: MemoryCluster) -> None:
    cluster.put(http_route(backends=[backend(port=8080)]))
    routing.shift(10)
    route = cluster.get(*PLACE)
    assert route is not None
    assert [entry["port"] for entry in route["spec"]["rules"][0]["backendRefs"]] == [8080, 8080]


def test_a_promotion_names_green_alone(routing: GatewayRouting) -> None:
    perform(routing, "100 promote")
    assert routing.primary_backend() == "green/stellaops-green" == routing.service_beside_route(GREEN)
    assert (routing.weight(), routing.is_split()) == (100, False)


@pytest.mark.parametrize("moves", ["", "50", "promote", "100 promote"])
@pytest.mark.parametrize("times", [1, 2])
def test_restore_undoes_every_move_without_green(
    routing: GatewayRouting, cluster: MemoryCluster, moves: str, times: int
) -> None:
    perform(routing, moves)
    cluster.endpoints.clear()
    cluster.delete("Service", "green", "stellaops-green")
    cluster.delete(*GRANT)
    cluster.controller = None
    for _ in range(times):
        routing.restore()
    assert named(cluster) == BLUE_ALONE
    assert routing.primary_backend() == routing.service_beside_route(BLUE)


@pytest.mark.parametrize("backends", [[backend("stellaops-gone")], []], ids=["a Service that is not there", "nothing"])
def test_a_restore_overrules_a_route_that_names_no_colour(
    routing: GatewayRouting, cluster: MemoryCluster, backends: list[dict[str, Any]]
) -> None:
    perform(routing, "50")
    cluster.put(http_route(backends=backends))
    routing.restore()
    assert routing.primary_backend() == routing.service_beside_route(BLUE)


@pytest.mark.parametrize("moves", ["50", "promote"])
@pytest.mark.parametrize(
    ("code", "break_it"),
    [
        ("service-absent", lambda cluster: cluster.delete("Service", "green", "stellaops-green")),
        ("service-without-endpoints", lambda cluster: cluster.endpoints.clear()),
    ],
)
def test_nothing_is_named_that_cannot_serve(
    *,
    routing: GatewayRouting,
    cluster: MemoryCluster,
    moves: str,
    code: str,
    break_it: Callable[[MemoryCluster], object],
) -> None:
    break_it(cluster)
    with pytest.raises(Refused) as caught:
        perform(routing, moves)
    assert caught.value.code == code
    assert cluster.patches == []


@pytest.mark.parametrize("moves", ["10", "promote"])
def test_green_gets_nothing_while_the_controller_has_not_resolved_it(
    routing: GatewayRouting, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, moves: str
) -> None:
    cluster.controller = None
    monkeypatch.setattr(module, "_TAKEN_BOUND_S", 0.0)
    with pytest.raises(ClauseFailed) as caught:
        perform(routing, moves)
    assert caught.value.code == "route-not-taken"
    assert "generation 1, not yet for 2" in caught.value.seen
    assert named(cluster) == [("stellaops-blue", 1), ("stellaops-green", 0)]


def test_somebody_elses_change_refuses_a_weight(routing: GatewayRouting, cluster: MemoryCluster) -> None:
    routing.shift(10)
    other = http_route(backends=[backend(weight=10), backend("stellaops-green", namespace="green", weight=90)])
    cluster.before_patch = lambda: cluster.put(other)
    with pytest.raises(Refused) as caught:
        routing.shift(25)
    assert caught.value.code == "changed-by-someone-else"
    assert routing.weight() == 90
    cluster.before_patch = lambda: cluster.put(other)
    routing.restore()
    assert named(cluster) == BLUE_ALONE


def test_a_status_in_between_is_nobodys_change(routing: GatewayRouting, cluster: MemoryCluster) -> None:
    routing.shift(10)
    now = cluster.get(*PLACE)
    assert now is not None
    cluster.before_patch = lambda: cluster.put(now)
    routing.shift(25)
    assert routing.weight() == 25


@pytest.mark.parametrize("moves", ["10 25", "promote", "restore"])
def test_what_does_not_stay_is_found(
    routing: GatewayRouting, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, moves: str
) -> None:
    if moves == "restore":
        routing.promote()
    original = cluster.patch

    def revert(kind: str, namespace: str, name: str, operations: Any) -> Any:  # noqa: ANN401
        before = cluster.get(kind, namespace, name)
        answer = original(kind, namespace, name, operations)
        weights = [entry["weight"] for entry in operations[1]["value"]]
        if 0 not in weights:
            cluster.put(before or {})
        return answer

    monkeypatch.setattr(cluster, "patch", revert)
    with pytest.raises(ClauseFailed) as caught:
        perform(routing, moves)
    assert caught.value.code in {"weight-not-kept", "route-not-kept"}


SECOND = {
    "matches": [{"path": {"type": "PathPrefix", "value": "/"}, "headers": [{"name": "x", "value": "y"}]}],
    "backendRefs": [backend("stellaops-green", namespace="green")],
}


@pytest.mark.parametrize("moves", ["50", "promote"])
def test_a_restore_overrules_rules_that_somebody_added(
    routing: GatewayRouting, cluster: MemoryCluster, moves: str
) -> None:
    perform(routing, moves)
    route = cluster.get(*PLACE)
    assert route is not None
    theirs = {"backendRefs": [backend("third")]}
    cluster.put({**route, "spec": {**route["spec"], "rules": [SECOND, theirs, *route["spec"]["rules"]]}})
    assert routing.is_split()
    with pytest.raises(ClauseFailed):
        routing.restore()  # a Service of somebody else is still named, and that is said
    found = cluster.get(*PLACE)
    assert found is not None
    names = [[entry["name"] for entry in rule["backendRefs"]] for rule in found["spec"]["rules"]]
    assert names == [["stellaops-blue"], ["third"], ["stellaops-blue"]]
    found["spec"]["rules"].pop(1)
    cluster.put(found)
    routing.restore()
    assert not routing.is_split()


@pytest.mark.parametrize("percent", [-1, 101])
def test_no_such_weight(routing: GatewayRouting, percent: int) -> None:
    with pytest.raises(WrongInput):
        routing.shift(percent)


def test_weights_that_sum_up_to_nothing_are_no_share(routing: GatewayRouting, cluster: MemoryCluster) -> None:
    cluster.put(http_route(backends=[backend(weight=0)]))
    with pytest.raises(CouldNotMeasure) as caught:
        routing.weight()
    assert caught.value.code == "weight-unreadable"


@pytest.mark.parametrize(
    ("code", "route"),
    [
        ("route-absent", None),
        ("route-shape", http_route(rules=[])),
        ("route-shape", http_route(hosts=["other.example"])),
        ("backend-foreign", http_route(backends=[backend(), backend("third")])),
    ],
)
def test_a_route_that_is_not_ours_to_move_is_left_alone(
    routing: GatewayRouting,
    cluster: MemoryCluster,
    code: str,
    route: Any,  # noqa: ANN401
) -> None:
    cluster.delete(*PLACE)
    if route is not None:
        cluster.put(route)
    with pytest.raises(ClauseFailed) as caught:
        routing.shift(10)
    assert caught.value.code == code
    assert cluster.patches == []


GRANTS: list[tuple[str, Any, str, bool]] = [
    ("none", None, "ReferenceGrant main-to-stellaops-green in namespace green", True),
    ("theirs, wide enough", grant(), "", False),
    ("theirs, of our name, too narrow", grant("main-to-stellaops-green", to="other"), "", False),
    (
        "ours, too narrow",
        grant("main-to-stellaops-green", to="other", labels={"app.kubernetes.io/managed-by": "cutover"}),
        "ReferenceGrant main-to-stellaops-green in namespace green",
        True,
    ),
]


@pytest.mark.parametrize(("found", "to_make", "makes"), [row[1:] for row in GRANTS], ids=[row[0] for row in GRANTS])
def test_a_grant_is_made_only_where_none_permits(
    *,
    routing: GatewayRouting,
    cluster: MemoryCluster,
    found: Any,  # noqa: ANN401
    to_make: str,
    makes: bool,
) -> None:
    if found is not None:
        cluster.put(found)
    assert routing.to_prepare().startswith(to_make)
    assert bool(routing.to_prepare()) is makes
    if found is not None and not makes and "name" in found["spec"]["to"][0]:
        with pytest.raises(Refused) as caught:
            routing.prepare()
        assert caught.value.code == "grant-foreign"
        return
    routing.prepare()
    assert (cluster.get(*GRANT) is not None) is makes
    assert routing.to_prepare() == ""
    assert routing.lint() == ()


def test_a_grant_has_to_have_a_namespace(routing: GatewayRouting, cluster: MemoryCluster) -> None:
    cluster.delete("Service", "green", "stellaops-green")
    assert routing.to_prepare() == ""
    assert [finding.code for finding in routing.lint()] == ["service-absent", "grant-absent"]


def test_roles_swapped(cluster: MemoryCluster, journal: Journal) -> None:
    cluster.put(http_route(backends=[backend("stellaops-green", namespace="green")]))
    cluster.put(grant())
    routing = routes(cluster, journal, Roles(blue=GREEN, green=BLUE))
    routing.shift(10)
    assert named(cluster) == [("stellaops-green", 90), ("stellaops-blue", 10)]
    routing.promote()
    assert routing.primary_backend() == "stellaops-blue"
    routing.restore()
    assert routing.primary_backend() == "green/stellaops-green"


def test_a_restore_goes_on_where_the_grants_cannot_be_read(
    cluster: MemoryCluster, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.put(http_route(backends=[backend("stellaops-green", namespace="green")]))
    cluster.put(grant())
    routing = routes(cluster, journal, Roles(blue=GREEN, green=BLUE))
    routing.promote()

    def refusing(kind: str) -> tuple[Any, ...]:
        raise CouldNotMeasure(f"{kind} is forbidden", code="kubernetes-forbidden")

    monkeypatch.setattr(cluster, "of_every_namespace", refusing)
    routing.restore()
    assert routing.primary_backend() == "green/stellaops-green"


@pytest.mark.parametrize(
    "moves", ["", "50", "10 25", "10 0", "promote", "100 promote", "10 restore", "promote restore", "restore 10"]
)
def test_our_own_moves_are_no_drift(
    routing: GatewayRouting, cluster: MemoryCluster, journal: Journal, moves: str
) -> None:
    perform(routing, moves)
    assert routing.drift() == ()
    assert routes(cluster, journal).drift() == ()


def edited(**changes: Any) -> Callable[[MemoryCluster], object]:  # noqa: ANN401
    """Return the change that edits the route in place."""

    def do(cluster: MemoryCluster) -> None:
        route = cluster.get(*PLACE)
        assert route is not None
        cluster.put({**route, "spec": {**route["spec"], **changes}})

    return do


DRIFTS: list[tuple[str, str, Callable[[MemoryCluster], object]]] = [
    ("route-changed", "backendRefs.0.weight is 10, was set to 90", lambda c: c.put(_swapped(c))),
    ("route-changed", "spec.hostnames.0 is 'o.example'", edited(hostnames=["o.example"])),
    ("route-changed", "spec.parentRefs is []", edited(parentRefs=[])),
    ("route-removed", "HTTPRoute main", lambda c: c.delete(*PLACE)),
    ("route-recreated", "HTTPRoute main", lambda c: c.put(_remade(c))),
    ("route-removed", "ReferenceGrant", lambda c: c.delete(*GRANT)),
]


def _swapped(cluster: MemoryCluster) -> Any:  # noqa: ANN401
    route = cluster.get(*PLACE)
    assert route is not None
    for entry in route["spec"]["rules"][0]["backendRefs"]:
        entry["weight"] = 100 - entry["weight"]
    return route


def _remade(cluster: MemoryCluster) -> Any:  # noqa: ANN401
    route = cluster.get(*PLACE)
    assert route is not None
    route["metadata"]["uid"] = "another"
    return route


@pytest.mark.parametrize(("code", "said", "change"), DRIFTS)
def test_drift_names_what_somebody_else_changed(
    routing: GatewayRouting,
    cluster: MemoryCluster,
    code: str,
    said: str,
    change: Callable[[MemoryCluster], object],
) -> None:
    routing.shift(10)
    change(cluster)
    findings = routing.drift()
    assert code in [finding.code for finding in findings]
    assert any(said in finding.message for finding in findings)
    with pytest.raises(Refused) as caught:
        routing.shift(25)
    assert caught.value.code == "changed-by-someone-else"
