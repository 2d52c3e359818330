"""Green before any traffic: images, migrations, capacity and connections, each judged by what a fake cluster shows."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from cutover.errors import ClauseFailed, CouldNotMeasure, TargetInvalid, Timeout
from cutover.procedures import capacity, connections, health, release
from cutover.procedures.release import Migration, MigrationRun, Migrations, RunningImages
from cutover.runbook.ports import ProxyAnswer
from cutover.site.database import DatabaseIdentity
from cutover.site.helm import Helm, HelmRelease

if TYPE_CHECKING:
    from cutover.runbook.upgrade import Upgrade
    from cutover.site.operator import Operator

WANTED, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


# -- images (2.1a, 2.1b) -----------------------------------------------------------------------------------------------


def _wanting(upgrade: Upgrade, *digests: str) -> Upgrade:
    releases = dataclasses.replace(upgrade.target.upgrade, image_digests=digests)
    upgrade.target = dataclasses.replace(upgrade.target, upgrade=releases)
    return upgrade


def _images(unidentified: tuple[str, ...] = (), **digests: str) -> RunningImages:
    found = {name: frozenset(text.split()) for name, text in digests.items()}
    return RunningImages(digests=found, unidentified=unidentified)


@pytest.mark.parametrize(
    ("wanted", "images", "code"),
    [
        ((WANTED,), _images(web=WANTED, worker=WANTED), ""),
        ((WANTED, OTHER), _images(web=f"{WANTED} {OTHER}"), ""),
        ((WANTED,), _images(web=WANTED, worker=OTHER), "image-digest-differs"),
        ((WANTED,), _images(web=f"{WANTED} {OTHER}"), "image-digest-differs"),
        ((WANTED,), _images(("w-1",), web=WANTED), "image-digest-missing"),
        ((WANTED,), _images(), "image-digest-missing"),
        ((), _images(web=OTHER, worker=WANTED), ""),
        ((), _images(web=f"{WANTED} {OTHER}"), "image-digest-differs"),
        ((), _images(web=WANTED, worker=""), "image-digest-differs"),
        ((), _images(("w-1",), web=WANTED), "image-digest-missing"),
        ((), _images(), "image-digest-missing"),
    ],
)
def test_every_running_image_must_be_one_that_the_target_allows(
    upgrade: Upgrade, wanted: tuple[str, ...], images: RunningImages, code: str
) -> None:
    _wanting(upgrade, *wanted)
    assert _code(lambda: release.require_images(upgrade, images)) == code
    noted = upgrade.journal.last("observation", what="images")
    assert noted is not None
    assert noted.data["wanted"] == (
        sorted(wanted) or "the target gives no [upgrade] image_digests: nothing to compare with"
    )


@pytest.mark.parametrize(
    ("ids", "digests", "unidentified"),
    [
        ((f"registry/stellaops@{WANTED}",), {WANTED}, ()),
        ((f"registry/stellaops@{WANTED}", ""), {WANTED}, ("web-1",)),
        (("",), set(), ("web-1",)),
        ((), set(), ("web-1",)),
    ],
)
def test_images_are_read_from_every_container_of_every_pod(
    upgrade: Upgrade, ids: tuple[str, ...], digests: set[str], unidentified: tuple[str, ...]
) -> None:
    pod = SimpleNamespace(name="web-1", labels={release.COMPONENT_LABEL: "web"}, image_ids=ids)
    site: Any = SimpleNamespace(cluster=SimpleNamespace(pods=lambda *_, **__: (pod,)))
    images = release.running_images(site, upgrade.roles.green)
    assert images == RunningImages(digests={"web": frozenset(digests)}, unidentified=unidentified)


# -- migrations (2.2a, 2.2b) -------------------------------------------------------------------------------------------


def _migration(id_: str, category: str, release_id: str = "2027.Q2", *, is_applied: bool = True) -> Migration:
    return Migration(id=id_, category=category, release=release_id, is_applied=is_applied)


OLD, A, B = _migration("0001", "A", "2027.Q1"), _migration("0101", "A"), _migration("0102", "B")
A_PENDING, B_PENDING = dataclasses.replace(A, is_applied=False), dataclasses.replace(B, is_applied=False)


@pytest.mark.parametrize(
    ("reported", "table", "code"),
    [
        ((OLD, A, B_PENDING), (OLD, A), ""),
        ((OLD,), (OLD,), "schema-not-expanded"),
        ((OLD, A_PENDING), (OLD,), "schema-not-expanded"),
        ((OLD, A), (OLD, A, B), "schema-not-expanded"),
        ((OLD, A, B), (OLD, A, B), "schema-not-expanded"),
        ((OLD,), (OLD, A, B), "schema-not-expanded"),
        ((), (), "schema-not-expanded"),
    ],
)
def test_the_table_says_whether_the_schema_is_expanded(
    upgrade: Upgrade, reported: tuple[Migration, ...], table: tuple[Migration, ...], code: str
) -> None:
    migrations = Migrations(reported=reported, table=table)
    assert _code(lambda: release.require_between_releases(upgrade, migrations)) == code


@pytest.mark.parametrize(
    ("reported", "table", "agree"),
    [
        ((OLD, A, B_PENDING), (A, OLD), True),
        ((OLD,), (OLD, A), False),
        ((OLD, A), (OLD,), False),
        ((OLD, dataclasses.replace(A, category="B")), (OLD, A), False),
        ((OLD, dataclasses.replace(A, release="2027.Q1")), (OLD, A), False),
        ((), (), False),
    ],
)
def test_the_list_is_compared_with_category_and_release(
    reported: tuple[Migration, ...], table: tuple[Migration, ...], agree: bool
) -> None:
    assert Migrations(reported=reported, table=table).agree is agree


@pytest.mark.parametrize(
    ("applied", "held", "code"),
    [
        (("0101",), ("0101",), ""),
        ((), ("0101",), ""),
        (("0101",), (), "migrations-not-recorded"),
        ((), (), "migrations-not-recorded"),
        (("0101", "0103"), ("0101",), "migrations-not-recorded"),
    ],
)
def test_what_was_run_must_be_in_the_table(
    upgrade: Upgrade, applied: tuple[str, ...], held: tuple[str, ...], code: str
) -> None:
    run = MigrationRun(applied=applied, skipped=(), category_a_held=held, category_b_held=())
    assert _code(lambda: release.require_expanded(upgrade, run)) == code


# -- capacity (F.16) ---------------------------------------------------------------------------------------------------


def _deployment(colour: str, *, replicas: int = 2, ready: int = 2, cpu: str = "250m", memory: str = "128Mi") -> Any:  # noqa: ANN401
    container = {"name": "web", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    return {
        "metadata": {"name": f"stellaops-{colour}-web", "labels": {release.COMPONENT_LABEL: "web"}},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [container]}}},
        "status": {"readyReplicas": ready},
    }


def _scaler(colour: str, least: int, most: int) -> Any:  # noqa: ANN401
    target = {"kind": "Deployment", "name": f"stellaops-{colour}-web"}
    return {"spec": {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": most}}


def _code_of_capacity(upgrade: Upgrade, blue: list[Any], green: list[Any]) -> str:
    objects = {upgrade.roles.blue.namespace: blue, upgrade.roles.green.namespace: green}

    def listed(kind: str, namespace: str, **_: object) -> tuple[Any, ...]:
        wants_scaler = kind == "HorizontalPodAutoscaler"
        return tuple(item for item in objects[namespace] if ("scaleTargetRef" in item["spec"]) == wants_scaler)

    site: Any = SimpleNamespace(cluster=SimpleNamespace(list=listed))
    return _code(lambda: capacity.require_not_smaller(site, upgrade))


@pytest.mark.parametrize(
    ("blue", "green", "code"),
    [
        ([_deployment("blue")], [_deployment("green")], ""),
        ([_deployment("blue")], [_deployment("green", cpu="0.25", memory="0.125Gi")], ""),
        ([_deployment("blue")], [_deployment("green", replicas=3, ready=3)], ""),
        ([], [_deployment("green")], "capacity-unknown"),
        ([], [], "capacity-unknown"),
        ([_deployment("blue")], [], "green-too-small"),
        ([_deployment("blue")], [_deployment("green", ready=1)], "green-too-small"),
        ([_deployment("blue")], [_deployment("green", cpu="249m")], "green-too-small"),
        ([_deployment("blue")], [_deployment("green", memory="127Mi")], "green-too-small"),
        ([_deployment("blue"), _scaler("blue", 2, 10)], [_deployment("green")], "green-too-small"),
        (
            [_deployment("blue"), _scaler("blue", 2, 10)],
            [_deployment("green"), _scaler("green", 2, 9)],
            "green-too-small",
        ),
        (
            [_deployment("blue"), _scaler("blue", 2, 10)],
            [_deployment("green"), _scaler("green", 1, 10)],
            "green-too-small",
        ),
        ([_deployment("blue"), _scaler("blue", 2, 10)], [_deployment("green"), _scaler("green", 2, 10)], ""),
        ([_deployment("blue")], [_deployment("green"), _scaler("green", 1, 10)], "green-too-small"),
        ([_deployment("blue")], [_deployment("green"), _scaler("green", 2, 10)], ""),
    ],
)
def test_green_may_be_smaller_in_nothing(upgrade: Upgrade, blue: list[Any], green: list[Any], code: str) -> None:
    assert _code_of_capacity(upgrade, blue, green) == code
    assert (upgrade.journal.last("deviation", id="F.16") is None) == bool(code)


# -- connections (2.3a) ------------------------------------------------------------------------------------------------

SETTINGS = {
    "DATABASE_URL": "postgresql://a:secret@h/d",
    "CACHE_URL": "redis://h/0",
    "STORE_ENDPOINT": "http://s",
    "STORE_BUCKET": "b",
    "STORE_ACCESS_KEY": "k",
    "STORE_SECRET_KEY": "s",
}


def _configured(*kinds: str, without: str = "") -> Any:  # noqa: ANN401
    encoded = {name: base64.b64encode(v.encode()).decode() for name, v in SETTINGS.items() if name != without}
    objects = {"ConfigMap": {"data": {}}, "Secret": {"data": encoded}}
    return SimpleNamespace(cluster=SimpleNamespace(get=lambda kind, *_: objects[kind] if kind in kinds else None))


@pytest.mark.parametrize("kinds", [(), ("ConfigMap",), ("Secret",)])
def test_a_running_colour_is_never_answered_from_its_values(upgrade: Upgrade, kinds: tuple[str, ...]) -> None:
    green = dataclasses.replace(upgrade.roles.green, values=())
    with pytest.raises(CouldNotMeasure) as caught:
        connections.of(_configured(*kinds), green, running=True)
    assert caught.value.code == "configuration-missing"
    with pytest.raises(TargetInvalid):
        connections.of(_configured(*kinds), green)


def test_running_connections_are_those_of_the_configuration(upgrade: Upgrade) -> None:
    both = ("ConfigMap", "Secret")
    assert connections.of(_configured(*both), upgrade.roles.green, running=True).database.name == "d"
    for name in SETTINGS:
        with pytest.raises(CouldNotMeasure) as caught:
            connections.of(_configured(*both, without=name), upgrade.roles.green, running=True)
        assert (caught.value.code, name in caught.value.seen) == ("configuration-incomplete", True)


SYSTEM = {"database": {"system_identifier": "7", "name": "stellaops"}, "cache": {"run_id": "green-run"}}


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, SYSTEM, ""),
        (503, SYSTEM, "system-not-ok"),
        (200, {**SYSTEM, "database": {"system_identifier": "8", "name": "stellaops"}}, "system-differs"),
        (200, {**SYSTEM, "database": {"system_identifier": "7", "name": "other"}}, "system-differs"),
        (200, {**SYSTEM, "cache": {"run_id": "blue-run"}}, "system-differs"),
        (200, {"database": None}, "system-unreadable"),
        (200, [], "system-unreadable"),
    ],
)
def test_green_itself_says_what_it_is_connected_to(upgrade: Upgrade, status: int, body: object, code: str) -> None:
    answer = ProxyAnswer(status=status, headers={}, body=json.dumps(body).encode())
    site: Any = SimpleNamespace(cluster=SimpleNamespace(proxy_get=lambda *_: answer))
    database = DatabaseIdentity(system_identifier="7", name="stellaops")
    green = upgrade.roles.green
    seen = _code(lambda: health._require_system(site, green, database=database, cache_run_id="green-run"))
    assert seen == code


def _code(check: Any) -> str:  # noqa: ANN401
    """Return the code of the error that a check ends with, or nothing."""
    try:
        check()
    except (ClauseFailed, CouldNotMeasure) as error:
        return error.code
    return ""


# -- category A, by a further attempt (2.2a) ---------------------------------------------------------------------------


class Migrating:
    """A platform that migrates what is not in the table yet, and says what it did."""

    def __init__(self, *held: str) -> None:
        self.held, self.asked = list(held), list[str]()
        self.stella = SimpleNamespace(call=self._call)
        self.database = SimpleNamespace(migrations=self._table)

    def _call(self, *words: str, namespace: str) -> dict[str, list[str]]:
        self.asked.append(" ".join([*words[4:], namespace]))
        skipped = [one for one in ("0101",) if one in self.held]
        applied = [one for one in ("0101",) if one not in self.held]
        self.held += applied
        return {"applied": applied, "skipped": skipped}

    def _table(self) -> tuple[Any, ...]:
        return tuple(
            SimpleNamespace(id=one, category="A", release="2027.Q1" if one == "0001" else "2027.Q2")
            for one in self.held
        )


@pytest.fixture
def unlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let migrations run without the database's lock, which is tested on its own."""
    monkeypatch.setattr(release, "migrating", lambda *_: contextlib.nullcontext())


