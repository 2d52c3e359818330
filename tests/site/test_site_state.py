"""The state of a site on a real PostgreSQL: what migrations of either category and what damage make of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import psycopg
import pytest

from cutover.model import Environment, Roles
from cutover.runbook.fingerprint import Fingerprint, differences, forbidden
from cutover.runbook.ports import Deployment, Pod
from cutover.site.database import Database
from cutover.site.state import look
from rehearsal.platform.app import seed
from rehearsal.platform.core import migrations
from tests.site.postgres_world import PostgresServer, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.site import Site

pytestmark = pytest.mark.real_programs

SCANS = 5
LABELS = {"app.kubernetes.io/instance": "stellaops-blue"}
OLD, NEW = "2027.Q1", "2027.Q2"


def colour(name: str) -> Environment:
    return Environment(
        name=name, namespace="prod", release=f"stellaops-{name}", service=f"stellaops-{name}", values=(), cache_url=""
    )


ROLES = Roles(blue=colour("blue"), green=colour("green"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with running(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def url(server: PostgresServer, request: pytest.FixtureRequest) -> str:
    """Give a site's database with a small history, on the schema of the release before."""
    name = f"t{abs(hash(request.node.nodeid))}"
    server.create(name)
    url = server.dsn(name)
    rows = [row for n in range(SCANS) for row, _ in seed.make_scan(n, seed.History(scans=SCANS))]
    with psycopg.connect(url) as database:
        migrations.run(database, OLD, "A")
        seed.write_evidence(database, rows, seed=1)
    return url


def deployment(name: str, *, desired: int = 2, release: str = "stellaops-blue") -> Deployment:
    labels = {**LABELS, "app.kubernetes.io/instance": release}
    return Deployment(
        name=name,
        namespace="prod",
        labels=labels,
        desired=desired,
        ready=desired,
        available=desired,
        updated=desired,
        images=("stella:2027.Q1",),
        is_available=True,
    )


def pod(image_id: str) -> Pod:
    return Pod(
        name="p",
        namespace="prod",
        labels=LABELS,
        phase="Running",
        ready=True,
        restarts=0,
        images=("stella:2027.Q1",),
        image_ids=(image_id,),
        ip="",
        container_port=None,
        init_running="",
        problem="",
        problem_container="",
        problem_in_init=False,
        problem_detail="",
    )


def site_of(url: str) -> Site:
    cluster = SimpleNamespace(
        deployments=lambda _namespace: (
            deployment("web"),
            deployment("worker", desired=1),
            deployment("other", release="somebody-else"),
        ),
        pods=lambda _namespace, *, selector: (pod("r/stella@sha256:" + "a" * 64),) if selector == LABELS else (),
        get=lambda _kind, _namespace, _name: {"metadata": {"uid": "u-1"}},
    )
    routing = SimpleNamespace(primary_backend=lambda: "stellaops-blue", split_by=lambda: "")
    target = SimpleNamespace(routing=SimpleNamespace(public_route="Ingress main", namespace="prod"))
    site = SimpleNamespace(cluster=cluster, routing=routing, target=target, database=Database(url))
    return cast("Site", site)


def state(url: str, leaves: int | None = None) -> Fingerprint:
    return look(site_of(url), ROLES, leaf_count=leaves, with_evidence=True)


def changed(before: Fingerprint, url: str) -> dict[str, bool]:
    """Return what differs now, and whether it may."""
    leaves = before.evidence.leaves if before.evidence else None
    return {f"{one.part} {one.name}": one.is_allowed for one in differences(before, state(url, leaves))}


def test_everything_is_in_it(url: str) -> None:
    found = state(url)
    assert found.schema["public.scans image"] == "text required"
    assert found.schema["public.scans created"] == "timestamp with time zone default now()"
    assert found.schema["public.scans finished"] == "timestamp with time zone"
    assert found.schema["public.merkle_roots id"] == "bigint", "an identity needs no value"
    assert found.schema["public.scans constraint scans_pkey"] == "PRIMARY KEY (id)"
    assert "WHERE" in found.schema["public.scans index scans_active"]
    assert list(found.migrations) == ["0001_base", "0002_evidence", "0003_merkle", *list(found.migrations)[3:]]
    assert found.migrations["0001_base"].startswith("A 2027.Q1 sha256:")
    assert set(found.sequences) == {"public.merkle_crossrefs_id_seq", "public.merkle_roots_id_seq"}
    assert found.routes == {"names": "stellaops-blue", "split by": "nothing", "object": "u-1"}
    assert found.replicas == {"web": 2, "worker": 1}
    assert found.images == ("sha256:" + "a" * 64,)
    assert found.evidence is not None
    assert found.evidence.items == found.evidence.leaves == SCANS * 4
    with psycopg.connect(url) as database:
        stored = database.execute("SELECT encode(root, 'hex'), size FROM merkle_roots ORDER BY size DESC LIMIT 1")
        assert stored.fetchone() == (found.evidence.root, SCANS * 4), "the platform signed the same root"


