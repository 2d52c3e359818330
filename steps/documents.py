"""Steps about documents, reports and the archive (4.1b, 4.3, E.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import then, when

from cutover.procedures import documents
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from cutover.procedures.documents import Archived, Change, Report
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site


@when("the platform writes its audit report since the start of this upgrade", target_fixture="report")
def audit_report_written(site: Site, upgrade: Upgrade) -> Report:
    return documents.audit_report(site, upgrade)


@when("the platform writes its compliance report", target_fixture="report")
def compliance_report_written(site: Site, upgrade: Upgrade) -> Report:
    return documents.compliance_report(site, upgrade)


@then("the report is a readable document and is kept in the record")
def report_readable(upgrade: Upgrade, report: Report) -> None:
    expect(
        report.pages > 0 and report.characters > 0 and report.path.is_relative_to(upgrade.folder),
        f"the platform's report {report.path.name} says nothing",
        seen=f"{report.pages} pages, {report.characters} characters",
        do="run the platform's command by hand and look at what it writes",
        code="report-empty",
    )


@when("the document of the current version is updated", target_fixture="change")
def current_version_updated(upgrade: Upgrade) -> Change:
    return documents.update_current_version(upgrade)


@when("the upgrade is added to the changelog", target_fixture="change")
def changelog_updated(upgrade: Upgrade) -> Change:
    return documents.add_to_changelog(upgrade)


@then("it names the new release and its difference is in the record")
def names_release(upgrade: Upgrade, change: Change) -> None:
    release = upgrade.target.upgrade.to_release
    expect(
        release in change.path.read_text() and f"+{release}" in change.difference.read_text().replace("## ", ""),
        f"{change.path.name} does not name the new release",
        seen=change.path.read_text()[:200],
        expected=release,
        do="write it by hand; see [documents] of the target",
        code="document-not-updated",
    )


@when("the artifacts of the record are archived in the store", target_fixture="archived")
def artifacts_archived(site: Site, upgrade: Upgrade) -> Archived:
    return documents.archive(site, upgrade)


@then("every artifact read back from the archive has the digest it had")
def archive_equal(archived: Archived) -> None:
    differing = [name for name, digest in archived.expected.items() if archived.read_back.get(name) != digest]
    expect(
        bool(archived.expected) and not differing,
        "the archive does not hold what was put into it",
        seen=f"{len(differing)} of {len(archived.expected)} differ, first {', '.join(differing[:3])}",
        do="archive again; if it differs again, the store is not to be trusted",
        code="archive-differs",
    )


@then("every artifact is kept for the policy's retention or the record says that the archive has no lock")
def archive_retains(upgrade: Upgrade, archived: Archived) -> None:
    if not archived.locked:
        said = upgrade.journal.last("observation", what="archive lock", locked=False)
        expect(said is not None, "the record does not say that the archive has no lock", seen=archived.lock_detail)
        return
    removable = documents.not_retained(archived)
    expect(
        not removable,
        "artifacts in the locked archive can be removed before their time",
        seen=f"{len(removable)} of {len(archived.retained_until)}, first {', '.join(removable[:3])}",
        expected=f"each retained until {archived.retain_until:%Y-%m-%d}",
        do="check the object lock of the archive bucket and whether its keys may set a retention",
        code="archive-not-retained",
    )


@then("no document of the site says that this upgrade is in effect")
def documents_put_back(upgrade: Upgrade) -> None:
    documents.require_put_back(upgrade)
