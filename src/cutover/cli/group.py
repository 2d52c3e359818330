"""The group of all commands: its own, named here with their one-line help, and those that entry points add."""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from cutover import errors
from cutover.errors import CutoverError
from cutover.model import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRY_POINTS = "cutover.commands"
EXIT_CODES = """\b
Exit codes:
  0  PASSED
  1  FAILED          a check was made and the site does not satisfy it
  2  wrong input     nothing was done
  3  ERROR           something could not be measured
  4  INCONCLUSIVE or INCOMPLETE: a person decides, or it goes on later
  5  refused by a guard
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A command of the engine: where it is, and its line in the help."""

    place: str
    help: str


OWN: Mapping[str, Own] = {
    "run": Own(place="cutover.cli.run:run", help="Perform the upgrade that a target file describes."),
    "resume": Own(place="cutover.cli.going_on:resume", help="Go on with an upgrade that was broken off or stopped."),
    "observe": Own(place="cutover.cli.going_on:observe", help="Finish the observation window after a cutover."),
    "decommission": Own(place="cutover.cli.going_on:decommission", help="Remove blue after the observation window."),
    "rollback": Own(place="cutover.cli.rollback:rollback", help="Go back to blue from wherever an upgrade stands."),
    "contract": Own(place="cutover.cli.going_on:contract", help="Apply the breaking migrations, past no return."),
    "status": Own(place="cutover.cli.status:status", help="Say where an upgrade stands and what comes next."),
    "journal": Own(place="cutover.cli.journal:journal", help="Verify a record's journal, or show it."),
    "plan": Own(place="cutover.cli.plan:plan", help="Show what a run would do, without touching the site."),
    "approve": Own(place="cutover.cli.approve:approve", help="Sign a plan: who agrees, to what, in which words."),
    "gates": Own(place="cutover.cli.gates:gates", help="Try a policy's gates on a site, or judge a record again."),
    "evidence": Own(place="cutover.cli.evidence:evidence", help="Take, compare and verify snapshots of evidence."),
    "keys": Own(place="cutover.cli.keys:keys", help="Make a signing key and a trust root for records."),
    "verify": Own(place="cutover.cli.verify:verify", help="Verify a record against a trust root, offline."),
    "attest": Own(place="cutover.cli.attest:attest", help="Attach a record's attestations to green's images."),
    "lint-routing": Own(
        place="cutover.cli.lint_routing:lint_routing",
        help="Say whether the routes could move traffic, and what stands in the way.",
    ),
    "diagnose": Own(place="cutover.cli.diagnose:diagnose", help="Say what is wrong with a site, why, and what to do."),
    "test": Own(place="cutover.cli.test:test", help="Run the project's own tests and say how many ran."),
    "completion": Own(place="cutover.cli.completion:completion", help="Print the shell's completion script."),
}


def _load(place: str) -> click.Command:
    module, _, name = place.partition(":")
    command = getattr(importlib.import_module(module), name)
    if not isinstance(command, click.Command):
        raise TypeError(f"{place} is no command")
    return command


def _added() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _broken(point: importlib.metadata.EntryPoint, problem: BaseException) -> click.Command:
    """Return a command that says in one line why the real one cannot be loaded."""
    reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__

    def say() -> NoReturn:
        click.echo(f"ERROR: the command {point.name} cannot be loaded from {point.value}: {reason}", err=True)
        raise click.exceptions.Exit(ExitCode.COULD_NOT_MEASURE)

    settings = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    return click.Command(point.name, callback=say, help=f"(cannot be loaded: {reason})", context_settings=settings)


class Commands(click.Group):
    """Finds commands when they are asked for, and turns every error into one message and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command's name: the engine's first, then what entry points add."""
        del ctx
        return [*OWN, *sorted(set(_added()) - set(OWN))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None when there is none of that name."""
        del ctx
        if cmd_name in OWN:
            return _load(OWN[cmd_name].place)
        point = _added().get(cmd_name)
        if point is None:
            return None
        try:
            command = point.load()
        except Exception as problem:  # noqa: BLE001  # whatever is wrong in there must not break the other commands
            return _broken(point, problem)
        if not isinstance(command, click.Command):
            return _broken(point, TypeError("it is no command"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without loading the engine's own."""
        rows = []
        for name in self.list_commands(ctx):
            if name in OWN:
                rows.append((name, OWN[name].help))
                continue
            command = self.get_command(ctx, name)
            rows.append((name, command.get_short_help_str(limit=80) if command is not None else ""))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # click's own signature
        """Run the command; an error of ours becomes its block and its exit code, Ctrl-C no verdict at all."""
        try:
            return super().invoke(ctx)
        except CutoverError as error:
            word = "REFUSED" if error.exit_code is ExitCode.REFUSED else "ERROR"
            click.echo(errors.render(error, word=word), err=True)
            raise click.exceptions.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            click.echo("INTERRUPTED: nothing is decided", err=True)
            raise click.exceptions.Exit(ExitCode.UNDECIDED) from None


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"cutover {importlib.metadata.version('cutover')}")
        ctx.exit()


@click.group(
    cls=Commands,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def cli() -> None:
    """Perform a blue/green upgrade of the Stella Ops platform from its runbook, and prove it.

    \b
    Examples:
      cutover plan --target target.toml
      cutover run --target target.toml
      cutover run --target target.toml --until 2
    """  # noqa: D301 (click reads the escape)
