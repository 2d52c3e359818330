"""A site for attempts that are killed: PostgreSQL, an object store, a cluster, helm and pg_dump, all real.

Run by `unshare` as the first process of a sandbox, driven by input: each line names a scenario below; the answer is one
line, a JSON string: empty when it went as it should, else the traceback. In a scenario another process performs a
procedure of the harness on a record and is ended by SIGKILL at a given moment; then the same record is gone on with.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import psycopg
import pyrage
import pytest
import yaml

from cutover import project
from cutover.errors import CutoverError, Refused
from cutover.policy import Policy
from cutover.procedures import backups, documents, leftovers, release
from cutover.runbook.journal import Journal
from cutover.runbook.upgrade import Upgrade
from cutover.site import connect
from cutover.target import Target
from rehearsal.environment import layout, objects, parts, pki, seeding, sitedata
from rehearsal.environment.api import ApiClient
from rehearsal.environment.supervisor import Supervisor, make_mounts, make_network
from tests.procedures.conftest import SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutover.site import Site

BOUND_S = 40.0
SECRETS_OF_BLUE = 60
ARTIFACTS, ARCHIVED_AT_KILL, UNDER_WAY = 400, 40, 8
RELEASE = "2027.Q2"
LINGERING = """\
#!/bin/sh
# The real program; where a test asks for it, it lingers afterwards, so that its harness can be killed meanwhile.
{program} "$@" || exit
if [ -e {folder}/hold-{name} ]; then touch {folder}/holding-{name}; exec sleep 60; fi
"""
APART = """\
#!/bin/sh
# The real program; where a test asks for it, out of reach of what ends with the harness.
if [ ! -e {folder}/hold-{name} ]; then exec {program} "$@"; fi
setsid {program} "$@" &
echo $! > {folder}/holding-{name}
wait $!
"""
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: stellaops\nversion: 1.0.0\n",
    "values.yaml": "image: {tag: none}\ncolour: none\n",
    "templates/all.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: '{{ .Release.Name }}-config'}
data: {tag: '{{ .Values.image.tag }}', colour: '{{ .Values.colour }}'}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: '{{ .Release.Name }}-data'}
spec: {accessModes: [ReadWriteOnce], storageClassName: '', resources: {requests: {storage: 1Gi}}}
""",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The site as the scenarios work with it."""

    place: layout.Place
    programs: dict[str, str]

    @property
    def known(self) -> sitedata.Secrets:
        return sitedata.Secrets.read(self.place.root)

    def prepare(self) -> None:
        """Write what a target file names: commands that can be held, a chart, values, an identity for the backups."""
        root = self.place.root
        for name, script in (("pg_dump", LINGERING), ("pg_restore", LINGERING), ("helm", APART)):
            path = root / "operator" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(script.format(program=self.programs[name], folder=root, name=name))
            path.chmod(0o755)
        for name, text in CHART.items():
            path = root / "chart" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (root / "values.yaml").write_text(yaml.safe_dump({"colour": "green", "number": 5, "list": [1.5, None]}))
        identity = pyrage.x25519.Identity.generate()
        (root / "backup.agekey").write_text(f"{identity}\n")
        (root / "recipient").write_text(str(identity.to_public()))
        with ApiClient(self.place) as api:
            for namespace in (layout.BLUE_NAMESPACE, layout.GREEN_NAMESPACE):
                api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
            for number in range(SECRETS_OF_BLUE):
                path = f"/api/v1/namespaces/{layout.BLUE_NAMESPACE}/secrets"
                api.create(path, {"metadata": {"name": f"s-{number}"}, "stringData": {"password": f"p-{number}"}})

    def target(self) -> Target:
        """Return the example target, pointed at this site."""
        root, known = self.place.root, self.known
        target = Target.load(project.CONTRACT / "examples" / "target.toml")
        green = dataclasses.replace(
            target.colours["green"], namespace=layout.GREEN_NAMESPACE, values=(root / "values.yaml",)
        )
        blue = dataclasses.replace(target.colours["blue"], namespace=layout.BLUE_NAMESPACE)
        return dataclasses.replace(
            target,
            operator=dataclasses.replace(
                target.operator,
                host="local://",
                path=(str(root / "operator"),),
                environment=parts.operator_environment(self.place),
            ),
            kubernetes=dataclasses.replace(
                target.kubernetes,
                kubeconfig=self.place.kubeconfig,
                context=pki.CONTEXT,
                allowed_contexts=(pki.CONTEXT,),
                allowed_namespaces=(layout.BLUE_NAMESPACE, layout.GREEN_NAMESPACE),
            ),
            colours={"blue": blue, "green": green},
            chart=dataclasses.replace(target.chart, path=root / "chart", wait_timeout_s=30),
            database=dataclasses.replace(
                target.database, dsn=known.dsn(sitedata.DATABASE), admin_dsn=known.dsn("postgres", admin=True)
            ),
            store=dataclasses.replace(
                target.store,
                endpoint=objects.ENDPOINT,
                bucket=sitedata.EVIDENCE_BUCKET,
                archive_bucket=sitedata.ARCHIVE_BUCKET,
                access_key=known.access_key,
                secret_key=known.secret_key,
            ),
            backup=dataclasses.replace(
                target.backup,
                age_recipient=(root / "recipient").read_text(),
                age_identity_file=root / "backup.agekey",
            ),
        )

    def open(self, name: str) -> Attempt:
        """Begin an attempt at the record of that name."""
        folder = self.place.root / "records" / name
        folder.mkdir(parents=True, exist_ok=True)
        target, policy = self.target(), Policy.read(project.CONTRACT / "examples" / "policy.toml")
        journal = Journal(folder / "journal.jsonl", secrets=target.secrets())
        upgrade = Upgrade(id=name, folder=folder, target=target, policy=policy, journal=journal, strategy="gradual")
        return Attempt(upgrade=upgrade, site=connect(target, journal))

    def kill(self, procedure: str, name: str, when: Callable[[], object]) -> None:
        """Let another process perform a procedure on a record, and kill it as soon as `when` says something."""
        words = [sys.executable, "-m", "tests.procedures.reentry_site", str(self.place.root), "-", procedure, name]
        process = subprocess.Popen(words, cwd=layout.PROJECT, stdin=subprocess.DEVNULL)
        deadline_s = time.monotonic() + BOUND_S
        try:
            while not when():
                assert process.poll() is None, f"{procedure} ended by itself with {process.returncode}"
                assert time.monotonic() < deadline_s, f"{procedure} did not come to where it is to be killed"
                time.sleep(0.005)
        finally:
            process.kill()
            process.wait()

    def hold(self, name: str) -> Callable[[], bool]:
        """Let a command linger when it is done, and return what says that it does."""
        (self.place.root / f"hold-{name}").touch()
        return (self.place.root / f"holding-{name}").exists

    def release(self, name: str) -> None:
        """Let it linger no more."""
        for path in (self.place.root / f"hold-{name}", self.place.root / f"holding-{name}"):
            path.unlink(missing_ok=True)

    def databases(self) -> set[str]:
        with psycopg.connect(self.known.dsn("postgres", admin=True)) as connection:
            rows = connection.execute("SELECT datname FROM pg_database").fetchall()
        return {name for (name,) in rows if name.startswith("cutover_scratch_")}

    def namespaces(self) -> set[str]:
        with ApiClient(self.place) as api:
            found = {item["metadata"]["name"] for item in api.get("/api/v1/namespaces")["items"]}
        return {name for name in found if name.startswith("cutover-scratch-")}

    def private_folders(self) -> set[Path]:
        return set(Path(os.environ["TMPDIR"]).glob("cutover.*"))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One process's work on a record."""

    upgrade: Upgrade
    site: Site

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.site.close()
        self.upgrade.journal.close()

    def served_by(self, colour: str) -> None:
        """Let this colour serve the public host, which this site does not have."""
        self.site.__dict__["routing"] = SimpleNamespace(
            who_serves=lambda count: SimpleNamespace(by_colour={colour: count}, failed=0, total=count)
        )


