"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cutover.model import Strategy

if TYPE_CHECKING:
    from collections.abc import Callable

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

target: Decorator = click.option(
    "--target",
    required=True,
    metavar="FILE",
    type=click.Path(),
    help="The target file: the site and the upgrade of it.",
)
phase: Decorator = click.option(
    "--phase", "phases", multiple=True, type=int, metavar="N", help="Only this phase, 1 to 5; repeatable."
)
until: Decorator = click.option("--until", type=int, metavar="N", help="The phases up to this one, 1 to 5.")
strategy: Decorator = click.option(
    "--strategy", type=click.Choice([choice.value for choice in Strategy]), help="Instead of the policy's."
)
verbose: Decorator = click.option(
    "-v", "--verbose", is_flag=True, help="Show pytest's own report instead of the screen."
)
records: Decorator = click.option(
    "--record",
    metavar="DIR",
    type=click.Path(),
    help="The folder of the records, each YYYY-MM-DD-HHMM in it. Default: records, in the project.",
)
record: Decorator = click.argument("folder", required=False, metavar="[RECORD]", type=click.Path())
"""The record's own folder; the newest one when it is left out."""
known_target: Decorator = click.option(
    "--target",
    metavar="FILE",
    type=click.Path(),
    help="The target file. Default: the one that the record was begun with.",
)
