"""The rollback after the cutover, beside the immediate one (R.2a, R.2b, R.2c, R.2e, R.3, F.12).

What is looked at before, what is decided about the database, blue deployed again, and the proof afterwards that the
evidence made meanwhile is valid and that the site is what it was.
Invariants: a loss that is found on the way back is said and does not keep blue from serving; after the cutover no
request goes to blue before it has read and written on the present schema; success is read from the site, never taken
from what was done.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cutover.clock import parse_rfc3339
from cutover.errors import ClauseFailed, CouldNotMeasure, CutoverError, Refused
from cutover.evidence import agreement, diff, leaves, snapshot, trust, verify
from cutover.evidence.errors import EvidenceError
from cutover.procedures import connections, continuity, documents, health, leftovers, release, sequences
from cutover.procedures import snapshots as taking
from cutover.procedures.release import INSTANCE_LABEL
from cutover.procedures.routes import routes_to
from cutover.procedures.traffic import why_back
from cutover.runbook import fingerprint, reverse
from cutover.runbook.attempts import RESUMED, Procedure
from cutover.runbook.checks import expect
from cutover.runbook.rollback import restore_blue, who
from cutover.site import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cutover.evidence.snapshot import Snapshot
    from cutover.model import Environment, Roles
    from cutover.runbook.reverse import ReversePlan
    from cutover.runbook.rollback import RollbackReport
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.target import Target

REPORT = "artifacts/platform/rollback-report.html"
ASSESSED, AFTERWARDS = "assessed", "afterwards"
IMPACT, GREEN_ERA = "impact", "green-era"
_CARRIED, _EVIDENCE_TABLE = "restore-carried", "evidence"
"""What a restore keeps of what it could not carry over (R.2d), and the table that counts here."""
_OBSERVATION = "observation"
_LOOK = 20
_SHOWN = 5


# -- the plan ----------------------------------------------------------------------------------------------------------


def observe(site: Site, roles: Roles) -> reverse.Observed:
    """Look at what decides about the way back; what does not answer is not known, with the reason."""
    problems: list[str] = []

    def seen(what: Callable[[], Any]) -> Any:  # noqa: ANN401  # whatever it asks for
        try:
            return what()
        except CutoverError as error:
            problems.append(f"not known: {error.message}")
            return None

    def breaking() -> tuple[str, ...]:
        wanted = site.target.upgrade.to_release
        rows = site.database.migrations()
        return tuple(row.id for row in rows if row.release == wanted and row.category != fingerprint.COMPATIBLE)

    def installed(colour: Environment) -> bool:
        found = site.helm.status(colour.release, colour.namespace)
        return found is not None and found.is_deployed

    return reverse.Observed(
        serves=seen(lambda: who(site.routing.who_serves(_LOOK))),
        is_split=seen(site.routing.is_split),
        blue_installed=seen(lambda: installed(roles.blue)),
        green_installed=seen(lambda: site.helm.status(roles.green.release, roles.green.namespace) is not None),
        breaking=seen(breaking),
        problems=tuple(problems),
    )


def look(target: Target, roles: Roles) -> reverse.Observed:
    """Look at a site as `observe` does, past any journal: a look is no part of an upgrade."""
    with contextlib.closing(connect(target)) as site:
        site.assign_roles(roles)
        return observe(site, roles)


def plan(upgrade: Upgrade, *, remove_green: bool = False) -> ReversePlan:
    """Return the way back from where journal and site stand now; writes nothing."""
    roles = upgrade.roles
    return reverse.plan(
        upgrade.journal.entries(),
        observed=look(upgrade.target, roles),
        blue=roles.blue.name,
        green=roles.green.name,
        remove_green=remove_green,
    )


def why(upgrade: Upgrade) -> str:
    """Say why the traffic goes back: in the words of whoever asked for it, else by the clause that did not pass."""
    asked = upgrade.journal.last(RESUMED)
    if asked is None or upgrade.procedure is not Procedure.ROLLBACK:
        return why_back(upgrade)
    return f"asked for: {asked.data.get('reason') or 'no reason was given'}"


# -- R.1: the requests -------------------------------------------------------------------------------------------------


def go_back(site: Site, upgrade: Upgrade) -> RollbackReport:
    """Send every request back to blue and prove it; green is observed no longer, and no document names it (R.1).

    Raises: as `cutover.runbook.rollback.restore_blue`.
    """
    report = restore_blue(upgrade, site, trigger=why(upgrade))
    if report.serves == upgrade.roles.blue.name:
        documents.put_back(upgrade)
    if report.serves == upgrade.roles.blue.name and upgrade.knows(_OBSERVATION):
        facts = upgrade.recall(_OBSERVATION)
        upgrade.remember(_OBSERVATION, **{**facts, "state": "none", "until": None})
    return report


# -- R.2a: the impact --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What going back meets: the evidence as it is, verified from the baseline on, and the platform's own answer."""

    report: verify.Report
    green_era: Mapping[str, int]
    """Items made since a request may have reached green, by kind; blue's of that time too."""
    platform: Mapping[str, Any]
    items_now: int

    @property
    def broken(self) -> tuple[str, ...]:
        """The guarantees that do not hold."""
        return tuple(found.clause for found in self.report.guarantees if not found.holds)


