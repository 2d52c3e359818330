"""Runs every listed fault and compares its outcome with `contract/faults.toml`: `python -m rehearsal.matrix`.

A row holds when the exit code, the failing clause, the row of the table of causes, the cause in words, the remedy, the
way back and who serves are as listed, and no process of the run is left. Where evidence was altered, the record must
name what the injector says that it broke: guarantee, code and item. Where the fault is there for gates, the
first of them did not pass, no gate outside the list failed to, the evidence is intact and every acknowledged write is
there exactly once.
With `--phases` each fault strikes once in each phase in which it can; then nothing may be lost in any row. Where nobody
serves, the database is brought back first, to look.
Invariants: nothing is tried again, a row that does not hold each time does not hold; the process exits 0 only when
every row holds. With `--results` what held is not measured again; what is kept is what was seen, and it is compared
with the list as it is now; a fault that the list has strike otherwise by now is measured again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rehearsal import asked, tables
from rehearsal.environment import faults
from rehearsal.environment.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rehearsal.environment.faults import Fault

MARK = "CUTOVER_MATRIX_RUN"
"""Environment variable by which the processes of one run are found again."""
LONGEST_RUN_S = 900
PASSED = {"PASS", "NOT_RUN"}
WAY_BACK = "R.1"
UNKNOWN = "unknown"
_BLUE = "blue"
_SEVERITY = ("PASS", "INCONCLUSIVE", "NO_DATA", "ERROR", "FAIL")
_LOST = "writes-lost"
_VERIFYING = frozenset({"4.1a"})
"""Where the harness verifies all evidence, it names guarantee and code too; elsewhere the item."""
_ITEMS = 1000
"""Evidence of a site that is struck in another phase: more than the load reads, and less than the usual."""
_NONE_YET = frozenset({"none was acknowledged", "no baseline"})
"""Before the cutover no write may have been acknowledged yet, and the baseline may not have been taken."""
_JUDGED_BY_SAMPLES = "3"
"""The phase whose gates need the policy's own windows: over short ones, a few bad answers decide nothing."""
_PASSES_QUICKLY = frozenset({"4", "5"})
"""What strikes after the cutover strikes both strategies alike, and an instant one is there sooner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one run came to, and what the site says of it."""

    exit_code: int
    failing: tuple[Mapping[str, Any], ...]
    """The clauses that did not pass, as verdict.json has them, the first first."""
    serves: str
    rollback: str
    """The result of R.1."""
    gates: Mapping[str, str]
    """The gates that did not pass, each with its worst verdict, in the order in which they were seen."""
    diagnosis: str = UNKNOWN
    """The row of the table of causes that the failed clause's record names."""
    then: str = UNKNOWN
    """Who serves once a database that was killed is back."""
    evidence: str = UNKNOWN
    markers: str = UNKNOWN
    """Unknown where nobody was asked, or nobody answered."""

    @property
    def clause(self) -> str:
        """The first clause that did not pass, or `none`."""
        return str(self.failing[0]["id"]) if self.failing else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one fault led to, and in what it differs from the list; nothing when it holds."""

    fault: str
    strategy: str
    seen: Seen
    duration_s: float
    differences: tuple[str, ...]
    own: tuple[str, ...] = ()
    """Of the differences those that the list does not decide."""
    struck: str = ""
    """How and when it was, in the list's words."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1)
