"""`cutover evidence`: snapshots of a site's evidence, their difference, and the five guarantees, outside a run."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cutover.cli import options
from cutover.clock import rfc3339
from cutover.errors import CouldNotMeasure, CutoverError, Refused, WrongInput
from cutover.model import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cutover.evidence.diff import Change, Diff
    from cutover.evidence.snapshot import Manifest
    from cutover.evidence.verify import Report
    from cutover.target import Target

JOURNAL = "pass.jsonl"
"""What an interrupted pass leaves in a folder."""
SHOWN = 20
"""How many changed items or findings are written for a person; the files and --json hold all that were kept."""
_EXIT_CODES = """\b
Exit codes:
  0  nothing was lost or altered
  1  it was, and what is named
  2  wrong input
  3  something could not be measured
  4  interrupted: nothing is decided
  5  refused: another pass works on the folder
"""
_folder = click.Path(file_okay=False, path_type=Path)
_present = click.Path(exists=True, file_okay=False, path_type=Path)
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be read, by whom, and do nothing.")


@click.group()
def evidence() -> None:
    """Take snapshots of a site's evidence, compare them, verify that nothing was lost or altered."""


@evidence.command(epilog="Exit codes: 0 even with findings (they are in the snapshot), 2 to 5 as for verify.")
@options.target
@click.option("--out", required=True, metavar="DIR", type=_folder, help="The folder that becomes the snapshot.")
@click.option("--json", "as_json", is_flag=True, help="The manifest as one JSON document.")
@_dry_run
def snapshot(*, target: str, out: Path, as_json: bool, dry_run: bool) -> None:
    """Read every item once, recompute what its row declares, and write a snapshot.

    Interrupted by whatever, the same command goes on where it was; the result is the same, byte for byte. Nothing of
    the site is changed.

    \b
    Examples:
      cutover evidence snapshot --target target.toml --out before
      cutover evidence snapshot --target target.toml --out before --dry-run
    """  # noqa: D301 (click reads the escape)
    described = _read(target)
    with _refusals():
        if dry_run:
            _explain(described, out)
            return
        manifest = _take(described, out)
    if as_json:
        click.echo((out / "manifest.json").read_text("utf-8"), nl=False)
        return
    _say_manifest(out, manifest)


@evidence.command(epilog=_EXIT_CODES)
@click.argument("before", metavar="DIR1", type=_present)
@click.argument("after", metavar="DIR2", type=_present)
@click.option("--json", "as_json", is_flag=True, help="Totals and items as one JSON document.")
def diff(*, before: Path, after: Path, as_json: bool) -> None:
    """Compare two snapshots, item by item, with totals that balance.

    \b
    Example:
      cutover evidence diff before after
    """  # noqa: D301
    from cutover.evidence import diff as diffs  # noqa: PLC0415  # not needed by --help
    from cutover.evidence.errors import EvidenceError  # noqa: PLC0415

    with _refusals():
        balance = diffs.compare(before, after)
        if balance.before == 0:
            raise EvidenceError("evidence-empty", str(before), expected="at least one item", actual="none")
    click.echo(json.dumps(balance.as_json(), indent=2) if as_json else _balance(balance))
    sys.exit(ExitCode.PASSED if balance.holds else ExitCode.FAILED)


@evidence.command(epilog=_EXIT_CODES)
@options.target
@click.option("--baseline", required=True, metavar="DIR", type=_present, help="The snapshot from before.")
@click.option("--out", metavar="DIR", type=_folder, help="Keep both snapshots and each verdict here.")
@click.option(
    "--new-schema",
    type=int,
    metavar="N",
    help="The leaf schema that the new release brought: its binding is demanded.",
)
@click.option(
    "--base-schema",
    type=int,
    metavar="N",
    default=1,
    show_default=True,
    help="The leaf schema in force when the baseline was taken.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON document.")
