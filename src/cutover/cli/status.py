"""`cutover status`: where an upgrade stands, from its record; with `--watch`, for as long as a process works on it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from cutover.cli import options
from cutover.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from datetime import datetime

    from cutover.runbook.standing import Standing

_REDRAW_S = 1.0


@click.command(epilog="Exit codes: 0, 2 wrong input, 3 a journal that is damaged.")
@options.record
@options.records
@click.option("--watch", is_flag=True, help="Show it again every second until no process works on it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text; with --watch one a line.")
def status(*, folder: str | None, record: str | None, watch: bool, as_json: bool) -> None:
    """Say where an upgrade stands, who serves by its record, and what comes next. Reads the record alone.

    \b
    Examples:
      cutover status
      cutover status --watch
      cutover status records/2027-04-12-0930 --json
    """  # noqa: D301 (click reads the escape)
    from cutover.cli.going_on import find  # noqa: PLC0415  # not needed by --help
    from cutover.runbook import catalogue, standing  # noqa: PLC0415

    clauses = catalogue.load_clauses()
    path, shown = find(folder, record).folder, ""
    while True:
        now = SYSTEM_CLOCK.now()
        found = standing.of(find(str(path), None), clauses, now=now)
        text = json.dumps(found.document(), indent=None if watch else 2) if as_json else _text(found, now)
        if text != shown:
            if shown and not as_json:
                click.clear()
            click.echo(text)
            shown = text
        if not watch or found.state != "running":
            return
        time.sleep(_REDRAW_S)


def _text(found: Standing, now: datetime) -> str:
    ago_s = max(0, round((now - found.last).total_seconds()))
    lines = [
        f"upgrade {found.from_release} → {found.to_release}   site {found.site}   {found.strategy}",
        f"record       {found.folder}",
        f"state        {found.state}" + (f" in attempt {found.attempts}" if found.attempts > 1 else ""),
        f"operator     {found.operator}   {found.procedure}",
        f"clauses      {found.passed} of {found.planned} passed",
    ]
    if found.clause:
        lines.append(f"clause       {found.clause} {found.title}")
    if found.weight is not None:
        lines.append(f"traffic      {found.weight} % to green, by the record")
    if found.observation_until is not None:
        lines.append(f"observation  {found.observation}, until {found.observation_until:%Y-%m-%d %H:%M:%S} UTC")
    elif found.observation != "none":
        lines.append(f"observation  {found.observation}")
    lines += [f"reason       {reason}" for reason in found.reasons]
    lines += [f"last line    {_ago(ago_s)} ago", f"next         {found.next}"]
    return "\n".join(lines)


def _ago(seconds: int) -> str:
    """Return a duration in its largest fitting unit, coarse: it is read by a person once."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
