"""Every command answers with one document that satisfies its schema, in both outcomes, and with tables otherwise."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
import pypdf
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from rehearsal.platform.core import makers, migrations
from rehearsal.platform.core.migrations import MigrationError, MigrationLockedError, State
from rehearsal.platform.stella import audits, cli, database, health, records, reindexing, scanning, schema
from rehearsal.platform.stella.audits import Event
from tests.platform.stella.stella_world import CREATED, SIGNING_KEY, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

    from conftest import Server

CONTRACT = Path(__file__).parents[3] / "contract" / "stella"
PROXY = "/api/v1/namespaces/stellaops-prod/services/http:stellaops-blue:80/proxy"


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.stella, words)


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((CONTRACT / f"{name}.schema.json").read_text()))


def answer_of(*words: str, exit_code: int = 0) -> dict[str, Any]:
    """Run a command with ``--json`` and return its one document, held to its own schema."""
    result = run(*words, "--json")
    assert result.exit_code == exit_code, result.output
    assert result.stderr == ""
    answer: dict[str, Any] = json.loads(result.stdout)
    name = "-".join(word for word in words[: _options_at(words)])
    assert answer["schema"] == f"stella/{name}/v1"
    validator(name).validate(answer)
    assert answer["ok"] == (exit_code == 0)
    return answer


def _options_at(words: tuple[str, ...]) -> int:
    return next((index for index, word in enumerate(words) if word.startswith("-")), len(words))


@pytest.fixture
def whole_site(site: Server, world: World, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Give the site a database that says what the world's records say."""

    @contextlib.contextmanager
    def connect(_url: str) -> Iterator[Any]:
        yield SimpleNamespace(transaction=contextlib.nullcontext)

    def read_items(_connection: object, *, kind: str | None = None, since: object = None) -> tuple[records.Item, ...]:
        del since
        return tuple(item for item in world.records.items if kind in {None, item.kind})

    monkeypatch.setattr(database, "connect", connect)
    monkeypatch.setattr(records, "read", lambda _settings: world.records)
    monkeypatch.setattr(records, "read_items", read_items)
    return site


def all_commands() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in cli.stella.commands.items():
        if isinstance(command, click.Group):
            found |= {f"{name}-{inner}": entry for inner, entry in command.commands.items()}
        else:
            found[name] = command
    return found


def test_every_command_takes_json_and_a_namespace_and_has_a_schema():
    commands = all_commands()
    assert len(commands) == 17
    for name, command in commands.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--namespace"} <= options, name
        assert (CONTRACT / f"{name}.schema.json").exists(), name


@pytest.mark.parametrize("path", sorted(CONTRACT.glob("*.json")), ids=lambda path: path.name)
def test_every_schema_is_strict(path: Path):
    body = json.loads(path.read_text())
    Draft202012Validator.check_schema(body)
    assert body["$schema"] == "https://json-schema.org/draft/2020-12/schema"

    def objects(part: object) -> Iterator[dict[str, Any]]:
        if isinstance(part, dict):
            if "properties" in part and "oneOf" not in part:
                yield part
            for inner in part.values():
                yield from objects(inner)
        elif isinstance(part, list):
            for inner in part:
                yield from objects(inner)

    for part in objects(body):
        assert part["additionalProperties"] is False
        assert sorted(part["required"]) == sorted(part["properties"])


@pytest.mark.usefixtures("site")
def test_version():
    answer = answer_of("version")
    assert answer["server"] == "2027.Q1"
    assert answer["image"] == "registry.stella.test/stellaops:2027.Q1"


def test_version_without_a_ready_pod_is_unreachable(site: Server):
    site.answer(f"{PROXY}/version", {"message": "no endpoints"}, status=503)
    assert answer_of("version", exit_code=3)["error"]["code"] == "platform-unreachable"


def listed(*applied: str) -> list[State]:
    return [State(migration=m, applied_at=CREATED if m.release in applied else None) for m in migrations.MIGRATIONS]


