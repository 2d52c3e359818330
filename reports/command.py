"""`cutover report`: make a record's reports again, from its folder alone, or the one of an evidence folder.

Invariant: a report that a seal names is written only when the record is sealed again in the same breath.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from reports.build import Built

_NAMES = ("continuity.html", "junit.xml", "summary.md", "report.html", "report.pdf")
_CODES = """\b
Exit codes:
  0  the reports are made, or are already as they would be made
  2  there is nothing to report in the folder
  3  a report is not made
  5  the record is sealed, and its reports would be otherwise: give --key, and it is sealed again
"""
_file = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog=_CODES)
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--only", "names", multiple=True, type=click.Choice(_NAMES), help="Make this report of a record alone; repeatable."
)
@click.option("--key", metavar="FILE", type=_file, help="Seal the record again, with this key (PEM).")
@click.option("--certificate", metavar="FILE", type=_file, help="The key's certificate. Default: beside the key, .crt.")
@click.option("--passphrase-env", metavar="NAME", help="The environment variable that has the key's passphrase.")
@click.option("--timestamp-url", metavar="URL", default="", help="A timestamping authority (RFC 3161) for report.pdf.")
def report(
    folder: Path,
    names: tuple[str, ...],
    *,
    key: Path | None,
    certificate: Path | None,
    passphrase_env: str | None,
    timestamp_url: str,
) -> None:
    """Make the reports of FOLDER again: a record, or an evidence folder.

    Of a record: report.html, report.pdf, junit.xml, summary.md and evidence/continuity.html. Of an evidence folder,
    which has before/ and after/ but no journal: continuity.html. Reads the folder and nothing else; the verdict stays
    as it is. A sealed record's reports stay as they were sealed, unless it is sealed again: the earlier seal is kept.

    \b
    Examples:
      cutover report records/2026-11-23-0412
      cutover report records/2026-11-23-0412 --only report.pdf
      cutover report records/2026-11-23-0412 --key record-signing.key
      cutover report comparison
    """  # noqa: D301 (click reads the escape)
    from cutover.errors import WrongInput  # noqa: PLC0415  # not needed by --help
    from cutover.record.manifest import SEAL  # noqa: PLC0415
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
    if not is_record and (names not in {(), (build.CONTINUITY,)} or key is not None):
        raise WrongInput(
            f"{folder} is an evidence folder, and gives {build.CONTINUITY} alone",
            code="record-missing",
            seen=", ".join(names) or "--key",
            do="leave --only and --key away, or give the folder of a record",
        )
    if key is not None:
        _seal_again(folder, key, certificate or key.with_suffix(".crt"), passphrase_env, timestamp_url)
        return
    if is_record and (folder / SEAL).is_file():
        _leave_as_sealed(folder, names or _NAMES)
        return
    made = build.build(folder, names=names or tuple(build.BUILDERS)) if is_record else [build.build_continuity(folder)]
    if not made:
        raise WrongInput(
            f"{folder} holds no two snapshots to compare",
            code="snapshot-missing",
            seen="no evidence/before and evidence/after with a manifest",
            do="make its other reports: the run ended before evidence was compared",
        )
    _tell(made)


def _tell(made: list[Built]) -> None:
    for one in made:
        if not one.problem:
            click.echo(one.path)
    broken = [one for one in made if one.problem]
    if broken:
        _refuse_broken([one.name for one in broken], [one.problem for one in broken])


def _refuse_broken(names: list[str], problems: list[str]) -> NoReturn:
    from cutover.errors import CouldNotMeasure  # noqa: PLC0415

    raise CouldNotMeasure(
        f"{', '.join(names)} could not be made",
        code="report-not-made",
        seen="\n".join(problems),
        do="report it with the record; the verdict is not affected",
    )


def _leave_as_sealed(folder: Path, names: tuple[str, ...]) -> None:
    """Say that a sealed record's reports are as they would be made. Raises Refused: they would be otherwise."""
    from cutover.errors import Refused  # noqa: PLC0415
    from reports import sealing  # noqa: PLC0415

    otherwise = sealing.differing(folder, names)
    if otherwise:
        raise Refused(
            f"the record {folder.name} is sealed, and {', '.join(otherwise)} would be otherwise now",
            code="record-sealed",
            seen="another release of cutover makes them otherwise, or they were changed",
            do="give --key FILE to make them and seal the record again; ./cutover verify says what is as it was sealed",
            state="nothing was written",
        )
    click.echo(f"{folder.name} is sealed, and its reports are as they would be made: nothing was written")


def _seal_again(folder: Path, key: Path, certificate: Path, passphrase_env: str | None, timestamp_url: str) -> None:
    """Make a record's reports and seal it, with a key. Raises WrongInput, CouldNotMeasure."""
    from cutover.errors import WrongInput  # noqa: PLC0415
    from cutover.record.keys import SigningKey  # noqa: PLC0415
    from cutover.record.signer import KeySigner  # noqa: PLC0415
    from reports import sealing  # noqa: PLC0415

    if not (folder / "verdict.json").is_file():
        raise WrongInput(
            f"{folder} has no verdict, and cannot be sealed",
            code="record-incomplete",
            seen="its run was broken off",
            do="go on with it: ./cutover resume",
        )
    passphrase = os.environ.get(passphrase_env) if passphrase_env else None
    signer = KeySigner(key=SigningKey.load(key, certificate, passphrase=passphrase))
    problems: list[tuple[str, str]] = []
    means = sealing.Means(signer=signer, timestamp_url=timestamp_url)
    seal = sealing.complete_again(folder, means, lambda name, problem: problems.append((name, problem)))
    if seal is None or not seal.is_signed:
        _refuse_broken(["the seal"], [f"{name}: {problem}" for name, problem in problems])
    for name, problem in problems:
        click.echo(f"WARNING: {name} was not made ({problem})", err=True)
    click.echo(f"{folder.name} is sealed: number {seal.number}, signed by {signer.name}, sha256 {seal.manifest[7:]}")
