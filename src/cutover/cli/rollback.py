"""`cutover rollback`: go back to blue from wherever an upgrade stands; the way is shown first."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from cutover.cli import options
from cutover.cli.group import EXIT_CODES

if TYPE_CHECKING:
    from cutover.runbook.catalogue import Catalogue
    from cutover.runbook.records import Record
    from cutover.runbook.reverse import ReversePlan, Step
    from cutover.target import Target

_BLUE = "blue"


@click.command(epilog=EXIT_CODES)
@options.record
@options.known_target
@click.option(
    "--to",
    "colour",
    default=_BLUE,
    show_default=True,
    metavar="COLOUR",
    help="Where to: blue, which served before the upgrade, or that colour by its own name.",
)
@click.option("--reason", metavar="TEXT", default="", help="Why, for the record.")
@click.option("--remove-green", is_flag=True, help="Uninstall green's release too, once nobody is sent to it.")
@click.option("--dry-run", is_flag=True, help="Look at the site, show the way back, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: one JSON document instead of text.")
@options.records
@options.verbose
def rollback(
    *,
    folder: str | None,
    target: str | None,
    colour: str,
    reason: str,
    remove_green: bool,
    dry_run: bool,
    as_json: bool,
    record: str | None,
    verbose: bool,
) -> None:
    """Go back to blue, in the same record, from wherever the upgrade stands.

    The way back follows from the journal and from what the site shows now. Requests go back at once where blue can take
    them; where it is gone it is deployed again first, where the schema is not its own any more the database is restored
    beside and swapped. Evidence made on green stays valid in every case, and the state of the site is compared with the
    one before green came. Where there is nothing to send back that is said, and nothing is done.

    \b
    Examples:
      cutover rollback --dry-run
      cutover rollback --reason "p99 doubled for one customer"
      cutover rollback records/2027-04-12-0930 --remove-green
    """  # noqa: D301 (click reads the escape)
    from cutover.cli import going_on  # noqa: PLC0415  # not needed by --help
    from cutover.errors import WrongInput  # noqa: PLC0415
    from cutover.runbook.catalogue import load_clauses  # noqa: PLC0415

    if as_json and not dry_run:
        raise WrongInput("--json belongs to --dry-run", code="json", do="leave it out, or give --dry-run too")
    chosen = going_on.find(folder, record)
    described = _same_target(chosen, target)
    way = _way_back(chosen, described, remove_green=remove_green)
    _demand_blue(way, colour)
    if as_json:
        click.echo(json.dumps({"record": chosen.folder.name, **way.document()}, indent=2, ensure_ascii=False))
    else:
        click.echo(text(way, load_clauses(), title=_title(chosen)))
    if dry_run or not way.needed:
        sys.exit(0)
    sys.stdout.flush()
    more = ["--reason", reason, *(["--remove-green"] if remove_green else [])]
    going_on.go_on("rollback", folder=str(chosen.folder), target=target, records=None, verbose=verbose, more=more)


def _same_target(chosen: Record, target: str | None) -> Target:
    """Read the target that the record was begun with. Raises WrongInput, Refused when it is another one now."""
    from cutover.errors import WrongInput  # noqa: PLC0415
    from cutover.policy import Policy  # noqa: PLC0415
    from cutover.target import Target  # noqa: PLC0415

    file = target or chosen.target_file
    if not file:
        raise WrongInput("the record does not say which target file it was begun with", do="give --target FILE")
    described = Target.load(file)
    chosen.require_same(described, Policy.read(described.policy_path))
    return described


def _way_back(chosen: Record, described: Target, *, remove_green: bool) -> ReversePlan:
    """Look at the site and plan the way back; nothing is changed, and nothing written."""
    from cutover.procedures import rollback as going_back  # noqa: PLC0415
    from cutover.runbook import reverse  # noqa: PLC0415

    roles = described.roles_when_serving(reverse.plan(chosen.entries).blue)
    return reverse.plan(chosen.entries, observed=going_back.look(described, roles), remove_green=remove_green)


def _demand_blue(way: ReversePlan, colour: str) -> None:
    from cutover.errors import WrongInput  # noqa: PLC0415

    if colour in {_BLUE, way.blue}:
        return
    raise WrongInput(
        f"--to {colour} is no way back: {way.blue} served before the upgrade",
        code="not-blue",
        do=f"give --to {way.blue}, or leave it out; forwards is ./cutover resume",
    )


def _title(chosen: Record) -> str:
    head = chosen.head.data
    return f"way back of {chosen.folder.name}   site {chosen.target_name}   {head['to']} → {head['from']}"


def text(way: ReversePlan, clauses: Catalogue, *, title: str) -> str:
    """Return the way back for a person: the clauses in order with why, then those that are not needed."""
    lines = [title, f"stands at   {way.point}; served by {way.serves}", ""]
    needed = [step for step in way.steps if step.needed]
    for number, step in enumerate(needed, 1):
        lines += _step(number, step, clauses)
    if not needed:
        lines.append(f"nothing to send back: {way.blue} serves, and nothing is to be put right")
    if len(needed) < len(way.steps):
        lines += ["", "not needed"]
        lines += [f"     {step.clause:<5} {step.why}" for step in way.steps if not step.needed]
    lines += ["", f"afterwards  {way.after}"]
    if way.points_of_no_return:
        lines.append(f"no return   {', '.join(way.points_of_no_return)}: needs a person's approval")
    lines += [f"note        {note}" for note in way.notes]
    return "\n".join(lines)


def _step(number: int, step: Step, clauses: Catalogue) -> list[str]:
    lines = [f"  {number}  {step.clause:<5} {clauses[step.clause].title}", f"           why      {step.why}"]
    return [*lines, f"           changes  {step.changes}"] if step.changes else lines