@pytest.mark.usefixtures("whole_site")
def test_upgrade_check(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(migrations, "status", lambda _connection, _release: listed("2027.Q1"))
    assert answer_of("upgrade", "check", "--target", "2027.Q2")["path"] == ["2027.Q1", "2027.Q2"]
    assert "skips 2027.Q2" in answer_of("upgrade", "check", "--target", "2027.Q3", exit_code=1)["reason"]


def test_upgrade_check_of_a_schema_that_is_not_contracted(whole_site: Server, monkeypatch: pytest.MonkeyPatch):
    version = next(path for path in whole_site.answers if path.endswith(":80/proxy/version"))
    whole_site.answer(version, {"version": "2027.Q2", "colour": "blue", "pod": "web-1"})
    monkeypatch.setattr(migrations, "status", lambda _connection, _release: listed("2027.Q1"))
    answer = answer_of("upgrade", "check", "--target", "2027.Q3", exit_code=1)
    assert answer["path"] == ["2027.Q2", "2027.Q3"]
    assert "category B pending: 0102_contract_leaf_v1" in answer["reason"]
    monkeypatch.setattr(migrations, "status", lambda _connection, _release: listed("2027.Q1", "2027.Q2"))
    assert answer_of("upgrade", "check", "--target", "2027.Q3")["path"] == ["2027.Q2", "2027.Q3"]


@pytest.mark.usefixtures("site")
def test_doctor_of_what_runs():
    answer = answer_of("doctor")
    assert [check["name"] for check in answer["checks"]] == [
        "deployment stellaops-blue-web",
        "pod web-1",
        "web alive",
        "web ready",
        "worker ready",
    ]
    assert (answer["full"], answer["export"]) == (False, None)


def test_doctor_of_a_deployment_that_is_not_ready(site: Server):
    site.answer(f"{PROXY}/readyz", {"checks": {"database": "timeout"}}, status=503)
    failed = [check for check in answer_of("doctor", exit_code=1)["checks"] if not check["ok"]]
    assert [check["name"] for check in failed] == ["web ready"]
    assert "timeout" in failed[0]["detail"]


@pytest.mark.usefixtures("site")
def test_doctor_says_which_dependency_does_not_answer():
    answer = answer_of("doctor", "--full", exit_code=1)
    failed = {check["name"]: check["detail"] for check in answer["checks"] if not check["ok"]}
    assert set(failed) == {"database", "schema", "transparency log", "cache", "queue", "store"}
    assert failed["database"].startswith("database-unreachable: the database 127.0.0.1:9/stellaops cannot be used")
    assert failed["cache"].startswith("cache-unreachable")


def test_doctor_of_an_api_server_that_is_away(site: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    path = tmp_path / "away"
    path.write_text((tmp_path / "kubeconfig").read_text().replace(site.url, "http://127.0.0.1:9"))
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert answer_of("doctor", exit_code=3)["error"]["code"] == "cluster-unreachable"
    result = run("doctor")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "cluster-unreachable" in result.stderr
    assert "do  check that the cluster is up" in result.stderr


@pytest.mark.parametrize(
    ("state", "conditions", "said"),
    [
        ({"waiting": {"reason": "ImagePullBackOff"}}, [], "web waits: ImagePullBackOff, 4 restarts"),
        ({"terminated": {"exitCode": 2}}, [], "web ended with exit code 2, 4 restarts"),
        ({"running": {}}, [], "web runs and is not ready, 4 restarts"),
        ({}, [], "not ready, phase Pending, 4 restarts"),
        ({"running": {}}, [{"type": "Ready", "status": "True"}], "ready, 4 restarts"),
    ],
)
def test_a_pod_is_described_in_words(state: dict[str, Any], conditions: list[dict[str, str]], said: str):
    container = {"name": "web", "ready": False, "restartCount": 4, "state": state}
    status = {"phase": "Pending", "conditions": conditions, "containerStatuses": [container]}
    check = health.check_pod({"metadata": {"name": "p"}, "status": status})
    assert (check.ok, check.detail) == (bool(conditions), said)


@pytest.mark.parametrize(
    ("replicas", "status", "ok"),
    [
        (2, {"observedGeneration": 3, "updatedReplicas": 2, "availableReplicas": 2}, True),
        (2, {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2}, False),
        (2, {"observedGeneration": 3, "updatedReplicas": 1, "availableReplicas": 2}, False),
        (2, {"observedGeneration": 3, "updatedReplicas": 2, "availableReplicas": 1}, False),
        (0, {"observedGeneration": 3}, False),
        (1, {}, False),
    ],
)
def test_a_deployment_is_good_when_all_it_wants_is_there(replicas: int, status: dict[str, int], *, ok: bool):
    item = {"metadata": {"name": "d", "generation": 3}, "spec": {"replicas": replicas}, "status": status}
    assert health.check_deployment(item).ok == ok


@pytest.mark.usefixtures("whole_site")
def test_migrations_status(monkeypatch: pytest.MonkeyPatch):
    states = [State(migration=m, applied_at=CREATED if m.release == "2027.Q1" else None) for m in migrations.MIGRATIONS]
    monkeypatch.setattr(migrations, "status", lambda _connection, _release: states)
    answer = answer_of("system", "migrations-status")
    assert [entry["state"] for entry in answer["migrations"]] == ["applied"] * 3 + ["pending"] * 4
    assert answer["migrations"][0]["applied_at"] == "2027-04-01T12:00:00.000000Z"


@pytest.mark.usefixtures("whole_site")
def test_migrations_run_of_the_newest_release_deployed(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, str]] = []

    def run_migrations(_connection: object, release: str, category: str, **_: object) -> tuple[Any, Any]:
        asked.append((release, category))
        return migrations.MIGRATIONS[2:3], migrations.MIGRATIONS[:2]

    monkeypatch.setattr(migrations, "run", run_migrations)
    answer = answer_of("system", "migrations-run", "--category", "A")
    assert (answer["applied"], answer["skipped"]) == (["0003_merkle"], ["0001_base", "0002_evidence"])
    answer_of("system", "migrations-run", "--category", "A", "--release", "2027.Q2")
    answer_of("system", "migrations-run", "--category", "B")
    assert asked == [("2027.Q1", "A"), ("2027.Q2", "A"), ("2027.Q1", "B")]


@pytest.mark.usefixtures("whole_site")
def test_category_b_is_refused_while_an_older_release_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(migrations, "run", lambda *_, **__: ((), ()))
    words = ("system", "migrations-run", "--category", "B", "--release", "2027.Q2")
    error = answer_of(*words, exit_code=1)["error"]
    assert error["code"] == "older-release-runs"
    assert "2027.Q1" in error["message"]
    assert answer_of(*words, "--confirm-contract")["applied"] == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [(MigrationLockedError("held by session 7"), "migration-locked"), (MigrationError("bad"), "migration-refused")],
)
@pytest.mark.usefixtures("whole_site")
def test_migrations_that_cannot_run_say_why(monkeypatch: pytest.MonkeyPatch, fault: Exception, code: str):
    def run_migrations(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(migrations, "run", run_migrations)
    error = answer_of("system", "migrations-run", "--category", "A", "--lock-timeout", "0.1", exit_code=1)["error"]
    assert error["code"] == code
    assert str(fault) in error["message"]


@pytest.mark.parametrize(
    ("deployed", "expected"),
    [(("2027.Q1", "2027.Q2"), "2027.Q2"), (("2027.Q2", "canary"), "2027.Q2"), ((), "2027.Q1")],
)
def test_the_newest_release_is_the_matrixs(deployed: tuple[str, ...], expected: str):
    assert schema.newest(deployed, default="2027.Q1") == expected


@pytest.mark.usefixtures("whole_site")
def test_evidence_verify_all_and_continuity(world: World, tmp_path: Path):
    baseline = tmp_path / "made" / "baseline.json"
    answer = answer_of("evidence", "verify-all", "--output", str(baseline))
    assert (answer["items"], answer["size"], answer["failures"]) == (12, 12, [])
    written = json.loads(baseline.read_text())
    validator("baseline").validate(written)
    assert {entry["id"]: entry["sha256"] for entry in written["results"]} == {
        item.id: item.sha256 for item in world.records.items
    }
    report = tmp_path / "report.html"
    words = ("evidence", "verify-continuity", "--baseline", str(baseline), "--output", str(report))
    answer = answer_of(*words)
    assert (answer["before"], answer["after"], answer["missing"], answer["changed"], answer["added"]) == (
        12,
        12,
        0,
        0,
        0,
    )
    assert "✔ Continued" in report.read_text()
    item = world.item("sbom")
    world.replace_item(item.id, sha256="0" * 64)
    answer = answer_of(*words, exit_code=1)
    assert answer["changed"] == 1
    assert "✘ Broken" in report.read_text()
    assert item.id in report.read_text()
    assert not re.search(r"(src|href)=", report.read_text()), "the report must need no other file"


def test_evidence_verify_digests(whole_site: Server, world: World, tmp_path: Path):
    report = tmp_path / "digests.json"
    assert answer_of("evidence", "verify-digests", "--report", str(report))["mismatched"] == 0
    altered, lost = world.item("sbom"), world.item("bundle")
    whole_site.answer(f"/evidence/{altered.object_key}", b"other")
    del whole_site.answers[f"/evidence/{lost.object_key}"]
    assert answer_of("evidence", "verify-digests", "--report", str(report), exit_code=1)["mismatched"] == 2
    written = json.loads(report.read_text())
    validator("digests").validate(written)
    wrong = {entry["id"]: entry["actual"] for entry in written["results"] if not entry["ok"]}
    assert wrong[lost.id] is None
    assert set(wrong) == {altered.id, lost.id}


@pytest.mark.usefixtures("whole_site")
def test_evidence_export(world: World, tmp_path: Path):
    folder = tmp_path / "export"
    answer = answer_of("evidence", "export", "--all", "--output", str(folder))
    manifest = json.loads((folder / "manifest.json").read_text())
    validator("export-manifest").validate(manifest)
    assert answer["items"] == len(manifest["bundles"]) == 3
    for entry in manifest["bundles"]:
        assert (folder / entry["file"]).read_bytes() == world.contents[
            f"evidence/{entry['sha256'][:2]}/{entry['sha256']}"
        ]
    bundle = world.item("bundle").id
    assert answer_of("evidence", "export", "--id", bundle, "--output", str(tmp_path / "one"))["items"] == 1
    error = answer_of("evidence", "export", "--id", "ev-x", "--output", str(folder), exit_code=1)["error"]
    assert error["code"] == "bundle-missing"


def test_an_altered_bundle_is_not_exported(whole_site: Server, world: World, tmp_path: Path):
    whole_site.answer(f"/evidence/{world.item('bundle').object_key}", b"other")
    error = answer_of("evidence", "export", "--all", "--output", str(tmp_path / "x"), exit_code=1)["error"]
    assert error["code"] == "bundle-altered"
    assert not (tmp_path / "x" / "manifest.json").exists()


def test_a_store_that_fails_is_unreachable(whole_site: Server, world: World, tmp_path: Path):
    whole_site.answer(f"/evidence/{world.item('bundle').object_key}", b"", status=503)
    words = ("evidence", "verify-all", "--output", str(tmp_path / "x.json"))
    assert answer_of(*words, exit_code=3)["error"]["code"] == "store-unreachable"
    assert not (tmp_path / "x.json").exists()


@pytest.mark.usefixtures("whole_site")
def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    words = ("evidence", "verify-all", "--output", str(tmp_path / "file" / "x.json"))
    assert answer_of(*words, exit_code=1)["error"]["code"] == "output-unwritable"


def pdf_text(path: Path) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)