@_dry_run
def verify(
    *,
    target: str,
    baseline: Path,
    out: Path | None,
    new_schema: int | None,
    base_schema: int,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Take a snapshot of the site as it is, and verify the five guarantees from the baseline to it.

    The trust root is the target's, and must be the one that the baseline was taken with. With --out, a snapshot that
    was interrupted goes on where it was; one that is finished is never taken for the site as it is.

    \b
    Examples:
      cutover evidence verify --target target.toml --baseline before
      cutover evidence verify --target target.toml --baseline before --out proof --json
    """  # noqa: D301
    described = _read(target)
    _demand_known("--new-schema", new_schema)
    _demand_known("--base-schema", base_schema)
    with contextlib.ExitStack() as stack, _refusals():
        if dry_run:
            _explain(described, out or Path("a temporary folder"), baseline)
            return
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cutover-evidence-")))
        report = _verify(described, baseline, folder, new_schema=new_schema, base_schema=base_schema)
        colour = False if os.environ.get("NO_COLOR") else None
        click.echo(json.dumps(report.as_json(), indent=2) if as_json else _verdict(report), color=colour)
        if out is not None and not as_json:
            click.echo(f"kept in {out}")
    sys.exit(ExitCode.PASSED if report.holds else ExitCode.FAILED)


# -- doing ---------------------------------------------------------------------------------------------------------


def _read(target: str) -> Target:
    from cutover.target import Target  # noqa: PLC0415  # not needed by --help

    described = Target.load(target)
    if not described.evidence.trust_root.is_file():
        raise WrongInput(
            f"the target file {described.path} names a trust root that is not there",
            code="target-file-absent",
            seen=f"evidence.trust_root: {described.evidence.trust_root}",
            do="correct the path; a relative one is relative to the target file",
        )
    return described


def _demand_known(option: str, schema: int | None) -> None:
    from cutover.evidence.leaves import SCHEMAS  # noqa: PLC0415

    if schema is not None and schema not in SCHEMAS:
        raise WrongInput(
            f"leaf schema {schema} is not known",
            code="schema-unknown",
            seen=f"{option} {schema}",
            do=f"name one of {', '.join(map(str, SCHEMAS))}, or use a version of this tool that knows it",
        )


def _take(described: Target, out: Path) -> Manifest:
    from cutover import site as sites  # noqa: PLC0415
    from cutover.cli import progress  # noqa: PLC0415
    from cutover.procedures import snapshots  # noqa: PLC0415

    _say_taken_up(out)
    with (
        contextlib.closing(sites.connect(described)) as site,
        progress.shown("evidence", site.database.evidence_count()) as told,
    ):
        return snapshots.take(site, out, progress=told).manifest


def _verify(described: Target, baseline: Path, folder: Path, *, new_schema: int | None, base_schema: int) -> Report:
    from cutover import site as sites  # noqa: PLC0415
    from cutover.cli import progress  # noqa: PLC0415
    from cutover.procedures import snapshots  # noqa: PLC0415

    _say_taken_up(folder / snapshots.AFTER)
    with (
        contextlib.closing(sites.connect(described)) as site,
        progress.shown("evidence", site.database.evidence_count()) as told,
    ):
        return snapshots.verify_site(
            site, baseline, folder, new_schema=new_schema, base_schema=base_schema, progress=told
        )


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn the evidence library's refusals into the command line's errors."""
    from cutover.evidence.errors import EvidenceError  # noqa: PLC0415

    try:
        yield
    except KeyboardInterrupt:
        click.echo("a pass that has a folder goes on where it was when the same command is given again", err=True)
        raise
    except EvidenceError as error:
        raise _KINDS.get(error.code, WrongInput)(
            f"{error.item} cannot be used: {error.code}",
            code=error.code,
            seen=f"expected {error.expected}, found {error.actual}",
            do=error.remedy,
        ) from error
    except FileExistsError as error:
        raise WrongInput(
            "the folder holds a result already", code="folder-taken", seen=str(error), do="give another folder"
        ) from error
    except OSError as error:
        raise CouldNotMeasure(
            "a file could not be read or written",
            code="file-unusable",
            seen=str(error),
            do="check the folder's rights and the disk's space, then run it again: a pass goes on where it was",
        ) from error


_KINDS: Mapping[str, type[CutoverError]] = {"snapshot-busy": Refused, "rows-unordered": CouldNotMeasure}


# -- saying --------------------------------------------------------------------------------------------------------


def _explain(described: Target, out: Path, baseline: Path | None = None) -> None:
    from cutover import site as sites  # noqa: PLC0415

    settings = described.evidence
    folder = out if baseline is None else out / "after"
    with contextlib.closing(sites.connect(described)) as site:
        items = site.database.evidence_count()
    hands = f"{settings.workers} processes" if settings.executor == "local" else f"the cluster at {settings.executor}"
    click.echo(f"site       {described.name}: {items:,} items")
    click.echo(f"read by    {hands}, {settings.readers} contents at a time each")
    click.echo(f"trust root {settings.trust_root}")
    if baseline is not None:
        click.echo(f"baseline   {baseline}")
    click.echo(f"into       {out}{' (goes on with an interrupted pass)' if (folder / JOURNAL).exists() else ''}")


def _say_taken_up(folder: Path) -> None:
    journal = folder / JOURNAL
    if journal.exists() and journal.stat().st_size > 0:
        at = rfc3339(datetime.fromtimestamp(journal.stat().st_mtime, UTC))
        click.echo(f"goes on with the pass that ended at {at}; what it had read is not read again", err=True)


def _say_manifest(out: Path, manifest: Manifest) -> None:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in manifest.by_kind.items())
    click.echo(f"snapshot   {out}: {manifest.items:,} items ({kinds}), {manifest.size_bytes:,} bytes")
    click.echo(f"watermark  {manifest.watermark.last_id}, made {manifest.watermark.at}")
    for schema, root in manifest.roots.items():
        click.echo(f"root       schema {schema}: {root or 'none: leaves are missing'}")
    if manifest.checkpoint is not None:
        click.echo(f"checkpoint {manifest.checkpoint.origin}, {manifest.checkpoint.size:,} entries")
    click.echo(f"digest     {manifest.digest}")
    if manifest.findings_total:
        counted = ", ".join(f"{count} {code}" for code, count in manifest.findings.items())
        click.echo(f"findings   {manifest.findings_total:,}: {counted}; each in {out / 'findings.jsonl'}")