def test_it_survives_its_document(url: str) -> None:
    found = state(url)
    assert Fingerprint.of(found.document()) == found
    assert differences(found, state(url)) == ()


def test_category_a_is_allowed_and_nothing_else_differs(url: str) -> None:
    before = state(url)
    with psycopg.connect(url) as database:
        migrations.run(database, NEW, "A")
    found = changed(before, url)
    assert all(found.values()), found
    assert "migrations 0101_expand_leaf_v2" in found
    assert "schema public.scans requested_by" in found
    assert "schema public.merkle_leaves_v2 leaf_hash" in found, "required, in a table that the release before ignores"


def test_category_b_is_not_allowed(url: str) -> None:
    before = state(url)
    with psycopg.connect(url, autocommit=True) as database:
        migrations.run(database, NEW, "A")
        database.execute(
            "INSERT INTO merkle_leaves_v2 (leaf_index, evidence_id, leaf_hash)"
            " SELECT leaf_index, evidence_id, leaf_hash FROM merkle_leaves"
        )
        migrations.run(database, NEW, "B")
    found = changed(before, url)
    assert found["migrations 0102_contract_leaf_v1"] is False
    assert found["schema public.merkle_leaves leaf_hash"] is False
    assert found["migrations 0101_expand_leaf_v2"] is True


DAMAGE = {
    "ALTER TABLE scans DROP COLUMN finished": "schema public.scans finished",
    "ALTER TABLE scans ALTER COLUMN image TYPE varchar(200)": "schema public.scans image",
    "ALTER TABLE scans ADD COLUMN owner text": "schema public.scans owner",
    "DROP INDEX evidence_created": "schema public.evidence index evidence_created",
    "ALTER TABLE write_markers DROP CONSTRAINT write_markers_pkey": (
        "schema public.write_markers constraint write_markers_pkey"
    ),
    "SELECT setval('merkle_roots_id_seq', 1)": "sequences public.merkle_roots_id_seq",
    "DELETE FROM stella_migrations WHERE id = '0002_evidence'": "migrations 0002_evidence",
    "UPDATE stella_migrations SET checksum = 'sha256:0' WHERE id = '0001_base'": "migrations 0001_base",
    "UPDATE evidence SET sha256 = repeat('0', 64) WHERE leaf_index = 3": "evidence root",
    "DELETE FROM evidence WHERE leaf_index = 3": "evidence root",
    "DELETE FROM evidence WHERE leaf_index = 19": "evidence items",
}


@pytest.mark.parametrize("statement", DAMAGE)
def test_damage_is_named_and_not_allowed(url: str, statement: str) -> None:
    with psycopg.connect(url) as database:
        database.execute("SELECT nextval('merkle_roots_id_seq') FROM generate_series(1, 9)")
    before = state(url)
    with psycopg.connect(url) as database:
        database.execute(statement.encode())
    assert changed(before, url)[DAMAGE[statement]] is False


def test_a_column_that_blue_does_not_fill_is_not_allowed_though_category_a_added_it(url: str) -> None:
    before = state(url)
    with psycopg.connect(url) as database:
        database.execute("DELETE FROM write_markers")
        database.execute("ALTER TABLE write_markers ADD COLUMN site text NOT NULL")
        database.execute("INSERT INTO stella_migrations VALUES ('0103', 'A', '2027.Q2', 'sha256:1')")
    found = changed(before, url)
    assert found == {"migrations 0103": True, "schema public.write_markers site": False}


def test_evidence_that_grows_leaves_the_root_of_the_time(url: str) -> None:
    before = state(url)
    with psycopg.connect(url) as database:
        database.execute(
            "INSERT INTO evidence SELECT 'zz-' || id, scan_id, kind, media_type, size_bytes, sha256, object_key,"
            " leaf_index + 100, log_index + 100, signer_keyid, created FROM evidence"
        )
        database.execute("SELECT nextval('merkle_roots_id_seq')")
    found = changed(before, url)
    assert found == {"evidence items": True, "sequences public.merkle_roots_id_seq": True}
    assert forbidden(differences(before, state(url, SCANS * 4))) == ()
