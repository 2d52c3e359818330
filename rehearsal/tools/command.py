"""`cutover tools`: which programs the embedded environment would use, making them, and checking them byte by byte."""

import json
import os
from dataclasses import dataclass

import click

from rehearsal.tools.cache import Cache
from rehearsal.tools.catalogue import UNITS, Unit
from rehearsal.tools.provision import Choice, Lacking, ensure, select, survey

_SCHEMA = "cutover/tools/status/v1"
_VERIFY_SCHEMA = "cutover/tools/verify/v1"


@click.group()
def tools() -> None:
    """Programs that the embedded environment runs, built or unpacked once."""


@tools.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def status(*, as_json: bool) -> None:
    """Say which program is used for each part, from where, and why; exit 1 when some are still to be made."""
    cache = Cache.locate(os.environ)
    choices, lacking = survey(UNITS, cache=cache, environment=os.environ)
    rows: list[Choice | Lacking] = [choices.get(unit.name) or lacking[unit.name] for unit in UNITS]
    if as_json:
        document = {
            "schema": _SCHEMA,
            "cache": str(cache.root),
            "complete": not lacking,
            "tools": [_as_json(row) for row in rows],
        }
        click.echo(json.dumps(document, indent=2))
    else:
        width = max(len(unit.name) for unit in UNITS)
        for row in rows:
            origin = row.origin.value if isinstance(row, Choice) else "missing"
            click.echo(f"{row.unit:<{width}}  {row.version:<8}  {origin:<18}  {row.why}")
            if isinstance(row, Choice):
                click.echo(f"{'':<{width}}  {next(iter(row.programs.values()))}")
        click.echo(f"\ncache: {cache.root}")
        if lacking:
            click.echo(f"{len(lacking)} to be made; `cutover tools build` makes them")
        if cache.work.is_dir() and any(cache.work.iterdir()):
            click.echo(f"an interrupted build goes on from {cache.work}")
    if lacking:
        raise click.exceptions.Exit(1)


@tools.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def build(names: tuple[str, ...]) -> None:
    """Make the programs called NAME, or all, where they are missing."""
    made = ensure(names or None)
    for choice in made.choices.values():
        click.echo(f"{choice.unit} {choice.version} ({choice.origin.value}): {next(iter(choice.programs.values()))}")


@tools.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def verify(*, names: tuple[str, ...], as_json: bool) -> None:
    """Compare every file of our own copies with the SHA-256 taken when it was made.

    Exit 1 when one was damaged; it is made again when it is needed next.
    """
    cache = Cache.locate(os.environ)
    checks = tuple(_check(unit, cache) for unit in select(names or None))
    ok = not any(check.damage for check in checks)
    if as_json:
        rows = [
            {"unit": check.unit, "result": check.result, "made_by": check.made_by, "damage": check.damage}
            for check in checks
        ]
        click.echo(json.dumps({"schema": _VERIFY_SCHEMA, "ok": ok, "tools": rows}, indent=2))
    else:
        for check in checks:
            click.echo(f"{check.unit}: {check.result}{f', {check.made_by}' if check.made_by else ''}")
            for line in check.damage:
                click.echo(f"    {line}")
    if not ok:
        raise click.exceptions.Exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    unit: str
    result: str
    made_by: str | None
    damage: tuple[str, ...]


def _check(unit: Unit, cache: Cache) -> _Check:
    stamp = cache.stamp(unit)
    if stamp is None:
        return _Check(unit=unit.name, result="not made", made_by=None, damage=())
    damage = cache.damage(unit)
    if damage:
        cache.discard_stamp(unit)
    result = "damaged" if damage else f"intact, {len(stamp.files)} files"
    return _Check(unit=unit.name, result=result, made_by=stamp.made_by, damage=damage)


def _as_json(row: Choice | Lacking) -> dict[str, object]:
    common: dict[str, object] = {"unit": row.unit, "version": row.version, "why": row.why}
    if isinstance(row, Lacking):
        return {**common, "origin": None, "programs": {}}
    return {**common, "origin": row.origin.value, "programs": {name: str(path) for name, path in row.programs.items()}}
