"""How fast and how light a cutover is, measured by real rehearsals, each figure against its bar.

    .venv/bin/python bench/cutover.py [--json] [--rounds 2] [--only KEY…]

Each rehearsal makes an embedded site of its own and removes it; site, load, probe and harness share the cores.
Every key is an object: `value` against the `bar`, `ours` and `anchor` in `unit`, and whether the bar is `met`; what the
value was made from stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if sys.path[0] == str(ROOT / "bench"):
    sys.path[0] = str(ROOT)  # a file beside this one has the name of the project's package

from bench import cutover_record, processes  # noqa: E402 (found on the path that is corrected above)
from cutover.runbook import records  # noqa: E402

FAULT = "green-errors"
HARNESS = "-m cutover.cli run"
BESIDE = ("locust", "load/probe.py")
"""Words of the commands that are the load: not the harness's own."""
SEEN_FAILING = 1
RECORD_KEYS = ("harness_cpu_share", "step_overhead")
BREACH_KEYS = ("breach_to_blue_s", "gate_interval_s")
LOAD_KEYS = ("load_ratio", "freeze_p99_error")
KEYS = (*BREACH_KEYS, LOAD_KEYS[0], RECORD_KEYS[0], LOAD_KEYS[1], RECORD_KEYS[1])
CPU_BAR = 0.1
OVERHEAD_BAR = 0.05

Figures = dict[str, dict[str, Any]]


def figure(value: float, *, ours: float, anchor: float, unit: str, bar: str, met: bool, **facts: Any) -> dict[str, Any]:  # noqa: ANN401 (any JSON)
    """Return one figure with what it is compared with."""
    rounded = {"value": value, "ours": ours, "anchor": anchor}
    return {
        **{key: float(f"{number:.4g}") for key, number in rounded.items()},
        "unit": unit,
        "bar": bar,
        "met": met,
        **facts,
    }


# -- rehearsals --------------------------------------------------------------------------------------------------------


def rehearse(folder: Path, *arguments: str, expected: int) -> tuple[Path, tuple[processes.Look, processes.Look]]:
    """Rehearse into a folder; return the record, and the first and last look at the harness beside the load."""
    command = [str(ROOT / "cutover"), "rehearse", "--record", str(folder), *arguments]
    process = subprocess.Popen(command, stdout=sys.stderr)
    try:
        with processes.Watch(below=process.pid, root=HARNESS, left_out=BESIDE) as watch:
            code = process.wait()
    finally:
        process.terminate()
    if code != expected:
        raise SystemExit(f"{' '.join(command)} ended with {code} (expected {expected}); nothing was measured")
    return records.newest(folder).folder, watch.beside_others()


def measure_run(folder: Path) -> Figures:
    """Rehearse once without a fault: the harness's CPU share beside the load, and the steps' own time."""
    record, (first, last) = rehearse(folder, expected=0)
    return {"harness_cpu_share": cpu_share(first, last), "step_overhead": step_overhead(record)}


def cpu_share(first: processes.Look, last: processes.Look) -> dict[str, Any]:
    """Return the CPU time of harness and children, the load left out, by that of all cores."""
    cores = os.cpu_count() or 1
    wall_s = last.time_s - first.time_s
    ours_s, root_s = last.all_s - first.all_s, last.root_s - first.root_s
    share = ours_s / (cores * wall_s)
    return figure(
        share,
        ours=ours_s,
        anchor=cores * wall_s,
        unit="CPU s",
        bar=f"at most {CPU_BAR}",
        met=share <= CPU_BAR,
        cores=cores,
        harness_process_s=round(root_s, 2),
        commands_s=round(ours_s - root_s, 2),
    )


def step_overhead(record: Path) -> dict[str, Any]:
    """Return the time that the steps themselves took by that of the run."""
    with (record / "journal.jsonl").open(encoding="utf-8") as lines:
        found = cutover_record.overhead(lines)
    return figure(
        found.share,
        ours=found.own_s,
        anchor=found.total_s,
        unit="s",
        bar=f"at most {OVERHEAD_BAR}",
        met=found.share <= OVERHEAD_BAR,
        with_actions=round(found.share_with_actions, 4),
        commands_s=round(found.commands_s, 2),
        actions_s=round(found.actions_s, 2),
        bakes_s=round(found.bakes_s, 2),
        waits_s=round(found.waits_s, 2),
        most={clause: round(took_s, 2) for clause, took_s in list(found.by_clause_s.items())[:6]},
    )


def measure_breach(folder: Path, rounds: int) -> Figures:
    """Rehearse with a green that answers wrongly; the slowest way back counts."""
    found: list[tuple[cutover_record.Breach, float]] = []
    for number in range(rounds):
        record, _ = rehearse(folder / str(number), "--fault", FAULT, expected=SEEN_FAILING)
        found.append((cutover_record.breach(record), cutover_record.gate_interval_s(record)))
    worst, interval_s = max(found, key=lambda pair: pair[0].took_s)
    allowed_s = 2 * interval_s + cutover_record.SLACK_S
    return {
        "breach_to_blue_s": figure(
            worst.took_s,
            ours=worst.took_s,
            anchor=allowed_s,
            unit="s",
            bar=f"at most 2 gate intervals and {cutover_record.SLACK_S:g} s",
            met=worst.took_s <= allowed_s,
            rounds=[round(one.took_s, 3) for one, _ in found],
            probe_bad_answers=[one.bad for one, _ in found],
        ),
        "gate_interval_s": figure(
            interval_s, ours=interval_s, anchor=interval_s, unit="s", bar="the policy's", met=True
        ),
    }


def measure_load(keys: list[str]) -> Figures:
    """Measure the load generator and the probe by themselves."""
    from bench import load  # noqa: PLC0415 (brings an HTTP server along)

    return {key: {"load_ratio": load.load_ratio, "freeze_p99_error": load.freeze_p99_error}[key]() for key in keys}


# -- telling -----------------------------------------------------------------------------------------------------------


def table(found: Figures) -> str:
    """Return the figures for people, anchors beside them."""
    lines = [f"{'':18} {'value':>9} {'ours':>10} {'anchor':>10} {'':10} bar"]
    for key, one in found.items():
        lines.append(
            f"{key:18} {one['value']:>9.4g} {one['ours']:>10.5g} {one['anchor']:>10.5g} {one['unit']:10} "
            f"{'met' if one['met'] else 'MISSED'}: {one['bar']}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--rounds", type=int, default=2, help="rehearsals with a bad green (default 2)")
    parser.add_argument("--only", nargs="+", choices=KEYS, metavar="KEY", help=f"some of: {', '.join(KEYS)}")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the records of the rehearsals there")
    arguments = parser.parse_args()
    wanted = [key for key in KEYS if key in (arguments.only or KEYS)]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before", file=sys.stderr)
    found: Figures = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        if set(wanted) & set(LOAD_KEYS):
            found |= measure_load([key for key in wanted if key in LOAD_KEYS])
        if set(wanted) & set(RECORD_KEYS):
            found |= measure_run(folder / "passed")
        if set(wanted) & set(BREACH_KEYS):
            found |= measure_breach(folder / "broken", arguments.rounds)
    ordered = {key: found[key] for key in wanted}
    print(json.dumps(ordered, indent=2) if arguments.json else table(ordered))


if __name__ == "__main__":
    main()
