"""`./cutover rehearse`: a site from nothing, the ordinary run on it, its record, and the site removed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from rehearsal import succession
from rehearsal.cli import drills
from rehearsal.cli.common import items_option, object_bytes_option, profile_option, routing_option, say, shows_faults
from rehearsal.environment import approving, layout, lifecycle, overrides, sandbox, signing
from rehearsal.environment import faults as listed
from rehearsal.environment.errors import EnvironmentFault, PartFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal.environment.routes import Kind
    from rehearsal.environment.sitedata import History
    from rehearsal.environment.target import Profile, Shape

_PREFIX = "rehearse-"
_INJECTOR_BOUND_S = 60.0
_FAILED = 1
_BY_SIGNAL = 128
_INTERRUPTED = _BY_SIGNAL + signal.SIGINT
_REQUESTS_TO_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _fault_names(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    return [fault.name for fault in (*listed.load(), *listed.elsewhere()) if fault.name.startswith(begun)]


@click.command()
@click.option(
    "--strategy", type=click.Choice(["gradual", "instant"]), help="How traffic moves; the policy says gradual."
)
@click.option(
    "--fault",
    "names",
    multiple=True,
    metavar="NAME[:NUMBER][@PHASE]",
    shell_complete=_fault_names,
    help="Inject a fault (./cutover faults lists them); may be given several times.",
)
@click.option(
    "--drill",
    type=click.Choice([*drills.DRILLS, drills.ALL]),
    help="Bring the site to a phase, then perform a drill on it instead of the upgrade; all: each, on its own site.",
)
@click.option(
    "--record",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("records"),
    show_default=True,
    metavar="DIR",
    help="Where records are kept.",
)
@items_option
@object_bytes_option
@routing_option
@profile_option
@click.option(
    "--requests",
    type=click.IntRange(min=1),
    metavar="N",
    help="Raise rate and bakes so that the run sends at least N public requests.",
)
@click.option("--chain", is_flag=True, help="Upgrade after upgrade, to the newest release there is, on the one site.")
@click.option("--keep", is_flag=True, help="Leave the environment up afterwards.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@shows_faults
def rehearse(
    *,
    strategy: str | None,
    names: tuple[str, ...],
    drill: str | None,
    record: Path,
    items: int | None,
    object_bytes: int | None,
    routing: Kind | None,
    profile: Profile | None,
    requests: int | None,
    chain: bool,
    keep: bool,
    dry_run: bool,
) -> None:
    """Perform a whole upgrade on an embedded site and leave its record.

    The exit code is the run's: 0 passed, 1 failed, 2 wrong input, 3 could not measure, 4 inconclusive or incomplete,
    5 refused by a guard.
    """
    from rehearsal.environment import sitedata, target  # noqa: PLC0415 - bring much along; help is told at once

    _require_one_way(drill=bool(drill), faults=bool(names), chain=chain)
    if drill == drills.ALL:
        _every(record.absolute(), dry_run=dry_run)
    drilled = drills.DRILLS[drill] if drill else None
    armed = listed.named(names, strategy or "gradual")
    history = sitedata.History.wanted(items, object_bytes)
    shape = target.Shape(
        routing=routing or "nginx",
        requests=requests or 0,
        strategy=strategy or "gradual",
        profile=profile or "usual",
    )
    place = layout.Place.named(f"{_PREFIX}{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(2)}")
    run = _run_command(place, record.absolute(), strategy, until=drilled.until if drilled else None)
    if dry_run:
        _explain(
            place,
            run,
            armed,
            history or sitedata.History(),
            shape,
            drill=drilled,
            record=record,
            chain=chain,
            keep=keep,
        )
        return
    lifecycle.remove_dead(_PREFIX)
    removed = not keep
    try:
        came_up_s = _come_up(place, history, shape, keep=keep)
        say(f"blue {layout.RELEASE_FROM} serves after {came_up_s:.1f} s")
        if drilled is not None:
            code = _drill(place, drilled, run, record.absolute(), strategy)
        else:
            code = _perform(place, run, armed, record.absolute(), strategy or "gradual")
        if chain and code == 0:
            code = _chain(place, run, record.absolute())
        code = _search(place, record.absolute()) or code
        _say_how_to_verify(place, record.absolute())
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except PartFailed:
        removed = False  # its logs say why; the next rehearsal clears them away
        sandbox.end(place)
        raise
    finally:
        if removed:
            lifecycle.down(place)
    if keep:
        say(f"kept: ./cutover env shell --name {place.name}   remove with ./cutover env down --name {place.name}")
    sys.exit(code)


def _require_one_way(*, drill: bool, faults: bool, chain: bool) -> None:
    """Refuse what does not go together. Raises: EnvironmentFault (exit 2)."""
    if drill and faults:
        raise EnvironmentFault("a drill is performed without faults", do="give --drill or --fault", exit_code=2)
    if chain and (drill or faults):
        raise EnvironmentFault(
            "a chain of upgrades is performed without drills and faults",
            do="give --chain alone, or --drill or --fault without it",
            exit_code=2,
        )


def _chain(place: layout.Place, run: Sequence[str], record: Path) -> int:
    """Perform the upgrades after the first until one does not pass, tell what all came to; return the exit code."""
    code = 0
    for step in succession.STEPS[1:]:
        say(f"next upgrade: {step}; first category B of {step.origin}, which {step.wanted} relies on")
        code = _attend(*sandbox.spawn(place, succession.contraction(record, place), new_group=True))
        if code == 0:
            succession.point_at(place, step)
            approving.approve(place, _scope(run))
            code = _attend(*sandbox.spawn(place, run, new_group=True))
        if code:
            break
    done = succession.told(record, place)
    for line in succession.lines(done):
        say(line)
    return code if code or succession.is_sound(done) else _FAILED


def _search(place: layout.Place, record: Path) -> int:
    """Look for the site's secrets in what was left behind; return 0 when none is there."""
    from rehearsal import canaries  # noqa: PLC0415 - as above

    code, lines = canaries.report(place, canaries.left_behind(place, record))
    for line in lines:
        say(line)
    return code


