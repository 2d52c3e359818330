"""Reports for auditors: `evidence audit-report` and `evidence compliance-report`.

Invariants: the audit report lists what the databases record, in the order of time, and says what it leaves out; the
compliance report says nothing that was not verified from content in the same call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from rehearsal.platform.stella import continuity, database, deployment, documents, instants, outputs
from rehearsal.platform.stella.answers import Answer, Table
from rehearsal.platform.stella.cluster import Cluster
from rehearsal.platform.stella.documents import Section

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from pathlib import Path

    from rehearsal.platform.core.settings import Settings
    from rehearsal.platform.stella.verification import Verification

#: Of a kind with more events the report lists the first and the last half of this many, and says how many are between.
LISTED_OF_A_KIND = 200

_EVENTS = """
SELECT applied_at, 'migration applied', id, 'category ' || category || ', release ' || release
  FROM stella_migrations WHERE applied_at >= %(since)s
UNION ALL
SELECT created, 'scan requested', id, image FROM scans WHERE created >= %(since)s
UNION ALL
SELECT max(created), 'evidence recorded', scan_id,
       count(*) || ' items, leaves ' || min(leaf_index) || ' to ' || max(leaf_index)
  FROM evidence WHERE created >= %(since)s GROUP BY scan_id
UNION ALL
SELECT created, 'root signed', 'schema ' || schema_version, 'over ' || size || ' leaves: ' || encode(root, 'hex')
  FROM merkle_roots WHERE created >= %(since)s
UNION ALL
SELECT created, 'roots cross-referenced', 'schema ' || old_schema || ' to ' || new_schema, 'over ' || size || ' items'
  FROM merkle_crossrefs WHERE created >= %(since)s
"""
_LOG_EVENTS = """
SELECT created, 'checkpoint signed', 'log', 'over ' || size || ' entries: ' || encode(root, 'hex')
  FROM log_checkpoints WHERE created >= %(since)s
"""

#: A guarantee, the kind of evidence it speaks of (None: the trees or the log), and the codes that break it.
_GUARANTEES = (
    ("OCI digests are unchanged", "oci-manifest", ("object-", "digest-", "size-")),
    ("SBOM content hashes are unchanged", "sbom", ("object-", "digest-", "size-")),
    ("Merkle roots recompute, and changes of schema are cross-referenced", None, ("root-", "leaf-", "crossref-")),
    ("Attestation signatures are valid", "attestation", ("",)),
    ("Transparency log entries are immutable", None, ("log-", "checkpoint-")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to evidence."""

    time: dt.datetime
    what: str
    subject: str
    detail: str


def audit_report(namespace: str, since: dt.datetime, output: Path) -> Answer:
    """Write what happened to evidence since an instant."""
    settings = deployment.find(Cluster.from_kubeconfig(), namespace).settings
    events = read_events(settings, since)
    kinds = tuple(dict.fromkeys(event.what for event in events))
    counts = tuple((what, sum(event.what == what for event in events)) for what in kinds)
    outputs.write_bytes(output, audit_pdf(events, namespace=namespace, release=settings.release, since=since))
    return Answer(
        ok=True,
        facts={"since": instants.rfc3339(since), "events": len(events), "output": str(output)},
        summary=f"{len(events)} events since {instants.rfc3339(since)}; report in {output}",
        tables=(Table(title="Events", columns=("event", "count"), rows=counts),),
    )


def read_events(settings: Settings, since: dt.datetime) -> tuple[Event, ...]:
    """Return every event since an instant, oldest first."""
    rows: list[tuple[object, ...]] = []
    for url, query in ((settings.database_url, _EVENTS), (settings.log_database_url, _LOG_EVENTS)):
        with database.connect(url) as connection:
            rows += connection.execute(query.encode(), {"since": since}).fetchall()
    events = [
        Event(time=cast("dt.datetime", time), what=str(what), subject=str(subject), detail=str(detail))
        for time, what, subject, detail in rows
    ]
    return tuple(sorted(events, key=lambda event: (event.time, event.what, event.subject)))