def assess(site: Site, upgrade: Upgrade) -> Impact:
    """Verify the evidence from the baseline to now, and ask the platform the same (R.2a).

    Raises:
        Refused: this upgrade has no baseline.
        CouldNotMeasure: the platform, or something that is read, gives no answer.
    """
    report, after = _verified(site, upgrade, ASSESSED)
    answer = site.stella.call(
        "evidence",
        "verify-continuity",
        "--baseline",
        str(upgrade.folder / continuity.BASELINE_REPORT),
        "--output",
        str(leftovers.fresh_output(upgrade, REPORT)),
        namespace=_running_colour(site, upgrade).namespace,
        check=False,
    )
    impact = Impact(
        report=report,
        green_era=_by_kind(after, _green_served_from(upgrade)),
        platform=answer,
        items_now=site.database.evidence_count(),
    )
    balance = report.diff
    upgrade.remember(
        IMPACT,
        before=balance.before,
        after=balance.after,
        missing=balance.missing,
        changed=balance.changed,
        added=balance.added,
        green_era=impact.green_era,
        broken=impact.broken,
        platform_ok=bool(answer["ok"]),
    )
    return impact


def _running_colour(site: Site, upgrade: Upgrade) -> Environment:
    """Return the colour whose configuration the platform's command can read: green, unless it is gone."""
    green = upgrade.roles.green
    return green if site.helm.status(green.release, green.namespace) is not None else upgrade.roles.blue


def _verified(site: Site, upgrade: Upgrade, name: str) -> tuple[verify.Report, Snapshot]:
    """Take a snapshot of this attempt's own, and verify the five guarantees from the baseline to it."""
    baseline = continuity.require_sealed(upgrade)
    folder = _folder(upgrade, name)
    with upgrade.journal.action("snapshot", folder=str(folder.relative_to(upgrade.folder))) as done:
        after = taking.take(site, folder, progress=_progress(site, upgrade))
        done(items=after.manifest.items, digest=after.manifest.digest, findings=after.manifest.findings_total)
    try:
        report = verify.five_guarantees(
            upgrade.folder / continuity.BEFORE,
            folder,
            trust=trust.load(upgrade.target.evidence.trust_root),
            tree_source=site.database,
            log_source=site.log,
            base_schema=continuity.leaf_schemas(site, upgrade).base,
        )
    except EvidenceError as error:
        raise _altered(error) from error
    taking.keep_balance(folder, report.diff)
    for found in report.guarantees:
        taking.keep_guarantee(folder / f"{found.clause}.json", found)
        upgrade.journal.write("observation", what=found.title, checked=found.checked, findings=found.findings_total)
    balance = report.diff
    upgrade.journal.write(
        "evidence",
        before=baseline.manifest.items,
        after=balance.after,
        missing=balance.missing,
        changed=balance.changed,
        added=balance.added,
        unchanged=balance.unchanged,
    )
    return report, after


def _folder(upgrade: Upgrade, name: str) -> Path:
    """Return where a snapshot of this attempt is; another attempt takes its own."""
    return upgrade.path("evidence", f"rollback-{upgrade.attempt}", name)


def _altered(error: EvidenceError) -> ClauseFailed:
    return ClauseFailed(
        "a snapshot in the record was altered",
        code="snapshot-altered",
        seen=str(error),
        do="find out who wrote into the record; what was compared before stands in the journal",
    )