# -- what another process performs until it is killed ------------------------------------------------------------------


def back_up(attempt: Attempt) -> None:
    """Perform 1.2a."""
    backup = backups.dump_database(attempt.site, attempt.upgrade)
    assert backups.restored_tables(attempt.site, attempt.upgrade, backup) == backup.tables
    backups.require_dump_encrypted(attempt.upgrade, backup)


def back_up_secrets(attempt: Attempt) -> None:
    """Perform 1.2d."""
    kept = backups.back_up_secrets(attempt.site, attempt.upgrade)
    backups.require_secrets_restore(attempt.site, attempt.upgrade, kept)


def install(attempt: Attempt) -> None:
    """Perform 2.1a."""
    attempt.served_by("blue")
    release.install_green(attempt.site, attempt.upgrade)


def archive(attempt: Attempt) -> None:
    """Perform 4.3c."""
    kept = documents.archive(attempt.site, attempt.upgrade)
    assert kept.expected == kept.read_back
    assert kept.locked
    assert documents.not_retained(kept) == []


PROCEDURES = {each.__name__: each for each in (back_up, back_up_secrets, install, archive)}


# -- scenarios ---------------------------------------------------------------------------------------------------------


def killed_while_it_dumps(bench: Bench) -> None:
    """Leave a plain archive on the operator's host: the next attempt removes it, and makes one backup."""
    bench.kill("back_up", "dump", bench.hold("pg_dump"))
    bench.release("pg_dump")
    (folder,) = bench.private_folders()
    assert (folder / "stellaops.dump").read_bytes().startswith(b"PGDMP")
    with bench.open("dump") as attempt:
        assert leftovers.remove(attempt.site, attempt.upgrade) == (f"private folder {folder.name}",)
        assert not folder.exists()
        back_up(attempt)
    assert not bench.private_folders()
    kept = bench.place.root / "records" / "dump" / "artifacts" / "backups"
    assert [path.name for path in kept.iterdir()] == ["stellaops.dump.age"]


