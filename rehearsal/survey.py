"""What a site is like after an upgrade, so that two sites can be compared: one interrupted, one not.

Taken inside the sandbox (`python -m rehearsal.survey --state FOLDER` prints it as JSON), from the cluster, database,
store and documents themselves. Invariants: nothing of the run, its record or its code is asked; nothing is changed;
what differs between two equal upgrades (times, random names, the record's id) is not part of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from rehearsal.environment import layout, objects
from rehearsal.environment.api import ApiClient
from rehearsal.environment.sitedata import ARCHIVE_BUCKET, DATABASE, EVIDENCE_BUCKET, LOG_DATABASE, Secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rehearsal.environment.layout import Place

Facts = dict[str, Any]
"""Names in the site's own words, to what is true of them: texts, numbers, and further facts."""

ONCE = "once"
"""Key of the facts that count how often something was done."""
_GATEWAY_API = "/apis/gateway.networking.k8s.io/v1"
_OF_KUBERNETES = ("default", "kube-")
_WEIGHTS = "nginx.ingress.kubernetes.io/"
_SCRATCH = "scratch/"
_TRANSCRIPTS = "/artifacts/commands/"
"""What each command said: a run that goes on says more of them."""
_RECORD_ID = re.compile(r"\d{4}-\d{2}-\d{2}-\d{4}(-\d+)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_COLUMNS = """
select table_name || '.' || column_name,
       data_type || case is_nullable when 'NO' then ' not null' else '' end
       || coalesce(' default ' || column_default, '')
from information_schema.columns where table_schema = 'public' order by 1
"""
_CONSTRAINTS = """
select conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid) from pg_constraint
where connamespace = 'public'::regnamespace order by 1
"""
_INDEXES = "select indexname, indexdef from pg_indexes where schemaname = 'public' order by 1"
_SEQUENCES = """
select d.refobjid::regclass::text, a.attname, s.oid::regclass::text from pg_class s
join pg_depend d on d.objid = s.oid and d.deptype in ('a', 'i') and d.refobjsubid > 0
join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where s.relkind = 'S' and s.relnamespace = 'public'::regnamespace
"""
_LEFT_OPEN = """
select coalesce(nullif(a.application_name, ''), 'unnamed') || ' holds ' || l.locktype || ' lock ' || l.objid
from pg_locks l join pg_stat_activity a using (pid) where l.locktype = 'advisory' and a.pid <> pg_backend_pid()
"""


def taken(place: Place) -> Facts:
    """Return what the site is like now. Runs inside the sandbox."""
    known = Secrets.read(place.root)
    with ApiClient(place) as api:
        found = {**_cluster(api), ONCE: {**_releases(api), **_generations(api)}}
    found |= {"evidence database": _schema(known.dsn(DATABASE)), "log database": _schema(known.dsn(LOG_DATABASE))}
    found |= {
        "databases": _databases(known.dsn("postgres", admin=True)),
        "store": _store(known),
        "documents": _documents(place),
    }
    return found


def differences(expected: Facts, found: Facts, *, at: str = "") -> list[str]:
    """Name every fact that is not the same in both, by its path; empty when the sites are alike."""
    said: list[str] = []
    for name in sorted({*expected, *found}):
        path = f"{at} / {name}" if at else name
        before, after = expected.get(name), found.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            said += differences(before, after, at=path)
        elif before != after:
            said.append(f"{path}: {_shown(after)}, not {_shown(before)}")
    return said


def _shown(value: object) -> str:
    return "absent" if value is None else json.dumps(value, ensure_ascii=False)[:200]


# -- the cluster -------------------------------------------------------------------------------------------------------


def _items(api: ApiClient, path: str) -> Iterator[tuple[str, Facts]]:
    """Yield the objects of a collection that are no part of Kubernetes itself, by namespace and name."""
    import httpx  # noqa: PLC0415 - comes with the API client

    try:
        listed = api.get(path)["items"]
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        return  # a kind that this site does not have
    for item in listed:
        namespace, name = item["metadata"].get("namespace", ""), item["metadata"]["name"]
        if not (namespace or name).startswith(_OF_KUBERNETES):
            yield f"{namespace}/{name}" if namespace else name, item


def _cluster(api: ApiClient) -> Facts:
    deployments = _items(api, "/apis/apps/v1/deployments")
    return {
        "namespaces": {name: item["status"].get("phase") for name, item in _items(api, "/api/v1/namespaces")},
        "deployments": {name: _deployment(item) for name, item in deployments},
        "services": {
            name: {key: item["spec"].get(key) for key in ("type", "selector", "externalName")}
            for name, item in _items(api, "/api/v1/services")
        },
        "ingresses": {
            name: {"rules": item["spec"].get("rules"), **_weights(item)}
            for name, item in _items(api, "/apis/networking.k8s.io/v1/ingresses")
        },
        "HTTP routes": {
            name: [
                [{key: backend.get(key) for key in ("namespace", "name", "weight")} for backend in rule["backendRefs"]]
                for rule in item["spec"]["rules"]
            ]
            for name, item in _items(api, f"{_GATEWAY_API}/httproutes")
        },
        "grants": sorted(name for name, _ in _items(api, "/apis/gateway.networking.k8s.io/v1beta1/referencegrants")),
        "configuration": sorted(
            name
            for kind in ("configmaps", "secrets")
            for name, item in _items(api, f"/api/v1/{kind}")
            if item.get("type") != "helm.sh/release.v1" and not name.endswith("/kube-root-ca.crt")
        ),
        "leases held": {
            name: item["spec"]["holderIdentity"]
            for name, item in _items(api, "/apis/coordination.k8s.io/v1/leases")
            if item["spec"].get("holderIdentity")
        },
    }


def _deployment(item: Mapping[str, Any]) -> Facts:
    spec = item["spec"]
    return {
        "replicas": spec.get("replicas"),
        "available": item.get("status", {}).get("availableReplicas", 0),
        "images": sorted(container["image"] for container in spec["template"]["spec"]["containers"]),
    }


def _weights(item: Mapping[str, Any]) -> Facts:
    annotations = item["metadata"].get("annotations", {})
    return {name.removeprefix(_WEIGHTS): text for name, text in annotations.items() if name.startswith(_WEIGHTS)}


def _releases(api: ApiClient) -> Facts:
    """Say which revision of each Helm release there is and what became of it: a second installation is a second one."""
    found: Facts = {}
    for name, item in _items(api, "/api/v1/secrets"):
        if item.get("type") == "helm.sh/release.v1":
            labels = item["metadata"]["labels"]
            namespace = name.partition("/")[0]
            found[f"release {namespace}/{labels['name']} revision {labels['version']}"] = labels["status"]
    return found


def _generations(api: ApiClient) -> Facts:
    """Say how often the wanted state of each route was changed."""
    found: Facts = {}
    for kind, path in (
        ("Ingress", "/apis/networking.k8s.io/v1/ingresses"),
        ("HTTPRoute", f"{_GATEWAY_API}/httproutes"),
    ):
        found |= {f"changes of {kind} {name}": item["metadata"]["generation"] for name, item in _items(api, path)}
    return found


# -- database, store, documents ----------------------------------------------------------------------------------------


def _schema(dsn: str) -> Facts:
    with psycopg.connect(dsn) as connection:
        found: Facts = {
            name: dict(connection.execute(query).fetchall())
            for name, query in (("columns", _COLUMNS), ("constraints", _CONSTRAINTS), ("indexes", _INDEXES))
        }
        found["sequences behind"] = _behind(connection)
        if any(name.startswith("stella_migrations.") for name in found["columns"]):
            rows = connection.execute("select id, category || ' ' || release from stella_migrations order by id")
            found["migrations"] = [list(row) for row in rows]
    return found


def _behind(connection: psycopg.Connection[Any]) -> list[str]:
    """Name the columns with a number that their sequence would give out again."""
    from psycopg import sql  # noqa: PLC0415 - beside its use

    said = []
    for table, column, sequence in connection.execute(_SEQUENCES).fetchall():
        query = sql.SQL("select (select max({}) from {}), last_value from {}").format(
            sql.Identifier(column), sql.Identifier(table), sql.Identifier(sequence)
        )
        row = connection.execute(query).fetchone()
        if row is not None and row[0] is not None and row[0] > row[1]:
            said.append(f"{table}.{column}")
    return sorted(said)


def _databases(dsn: str) -> Facts:
    with psycopg.connect(dsn) as connection:
        names = connection.execute("select datname from pg_database where not datistemplate order by 1").fetchall()
        held = connection.execute(_LEFT_OPEN).fetchall()
    return {"names": [name for (name,) in names], "locks held": sorted(text for (text,) in held)}


def _store(known: Secrets) -> Facts:
    """Say what lies in the archive, by name and without the record's id, each with its versions; and what was left."""
    store = objects.client(known)
    archived: dict[str, int] = {}
    for page in store.get_paginator("list_object_versions").paginate(Bucket=ARCHIVE_BUCKET):
        for version in page.get("Versions", []):
            name = _RECORD_ID.sub("RECORD", version["Key"])
            if _TRANSCRIPTS not in name:
                archived[name] = archived.get(name, 0) + 1
    left = store.list_objects_v2(Bucket=EVIDENCE_BUCKET, Prefix=_SCRATCH).get("Contents", [])
    return {"archive": archived, "left in evidence": sorted(item["Key"] for item in left)}


def _documents(place: Place) -> Facts:
    found: Facts = {}
    for path in sorted((place.root / "docs").glob("*.md")):
        with contextlib.suppress(UnicodeDecodeError):
            found[path.name] = _DATE.sub("DATE", _RECORD_ID.sub("RECORD", path.read_text(encoding="utf-8")))
    return found


def main() -> None:
    """Print it as one JSON document."""
    parser = argparse.ArgumentParser(prog="rehearsal.survey")
    parser.add_argument("--state", type=Path, required=True)
    place = layout.Place.at(parser.parse_args().state)
    json.dump(taken(place), sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
