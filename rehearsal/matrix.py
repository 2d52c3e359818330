"""Runs every listed fault and compares its outcome with `contract/faults.toml`: `python -m rehearsal.matrix`.

A row holds when the exit code, the failing clause, the cause in words, the remedy and who serves are as listed, and no
process of the run is left. The process exits 0 only when every row holds.
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
@click.option("--records", type=click.Path(path_type=Path), help="Keep the records here.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table to this file.")
def main(names: tuple[str, ...], strategy: str, records: Path | None, markdown: Path | None) -> None:
    """Rehearse with each fault NAME (all of them without one) and compare with contract/faults.toml."""
    chosen = faults.named(names, strategy) if names else faults.load(strategy)
    folder = records or Path(tempfile.mkdtemp(prefix="cutover-matrix-"))
    rows = []
    for fault in chosen:
        row = run(fault, strategy, folder / f"{strategy}-{fault.name}")
        rows.append(row)
        click.echo(f"{'✔' if not row.differences else '✘'} {line(row)}")
        for difference in row.differences:
            click.echo(f"    {difference}")
    if markdown is not None:
        markdown.write_text(table(rows), encoding="utf-8")
    held = sum(not row.differences for row in rows)
    click.echo(f"{held} passed, {len(rows) - held} failed")
    sys.exit(0 if rows and held == len(rows) else 1)


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
    kept = re.search(r"--name (\S+)", (folder / "output.txt").read_text(encoding="utf-8", errors="replace"))
    serves = "unknown"
    if kept is not None:
        serves = who_serves(kept[1], environment)
        subprocess.run([CUTOVER, "env", "down", "--name", kept[1]], check=True, env=environment, capture_output=True)
    verdicts = sorted(folder.glob("*/verdict.json"))
    verdict: dict[str, Any] = json.loads(verdicts[-1].read_text(encoding="utf-8")) if verdicts else {}
    failing = [item for item in verdict.get("clauses", []) if item["result"] not in PASSED]
    differences = list(differences_of(fault, finished.returncode, failing, serves))
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
        f"{row.fault:18} {row.strategy:8} exit {row.exit_code}  {row.clause:5} served by {row.serves:7}"
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
