"""`cutover completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_CUTOVER_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a SHELL.

    \b
    Examples:
      eval "$(cutover completion bash)"
      cutover completion fish > ~/.config/fish/completions/cutover.fish
    """  # noqa: D301 (click reads the escape)
    from click.shell_completion import get_completion_class  # noqa: PLC0415  # asks bash for its version when imported

    from cutover.cli.group import cli  # noqa: PLC0415  # the group names this command

    found = get_completion_class(shell)
    if found is None:
        raise click.BadParameter(f"{shell} is not known")
    click.echo(found(cli, {}, "cutover", VARIABLE).source())
