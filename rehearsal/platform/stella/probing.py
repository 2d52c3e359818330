"""Tests a deployment from outside, through the API server's service proxy: `test smoke`, `test integration`.

Invariants: a test passes only on what it read back; tests do not depend on each other's success, and each says what it
saw; the smoke suite writes nothing; the integration suite leaves one scan, with its evidence, and one marker.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

from rehearsal.platform.core import checkpoint, leaves, makers, merkle, store
from rehearsal.platform.stella import attestations, deployment, records, scanning, verification
from rehearsal.platform.stella.answers import Answer, Table
from rehearsal.platform.stella.cluster import Cluster
from rehearsal.platform.stella.errors import StellaError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rehearsal.platform.stella.cluster import ServiceAnswer
    from rehearsal.platform.stella.deployment import Deployment

SCAN_IMAGE = "registry.stella.test/integration-test:latest"
GUIDE_METRICS = (
    "http_requests_total",
    "http_request_duration_seconds_bucket",
    "evidence_operations_total",
    "attestation_success_total",
)


class TestFailure(Exception):  # noqa: N818 -- it is a test's outcome
    """What a test saw is not what it expects; the message says both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One test; `run` returns what it saw and raises when that is wrong."""

    name: str
    run: Callable[[], str]


class Platform:
    """The deployment as a client sees it. Each test is a method that returns what it saw."""

    def __init__(self, cluster: Cluster, found: Deployment) -> None:
        self._cluster = cluster
        self._found = found
        self._run = f"stella-integration-{secrets.token_hex(6)}"

    def smoke_tests(self) -> tuple[Test, ...]:
        """Return the tests that write nothing and are over in a moment."""
        return (
            Test(name="web is alive", run=self._is_alive),
            Test(name="web is ready", run=self._is_ready),
            Test(name="version is the release deployed", run=self._says_its_release),
            Test(name="answers name colour and pod", run=self._names_itself),
            Test(name="database, cache and store are connected", run=self._is_connected),
            Test(name="catalogue is served", run=self._serves_catalogue),
            Test(name="evidence is listed", run=self._lists_evidence),
            Test(name="checkpoint is signed by the log", run=self._signs_checkpoints),
            Test(name="metrics have the guide's names", run=self._exports_metrics),
        )

    def integration_tests(self) -> tuple[Test, ...]:
        """Return all tests; the smoke tests first."""
        return (
            *self.smoke_tests(),
            Test(name="pages of evidence follow each other", run=self._pages_evidence),
            Test(name="evidence content has its recorded digest", run=self._serves_content),
            Test(name="an attestation verifies", run=self._serves_valid_attestation),
            Test(name="a bundle verifies as a whole", run=self._serves_valid_bundle),
            Test(name="a log entry is included under the checkpoint", run=self._proves_inclusion),
            Test(name="the log only grew", run=self._proves_consistency),
            Test(name="a marker is written once and read back", run=self._keeps_markers),
            Test(name="an object is put and got", run=self._keeps_objects),
            Test(name="what does not exist is not found", run=self._refuses_the_unknown),
            Test(name="a scan makes evidence", run=self._scans),
        )

    def _is_alive(self) -> str:
        self._get("/healthz")
        return "/healthz answered 200"

    def _is_ready(self) -> str:
        checks = self._json("/readyz").get("checks", {})
        return f"ready: {', '.join(sorted(checks)) or 'no checks named'}"

    def _says_its_release(self) -> str:
        seen = self._json("/version")["version"]
        return _equal(seen, self._found.settings.release, "version")

    def _names_itself(self) -> str:
        headers = self._get("/version").headers
        colour = _equal(headers.get("x-stella-colour"), self._found.settings.colour, "X-Stella-Colour")
        if not headers.get("x-stella-pod"):
            _fail("no X-Stella-Pod")
        return f"{colour}, pod {headers['x-stella-pod']}"

    def _is_connected(self) -> str:
        seen = self._json("/api/v1/system")
        _equal(seen["store"]["bucket"], self._found.settings.store.bucket, "bucket")
        return f"database {seen['database']['name']} of system {seen['database']['system_identifier']}"

    def _serves_catalogue(self) -> str:
        return f"{self._json('/api/v1/catalogue')['items']} items"

    def _lists_evidence(self) -> str:
        return f"{len(self._page)} items on the first page"

    def _signs_checkpoints(self) -> str:
        signed = self._signed
        return f"{signed.size} entries under {signed.root.hex()[:16]}"

    def _exports_metrics(self) -> str:
        text = self._get("/metrics").body.decode()
        missing = [name for name in GUIDE_METRICS if f"\n{name}" not in text]
        if missing:
            _fail(f"no {', '.join(missing)}")
        return f"{len(GUIDE_METRICS)} names found"

    def _pages_evidence(self) -> str:
        first = self._json("/api/v1/evidence?limit=2")["items"]
        second = self._json(f"/api/v1/evidence?limit=2&after={quote(first[-1]['id'])}")["items"]
        ids = [item["id"] for item in (*first, *second)]
        if ids != sorted(set(ids)) or not second:
            _fail(f"pages hold {', '.join(ids)}")
        return f"{ids[0]} to {ids[-1]} in order"

    def _serves_content(self) -> str:
        item = self._of_kind("sbom")
        digest = leaves.digest(self._content(item))
        return f"{item['id']} {_equal(digest, item['sha256'], 'sha256')}"

    def _serves_valid_attestation(self) -> str:
        item = self._of_kind("attestation")
        siblings = {entry["kind"]: entry["sha256"] for entry in self._page if entry["scan_id"] == item["scan_id"]}
        row = records.Item(**{name: item[name] for name in records.Item.__dataclass_fields__})
        finding = verification.verify_attestation(row, self._content(item), siblings, self._trust)
        if finding is not None:
            _fail(f"{finding.code}: {finding.detail}")
        return f"{item['id']} signed by {str(item['signer_keyid'])[:16]}"

    def _serves_valid_bundle(self) -> str:
        item = self._of_kind("bundle")
        try:
            keyid = attestations.check_bundle(self._content(item), self._trust)
        except attestations.BundleError as fault:
            _fail(str(fault))
        return f"{item['id']} signed by {keyid[:16]}"

    def _proves_inclusion(self) -> str:
        signed, item = self._signed, self._page[0]
        index = item["log_index"]
        told = self._json(f"/api/v1/log/proof/inclusion?index={index}&size={signed.size}")
        entry = leaves.log_entry(evidence_id=item["id"], kind=item["kind"], sha256=item["sha256"])
        root = merkle.root_from_inclusion(
            merkle.leaf_hash(entry), index, signed.size, [bytes.fromhex(node) for node in told["proof"]]
        )
        _equal(root.hex(), signed.root.hex(), "root")
        return f"entry {index} of {signed.size} leads to the signed root"

    def _proves_consistency(self) -> str:
        signed = self._signed
        first = max(1, signed.size // 2)
        told = self._json(f"/api/v1/log/proof/consistency?from={first}&to={signed.size}")
        old, new = merkle.roots_from_consistency(
            first, signed.size, bytes.fromhex(told["old_root"]), [bytes.fromhex(node) for node in told["proof"]]
        )
        _equal(old.hex(), told["old_root"], "old root")
        _equal(new.hex(), signed.root.hex(), "new root")
        return f"{first} entries are a prefix of {signed.size}"

    def _keeps_markers(self) -> str:
        body = json.dumps({"run": self._run, "number": 1}).encode()
        self._call("/api/v1/markers", method="POST", body=body, wanted=201)
        self._call("/api/v1/markers", method="POST", body=body, wanted=409)
        _equal(self._json(f"/api/v1/markers/{self._run}")["numbers"], [1], "numbers")
        return "written, refused the second time, read back"

    def _keeps_objects(self) -> str:
        content = secrets.token_bytes(512)
        path = f"/api/v1/objects/{self._run}"
        self._call(path, method="PUT", body=content, wanted=201)
        try:
            seen = self._get(path).body
        finally:
            with suppress(store.StoreError), store.Store(self._found.settings.store, connections=1) as bucket:
                bucket.delete(f"scratch/{self._run}")
        _equal(hashlib.sha256(seen).hexdigest(), hashlib.sha256(content).hexdigest(), "sha256")
        return f"{len(content)} bytes came back unchanged"

    def _refuses_the_unknown(self) -> str:
        self._call("/api/v1/evidence/ev-none", wanted=404)
        self._call("/api/v1/scans/scan-none", wanted=404)
        return "an unknown item and an unknown scan answered 404"

    def _scans(self) -> str:
        scan_id = scanning.request_scan(self._cluster, self._found, SCAN_IMAGE)
        scanning.await_scan(self._cluster, self._found, scan_id)
        made = [
            self._json(f"/api/v1/evidence/{quote(name)}") for name in self._json(f"/api/v1/scans/{scan_id}")["evidence"]
        ]
        _equal(sorted(item["kind"] for item in made), sorted(makers.KINDS), "kinds")
        for item in made:
            _equal(leaves.digest(self._content(item)), item["sha256"], f"{item['kind']} sha256")
        return f"{scan_id} made {', '.join(item['id'] for item in made)}"

    @cached_property
    def _trust(self) -> verification.Trust:
        return verification.trust_of(self._found.settings)

    @cached_property
    def _page(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._json("/api/v1/evidence?limit=20")["items"]
        if not items:
            _fail("the platform has no evidence")
        return items

    @cached_property
    def _signed(self) -> checkpoint.Checkpoint:
        try:
            return checkpoint.verify(self._get("/api/v1/log/checkpoint").body.decode(), self._trust.log_key)
        except checkpoint.CheckpointInvalidError as fault:
            _fail(str(fault))

    def _of_kind(self, kind: str) -> dict[str, Any]:
        item = next((item for item in self._page if item["kind"] == kind), None)
        if item is None:
            _fail(f"the first page has no {kind}")
        return item

    def _content(self, item: dict[str, Any]) -> bytes:
        return self._get(f"/api/v1/evidence/{quote(item['id'])}/content").body

    def _json(self, path: str) -> dict[str, Any]:
        seen = self._get(path).json()
        if not isinstance(seen, dict):
            _fail(f"{path} answered no JSON object")
        return seen

    def _get(self, path: str) -> ServiceAnswer:
        return self._call(path, wanted=200)

    def _call(self, path: str, *, wanted: int, method: str = "GET", body: bytes | None = None) -> ServiceAnswer:
        answer = self._cluster.call_service(self._found.namespace, self._found.service, path, method=method, body=body)
        if answer.status != wanted:
            said = " ".join(answer.body[:200].decode(errors="replace").split())
            _fail(f"{method} {path} answered {answer.status}, expected {wanted}: {said}")
        return answer


def smoke(namespace: str) -> Answer:
    """Run the smoke suite."""
    platform = _platform(namespace)
    return run_suite("smoke", namespace, platform.smoke_tests())


def integration(namespace: str) -> Answer:
    """Run the integration suite."""
    platform = _platform(namespace)
    return run_suite("integration", namespace, platform.integration_tests())


def run_suite(name: str, namespace: str, tests: Sequence[Test]) -> Answer:
    """Run every test and count. Raises: UnreachableError when the API server goes away."""
    outcomes = [(test.name, *_outcome(test)) for test in tests]
    passed = sum(ok for _, ok, _ in outcomes)
    return Answer(
        ok=bool(outcomes) and passed == len(outcomes),
        facts={
            "namespace": namespace,
            "run": len(outcomes),
            "passed": passed,
            "failed": len(outcomes) - passed,
            "tests": [{"name": test, "ok": ok, "detail": detail} for test, ok, detail in outcomes],
        },
        summary=f"{name} tests of {namespace}: {passed} of {len(outcomes)} passed",
        tables=(
            Table(
                title=f"{name.capitalize()} tests of {namespace}",
                columns=("", "test", "seen"),
                rows=tuple((ok, test, detail) for test, ok, detail in outcomes),
            ),
        ),
    )


def _outcome(test: Test) -> tuple[bool, str]:
    try:
        return True, test.run()
    except TestFailure as failure:
        return False, str(failure)
    except StellaError as error:
        if isinstance(error, UnreachableError) and error.code == "cluster-unreachable":
            raise
        return False, f"{error.code}: {error.message}"
    except (ValueError, KeyError, TypeError, IndexError) as fault:
        return False, f"the platform's answer cannot be read: {fault!r}"


def _platform(namespace: str) -> Platform:
    cluster = Cluster.from_kubeconfig()
    return Platform(cluster, deployment.find(cluster, namespace))


def _equal(seen: object, expected: object, what: str) -> str:
    if seen != expected:
        _fail(f"{what} is {seen!r}, expected {expected!r}")
    return f"{what} {seen}"


def _fail(message: str) -> NoReturn:
    raise TestFailure(message)
