"""`cutover diagnose`: what is wrong with a site, its probable cause and remedy, outside an upgrade too."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cutover.cli import options
from cutover.model import ExitCode

if TYPE_CHECKING:
    from cutover.procedures.examination import SiteExamined
    from cutover.runbook.support_archive import Written

_EXIT_CODES = """\b
Exit codes:
  0  nothing is wrong
  1  something is, and its probable cause and remedy are named
  2  wrong input
  3  a part of the site could not be asked
  5  refused by a guard: a context or namespace that the target does not allow
"""


@click.command(epilog=_EXIT_CODES)
@options.target
@click.option(
    "--archive",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one archive for support too (tar.gz), its contents listed, secrets masked.",
)
@click.option(
    "--record",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With --archive: put what this record holds of a failure in.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def diagnose(*, target: str, archive: Path | None, record: Path | None, as_json: bool) -> None:
    """Examine a site, and match what is wrong against the table of causes (docs/diagnosis.md).

    Changes nothing, and needs no upgrade. Looked at are both colours' pods, Services and readiness, the routes, the
    public host, database, log, store and metrics, and what the platform's own examination says.

    \b
    Examples:
      cutover diagnose --target target.toml
      cutover diagnose --target target.toml --archive support.tar.gz --record records/2026-11-23-0412
    """  # noqa: D301 (click reads the escape)
    from cutover import site as sites  # noqa: PLC0415  # none of it is needed by --help
    from cutover.errors import WrongInput  # noqa: PLC0415
    from cutover.procedures import examination, support  # noqa: PLC0415
    from cutover.target import Target  # noqa: PLC0415

    if record is not None and archive is None:
        raise click.UsageError("--record is about --archive: it says what else to put in")
    described = Target.load(target)
    written = None
    with contextlib.closing(sites.connect(described)) as site:
        found = examination.examine(site)
        if archive is not None:
            try:
                written = support.bundle(site, found, archive.absolute(), record=record)
            except OSError as problem:
                raise WrongInput(
                    f"the archive {archive} cannot be written",
                    code="archive-unwritable",
                    seen=str(problem),
                    do="give --archive FILE in a folder that is there",
                ) from problem
    click.echo(_document(found, written) if as_json else _text(found, written))
    sys.exit(_code(found))


def _code(found: SiteExamined) -> ExitCode:
    if found.troubles or found.bad:
        return ExitCode.FAILED
    return ExitCode.COULD_NOT_MEASURE if found.silent else ExitCode.PASSED


def _document(found: SiteExamined, written: Written | None) -> str:
    document = found.as_json()
    if written is not None:
        document["archive"] = {
            "path": str(written.path),
            "sha256": written.sha256,
            "size_bytes": written.size_bytes,
            "files": [member.name for member in written.members],
            "left_out": [{"name": each.name, "why": each.why} for each in written.left_out],
        }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _text(found: SiteExamined, written: Written | None) -> str:
    lines = [f"site {found.site}   blue is {found.roles.blue.name}, green is {found.roles.green.name}"]
    for colour in found.colours:
        name = colour.environment.name
        if not colour.is_installed:
            lines.append(f"  {name:<18} not installed")
            continue
        ready = "unknown" if colour.ready_endpoints is None else colour.ready_endpoints
        lines.append(f"  {name:<18} {colour.ready_pods} of {colour.pods} pods ready, ready endpoints: {ready}")
    for sight in found.sights:
        mark = {True: " ", False: "✘", None: "?"}[sight.is_good]
        lines.append(f"{mark} {sight.part:<18} {sight.said.replace(chr(10), '; ')}")
    for trouble in found.troubles:
        row = trouble.diagnosis
        lines += ["", f"{trouble.where}: {row.id}" + (f" ({row.clause})" if row.clause else "")]
        lines += [f"  cause  {row.cause}"]
        lines += [f"  do     {row.remedy}"] if row.remedy else []
    if not found.troubles:
        fits = "nothing is wrong" if not (found.bad or found.silent) else "no row of the table of causes fits"
        lines += ["", fits]
    if written is not None:
        lines += ["", f"archive {written.path}: {len(written.members)} files, {written.size_bytes} bytes, listed in it"]
        lines += [f"  not in it: {each.name}: {each.why}" for each in written.left_out]
    return "\n".join(lines)
