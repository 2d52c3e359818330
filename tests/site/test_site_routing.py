"""Moving traffic: what is written, what is refused, what a restore undoes, and every rule of the topology."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import ClauseFailed, CouldNotMeasure, Refused, WrongInput
from cutover.model import Roles
from cutover.runbook.journal import Journal
from cutover.site.routing import NginxRouting
from cutover.site.routing.nginx import bridge_manifest, canary_manifest, weight_patch

sys.path.insert(0, str(Path(__file__).parent))

from memory_cluster import MemoryCluster
from route_objects import BLUE, CANARY, GREEN, NGINX, WEIGHT, canary, ingress, service, services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def cluster() -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.put(ingress())
    services(cluster)
    return cluster


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.jsonl")
    yield journal
    journal.close()


@pytest.fixture
def routing(cluster: MemoryCluster, journal: Journal) -> NginxRouting:
    public: Any = None
    stand_in: Any = cluster
    return NginxRouting(NGINX, cluster=stand_in, public=public, roles=Roles(blue=BLUE, green=GREEN), journal=journal)


def annotations(cluster: MemoryCluster) -> dict[str, str]:
    """Return the canary's annotations."""
    found = cluster.get("Ingress", "prod", "canary")
    assert found is not None
    return dict(found["metadata"]["annotations"])


def test_the_first_weight_makes_bridge_and_canary_beside_the_route(
    routing: NginxRouting, cluster: MemoryCluster, journal: Journal
) -> None:
    routing.shift(10)
    bridge, canary = cluster.service("prod", "to-green"), cluster.get("Ingress", "prod", "canary")
    assert bridge is not None
    assert bridge["spec"]["externalName"] == "stellaops-green.green.svc.cluster.local"
    assert canary is not None
    primary = ingress()
    path = canary["spec"]["rules"][0]["http"]["paths"][0]
    assert canary["spec"]["ingressClassName"] == "nginx"
    assert canary["spec"]["rules"][0]["host"] == primary["spec"]["rules"][0]["host"]
    assert (path["path"], path["pathType"], path["backend"]["service"]["name"]) == ("/", "Prefix", "to-green")
    assert annotations(cluster) == {CANARY: "true", WEIGHT: "10"}
    assert journal.last("weight", percent=10, target="green") is not None
    assert routing.lint() == ()


