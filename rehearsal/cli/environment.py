"""`./cutover env`: the embedded environment, up, down and from inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click

from rehearsal.cli.common import (
    items_option,
    name_option,
    object_bytes_option,
    profile_option,
    routing_option,
    say,
    shows_faults,
)
from rehearsal.environment import layout, lifecycle, sandbox
from rehearsal.environment.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rehearsal.environment.installation import Extent
    from rehearsal.environment.routes import Kind
    from rehearsal.environment.target import Profile

_PASS_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.group()
def env() -> None:
    """Make and enter a whole staging site on this machine: real cluster, database, caches, store, metrics, ingress."""


@env.command()
@name_option
@items_option
@object_bytes_option
@routing_option
@profile_option
@click.option("--bare", "extent", flag_value="bare", hidden=True, help="Leave out the node and the platform.")
@click.option("--data-only", "extent", flag_value="data", hidden=True, help="Only database and store.")
@shows_faults
def up(
    *,
    name: str,
    items: int | None,
    object_bytes: int | None,
    routing: Kind | None,
    profile: Profile | None,
    extent: Extent | None,
) -> None:
    """Bring the environment up, with release 2027.Q1 serving as blue; does nothing when it is up."""
    from rehearsal.environment import assembly, sitedata, target  # noqa: PLC0415 - bring much along; the others stay quick

    place = layout.Place.named(name)
    history = sitedata.History.wanted(items, object_bytes)
    shape = None
    if routing is not None or profile is not None:
        shape = target.Shape(routing=routing or "nginx", profile=profile or "usual")
    took_s = assembly.up(place, say, extent=extent or "whole", history=history, shape=shape)
    if took_s:
        say(f"{name} is up after {took_s:.1f} s")
    else:
        say(f"{name} is up already")
    suffix = "" if name == "default" else f" --name {name}"
    say(f"public host  http://{layout.PUBLIC_HOST}   enter with  ./cutover env shell{suffix}")
    say(f"target file  {place.target}")


@env.command()
@name_option
@shows_faults
def down(name: str) -> None:
    """End the environment and remove its state; built tools and seeded data stay in the cache."""
    place = layout.Place.named(name)
    say(f"{name} is down" if lifecycle.down(place) else f"{name} was not up")


@env.command()
@name_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@shows_faults
def status(name: str, *, as_json: bool) -> None:
    """Show the parts, their addresses, and how to enter. Exit code 0 when it is up, 3 otherwise."""
    place = layout.Place.named(name)
    plan = lifecycle.plan_of(place)
    document = {**plan.get("history", {}), "routing": plan.get("routing"), **lifecycle.status_of(place)}
    if as_json:
        say(json.dumps({"name": name, "folder": str(place.root), "target": str(place.target), **document}, indent=2))
    else:
        _show(name, place, document)
    if document["state"] != "up":
        sys.exit(EnvironmentFault.exit_code)


def _show(name: str, place: layout.Place, document: dict[str, Any]) -> None:
    say(f"{name}  {document['state']}{'  ' + document['reason'] if document['reason'] else ''}")
    if document["state"] == "down":
        return
    for part, entry in document["parts"].items():
        after = "" if entry["ready_after_s"] is None else f"after {entry['ready_after_s']:.1f} s"
        say(f"  {part:<20} {entry['state']:<9} {after:<14} {entry['address']:<18} {entry['detail']}".rstrip())
    suffix = "" if name == "default" else f" --name {name}"
    say(f"  items   {document.get('items', 'unknown')}")
    say(f"  routing {document['routing'] or 'unknown'}")
    say(f"  folder  {place.root}")
    say(f"  target  {place.target}")
    say(
        f"  enter   ./cutover env shell{suffix}    one command   ./cutover env exec{suffix} -- curl http://{layout.PUBLIC_HOST}/version"
    )


@env.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@shows_faults
def list_(*, as_json: bool) -> None:
    """List the environments that have a folder."""
    found = [{"name": place.name, "state": lifecycle.status_of(place)["state"]} for place in lifecycle.every()]
    if as_json:
        say(json.dumps(found, indent=2))
        return
    for entry in found:
        say(f"{entry['name']:<20} {entry['state']}")
    if not found:
        say("no environment; make one with ./cutover env up")


@env.command()
@name_option
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows.")
@click.argument("part", required=False)
@shows_faults
def logs(name: str, part: str | None, *, follow: bool) -> None:
    """Show the log of a PART, or which logs there are."""
    place = layout.Place.named(name)
    known = sorted(file.stem for file in place.logs().glob("*.log")) if place.logs().is_dir() else []
    if part is None:
        if not known:
            raise EnvironmentFault(f"{name} has no logs", do="./cutover env up", exit_code=2)
        for each in known:
            say(f"{each:<20} {place.logs(each).stat().st_size:>10} bytes")
        return
    if part not in known:
        raise EnvironmentFault(
            f"{name} has no part {part!r} with a log", do=f"name one of: {', '.join(known) or 'none yet'}", exit_code=2
        )
    if follow:
        os.execvp("tail", ["tail", "-n", "50", "-f", str(place.logs(part))])  # noqa: S606
    sys.stdout.flush()
    with place.logs(part).open("rb") as file:
        subprocess.run(["cat"], stdin=file, check=False)


@env.command(name="exec", context_settings=_PASS_ON)
@name_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@shows_faults
def exec_(name: str, command: Sequence[str]) -> None:
    """Run COMMAND inside, with this folder and these streams; its exit code is this one's."""
    sys.exit(sandbox.run_inside(layout.Place.named(name), command))


@env.command()
@name_option
@shows_faults
def shell(name: str) -> None:
    """Open a shell inside: kubectl, helm, stella, psql and curl see the site."""
    place = layout.Place.named(name)
    sandbox.require(place)
    say(f"inside {name}: kubectl, helm, stella, psql and curl http://{layout.PUBLIC_HOST} work here; leave with exit")
    sys.exit(sandbox.run_inside(place, [os.environ.get("SHELL") or "/bin/sh"]))


@env.command(context_settings=_PASS_ON)
@name_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@shows_faults
def kubectl(name: str, arguments: Sequence[str]) -> None:
    """Run kubectl inside with ARGUMENTS."""
    sys.exit(sandbox.run_inside(layout.Place.named(name), ["kubectl", *arguments]))