@pytest.mark.usefixtures("unlocked")
@pytest.mark.parametrize("held", [("0001",), ("0001", "0101")])
def test_migrations_that_an_earlier_attempt_ran_are_seen_and_not_run_again(
    upgrade: Upgrade, held: tuple[str, ...]
) -> None:
    site: Any = Migrating(*held)
    first = release.run_category_a(site, upgrade)
    again = release.run_category_a(site, upgrade)
    assert len(site.asked) == 1, "green's init step may have run them; the command is given all the same, once"
    assert again.category_a_held == first.category_a_held == ("0101",)
    for run in (first, again):
        release.require_expanded(upgrade, run)


@pytest.mark.usefixtures("unlocked")
def test_migrations_that_are_gone_from_the_table_are_run_again(upgrade: Upgrade) -> None:
    site: Any = Migrating("0001")
    release.run_category_a(site, upgrade)
    site.held.remove("0101")
    assert release.run_category_a(site, upgrade).applied == ("0101",)
    assert len(site.asked) == 2


@pytest.mark.usefixtures("unlocked")
def test_what_was_run_before_green_was_installed_is_not_2_2a(upgrade: Upgrade) -> None:
    site: Any = Migrating("0001")
    release.run_category_a(site, upgrade, release="2027.Q2")
    release.run_category_a(site, upgrade)
    blue, green = upgrade.roles.blue.namespace, upgrade.roles.green.namespace
    assert site.asked == [f"--release 2027.Q2 {blue}", green]


