"""Writes docs/diagnosis.md from the table of causes and the list of faults: `python -m rehearsal.causes_page`.

Invariant: the page says nothing that the table does not; a test compares the two.
"""

from __future__ import annotations

import click

from cutover.runbook import causes
from cutover.runbook.catalogue import load_clauses
from rehearsal.environment import faults, layout
from rehearsal.tables import line

PAGE = layout.PROJECT / "docs" / "diagnosis.md"
_INTRODUCTION = """\
# What is wrong, why, and what to do

Made by `python -m rehearsal.causes_page` from one table, `cutover.runbook.causes`. Every failure of a run is matched
against it from the top; the first row that fits is named in the record of the failed clause (`diagnosis`, with
`troubleshooting` where it is the guide's), its cause in words and its remedy with it. Where no row fits, nothing is
guessed.

    ./cutover diagnose --target target.toml

examines a site against the same table outside of an upgrade too, changes nothing, and with `--archive FILE` writes
one archive for support (with `--record DIR` what that record holds as well): journal, transcripts, gates, load, the
platform's own diagnostics of each colour, objects, events and logs of the cluster, listed in `index.json`. Every text
in it is searched for the target's secrets and for those of both namespaces, whoever redacted it before; what is no
text is left out and named. A run that fails does the same by itself once blue has the traffic again (S.1, S.3); the
archive is in `artifacts/support/` of the record.

    ./cutover rehearse --drill diagnose

makes the guide's four troubles on a real site, and demands that each is recognised, that its remedy helps, and that
an escalation ends with blue serving, one archive and no secret in it (T.1 to T.4, S.1 to S.3). The drill leaves a
record of its own.
"""


def page() -> str:
    """Return the page's text."""
    return "\n".join(
        [
            _INTRODUCTION,
            "## The table",
            "",
            *_rows(),
            "",
            "## Which row each injected fault leads to",
            "",
            "`python -m rehearsal.matrix` demands that the record of a run with the fault names one of these; how",
            "such runs end is in [faults.md](faults.md).",
            "",
            *_faults(),
            "",
        ]
    )


def _rows() -> list[str]:
    titles = {clause.id: clause.title for clause in load_clauses()}
    rows = [line(["row", "what is seen", "what probably causes it", "what to do", "guide"]), "|---|---|---|---|---|"]
    for row in causes.CAUSES:
        guide = f"{row.clause} {titles[row.clause]}" if row.clause else ""
        rows.append(
            line([f"`{row.id}`", row.shows, row.probable, row.remedy or "what the failed check itself says", guide])
        )
    return rows


def _faults() -> list[str]:
    rows = [line(["fault", "what it does", "row"]), "|---|---|---|"]
    for fault in faults.load():
        if fault.kind and fault.name != faults.ALTERED:
            continue  # each way to alter evidence is a fault of its own, with the rows of the whole
        named = " or ".join(f"`{row}`" for row in fault.diagnosis)
        rows.append(line([f"`{fault.name}`", fault.title, named]))
    return rows


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Write docs/diagnosis.md anew."""
    PAGE.write_text(page(), encoding="utf-8")
    click.echo(f"{PAGE} has {len(causes.CAUSES)} rows")


if __name__ == "__main__":
    main()
