"""A support archive: what is in it is listed, what is not is named, and no planted secret is in either."""

from __future__ import annotations

import base64
import io
import json
import stat
import tarfile
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from cutover import project
from cutover.clock import ManualClock
from cutover.errors import CouldNotMeasure
from cutover.procedures import examination, support
from cutover.redaction import MASK, Redactor, forms
from cutover.runbook import causes
from cutover.runbook.ports import Pod, Served
from cutover.runbook.support_archive import LARGEST_FILE_BYTES, SupportArchive, members_of, packed
from cutover.site.operator import Operator
from cutover.site.stella import Stella

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.runbook.upgrade import Upgrade

NOW = ManualClock().now()
PLANTED = "pl4nted/s3cret+value=="
OF_CLUSTER = "only-the-cluster-knows-this"
CHECK = {"name": "database", "ok": False, "detail": "no route to host"}


def made(tmp_path: Path, **files: str | bytes) -> Path:
    archive = SupportArchive(Redactor([PLANTED]))
    for name, content in files.items():
        archive.add(name.replace("__", "/"), content, what="a test")
    return archive.write(tmp_path / "s.tar.gz", now=NOW, about={"site": "here", "failed": f"with {PLANTED}"}).path


def everything(path: Path) -> str:
    """Return all that an archive holds, names too."""
    return "\n".join(f"{name}\n{content.decode()}" for name, content in members_of(path.read_bytes()))


