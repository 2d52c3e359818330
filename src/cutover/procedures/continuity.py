"""Evidence continuity (1.1c, 1.2b, 1.3e, 4.1a, E.1 to E.7, F.8): our own snapshots and verdict, the platform's beside.

Invariants: a verdict is recomputed from contents, rows and log entries, never taken over; items made after the
baseline are accounted for by its watermark; a disagreement with the platform is a failure of its own, whichever of the
two is right; a snapshot that says nothing of the site as it is now is set aside, never gone on with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover import files
from cutover.clock import parse_rfc3339
from cutover.errors import ClauseFailed, CouldNotMeasure
from cutover.evidence import agreement, diff, snapshot, trust, verify
from cutover.evidence.errors import EvidenceError
from cutover.procedures import leftovers
from cutover.procedures import snapshots as taking
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cutover.evidence.errors import Finding
    from cutover.evidence.snapshot import Snapshot
    from cutover.evidence.verify import Guarantee
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

BEFORE = "evidence/before"
AFTER = "evidence/after"
BASELINE_REPORT = "artifacts/platform/pre-upgrade-baseline.json"
CONTINUITY_REPORT = "artifacts/platform/post-upgrade-report.html"
DIGEST_REPORT = "artifacts/platform/digests.json"
REINDEX = "run `stella evidence reindex`; the check passes afterwards only if the content is intact (T.3)"
MENDED_BY_REINDEX = "T.3: `stella evidence reindex` mends rows and leaves only, and only over contents that are intact"
SHOWN = 5
_SNAPSHOT = "snapshot"
_NOT_GONE_ON_WITH = frozenset({"pass-old", "pass-differs", "snapshot-malformed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A snapshot of ours, and what the platform said at about the same time."""

    snapshot: Snapshot
    platform: Mapping[str, Any]
    guarantees: tuple[Guarantee, ...]
    """What tree and log say of the snapshot by itself, before the upgrade."""
    leaf_schema: int
    """The one in force at that time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuity:
    """The balance of two snapshots, the five guarantees over them, the platform's answer, and the items just after."""

    balance: diff.Diff
    guarantees: tuple[Guarantee, ...]
    platform: Mapping[str, Any]
    """Empty when a guarantee is broken and the platform could not answer."""
    items_now: int

    @property
    def broken(self) -> tuple[Guarantee, ...]:
        """The guarantees that do not hold."""
        return tuple(found for found in self.guarantees if not found.holds)


def take_baseline(site: Site, upgrade: Upgrade) -> Taken:
    """Take the first snapshot, verify tree and log over it alone, and let the platform verify all evidence (1.1c)."""
    root = trust.load(upgrade.target.evidence.trust_root)
    files.write_whole(upgrade.path(*trust.IN_RECORD.split("/")), root.raw)
    taken = _take(site, upgrade, BEFORE)
    in_force = min(site.database.schemas(), default=verify.BASE_SCHEMA)
    guarantees = (
        verify.tree(taken, taken, trust=root, source=site.database, base_schema=in_force),
        verify.log(taken, taken, trust=root, source=site.log),
    )
    for found in guarantees:
        _keep(upgrade, found, f"before-{found.clause}.json")
    report = leftovers.fresh_output(upgrade, BASELINE_REPORT)
    blue = upgrade.roles.blue.namespace
    answer = site.stella.call("evidence", "verify-all", "--output", str(report), namespace=blue, check=False)
    return Taken(snapshot=taken, platform=answer, guarantees=guarantees, leaf_schema=in_force)


def _take(site: Site, upgrade: Upgrade, name: str) -> Snapshot:
    """Take a snapshot into the record, or go on with what a broken-off attempt at the same clause left of it."""
    if (finished := _left_behind(upgrade, name)) is not None:
        return finished
    folder = upgrade.folder / name
    expected = site.database.evidence_count()

    def progress(items: int, size_bytes: int) -> None:
        upgrade.journal.announce(
            "progress", what="evidence", done=items, total=expected, unit="items", size_bytes=size_bytes
        )

    with upgrade.journal.action(_SNAPSHOT, folder=name) as done:
        try:
            taken = taking.take(site, folder, progress=progress)
        except EvidenceError as error:
            if error.code not in _NOT_GONE_ON_WITH:
                raise
            _set_aside(upgrade, name, f"the pass in it cannot be gone on with: {error}")
            taken = taking.take(site, folder, progress=progress)
        manifest = taken.manifest
        done(items=manifest.items, digest=manifest.digest, findings=manifest.findings_total)
    return taken


