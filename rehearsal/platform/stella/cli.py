"""The command line: one function a command, each of them options, one call, one answer.

Invariants: every command accepts ``--json`` and then prints exactly one document; the work is done in the module
that the command imports when it is called, so that none pays for the others.
"""
# ruff: noqa: PLC0415 -- see the invariant

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rehearsal.platform.stella import answers, faults
from rehearsal.platform.stella.errors import StellaError
from rehearsal.platform.stella.instants import Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from rehearsal.platform.stella.answers import Answer, Json

NAMESPACE_VARIABLE = "STELLA_NAMESPACE"
DEFAULT_NAMESPACE = "stellaops-prod"

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
NEW_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)
OLD_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

namespace_option = click.option(
    "--namespace",
    "-n",
    envvar=NAMESPACE_VARIABLE,
    default=DEFAULT_NAMESPACE,
    show_default=True,
    show_envvar=True,
    help="Namespace of the deployment to ask.",
)
since_option = click.option(
    "--since", type=Instant(), required=True, help="ISO 8601 date or timestamp, UTC if it names no offset."
)


def answering(command: str) -> Callable[[Callable[..., Answer]], Callable[..., None]]:
    """Make a function that returns an answer into a command that prints it and exits 0, 1 or 3.

    `command` is the command's words, such as ``test smoke``.
    """

    def decorate(work: Callable[..., Answer]) -> Callable[..., None]:
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
        @functools.wraps(work)
        def run(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401 -- click passes each command's own options
            if faults.is_struck(faults.HANGS, command):
                faults.hang()
            try:
                answer = work(**options)
            except StellaError as error:
                if as_json:
                    _print_document(answers.error_document(command, error))
                else:
                    from rehearsal.platform.stella import rendering

                    rendering.print_error(error)
                sys.exit(error.exit_code)
            if faults.is_struck(faults.LIES, command):
                answer = faults.lie(answer)
            if as_json:
                _print_document(answers.document(command, answer))
            else:
                from rehearsal.platform.stella import rendering

                rendering.print_answer(answer)
            sys.exit(0 if answer.ok else 1)

        return run

    return decorate


@click.group(context_settings=CONTEXT)
def stella() -> None:
    """Operate a Stella Ops site.

    Reads KUBECONFIG for the cluster, and the configuration of the namespace for database, cache and store.
    Exit codes: 0 ok, 1 not ok, 2 usage, 3 a part of the site could not be reached.
    """


@stella.command()
@namespace_option
@answering("version")
def version(namespace: str) -> Answer:
    """Show the release of this client and of the server, and the image that runs."""
    from rehearsal.platform.stella import releases

    return releases.version(namespace)


@stella.group()
def upgrade() -> None:
    """Plan an upgrade."""


@upgrade.command("check")
@click.option("--target", required=True, metavar="RELEASE", help="Release to upgrade to, such as 2027.Q2.")
@namespace_option
@answering("upgrade check")
def upgrade_check(target: str, namespace: str) -> Answer:
    """Say whether the compatibility matrix allows an upgrade from the release that runs."""
    from rehearsal.platform.stella import releases

    return releases.upgrade_check(namespace, target)


@stella.command()
@click.option(
    "--full", is_flag=True, help="Check database, cache, store and queue too, not only what runs in the cluster."
)
@click.option(
    "--export", "export", type=NEW_FILE, help="Write a diagnostics archive (tar.gz), secrets redacted; implies --full."
)
@namespace_option
@answering("doctor")
def doctor(*, full: bool, export: Path | None, namespace: str) -> Answer:
    """Check the health of a deployment."""
    from rehearsal.platform.stella import health

    return health.doctor(namespace, full=full or export is not None, export=export)


@stella.group()
def system() -> None:
    """Look after the database's schema."""


@system.command("migrations-status")
@namespace_option
@answering("system migrations-status")
def migrations_status(namespace: str) -> Answer:
    """List the migrations this client knows, applied and pending."""
    from rehearsal.platform.stella import schema

    return schema.status(namespace)


@system.command("migrations-run")
@click.option("--category", type=click.Choice(["A", "B"]), required=True, help="A expands the schema, B contracts it.")
@click.option("--release", metavar="RELEASE", help="Whose migrations to run; the newest release deployed by default.")
@click.option(
    "--lock-timeout",
    "lock_timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds to wait for the migration lock.",
)
@click.option("--confirm-contract", is_flag=True, help="Run category B although pods of an older release run.")
@namespace_option
@answering("system migrations-run")
def migrations_run(
    *, category: str, release: str | None, lock_timeout_s: float, confirm_contract: bool, namespace: str
) -> Answer:
    """Run the pending migrations of one category."""
    from rehearsal.platform.stella import schema

    return schema.run(
        namespace, category=category, release=release, lock_timeout_s=lock_timeout_s, confirm_contract=confirm_contract
    )


@stella.group()
def evidence() -> None:
    """Verify, export and report on evidence."""


@evidence.command("verify-all")
@click.option("--output", type=NEW_FILE, required=True, help="Where to write the result of each item (JSON).")
@namespace_option
@answering("evidence verify-all")
def evidence_verify_all(output: Path, namespace: str) -> Answer:
    """Hash every object again; verify leaves, roots, attestations and the transparency log."""
    from rehearsal.platform.stella import continuity

    return continuity.verify_all(namespace, output)


@evidence.command("export")
@click.option("--all", "everything", is_flag=True, help="Export every bundle.")
@click.option("--id", "ids", multiple=True, metavar="ID", help="Export this bundle; may be given several times.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write to.")
@namespace_option
@answering("evidence export")
def evidence_export(*, everything: bool, ids: tuple[str, ...], output: Path, namespace: str) -> Answer:
    """Write evidence bundles as files, with a manifest."""
    from rehearsal.platform.stella import exports

    if everything == bool(ids):
        raise click.UsageError("say which bundles: either --all or --id")
    return exports.export(namespace, output, ids=ids)


@evidence.command("verify-continuity")
@click.option("--baseline", type=OLD_FILE, required=True, help="File that `evidence verify-all` wrote before.")
@click.option("--output", type=NEW_FILE, required=True, help="Where to write the report (one HTML file).")
@namespace_option
@answering("evidence verify-continuity")
def evidence_verify_continuity(baseline: Path, output: Path, namespace: str) -> Answer:
    """Compare the evidence with a baseline: nothing missing, nothing changed, roots and log continued."""
    from rehearsal.platform.stella import continuity

    return continuity.verify_continuity(namespace, baseline, output)


@evidence.command("audit-report")
@since_option
@click.option("--output", type=NEW_FILE, required=True, help="Where to write the report (PDF).")
@namespace_option
@answering("evidence audit-report")
def evidence_audit_report(since: datetime, output: Path, namespace: str) -> Answer:
    """Report everything that happened to evidence since an instant."""
    from rehearsal.platform.stella import audits

    return audits.audit_report(namespace, since, output)


@evidence.command("verify-digests")
@click.option("--report", type=NEW_FILE, required=True, help="Where to write the digest of each item (JSON).")
@namespace_option
@answering("evidence verify-digests")
def evidence_verify_digests(report: Path, namespace: str) -> Answer:
    """Compare the digest of each item's content with the recorded one."""
    from rehearsal.platform.stella import continuity

    return continuity.verify_digests(namespace, report)


@evidence.command("compliance-report")
@click.option(
    "--format", "form", type=click.Choice(["pdf"]), default="pdf", show_default=True, help="Form of the report."
)
@click.option(
    "--output", type=NEW_FILE, default=Path("compliance-report.pdf"), show_default=True, help="Where to write it."
)
@namespace_option
@answering("evidence compliance-report")
def evidence_compliance_report(form: str, output: Path, namespace: str) -> Answer:
    """Report on the evidence guarantees, each with what was verified."""
    del form  # click admits only PDF
    from rehearsal.platform.stella import audits

    return audits.compliance_report(namespace, output)


@evidence.command("reindex")
@namespace_option
@answering("evidence reindex")
def evidence_reindex(namespace: str) -> Answer:
    """Derive the index rows of evidence again from its content, where the content is intact."""
    from rehearsal.platform.stella import reindexing

    return reindexing.reindex(namespace)


@stella.group()
def attest() -> None:
    """Verify attestations."""


@attest.command("verify-all")
@since_option
@namespace_option
@answering("attest verify-all")
def attest_verify_all(since: datetime, namespace: str) -> Answer:
    """Verify every attestation made since an instant."""
    from rehearsal.platform.stella import attestations

    return attestations.verify_all(namespace, since)


@attest.command("verify")
@click.option("--bundle", type=OLD_FILE, required=True, help="Evidence bundle (tar.gz).")
@namespace_option
@answering("attest verify")
def attest_verify(bundle: Path, namespace: str) -> Answer:
    """Verify the attestation in one bundle, and that it speaks of what the bundle holds."""
    from rehearsal.platform.stella import attestations

    return attestations.verify_bundle(namespace, bundle)


@stella.group("test")
def suites() -> None:
    """Test a deployment."""


@suites.command("smoke")
@namespace_option
@answering("test smoke")
def smoke_suite(namespace: str) -> Answer:
    """Run the short checks, which write nothing."""
    from rehearsal.platform.stella import probing

    return probing.smoke(namespace)


@suites.command("integration")
@namespace_option
@answering("test integration")
def integration_suite(namespace: str) -> Answer:
    """Run the full checks; one of them scans an image, and so adds evidence."""
    from rehearsal.platform.stella import probing

    return probing.integration(namespace)


@stella.command()
@click.option("--image", required=True, help="Image to scan.")
@click.option("--dry-run", is_flag=True, help="Compute the result here and write nothing.")
@namespace_option
@answering("scan")
def scan(*, image: str, dry_run: bool, namespace: str) -> Answer:
    """Scan an image."""
    from rehearsal.platform.stella import scanning

    return scanning.scan(namespace, image, dry_run=dry_run)


def _print_document(body: Mapping[str, Json]) -> None:
    sys.stdout.write(json.dumps(body, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the command line as the program `stella`."""
    stella(prog_name="stella")