def killed_while_it_restores(bench: Bench) -> None:
    """Leave a scratch database with every row of the site: the next attempt drops it, and nothing else."""
    with psycopg.connect(bench.known.dsn("postgres", admin=True), autocommit=True) as connection:
        connection.execute("CREATE DATABASE cutover_scratch_of_somebody")
    bench.kill("back_up", "restore", bench.hold("pg_restore"))
    bench.release("pg_restore")
    (left,) = bench.databases() - {"cutover_scratch_of_somebody"}
    assert bench.private_folders()
    with bench.open("restore") as attempt:
        removed = leftovers.remove(attempt.site, attempt.upgrade)
        assert f"scratch database {left}" in removed
        assert len(removed) == 2
        assert bench.databases() == {"cutover_scratch_of_somebody"}
        assert not bench.private_folders()
        back_up(attempt)
        assert leftovers.remove(attempt.site, attempt.upgrade) == ()
    assert bench.databases() == {"cutover_scratch_of_somebody"}
    with psycopg.connect(bench.known.dsn("postgres", admin=True), autocommit=True) as connection:
        connection.execute("DROP DATABASE cutover_scratch_of_somebody")


def killed_with_secrets_in_a_scratch_namespace(bench: Bench) -> None:
    """Leave Secrets decrypted in the cluster: the next attempt deletes the namespace that holds them."""
    bench.kill("back_up_secrets", "secrets", bench.namespaces)
    (left,) = bench.namespaces()
    with bench.open("secrets") as attempt:
        assert leftovers.remove(attempt.site, attempt.upgrade) == (f"scratch namespace {left}",)
        wait(lambda: not bench.namespaces(), "the scratch namespace is there")
        back_up_secrets(attempt)
    wait(lambda: not bench.namespaces(), "a scratch namespace is there")


