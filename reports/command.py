"""`cutover report`: make a record's reports again, from its folder alone."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(epilog="Exit codes: 0, 2 when there is no record in the folder, 3 when a report could not be made.")
@click.argument("folder", metavar="RECORD", type=click.Path(path_type=Path))
@click.option(
    "--only",
    "names",
    multiple=True,
    type=click.Choice(["junit.xml", "summary.md", "report.html", "report.pdf"]),
    help="Make this report alone; repeatable.",
)
def report(folder: Path, names: tuple[str, ...]) -> None:
    """Make report.html, report.pdf, junit.xml and summary.md of a RECORD again.

    Reads the record's folder and nothing else; the verdict stays as it is.

    \b
    Examples:
      cutover report records/2026-11-23-0412
      cutover report records/2026-11-23-0412 --only report.pdf
    """  # noqa: D301 (click reads the escape)
    from cutover.errors import CouldNotMeasure, WrongInput  # noqa: PLC0415  # not needed by --help
    from reports import build  # noqa: PLC0415

    if not any((folder / name).is_file() for name in ("verdict.json", "journal.jsonl")):
        raise WrongInput(
            f"{folder} holds no record",
            code="record-missing",
            seen="neither verdict.json nor journal.jsonl" if folder.is_dir() else "no such folder",
            do="give the folder of one upgrade, as in records/2026-11-23-0412",
        )
    made = build.build(folder, names=names or tuple(build.BUILDERS))
    for one in made:
        if not one.problem:
            click.echo(one.path)
    broken = [one for one in made if one.problem]
    if broken:
        raise CouldNotMeasure(
            f"{', '.join(one.name for one in broken)} could not be made",
            code="report-not-made",
            seen="\n".join(one.problem for one in broken),
            do="report it with the record; the verdict is not affected",
        )
