"""The rollback matrix: upgrades that are aborted after a clause and sent back, and must leave the site as it was.

`python -m rehearsal.wayback`: each case is a site of its own, from nothing, in the fast profile. It is looked at, its
upgrade is killed as soon as a clause has passed, and `./cutover rollback` is asked for. Invariants: what a site was
like is asked of the site, before and after, never of the run; green may stay, what category A added to the schema may
stay, evidence may grow, and nothing else may differ; a row that was as it should be is not measured again.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rehearsal import asked, chained, survey, tables, upgrades
from rehearsal.environment import layout, lifecycle
from rehearsal.killing import Moment, Order
from rehearsal.moments import of_shard
from rehearsal.upgrades import STRATEGIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "wayback-"
CLAUSES = (
    *("2.1a", "2.1b", "2.2a", "2.2b", "2.3a", "2.3b"),
    *("3.1a", "3.1b", "3.1c", "3.1d", "3.2", "3.3a", "3.3b", "3.3c", "3.3d"),
    *("4.1a", "4.1b", "E.1", "E.2", "E.3", "E.4", "E.5", "E.6", "E.7", "E.8"),
    *("4.2a", "4.2b", "4.2c", "4.3a", "4.3b", "4.3c", "5.1", "5.2a", "5.2b"),
    "C.1",
)
"""Those after which an upgrade is aborted: from green's installation to blue's end, and the breaking migration."""
BREAKING = frozenset({"C.1"})
"""These are no run's: the run goes to its end, and `./cutover contract` performs them on its record."""
GRADUAL_ALONE = frozenset({"3.1a", "3.1b", "3.1c", "3.1d"})
BEFORE_TRAFFIC = frozenset({"2.1a", "2.1b", "2.2a", "2.2b", "2.3a", "2.3b"})
"""After these nothing has moved, and there is nothing to send back."""
ROLLED_BACK = "ROLLED_BACK"
_GREEN = layout.GREEN_NAMESPACE
_BRIDGE = f"{layout.BLUE_NAMESPACE}/{layout.GREEN_NAMESPACE}"
"""The Service beside the public route that leads to green: harmless without a route that names it."""
_KEPT = re.compile(r".+_replaced_[0-9a-z_]+")
"""The name of a database that a restored one took the place of: dated, for a record's id is."""
_ADDED = ("columns", "constraints", "indexes")
HEAD = ("aborted after", "strategy", "verdict", "served by", "evidence", "markers", "s", "as before")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one aborted upgrade."""

    clause: str
    strategy: str
    verdict: str
    serves: str
    evidence: str
    markers: str
    rollback_s: float
    differences: tuple[str, ...]
    ended: str

    @property
    def name(self) -> str:
        """What it is known by."""
        return name_of(self.clause, self.strategy)


def name_of(clause: str, strategy: str) -> str:
    """Return what the row of a clause and a strategy is known by."""
    return f"{clause} {strategy}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("clauses", nargs=-1)
@click.option("--strategy", "strategies", type=click.Choice(STRATEGIES), multiple=True, help="Both unless given.")
@click.option("--shard", default="1/1", show_default=True, metavar="N/M", help="The N-th of M parts of the rows.")
@click.option("--bound-s", type=float, help="Begin no further row after so many seconds.")
@click.option("--results", type=click.Path(path_type=Path), help="Keep results and records here; go on with those.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Put the rows into this document's table.")
def main(
    *,
    clauses: tuple[str, ...],
    strategies: tuple[str, ...],
    shard: str,
    bound_s: float | None,
    results: Path | None,
    markdown: Path | None,
) -> None:
    """Abort upgrades after each of CLAUSES, all unless given, send them back, and compare the site with before."""
    began = time.monotonic()
    folder = (results or Path(tempfile.mkdtemp(prefix="cutover-wayback-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    lifecycle.remove_dead(PREFIX)
    number, _, of = shard.partition("/")
    for clause, strategy in of_shard(wanted(clauses, strategies), int(number), int(of or 1)):
        if name_of(clause, strategy) in {known(one) for one in results_in(folder) if not one["differences"]}:
            continue
        if bound_s is not None and time.monotonic() - began > bound_s:
            click.echo(f"{name_of(clause, strategy)} and what follows: not begun, {bound_s:g} s are over")
            break
        row = perform(clause, strategy, folder)
        with (folder / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")
        click.echo(f"{'✘' if row.differences else '✔'} {row.name}  {row.verdict}  served by {row.serves}")
        for difference in row.differences:
            click.echo(f"    {difference}")
    found = results_in(folder)
    if markdown is not None and found:
        tables.written(markdown, "rollback matrix", HEAD, [cells(one) for one in sorted(found, key=_place_of)])
    sound = sum(not one["differences"] for one in found)
    click.echo(f"{sound} of {len(found)} as before")
    sys.exit(0 if found and sound == len(found) else 1)


def wanted(clauses: tuple[str, ...], strategies: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return clause and strategy of every row that is asked for, in the order of a run."""
    return [
        (clause, strategy)
        for strategy in strategies or STRATEGIES
        for clause in CLAUSES
        if clause in (clauses or CLAUSES) and not (strategy == "instant" and clause in GRADUAL_ALONE)
    ]