def killed_while_helm_installs(bench: Bench) -> None:
    """Let helm end with its harness: whatever it could still say, the release is installed once."""
    bench.kill("install", "helm", lambda: status(bench).startswith("pending"))
    provide_volumes(bench, "a-1", "a-2")
    with bench.open("helm") as attempt:
        install(attempt)
        removed = attempt.upgrade.journal.last("done", action="remove what was half done")
        assert removed is not None
        assert removed.data["status"] in {"failed", "pending-install"}
    assert status(bench) == "deployed 1"
    with bench.open("helm") as attempt:
        install(attempt)
        already = attempt.upgrade.journal.last("observation", what="already")
        assert already is not None
        assert (already.data["action"], already.data["revision"]) == ("install green", 1)
    assert status(bench) == "deployed 1", "nothing was done twice"


def helm_is_killed_too(bench: Bench) -> None:
    """Leave helm's own lock: it is removed with what was half installed, unless that serves somebody."""
    remove_release(bench)
    leave_lock(bench, "lock")
    with bench.open("lock") as attempt:
        attempt.served_by("green")
        with pytest.raises(Refused) as caught:
            release.install_green(attempt.site, attempt.upgrade)
        assert caught.value.code == "release-half-done"
        assert status(bench) == "pending-install 1"
        provide_volumes(bench, "b-1", "b-2")
        install(attempt)
    assert status(bench) == "deployed 1"


def other_values_are_installed(bench: Bench) -> None:
    """Give the release other values than it has: it is not what is wanted any more."""
    path = bench.place.root / "values.yaml"
    path.write_text(path.read_text().replace("number: 5", "number: 6"))
    with bench.open("values") as attempt:
        install(attempt)
    assert status(bench) == "deployed 2"


def somebody_elses_helm(bench: Bench) -> None:
    """Leave a lock that this record's attempts did not take: it is not touched."""
    remove_release(bench)
    leave_lock(bench, "theirs")
    with bench.open("ours") as attempt:
        chart = dataclasses.replace(attempt.upgrade.target.chart, wait_timeout_s=1)
        attempt.upgrade.target = dataclasses.replace(attempt.upgrade.target, chart=chart)
        with pytest.raises(Refused) as caught:
            install(attempt)
        assert caught.value.code == "release-busy"
        assert attempt.upgrade.journal.last("intent") is None
    assert status(bench) == "pending-install 1"


def remove_release(bench: Bench) -> None:
    with bench.open("between") as attempt:
        attempt.site.helm.uninstall("stellaops-green", layout.GREEN_NAMESPACE)


def leave_lock(bench: Bench, record: str) -> None:
    """Kill harness and helm in the middle of an installation."""
    bench.hold("helm")
    try:
        bench.kill("install", record, lambda: status(bench).startswith("pending"))
        os.kill(int((bench.place.root / "holding-helm").read_text()), signal.SIGKILL)
    finally:
        bench.release("helm")
    assert status(bench) == "pending-install 1"


def killed_while_it_archives(bench: Bench) -> None:
    """Leave part of the artifacts in the archive: the rest is brought, and nothing twice."""
    folder = bench.place.root / "records" / "archive" / "artifacts"
    folder.mkdir(parents=True)
    for number in range(ARTIFACTS):
        (folder / f"{number}.txt").write_text(f"artifact {number}")
    bench.kill("archive", "archive", lambda: len(versions(bench, "archive")) >= ARCHIVED_AT_KILL)
    before = versions(bench, "archive")
    assert ARCHIVED_AT_KILL <= len(before) < ARTIFACTS
    changed = min(before)
    (bench.place.root / changed.replace("upgrades/", "records/")).write_text("it says something else by now")
    with bench.open("archive") as attempt:
        archive(attempt)
    after = versions(bench, "archive")
    assert set(after) == {f"upgrades/archive/artifacts/{number}.txt" for number in range(ARTIFACTS)}
    twice = {key for key, found in after.items() if len(found) != 1}
    # What was on its way when its sender died is not there for a reader; the store may list it all the same, later.
    assert twice & set(before) == {changed}, sorted(twice)
    assert len(twice - set(before)) <= UNDER_WAY
    assert all(after[key] == found for key, found in before.items() if key != changed)


