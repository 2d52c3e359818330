"""`cutover lint-routing`: whether the routes of a site could move its traffic, and what stands in the way."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING

import click

from cutover.cli import options
from cutover.model import ExitCode

if TYPE_CHECKING:
    from cutover.procedures.routes import RouteReport

_EXIT_CODES = """\b
Exit codes:
  0  the routes are sound
  1  something was found, and what to do is named
  2  wrong input
  3  the routes could not be read
  5  refused by a guard: a context or namespace that the target does not allow
"""


@click.command("lint-routing", epilog=_EXIT_CODES)
@options.target
@click.option("--fix", is_flag=True, help="Make what is missing on green's way (bridge Service, ReferenceGrant).")
@click.option("--dry-run", is_flag=True, help="With --fix: say what it would make, and make nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def lint_routing(*, target: str, fix: bool, dry_run: bool, as_json: bool) -> None:
    """Look at the routes of the public host, and name what would keep a weight from being a share.

    Green is the colour that the public route does not name. --fix changes no route, moves no request, and neither
    changes nor deletes anything that this harness did not make.

    \b
    Examples:
      cutover lint-routing --target target.toml
      cutover lint-routing --target target.toml --fix --dry-run
    """  # noqa: D301 (click reads the escape)
    from cutover import site as sites  # noqa: PLC0415  # none of it is needed by --help
    from cutover.procedures import routes  # noqa: PLC0415
    from cutover.target import Target  # noqa: PLC0415

    if dry_run and not fix:
        raise click.UsageError("--dry-run is about --fix: without it nothing is ever changed")
    described = Target.load(target)
    with contextlib.closing(sites.connect(described)) as site:
        report = routes.look(site, fix=fix and not dry_run)
    click.echo(json.dumps(report.as_json(), indent=2) if as_json else _text(report, fix=fix))
    sys.exit(ExitCode.FAILED if report.findings else ExitCode.PASSED)


def _text(report: RouteReport, *, fix: bool) -> str:
    lines = [
        f"site    {report.site}: {report.public_route}",
        f"serves  {report.roles.blue.name}; the traffic would move to {report.roles.green.name}",
    ]
    if fix:
        verb = "made" if report.made else "to make"
        lines.append(f"{verb:<7} {report.to_make or 'nothing: green has its way to the public host'}")
    for finding in report.findings:
        lines += ["", f"{finding.code}", f"  seen  {finding.message}", f"  do    {finding.remedy}"]
    count = len(report.findings)
    lines += ["", f"{count} finding{'s' if count > 1 else ''}" if count else "sound: nothing was found"]
    return "\n".join(lines)
