"""`cutover records`: every upgrade of a folder of records, failed ones too, as a table, as JSON and as `index.html`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.overview import Overview, Row

_HEAD = ("record", "result", "upgrade", "site", "began", "took", "clauses", "failed", "way back", "seal")


@click.command(epilog="Exit codes: 0, 2 when the folder is not there, 3 when index.html cannot be written.")
@click.argument("folder", required=False, metavar="[DIR]", type=click.Path(path_type=Path))
@click.option("--site", default="", metavar="NAME", help="Only the upgrades of this site, by its target file's name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
@click.option("--index", is_flag=True, help="Write DIR/index.html anew too, as each run does at its end.")
def records(*, folder: Path | None, site: str, as_json: bool, index: bool) -> None:
    """List every upgrade of DIR, the oldest first: failed ones, broken off ones and drills too, and what they come to.

    DIR is a folder of records, each YYYY-MM-DD-HHMM in it; records, in the project, when it is left out. Reads the
    records alone; whether one is whole and unaltered says `cutover verify`.

    \b
    Examples:
      cutover records
      cutover records /var/lib/cutover --site staging-eu
      cutover records --json | jq '.records[] | select(.state != "PASSED") | .folder'
      cutover records --index
    """  # noqa: D301 (click reads the escape)
    from cutover import project  # noqa: PLC0415  # not needed by --help
    from cutover.errors import CouldNotMeasure, WrongInput  # noqa: PLC0415
    from reports import overview  # noqa: PLC0415

    place = folder or project.RECORDS
    try:
        found = overview.read(place, site=site)
    except OSError as problem:
        raise WrongInput(
            f"there are no records in {place}",
            code="records-absent",
            seen=problem.strerror or str(problem),
            do="name the folder that --record named, or perform an upgrade first",
        ) from problem
    click.echo(json.dumps(found.document(), ensure_ascii=False, indent=2) if as_json else _text(found, site))
    if not index:
        return
    try:
        written = overview.write(place)
    except OSError as problem:
        raise CouldNotMeasure(
            f"{place / overview.NAME} cannot be written",
            code="index-not-written",
            seen=problem.strerror or str(problem),
        ) from problem
    if written is None:
        raise WrongInput(
            f"{place / overview.NAME} is another's page and was left as it is",
            code="index-not-ours",
            do="move it away, or keep the records in a folder of their own",
        )
    click.echo(written, err=as_json)


def _text(found: Overview, site: str) -> str:
    if not found.rows:
        return f"no record{' of ' + site if site else ''} in {found.folder}"
    table = [_HEAD, *(_cells(row) for row in found.rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(_HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table
    ]
    said = [line for row, shown in zip(found.rows, lines[1:], strict=True) for line in (shown, *_why(row))]
    return "\n".join([lines[0], *said, "", *(f"{one.site or 'unknown site'}: {one.sentence}" for one in found.totals)])


def _cells(row: Row) -> Sequence[str]:
    from reports import wording  # noqa: PLC0415

    back = f"{row.serves or 'unknown'} in {wording.duration(row.back_s)}" if row.went_back else "-"
    return (
        row.folder,
        row.state.replace("_", " "),
        f"{row.from_release or '?'} → {row.to_release or '?'}" + (f" (drill {row.drill})" if row.drill else ""),
        row.site or "?",
        row.started.strftime("%Y-%m-%d %H:%M") if row.started else "?",
        wording.duration(row.duration_s) if row.duration_s is not None else "-",
        f"{row.passed} of {row.clauses}" if row.passed is not None else "-",
        "-" if row.failed is None else wording.count(row.failed),
        back,
        row.seal,
    )


def _why(row: Row) -> Sequence[str]:
    said = [row.reason if row.state != "PASSED" else "", row.problem]
    return [f"    {' '.join(line.split())}" for line in said if line]