def _progress(site: Site, upgrade: Upgrade) -> snapshot.Progress:
    expected = site.database.evidence_count()

    def tell(items: int, size_bytes: int) -> None:
        upgrade.journal.announce(
            "progress", what="evidence", done=items, total=expected, unit="items", size_bytes=size_bytes
        )

    return tell


def _green_served_from(upgrade: Upgrade) -> str | None:
    """Return when a request may have reached green first, as the lines of a snapshot write it; None for never."""
    found = reverse.plan(upgrade.journal.entries()).green_served_from
    return leaves.timestamp(found) if found is not None else None


def _by_kind(found: Snapshot, since: str | None) -> dict[str, int]:
    counts: dict[str, int] = {}
    if since is not None:
        moment = parse_rfc3339(since)
        for line in found.lines():
            if parse_rfc3339(line.created) >= moment:
                counts[line.kind] = counts.get(line.kind, 0) + 1
    return counts


def require_assessed(impact: Impact) -> None:
    """Demand that every guarantee was verified over something, and that the numbers of items add up (R.2a)."""
    balance = impact.report.diff
    empty = [found.clause for found in impact.report.guarantees if not found.checked]
    expect(
        balance.before > 0 and not empty and balance.after == balance.before - balance.missing + balance.added,
        "the impact is not known: not all of the evidence was looked at",
        seen=f"{balance.before} before, {balance.after} after; nothing checked for {', '.join(empty) or 'none'}",
        do="see evidence/ in the record, and what of the site does not answer",
        code="impact-unknown",
    )


def require_numbers_agree(impact: Impact) -> None:
    """Demand that the platform counts what the harness counts, whether or not that is good news (R.2a)."""
    balance, theirs = impact.report.diff, impact.platform
    try:
        findings = agreement.compare_totals(balance, theirs)
    except EvidenceError as error:
        raise ClauseFailed(
            "the platform's report cannot be compared with the harness's own result",
            code=error.code,
            seen=str(error),
            do="go back by the harness's own numbers, in evidence/ of the record",
        ) from error
    expect(
        not findings and theirs["before"] == balance.before and balance.after <= theirs["after"] <= impact.items_now,
        "the harness and the platform disagree on the evidence",
        seen=f"the platform: {theirs['before']} before, {theirs['after']} after, "
        f"{theirs['missing']} missing, {theirs['changed']} changed",
        expected=f"{balance.before} before, {balance.after} to {impact.items_now} after, "
        f"{balance.missing} missing, {balance.changed} changed",
        do="do not trust the platform's report; the harness's own numbers are in evidence/ of the record",
        code="impact-disagrees",
    )


def require_impact_kept(upgrade: Upgrade) -> None:
    """Demand that the impact is in the journal, the report in the record (R.2a)."""
    path = upgrade.folder / REPORT
    expect(
        upgrade.knows(IMPACT) and path.is_file() and path.stat().st_size > 0,
        "the impact is not in the record",
        seen=f"{REPORT} {'is empty' if path.is_file() else 'is not there'}",
        do="see the transcript of the platform's command",
        code="impact-not-kept",
    )


# -- R.2b: the database ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether the database must be restored before blue serves, from two sources."""

    compatible: tuple[str, ...]
    """Migrations of category A that were applied since the upgrade began."""
    breaking: tuple[str, ...]
    """All others."""
    tried: bool
    """Whether blue was there to be tried on the schema."""
    problem: str
    """What blue cannot do on it; empty when it can, or was not tried."""

    @property
    def restore(self) -> bool:
        """Whether the database must be restored."""
        return bool(self.breaking)

    def __str__(self) -> str:
        said = "restore" if self.restore else "keep"
        tried = "blue is not there to be tried" if not self.tried else self.problem or "blue reads and writes on it"
        listed = [", ".join(ids) or "none" for ids in (self.compatible, self.breaking)]
        return f"{said}: category A {listed[0]}, B {listed[1]}; {tried}"