# -- green, by a further attempt (2.1a) --------------------------------------------------------------------------------


def deployed_site(upgrade: Upgrade, *ready: int) -> Any:  # noqa: ANN401 - drivers, as far as they are asked
    """Return a site whose green is deployed as wanted, with so many of two replicas ready, look after look."""
    green, left = upgrade.roles.green, list(ready)
    values = {"image": {"tag": "2027.Q2"}}
    helm = Helm(
        cast("Operator", None), chart="", image_tag_key="image.tag", wait_timeout_s=1, context="", environment={}
    )
    found = HelmRelease(name=green.release, namespace=green.namespace, revision=3, status="deployed", values=values)

    def deployments(_: str) -> tuple[Any, ...]:
        count = left.pop(0) if len(left) > 1 else left[0]
        labels = {release.INSTANCE_LABEL: green.release}
        return (SimpleNamespace(name="web", labels=labels, ready=count, desired=2, is_complete=count == 2),)

    cluster = SimpleNamespace(deployments=deployments, pods=lambda *_, **__: ())
    return SimpleNamespace(
        cluster=cluster,
        helm=SimpleNamespace(status=lambda *_: found, with_tag=helm.with_tag, tag_of=helm.tag_of),
    )


def without_values(upgrade: Upgrade) -> Upgrade:
    green = dataclasses.replace(upgrade.target.colours["green"], values=())
    upgrade.target = dataclasses.replace(upgrade.target, colours={**upgrade.target.colours, "green": green})
    return upgrade