def _say_how_to_verify(place: layout.Place, record: Path) -> None:
    """Keep the trust root of what the environment signed, and say what to do with it."""
    try:
        kept = signing.keep_trust_root(place, record)
    except (OSError, ValueError) as problem:
        say(f"the trust root was not kept: {problem}")
        return
    if kept is not None:
        say(f"verify with ./cutover verify RECORD --trust-root {shlex.quote(str(kept))}")


def _every(record: Path, *, dry_run: bool) -> NoReturn:
    """Perform every drill with the options of this command line, tell what all came to, and end the process."""
    from rehearsal import every  # noqa: PLC0415 - only where it is asked for

    context = click.get_current_context()
    given = {**context.params, "drill": None, "record": None, "dry_run": False}
    options = drills.options(context.command.params, given)
    if dry_run:
        for name in drills.DRILLS:
            say(shlex.join(["./cutover", "rehearse", "--drill", name, "--record", str(record), *options]))
        sys.exit(0)
    _, code = every.perform(list(drills.DRILLS), options, record, say)
    sys.exit(code)


def _drill(place: layout.Place, drill: drills.Drill, run: Sequence[str], record: Path, strategy: str | None) -> int:
    """Perform the run before a drill, then its commands until one does not end as it must; return the exit code."""
    code = drill.code_before
    if drill.until != 0:
        if drill.is_widened:
            approving.approve(place, ("--strategy", strategy) if strategy else ())
        with drill.armed(place):
            code = _perform(place, run, (), record, strategy or "gradual")
    if code != drill.code_before:
        return code
    say(f"drill {drill.name}: {drill.title}")
    for number, command in enumerate(drill.commands(place, record)):
        code = drill.exit_code(number, _attend(*sandbox.spawn(place, command, new_group=True)))
        if code:
            break
    return code


def _run_command(place: layout.Place, record: Path, strategy: str | None, *, until: int | None) -> list[str]:
    command = [sys.executable, "-m", "cutover.cli", "run", "--target", str(place.target), "--record", str(record)]
    command += ["--strategy", strategy] if strategy else []
    return command + (["--until", str(until)] if until else [])


def _scope(run: Sequence[str]) -> list[str]:
    """Return the options of a run that decide its plan."""
    return [part for at, part in enumerate(run) if {"--strategy", "--until"} & {part, run[at - 1]}]