def decide(site: Site, upgrade: Upgrade) -> Decision:
    """Read the categories of what was applied since the upgrade began, and try blue's own code on the schema (R.2b).

    Raises:
        CouldNotMeasure: the database or the cluster does not answer.
    """
    blue, before = upgrade.roles.blue, fingerprint.kept(upgrade)
    new = [
        row
        for row in site.database.migrations()
        if (row.id not in before.migrations if before else row.release == upgrade.target.upgrade.to_release)
    ]
    tried, problem = site.cluster.ready_endpoints(blue.namespace, blue.service) > 0, ""
    if tried:
        try:
            release.require_read_and_write(site, upgrade, blue)
        except ClauseFailed as error:
            problem = f"{error.message}: {error.seen}"
    decision = Decision(
        compatible=tuple(row.id for row in new if row.category == fingerprint.COMPATIBLE),
        breaking=tuple(row.id for row in new if row.category != fingerprint.COMPATIBLE),
        tried=tried,
        problem=problem,
    )
    upgrade.remember(
        "database-decision",
        restore=decision.restore,
        compatible=decision.compatible,
        breaking=decision.breaking,
        tried=decision.tried,
        problem=decision.problem,
    )
    return decision


def require_decided(site: Site, upgrade: Upgrade, decision: Decision) -> None:
    """Demand that what the migrations declare and what blue does agree, so far as blue is there (R.2b).

    Raises:
        ClauseFailed: blue is installed and nobody of it is ready, or it does not work though all was declared to be
            compatible.
    """
    blue = upgrade.roles.blue
    if not decision.tried and not decision.restore:
        found = site.helm.status(blue.release, blue.namespace)
        expect(
            found is None or not found.is_deployed,
            f"{blue.name} cannot take the traffic: it is installed, and none of its pods is ready",
            seen=f"release {blue.release} {found.status if found else 'absent'}, no ready endpoint of {blue.service}",
            do=f"look at the pods in namespace {blue.namespace}; then go back again",
            state="the traffic is where it was",
            code="blue-not-ready",
        )
    expect(
        decision.restore or not decision.problem,
        f"{blue.name} does not work on the present schema, though every migration was declared compatible",
        seen=str(decision),
        do="find out which migration it is; the database can be restored beside (R.2d) once a person has decided so",
        state="the traffic is where it was",
        code="schema-incompatible",
    )


def require_ids_ahead(site: Site) -> None:
    """Demand that no id which the next writer would be given is in use (R.2b)."""
    sequences.require_ahead(site)


# -- R.2e: blue again --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeployed:
    """Blue after its deployment."""

    status: str
    tags: frozenset[str]
    images: release.RunningImages


def redeploy_blue(site: Site, upgrade: Upgrade) -> Redeployed:
    """Deploy blue again at the release before the upgrade, unless it is there as it should be (R.2e).

    Raises:
        ClauseFailed: helm gives up. Refused: as `release.bring`.
    """
    blue = upgrade.roles.blue
    if upgrade.journal.last("deviation", id="F.12") is None:
        upgrade.deviation(
            "F.12",
            did=f"deployed release {blue.release} in namespace {blue.namespace}, as the target names them",
            instead_of="helm upgrade stellaops, a release that nobody has",
            why="blue would be installed beside itself, under a name that no route leads to",
        )
    tag = upgrade.target.upgrade.from_release
    installed = release.bring(site, upgrade, blue, tag=tag, action=reverse.REDEPLOY)
    return Redeployed(status=installed.status, tags=installed.tags, images=release.running_images(site, blue))


def require_redeployed(upgrade: Upgrade, redeployed: Redeployed) -> None:
    """Demand the release deployed, at the release before the upgrade and no other (R.2e)."""
    wanted = upgrade.target.upgrade.from_release
    expect(
        redeployed.status == "deployed" and redeployed.tags == {wanted},
        f"{upgrade.roles.blue.name} is not at {wanted}",
        seen=f"status {redeployed.status}, image tags {', '.join(sorted(redeployed.tags)) or 'none'}",
        do="see the transcript of helm in the record",
        code="blue-not-deployed",
    )


def require_same_images(upgrade: Upgrade, redeployed: Redeployed) -> None:
    """Demand that blue runs the very images that it ran before the upgrade, where that was kept (R.2e)."""
    before = fingerprint.kept(upgrade)
    found = frozenset(digest for digests in redeployed.images.digests.values() for digest in digests)
    wanted = frozenset(before.images) if before is not None else frozenset()
    upgrade.journal.write("observation", what="images of blue", running=sorted(found), wanted=sorted(wanted))
    expect(
        bool(found) and not redeployed.images.unidentified and (before is None or found == wanted),
        f"{upgrade.roles.blue.name} does not run the images that it ran before the upgrade",
        seen=redeployed.images.describe(),
        expected=", ".join(sorted(wanted)) or "any digest",
        do="find out who pushed that tag, then pin the images by digest and deploy again",
        code="image-digest-differs",
    )