@pytest.mark.usefixtures("whole_site")
def test_evidence_audit_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    events = tuple(
        Event(time=CREATED, what=what, subject=f"{what} {number}", detail="<detail> & more")
        for what, count in (("scan requested", 250), ("migration applied", 1))
        for number in range(count)
    )
    monkeypatch.setattr(audits, "read_events", lambda _settings, _since: events)
    path = tmp_path / "audit.pdf"
    answer = answer_of("evidence", "audit-report", "--since", "2027-04-01", "--output", str(path))
    assert (answer["events"], answer["since"]) == (251, "2027-04-01T00:00:00.000000Z")
    text = pdf_text(path)
    assert "migration applied 0" in text
    assert "<detail> & more" in text
    assert "250 events; 50 in the middle are left out." in text


def test_evidence_compliance_report(whole_site: Server, world: World, tmp_path: Path):
    path = tmp_path / "compliance.pdf"
    words = ("evidence", "compliance-report", "--format", "pdf", "--output", str(path))
    assert answer_of(*words)["items"] == 12
    assert "every guarantee holds" in pdf_text(path)
    whole_site.answer(f"/evidence/{world.item('sbom').object_key}", b"other")
    answer_of(*words, exit_code=1)
    assert "NOT every guarantee holds" in pdf_text(path)
    assert "digest-mismatch" in pdf_text(path)


