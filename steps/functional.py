"""Steps of the functional validation (4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import then, when

from cutover.procedures import functional
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from cutover.procedures.functional import BundleVerdicts, DryRun
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site


@then("the harness's own round trip through the public host succeeds")
def own_round_trip(site: Site, upgrade: Upgrade) -> None:
    functional.round_trip(site, upgrade)


@when("the platform scans the target's test image as a dry run", target_fixture="dry_run")
def dry_scan(site: Site, upgrade: Upgrade) -> DryRun:
    return functional.scan_dry(site, upgrade)


@then("the scan answers for that image as a dry run with its components")
def scan_answers(dry_run: DryRun) -> None:
    expect(
        dry_run.is_dry and dry_run.answered_image == dry_run.image and dry_run.components > 0,
        "the platform did not make a dry run of the image",
        seen=str(dry_run),
        expected=f"a dry run of {dry_run.image} that found components, queued no scan and wrote no item",
        do="run the scan by hand",
        code="dry-run-failed",
    )


@then("neither a scan nor evidence of that image was added to the database")
def nothing_written(dry_run: DryRun) -> None:
    expect(
        dry_run.after == dry_run.before,
        f"the dry run of {dry_run.image} wrote something",
        seen=f"before {dry_run.before}, after {dry_run.after}",
        do="report it to the platform: a dry run must not write",
        code="dry-run-wrote",
    )


@when("the platform verifies the target's test bundle and a tampered copy of it", target_fixture="verdicts")
def bundle_verified(site: Site, upgrade: Upgrade) -> BundleVerdicts:
    return functional.verify_bundle(site, upgrade)


@then("the platform accepts the bundle and rejects the copy")
def platform_verdict(verdicts: BundleVerdicts) -> None:
    expect(
        verdicts.platform_accepts and not verdicts.platform_accepts_tampered,
        "the platform's verification does not tell a good bundle from a forged one",
        seen=f"accepts the bundle: {verdicts.platform_accepts}, the forgery: {verdicts.platform_accepts_tampered}",
        do="do not rely on the platform's verification; the harness's own decides",
        code="platform-verification-wrong",
    )


@then("the harness accepts the bundle and rejects the copy")
def harness_verdict(verdicts: BundleVerdicts) -> None:
    expect(
        verdicts.harness_accepts and not verdicts.harness_accepts_tampered,
        "the harness's verification does not tell a good bundle from a forged one",
        seen="; ".join(verdicts.reasons) or "both accepted",
        do="check the trust root that [evidence] of the target names",
        code="bundle-not-verified",
    )