def require_blue_works(site: Site, upgrade: Upgrade) -> None:
    """Demand every deployment of blue available, and that it reads and writes on the present schema (R.2e)."""
    blue = upgrade.roles.blue
    health.require_available(site, blue)
    release.require_read_and_write(site, upgrade, blue)


# -- R.2c: the evidence afterwards -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GreenEra:
    """The evidence after the way back."""

    report: verify.Report
    made: Mapping[str, int]
    """Items made since a request may have reached green, by kind."""
    refused: tuple[str, ...]
    """Of those, the ones that do not verify, with the reason."""
    gone: tuple[str, ...]
    """Items that an earlier snapshot of this upgrade has, and that are missing or changed now."""
    compared: tuple[str, ...] = field(default=())
    """Those earlier snapshots."""


def verify_green_era(site: Site, upgrade: Upgrade) -> GreenEra:
    """Verify all evidence after the way back, and compare it with every snapshot taken while green served (R.2c).

    Raises:
        Refused: this upgrade has no baseline. CouldNotMeasure: something does not answer.
    """
    since = _green_served_from(upgrade)
    report, after = _verified(site, upgrade, AFTERWARDS)
    made: dict[str, str] = {}
    if since is not None:
        moment = parse_rfc3339(since)
        made = {line.id: line.kind for line in after.lines() if parse_rfc3339(line.created) >= moment}
    refused = [f"{one.finding.item}: {one.finding.code}" for one in after.findings() if one.finding.item in made]
    gone: list[str] = []
    compared = _earlier(upgrade)
    for name in compared:
        try:
            balance = diff.compare(upgrade.folder / name, _folder(upgrade, AFTERWARDS))
        except EvidenceError as error:
            raise _altered(error) from error
        gone += [f"{change.id} ({change.kind}) {change.what}" for change in balance.items if change.what != "added"]
    counts: dict[str, int] = {}
    for kind in made.values():
        counts[kind] = counts.get(kind, 0) + 1
    found = GreenEra(
        report=report,
        made=counts,
        refused=tuple(refused),
        gone=tuple(dict.fromkeys(gone)),
        compared=compared,
    )
    upgrade.remember(
        GREEN_ERA,
        since=since,
        made=found.made,
        refused=found.refused[:_SHOWN],
        gone=found.gone[:_SHOWN],
        compared=found.compared,
        broken=[one.clause for one in report.guarantees if not one.holds],
    )
    return found


def _earlier(upgrade: Upgrade) -> tuple[str, ...]:
    """Name the snapshots that were taken after the baseline and before the way back, and finished."""
    own = f"evidence/rollback-{upgrade.attempt}/{AFTERWARDS}"
    found = dict.fromkeys(
        str(entry.data["folder"])
        for entry in upgrade.journal.entries()
        if entry.event == "done" and entry.data.get("action") == "snapshot"
    )
    return tuple(
        name for name in found if name not in {own, continuity.BEFORE} and taking.is_finished(upgrade.folder / name)
    )


def require_baseline_whole(found: GreenEra) -> None:
    """Demand that nothing of the baseline is missing or changed, and that all five guarantees hold (R.2c)."""
    balance = found.report.diff
    broken = [one for one in found.report.guarantees if not one.holds]
    first = next((finding for one in broken for finding in one.findings), None)
    expect(
        balance.before > 0 and not balance.missing and not balance.changed and not broken,
        "the evidence is not whole after the way back",
        seen=f"{balance.missing} missing, {balance.changed} changed of {balance.before}; "
        f"broken: {', '.join(f'{one.clause} {one.title}' for one in broken) or 'none'}"
        + (f"; first {first.item}: {first.code}" if first is not None else ""),
        do=first.remedy if first is not None else continuity.MENDED_BY_REINDEX,
        code=first.code if first is not None else "evidence-changed",
    )


def require_green_era_valid(upgrade: Upgrade, found: GreenEra) -> None:
    """Demand that every item made since green could serve verifies, and that none was lost on the way back (R.2c).

    What a restore could not carry over, and a person gave up, may be gone.
    """
    given_up = _given_up(upgrade)
    expect(
        not found.refused and len(found.gone) <= given_up,
        "evidence made while green served is lost or not valid",
        seen="; ".join([*found.refused[:_SHOWN], *found.gone[:_SHOWN]]),
        expected=f"{sum(found.made.values())} items, all valid" + (f", {given_up} given up" if given_up else ""),
        do="see evidence/ in the record; the replaced database, if there is one, still has what is missing",
        code="green-era-evidence",
    )