SCENARIOS = {
    each.__name__: each
    for each in (
        killed_while_it_dumps,
        killed_while_it_restores,
        killed_with_secrets_in_a_scratch_namespace,
        killed_while_helm_installs,
        helm_is_killed_too,
        other_values_are_installed,
        somebody_elses_helm,
        killed_while_it_archives,
    )
}


def wait(until: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + BOUND_S
    while not until():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)


def status(bench: Bench) -> str:
    """Return status and revision of green's release, as Helm's own notes in the cluster say."""
    with ApiClient(bench.place) as api:
        listed = api.get(f"/api/v1/namespaces/{layout.GREEN_NAMESPACE}/secrets?labelSelector=owner=helm")["items"]
    found = sorted((int(item["metadata"]["labels"]["version"]), item["metadata"]["labels"]) for item in listed)
    return f"{found[-1][1]['status']} {found[-1][0]}" if found else ""


def provide_volumes(bench: Bench, *names: str) -> None:
    """Make volumes: one for the claim of the half-done release, which keeps it, and one for that of the next."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "hostPath": {"path": "/mnt"},
        "persistentVolumeReclaimPolicy": "Retain",
    }
    with ApiClient(bench.place) as api:
        for name in names:
            api.create("/api/v1/persistentvolumes", {"metadata": {"name": name}, "spec": spec})


def versions(bench: Bench, record: str) -> dict[str, list[str]]:
    """Return the versions of every object that a record has in the archive, by key."""
    found: dict[str, list[str]] = {}
    pages = objects.client(bench.known).get_paginator("list_object_versions")
    for page in pages.paginate(Bucket=sitedata.ARCHIVE_BUCKET, Prefix=f"upgrades/{record}/"):
        for entry in page.get("Versions", []):
            found.setdefault(entry["Key"], []).append(entry["VersionId"])
    return found


async def bring_up(place: layout.Place, programs: dict[str, str]) -> None:
    """Start database, store and cluster."""
    scene = parts.Scene(
        place=place,
        tools=parts.Tools(programs=programs),
        uid_is_root=os.getuid() == 0,
        user_namespaces=bool(os.environ.get("REENTRY_USER_NAMESPACES")),
    )
    started, jobs = seeding.contents(scene)
    pki.write(place)
    await Supervisor(place=place, parts=[*started, *parts.control_plane(scene)[:3]], jobs=jobs).bring_up()


def answer(bench: Bench, name: str) -> str:
    try:
        SCENARIOS[name](bench)
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001  # whatever it is, the test shows it
        seen = f"\n{error.seen}\n{error.do}" if isinstance(error, CutoverError) else ""
        return traceback.format_exc() + seen
    return ""


async def serve(place: layout.Place, programs: dict[str, str]) -> None:
    """Bring everything up, then answer until the input ends."""
    await bring_up(place, programs)
    bench = Bench(place=place, programs=programs)
    await asyncio.to_thread(bench.prepare)
    print("ready", flush=True)  # noqa: T201 (it answers on standard output)
    while line := await asyncio.to_thread(sys.stdin.readline):
        told = await asyncio.to_thread(answer, bench, line.strip())
        print(json.dumps(told), flush=True)  # noqa: T201


def main(arguments: list[str]) -> None:
    place = layout.Place.at(Path(arguments[0]))
    programs: Any = json.loads((place.root / "programs.json").read_text())
    os.environ |= SECRETS
    if arguments[2:]:
        _, _, procedure, name = arguments
        with Bench(place=place, programs=programs).open(name) as attempt:
            PROCEDURES[procedure](attempt)
        return
    make_network()
    make_mounts(place)
    os.environ["TMPDIR"] = str(place.root / "tmp")
    os.environ["PATH"] = parts.path_variable(place)
    asyncio.run(serve(place, programs))


if __name__ == "__main__":
    main(sys.argv[1:])