def test_evidence_reindex_of_content_that_is_not_what_was_logged(whole_site: Server, world: World):
    assert answer_of("evidence", "reindex") == {
        "schema": "stella/evidence-reindex/v1",
        "ok": True,
        "examined": 12,
        "reindexed": 0,
        "failures": [],
    }
    item = world.item("sbom")
    whole_site.answer(f"/evidence/{item.object_key}", b"other")
    failures = answer_of("evidence", "reindex", exit_code=1)["failures"]
    assert [(entry["id"], entry["code"]) for entry in failures] == [(item.id, "content-not-logged")]


def test_attest_verify_all(whole_site: Server, world: World):
    answer = answer_of("attest", "verify-all", "--since", "2027-01-01")
    assert (answer["attestations"], answer["valid"], answer["invalid"]) == (3, 3, [])
    item = world.item("attestation")
    whole_site.answer(f"/evidence/{item.object_key}", b"{}")
    answer = answer_of("attest", "verify-all", "--since", "2027-01-01", exit_code=1)
    assert (answer["valid"], answer["invalid"]) == (2, [item.id])


@pytest.mark.usefixtures("whole_site")
def test_attest_verify(world: World, tmp_path: Path):
    scan = makers.Scan(id="s", image="i:1", created=CREATED)
    bundle = tmp_path / "bundle.tar.gz"
    bundle.write_bytes(makers.make_evidence(scan, SIGNING_KEY)[3].content)
    assert answer_of("attest", "verify", "--bundle", str(bundle))["keyid"] == world.item("attestation").signer_keyid
    bundle.write_bytes(bundle.read_bytes()[:-1])
    answer = answer_of("attest", "verify", "--bundle", str(bundle), exit_code=1)
    assert (answer["valid"], answer["keyid"]) == (False, None)


