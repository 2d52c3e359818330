"""Evidence verified now, and against a baseline: `evidence verify-all`, `verify-digests`, `verify-continuity`.

Invariants: totals balance, before - missing + added = after; an item counts as changed when its row or its content is
not what the baseline has.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rehearsal.platform.stella import deployment, instants, outputs, records, verification
from rehearsal.platform.stella.answers import Answer, Table
from rehearsal.platform.stella.cluster import Cluster
from rehearsal.platform.stella.errors import RefusedError
from rehearsal.platform.stella.objects import ObjectStore
from rehearsal.platform.stella.verification import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rehearsal.platform.core.settings import Settings
    from rehearsal.platform.stella.answers import Json
    from rehearsal.platform.stella.records import Records
    from rehearsal.platform.stella.verification import Trust, Verification

BASELINE_SCHEMA = "stella/evidence-baseline/v1"
DIGESTS_SCHEMA = "stella/evidence-digests/v1"
FINDINGS_SHOWN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What `evidence verify-all` found before. `sizes` and `digests` are by evidence id; `root` has 32 bytes."""

    created: str
    digests: Mapping[str, str]
    sizes: Mapping[str, int]
    schema_version: int
    size: int
    root: bytes
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A baseline against the evidence of now; ids in the order of the items."""

    before: int
    after: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]
    findings: tuple[Finding, ...]


def verify_all(namespace: str, output: Path) -> Answer:
    """Verify all evidence, and write each item's result to `output`."""
    found, _, _ = verify_now(deployment.find(Cluster.from_kubeconfig(), namespace).settings)
    outputs.write_json(output, baseline_document(found, instants.rfc3339(instants.now())))
    facts: dict[str, Json] = {
        "items": len(found.results),
        "by_kind": found.by_kind,
        "root": found.root.hex(),
        "schema_version": found.schema_version,
        "size": found.size,
        "checkpoint": found.note,
        "failures": failures_of(found.findings),
        "output": str(output),
    }
    tables = (Table(title="Evidence", columns=("kind", "items"), rows=tuple(found.by_kind.items())),)
    return Answer(
        ok=not found.findings,
        facts=facts,
        summary=f"{len(found.results)} items verified, {len(found.findings)} failures, "
        f"root {found.root.hex()[:16]}… of schema {found.schema_version} over {found.size} leaves; written to {output}",
        tables=tables + table_of(found.findings),
    )


def verify_digests(namespace: str, report: Path) -> Answer:
    """Compare the digest of each item's content with its row, and write both to `report`."""
    settings = deployment.find(Cluster.from_kubeconfig(), namespace).settings
    found, _, _ = verify_now(settings)
    results = [
        {
            "id": result.item.id,
            "kind": result.item.kind,
            "digest": f"sha256:{result.item.sha256}",
            "actual": None if result.actual is None else f"sha256:{result.actual}",
            "ok": result.actual == result.item.sha256,
        }
        for result in sorted(found.results, key=lambda result: result.item.id)
    ]
    mismatched = [entry for entry in results if not entry["ok"]]
    outputs.write_json(
        report,
        {
            "schema": DIGESTS_SCHEMA,
            "created": instants.rfc3339(instants.now()),
            "items": len(results),
            "mismatched": len(mismatched),
            "results": results,
        },
    )
    rows = tuple((entry["id"], entry["digest"], entry["actual"]) for entry in mismatched[:FINDINGS_SHOWN])
    tables = (Table(title="Mismatched", columns=("id", "recorded", "content"), rows=rows),) if rows else ()
    return Answer(
        ok=not mismatched,
        facts={"items": len(results), "mismatched": len(mismatched), "report": str(report)},
        summary=f"{len(results)} digests compared with content, {len(mismatched)} mismatched; written to {report}",
        tables=tables,
    )


def verify_continuity(namespace: str, baseline: Path, output: Path) -> Answer:
    """Compare the evidence of now with a baseline file, and write the report to `output`."""
    before = read_baseline(baseline)
    settings = deployment.find(Cluster.from_kubeconfig(), namespace).settings
    found, recorded, trust = verify_now(settings)
    compared = compare(before, found, recorded, trust)
    outputs.write_text(output, _html(before, found, compared, namespace=namespace, release=settings.release))
    return Answer(
        ok=not compared.findings,
        facts={
            "before": compared.before,
            "after": compared.after,
            "missing": len(compared.missing),
            "changed": len(compared.changed),
            "added": len(compared.added),
            "failures": failures_of(compared.findings),
            "output": str(output),
        },
        summary=f"{compared.before} items before, {compared.after} now: {len(compared.missing)} missing, "
        f"{len(compared.changed)} changed, {len(compared.added)} added; report in {output}",
        tables=table_of(compared.findings),
    )


def verify_now(settings: Settings) -> tuple[Verification, Records, Trust]:
    """Read and verify all evidence of a deployment.

    Raises: UnreachableError, RefusedError.
    """
    recorded = records.read(settings)
    trust = verification.trust_of(settings)
    contents = ObjectStore(settings.store).get_many(item.object_key for item in recorded.items)
    return verification.verify(recorded, contents, trust), recorded, trust