@click.option(
    "--strategy",
    type=click.Choice(["gradual", "instant"]),
    help="Of every row; gradual unless given, with --phases instant for what strikes after the cutover.",
)
@click.option("--routing", type=click.Choice(["nginx", "gateway"]), help="How the site routes; its own way otherwise.")
@click.option(
    "--profile",
    type=click.Choice(["usual", "fast"]),
    help="Windows of the policy; as usual otherwise, and always for what gates must catch at a weight.",
)
@click.option("--kinds", is_flag=True, help="Every kind of altered evidence too, evidence-altered:KIND.")
@click.option("--gates", is_flag=True, help="Only the faults that are there for a gate.")
@click.option("--phases", is_flag=True, help="Each fault in each phase in which it can strike, NAME@PHASE.")
@click.option("--bound-s", type=float, help="Begin no further row after so many seconds; 0 only writes the tables.")
@click.option("--results", type=click.Path(path_type=Path), help="Keep the rows here; what held is not run again.")
@click.option("--records", type=click.Path(path_type=Path), help="Keep the records here.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Put the rows into this document's table.")
def main(
    names: tuple[str, ...],
    strategy: str | None,
    routing: str | None,
    *,
    profile: str | None,
    kinds: bool,
    gates: bool,
    phases: bool,
    bound_s: float | None,
    results: Path | None,
    records: Path | None,
    markdown: Path | None,
) -> None:
    """Rehearse with each fault NAME and compare with contract/faults.toml.

    A NAME may be a pattern: 'evidence-altered:log-*'. Without one, every fault is rehearsed; the kinds of altered
    evidence with --kinds only, each being a run of its own.
    """
    folder = (records or results or Path(tempfile.mkdtemp(prefix="cutover-matrix-"))).absolute()
    if phases:
        chosen = chosen_in_phases(names, strategy)
    else:
        one = strategy or faults.GRADUAL
        chosen = [(fault, one) for fault in chosen_faults(names, one, kinds=kinds, gates=gates)]
    began = time.monotonic()
    rows = []
    for fault, one in chosen:
        if bound_s is not None and time.monotonic() - began >= bound_s:
            break
        if (fault.name, one) in {known(told) for told in results_in(results) if not told["differences"]}:
            continue
        own = folder / f"{one}-{fault.name}".replace(":", "-").replace("@", "-in-")
        windows = None if fault.gates and fault.struck_in == _JUDGED_BY_SAMPLES else profile
        row = run(fault, one, own, routing=routing, profile=windows, items=_ITEMS if phases else None)
        rows.append(row)
        if results is not None:
            keep(row, results)
        click.echo(f"{'✔' if not row.differences else '✘'} {line(row)}")
        for difference in row.differences:
            click.echo(f"    {difference}")
        if markdown is not None and not phases:
            name = " ".join(filter(None, ("gates" if gates else "faults", one, routing, profile)))
            tables.written(markdown, name, HEAD, [cells(row)])
    if markdown is not None and phases:
        valid = [told for told in results_in(results) if not told["is_stale"]]
        tables.written(markdown, "faults by phase", GRID_HEAD, grid(valid))
        tables.written(markdown, "fault matrix", PHASES_HEAD, [phase_cells(told) for told in valid])
    if results is not None:
        found = [told for told in results_in(results) if known(told) in {(fault.name, one) for fault, one in chosen}]
        held, count = sum(not told["differences"] for told in found), len(chosen)
        click.echo(f"{count - len(found)} of {count} not measured yet")
    else:
        held, count = sum(not row.differences for row in rows), len(rows)
    click.echo(f"{held} of {count} as listed")
    sys.exit(0 if count and held == count else 1)


def chosen_in_phases(names: tuple[str, ...], strategy: str | None) -> list[tuple[Fault, str]]:
    """Return every fault in each phase with the strategy of its row; with `names`, those that match one."""
    found = []
    for one in (faults.GRADUAL, faults.INSTANT):
        every = (*(fault for fault in faults.load(one) if ":" not in fault.name), *faults.elsewhere(one))
        for fault in every:
            is_early = fault.struck_in not in _PASSES_QUICKLY and faults.GRADUAL in fault.strategies
            if one == (strategy or (faults.GRADUAL if is_early else faults.INSTANT)):
                found.append((fault, one))
    wanted = [pair for pair in found if not names or any(fnmatchcase(pair[0].name, name) for name in names)]
    if not wanted:
        raise click.UsageError(f"no fault in any phase is called {' or '.join(names)}")
    return sorted(wanted, key=lambda pair: pair[0].struck_in)


def keep(row: Row, results: Path) -> None:
    """Write a row to the file of results."""
    results.mkdir(parents=True, exist_ok=True)
    told = asdict(row) | {"ended": datetime.now(UTC).isoformat(timespec="seconds")}
    with (results / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(told, default=dict) + "\n")


def results_in(results: Path | None) -> list[dict[str, Any]]:
    """Return the newest result of every row so far, the phases in their order."""
    path = results / "results.jsonl" if results is not None else None
    lines = path.read_text(encoding="utf-8").splitlines() if path is not None and path.exists() else []
    newest = {known(one): one for one in map(json.loads, lines)}
    listed = {pair: fault for pair in newest if (fault := _listed(*pair)) is not None}
    found = [compared(fault, newest[pair]) for pair, fault in listed.items()]
    return sorted(found, key=lambda one: str(one["struck_in"]))


