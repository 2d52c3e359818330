"""Every drill after the other, each on a site of its own, and one table of the clauses that no run performs.

Invariants: what a clause came to is read from the records that the drills left, never from what they printed; a clause
of these that no drill performed is incomplete, not forgotten; the exit code is the worst. What is shown is written to
`drills.json` beside the records too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rehearsal import chained
from rehearsal.environment import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

PHASES = ("contract", "rollback", "troubleshooting", "support")
"""Of the catalogue: the C, R, T and S clauses."""
INCOMPLETE = 4
INTERRUPTED = 130
_WORST_FIRST = (INTERRUPTED, 1, 3, 2, 5, INCOMPLETE, 0)
"""Exit codes: stopped, failed, could not measure, wrong input, refused, incomplete, passed. Any other is the worst."""
_RESULTS = ("FAIL", "ERROR", "INCONCLUSIVE", "PASS")
"""Worst first; a clause that a record did not run says nothing."""
_NOT_RUN = "NOT_RUN"
_JOURNAL = "journal.jsonl"
RESULTS = "drills.json"
"""Beside the records: the table for machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One drill that was performed."""

    drill: str
    exit_code: int
    duration_s: float
    records: tuple[str, ...]
    """By their folders' names, oldest first."""
    results: Mapping[str, str] = field(default_factory=dict)
    """What each clause came to in them, by id; the worst, where it was performed more than once."""


def perform(
    names: Sequence[str], options: Sequence[str], record: Path, say: Callable[[str], None]
) -> tuple[list[Done], int]:
    """Perform the drills with the options of the command line; return what they came to, and the exit code."""
    found: list[Done] = []
    for name in names:
        before = journals(record)
        began = time.monotonic()
        say(f"=== drill {name}")
        code = _rehearse("--drill", name, "--record", str(record), *options)
        fresh = sorted(journals(record) - before)
        found.append(
            Done(
                drill=name,
                exit_code=code,
                duration_s=round(time.monotonic() - began, 1),
                records=tuple(path.parent.name for path in fresh),
                results=results_of(entry for path in fresh for entry in chained.entries(path)),
            )
        )
        if code == INTERRUPTED:
            break
    clauses = clauses_of_drills()
    for line in table(found, clauses):
        say(line)
    code = exit_code(found, clauses)
    record.mkdir(parents=True, exist_ok=True)
    (record / RESULTS).write_text(json.dumps(document(found, clauses, code), indent=2) + "\n", encoding="utf-8")
    say(f"also as {record / RESULTS}")
    return found, code


def _rehearse(*arguments: str) -> int:
    command = [sys.executable, "-m", "cutover.cli", "rehearse", *arguments]
    with subprocess.Popen(command) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:  # the child got it too, and goes its way to the end
                continue


def journals(record: Path) -> set[Path]:
    """Return the journals in a folder of records."""
    return set(record.glob(f"*/{_JOURNAL}"))


def clauses_of_drills() -> dict[str, str]:
    """Return the clauses that no run performs, or only one that goes back: their titles, by id, in their order."""
    content = tomllib.loads((layout.PROJECT / "contract" / "clauses.toml").read_text(encoding="utf-8"))
    return {one["id"]: one["title"] for one in content["clause"] if one["phase"] in PHASES}


def results_of(entries: Iterator[Mapping[str, Any]]) -> dict[str, str]:
    """Return what each clause came to in lines of journals, those left out that were not run."""
    found: dict[str, str] = {}
    for entry in entries:
        if entry["event"] != "clause_finished" or entry["data"].get("result") == _NOT_RUN:
            continue
        said = (found.get(entry["clause"]), entry["data"]["result"])
        found[entry["clause"]] = min((one for one in said if one), key=_RESULTS.index)
    return found


def exit_code(found: Sequence[Done], clauses: Mapping[str, str]) -> int:
    """Return the worst of all, incomplete where a clause was performed by none."""
    codes = [one.exit_code for one in found]
    if any(_of_all(found, clause_id)[0] == _NOT_RUN for clause_id in clauses):
        codes.append(INCOMPLETE)
    if any(_of_all(found, clause_id)[0] not in {_NOT_RUN, "PASS"} for clause_id in clauses):
        codes.append(1)
    known = [code for code in _WORST_FIRST if code in codes]
    strange = [code for code in codes if code not in _WORST_FIRST]
    return strange[0] if strange else known[0]


def _of_all(found: Sequence[Done], clause_id: str) -> tuple[str, list[str]]:
    """Return the worst that a clause came to, and the drills that performed it."""
    by = [(one.results[clause_id], one.drill) for one in found if clause_id in one.results]
    if not by:
        return _NOT_RUN, []
    return min((result for result, _ in by), key=_RESULTS.index), [drill for _, drill in by]


def document(found: Sequence[Done], clauses: Mapping[str, str], code: int) -> dict[str, Any]:
    """Return the table for machines."""
    told = {clause_id: _of_all(found, clause_id) for clause_id in clauses}
    return {
        "schema": "cutover/drills/v1",
        "exit_code": code,
        "clauses": [
            {"id": clause_id, "title": title, "result": told[clause_id][0], "drills": told[clause_id][1]}
            for clause_id, title in clauses.items()
        ],
        "drills": [asdict(one) for one in found],
    }


def table(found: Sequence[Done], clauses: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines that are shown at the end: the clauses, then the drills."""
    yield ""
    width = max(len(title) for title in clauses.values())
    for clause_id, title in clauses.items():
        result, drills = _of_all(found, clause_id)
        yield f"{clause_id:<5} {title:<{width}}  {result:<12}  {', '.join(drills)}".rstrip()
    yield ""
    for one in found:
        records = ", ".join(one.records)
        yield f"drill {one.drill:<13} exit code {one.exit_code}  {one.duration_s:4.0f} s  {records}".rstrip()
    passed = sum(_of_all(found, clause_id)[0] == "PASS" for clause_id in clauses)
    yield f"{passed} of {len(clauses)} clauses passed"