def _left_behind(upgrade: Upgrade, name: str) -> Snapshot | None:
    """Return the snapshot that an attempt finished, and was broken off before it could say what it came to.

    One that says nothing of the site as it is now is set aside: its clause has ended since, another procedure has
    worked on the site, or it is too old.

    Raises:
        ClauseFailed: `snapshot-altered`, it is not the one that was taken.
    """
    folder = upgrade.folder / name
    if not folder.exists():
        return None
    if stale := _why_stale(upgrade, name):
        _set_aside(upgrade, name, stale)
        return None
    if not taking.is_finished(folder):
        return None
    taken = upgrade.journal.last("done", action=_SNAPSHOT, folder=name)
    try:
        found = taking.verified(folder)
        problem = ""
        if taken is not None and taken.data["digest"] != found.manifest.digest:
            problem = f"{found.manifest.digest} (expected {taken.data['digest']})"
    except EvidenceError as error:
        problem = str(error)
    if problem:
        raise ClauseFailed(
            "the snapshot in the record is not the one that was taken",
            code="snapshot-altered",
            seen=problem,
            do="stop, and find out who wrote into the record; then start a new upgrade",
        )
    upgrade.journal.write(
        "observation",
        what="already",
        action=_SNAPSHOT,
        folder=name,
        items=found.manifest.items,
        digest=found.manifest.digest,
    )
    return found


def _why_stale(upgrade: Upgrade, name: str) -> str:
    """Say why what is in a snapshot's folder is not gone on with; empty when it is."""
    begun = upgrade.journal.last("intent", action=_SNAPSHOT, folder=name)
    if begun is None:
        return "nobody wrote down that it was begun"
    for entry in upgrade.journal.entries()[begun.seq + 1 :]:
        if entry.event == "clause_finished" and entry.clause == begun.clause:
            return f"{entry.clause} has ended since: {entry.data['result']}"
        if entry.event == "run_resumed" and entry.data.get("procedure") != "resume":
            return f"{entry.data.get('procedure')} has worked on the site since"
    age = upgrade.clock.now() - begun.time
    return f"it was begun {age} ago" if age > snapshot.MAX_AGE else ""


def _set_aside(upgrade: Upgrade, name: str, reason: str) -> None:
    aside = taking.set_aside(upgrade.folder / name)
    kept = str(aside.relative_to(upgrade.folder)) if aside is not None else "nothing: it was not finished"
    upgrade.journal.write("observation", what="a snapshot is taken anew", folder=name, reason=reason, kept=kept)


def require_intact(taken: Taken) -> None:
    """Demand that the snapshot met no refusal: every content has the digest and signature that it should (1.1c)."""
    _require_none(
        [one.finding for one in taken.snapshot.findings()],
        "the evidence is not intact",
        total=taken.snapshot.manifest.findings_total,
    )


def require_bound(taken: Taken) -> None:
    """Demand that tree and log were whole before anything began, over every item of the snapshot (1.1c)."""
    for found in taken.guarantees:
        require_guarantee(found)


def require_agreement(upgrade: Upgrade, taken: Taken) -> None:
    """Demand that the platform's report and our snapshot agree item by item (1.1c)."""
    report = _report(upgrade, BASELINE_REPORT)
    refused = {finding.item for found in taken.guarantees for finding in found.findings}
    _require_none(
        _refusing(lambda: agreement.compare(taken.snapshot, report, refused=refused)),
        "the harness and the platform disagree on the evidence",
    )
    _require_none(agreement.compare_answer(report, taken.platform), "the platform's answer is not what its report says")
    expect(
        bool(taken.platform["ok"]),
        "the platform does not find its own evidence intact",
        seen=str(taken.platform.get("failures"))[:300],
        do=REINDEX,
        code="platform-evidence-not-ok",
    )


def _report(upgrade: Upgrade, place: str) -> Any:  # noqa: ANN401  # whatever the platform wrote; the comparison refuses it
    """Return the JSON document that the platform was asked to write."""
    try:
        return json.loads((upgrade.folder / place).read_bytes())
    except (OSError, ValueError) as error:
        raise CouldNotMeasure(
            f"the platform's report {place.rpartition('/')[2]} is not there or not readable",
            code="report-missing",
            seen=str(error),
            do="run the platform's command by hand and look at what it writes",
        ) from error


