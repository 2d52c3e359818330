"""Runs every listed fault and compares its outcome with `contract/faults.toml`: `python -m rehearsal.matrix`.

A row holds when the exit code, the failing clause, the cause in words, the remedy and who serves are as listed, and no
process of the run is left. Where evidence was altered, the failed clause's record must name what the injector says that
it broke: guarantee, code and item. The process exits 0 only when every row holds.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rehearsal.environment import faults, layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rehearsal.environment.faults import Fault

MARK = "CUTOVER_MATRIX_RUN"
"""Environment variable by which the processes of one run are found again."""
LONGEST_RUN_S = 900
PASSED = {"PASS", "NOT_RUN"}
CUTOVER = str(layout.PROJECT / "cutover")
URL = "http://stellaops.example/api/v1/evidence?limit=1"
SAMPLES = 20
_ASK = """
import sys, httpx
for _ in range(int(sys.argv[2])):
    try:
        answer = httpx.get(sys.argv[1], timeout=3)
        print(answer.headers.get("X-Stella-Colour", "nobody") if answer.status_code == 200 else "nobody")
    except httpx.HTTPError:
        print("nobody")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one fault led to, and in what it differs from the list; nothing when it holds."""

    fault: str
    strategy: str
    exit_code: int
    clause: str
    serves: str
    duration_s: float
    differences: tuple[str, ...]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1)
@click.option("--strategy", type=click.Choice(["gradual", "instant"]), default="gradual", show_default=True)
@click.option("--kinds", is_flag=True, help="Every kind of altered evidence too, evidence-altered:KIND.")
@click.option("--records", type=click.Path(path_type=Path), help="Keep the records here.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table to this file.")
def main(names: tuple[str, ...], strategy: str, *, kinds: bool, records: Path | None, markdown: Path | None) -> None:
    """Rehearse with each fault NAME and compare with contract/faults.toml.

    A NAME may be a pattern: 'evidence-altered:log-*'. Without one, every fault is rehearsed; the kinds of altered
    evidence with --kinds only, each being a run of its own.
    """
    chosen = chosen_faults(names, strategy, kinds=kinds)
    folder = records or Path(tempfile.mkdtemp(prefix="cutover-matrix-"))
    rows = []
    for fault in chosen:
        row = run(fault, strategy, folder / f"{strategy}-{fault.name}".replace(":", "-"))
        rows.append(row)
        click.echo(f"{'✔' if not row.differences else '✘'} {line(row)}")
        for difference in row.differences:
            click.echo(f"    {difference}")
    if markdown is not None:
        markdown.write_text(table(rows), encoding="utf-8")
    held = sum(not row.differences for row in rows)
    click.echo(f"{held} passed, {len(rows) - held} failed")
    sys.exit(0 if rows and held == len(rows) else 1)


def chosen_faults(names: tuple[str, ...], strategy: str, *, kinds: bool) -> tuple[Fault, ...]:
    """Return the faults that the command line asks for. Raises: EnvironmentFault for a name that matches none."""
    of_kinds = f"{faults.ALTERED}:"
    if not names:
        return tuple(fault for fault in faults.load(strategy) if kinds or not fault.name.startswith(of_kinds))
    return faults.matching([*names, *([f"{of_kinds}*"] if kinds else [])], strategy)


def run(fault: Fault, strategy: str, folder: Path) -> Row:
    """Rehearse with one fault, ask the public host who serves, remove the site, and compare."""
    mark = f"{fault.name}-{time.time_ns()}"
    environment = {**os.environ, MARK: mark}
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    command = ["rehearse", "--keep", "--fault", fault.name, "--strategy", strategy, "--record", str(folder)]
    with (folder / "output.txt").open("wb") as output:
        finished = subprocess.run(
            [CUTOVER, *command],
            check=False,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=LONGEST_RUN_S,
        )
    duration_s = time.monotonic() - began
    said = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
    kept = re.search(r"--name (\S+)", said)
    serves = "unknown"
    if kept is not None:
        serves = who_serves(kept[1], environment)
        subprocess.run([CUTOVER, "env", "down", "--name", kept[1]], check=True, env=environment, capture_output=True)
    verdicts = sorted(folder.glob("*/verdict.json"))
    verdict: dict[str, Any] = json.loads(verdicts[-1].read_text(encoding="utf-8")) if verdicts else {}
    failing = [item for item in verdict.get("clauses", []) if item["result"] not in PASSED]
    differences = list(differences_of(fault, finished.returncode, failing, serves))
    if fault.kind:
        differences += unnamed(fault, said, failing)
    if left := processes_marked(mark):
        differences.append(f"left running: {', '.join(left)}")
    return Row(
        fault=fault.name,
        strategy=strategy,
        exit_code=finished.returncode,
        clause=failing[0]["id"] if failing else "none",
        serves=serves,
        duration_s=duration_s,
        differences=tuple(differences),
    )


def who_serves(name: str, environment: Mapping[str, str]) -> str:
    """Ask the public host of a kept site, with reads from the database; `nobody` when no answer is good."""
    command = [CUTOVER, "env", "exec", "--name", name, "--", sys.executable, "-c", _ASK, URL, str(SAMPLES)]
    asked = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    answers = asked.stdout.split()
    colours = {colour for colour in answers if colour != "nobody"}
    if not colours:
        return "nobody"
    return colours.pop() if len(set(answers)) == 1 and len(answers) == SAMPLES else "mixed"


def differences_of(fault: Fault, exit_code: int, failing: list[dict[str, Any]], serves: str) -> Iterator[str]:
    """Say in what a run differs from the list; the words are looked for in the failing clause's record alone."""
    if exit_code != fault.exit_code:
        yield f"exit code {exit_code}, listed {fault.exit_code}"
    if not failing or failing[0]["id"] != fault.clause:
        yield f"failing clause {failing[0]['id'] if failing else 'none'}, listed {fault.clause}"
    if serves != fault.serves:
        yield f"served by {serves}, listed {fault.serves}"
    record = " ".join(str(failing[0].get(key, "")) for key in ("reason", "cause", "remedy")).lower() if failing else ""
    for kind, words in (("cause", fault.cause), ("remedy", fault.remedy)):
        for word in words:
            if word.lower() not in record:
                yield f"the {kind} does not say {word!r}"


