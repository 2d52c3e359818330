"""summary.md: the record for a CI job's page, short.

Invariant: text of the record cannot become markup: what Markdown or HTML would read is escaped, lines are joined.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reports import story, wording

if TYPE_CHECKING:
    from reports.views import Record

NAME = "summary.md"
_MARKUP = re.compile(r"([\\`*_\[\]<>|#~&!])")


def build(record: Record) -> str:
    """Return the file's content."""
    told = story.tell(record)
    lines = [
        f"## {_plain(told.outcome)} · {_plain(told.title)} · {_plain(told.id)}",
        "",
        f"{_plain(told.site)}, {_plain(told.when)}",
    ]
    if told.notice:
        lines += ["", f"> {_plain(told.notice)}"]
    lines += ["", *(_plain(sentence) for sentence in told.sentences)]
    if told.decision:
        lines += ["", _plain(told.decision)]
    rows = [(one.role, (one.release, *one.told)) for one in told.changes]
    rows += [(fact.label, (fact.value, *fact.notes)) for fact in (*told.people, *told.facts)]
    rows.append(("Deviations", (", ".join(one.id for one in record.deviations) or "none",)))
    rows.append((told.digest_label, (told.digest or "no digest", told.signature)))
    lines += ["", "| | |", "|---|---|", *(f"| {_plain(name)} | {_plain('; '.join(said))} |" for name, said in rows)]
    troubled = [clause for clause in record.clauses if clause.result in wording.BAD]
    if troubled:
        lines += ["", "| Clause | Result | Reason | Next |", "|---|---|---|---|"]
        lines += [
            f"| {_plain(f'{c.id} {c.title}')} | {_plain(c.result)} | {_plain(c.reason)} | {_plain(c.remedy)} |"
            for c in troubled
        ]
    if told.problems:
        lines += ["", "This record is not complete:", "", *(f"- {_plain(problem)}" for problem in told.problems)]
    return "\n".join([*lines, ""])


def _plain(text: str) -> str:
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