FORMS = {
    "plain": PLANTED,
    "in JSON": json.dumps({"password": PLANTED}),
    "in a URL": f"postgresql://u:{quote(PLANTED, safe='')}@db/x",
    "base64": base64.b64encode(PLANTED.encode()).decode(),
    "inside base64": base64.b64encode(f"user:{PLANTED}\n".encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_form_of_a_secret_gets_in(tmp_path: Path, form: str) -> None:
    path = made(tmp_path, **{"a__log.txt": f"before {form} after"})
    held = everything(path)
    assert MASK in held
    assert not [one for one in forms(PLANTED) if one in held]
    assert support.index_of(path)["files"][0]["is_redacted"] is True


def test_every_file_is_listed_with_its_digest_and_the_archive_is_private(tmp_path: Path) -> None:
    path = made(tmp_path, one="1", two__three="23")
    index = support.index_of(path)
    assert [(each["name"], each["size_bytes"]) for each in index["files"]] == [("one", 1), ("two/three", 2)]
    assert support.unlisted(path) == ()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert index["failed"] == f"with {MASK}"
    assert "two/three" in dict(members_of(path.read_bytes()))["README.txt"].decode()


@pytest.mark.parametrize("how", ["changed", "added", "dropped"])
def test_an_archive_that_is_not_as_listed_is_found(tmp_path: Path, how: str) -> None:
    path = made(tmp_path, one="1", two="2")
    files = dict(members_of(path.read_bytes()))
    match how:
        case "changed":
            files["two"] = b"3"
        case "added":
            files["three"] = b"3"
        case _:
            del files["two"]
    path.write_bytes(packed(files, now=NOW))
    assert support.unlisted(path) == (("three",) if how == "added" else ("two",))


def test_what_is_no_text_or_too_large_is_named_with_the_reason(tmp_path: Path) -> None:
    archive = SupportArchive(Redactor())
    archive.add("binary", b"PK\0\1", what="x")
    archive.add("huge", "x" * (LARGEST_FILE_BYTES + 1), what="x")
    archive.add_file(tmp_path / "absent", "absent", what="x")
    assert archive.add_tar(b"no tar at all", "exported", what="x") == 0
    written = archive.write(tmp_path / "s.tar.gz", now=NOW, about={})
    assert written.members == ()
    left_out = {each.name: each.why for each in written.left_out}
    assert set(left_out) == {"binary", "huge", "absent", "exported"}
    assert "sha256" in left_out["binary"]


def test_a_name_that_leads_outside_is_not_taken_from_another_archive(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as other:
        for name in ("../up", "/root", "good"):
            member = tarfile.TarInfo(name)
            member.size = 2
            other.addfile(member, io.BytesIO(b"hi"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        other.addfile(link)
    archive = SupportArchive(Redactor())
    assert archive.add_tar(stream.getvalue(), "p", what="x") == 1
    written = archive.write(tmp_path / "s.tar.gz", now=NOW, about={})
    assert [member.name for member in written.members] == ["p/good"]


# -- the capture after a failure ---------------------------------------------------------------------------------------


class Cluster:
    """Two namespaces with one pod each; their Secrets can be read unless a test says otherwise."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.is_open = is_open

    def version(self) -> str:
        return "v1.36.3"

    def list(self, kind: str, namespace: str, **_: object) -> tuple[dict[str, Any], ...]:
        meta = {"name": f"{kind.lower()}-1", "namespace": namespace}
        if kind == "Secret":
            if not self.is_open:
                raise CouldNotMeasure("forbidden", code="kubernetes-forbidden")
            value = base64.b64encode(OF_CLUSTER.encode()).decode()
            return ({"metadata": meta, "type": "Opaque", "data": {"token": value, "flag": "dHJ1ZQ=="}},)
        if kind == "HTTPRoute":
            raise CouldNotMeasure("no such kind", code="kubernetes-not-found")
        if kind == "ConfigMap":
            return ({"metadata": meta, "data": {"url": f"http://x/?token={OF_CLUSTER}", "flag": "true"}},)
        states = [{"name": "web", "restartCount": 1}]
        return ({"metadata": meta, "status": {"containerStatuses": states}},)

    def pod_log(self, *_: object, previous: bool, **__: object) -> str:
        return f"{'earlier' if previous else 'now'}: connecting with {PLANTED} and {OF_CLUSTER}\n"

    def pods(self, namespace: str, **_: object) -> tuple[Pod, ...]:
        return (
            Pod(
                name=f"pod-of-{namespace}",
                namespace=namespace,
                labels={},
                phase="Running",
                ready=False,
                restarts=1,
                images=(),
                image_ids=(),
                ip="",
                container_port=None,
                init_running="",
                problem="CrashLoopBackOff",
                problem_container="web",
                problem_in_init=False,
                problem_detail="container web: exit code 1",
            ),
        )

    def deployments(self, _: str) -> tuple[()]:
        return ()

    def service(self, *_: object) -> None:
        return None

    def ready_endpoints(self, *_: object) -> int:
        return 0

    def events(self, _: str) -> tuple[()]:
        return ()


def site_of(upgrade: Upgrade, tmp_path: Path, *, is_open: bool = True, exports: bool = True) -> Any:  # noqa: ANN401
    """Return a site with a real operator on this host and a `stella` that exports what it should not."""
    folder = tmp_path / "bin"
    folder.mkdir()
    leaking = packed({"diagnostics/logs/web.log": f"password={PLANTED} {OF_CLUSTER}\n".encode()}, now=NOW)
    (folder / "export.tar.gz").write_bytes(leaking)
    answer = {
        "schema": "stella/doctor/v1",
        "ok": False,
        "namespace": "stellaops-green",
        "full": True,
        "checks": [CHECK],
        "export": None,
    }
    (folder / "answer").write_text(json.dumps(answer))
    copying = f'[ "$2" = --export ] && cp "{folder}/export.tar.gz" "$3"\n' if exports else ""
    (folder / "stella").write_text(f'#!/bin/sh\n{copying}cat "{folder}/answer"\nexit 1\n')
    (folder / "stella").chmod(0o755)
    operator = Operator(
        "local://",
        path=[str(folder)],
        redactor=Redactor([PLANTED]),
        folder=upgrade.folder / "artifacts",
        journal=upgrade.journal,
    )
    roles = upgrade.target.default_roles()
    target = SimpleNamespace(
        name="here",
        colours=upgrade.target.colours,
        routing=upgrade.target.routing,
        store=SimpleNamespace(bucket="evidence"),
        secrets=lambda: (PLANTED,),
        default_roles=lambda: roles,
        roles_when_serving=lambda _: roles,
    )

    def unreachable() -> object:
        raise CouldNotMeasure("the log does not answer", code="database-unreachable", seen="refused")

    return SimpleNamespace(
        target=target,
        operator=operator,
        stella=Stella(operator, contract=project.CONTRACT / "stella", environment={}, default_timeout_s=10),
        redactor=Redactor([PLANTED]),
        cluster=Cluster(is_open=is_open),
        database=SimpleNamespace(identity=lambda: SimpleNamespace(name="stellaops")),
        log=SimpleNamespace(identity=unreachable),
        store=SimpleNamespace(check=lambda: None),
        prometheus=SimpleNamespace(is_ready=lambda: False),
        public=SimpleNamespace(
            who_serves=lambda n: Served(total=n, by_colour={"blue": n}, failed=0, pods={}, problems=())
        ),
        routing=SimpleNamespace(
            primary_backend=lambda: "stellaops-blue",
            service_beside_route=lambda colour: colour.service,
            lint=lambda: (),
            drift=lambda: (),
        ),
        assign_roles=lambda _: None,
    )


def test_a_capture_holds_what_tells_of_the_failure_and_no_secret(upgrade: Upgrade, tmp_path: Path) -> None:
    upgrade.path("artifacts", "commands", "001-helm.txt").write_text(f"$ helm --set x={PLANTED}\n")
    upgrade.path("artifacts", "backups", "secrets.yaml.age").write_bytes(b"age\0")
    upgrade.path("gates", "samples.jsonl").write_text("{}\n")
    upgrade.journal.write("clause_finished", result="FAIL")
    captured = support.capture(site_of(upgrade, tmp_path), upgrade, failed="2.1a failed")

    names = {member.name for member in captured.archive.members}
    assert names >= {
        "diagnosis.json",
        "record/journal.jsonl",
        "record/artifacts/commands/001-helm.txt",
        "record/gates/samples.jsonl",
        "platform/green/diagnostics/logs/web.log",
        "platform/blue/diagnostics/logs/web.log",
        "cluster/stellaops-green/event.json",
        "cluster/stellaops-green/secret.json",
        "cluster/stellaops-green/logs/pod-1/web.log",
        "cluster/stellaops-prod/logs/pod-1/web.previous.log",
    }
    assert not [name for name in names if "backups" in name or "httproute" in name]
    assert support.unlisted(captured.archive.path) == ()
    kept = [*(upgrade.folder / support.FOLDER).glob("*.tar.gz")]
    assert {path.name for path in kept} == {
        "support-t.tar.gz",
        "diagnostics-blue.tar.gz",
        "diagnostics-green.tar.gz",
    }
    for path in kept:
        held = everything(path)
        assert not [one for secret in (PLANTED, OF_CLUSTER) for one in forms(secret) if one in held], path.name
    assert '"flag": "true"' in everything(captured.archive.path), "a short value is no secret"

    line = upgrade.journal.last("support")
    assert line is not None
    assert line.data["sha256"] == captured.archive.sha256
    assert {"container-crashes", "metrics-down"} <= set(line.data["causes"])


def test_nothing_of_the_cluster_is_taken_while_its_secrets_cannot_be_read(upgrade: Upgrade, tmp_path: Path) -> None:
    captured = support.capture(site_of(upgrade, tmp_path, is_open=False), upgrade, failed="x")
    assert not [member.name for member in captured.archive.members if member.name.startswith("cluster/")]
    assert "cluster" in {each.name for each in captured.archive.left_out}


def test_an_export_that_is_not_there_is_named(upgrade: Upgrade, tmp_path: Path) -> None:
    captured = support.capture(site_of(upgrade, tmp_path, exports=False), upgrade, failed="x")
    assert all(one.problem and not one.content for one in captured.diagnostics)
    assert {"platform/blue", "platform/green"} <= {each.name for each in captured.archive.left_out}


def test_a_second_capture_takes_the_place_of_the_first(upgrade: Upgrade, tmp_path: Path) -> None:
    site = site_of(upgrade, tmp_path)
    first = support.capture(site, upgrade, failed="x").archive
    second = support.capture(site, upgrade, failed="y").archive
    assert first.path == second.path
    assert support.index_of(second.path)["failed"] == "y"


# -- a site examined ---------------------------------------------------------------------------------------------------


def test_each_part_that_is_wrong_or_silent_is_told_with_its_row(upgrade: Upgrade, tmp_path: Path) -> None:
    found = examination.examine(site_of(upgrade, tmp_path))
    told = {(trouble.where, trouble.diagnosis.id) for trouble in found.troubles}
    assert told >= {
        ("blue", "container-crashes"),
        ("green", "container-crashes"),
        ("blue", "doctor-names-database"),
        ("site", "metrics-down"),
    }
    assert {sight.part for sight in found.silent} == {"transparency log", "metrics"}
    assert {sight.part for sight in found.bad} == {"doctor blue: database", "doctor green: database"}
    document = found.as_json()
    assert document["sound"] is False
    assert {row["diagnosis"] for row in document["troubles"]} <= {cause.id for cause in causes.CAUSES}


def test_an_upgrade_that_goes_on_keeps_its_roles(upgrade: Upgrade, tmp_path: Path) -> None:
    site, assigned = site_of(upgrade, tmp_path), []
    site.assign_roles = assigned.append
    support.capture(site, upgrade, failed="x")
    assert assigned == [], "what a look at the routes says is not for a run that has its roles"
    examination.examine(site)
    assert len(assigned) == 1


def test_a_sound_site_is_said_to_be_so(upgrade: Upgrade, tmp_path: Path) -> None:
    site = site_of(upgrade, tmp_path)
    (tmp_path / "bin" / "stella").write_text(f'#!/bin/sh\ncat "{tmp_path}/bin/good"\n')
    answer = json.loads((tmp_path / "bin" / "answer").read_text())
    (tmp_path / "bin" / "good").write_text(json.dumps({**answer, "ok": True, "checks": [{**CHECK, "ok": True}]}))
    well = [replace(pod, ready=True, problem="") for pod in site.cluster.pods("stellaops-green")]
    site.cluster.pods = lambda *_, **__: tuple(well)
    site.cluster.ready_endpoints = lambda *_: 1
    site.log = site.database
    site.prometheus = SimpleNamespace(is_ready=lambda: True)
    found = examination.examine(site)
    assert found.as_json()["sound"] is True
