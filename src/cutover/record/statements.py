"""What is said of an upgrade in the form that release gates read: in-toto Statements v1, a predicate each.

`test-result/v0.1` for whoever wants the clauses as tests, `svr/v0.2` for whoever wants one word (made of what passed
alone: of any other upgrade there is none), and `upgrade-record/v1`, ours (`contract/upgrade-record.schema.json`). The
subjects of each are every image that green ran, by digest, and the record's manifest.
Invariants: a statement is a function of the record, so that whoever has the record can make it again and compare; a
required clause that was not run is a failed test, for that predicate has no other word for it; anything but PASSED is
FAILED there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import rfc8785

from cutover.evidence.bundle import IN_TOTO
from cutover.model import Outcome, Result
from cutover.record import again
from cutover.record.manifest import FILE, Manifest
from cutover.runbook import proof

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.record.again import Again
    from cutover.runbook.verdict import Judged

PAYLOAD_TYPE: Final = IN_TOTO
STATEMENT: Final = "https://in-toto.io/Statement/v1"
TEST_RESULT: Final = "https://in-toto.io/attestation/test-result/v0.1"
SVR: Final = "https://in-toto.io/attestation/svr/v0.2"
UPGRADE_RECORD: Final = "https://cutover.stellaops.io/upgrade-record/v1"
VERIFIER: Final = "https://cutover.stellaops.io/verifier/v1"
"""Versioned: a new number when other things are verified, or otherwise."""
NAMES: Final[Mapping[str, str]] = {"test-result": TEST_RESULT, "svr": SVR, "upgrade-record": UPGRADE_RECORD}
"""Under which name a record keeps a statement, and its predicate's type."""
CONFIGURATION: Final = ("plan.json", "policy.toml", "target.redacted.toml", again.CATALOGUE)
"""What the clauses were performed by."""


def make(judged: Again, manifest: Manifest) -> dict[str, bytes]:
    """Return the statements of a record by their names, as RFC 8785 bytes."""
    predicates: dict[str, dict[str, Any]] = {
        "test-result": _test_result(judged, manifest),
        "upgrade-record": _upgrade_record(judged, manifest),
    }
    if judged.verdict.outcome is Outcome.PASSED:
        predicates["svr"] = _svr(judged, manifest)
    return {name: statement(NAMES[name], subjects(judged, manifest), made) for name, made in predicates.items()}


def statement(predicate_type: str, subject: list[dict[str, Any]], predicate: Mapping[str, Any]) -> bytes:
    """Return a statement's bytes. Source: in-toto Statement v1."""
    document: dict[str, Any] = {
        "_type": STATEMENT,
        "subject": subject,
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }
    return rfc8785.dumps(document)


def subjects(judged: Again, manifest: Manifest) -> list[dict[str, Any]]:
    """Return what a statement is about: the manifest, and each image that green ran."""
    release = judged.document["upgrade"]["to"]
    images = [
        {"name": f"{component} {release}", "digest": _digest(digest)}
        for component, digests in judged.images.items()
        for digest in digests
    ]
    return [{"name": f"{manifest.record}/{FILE}", "digest": _digest(manifest.digest)}, *images]


def _test_result(judged: Again, manifest: Manifest) -> dict[str, Any]:
    """Return the predicate. Source: in-toto attestation, predicates/test-result.md, version 0.1."""
    passed = [_test(one) for one in judged.verdict.clauses if one.record.result is Result.PASS]
    failed = [_test(one) for one in judged.verdict.clauses if one.record.result is not Result.PASS and _counts(one)]
    return {
        "result": "PASSED" if judged.verdict.outcome is Outcome.PASSED else "FAILED",
        "configuration": _configuration(manifest),
        "passedTests": passed,
        "warnedTests": [],
        "failedTests": failed,
    }


def _counts(judged: Judged) -> bool:
    """Whether a clause that is no PASS speaks against the upgrade: it is bad, or required and was not run."""
    return judged.record.result is not Result.NOT_RUN or (judged.kind is not None and not judged.kind.allows_passing)