def _balance(found: Diff) -> str:
    kept = f"{found.unchanged:,} unchanged + {found.changed:,} changed + {found.missing:,} missing"
    lines = [
        f"before {found.before:,} = {kept}",
        f"after  {found.after:,} = {found.before:,} before - {found.missing:,} missing + {found.added:,} added",
        *(_change(change) for change in found.items[:SHOWN]),
    ]
    if found.unaccounted:
        lines.insert(2, f"{found.unaccounted:,} of the added are from before the baseline's watermark: unaccounted")
    if (more := found.changed + found.missing + found.unaccounted - SHOWN) > 0:
        lines.append(f"and {more:,} more")
    return "\n".join(lines)


def _change(change: Change) -> str:
    fields = "; ".join(f"{name} {old} → {new}" for name, (old, new) in change.fields.items())
    return f"{change.what:<8} {change.id}  {change.kind}{f'  {fields}' if fields else ''}"


def _verdict(report: Report) -> str:
    lines = []
    for found in report.guarantees:
        word = click.style("holds", fg="green") if found.holds else click.style("BROKEN", fg="red", bold=True)
        counted = f"{found.checked:,} checked, {found.findings_total:,} findings"
        lines.append(f"{found.clause}  {word}  {found.title}: {counted}")
        for finding in found.findings[:SHOWN]:
            lines += [
                f"     {finding.item}: {finding.code}",
                f"       expected {finding.expected}",
                f"       found    {finding.actual}",
                f"       do       {finding.remedy}",
            ]
        if (more := found.findings_total - SHOWN) > 0:
            lines.append(f"     and {more:,} more")
    return "\n".join([*lines, _balance(report.diff)])