def unnamed(fault: Fault, said: str, failing: list[dict[str, Any]]) -> Iterator[str]:
    """Say so unless the failed clause and what was printed name a broken guarantee, its code and the altered item."""
    told = re.findall(rf"{re.escape(fault.name)} {faults.MUST_LEAD_TO} (.*)", said)
    expected = [one for one in map(faults.Expected.parse, told) if one.code == fault.code]
    if not expected:
        yield "the injector does not say what it broke"
        return
    record = " ".join(str(failing[0].get(key, "")) for key in ("reason", "cause")) if failing else ""
    printed = "\n".join(line for line in said.splitlines() if faults.MUST_LEAD_TO not in line)
    for place, text in (("the record", record), ("the output", printed)):
        if not any(
            f"{one.guarantee} {faults.guarantees()[one.guarantee]}: {one.code} {one.item}" in text for one in expected
        ):
            yield f"{place} does not name {expected[0]}"


def processes_marked(mark: str) -> list[str]:
    """Name the processes that still carry a run's mark in their environment."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80])
        except OSError:
            continue
    return found


def line(row: Row) -> str:
    """Return one row in one line."""
    return (
        f"{row.fault:46} {row.strategy:8} exit {row.exit_code}  {row.clause:5} served by {row.serves:7}"
        f" {row.duration_s:5.0f} s"
    )


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| fault | strategy | exit code | clause | served by | seconds | as listed |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row.fault}` | {row.strategy} | {row.exit_code} | {row.clause} | {row.serves} | {row.duration_s:.0f} "
        f"| {'yes' if not row.differences else '; '.join(row.differences)} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
