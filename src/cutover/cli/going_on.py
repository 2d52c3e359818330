"""`cutover resume`, `observe`, `decommission` and `contract`: go on with a record that another process began."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from cutover.cli import options
from cutover.cli.group import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.runbook.records import Record


@click.command(epilog=EXIT_CODES)
@options.record
@options.known_target
@options.until
@options.records
@options.verbose
def resume(*, folder: str | None, target: str | None, until: int | None, record: str | None, verbose: bool) -> None:
    """Go on with an upgrade that was broken off, stopped or ended early, in the same record.

    What is left to do is decided from what the site shows now. A clause that was cut short is performed again from its
    beginning; what has passed stands, but for checks of the moment. A run that was on its way back to blue goes there.

    \b
    Examples:
      cutover resume
      cutover resume records/2027-04-12-0930 --target target.toml
    """  # noqa: D301 (click reads the escape)
    more = [] if until is None else ["--until", str(until)]
    go_on("resume", folder=folder, target=target, records=record, verbose=verbose, more=more)


@click.command(epilog=EXIT_CODES)
@options.record
@options.known_target
@options.records
@options.verbose
def observe(*, folder: str | None, target: str | None, record: str | None, verbose: bool) -> None:
    """Finish the observation window of an upgrade whose cutover is done (5.1).

    Waits for the window's end, and judges the whole of it from what Prometheus recorded; a gap is a gap.

    \b
    Examples:
      cutover observe
      cutover observe records/2027-04-12-0930
    """  # noqa: D301 (click reads the escape)
    go_on("observe", folder=folder, target=target, records=record, verbose=verbose)


@click.command(epilog=EXIT_CODES)
@options.record
@options.known_target
@options.records
@options.verbose
def decommission(*, folder: str | None, target: str | None, record: str | None, verbose: bool) -> None:
    """Remove blue once the observation window has been proven (5.2). Cannot be undone by routing alone.

    Refused, exit code 5, before the window's end, while blue's queue is not empty, and while anything leads to it.

    \b
    Examples:
      cutover decommission
      cutover decommission records/2027-04-12-0930
    """  # noqa: D301 (click reads the escape)
    go_on("decommission", folder=folder, target=target, records=record, verbose=verbose)


@click.command(epilog=EXIT_CODES)
@options.record
@options.known_target
@options.records
@options.verbose
def contract(*, folder: str | None, target: str | None, record: str | None, verbose: bool) -> None:
    """Apply the breaking migrations (category B), once nothing needs the old schema any more. A point of no return.

    Refused, exit code 5, while anything of blue runs, before the window's end, and without the approvals that the
    policy asks for. A backup of the moment before is proven by restoring it.

    \b
    Examples:
      cutover contract
      cutover contract records/2027-04-12-0930
    """  # noqa: D301 (click reads the escape)
    go_on("contract", folder=folder, target=target, records=record, verbose=verbose)


def find(folder: str | None, records: str | None) -> Record:
    """Return the record that an operator names, or the newest. Raises WrongInput, JournalBroken."""
    from cutover import project  # noqa: PLC0415  # not needed by --help
    from cutover.runbook import records as known  # noqa: PLC0415

    if folder is not None:
        return known.read(Path(folder).absolute())
    return known.newest(Path(records).absolute() if records else project.RECORDS)


def go_on(
    procedure: str,
    *,
    folder: str | None,
    target: str | None,
    records: str | None,
    verbose: bool,
    more: Sequence[str] = (),
) -> NoReturn:
    """Perform a procedure on a record, and end the process. Raises WrongInput, JournalBroken."""
    from cutover.cli.run import perform  # noqa: PLC0415
    from cutover.errors import WrongInput  # noqa: PLC0415

    chosen = find(folder, records)
    file = target or chosen.target_file
    if not file:
        raise WrongInput("the record does not say which target file it was begun with", do="give --target FILE")
    perform(
        [
            "--target",
            str(Path(file).absolute()),
            "--continue",
            str(chosen.folder),
            "--procedure",
            procedure,
            *more,
        ],
        verbose=verbose,
    )