def _explain(
    place: layout.Place,
    run: Sequence[str],
    armed: Sequence[listed.Fault],
    history: History,
    shape: Shape,
    *,
    drill: drills.Drill | None,
    record: Path,
    chain: bool,
    keep: bool,
) -> None:
    from rehearsal.environment import target  # noqa: PLC0415 - as above

    routed = {"nginx": "an Ingress and its canary", "gateway": "an HTTPRoute of the Gateway API"}[shape.routing]
    say(
        f"1  environment {place.name} of {history}, with {layout.RELEASE_FROM} serving as blue on "
        f"http://{layout.PUBLIC_HOST}, routed by {routed}"
    )
    if shape.requests:
        rate, bake_s = target.load_for(shape.requests, shape.strategy)
        say(f"   its policy: {rate:g} requests/s and bakes of {bake_s:g} s, for at least {shape.requests:,} requests")
    if drill is None or drill.until != 0:
        say(f"2  inside it, approved by a key of its own: {shlex.join(run)}")
    for fault in armed:
        say(f"   fault {fault.name} at {fault.strikes_at}: {fault.title}")
        said = f", gate {fault.gates[0]}" if fault.gates else ""
        say(f"   expected: {fault.clause} fails{said}, exit code {fault.exit_code}, {fault.serves} serves")
        for name, value in fault.policy.items():
            say(f"   policy for it: {name} = {value}")
    for step in succession.STEPS[1:] if chain else ():
        say(f"   then {shlex.join(succession.contraction(record.absolute(), place))}")
        say(f"   and {step}, approved anew, with the colours swapped: {shlex.join(run)}")
    if drill is not None:
        say(f"   then {drill.title}")
        for command in drill.commands(place, record.absolute()):
            say(f"   {shlex.join(command)}")
    told = "drill" if drill else "chain" if chain else "run"
    say(f"3  environment {'kept' if keep else 'removed'}; exit code of the {told}")


def _come_up(place: layout.Place, history: History | None, shape: Shape, *, keep: bool) -> float:
    from rehearsal.environment import assembly  # noqa: PLC0415 - brings much along; wrong input is told at once

    say(f"environment {place.name}")
    return assembly.up(place, say, tied=not keep, history=history, shape=shape)


def _perform(
    place: layout.Place, run: Sequence[str], armed: Sequence[listed.Fault], record: Path, strategy: str
) -> int:
    record.mkdir(parents=True, exist_ok=True)
    for fault in armed:
        overrides.write(place.root / "policy.toml", fault.policy)
    approving.approve(place, _scope(run))
    if armed:
        _arm(place, armed, record, strategy)
    code = _attend(*sandbox.spawn(place, run, new_group=True))
    if code > _BY_SIGNAL:
        say(f"the run was ended by signal {code - _BY_SIGNAL}; what it did until then is in its journal, in {record}")
    told = lifecycle.log_text(place, "injector").splitlines()
    for fault in armed:
        struck = any(f" {fault.name} struck" in line for line in told)
        say(f"fault {fault.name}: {'struck at ' + fault.strikes_at if struck else 'never struck'}")
        for line in told:
            if f" {fault.name} {listed.MUST_LEAD_TO} " in line:
                say(f"    {line.partition(' ')[2]}")
    return code


def _arm(place: layout.Place, armed: Sequence[listed.Fault], record: Path, strategy: str) -> None:
    """Start the injector and wait until it listens. Raises: PartFailed with its log."""
    from rehearsal.environment import injection  # noqa: PLC0415 - the same

    command = [sys.executable, "-m", "rehearsal.environment.injection", "--state", str(place.root)]
    command += ["--record", str(record), "--strategy", strategy]
    for fault in armed:
        command += ["--fault", fault.name]
    between, _ = sandbox.spawn(place, command, new_group=True, log=place.logs("injector"))
    deadline = time.monotonic() + _INJECTOR_BOUND_S
    while not (place.root / injection.READY).exists():
        if os.waitpid(between, os.WNOHANG)[0] or time.monotonic() > deadline:
            raise PartFailed("the faults could not be armed", seen=lifecycle.log_text(place, "injector"))
        time.sleep(0.02)


def _attend(between: int, command: int) -> int:
    """Wait for the run. Each request to stop is passed to it as it came; the run knows what a second one means."""

    def pass_on(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(command, number)

    for number in _REQUESTS_TO_STOP:
        signal.signal(number, pass_on)
    code = sandbox.exit_code(between)
    for number in _REQUESTS_TO_STOP:
        signal.signal(number, signal.SIG_IGN)  # what is left is the clean-up
    return code