def _listed(name: str, strategy: str) -> Fault | None:
    with contextlib.suppress(EnvironmentFault):
        return faults.named([name], strategy)[0]
    return None


def compared(fault: Fault, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a kept row with its differences from the list as it is now, and when the fault strikes by it."""
    seen = Seen(**{**told["seen"], "failing": tuple(told["seen"]["failing"])})
    differences = [*differences_of(fault, seen), *told["own"]]
    is_stale = told["struck"] != struck(fault)
    if is_stale:
        differences.append(f"struck otherwise than listed now: {told['struck']}")
    now = {"differences": differences, "is_stale": is_stale}
    return {**told, **now, "struck_in": fault.struck_in, "struck_at": fault.strikes_at}


def known(told: Mapping[str, Any]) -> tuple[str, str]:
    """Return what a result is known by: fault and strategy."""
    return str(told["fault"]), str(told["strategy"])


def chosen_faults(names: tuple[str, ...], strategy: str, *, kinds: bool, gates: bool = False) -> tuple[Fault, ...]:
    """Return the faults that the command line asks for. Raises: EnvironmentFault for a name that matches none."""
    of_kinds = f"{faults.ALTERED}:"
    if not names:
        every = faults.load(strategy)
        return tuple(
            fault for fault in every if (fault.gates or not gates) and (kinds or not fault.name.startswith(of_kinds))
        )
    return faults.matching([*names, *([f"{of_kinds}*"] if kinds else [])], strategy)


def run(
    fault: Fault,
    strategy: str,
    folder: Path,
    *,
    routing: str | None = None,
    profile: str | None = None,
    items: int | None = None,
) -> Row:
    """Rehearse with one fault, ask the site what became of it, remove it, and compare."""
    mark = f"{fault.name}-{time.time_ns()}"
    environment = {**os.environ, MARK: mark}
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = ["rehearse", "--keep", "--fault", fault.name, "--strategy", strategy, "--record", str(folder)]
    command += ["--routing", routing] if routing else []
    command += ["--profile", profile] if profile else []
    command += ["--items", str(items)] if items else []
    with (folder / "output.txt").open("wb") as output:
        finished = subprocess.run(
            [*asked.HERE, *command],
            check=False,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=LONGEST_RUN_S,
        )
    duration_s = time.monotonic() - began
    said = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
    seen = look(
        fault,
        folder,
        finished.returncode,
        kept=re.search(r"--name (\S+)", said),
        environment=environment,
        is_in_phases=bool(items),
    )
    own = list(unnamed(fault, said, seen.failing)) if fault.kind else []
    if left := asked.processes_marked(MARK, mark):
        own.append(f"left running: {', '.join(left)}")
    return Row(
        fault=fault.name,
        strategy=strategy,
        seen=seen,
        duration_s=round(duration_s, 1),
        differences=(*differences_of(fault, seen), *own),
        own=tuple(own),
        struck=struck(fault),
    )


def struck(fault: Fault) -> str:
    """Return how and when a fault strikes, so that a kept row can be told from one of another list."""
    policy = " ".join(f"{name}={value}" for name, value in sorted(fault.policy.items()))
    return " ".join(filter(None, (fault.strikes_at, fault.strikes_on, f"{fault.value:g}", fault.command, policy)))


def look(
    fault: Fault,
    folder: Path,
    exit_code: int,
    *,
    kept: re.Match[str] | None,
    environment: Mapping[str, str],
    is_in_phases: bool = False,
) -> Seen:
    """Read the newest record in a folder, ask the kept site, and remove it. kept: its name, where it was kept."""
    records = sorted(path.parent for path in folder.glob("*/verdict.json"))
    verdict: dict[str, Any] = {}
    if records:
        verdict = json.loads((records[-1] / "verdict.json").read_text(encoding="utf-8"))
    clauses = verdict.get("clauses", [])
    serves = then = evidence = markers = UNKNOWN
    if kept is not None:
        serves = then = asked.who_serves(kept[1], environment)
        if serves == asked.NOBODY:
            then = asked.who_serves_with_database(kept[1], environment)
        if (fault.gates or is_in_phases) and records and then != asked.NOBODY:
            evidence = asked.evidence(kept[1], records[-1], environment)
            markers = asked.markers(kept[1], records[-1], environment)
        asked.remove(kept[1], environment)
    return Seen(
        exit_code=exit_code,
        failing=tuple(clause for clause in clauses if clause["result"] not in PASSED and clause["id"] != WAY_BACK),
        serves=serves,
        rollback=next((clause["result"] for clause in clauses if clause["id"] == WAY_BACK), UNKNOWN),
        gates=gates_of(records[-1] / "journal.jsonl") if records else {},
        diagnosis=diagnosis_of(records[-1] / "journal.jsonl") if records else UNKNOWN,
        then=then,
        evidence=evidence,
        markers=markers,
    )


def gates_of(journal: Path) -> dict[str, str]:
    """Return the gates of a run that did not pass, each with its worst verdict."""
    found: dict[str, str] = {}
    for text in journal.read_text(encoding="utf-8").splitlines():
        entry = json.loads(text)
        if entry["event"] != "gate" or entry["data"]["result"] == "PASS":
            continue
        name, result = entry["data"]["name"], entry["data"]["result"]
        found[name] = max(found.get(name, "PASS"), result, key=_SEVERITY.index)
    return found


def diagnosis_of(journal: Path) -> str:
    """Return the row of the table of causes that the first failed clause of a run names."""
    for text in journal.read_text(encoding="utf-8").splitlines():
        entry = json.loads(text)
        if entry["event"] == "clause_finished" and entry["data"]["result"] not in PASSED:
            return str(entry["data"].get("facts", {}).get("diagnosis", UNKNOWN))
    return UNKNOWN


def differences_of(fault: Fault, seen: Seen) -> Iterator[str]:
    """Say in what a run differs from the list; the words are looked for in the failing clause's record alone."""
    if seen.exit_code != fault.exit_code:
        yield f"exit code {seen.exit_code}, listed {fault.exit_code}"
    if seen.clause != fault.clause:
        yield f"failing clause {seen.clause}, listed {fault.clause}"
    if seen.serves != fault.serves:
        yield f"served by {seen.serves}, listed {fault.serves}"
    if seen.rollback != fault.rollback:
        yield f"R.1 {seen.rollback}, listed {fault.rollback}"
    record = (
        " ".join(str(seen.failing[0].get(key, "")) for key in ("reason", "cause", "remedy")) if seen.failing else ""
    )
    for kind, words in (("cause", fault.cause), ("remedy", fault.remedy)):
        for word in words:
            if word.lower() not in record.lower():
                yield f"the {kind} does not say {word!r}"
    if seen.diagnosis not in fault.diagnosis:
        yield f"the diagnosis is {seen.diagnosis}, listed {' or '.join(fault.diagnosis)}"
    if fault.gates:
        yield from gate_differences(fault, seen)
    yield from lost(fault, seen)


def gate_differences(fault: Fault, seen: Seen) -> Iterator[str]:
    """Say in what the gates of a run, and what they are to protect, differ from the list."""
    if fault.gates[0] not in seen.gates:
        yield f"the gate {fault.gates[0]} passed, or was not asked"
    for name, result in seen.gates.items():
        if name not in {*fault.gates, *fault.also}:
            yield f"the gate {name} is not listed, and was {result}"


def lost(fault: Fault, seen: Seen) -> Iterator[str]:
    """Say what became of evidence and writes, where that is not as it should be; only what was asked counts."""
    is_early = fault.clause[:1] not in faults.AFTER_TRAFFIC
    unsaid = {UNKNOWN, *(_NONE_YET if is_early else ())}
    if seen.evidence not in unsaid and (seen.evidence == asked.INTACT) == bool(fault.kind):
        yield f"evidence: {seen.evidence}"
    if fault.serves == asked.NOBODY and seen.then not in {UNKNOWN, _BLUE}:
        yield f"served by {seen.then} once the database is back"
    is_lossy = fault.base == _LOST and not is_early
    if seen.markers not in unsaid and (seen.markers == asked.EXACT) == is_lossy:
        yield f"write markers: {seen.markers}"


def unnamed(fault: Fault, said: str, failing: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say so unless the failed clause and what was printed name a broken guarantee, its code and the altered item."""
    told = re.findall(rf"{re.escape(fault.name)} {faults.MUST_LEAD_TO} (.*)", said)
    expected = [one for one in map(faults.Expected.parse, told) if one.code == fault.code]
    if not expected:
        yield "the injector does not say what it broke"
        return
    record = " ".join(str(failing[0].get(key, "")) for key in ("reason", "seen", "cause")) if failing else ""
    printed = "\n".join(line for line in said.splitlines() if faults.MUST_LEAD_TO not in line)
    words = {
        f"{one.guarantee} {faults.guarantees()[one.guarantee]}: {one.code} {one.item}"
        if fault.clause in _VERIFYING
        else one.item
        for one in expected
    }
    for place, text in (("the record", record), ("the output", printed)):
        if not any(word in text for word in words):
            yield f"{place} does not name {expected[0]}"


_ENDED = ("exit code", "R.1", "served by", "evidence", "markers", "s", "as listed")
HEAD = ("fault", "first gate", "others", "clause", *_ENDED)


def line(row: Row) -> str:
    """Return one row in one line."""
    seen = row.seen
    fired = " ".join(f"{name}={result}" for name, result in seen.gates.items())
    return (
        f"{row.fault:46} {row.strategy:8} exit {seen.exit_code}  {seen.clause:5} R.1 {seen.rollback:8} served by"
        f" {seen.serves:7} {row.duration_s:5.0f} s  {fired}"
    )


def cells(row: Row) -> list[str]:
    """Return the cells of a row as a document shows them, in the order of `HEAD`."""
    seen = row.seen
    shown = [f"`{name}` {result}" for name, result in seen.gates.items()]
    wanted = next(iter(faults.named([row.fault], row.strategy)[0].gates), "")
    first = [text for text, name in zip(shown, seen.gates, strict=True) if name == wanted]
    return [
        f"`{row.fault}`",
        *(first or ["-"]),
        ", ".join(text for text in shown if text not in first) or "-",
        seen.clause,
        str(seen.exit_code),
        seen.rollback,
        seen.serves,
        seen.evidence,
        seen.markers,
        f"{row.duration_s:.0f}",
        "yes" if not row.differences else "; ".join(row.differences),
    ]


PHASES_HEAD = ("fault", "phase", "struck at", "strategy", "fails at", "cause", *_ENDED)


def phase_cells(told: Mapping[str, Any]) -> list[str]:
    """Return a kept row as a document shows it, in the order of `PHASES_HEAD`."""
    seen = told["seen"]
    then = seen.get("then", UNKNOWN)
    return [
        f"`{told['fault']}`" + (f" {told['strategy']}" if told["strategy"] == faults.INSTANT else ""),
        faults.PHASES[told["struck_in"]],
        told["struck_at"],
        told["strategy"],
        seen["failing"][0]["id"] if seen["failing"] else "none",
        seen["diagnosis"],
        str(seen["exit_code"]),
        seen["rollback"],
        seen["serves"] if then in {seen["serves"], UNKNOWN} else f"{seen['serves']}, then {then}",
        "altered" if seen["evidence"].startswith("exit code 1") and "altered" in told["fault"] else seen["evidence"],
        seen["markers"],
        f"{told['duration_s']:.0f}",
        "; ".join(told["differences"]) or "yes",
    ]


GRID_HEAD = ("fault", *(f"{number} {title}" for number, title in faults.PHASES.items()))


def grid(results: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return a row for each fault, with what it came to in each phase; the kinds of altered evidence count as one."""
    seen = {str(told["fault"]): told for told in results}
    every = {pair[0].name: pair[0] for pair in chosen_in_phases((), None)}
    rows = []
    for first in (fault for fault in faults.load() if ":" not in fault.name):
        cells = [f"`{first.name}`"]
        for phase in faults.PHASES:
            here = [one for one in every.values() if _plain(one) == first.name and one.struck_in == phase]
            cells.append("; ".join(_shown(one, seen.get(one.name)) for one in here) or "-")
        rows.append(cells)
    return rows


def _plain(fault: Fault) -> str:
    return fault.name.partition("@")[0].partition(":")[0]


def _shown(fault: Fault, told: Mapping[str, Any] | None) -> str:
    """Return what a row came to in a few words."""
    if told is None:
        return f"{fault.clause}, not measured yet"
    found = told["seen"]
    clause = found["failing"][0]["id"] if found["failing"] else "none"
    held = "differs: " if told["differences"] else ""
    return f"{held}{clause}, exit {found['exit_code']}, {found['serves']}"


if __name__ == "__main__":
    main()