def audit_pdf(events: Sequence[Event], *, namespace: str, release: str, since: dt.datetime) -> bytes:
    """Return the audit report as a PDF."""
    sections = [
        Section(
            heading="Summary",
            text=f"{len(events)} events were recorded in this period."
            + ("" if events else " Nothing happened to evidence in it."),
            columns=("event", "count", "first", "last"),
            rows=tuple(
                (what, str(len(found)), instants.rfc3339(found[0].time), instants.rfc3339(found[-1].time))
                for what, found in _by_kind(events).items()
            ),
            widths=(0.3, 0.1, 0.3, 0.3),
        )
    ]
    for what, found in _by_kind(events).items():
        half = LISTED_OF_A_KIND // 2
        between = max(0, len(found) - 2 * half)
        listed = [*found[:half], *found[-half:]] if between else found
        text = f"{len(found)} events." if not between else f"{len(found)} events; {between} in the middle are left out."
        sections.append(
            Section(
                heading=what.capitalize(),
                text=text,
                columns=("time", "subject", "detail"),
                rows=tuple((instants.rfc3339(event.time), event.subject, event.detail) for event in listed),
                widths=(0.28, 0.28, 0.44),
            )
        )
    facts = (
        ("Namespace", namespace),
        ("Release", release),
        ("From", instants.rfc3339(since)),
        ("To", instants.rfc3339(instants.now())),
    )
    return documents.make_pdf(title="Evidence audit report", facts=facts, sections=sections)


def compliance_report(namespace: str, output: Path) -> Answer:
    """Verify all evidence, and write what that says of each guarantee."""
    settings = deployment.find(Cluster.from_kubeconfig(), namespace).settings
    found, _, _ = continuity.verify_now(settings)
    outputs.write_bytes(output, compliance_pdf(found, namespace=namespace, release=settings.release))
    held = guarantees(found)
    return Answer(
        ok=not found.findings,
        facts={"items": len(found.results), "output": str(output)},
        summary=f"{sum(ok for _, ok, _ in held)} of {len(held)} guarantees hold over {len(found.results)} items; "
        f"report in {output}",
        tables=(
            Table(
                title="Guarantees",
                columns=("", "guarantee", "verified"),
                rows=tuple((ok, name, seen) for name, ok, seen in held),
            ),
            *continuity.table_of(found.findings),
        ),
    )


def guarantees(found: Verification) -> tuple[tuple[str, bool, str], ...]:
    """Return each guarantee, whether it holds, and what was verified."""
    kinds = {result.item.id: result.item.kind for result in found.results}
    told = []
    for name, kind, codes in _GUARANTEES:
        broken = [
            finding
            for finding in found.findings
            if finding.code.startswith(codes) and (kind is None or kinds.get(finding.id) == kind)
        ]
        if kind is not None:
            seen = f"{found.by_kind.get(kind, 0)} items verified from content"
        elif codes[0] == "root-":
            seen = f"root over {found.size} leaves recomputed, schema {found.schema_version}"
        else:
            seen = f"{found.log_tree.size} entries hashed, checkpoint verified"
        told.append((name, not broken, f"{seen}, {len(broken)} failures"))
    return tuple(told)


def compliance_pdf(found: Verification, *, namespace: str, release: str) -> bytes:
    """Return the compliance report as a PDF."""
    sections = [
        Section(
            heading="Guarantees",
            text="Each was verified from content at the time of this report.",
            columns=("guarantee", "holds", "verified"),
            rows=tuple((name, "yes" if ok else "NO", seen) for name, ok, seen in guarantees(found)),
            widths=(0.46, 0.1, 0.44),
        ),
        Section(
            heading="Evidence",
            text=f"{len(found.results)} items under the root {found.root.hex()}.",
            columns=("kind", "items"),
            rows=tuple((kind, str(count)) for kind, count in found.by_kind.items()),
            widths=(0.5, 0.5),
        ),
        Section(
            heading="Failures",
            text=f"{len(found.findings)} failures." if found.findings else "None.",
            columns=("id", "code", "detail"),
            rows=tuple((f.id, f.code, f.detail) for f in found.findings[: continuity.FINDINGS_SHOWN]),
            widths=(0.22, 0.22, 0.56),
        ),
        Section(heading="Transparency log", text=f"Newest checkpoint: {' '.join(found.note.split())}"),
    ]
    facts = (
        ("Namespace", namespace),
        ("Release", release),
        ("Verified", instants.rfc3339(instants.now())),
        ("Result", "every guarantee holds" if not found.findings else "NOT every guarantee holds"),
    )
    return documents.make_pdf(title="Evidence compliance report", facts=facts, sections=sections)


def _by_kind(events: Sequence[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.what, []).append(event)
    return found
