"""How fast the evidence library is, each figure against an anchor that was measured in the same run.

    .venv/bin/python bench/evidence.py [--json] [--items 100000] [--rounds 3] [--only KEY…]

Makes what it measures: files, snapshots of generated lines, and an embedded site of its own whose items have 4 KiB each
(made once, kept in the cache), which is removed afterwards. Anchor and harness take turns; medians count.
Every key is an object: `value` against the `bar`, `ours` and `anchor` in `unit`, and whether the bar is `met`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if sys.path[0] == str(ROOT / "bench"):
    sys.path[0] = str(ROOT)  # a file beside this one has the name of a standard module

NAME = "bench-evidence"
OBJECT_BYTES = 4096
LOCAL_KEYS = (
    "hash_local_per_core",
    "hash_local_two_cores",
    "signature_per_core",
    "signature_two_cores",
    "merkle_root",
    "diff_1m_seconds",
    "diff_1m_mb",
    "diff_10x_time",
    "diff_10x_memory",
)
SITE_KEYS = ("hash_s3", "verify_100k_seconds", "executor")
KEYS = (*LOCAL_KEYS[:2], SITE_KEYS[0], *LOCAL_KEYS[2:], *SITE_KEYS[1:])

Figures = dict[str, dict[str, Any]]


def measure_local() -> Figures:
    """Measure what needs no site."""
    from bench import evidence_local  # noqa: PLC0415 (found on the path that is corrected above)

    return evidence_local.measure()


def measure_site(keys: list[str], items: int, rounds: int) -> Figures:
    """Measure on an embedded site of its own."""
    sized = ["--items", str(items), "--object-bytes", str(OBJECT_BYTES)] if set(keys) != {"hash_s3"} else []
    _cutover("env", "up", "--name", NAME, "--data-only", *sized, stdout=sys.stderr)
    try:
        status = json.loads(_cutover("env", "status", "--name", NAME, "--json", stdout=subprocess.PIPE).stdout)
        command = [sys.executable, "-m", "bench.evidence_site", "--target", status["target"]]
        command += ["--rounds", str(rounds), *keys]
        done = _cutover("env", "exec", "--name", NAME, "--", *command, stdout=subprocess.PIPE, cwd=ROOT)
        found: Figures = json.loads(done.stdout)
        return found
    finally:
        _cutover("env", "down", "--name", NAME, stdout=sys.stderr)


def _cutover(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401 (of subprocess.run)
    return subprocess.run([str(ROOT / "cutover"), *arguments], check=True, text=True, **options)


def table(found: Figures) -> str:
    """Return the figures for people, anchors beside them."""
    lines = [f"{'':22} {'value':>9} {'ours':>12} {'anchor':>12} {'':8} bar"]
    for key, figure in found.items():
        lines.append(
            f"{key:22} {figure['value']:>9.4g} {figure['ours']:>12.5g} {figure['anchor']:>12.5g} {figure['unit']:8} "
            f"{'met' if figure['met'] else 'MISSED'}: {figure['bar']}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--items", type=int, default=100_000, help="of the site (default 100000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often anchor and harness take turns (default 3)")
    parser.add_argument("--only", nargs="+", choices=KEYS, metavar="KEY", help=f"some of: {', '.join(KEYS)}")
    arguments = parser.parse_args()
    wanted = [key for key in KEYS if key in (arguments.only or KEYS)]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before", file=sys.stderr)
    found: Figures = {}
    if set(wanted) & set(LOCAL_KEYS):
        found |= measure_local()
    on_site = [key for key in wanted if key in SITE_KEYS]
    if on_site:
        found |= measure_site(on_site, arguments.items, arguments.rounds)
    ordered = {key: found[key] for key in wanted}
    print(json.dumps(ordered, indent=2) if arguments.json else table(ordered))


if __name__ == "__main__":
    main()