def baseline_document(found: Verification, created: str) -> dict[str, Json]:
    """Return the document that `verify-all` writes. `created` is RFC 3339 in UTC."""
    return {
        "schema": BASELINE_SCHEMA,
        "created": created,
        "items": len(found.results),
        "results": [
            {
                "id": result.item.id,
                "kind": result.item.kind,
                "sha256": result.item.sha256,
                "size_bytes": result.item.size_bytes,
                "ok": result.ok,
                "code": result.code,
            }
            for result in sorted(found.results, key=lambda result: result.item.id)
        ],
        "root": found.root.hex(),
        "size": found.size,
        "schema_version": found.schema_version,
        "checkpoint": found.note,
    }


def read_baseline(path: Path) -> Baseline:
    """Read a file that `evidence verify-all` wrote. Raises: RefusedError when it is none."""
    try:
        body: dict[str, Any] = json.loads(path.read_bytes())
        results = body["results"]
        said_schema, said_items = body["schema"], body["items"]
        baseline = Baseline(
            created=str(body["created"]),
            digests={str(entry["id"]): str(entry["sha256"]) for entry in results},
            sizes={str(entry["id"]): int(entry["size_bytes"]) for entry in results},
            schema_version=int(body["schema_version"]),
            size=int(body["size"]),
            root=bytes.fromhex(body["root"]),
            note=str(body["checkpoint"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise _no_baseline(path, repr(cause)) from cause
    if said_schema != BASELINE_SCHEMA:
        raise _no_baseline(path, f"its schema is {said_schema!r}, expected {BASELINE_SCHEMA!r}")
    if not len(results) == len(baseline.digests) == said_items:
        listed = f"{len(results)} lines of {len(baseline.digests)} items"
        raise _no_baseline(path, f"it says {said_items} items and has {listed}")
    return baseline


def compare(before: Baseline, found: Verification, recorded: Records, trust: Trust) -> Comparison:
    """Compare a baseline with what was verified now; every failure of now is a failure of continuity too."""
    now = {result.item.id: result for result in found.results}
    missing = tuple(name for name in before.digests if name not in now)
    changed = tuple(
        name
        for name, digest in before.digests.items()
        if (result := now.get(name)) is not None
        and not (result.item.sha256 == result.actual == digest and result.item.size_bytes == before.sizes[name])
    )
    added = tuple(name for name in now if name not in before.digests)
    findings = [Finding(id=name, code="item-missing", detail="in the baseline, no longer recorded") for name in missing]
    known = {finding.id for finding in found.findings}
    for name in changed:
        if name not in known:
            detail = f"recorded as sha256:{now[name].item.sha256}, the baseline has sha256:{before.digests[name]}"
            findings.append(Finding(id=name, code="item-changed", detail=detail))
    findings.extend(found.findings)
    findings.extend(_root_findings(before, found, recorded))
    note = verification.verify_checkpoint(before.note, found.log_tree, trust, what="the baseline's checkpoint")
    findings.extend(note)
    return Comparison(
        before=len(before.digests),
        after=len(found.results),
        missing=missing,
        changed=changed,
        added=added,
        findings=tuple(findings),
    )


def failures_of(findings: Sequence[Finding]) -> list[Json]:
    """Return findings as an answer lists them."""
    return [{"id": finding.id, "code": finding.code, "detail": finding.detail} for finding in findings]


def table_of(findings: Sequence[Finding]) -> tuple[Table, ...]:
    """Return the table of findings, none when there are none; the first few when there are many."""
    if not findings:
        return ()
    more = f" (the first {FINDINGS_SHOWN} of {len(findings)})" if len(findings) > FINDINGS_SHOWN else ""
    rows = tuple((finding.id, finding.code, finding.detail) for finding in findings[:FINDINGS_SHOWN])
    return (Table(title=f"Failures{more}", columns=("id", "code", "detail"), rows=rows),)


def _no_baseline(path: Path, why: str) -> RefusedError:
    return RefusedError(
        f"{path} is no baseline: {why}",
        code="baseline-unreadable",
        remedy="give the file that `stella evidence verify-all --output` wrote",
    )


def _root_findings(before: Baseline, found: Verification, recorded: Records) -> list[Finding]:
    """Recompute the baseline's root from the items of now; where the schema changed, demand the cross-reference."""
    where = f"the baseline's root of schema {before.schema_version} over {before.size} leaves"
    if before.size > len(recorded.items):
        return [Finding(id="root", code="root-ahead", detail=f"{where}: there are {len(recorded.items)} items now")]
    recomputed = found.trees.root(before.schema_version, before.size)
    if recomputed != before.root:
        detail = f"{where} was {before.root.hex()}, the items of now give {recomputed.hex()}"
        return [Finding(id="root", code="root-discontinued", detail=detail)]
    schema = recorded.authoritative_schema
    is_bound = any(
        (reference.old_schema, reference.new_schema) == (before.schema_version, schema)
        and reference.size >= before.size
        for reference in recorded.cross_references
    )
    if schema != before.schema_version and not is_bound:
        detail = (
            f"schema {before.schema_version} became {schema} without a signed cross-reference over {before.size} items"
        )
        return [Finding(id="crossref", code="crossref-missing", detail=detail)]
    return []


def _html(before: Baseline, found: Verification, compared: Comparison, *, namespace: str, release: str) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 -- one of three commands needs it

    environment = Environment(
        loader=PackageLoader("rehearsal.platform.stella"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("continuity.html.j2").render(
        before=before,
        found=found,
        compared=compared,
        namespace=namespace,
        release=release,
        created=instants.rfc3339(instants.now()),
        shown=FINDINGS_SHOWN,
    )