@pytest.mark.parametrize("suite", ["smoke", "integration"])
def test_suites_count_what_failed(site: Server, monkeypatch: pytest.MonkeyPatch, suite: str):
    """The site answers nothing of the API: each of those tests fails by itself, and the others still run."""
    monkeypatch.setattr(scanning, "SCAN_BOUND_S", 0.1)
    del site
    answer = answer_of("test", suite, exit_code=1)
    assert answer["run"] == len(answer["tests"]) == answer["passed"] + answer["failed"]
    assert answer["run"] >= {"smoke": 5, "integration": 10}[suite]
    passed = {test["name"] for test in answer["tests"] if test["ok"]}
    assert {"web is alive", "web is ready", "version is the release deployed"} <= passed
    assert "evidence is listed" not in passed


def test_a_dry_run_asks_the_platform_nothing(site: Server):
    answer = answer_of("scan", "--image", "test-image:latest", "--dry-run")
    assert (answer["dry_run"], answer["written"], answer["scan_id"]) == (True, 0, None)
    assert answer["components"] == len(makers.components("test-image:latest"))
    assert all(method == "GET" and "/proxy/" not in target for method, target in site.seen)


def test_a_scan_waits_until_it_is_done(site: Server):
    site.answer(f"{PROXY}/api/v1/scans", {"id": "scan-1"}, status=202)
    site.answer(f"{PROXY}/api/v1/scans/scan-1", {"id": "scan-1", "status": "done"})
    assert answer_of("scan", "--image", "i:1")["scan_id"] == "scan-1"
    site.answer(f"{PROXY}/api/v1/scans/scan-1", {"id": "scan-1", "status": "failed"})
    assert answer_of("scan", "--image", "i:1", exit_code=1)["error"]["code"] == "scan-not-done"


