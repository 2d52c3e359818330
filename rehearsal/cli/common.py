"""What the commands share: the option that names an environment, and errors as a terminal shows them."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from rehearsal.environment.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

name_option = click.option(
    "--name", default="default", show_default=True, metavar="NAME", help="Which environment; several may be up."
)


def shows_faults(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an EnvironmentFault into its text on standard error and its exit code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except EnvironmentFault as fault:
            click.echo(fault.render(), err=True)
            sys.exit(fault.exit_code)

    return wrapped


def say(line: str) -> None:
    """One line of progress, at once."""
    click.echo(line)
    sys.stdout.flush()
