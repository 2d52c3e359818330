"""The kill test: upgrades that are killed again and again, and must end as if they never had been.

`python -m rehearsal.chaos`: each case is a site of its own, from nothing, in the fast profile. Its run is killed with
SIGKILL at chosen moments, each time gone on with by `./cutover resume`, and in the end compared with a run that was
never killed. Invariants: who judges asks the site and the record's files, never the code of the run; what was done is
in `results.jsonl`, a line each time, and what was as it should be is not done again; the process exits 0 only when
every case is as it should be.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rehearsal import asked, chained, killing, survey, tables, upgrades
from rehearsal.environment import layout, lifecycle
from rehearsal.moments import Case, Kill, cases, of_shard
from rehearsal.upgrades import STRATEGIES, Attempt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PREFIX = "chaos-"
SHOWN = 12
"""Of the differences of one case; all are in its result."""
PASSED = "PASSED"
CHANGING = frozenset(
    {"install green", "run migrations", "shift", "promote", "update document", "decommission", "delete namespace"}
)
"""Actions that change the site: each is done once, whatever happens."""
SURVEY, RESULT = "survey.json", "result.json"
_PHASES = {"prerequisites": "1", "evidence": "4", **{number: number for number in "12345"}}
"""What is part of which phase, by the name that a plan has for it."""
_TORN = '{"seq":'
_MARKS = ("percent", "document", "release", "category", "to", "namespace")
"""What tells one such action from another of its name."""
HEAD = ("strategy", "sites", "kills", "inside of actions", "with half a line", "as uninterrupted", "s a site")
TIMES = (
    "strategy",
    "site up",
    "phase 1",
    "phase 2",
    "phase 3",
    "phase 4",
    "phase 5",
    "start and record",
    "run, in all",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one case."""

    case: str
    strategy: str
    kills: tuple[Kill, ...]
    struck: tuple[bool, ...]
    """Of each kill, whether the run came to its moment."""
    attempts: tuple[Attempt, ...]
    came_up_s: float
    duration_s: float
    differences: tuple[str, ...]
    ended: str
    """When, in UTC."""
    commit: str
    """Of the checkout; empty when there is none."""

    def document(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return asdict(self)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--strategy", "strategies", type=click.Choice(STRATEGIES), multiple=True, help="Both unless given.")
@click.option("--kills", type=click.IntRange(min=0), default=20, show_default=True, help="Of each strategy; 0: all.")
@click.option("--kills-per-site", type=click.IntRange(min=1), default=1, show_default=True, help="In one upgrade.")
@click.option("--shard", default="1/1", show_default=True, metavar="N/M", help="The N-th of M parts of the cases.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of which moments are chosen.")
@click.option("--bound-s", type=float, help="Begin no further case after so many seconds.")
@click.option("--results", type=click.Path(path_type=Path), help="Keep results and records here; go on with those.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Put the results into this document's table.")
@click.option("--new-reference", is_flag=True, help="Perform the uninterrupted runs again.")
@click.option("--dry-run", is_flag=True, help="Say when each run would be killed.")
def main(
    *,
    strategies: tuple[str, ...],
    kills: int,
    kills_per_site: int,
    shard: str,
    seed: int,
    bound_s: float | None,
    results: Path | None,
    markdown: Path | None,
    new_reference: bool,
    dry_run: bool,
) -> None:
    """Kill runs of an upgrade, go on with each, and compare the end with that of an uninterrupted run."""
    began = time.monotonic()
    folder = (results or Path(tempfile.mkdtemp(prefix="cutover-chaos-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    number, _, of = shard.partition("/")
    lifecycle.remove_dead(PREFIX)
    sound = True
    for strategy in strategies or STRATEGIES:
        entries = reference(folder, strategy, again=new_reference)
        every = cases(entries, strategy, seed=seed, kills=kills, kills_per_site=kills_per_site)
        for case in of_shard(every, int(number), int(of or 1)):
            if dry_run:
                click.echo(f"{case.name}: {'; '.join(str(kill.moment) for kill in case.kills)}")
                continue
            if case.name in {done["case"] for done in results_in(folder) if not done["differences"]}:
                continue
            if bound_s is not None and time.monotonic() - began > bound_s:
                click.echo(f"{case.name} and what follows: not begun, {bound_s:g} s are over")
                break
            result = perform(case, folder)
            with (folder / "results.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(result.document()) + "\n")
            click.echo(line(result))
    found = results_in(folder)
    sound = all(not one["differences"] for one in found)
    if markdown is not None and found:
        tables.written(markdown, "kill test", HEAD, rows(found))
        tables.written(markdown, "fast profile", TIMES, [one for one in map(spent_in, references(folder)) if one])
    for row in rows(found):
        click.echo("  ".join(f"{name} {cell}" for name, cell in zip(HEAD, row, strict=True)))
    sys.exit(0 if sound and (found or dry_run) else 1)


def results_in(folder: Path) -> list[dict[str, Any]]:
    """Return the newest result of every case so far."""
    path = folder / "results.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return list({one["case"]: one for one in map(json.loads, lines)}.values())


def line(result: Result) -> str:
    """Return a result in words, one line and one more for each difference."""
    struck = sum(result.struck)
    head = f"{'✘' if result.differences else '✔'} {result.case}  killed {struck} of {len(result.kills)} times"
    more = len(result.differences) - SHOWN
    rest = [f"and {more} more, in results.jsonl"] if more > 0 else []
    return "\n    ".join([f"{head}, {result.duration_s:.0f} s", *result.differences[:SHOWN], *rest])


def rows(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the table's rows: one a strategy, in the order of `HEAD`."""
    said = []
    for strategy in STRATEGIES:
        mine = [one for one in found if one["strategy"] == strategy]
        if not mine:
            continue
        struck = [kill for one in mine for kill, hit in zip(one["kills"], one["struck"], strict=True) if hit]
        sound = sum(not one["differences"] for one in mine)
        said.append(
            [
                strategy,
                str(len(mine)),
                str(len(struck)),
                str(sum(kill["moment"]["after_s"] > 0 for kill in struck)),
                str(sum(kill["is_torn"] for kill in struck)),
                f"{sound} of {len(mine)}",
                f"{sum(one['duration_s'] for one in mine) / len(mine):.0f}",
            ]
        )
    return said


def references(folder: Path) -> list[Path]:
    """Return the folders of the uninterrupted runs that there are."""
    return [folder / f"reference-{strategy}" for strategy in STRATEGIES if (folder / f"reference-{strategy}").exists()]


def spent_in(kept: Path) -> list[str]:
    """Return where the time of an uninterrupted run went, in seconds, in the order of `TIMES`."""
    result = upgrades.read_document(kept / RESULT)
    plan = upgrades.read_document(upgrades.record_in(kept) / "plan.json")
    if not result or not plan:
        return []
    phase_of = {clause["id"]: str(clause["phase"]) for clause in plan["clauses"]}
    spent: dict[str, float] = defaultdict(float)
    for entry in chained.entries(upgrades.record_in(kept) / "journal.jsonl"):
        if entry["event"] == "clause_finished":
            spent[_PHASES.get(phase_of.get(entry["clause"], ""), "")] += entry["data"].get("duration_s") or 0.0
    run_s = result["attempts"][0]["duration_s"]
    phases = [spent[number] for number in "12345"]
    rest_s = run_s - sum(phases)
    return [result["strategy"], *(f"{value:.1f}" for value in (result["came_up_s"], *phases, rest_s, run_s))]


# -- performing --------------------------------------------------------------------------------------------------------


def reference(folder: Path, strategy: str, *, again: bool = False) -> list[dict[str, Any]]:
    """Return the journal that moments are chosen from: of an upgrade that nobody interrupted.

    What its site was like is kept beside it; made once. again: the site is looked at anew, after the code has changed;
    the moments stay, so that what was done is known again.
    Raises: LookupError when it does not pass.
    """
    kept, chosen_from = folder / f"reference-{strategy}", folder / f"moments-{strategy}.jsonl"
    if again or not (kept / SURVEY).exists():
        (kept / SURVEY).unlink(missing_ok=True)
        result = perform(Case(strategy=strategy, kills=()), folder, kept=kept)
        if result.differences:
            (kept / SURVEY).unlink(missing_ok=True)
            raise LookupError(f"the uninterrupted {strategy} run is not sound: {'; '.join(result.differences)}")
        (kept / RESULT).write_text(json.dumps(result.document(), indent=1), encoding="utf-8")
        click.echo(f"✔ reference {strategy}, {result.attempts[0].duration_s:.0f} s")
    if not chosen_from.exists():
        shutil.copy(upgrades.record_in(kept) / "journal.jsonl", chosen_from)
    return chained.entries(chosen_from)


def perform(case: Case, folder: Path, *, kept: Path | None = None) -> Result:
    """Bring a site up, run, kill and go on until the upgrade is through, then judge. kept: where, for the reference."""
    own = kept or folder / case.name
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    began = time.monotonic()
    with upgrades.site(f"{PREFIX}{case.name}", case.strategy) as (place, came_up_s):
        attempts, struck = _go_through(place, case, own)
        expected = folder / f"reference-{case.strategy}" / SURVEY
        differences = list(judge(place, own, attempts=attempts, killed=sum(struck), expected=expected))
    if not differences and kept is None:
        upgrades.keep_little(own)
    return Result(
        case=case.name,
        strategy=case.strategy,
        kills=case.kills,
        struck=tuple(struck),
        attempts=tuple(attempts),
        came_up_s=came_up_s,
        duration_s=round(time.monotonic() - began, 1),
        differences=tuple(differences),
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=upgrades.commit(),
    )


def _go_through(place: layout.Place, case: Case, own: Path) -> tuple[list[Attempt], list[bool]]:
    """Start the upgrade and go on with it after each kill, until an attempt ends by itself."""
    attempts: list[Attempt] = []
    struck = [False] * len(case.kills)
    told = own / "told"
    while not attempts or attempts[-1].exit_code == upgrades.KILLED:
        left = [number for number, hit in enumerate(struck) if not hit]
        told.unlink(missing_ok=True)
        order = killing.Order(moments=tuple(case.kills[number].moment for number in left), told=str(told))
        output = own / f"output-{len(attempts) + 1}.txt"
        attempts.append(upgrades.attempt(place, _command(place, own, case.strategy), output=output, order=order))
        if attempts[-1].exit_code == upgrades.KILLED and told.exists():
            number = left[int(told.read_text(encoding="ascii"))]
            struck[number] = True
            if case.kills[number].is_torn:
                _tear(own)
    return attempts, struck


def _command(place: layout.Place, own: Path, strategy: str) -> list[str]:
    """Return what begins the upgrade, or goes on with it; a record that has no line yet is no record."""
    record = upgrades.record_in(own)
    if record.exists():
        return ["resume", str(record), "--target", str(place.target)]
    return ["run", "--target", str(place.target), "--record", str(own), "--strategy", strategy]


def _tear(own: Path) -> None:
    """Leave half a line at the end of the journal, as a process does that dies while it writes."""
    path = upgrades.record_in(own) / "journal.jsonl"
    if path.exists():
        with path.open("a", encoding="utf-8") as file:
            file.write(_TORN)


# -- judging -----------------------------------------------------------------------------------------------------------


def judge(place: layout.Place, own: Path, *, attempts: Sequence[Attempt], killed: int, expected: Path) -> Iterator[str]:
    """Say in what an upgrade that was killed differs from one that was not; its survey is kept beside it.

    expected: the survey of the site where nobody was killed; what is compared when it is not there is nothing.
    """
    environment = dict(os.environ)
    record = upgrades.record_in(own)
    if attempts[-1].exit_code != 0:
        yield f"attempt {len(attempts)} ended with exit code {attempts[-1].exit_code}, see {attempts[-1].output}"
        return  # what the site is like then follows from it
    verdict = upgrades.read_document(record / "verdict.json")
    if verdict.get("result") != PASSED:
        yield f"the verdict is {verdict.get('result', 'absent')}"
    yield from of_journal(record / "journal.jsonl", killed=killed)
    serves = asked.who_serves(place.name, environment)
    if serves != "green":
        yield f"served by {serves}"
    for what, found, wanted in (
        ("evidence", asked.evidence(place.name, record, environment), asked.INTACT),
        ("write markers", asked.markers(place.name, record, environment), asked.EXACT),
    ):
        if found != wanted:
            yield f"{what}: {found}"
    site = upgrades.look_at(place)
    (own / SURVEY).write_text(json.dumps(site, ensure_ascii=False, indent=1), encoding="utf-8")
    if expected.exists():
        yield from survey.differences(upgrades.read_document(expected), site)


def of_journal(path: Path, *, killed: int) -> Iterator[str]:
    """Say what is wrong with the journal of an upgrade that was killed so many times and ended."""
    broken = chained.broken_line(path)
    if broken:
        yield f"the journal's chain does not hold at line {broken}"
        return
    entries = chained.entries(path)
    begun = [entry for entry in entries if entry["event"] == "run_started"]
    resumed = [entry for entry in entries if entry["event"] == "run_resumed"]
    interrupted = sum(bool(entry["data"].get("interrupted")) for entry in resumed)
    # A process that was killed before it had a record left none: the next one began the upgrade.
    if len(begun) != 1 or len(resumed) > killed or interrupted != len(resumed):
        yield f"{len(begun)} beginnings, {len(resumed)} resumed, {interrupted} as interrupted; {killed} kills"
    done = Counter(_deed(entry) for entry in entries if entry["event"] == "done" and _changes(entry))
    for deed, count in sorted(done.items()):
        if count > 1:
            yield f"done {count} times: {deed}"


def _changes(entry: Mapping[str, Any]) -> bool:
    return entry["data"].get("action") in CHANGING


def _deed(entry: Mapping[str, Any]) -> str:
    data = entry["data"]
    return " ".join([str(data["action"]), *(str(data[name]) for name in _MARKS if name in data)])


if __name__ == "__main__":
    main()