def seal_baseline(upgrade: Upgrade, taken: Taken) -> None:
    """Put the digest of the snapshot into the journal: from here on it is this upgrade's baseline (1.1c, F.8)."""
    manifest = taken.snapshot.manifest
    upgrade.remember(
        "baseline",
        folder=BEFORE,
        digest=manifest.digest,
        items=manifest.items,
        watermark=manifest.watermark.last_id,
        roots={str(schema): root for schema, root in manifest.roots.items()},
        leaf_schema=taken.leaf_schema,
    )
    upgrade.deviation(
        "F.8",
        did=f"baseline with a watermark at {manifest.watermark.last_id}; every later item is accounted for as added",
        instead_of="a baseline that knows nothing of items made before the cutover",
        why="evidence made in between would be in no comparison",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafSchemas:
    """What the leaves of the evidence tree cover, before and after."""

    base: int
    """In force when the baseline was taken."""
    new: int | None
    """That the release brings; None where it brings none."""


def leaf_schemas(site: Site, upgrade: Upgrade) -> LeafSchemas:
    """Return what the schema holds now beside what was in force at the baseline: an upgrade need not bring another."""
    base = int(upgrade.recall("baseline").get("leaf_schema", verify.BASE_SCHEMA))
    newest = max(site.database.schemas(), default=base)
    return LeafSchemas(base=base, new=newest if newest > base else None)


def require_sealed(upgrade: Upgrade) -> Snapshot:
    """Return the baseline, read back whole and equal to what the journal holds (1.3e).

    Raises:
        Refused: no baseline was sealed.
        ClauseFailed: it was altered since.
    """
    facts = upgrade.recall("baseline")
    try:
        found = snapshot.load(upgrade.folder / facts["folder"])
        items = sum(1 for _ in found.raw_lines())
    except EvidenceError as error:
        raise _altered_record(error) from error
    expect(
        found.manifest.digest == facts["digest"] and items == facts["items"],
        "the baseline in the record is not the one that was sealed",
        seen=f"{found.manifest.digest}, {items} items",
        expected=f"{facts['digest']}, {facts['items']} items",
        do="take the baseline again: start a new upgrade",
        code="baseline-altered",
    )
    return found


def _altered_record(error: EvidenceError) -> ClauseFailed:
    return ClauseFailed(
        "the baseline in the record was altered",
        code="baseline-altered",
        seen=str(error),
        do="take the baseline again: start a new upgrade",
    )


def require_digest(upgrade: Upgrade, found: Snapshot) -> None:
    """Demand the sealed digest of a baseline that was read back (1.3e)."""
    sealed = upgrade.recall("baseline")["digest"]
    expect(found.manifest.digest == sealed, "the baseline is another one", seen=found.manifest.digest, expected=sealed)


def require_export(upgrade: Upgrade, folder: Path, reported: int) -> None:
    """Demand that the platform's export holds every bundle of the baseline with its bytes (1.2b)."""
    baseline = require_sealed(upgrade)
    bundles = baseline.manifest.by_kind.get("bundle", 0)
    _require_none(_refusing(lambda: agreement.verify_export(baseline, folder)), "the export differs from the baseline")
    expect(
        reported >= bundles > 0,
        "the export does not hold every bundle of the baseline",
        seen=f"{reported} reported",
        expected=f"at least {bundles}",
        do="export again, and compare with the baseline in the record",
        code="export-incomplete",
    )


def verify_continuity(site: Site, upgrade: Upgrade) -> Continuity:
    """Take the second snapshot, verify the five guarantees against the baseline, and ask the platform (4.1a).

    Raises:
        ClauseFailed: `baseline-altered`, a snapshot in the record is not the one that was taken.
        CouldNotMeasure, ClauseFailed: the platform gives no answer, and no guarantee is broken, which would matter
            more.
    """
    after, schemas = _take(site, upgrade, AFTER), leaf_schemas(site, upgrade)
    upgrade.remember("second-snapshot", folder=AFTER, digest=after.manifest.digest, items=after.manifest.items)
    try:
        report = verify.five_guarantees(
            upgrade.folder / BEFORE,
            upgrade.folder / AFTER,
            trust=trust.load(upgrade.target.evidence.trust_root),
            tree_source=site.database,
            log_source=site.log,
            new_schema=schemas.new,
            base_schema=schemas.base,
        )
    except EvidenceError as error:
        raise _altered_record(error) from error
    balance = report.diff
    taking.keep_balance(upgrade.folder / "evidence", balance)
    upgrade.journal.write(
        "evidence",
        before=balance.before,
        after=balance.after,
        missing=balance.missing,
        changed=balance.changed,
        added=balance.added,
        unchanged=balance.unchanged,
    )
    for found in report.guarantees:
        _keep(upgrade, found, f"{found.clause}.json")
    answer: Mapping[str, Any] = {}
    try:
        answer = site.stella.call(
            "evidence",
            "verify-continuity",
            "--baseline",
            str(upgrade.folder / BASELINE_REPORT),
            "--output",
            str(leftovers.fresh_output(upgrade, CONTINUITY_REPORT)),
            namespace=upgrade.roles.green.namespace,
            check=False,
        )
    except (CouldNotMeasure, ClauseFailed):
        if report.holds and not balance.missing + balance.changed:
            raise
    return Continuity(
        balance=balance,
        guarantees=report.guarantees,
        platform=answer,
        items_now=site.database.evidence_count(),
    )


def require_balance(continuity: Continuity) -> None:
    """Demand that nothing is missing and nothing changed; the guarantees say which item and why (4.1a)."""
    balance = continuity.balance
    named = ", ".join(f"{item.id} ({item.kind}) {item.what}" for item in balance.items[:SHOWN])
    _require_unbroken(
        continuity,
        is_so=balance.missing == 0 and balance.changed == 0 and balance.before > 0,
        message="evidence was lost or altered",
        seen=f"{balance.missing} missing, {balance.changed} changed of {balance.before}: {named}",
        code="evidence-changed",
        note=MENDED_BY_REINDEX,
    )


def require_five_guarantees(continuity: Continuity) -> None:
    """Demand that all five guarantees hold over both snapshots, the tree and the log (4.1a, E.1 to E.5)."""
    broken = continuity.broken
    _require_unbroken(
        continuity,
        is_so=not broken,
        message="the evidence balances, and cannot be trusted",
        seen=f"{len(broken)} of {len(continuity.guarantees)} guarantees are broken",
        code="evidence-guarantee-broken",
    )


def _require_unbroken(
    continuity: Continuity, *, is_so: bool, message: str, seen: str, code: str, note: str = ""
) -> None:
    """Pass, or fail with every broken guarantee by clause and title, its findings by code and item, and a remedy."""
    if is_so:
        return
    broken = continuity.broken
    told = [line for found in broken for line in _told(found)]
    remedies = [finding.remedy for found in broken for finding in found.findings[:1]]
    raise ClauseFailed(
        f"{message}: {', '.join(f'{found.clause} {found.title}' for found in broken)}" if broken else message,
        code=code,
        seen=seen,
        guide="4.1",
        do="; ".join([*dict.fromkeys(remedies), *([note] if note else [])]),
        cause_text="\n".join([_summary(broken), *told]),
        guarantees=[found.clause for found in broken],
        findings=[finding.as_json() | {"clause": found.clause} for found in broken for finding in _chosen(found)],
    )


def _summary(broken: Sequence[Guarantee]) -> str:
    """Return in one line what broke first."""
    first = next((finding for found in broken for finding in found.findings), None)
    since = "evidence is not what it was when the baseline was taken, before the upgrade"
    if first is None:
        return since
    more = sum(found.findings_total for found in broken) - 1
    return f"{first.item} is refused with {first.code}{f' ({more} more findings)' if more else ''}: {since}"


def _told(found: Guarantee) -> list[str]:
    """Return a broken guarantee in lines: its clause and title, code and item of what it found."""
    lines = [
        f"{found.clause} {found.title}: {finding.code} {finding.item},"
        f" expected {finding.expected}, found {finding.actual}"
        for finding in _chosen(found)
    ]
    if (more := found.findings_total - len(lines)) > 0:
        lines.append(f"{found.clause} {found.title}: and {more} more, in evidence/{found.clause}.json")
    return lines


def _chosen(found: Guarantee) -> list[Finding]:
    """Return the few findings that are shown: the first of each code, then the others in order."""
    first = {finding.code: finding for finding in reversed(found.findings)}
    leading = [finding for finding in found.findings if first[finding.code] is finding]
    return [*leading, *(finding for finding in found.findings if finding not in leading)][:SHOWN]


def require_accounted(upgrade: Upgrade, continuity: Continuity) -> None:
    """Demand that every added item lies behind the baseline's watermark (F.8)."""
    watermark = str(upgrade.recall("baseline")["watermark"])
    balance = continuity.balance
    early = [change.id for change in balance.items if change.what == "added"]
    expect(
        balance.unaccounted == 0 and balance.after == balance.before - balance.missing + balance.added,
        "items appeared that should have been in the baseline",
        seen=f"{balance.unaccounted} before the watermark {watermark}, first {', '.join(early[:SHOWN])}",
        do="find out who inserts evidence into the past",
        code="evidence-unaccounted",
    )


def require_continuity_agreement(continuity: Continuity) -> None:
    """Demand that the platform's verdict on continuity is ours, in its counts too (4.1a)."""
    balance, theirs = continuity.balance, continuity.platform
    _require_none(
        _refusing(lambda: agreement.compare_totals(balance, theirs)),
        "the harness and the platform disagree on continuity",
    )
    expect(
        theirs["before"] == balance.before and balance.after <= theirs["after"] <= continuity.items_now,
        "the harness and the platform disagree on how much evidence there is",
        seen=f"the platform counts {theirs['before']} before and {theirs['after']} after",
        expected=f"{balance.before} before, {balance.after} to {continuity.items_now} after",
        do="do not trust the platform's report; the harness's own numbers are in evidence/diff.json",
        code="continuity-disagrees",
        cause_text="the platform's own report on continuity is not true",
    )
    expect(
        bool(theirs["ok"]),
        "the platform finds that evidence was lost or altered",
        seen=str(theirs.get("failures"))[:300],
        do=REINDEX,
        code="platform-continuity-not-ok",
    )


def snapshots(upgrade: Upgrade) -> tuple[Snapshot, Snapshot]:
    """Return the baseline and the second snapshot of this upgrade.

    Raises:
        Refused: one of them was not taken.
        ClauseFailed: `snapshot-altered`, one of them is not the one that was taken.
    """
    sealed = [upgrade.recall(name)["digest"] for name in ("baseline", "second-snapshot")]
    before, after = snapshot.load(upgrade.folder / BEFORE), snapshot.load(upgrade.folder / AFTER)
    found = [before.manifest.digest, after.manifest.digest]
    expect(
        found == sealed,
        "the snapshots in the record are not the ones that were taken",
        seen=", ".join(found),
        expected=", ".join(sealed),
        do="stop, and find out who wrote into the record; then start a new upgrade",
        code="snapshot-altered",
    )
    return before, after


def guarantee(site: Site, upgrade: Upgrade, clause: str) -> Guarantee:
    """Verify one of the five guarantees from the two snapshots, the stored tree and the log (E.1 to E.5)."""
    before, after = snapshots(upgrade)
    root = trust.load(upgrade.target.evidence.trust_root)
    match clause:
        case "E.1":
            found = verify.digests(before, after)
        case "E.2":
            found = verify.sboms(before, after)
        case "E.3":
            schemas = leaf_schemas(site, upgrade)
            found = verify.tree(
                before,
                after,
                trust=root,
                source=site.database,
                new_schema=schemas.new,
                base_schema=schemas.base,
            )
        case "E.4":
            found = verify.attestations(before, after, trust=root)
        case _:
            found = verify.log(before, after, trust=root, source=site.log)
    _keep(upgrade, found, f"{clause}.json")
    return found


def _keep(upgrade: Upgrade, found: Guarantee, name: str) -> None:
    """Put what was verified into the record, and its totals into the journal."""
    taking.keep_guarantee(upgrade.path("evidence", name), found)
    upgrade.journal.write("observation", what=found.title, checked=found.checked, findings=found.findings_total)


def require_guarantee(found: Guarantee) -> None:
    """Demand that a guarantee holds over at least one item."""
    named = f"{found.clause} {found.title}"
    expect(found.checked > 0, f"{named}: nothing was checked", seen="0 items", code="nothing-checked")
    if found.holds:
        return
    told = _told(found)
    raise ClauseFailed(
        f"{named}: not so",
        code=found.findings[0].code if found.findings else "guarantee-broken",
        seen="\n".join([f"{found.findings_total} findings, {found.checked} checked", *told]),
        guide="4.1",
        do=found.findings[0].remedy if found.findings else "",
        cause_text="\n".join([_summary([found]), *told]),
        guarantees=[found.clause],
        findings=[finding.as_json() | {"clause": found.clause} for finding in _chosen(found)],
    )


def require_cross_reference(site: Site, upgrade: Upgrade) -> None:
    """Demand that a cross-reference binds a newer leaf schema, over at least the baseline, where there is one.

    E.3's verification recomputes its roots.
    """
    before, _ = snapshots(upgrade)
    schemas = leaf_schemas(site, upgrade)
    upgrade.journal.write("observation", what="leaf schemas", base=schemas.base, new=schemas.new)
    if schemas.new is None:
        return
    sizes = [one.size for one in site.database.cross_references() if one.new_schema == schemas.new]
    expect(
        any(size >= before.manifest.watermark.leaves for size in sizes),
        "no cross-reference binds the baseline's tree to the new leaf schema",
        seen=f"cross-references at sizes {', '.join(map(str, sizes)) or 'none'}",
        expected=f"one at {before.manifest.watermark.leaves} leaves or more",
        do="see what green's worker does: it derives the new tree after category A",
        code="crossref-missing",
    )


def require_log_grew(upgrade: Upgrade) -> None:
    """Demand both checkpoints, the second not smaller than the first; E.5's verification proves them consistent."""
    before, after = (one.manifest.checkpoint for one in snapshots(upgrade))
    expect(
        before is not None and after is not None and before.size <= after.size,
        "the log's checkpoints are not in order",
        seen=f"before {before}, after {after}",
        do="find out who serves the log: it was rolled back or replaced",
        code="checkpoint-rolled-back",
    )


def require_all_logged(upgrade: Upgrade, found: Guarantee) -> None:
    """Demand that the verification covered every item, and that the signed checkpoint is large enough for them."""
    _, after = snapshots(upgrade)
    checkpoint = after.manifest.checkpoint
    expect(
        checkpoint is not None and checkpoint.size >= after.manifest.items and found.checked >= after.manifest.items,
        "not every item is included in the log",
        seen=f"{found.checked} checked, checkpoint {checkpoint}",
        expected=f"{after.manifest.items} items or more",
        do="see what the log's writer does: entries are missing",
        code="log-entry-missing",
    )


def digest_report(site: Site, upgrade: Upgrade) -> list[Finding]:
    """Let the platform verify all digests, and compare its report with ours item by item (E.6)."""
    path = leftovers.fresh_output(upgrade, DIGEST_REPORT)
    green = upgrade.roles.green.namespace
    answer = site.stella.call("evidence", "verify-digests", "--report", str(path), namespace=green)
    _, after = snapshots(upgrade)
    report = _report(upgrade, DIGEST_REPORT)
    return _refusing(lambda: agreement.compare_digests(after, report)) + agreement.compare_answer(report, answer)


def attestation_report(site: Site, upgrade: Upgrade) -> list[Finding]:
    """Let the platform verify every attestation since the first item, and compare (E.7)."""
    _, after = snapshots(upgrade)
    since = next(line.created for line in after.lines())
    answer = site.stella.call(
        "attest", "verify-all", "--since", since, namespace=upgrade.roles.green.namespace, check=False
    )
    return _refusing(lambda: agreement.compare_attestations(after, answer, since=parse_rfc3339(since)))


def require_agreeing(findings: Sequence[Finding], what: str) -> None:
    """Demand that a comparison with one of the platform's reports found nothing."""
    _require_none(findings, f"the platform's {what} report disagrees with the harness")


def _refusing(compare: Callable[[], list[Finding]]) -> list[Finding]:
    """Run a comparison; a report that cannot be compared is a failure of the platform's answer."""
    try:
        return compare()
    except EvidenceError as error:
        raise ClauseFailed(
            "the platform's report cannot be compared with the harness's own result",
            code=error.code,
            seen=str(error),
            do="look at the report in artifacts/platform of the record",
        ) from error


def _require_none(findings: Sequence[Finding], message: str, *, total: int | None = None) -> None:
    count = len(findings) if total is None else total
    first = "; ".join(
        f"{finding.item}: {finding.code}, expected {finding.expected}, found {finding.actual}"
        for finding in findings[:SHOWN]
    )
    expect(
        count == 0,
        message,
        seen=f"{count} findings, first {first}",
        expected="none",
        do=findings[0].remedy if findings else "",
        code=findings[0].code if findings else "evidence",
        guide="4.1",
    )