def _test(judged: Judged) -> str:
    return f"{judged.record.id} {judged.clause.title}"


def _svr(judged: Again, manifest: Manifest) -> dict[str, Any]:
    """Return the predicate. Source: in-toto attestation, predicates/svr.md, version 0.2."""
    return {
        "verifier": {"id": VERIFIER, "policies": _configuration(manifest, "policy.toml", again.CATALOGUE)},
        "timeCreated": judged.document["finished"],
        "properties": properties(judged),
    }


def properties(judged: Again) -> list[str]:
    """Return what was verified of an upgrade that passed, in the verifier's own words; only what holds."""
    document = judged.document
    evidence, load, approval = document["evidence"], document["load"], document["approval"]
    markers = proof.document(judged.entries).get("markers") or {}
    passed = {one.record.id for one in judged.verdict.clauses if one.record.result is Result.PASS}
    holds = {
        "CUTOVER_UPGRADE_PASSED": True,
        "CUTOVER_EVIDENCE_UNCHANGED": evidence["before"] > 0 and not (evidence["missing"] or evidence["changed"]),
        "CUTOVER_NO_FAILED_REQUEST": load["attempted"] > 0 and load["failed"] == 0,
        "CUTOVER_NO_LOST_WRITE": bool(markers.get("acknowledged"))
        and not (markers.get("missing") or markers.get("repeated")),
        "CUTOVER_BACKUPS_RESTORED": {"1.2a", "1.2b", "1.2c", "1.2d"} <= passed,
        "CUTOVER_OBSERVATION_COMPLETE": document["observation"]["state"] == "complete",
        "CUTOVER_APPROVED_BY_SIGNATURE": bool(approval.get("approvals")),
    }
    return [name for name, held in holds.items() if held]


def _upgrade_record(judged: Again, manifest: Manifest) -> dict[str, Any]:
    """Return our own predicate: what `verdict.json` says, without the clauses one by one, and what it rests on."""
    said = judged.document
    return {
        "upgrade": said["upgrade"],
        "target": said["target"],
        "notice": said["notice"],
        "result": said["result"],
        "exitCode": said["exit_code"],
        "reasons": said["reasons"],
        "strategy": said["strategy"],
        "scope": said["scope"],
        "started": said["started"],
        "finished": said["finished"],
        "counts": said["counts"],
        "observation": said["observation"],
        "evidence": said["evidence"],
        "requests": {key: said["load"][key] for key in ("attempted", "failed", "by_colour")},
        "rollback": said["rollback"],
        "deviations": [one["id"] for one in said["deviations"]],
        "approval": {
            "requestedBy": str(said["approval"].get("requested_by") or ""),
            "approvals": [
                {
                    "name": one["name"],
                    "meaning": one["meaning"],
                    "approvedAt": one["approved_at"],
                    "covers": one["covers"],
                    "digest": _digest(one["sha256"]),
                }
                for one in said["approval"].get("approvals", ())
            ],
        },
        "executor": said["operator"],
        "attempts": len(said["attempts"]),
        "plan": _digest(said["plan"]["digest"]) if "plan" in said else None,
        "journal": {"entries": manifest.journal_entries, "head": _digest(manifest.journal_head)},
        "verdict": _digest(manifest.files[again.VERDICT].sha256),
        "previousSeal": _digest(manifest.previous) if manifest.previous else None,
        "files": len(manifest.files),
        "versions": said["versions"],
    }


def _configuration(manifest: Manifest, *names: str) -> list[dict[str, Any]]:
    """Return files of the record as ResourceDescriptors; one that the record lacks is left out."""
    wanted = [name for name in names or CONFIGURATION if name in manifest.files]
    return [{"name": name, "digest": _digest(manifest.files[name].sha256)} for name in wanted]


def _digest(text: str) -> dict[str, str]:
    algorithm, _, digest = text.partition(":")
    return {algorithm: digest}