def results_in(folder: Path) -> list[dict[str, Any]]:
    """Return the newest result of every row so far."""
    path = folder / "results.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return list({known(one): one for one in map(json.loads, lines)}.values())


def _place_of(one: Mapping[str, Any]) -> tuple[int, str]:
    return CLAUSES.index(one["clause"]), one["strategy"]


def known(document: Mapping[str, Any]) -> str:
    """Return what a result is known by."""
    return name_of(document["clause"], document["strategy"])


def cells(one: Mapping[str, Any]) -> list[str]:
    """Return a row as a document shows it, in the order of `HEAD`."""
    said = [known(one), *(str(one[name]) for name in ("strategy", "verdict", "serves", "evidence", "markers"))]
    return [*said, f"{one['rollback_s']:.0f}", "; ".join(one["differences"]) or "yes"]


def perform(clause: str, strategy: str, folder: Path) -> Row:
    """Bring a site up, abort its upgrade after a clause, send it back, and compare."""
    own = folder / name_of(clause, strategy).replace(" ", "-")
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    environment = dict(os.environ)
    with upgrades.site(f"{PREFIX}{strategy}-{clause.replace('.', '-')}".lower(), strategy) as (place, _):
        before = upgrades.look_at(place)
        order = Order(moments=(Moment(event="clause_finished", clause=clause, is_whole=True),), told=str(own / "told"))
        nothing = Order(moments=(), told="")
        command = ["run", "--target", str(place.target), "--record", str(own), "--strategy", strategy]
        is_breaking = clause in BREAKING
        run = upgrades.attempt(place, command, output=own / "output-1.txt", order=nothing if is_breaking else order)
        record = upgrades.record_in(own)
        if is_breaking and run.exit_code == 0:
            command = ["contract", str(record), "--target", str(place.target)]
            run = upgrades.attempt(place, command, output=own / "output-contract.txt", order=order)
        command = ["rollback", str(record), "--target", str(place.target), "--reason", f"aborted after {clause}"]
        back = upgrades.attempt(place, command, output=own / "output-2.txt", order=nothing)
        after = upgrades.look_at(place)
        serves = asked.who_serves(place.name, environment)
        evidence = asked.evidence(place.name, record, environment)
        markers = asked.markers(place.name, record, environment)
    (own / "before.json").write_text(json.dumps(before, indent=1), encoding="utf-8")
    (own / "after.json").write_text(json.dumps(after, indent=1), encoding="utf-8")
    verdict = str(upgrades.read_document(record / "verdict.json").get("result", "none"))
    differences = [
        *of_processes(clause, run, back, verdict),
        *of_site(before, after, is_locked=clause in BEFORE_TRAFFIC, is_replaced=clause in BREAKING),
        *of_proof(serves=serves, evidence=evidence, markers=markers, clause=clause),
        *(f"the journal's chain breaks at line {at}" for at in [chained.broken_line(record / "journal.jsonl")] if at),
    ]
    if not differences:
        upgrades.keep_little(own)
    return Row(
        clause=clause,
        strategy=strategy,
        verdict=verdict,
        serves=serves,
        evidence=evidence,
        markers=markers,
        rollback_s=back.duration_s,
        differences=tuple(differences),
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def of_processes(clause: str, run: upgrades.Attempt, back: upgrades.Attempt, verdict: str) -> Iterator[str]:
    """Say how the abort and the way back ended, where that is not as it should be."""
    if run.exit_code != upgrades.KILLED:
        yield f"the run did not come to {clause}: exit code {run.exit_code}, see {run.output}"
    if clause in BEFORE_TRAFFIC:
        if back.exit_code != 0:
            yield f"nothing was to be sent back, and the rollback ended with exit code {back.exit_code}"
    elif (verdict, back.exit_code) != (ROLLED_BACK, 0):
        yield f"the verdict is {verdict}, exit code {back.exit_code}, see {back.output}"


def of_proof(*, serves: str, evidence: str, markers: str, clause: str) -> Iterator[str]:
    """Say what was lost, or who serves in blue's place."""
    if serves != "blue":
        yield f"served by {serves}"
    if evidence != asked.INTACT:
        yield f"evidence: {evidence}"
    # The load begins with green's installation; before its end no write may have been acknowledged yet.
    if markers != asked.EXACT and clause not in BEFORE_TRAFFIC:
        yield f"write markers: {markers}"


def of_site(
    before: survey.Facts, after: survey.Facts, *, is_locked: bool = False, is_replaced: bool = False
) -> list[str]:
    """Name what is not as it was, what may be different left out.

    is_locked: the lock of the killed run may still be there, where nobody had anything to do after it. is_replaced: the
    database was restored, and the one that it replaced is kept under a dated name; exactly one.
    """
    expected, found = _compared(before, before), _compared(after, before)
    if is_locked:
        found["leases held"] = expected["leases held"]
    if is_replaced:
        names = found["databases"]["names"]
        kept = [name for name in names if _KEPT.fullmatch(name) and name not in expected["databases"]["names"]]
        found["databases"]["names"] = [name for name in names if name not in kept[:1]]
    return survey.differences(expected, found)


def _compared(facts: survey.Facts, before: survey.Facts) -> survey.Facts:
    """Return of a site's facts those that a way back must restore.

    Left out: green's namespace and all in it, the bridge to it, what was archived, how often a route was changed, and
    what category A added: columns, constraints and indexes that were not there before, and its row of a migration.
    """
    kept = copy.deepcopy(facts)
    del kept[survey.ONCE], kept["store"]["archive"]
    for kind in ("namespaces", "deployments", "services", "ingresses", "HTTP routes"):
        kept[kind] = {name: said for name, said in kept[kind].items() if not _is_greens(name)}
    for kind in ("configuration", "grants"):
        kept[kind] = [name for name in kept[kind] if not _is_greens(name)]
    for database in ("evidence database", "log database"):
        for kind in _ADDED:
            held = before[database][kind]
            kept[database][kind] = {name: said for name, said in kept[database][kind].items() if name in held}
    table, held = kept["evidence database"]["migrations"], before["evidence database"]["migrations"]
    kept["evidence database"]["migrations"] = [row for row in table if row in held or not row[1].startswith("A ")]
    return kept


def _is_greens(name: str) -> bool:
    return name == _BRIDGE or name.partition("/")[0] == _GREEN


if __name__ == "__main__":
    main()
