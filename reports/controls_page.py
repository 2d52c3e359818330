"""Writes docs/controls.md from `contract/controls.toml` and the list of fields: `python -m reports.controls_page`.

Invariant: the page says nothing that these two do not; a test compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cutover import project
from cutover.runbook.catalogue import load_clauses
from reports import controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reports.controls import Control, Question

PAGE: Final = project.ROOT / "docs" / "controls.md"
_INTRODUCTION = """\
# Controls, and where an upgrade record answers them

Made by `python -m reports.controls_page` from `contract/controls.toml`. An auditor finds here which clauses and which
fields of a record speak to a control; `report.html` and `report.pdf` of each record show the same table with that
record's own answers. The questions are in our words: the text of each source is the one that binds.

A record answers a question in one of four ways:

- **answered**: every clause named here passed, or this upgrade had no use for it; every field is there;
- **with exceptions**: it is answered, and something in it is not as it should be: a clause that did not pass, failed
  requests, an approver who also executed;
- **in part**: a clause was not run, or a field is not there; which ones stands beside it;
- **not answered**: nothing in the record speaks to it.

No answer says that a control is met: that is the auditor's to say, of the organisation, and what one record cannot show
stands below each control. The record itself is checked with `./cutover verify`, the clauses are those of the guide
(`contract/clauses.toml`), the fields those of `contract/verdict.schema.json`.
"""


def page() -> str:
    """Return the page's text."""
    found = controls.load()
    parts = [_INTRODUCTION]
    for control in found:
        parts += [f"## {control.name}: {control.title}", "", f"{control.source}.", "", *_questions(control), ""]
        parts += [f"A record cannot show: {control.elsewhere[:1].lower()}{control.elsewhere[1:]}", ""]
    parts += ["## Fields", "", *_fields(found), "", "## By clause", "", *_clauses(), ""]
    return "\n".join(parts)


def _questions(control: Control) -> list[str]:
    rows = [[question.asks, _short(question.clauses), _answers(question)] for question in control.questions]
    return _table(["it asks", "clauses", "fields of the record"], rows)


def _answers(question: Question) -> str:
    names = ", ".join(controls.FIELDS[name].title for name in question.fields)
    return "; ".join(part for part in (names, question.look) if part) or "-"


def _short(clauses: Sequence[str]) -> str:
    return ", ".join(clauses) or "-"


def _fields(found: Iterable[Control]) -> list[str]:
    named = {name for control in found for question in control.questions for name in question.fields}
    rows = [[field.title, field.place] for name, field in controls.FIELDS.items() if name in named]
    return _table(["field", "where in the record"], rows)


def _clauses() -> list[str]:
    by_clause = controls.by_clause()
    rows = [[f"{clause.id} {clause.title}", _short(by_clause.get(clause.id, ()))] for clause in load_clauses()]
    return _table(["clause", "controls"], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [_line(head), f"|{'---|' * len(head)}"]
    return [*lines, *(_line(row) for row in rows)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Write docs/controls.md anew."""
    PAGE.write_text(page(), encoding="utf-8")
    click.echo(f"{PAGE} has {len(controls.load())} controls")


if __name__ == "__main__":
    main()