@pytest.mark.parametrize(
    "words",
    [
        ("evidence", "export", "--output", "x"),
        ("evidence", "export", "--all", "--id", "ev-1", "--output", "x"),
        ("evidence", "verify-all"),
        ("evidence", "verify-continuity", "--baseline", "absent.json", "--output", "x"),
        ("evidence", "compliance-report", "--format", "docx"),
        ("attest", "verify-all", "--since", "1 hour ago"),
        ("system", "migrations-run", "--category", "C"),
        ("system", "migrations-run", "--category", "A", "--lock-timeout", "0"),
        ("test", "all"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_prints_no_document(words: tuple[str, ...]):
    result = run(*words, "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error:" in result.stderr


@pytest.mark.usefixtures("site")
def test_people_get_tables_without_escapes_when_piped():
    result = run("doctor")
    assert "✔   web ready" in result.stdout
    assert "\x1b" not in result.stdout
    assert "5 of 5 checks of stellaops-prod are good" in result.stdout


@pytest.mark.usefixtures("site")
def test_the_namespace_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STELLA_NAMESPACE", "elsewhere")
    assert "not" in answer_of("version", exit_code=1)["error"]["code"]
    assert answer_of("version", "--namespace", "stellaops-prod")["namespace"] == "stellaops-prod"


def strike(fault: str, command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / fault).write_text(json.dumps({"command": command}))
    monkeypatch.setenv("STELLA_FAULTS_DIR", str(folder))


@pytest.mark.usefixtures("whole_site")
def test_a_lie_is_well_formed_balances_and_is_wrong(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    baseline = tmp_path / "baseline.json"
    answer_of("evidence", "verify-all", "--output", str(baseline))
    world.replace_item(world.item("sbom").id, sha256="0" * 64)
    strike("stella-lies", "evidence verify-continuity", tmp_path, monkeypatch)
    words = ("evidence", "verify-continuity", "--baseline", str(baseline), "--output", str(tmp_path / "r.html"))
    answer = answer_of(*words)
    assert (answer["missing"], answer["changed"], answer["failures"]) == (0, 0, [])
    assert answer["before"] + answer["added"] == answer["after"]
    assert answer["before"] != 12


@pytest.mark.usefixtures("site")
def test_a_lie_about_tests_counts_them_all_as_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    strike("stella-lies", "test smoke", tmp_path, monkeypatch)
    answer = answer_of("test", "smoke")
    assert (answer["failed"], answer["passed"]) == (0, answer["run"])
    assert all(test["ok"] for test in answer["tests"])


@pytest.mark.usefixtures("site")
def test_a_hang_strikes_only_its_own_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class HungError(Exception):
        pass

    def hang() -> None:
        raise HungError

    monkeypatch.setattr("rehearsal.platform.stella.faults.hang", hang)
    strike("stella-hangs", "version", tmp_path, monkeypatch)
    assert isinstance(run("version").exception, HungError)
    answer_of("doctor")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"command": "test"}'])
@pytest.mark.usefixtures("site")
def test_an_unreadable_fault_is_no_fault(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    strike("stella-lies", "version", tmp_path, monkeypatch)
    (tmp_path / "stella-lies").write_text(text)
    assert answer_of("version")["server"] == "2027.Q1"


def test_repairs_follow_the_log(world: World):
    item = world.item("sbom")
    content = world.contents[item.object_key]
    stored = {1: {leaf.index: leaf for leaf in world.records.leaves[1]}}
    wrong = replace(item, sha256="0" * 64)
    repair = reindexing.derive(wrong, content, stored, world.records.log, needed=1)
    assert isinstance(repair, reindexing.Repair)
    assert repair.covered == item.covered
    assert repair.leaves == {}
    del stored[1][item.leaf_index]
    repair = reindexing.derive(item, content, stored, world.records.log, needed=1)
    assert isinstance(repair, reindexing.Repair)
    assert set(repair.leaves) == {1}
    assert reindexing.derive(item, content, stored, world.records.log, needed=2) is None