def test_the_next_upgrade_goes_the_other_way_on_the_routes_that_the_first_left(
    routing: NginxRouting, cluster: MemoryCluster, journal: Journal
) -> None:
    """Green serves through the bridge; the new colour's own Service is beside the route (F.17)."""
    routing.promote()
    public: Any = None
    stand_in: Any = cluster
    roles = Roles(blue=GREEN, green=BLUE)
    following = NginxRouting(NGINX, cluster=stand_in, public=public, roles=roles, journal=journal)
    assert (following.primary_backend(), following.to_prepare(), following.lint()) == ("to-green", "", ())
    assert "bridge" in routing.way
    assert "bridge" not in following.way
    following.shift(25)
    canary = cluster.get("Ingress", "prod", "canary") or {}
    assert canary["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == BLUE.service
    following.restore()
    assert (following.primary_backend(), cluster.get("Ingress", "prod", "canary")) == ("to-green", None)
    following.promote()
    assert following.primary_backend() == BLUE.service
    assert journal.last("weight", percent=100, target="blue") is not None
    following.restore()
    assert following.primary_backend() == "to-green", "the bridge stays: it is the way back"


def test_the_next_weights_patch_the_version_that_was_read(routing: NginxRouting, cluster: MemoryCluster) -> None:
    routing.shift(10)
    version = (cluster.get("Ingress", "prod", "canary") or {})["metadata"]["resourceVersion"]
    routing.shift(25)
    assert routing.weight() == 25
    assert cluster.patches == [
        (
            "Ingress",
            "canary",
            [
                {"op": "test", "path": "/metadata/resourceVersion", "value": version},
                {
                    "op": "add",
                    "path": "/metadata/annotations/nginx.ingress.kubernetes.io~1canary-weight",
                    "value": "25",
                },
            ],
        )
    ]


def test_promotion_points_the_route_at_green_and_removes_the_canary(
    routing: NginxRouting, cluster: MemoryCluster
) -> None:
    routing.shift(100)
    routing.promote()
    assert routing.primary_backend() == "to-green" == routing.service_beside_route(GREEN)
    assert not routing.is_split()
    assert cluster.patches[-1][2][0]["op"] == "test"


def _shift(routing: NginxRouting) -> None:
    routing.shift(50)


def _promote(routing: NginxRouting) -> None:
    routing.promote()


def _both(routing: NginxRouting) -> None:
    routing.shift(100)
    routing.promote()


def _nothing(_: NginxRouting) -> None:
    return


@pytest.mark.parametrize("move", [_nothing, _shift, _promote, _both])
@pytest.mark.parametrize("times", [1, 2])
def test_restore_undoes_every_move(
    routing: NginxRouting, cluster: MemoryCluster, move: Callable[[NginxRouting], None], times: int
) -> None:
    move(routing)
    cluster.endpoints.clear()
    cluster.delete("Service", "green", "stellaops-green")
    for _ in range(times):
        routing.restore()
    assert routing.primary_backend() == "stellaops-blue"
    assert not routing.is_split()


@pytest.mark.parametrize("move", [_shift, _promote])
@pytest.mark.parametrize(
    ("code", "break_it"),
    [
        ("service-absent", lambda cluster: cluster.delete("Service", "green", "stellaops-green")),
        ("service-without-endpoints", lambda cluster: cluster.endpoints.clear()),
    ],
)
def test_nothing_is_named_that_cannot_serve(
    *,
    routing: NginxRouting,
    cluster: MemoryCluster,
    move: Callable[[NginxRouting], None],
    code: str,
    break_it: Callable[[MemoryCluster], None],
) -> None:
    break_it(cluster)
    with pytest.raises(Refused) as caught:
        move(routing)
    assert caught.value.code == code
    assert routing.primary_backend() == "stellaops-blue"
    assert not routing.is_split()


def test_somebody_elses_change_refuses_a_weight(routing: NginxRouting, cluster: MemoryCluster) -> None:
    routing.shift(10)
    other = ingress("canary", backend="to-green", annotations={CANARY: "true", WEIGHT: "90"})
    cluster.before_patch = lambda: cluster.put(other)
    with pytest.raises(Refused) as caught:
        routing.shift(25)
    assert caught.value.code == "changed-by-someone-else"
    assert routing.weight() == 90


def _status(cluster: MemoryCluster) -> None:
    changed = cluster.get("Ingress", "prod", "canary")
    assert changed is not None
    cluster.put({**changed, "status": {"loadBalancer": {}}})


def test_a_status_in_between_is_nobodys_change(routing: NginxRouting, cluster: MemoryCluster) -> None:
    routing.shift(10)
    cluster.before_patch = lambda: _status(cluster)
    routing.shift(25)
    assert routing.weight() == 25


def perform(routing: NginxRouting, moves: str) -> None:
    """Do what the words say in turn: a weight, `promote`, `restore`."""
    for move in moves.split():
        if move.isdigit():
            routing.shift(int(move))
        else:
            getattr(routing, move)()


@pytest.mark.parametrize(
    "moves", ["", "50", "10 25", "10 0", "promote", "100 promote", "10 restore", "promote restore", "restore 10"]
)
def test_our_own_moves_are_no_drift(
    routing: NginxRouting, cluster: MemoryCluster, journal: Journal, moves: str
) -> None:
    perform(routing, moves)
    assert routing.drift() == ()
    again: Any = cluster
    public: Any = None
    next_process = NginxRouting(
        NGINX, cluster=again, public=public, roles=Roles(blue=BLUE, green=GREEN), journal=journal
    )
    assert next_process.drift() == ()


DRIFTS: list[tuple[str, str, str, Callable[[MemoryCluster], object]]] = [
    ("10", "route-changed", "canary-weight is '90', was set to '10'", lambda c: c.put(_edited(c, WEIGHT, "90"))),
    (
        "10",
        "route-changed",
        "canary-by-header is 'X-Go', was set to absent",
        lambda c: c.put(_edited(c, "nginx.ingress.kubernetes.io/canary-by-header", "X-Go")),
    ),
    ("10", "route-changed", "spec.ingressClassName is 'other'", lambda c: c.put(_canary_of(c, cls="other"))),
    ("10", "route-changed", "rules.0.http.paths.0.path is '/api'", lambda c: c.put(_canary_of(c, path="/api"))),
    ("10", "route-removed", "canary", lambda c: c.delete("Ingress", "prod", "canary")),
    ("10", "route-changed", "name is 'elsewhere'", lambda c: c.put(ingress(backend="elsewhere"))),
    ("10", "route-removed", "main", lambda c: c.delete("Ingress", "prod", "main")),
    ("10", "route-recreated", "main", lambda c: c.put(_with_uid(ingress()))),
    ("10", "route-changed", "spec.externalName", lambda c: c.put(service("to-green", "prod", externalName="x.y"))),
    ("promote", "route-appeared", "canary", lambda c: c.put(canary())),
    ("promote", "route-changed", "was set to 'to-green'", lambda c: c.put(ingress())),
]


def _edited(cluster: MemoryCluster, key: str, value: str) -> Any:  # noqa: ANN401
    return _canary_of(cluster, annotations={**annotations(cluster), key: value})


def _canary_of(cluster: MemoryCluster, **changes: Any) -> Any:  # noqa: ANN401
    """Return the canary as it is, with changes."""
    return canary(**{"annotations": annotations(cluster), **changes})


def _with_uid(manifest: Any) -> Any:  # noqa: ANN401
    manifest["metadata"]["uid"] = "another"
    return manifest


@pytest.mark.parametrize(("moves", "code", "said", "change"), DRIFTS)
def test_drift_names_what_somebody_else_changed(
    *,
    routing: NginxRouting,
    cluster: MemoryCluster,
    moves: str,
    code: str,
    said: str,
    change: Callable[[MemoryCluster], object],
) -> None:
    perform(routing, moves)
    change(cluster)
    findings = routing.drift()
    assert [finding.code for finding in findings] == [code]
    assert said in findings[0].message
    with pytest.raises(Refused) as caught:
        routing.shift(25)
    assert caught.value.code == "changed-by-someone-else"


def test_the_next_process_sees_what_was_changed_before_it_began(
    routing: NginxRouting, cluster: MemoryCluster, journal: Journal
) -> None:
    routing.shift(10)
    cluster.put(ingress(annotations={"nginx.ingress.kubernetes.io/affinity": "cookie"}))
    stand_in: Any = cluster
    routing = NginxRouting(
        NGINX, cluster=stand_in, public=stand_in, roles=Roles(blue=BLUE, green=GREEN), journal=journal
    )
    assert [finding.code for finding in routing.drift()] == ["route-changed"]
    with pytest.raises(Refused) as caught:
        routing.shift(25)
    assert (caught.value.code, routing.weight()) == ("changed-by-someone-else", 10)
    routing.restore()
    assert routing.drift() == ()


def test_what_is_changed_while_blue_has_everything_again_is_nobodys_drift(
    routing: NginxRouting, cluster: MemoryCluster, journal: Journal
) -> None:
    perform(routing, "10 restore")
    cluster.put(ingress(annotations={"nginx.ingress.kubernetes.io/affinity": "cookie"}))
    stand_in: Any = cluster
    routing = NginxRouting(
        NGINX, cluster=stand_in, public=stand_in, roles=Roles(blue=BLUE, green=GREEN), journal=journal
    )
    routing.shift(10)
    assert routing.drift() == ()


def test_what_no_controller_reads_is_no_drift(routing: NginxRouting, cluster: MemoryCluster) -> None:
    routing.shift(10)
    cluster.put(_edited(cluster, "example.com/seen", "yes"))
    _status(cluster)
    assert routing.drift() == ()


def test_somebody_elses_change_does_not_stop_a_restore(routing: NginxRouting, cluster: MemoryCluster) -> None:
    routing.shift(10)
    other = ingress("canary", backend="to-green", annotations={CANARY: "true", WEIGHT: "90"})
    cluster.before_patch = lambda: cluster.put(other)
    routing.restore()
    assert not routing.is_split()


def test_a_weight_that_does_not_stay_is_found(
    routing: NginxRouting, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    routing.shift(10)
    monkeypatch.setattr(cluster, "patch", lambda *_: {})
    with pytest.raises(ClauseFailed) as caught:
        routing.shift(25)
    assert caught.value.code == "weight-not-kept"


@pytest.mark.parametrize("moves", ["50", "promote"])
def test_a_restore_overrules_paths_that_somebody_added(
    routing: NginxRouting, cluster: MemoryCluster, moves: str
) -> None:
    perform(routing, moves)
    route = cluster.get("Ingress", "prod", "main")
    assert route is not None
    added = ingress(path="/api", backend="to-green")["spec"]["rules"][0]["http"]["paths"]
    route["spec"]["rules"][0]["http"]["paths"] += added
    cluster.put(route)
    routing.restore()
    assert routing.primary_backend() == "stellaops-blue"
    assert not routing.is_split()


def test_a_restore_is_done_before_it_complains(routing: NginxRouting, cluster: MemoryCluster, journal: Journal) -> None:
    routing.shift(50)
    route = cluster.get("Ingress", "prod", "main")
    assert route is not None
    route["spec"]["rules"][0]["http"]["paths"] += ingress(path="/x", backend="x")["spec"]["rules"][0]["http"]["paths"]
    cluster.put(route)
    with pytest.raises(ClauseFailed) as caught:
        routing.restore()
    assert (caught.value.code, caught.value.seen) == ("route-not-kept", "read back stellaops-blue and x")
    assert not routing.is_split()
    assert journal.last("weight", percent=0) is not None


@pytest.mark.parametrize("refused", ["canary", "main"])
def test_what_a_restore_cannot_change_keeps_nothing_else_from_it(
    routing: NginxRouting, cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    routing.shift(50)
    cluster.put(ingress(backend="to-green"))  # a promotion that was cut off before the canary was removed
    patch = cluster.patch

    def refusing(kind: str, namespace: str, name: str, operations: Any) -> Any:  # noqa: ANN401
        if name == refused:
            raise CouldNotMeasure("a webhook refuses", code="kubernetes-refused")
        return patch(kind, namespace, name, operations)

    monkeypatch.setattr(cluster, "patch", refusing)
    with pytest.raises(CouldNotMeasure):
        routing.restore()
    assert not routing.is_split()
    assert routing.primary_backend() == ("to-green" if refused == "main" else "stellaops-blue")


@pytest.mark.parametrize("text", ["", "ten", "101", "-1", "1.5", "²"])
def test_an_unreadable_weight_is_not_a_number(routing: NginxRouting, cluster: MemoryCluster, text: str) -> None:
    cluster.put(ingress("canary", backend="to-green", annotations={CANARY: "true", WEIGHT: text}))
    with pytest.raises(CouldNotMeasure) as caught:
        routing.weight()
    assert caught.value.code == "weight-unreadable"


@pytest.mark.parametrize("percent", [-1, 101])
def test_no_such_weight(routing: NginxRouting, percent: int) -> None:
    with pytest.raises(WrongInput):
        routing.shift(percent)


def test_weight_zero_makes_no_canary(routing: NginxRouting) -> None:
    routing.shift(0)
    assert not routing.is_split()


def test_a_foreign_service_is_not_taken_for_the_bridge(routing: NginxRouting, cluster: MemoryCluster) -> None:
    cluster.put(service("to-green", "prod", type="ClusterIP"))
    with pytest.raises(Refused) as caught:
        routing.prepare()
    assert caught.value.code == "bridge-foreign"


def test_roles_swapped_need_no_bridge(routing: NginxRouting, cluster: MemoryCluster) -> None:
    cluster.put(ingress(backend="to-green"))
    cluster.create("prod", bridge_manifest("to-green", GREEN))
    routing.assign_roles(Roles(blue=GREEN, green=BLUE))
    routing.shift(10)
    assert routing.lint() == ()
    routing.promote()
    assert routing.primary_backend() == "stellaops-blue"
    routing.restore()
    assert routing.primary_backend() == "to-green"


def test_a_canary_without_annotations_gets_both() -> None:
    bare = ingress("canary")
    del bare["metadata"]["annotations"]
    bare["metadata"]["resourceVersion"] = "7"
    assert [operation["path"] for operation in weight_patch(bare, 5)] == [
        "/metadata/resourceVersion",
        "/metadata/annotations",
        "/metadata/annotations/nginx.ingress.kubernetes.io~1canary",
        "/metadata/annotations/nginx.ingress.kubernetes.io~1canary-weight",
    ]


def test_the_old_class_annotation_is_copied() -> None:
    primary = ingress(cls=None, annotations={"kubernetes.io/ingress.class": "nginx"})
    canary = canary_manifest("canary", primary, "public.example", "to-green", 10)
    assert "ingressClassName" not in canary["spec"]
    assert canary["metadata"]["annotations"]["kubernetes.io/ingress.class"] == "nginx"