def test_a_green_that_is_there_is_waited_for_and_not_installed_again(upgrade: Upgrade) -> None:
    green = without_values(upgrade).target.colours["green"]
    site = deployed_site(upgrade, 1, 1, 2)
    assert release.bring(site, upgrade, green, tag="2027.Q2", action="install green").status == "deployed"
    assert [entry.event for entry in upgrade.journal.entries()] == ["observation", "wait"]


def test_a_green_that_is_there_and_does_not_become_ready_fails(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "diagnosed", lambda *_: contextlib.nullcontext())
    green = without_values(upgrade).target.colours["green"]
    with pytest.raises(Timeout) as caught:
        release.bring(deployed_site(upgrade, 1), upgrade, green, tag="2027.Q2", action="install green")
    assert (caught.value.code, "web 1/2" in caught.value.seen) == ("not-available", True)


@pytest.mark.parametrize(
    ("values", "tag"),
    [
        ({"image": {"tag": "2027.Q2"}, "a": 1}, "2027.Q2"),
        ({"image": "none", "a": 1}, ""),
        ({"a": 1}, ""),
        ({"image": {"tag": 5}, "a": 1}, "5"),
    ],
)
def test_the_tag_is_read_and_put_where_the_chart_has_it(upgrade: Upgrade, values: dict[str, Any], tag: str) -> None:
    helm = deployed_site(upgrade, 2).helm
    found = HelmRelease(name="r", namespace="n", revision=1, status="deployed", values=values)
    assert helm.tag_of(found) == tag
    before = json.dumps(values)
    assert helm.with_tag(values, "x") == {"image": {"tag": "x"}, "a": 1}
    assert json.dumps(values) == before, "what is given is left as it is"