def _given_up(upgrade: Upgrade) -> int:
    """Count the items of evidence that a restore gave up, as an approval said it may (R.2d)."""
    if not upgrade.knows(_CARRIED):
        return 0
    tables: Mapping[str, int] = upgrade.recall(_CARRIED)["given_up"]
    return sum(rows for table, rows in tables.items() if table.rpartition(".")[2] == _EVIDENCE_TABLE)


def require_as_before(site: Site, upgrade: Upgrade, *, with_evidence: bool) -> None:
    """Demand that nothing differs from the state before green came, but what a rollback leaves (R.1, R.2c).

    Nothing is claimed where nobody kept that state: phase 2 was no part of this record.

    Raises:
        ClauseFailed: something else differs. CouldNotMeasure: something does not answer.
    """
    found = fingerprint.compare(upgrade, site, with_evidence=with_evidence)
    wrong = fingerprint.forbidden(found or ())
    expect(
        not wrong,
        "the site is not what it was before green came",
        seen=fingerprint.describe(wrong[:_SHOWN])
        + (f"\nand {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""),
        expected="what migrations of category A add, sequences that went on, evidence that grew; nothing else",
        do="see artifacts/state in the record, and put back by hand what differs",
        code="state-differs",
        differences=[str(one) for one in wrong],
    )


# -- R.3: green --------------------------------------------------------------------------------------------------------


def require_nobody_sent(site: Site, upgrade: Upgrade) -> None:
    """Refuse to take green away while a route leads to it, or a job that it accepted is not done (R.3, F.15).

    Raises:
        Refused: a route leads to it. Timeout: its queue is not empty at the policy's bound.
    """
    green = upgrade.roles.green
    if left := routes_to(site, green):
        raise Refused(
            f"{green.name} may not be removed while a route leads to it",
            code="green-still-routed",
            seen="; ".join(left),
            do="go back first, or take it out of those routes",
            state="nothing was changed",
        )
    if site.helm.status(green.release, green.namespace) is None:
        return
    try:
        cache = connections.of(site, green, running=True).cache
    except CouldNotMeasure as error:
        if error.code != "configuration-missing":
            raise
        return  # it never came so far that it could have accepted a job
    upgrade.wait_for(
        f"{green.name}'s queue to drain",
        cache.queue_depth,
        until=lambda depth: depth == 0,
        bound_s=upgrade.policy.limits.queue_drain_s,
        describe=lambda depth: f"{depth} jobs",
        do=f"see what the worker of {green.name} does before anything of it is removed",
        code="green-queue-not-empty",
    )


def remove_green(site: Site, upgrade: Upgrade) -> str:
    """Uninstall green's release; return its state afterwards, `absent` when it is gone (R.3)."""
    green = upgrade.roles.green
    if site.helm.status(green.release, green.namespace) is None:
        upgrade.journal.write("observation", what="already", action=reverse.REMOVE_GREEN, release=green.release)
        return "absent"
    with upgrade.journal.action(reverse.REMOVE_GREEN, release=green.release, namespace=green.namespace):
        site.helm.uninstall(green.release, green.namespace)
    status = site.helm.status(green.release, green.namespace)
    return status.status if status else "absent"


def require_green_gone(site: Site, upgrade: Upgrade, state: str) -> None:
    """Demand green's release gone, with every pod of it (R.3).

    Raises:
        ClauseFailed: helm still has it. Timeout: a pod is left at the policy's bound.
    """
    green = upgrade.roles.green
    expect(
        state == "absent",
        f"release {green.release} is still there",
        seen=state,
        do="see the transcript of helm in the record",
        code="green-not-removed",
    )
    upgrade.wait_for(
        f"{green.name}'s pods to be gone",
        lambda: site.cluster.list("Pod", green.namespace, selector={INSTANCE_LABEL: green.release}),
        until=lambda pods: not pods,
        bound_s=upgrade.policy.limits.ready_s,
        describe=lambda pods: ", ".join(pod["metadata"]["name"] for pod in pods) or "none left",
        do="see what holds them: finalizers, or another owner",
        code="green-pods-left",
    )
