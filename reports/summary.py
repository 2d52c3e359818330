"""summary.md: the record for a CI job's page, short.

Invariant: text of the record cannot become markup: what Markdown or HTML would read is escaped, lines are joined.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reports import gates, wording
from reports.record import NO_VERDICT

if TYPE_CHECKING:
    from reports.record import Record

NAME = "summary.md"
_MARKUP = re.compile(r"([\\`*_\[\]<>|#~&!])")


def build(record: Record) -> str:
    """Return the file's content."""
    outcome = "NO VERDICT" if record.result == NO_VERDICT else record.result
    lines = [
        f"## {_plain(outcome)} · {_plain(wording.title(record))} · {_plain(record.id)}",
        "",
        f"{_plain(record.target_name or 'unknown site')}, {_plain(wording.span(record))}",
    ]
    if record.notice:
        lines += ["", f"> {_plain(record.notice)}"]
    lines += ["", _plain(wording.lead(record))]
    decision = gates.decision(record)
    if decision:
        lines += ["", _plain(decision)]
    lines += ["", "| | |", "|---|---|"]
    rows = (
        ("Clauses", (wording.counts(record), "")),
        ("Evidence", wording.evidence(record)),
        ("Traffic", wording.traffic(record)),
        ("Undo", wording.undo(record)),
        ("Attempts", ("; ".join(wording.attempts(record)), "")),
        ("Deviations from the guide", (", ".join(d.id for d in record.deviations) or "none", "")),
    )
    lines += [f"| {name} | {_plain('; '.join(part for part in parts if part))} |" for name, parts in rows if any(parts)]
    troubled = [clause for clause in record.clauses if clause.result in wording.BAD]
    if troubled:
        lines += ["", "| Clause | Result | Reason | Next |", "|---|---|---|---|"]
        lines += [
            f"| {_plain(f'{c.id} {c.title}')} | {_plain(c.result)} | {_plain(c.reason)} | {_plain(c.remedy)} |"
            for c in troubled
        ]
    if record.problems or record.journal_problem:
        lines += ["", "This record is not complete:", ""]
        lines += [f"- {_plain(problem)}" for problem in (*record.problems, record.journal_problem) if problem]
    return "\n".join([*lines, ""])


def _plain(text: str) -> str:
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
