"""Whether a secret of an embedded site stands in what a run on it left: records, their index, and the run's own output.

`python -m rehearsal.canaries --name ENVIRONMENT PATH…` looks through files and folders of anybody's choice; a rehearsal
does it by itself at its end. Invariant: what is told names kinds and places, never a secret.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cutover.runbook import leaks
from rehearsal.environment import canaries, layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cutover.runbook.leaks import Leak

FOUND = 1


def look(place: layout.Place, paths: Iterable[Path]) -> tuple[int, tuple[Leak, ...]]:
    """Return how many files were looked through, and where secrets of the environment stand. Raises: OSError."""
    sought = canaries.planted(place)
    files, found = 0, []
    for path in paths:
        searched = leaks.search(path, sought) if path.is_dir() else leaks.search(path.parent, sought, only=[path])
        files += searched.files
        found += [
            leaks.Leak(path=str((path if path.is_dir() else path.parent) / one.path), kind=one.kind)
            for one in searched.leaks
        ]
    return files, tuple(found)


def left_behind(place: layout.Place, records: Path) -> Iterator[Path]:
    """Yield what runs on an environment wrote since it was made: records, their index, output that went to files."""
    since_s = (place.root / canaries.FILE).stat().st_mtime
    for path in sorted(records.iterdir()) if records.is_dir() else ():
        written = path / "journal.jsonl" if path.is_dir() else path
        if written.is_file() and written.stat().st_mtime >= since_s:
            yield path
    for stream in (sys.stdout, sys.stderr):
        yield from _file_behind(stream.fileno())


def _file_behind(descriptor: int) -> Iterator[Path]:
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            yield Path(f"/proc/self/fd/{descriptor}").readlink()
    except OSError:
        return


def report(place: layout.Place, paths: Iterable[Path]) -> tuple[int, list[str]]:
    """Return the exit code of a search, and what to say of it. Raises: OSError."""
    files, found = look(place, paths)
    kinds = len(canaries.planted(place))
    if not found:
        return 0, [f"secrets: {kinds} of this site looked for in {files} files, none found"]
    return FOUND, [f"SECRET LEFT BEHIND: {one.kind} in {one.path}" for one in found]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--name", default="default", show_default=True, help="The environment whose secrets are looked for.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def main(name: str, paths: tuple[Path, ...]) -> None:
    """Look for an environment's secrets in files and folders; exit code 1 when one is there."""
    code, lines = report(layout.Place.named(name), [path.resolve() for path in paths])
    for line in lines:
        click.echo(line, err=bool(code))
    sys.exit(code)


if __name__ == "__main__":
    main()
