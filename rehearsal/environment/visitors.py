"""The users that a site has of its own: a few reads a second of the public host, whoever upgrades it.

Without them nobody would use an embedded site while no run is on it, between a kill and what goes on with the upgrade
or in an observation window of days, and its metrics would show an outage. Invariants: reads alone, so that no queue and
no table grows; at random times, as many users come; what fails is in the log and troubles nobody.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time

import httpx

from rehearsal.environment import layout

PER_S = 20.0
"""So many that a gate over the shortest range has enough of them for a sample."""
PATHS = ("/api/v1/evidence?limit=1", "/api/v1/catalogue")
_BOUND_S = 5.0


def main() -> None:
    """Read for ever."""
    chance = random.Random()  # noqa: S311 - when a user comes is no secret
    with httpx.Client(base_url=f"http://{layout.PUBLIC_HOST}", timeout=_BOUND_S, trust_env=False) as client:
        due = time.monotonic()
        while True:
            due = max(due + chance.expovariate(PER_S), time.monotonic() - _BOUND_S)
            time.sleep(max(0.0, due - time.monotonic()))
            _visit(client, chance.choice(PATHS))


def _visit(client: httpx.Client, path: str) -> None:
    try:
        said = str(client.get(path).status_code)
    except httpx.HTTPError as error:
        said = type(error).__name__
    if said != str(httpx.codes.OK.value):
        with contextlib.suppress(OSError):
            sys.stdout.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {path}: {said}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
