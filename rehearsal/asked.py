"""What is asked of a site that was kept after a run, and of the processes around it: never of the run itself.

Invariants: everything is read from the site by its own means (the public host, the database, the evidence), so that a
run which reports what is not so is found out; nothing is changed but the site's end, and a database that was killed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.environment import layout

if TYPE_CHECKING:
    from collections.abc import Mapping

CUTOVER = str(layout.PROJECT / "cutover")
HERE = (sys.executable, "-m", "cutover.cli")
"""The same command line, of the checkout that this process runs from."""
URL = "http://stellaops.example/api/v1/evidence?limit=1"
SAMPLES = 20
_BACK_BOUND_S = 30.0
NOBODY = "nobody"
MIXED = "mixed"
INTACT = "intact"
EXACT = "exact"
_WHO = """
import sys, httpx
for _ in range(int(sys.argv[2])):
    try:
        answer = httpx.get(sys.argv[1], timeout=3)
        print(answer.headers.get("X-Stella-Colour", "nobody") if answer.status_code == 200 else "nobody")
    except httpx.HTTPError:
        print("nobody")
"""
_MARKERS = """
import collections, json, sys, tomllib, psycopg
target = tomllib.load(open(sys.argv[1], "rb"))
with psycopg.connect(target["database"]["dsn"]) as database:
    rows = database.execute("select number from write_markers where run = %s", (sys.argv[2],)).fetchall()
kept = collections.Counter(number for (number,) in rows)
wanted = json.load(sys.stdin)
print(json.dumps({"missing": sum(number not in kept for number in wanted), "repeated": sum(
    kept[number] > 1 for number in set(wanted)) + len(wanted) - len(set(wanted))}))
"""


def inside(name: str, *command: str, environment: Mapping[str, str], given: str = "") -> tuple[int, str]:
    """Run a command inside the site; return its exit code and what it wrote to its output."""
    done = subprocess.run(
        [*HERE, "env", "exec", "--name", name, "--", *command],
        check=False,
        capture_output=True,
        text=True,
        input=given,
        env=environment,
    )
    return done.returncode, done.stdout


def who_serves(name: str, environment: Mapping[str, str]) -> str:
    """Ask the public host of a kept site, with reads from the database; `nobody` when no answer is good."""
    _, said = inside(name, sys.executable, "-c", _WHO, URL, str(SAMPLES), environment=environment)
    answers = said.split()
    colours = {colour for colour in answers if colour != NOBODY}
    if not colours:
        return NOBODY
    return colours.pop() if len(set(answers)) == 1 and len(answers) == SAMPLES else MIXED


def who_serves_with_database(name: str, environment: Mapping[str, str]) -> str:
    """Bring a killed database of a kept site back, and ask who serves then, for some seconds; `nobody` when none does.

    The one thing that is changed here: without its database nobody can say what was lost.
    """
    root = str(layout.Place.named(name).root)
    inside(name, sys.executable, "-m", "rehearsal.environment.mending", "--state", root, environment=environment)
    deadline = time.monotonic() + _BACK_BOUND_S
    while (found := who_serves(name, environment)) in {NOBODY, MIXED} and time.monotonic() < deadline:
        time.sleep(1)
    return found


def markers(name: str, record: Path, environment: Mapping[str, str]) -> str:
    """Compare the acknowledged write markers of a record with the table, one by one; `exact`, or what differs."""
    wanted: dict[str, list[int]] = {}
    for path in sorted((record / "load").glob("**/markers*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            wanted.setdefault(entry["run"], []).append(entry["number"])
    if not wanted:
        return "none was acknowledged"
    found = {"missing": 0, "repeated": 0}
    target = str(layout.Place.named(name).target)
    for run, numbers in wanted.items():
        command = (sys.executable, "-c", _MARKERS, target, run)
        code, said = inside(name, *command, environment=environment, given=json.dumps(numbers))
        if code != 0:
            return "not readable"
        found = {key: found[key] + count for key, count in json.loads(said).items()}
    if not any(found.values()):
        return EXACT
    return f"{found['missing']} missing, {found['repeated']} repeated of {sum(map(len, wanted.values()))}"


def evidence(name: str, record: Path, environment: Mapping[str, str]) -> str:
    """Verify the site's evidence against the record's sealed baseline, by a pass of its own; `intact`, or what not."""
    baseline = record / "evidence" / "before"
    if not (baseline / "manifest.json").exists():
        return "no baseline"
    target = str(layout.Place.named(name).target)
    verifying = ("-m", "cutover.cli", "evidence", "verify", "--target", target, "--baseline", str(baseline))
    code, said = inside(name, sys.executable, *verifying, environment=environment)
    return INTACT if code == 0 else f"exit code {code}: {said.strip().splitlines()[-1] if said.strip() else 'no word'}"


def remove(name: str, environment: Mapping[str, str]) -> None:
    """Remove a kept site."""
    subprocess.run([*HERE, "env", "down", "--name", name], check=True, env=environment, capture_output=True)


def processes_marked(variable: str, mark: str) -> list[str]:
    """Name the processes that carry `variable=mark` in their environment."""
    wanted, found = f"{variable}={mark}".encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80])
        except OSError:
            continue
    return found
