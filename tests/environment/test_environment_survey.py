"""What a site is like: read from a real PostgreSQL, and from the answers of an API server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from rehearsal import survey

sys.path.insert(0, str(Path(__file__).parents[1] / "site"))

import postgres_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres_world import PostgresServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Return a running server."""
    with postgres_world.running(tmp_path_factory.mktemp("postgres")) as found:
        yield found


@pytest.fixture
def dsn(server: PostgresServer, request: pytest.FixtureRequest) -> str:
    """Return a database of the test's own, with a table whose column has a sequence."""
    name = f"site_{abs(hash(request.node.name))}"
    server.create(name)
    with psycopg.connect(server.dsn(name)) as connection:
        connection.execute("create table roots (id bigserial primary key, size bigint not null default 0)")
        connection.execute("insert into roots (size) values (1), (2)")
    return server.dsn(name)


def change(dsn: str, *statements: str) -> survey.Facts:
    """Return what the schema is like before and after, as differences."""
    before = survey._schema(dsn)
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement.encode())
    return {"differences": survey.differences(before, survey._schema(dsn))}


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (("insert into roots (size) values (3)",), ""),
        (("alter table roots add column root bytea",), "columns / roots.root"),
        (("alter table roots alter column size drop not null",), "columns / roots.size"),
        (("alter table roots alter column size set default 1",), "columns / roots.size"),
        (("create index sizes on roots (size)",), "indexes / sizes"),
        (("alter table roots add check (size >= 0)",), "constraints / roots roots_size_check"),
        (("insert into roots (id) values (40)",), "sequences behind"),
        (("create table other (id int)",), "columns / other.id"),
    ],
)
def test_whatever_changes_a_schema_is_named_and_rows_are_not(dsn: str, statements: tuple[str, ...], words: str) -> None:
    found = change(dsn, *statements)["differences"]
    assert (words in "; ".join(found)) if words else found == []


def test_migrations_are_read_with_category_and_release(dsn: str) -> None:
    assert "migrations" not in survey._schema(dsn)
    table = "create table stella_migrations (id text, category char(1), release text)"
    change(dsn, table, "insert into stella_migrations values ('0002', 'B', '2'), ('0001', 'A', '1')")
    assert survey._schema(dsn)["migrations"] == [["0001", "A 1"], ["0002", "B 2"]]


def test_a_database_and_a_lock_that_were_left_are_named(server: PostgresServer) -> None:
    before = survey._databases(server.admin_dsn())
    server.create("cutover_scratch_1")
    with psycopg.connect(server.dsn("cutover_scratch_1"), application_name="cutover") as other:
        other.execute("select pg_advisory_lock(77)")
        found = survey._databases(server.admin_dsn())
    assert set(found["names"]) - set(before["names"]) == {"cutover_scratch_1"}
    assert found["locks held"] == ["cutover holds advisory lock 77"]
    assert before["locks held"] == []


class Api:
    """An API server that has these objects; of every other kind it has none, and of the Gateway API no definition."""

    def __init__(self, **kinds: list[dict[str, Any]]) -> None:
        self._kinds = kinds

    def get(self, path: str) -> dict[str, Any]:
        """Return a list."""
        if "gateway" in path:
            request = httpx.Request("GET", f"https://api{path}")
            raise httpx.HTTPStatusError("no such kind", request=request, response=httpx.Response(404, request=request))
        return {"items": self._kinds.get(path.rpartition("/")[2], [])}


def ingress(name: str, *, generation: int, **annotations: str) -> dict[str, Any]:
    metadata = {"namespace": "prod", "name": name, "generation": generation, "annotations": annotations}
    return {"metadata": metadata, "spec": {"rules": [{"host": name}]}}


def release(name: str, version: int, status: str) -> dict[str, Any]:
    labels = {"name": name, "version": str(version), "status": status}
    metadata = {"namespace": "prod", "name": f"sh.helm.release.v1.{name}.v{version}", "labels": labels}
    return {"type": "helm.sh/release.v1", "metadata": metadata}


def test_routes_weights_releases_and_locks_of_the_cluster_are_read() -> None:
    api = Api(
        ingresses=[
            ingress("main", generation=2),
            ingress("canary", generation=1, **{"nginx.ingress.kubernetes.io/canary-weight": "25", "other": "x"}),
        ],
        secrets=[release("green", 1, "superseded"), release("green", 2, "deployed")],
        leases=[{"metadata": {"namespace": "prod", "name": "cutover"}, "spec": {"holderIdentity": "ann@host pid 1"}}],
        namespaces=[{"metadata": {"name": name}, "status": {"phase": "Active"}} for name in ("prod", "kube-system")],
    )
    found = survey._cluster(api)  # type: ignore[arg-type]
    assert found["ingresses"]["prod/canary"]["canary-weight"] == "25"
    assert "other" not in found["ingresses"]["prod/canary"]
    assert found["namespaces"] == {"prod": "Active"}
    assert found["leases held"] == {"prod/cutover": "ann@host pid 1"}
    assert found["HTTP routes"] == {}
    assert survey._releases(api) == {  # type: ignore[arg-type]
        "release prod/green revision 1": "superseded",
        "release prod/green revision 2": "deployed",
    }
    assert survey._generations(api)["changes of Ingress prod/main"] == 2  # type: ignore[arg-type]


def test_documents_are_compared_without_what_two_upgrades_never_share(tmp_path: Path) -> None:
    from rehearsal.environment.layout import Place  # noqa: PLC0415 - beside its use

    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "CHANGELOG.md").write_text("## 2027.Q2 - 2026-11-23\n\n- record 2026-11-23-1748-2.\n")
    found = survey._documents(Place.at(tmp_path))
    assert found == {"CHANGELOG.md": "## 2027.Q2 - DATE\n\n- record RECORD.\n"}
