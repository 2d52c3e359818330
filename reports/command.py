"""`cutover report`: make a record's reports again, from its folder alone, or the one of an evidence folder."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(epilog="Exit codes: 0, 2 when there is nothing to report in the folder, 3 when a report is not made.")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--only",
    "names",
    multiple=True,
    type=click.Choice(["continuity.html", "junit.xml", "summary.md", "report.html", "report.pdf"]),
    help="Make this report of a record alone; repeatable.",
)
def report(folder: Path, names: tuple[str, ...]) -> None:
    """Make the reports of FOLDER again: a record, or an evidence folder.

    Of a record: report.html, report.pdf, junit.xml, summary.md and evidence/continuity.html. Of an evidence folder,
    which has before/ and after/ but no journal: continuity.html. Reads the folder and nothing else; the verdict stays
    as it is.

    \b
    Examples:
      cutover report records/2026-11-23-0412
      cutover report records/2026-11-23-0412 --only report.pdf
      cutover report comparison
    """  # noqa: D301 (click reads the escape)
    from cutover.errors import CouldNotMeasure, WrongInput  # noqa: PLC0415  # not needed by --help
    from reports import build  # noqa: PLC0415
    from reports.evidence import is_complete  # noqa: PLC0415

    is_record = any((folder / name).is_file() for name in ("verdict.json", "journal.jsonl"))
    if not is_record and not is_complete(folder):
        raise WrongInput(
            f"{folder} holds neither a record nor two snapshots",
            code="record-missing",
            seen=(
                "neither verdict.json nor journal.jsonl, nor before/ and after/ with a manifest"
                if folder.is_dir()
                else "no such folder"
            ),
            do="give the folder of one upgrade, as in records/2026-11-23-0412, or an evidence folder",
        )
    if not is_record and names not in {(), (build.CONTINUITY,)}:
        raise WrongInput(
            f"{folder} is an evidence folder, and gives {build.CONTINUITY} alone",
            code="record-missing",
            seen=", ".join(names),
            do="leave --only away, or give the folder of a record",
        )
    made = build.build(folder, names=names or tuple(build.BUILDERS)) if is_record else [build.build_continuity(folder)]
    if not made:
        raise WrongInput(
            f"{folder} holds no two snapshots to compare",
            code="snapshot-missing",
            seen="no evidence/before and evidence/after with a manifest",
            do="make its other reports: the run ended before evidence was compared",
        )
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
