"""continuity.html: evidence before and after an upgrade, for an auditor who was not there. One file, for any folder.

Invariants: as report.html: nothing is loaded from outside, and the page's own policy allows no script but the one it
carries, by its digest; every text of the evidence is escaped; verdict, balance, guarantees, findings and damage are
readable without scripts. The same folder gives the same bytes.
"""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from cutover.clock import rfc3339
from cutover.evidence import snapshot
from reports import evidence, wording
from reports.columns import STATES
from reports.html import TEMPLATES, environment

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.evidence.snapshot import Manifest
    from reports.evidence import Evidence, GuaranteeView
    from reports.views import Record

NAME: Final = "continuity.html"
FOLDER: Final = "evidence"
"""The evidence folder of a record."""
SHOW_FINDINGS: Final = 100
"""How many findings of a guarantee, and disagreements, the page shows; their files have all."""

OPEN_AT_FIRST: Final = 20
"""How many of them, and of the damaged items, are not folded."""

SOURCES: Final = {
    "E.1": (
        "every content but SBOMs and attestations, read from the object store and hashed again; manifests are parsed",
        "the digest of the same item in the baseline",
        "contents",
    ),
    "E.2": (
        "the raw bytes of every SBOM, read from the object store and hashed again",
        "the digest of the same item in the baseline; no canonical form decides",
        "SBOMs",
    ),
    "E.3": (
        "the evidence tree, rebuilt in every leaf schema from the harness's own lines",
        "every stored leaf, every signed root and cross-reference of the platform",
        "lines, leaves, roots and cross-references",
    ),
    "E.4": (
        "the signature of every attestation, old and new, over its bytes from the object store",
        "the keys of the trust root that the operator held before the upgrade",
        "attestations",
    ),
    "E.5": (
        "the whole transparency log, rebuilt from its entries",
        "the entry that each item's line makes, and both signed checkpoints: of before and of after",
        "log entries",
    ),
}
"""For each guarantee: what is recomputed from which source, against what, and what its number counts."""


def build(folder: Path, record: Record | None = None) -> bytes:
    """Return the page of an evidence folder; `record` is the one it belongs to, if any.

    Raises:
        EvidenceError: `snapshot-malformed`, when a manifest cannot be read.

    """
    found = evidence.read(folder, record)
    script = (TEMPLATES / "continuity.js").read_text("utf-8")
    page = (
        environment()
        .get_template("continuity.html.j2")
        .render(
            found=found,
            record=record,
            words=wording,
            outcome=found.outcome,
            verdict=verdict(found),
            sources=SOURCES,
            parts=parts(found),
            taken={"before": _taken(record, "before"), "after": _taken(record, "after")},
            shown=SHOW_FINDINGS,
            first=OPEN_AT_FIRST,
            states=STATES,
            packed=found.items.pack(_head(found)),
            script=Markup(f"\n{script}"),  # noqa: S704  # a file of ours
            script_digest=base64.b64encode(sha256(f"\n{script}".encode()).digest()).decode("ascii"),
            present=[path for path in _FILES if (folder / path).is_file()],
        )
    )
    return page.encode("utf-8", "backslashreplace")


_FILES: Final = (
    "before/manifest.json",
    "before/lines.jsonl",
    "before/findings.jsonl",
    "before/checkpoint.txt",
    "after/manifest.json",
    "after/lines.jsonl",
    "after/findings.jsonl",
    "after/checkpoint.txt",
    "diff.json",
    *(f"{clause}.json" for clause in SOURCES),
    *(f"before-{clause}.json" for clause in SOURCES),
)


def verdict(found: Evidence) -> str:
    """Return whether continuity holds, in one sentence."""
    balance = found.balance
    if found.outcome == "HOLDS":
        checks = sum(one.checked for one in found.guarantees)
        return (
            f"Continuity holds: all {wording.many(balance.before, 'item')} of the baseline are there unchanged, "
            f"{wording.count(balance.added)} were added since, and the five guarantees stand over "
            f"{wording.many(checks, 'check')}."
        )
    broken = [one for one in found.guarantees if one.outcome == "broken"]
    unverified = [one for one in found.guarantees if one.outcome == "not verified"]
    if found.outcome == "BROKEN":
        said = [_broken(one) for one in broken]
        if found.unaccounted_total:
            said.append(f"{wording.many(found.unaccounted_total, 'item')} appeared before the baseline's watermark")
        of_items = (
            f"of {wording.many(balance.before, 'item')} {wording.count(balance.changed)} changed, "
            f"{wording.count(balance.missing)} missing"
        )
        rest = f"; {_names(unverified)} not verified" if unverified else ""
        return f"Continuity is broken: {'; '.join([*said, of_items])}{rest}."
    why = []
    if unverified:
        why.append(f"{_names(unverified)} not verified")
    if not balance.before:
        why.append("the baseline holds no item, and nothing proves nothing")
    if found.problems:
        why.append(found.problems[0])
    return (
        f"Continuity is not proven: {'; '.join(why)}. Of {wording.many(balance.before, 'item')}, as far as compared, "
        "none is missing or changed."
    )


def _broken(one: GuaranteeView) -> str:
    if not one.findings:
        return f"{one.clause} “{one.title}” has {wording.many(one.total, 'finding')}, none of them named"
    first = f"{'the first ' if one.total > 1 else ''}{one.findings[0].code} on {one.findings[0].item}"
    return f"{one.clause} “{one.title}” has {wording.many(one.total, 'finding')}, {first}"


def _names(guarantees: list[GuaranteeView]) -> str:
    names = [one.clause for one in guarantees]
    if len(names) == 1:
        return f"{names[0]} was"
    return f"{', '.join(names[:-1])} and {names[-1]} were"


def parts(found: Evidence) -> list[tuple[str, list[tuple[str, int, float]]]]:
    """Return the balance as two bars on one scale: for each its name and its parts, with percents of the longer."""
    balance = found.balance
    most = max(balance.before, balance.after, 1)
    rows = (
        ("before", ("unchanged", "changed", "missing")),
        ("after", ("unchanged", "changed", "added")),
    )
    return [
        (name, [(state, count, 100 * count / most) for state in of if (count := getattr(balance, state))])
        for name, of in rows
    ]


def _taken(record: Record | None, name: str) -> str:
    """Return when a snapshot was complete, by the journal; empty where it is not known."""
    lines = record.events("done") if record is not None else ()
    times = [line.time for line in lines if str(line.data.get("folder")).rpartition("/")[2] == name]
    return rfc3339(times[-1]) if times else ""


def _head(found: Evidence) -> dict[str, Any]:
    """Return what the list needs beside its columns."""
    remedies = {one.code: one.remedy for view in found.guarantees for one in view.findings} | {
        one.code: one.remedy for damaged in found.damaged for one in damaged.findings
    }
    return {
        "fields": list(snapshot.FIELDS),
        "states": list(STATES),
        "findings": found.item_findings,
        "remedies": dict(sorted(remedies.items())),
        "titles": {one.clause: one.title for one in found.guarantees},
        "whole": not found.left_out,
        "before": _facts(found.before),
        "after": _facts(found.after),
    }


def _facts(manifest: Manifest) -> dict[str, Any]:
    return {"items": manifest.items, "roots": {str(schema): root for schema, root in sorted(manifest.roots.items())}}
