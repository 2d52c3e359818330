"""`cutover run`: pytest over the features, in this process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from cutover import project
from cutover.cli import options
from cutover.cli.group import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(epilog=EXIT_CODES)
@options.target
@options.phase
@options.until
@options.strategy
@options.records
@options.verbose
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
    arguments = ["--target", str(Path(target).absolute())]
    for number in phases:
        arguments += ["--phase", str(number)]
    if until is not None:
        arguments += ["--until", str(until)]
    if strategy is not None:
        arguments += ["--strategy", strategy]
    if record is not None:
        arguments += ["--record", str(Path(record).absolute())]
    perform(arguments, verbose=verbose)


def perform(arguments: Sequence[str], *, verbose: bool) -> NoReturn:
    """Run pytest over the features with the run's own arguments, and end the process with its exit code."""
    import pytest  # noqa: PLC0415  # not needed by --help

    fixed = [
        "-c",
        str(project.ROOT / "pyproject.toml"),
        "--rootdir",
        str(project.ROOT),
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-W",  # a site may have been looked at before, by commands that run through testinfra, which is a plugin too
        "ignore:Module already imported:pytest.PytestAssertRewriteWarning",
        str(project.FEATURES),
    ]
    sys.exit(int(pytest.main([*fixed, *arguments, *(["-v"] if verbose else [])])))
