"""Jobs that stay in blue's queue: `python -m rehearsal.held --state FOLDER hold|release`, inside of a site's sandbox.

`hold` lets blue's worker take nothing any more and gives blue jobs of its own, by its Service and not by the public
route; `release` lets the worker go on. Invariant: blue acknowledged each job, so each is a job that its removal would
lose.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import httpx

from rehearsal.environment import layout

SWITCH = "queue-stuck"
"""Of the platform: its worker leaves its queue alone while this is there."""
JOBS = 5
_BLUE = f"http://stellaops-blue.{layout.BLUE_NAMESPACE}.svc.cluster.local"
_LOOKED_AFTER_S = 1.0
"""The worker looks at its switches twice a second."""


def hold(place: layout.Place, url: str = _BLUE) -> int:
    """Stop blue's worker, give blue jobs, and return how many it acknowledged. Raises: httpx.HTTPError."""
    fresh = place.root / f".switch-{SWITCH}"
    fresh.write_text(json.dumps({"colour": "blue"}), encoding="utf-8")
    fresh.replace(place.faults / SWITCH)
    time.sleep(_LOOKED_AFTER_S)
    with httpx.Client(base_url=url, timeout=5, trust_env=False) as blue:
        for number in range(JOBS):
            blue.post("/api/v1/scans", json={"image": f"registry.stella.test/held/{number}:1.0"}).raise_for_status()
    return JOBS


def release(place: layout.Place) -> None:
    """Let blue's worker go on."""
    (place.faults / SWITCH).unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> None:
    """Do what is asked for and say so."""
    parser = argparse.ArgumentParser(description="Jobs that stay in blue's queue.")
    parser.add_argument("--state", type=Path, required=True, help="the environment's folder")
    parser.add_argument("what", choices=("hold", "release"))
    asked = parser.parse_args(arguments)
    place = layout.Place.at(asked.state)
    if asked.what == "hold":
        sys.stdout.write(f"blue's worker takes nothing, and {hold(place)} jobs are in its queue\n")
    else:
        release(place)
        sys.stdout.write("blue's worker works on its queue\n")


if __name__ == "__main__":
    main()
