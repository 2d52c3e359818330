"""`cutover run`: pytest over the features, in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cutover import project
from cutover.cli import options
from cutover.cli.group import EXIT_CODES


@click.command(epilog=EXIT_CODES)
@options.target
@options.phase
@options.until
@options.strategy
@click.option(
    "--record",
    metavar="DIR",
    type=click.Path(),
    help="The folder that gets the record's own folder, YYYY-MM-DD-HHMM. Default: records, in the project.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show pytest's own report instead of the screen.")
def run(
    *, target: str, phases: tuple[int, ...], until: int | None, strategy: str | None, record: str | None, verbose: bool
) -> None:
    """Perform the upgrade that a target file describes, and write its record.

    Ctrl-C once stops in order: requests go back to blue if any may have reached green, and the record is written. Twice
    stops at once. A run of some phases alone is INCOMPLETE, exit code 4.

    \b
    Examples:
      cutover run --target target.toml
      cutover run --target target.toml --until 2
      cutover run --target target.toml --strategy instant --record /var/lib/cutover/records
    """  # noqa: D301 (click reads the escape)
    import pytest  # noqa: PLC0415  # not needed by --help

    arguments = [
        "-c",
        str(project.ROOT / "pyproject.toml"),
        "--rootdir",
        str(project.ROOT),
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        str(project.FEATURES),
        "--target",
        str(Path(target).absolute()),
    ]
    for number in phases:
        arguments += ["--phase", str(number)]
    if until is not None:
        arguments += ["--until", str(until)]
    if strategy is not None:
        arguments += ["--strategy", strategy]
    if record is not None:
        arguments += ["--record", str(Path(record).absolute())]
    if verbose:
        arguments.append("-v")
    sys.exit(int(pytest.main(arguments)))
