"""`cutover journal`: verify the hash chain of a record's journal, or show its lines."""

from __future__ import annotations

import json

import click

from cutover.cli import options


@click.group()
def journal() -> None:
    """Verify a record's journal, or show it.

    \b
    Examples:
      cutover journal verify
      cutover journal show --clause 3.1b
    """  # noqa: D301 (click reads the escape)


@journal.command(epilog="Exit codes: 0 the chain holds, 2 wrong input, 3 it does not, and the first bad line is named.")
@options.record
@options.records
@click.option("--head", metavar="DIGEST", help="The digest that the last line must have: sha256:…")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def verify(folder: str | None, record: str | None, head: str | None, *, as_json: bool) -> None:
    """Check every line's digest, number and link to the one before, and that nothing is missing at the end.

    The end is known from `--head`, else from the record's own verdict. A last line that a killed process left half
    written was never acknowledged; it is named and no error.

    \b
    Examples:
      cutover journal verify
      cutover journal verify records/2027-04-12-0930 --json
    """  # noqa: D301 (click reads the escape)
    from cutover.cli.going_on import find  # noqa: PLC0415  # not needed by --help
    from cutover.errors import JournalBroken  # noqa: PLC0415
    from cutover.runbook.records import sealed  # noqa: PLC0415

    found = find(folder, record)
    lines, wanted = (len(found.entries), head) if head else sealed(found.folder)
    seen = found.entries[lines - 1].digest if 0 < lines <= len(found.entries) else "no such line"
    if wanted and seen != wanted:
        raise JournalBroken(
            f"the journal of {found.folder.name} does not end where it ought",
            code="journal-truncated",
            seen=f"{len(found.entries)} lines; line {lines}: {seen} (expected {wanted})",
            line=len(found.entries),
        )
    facts = {
        "record": str(found.folder),
        "lines": len(found.entries),
        "head": found.entries[-1].digest,
        "attempts": len(found.attempts),
        "half_written_bytes": found.torn_bytes,
        "in_use": found.is_busy,
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"{len(found.entries)} lines, each with its own digest and the one before; the chain holds")
    click.echo(f"head {found.entries[-1].digest}")
    if found.torn_bytes:
        click.echo(f"a last line of {found.torn_bytes} bytes is half written: the process that wrote it was killed")


@journal.command()
@options.record
@options.records
@click.option("--clause", metavar="ID", help="Only the lines of this clause.")
@click.option("--event", "events", multiple=True, metavar="NAME", help="Only these events; repeatable.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N of them.")
def show(
    *, folder: str | None, record: str | None, clause: str | None, events: tuple[str, ...], last: int | None
) -> None:
    """Print a journal's lines: number, time, clause, event and facts.

    \b
    Examples:
      cutover journal show --clause 3.1b
      cutover journal show --event gate --last 20
    """  # noqa: D301 (click reads the escape)
    from cutover.cli.going_on import find  # noqa: PLC0415  # not needed by --help
    from cutover.clock import rfc3339  # noqa: PLC0415

    chosen = [
        entry
        for entry in find(folder, record).entries
        if (clause is None or entry.clause == clause) and (not events or entry.event in events)
    ]
    for entry in chosen[-last:] if last else chosen:
        facts = json.dumps(entry.data, ensure_ascii=False, separators=(", ", ": "))
        click.echo(f"{entry.seq:>6}  {rfc3339(entry.time)}  {entry.clause or '-':<5}  {entry.event:<16}  {facts}")
