"""What the commands share: the option that names an environment, and errors as a terminal shows them."""

from __future__ import annotations

import contextlib
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

items_option = click.option(
    "--items", type=int, metavar="N", help="Evidence items of the site's history, four a scan.  [default: 2000]"
)
object_bytes_option = click.option(
    "--object-bytes", type=int, metavar="N", help="Make each of those items exactly N bytes long, 4096 to 65536."
)

routing_option = click.option(
    "--routing",
    type=click.Choice(["nginx", "gateway"]),
    help="How the public host is routed: Ingress with canary, or HTTPRoute with weights.  [default: nginx]",
)

profile_option = click.option(
    "--profile",
    type=click.Choice(["usual", "fast"]),
    help="Windows of the policy: scaled as usual, or as short as the gates can judge by.  [default: usual]",
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
    """One line of progress, at once; work goes on where nobody listens any more, as when a terminal was closed."""
    with contextlib.suppress(OSError):
        click.echo(line)
        sys.stdout.flush()
