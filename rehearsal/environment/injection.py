"""The injector: follows the journal of a run and switches each armed fault on at its clause.

Runs inside the sandbox, beside the run, and ends with the `rehearse` that started it. Invariants: a fault strikes once;
what it did is in `logs/injector.log`; nothing of the run knows of it. What each fault does is in `strikes`.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.environment import faults, layout
from rehearsal.environment.sitedata import Secrets
from rehearsal.environment.strikes import Injector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BAKE = "bake"
READY = "injector-ready"
"""File in the environment's folder: what strikes at the start has struck, and the journal is awaited."""
_LOOK_S = 0.03


def journals(record: Path) -> set[Path]:
    """Journals in a record folder or in the folders right below it."""
    return {*record.glob("journal.jsonl"), *record.glob("*/journal.jsonl")}


def fresh_journal(record: Path, before: set[Path]) -> Path:
    """Wait for a run that is not in `before`, and return its journal."""
    while not (fresh := journals(record) - before):
        time.sleep(_LOOK_S)
    return min(fresh)


def events(journal: Path) -> Iterator[tuple[str, str]]:
    """Yield clause and event of each line that a run writes in a clause, for ever.

    The first sample of a gate after a weight is `bake` besides: what came before it was no bake.
    """
    weighted = ""
    with journal.open(encoding="utf-8") as file:
        held = ""
        while True:
            held += file.readline()
            if not held.endswith("\n"):
                time.sleep(_LOOK_S)
                continue
            entry, held = json.loads(held), ""
            clause, event = str(entry.get("clause") or ""), str(entry["event"])
            if not clause:
                continue
            yield clause, event
            if event == "weight":
                weighted = clause
            elif event == "gate" and weighted == clause:
                weighted = ""
                yield clause, BAKE


def inject(injector: Injector, armed: Sequence[faults.Fault], record: Path) -> None:
    """Strike with every armed fault at its time; returns when all have struck."""
    before = journals(record)
    waiting = [fault for fault in armed if fault.strikes_at != faults.START]
    for fault in armed:
        if fault not in waiting:
            injector.strike(fault)
    (injector.place.root / READY).touch()
    if not waiting:
        return
    injector.journal = fresh_journal(record, before)
    for moment in events(injector.journal):
        for fault in [each for each in waiting if (each.strikes_at, each.strikes_on) == moment]:
            injector.strike(fault)
            waiting.remove(fault)
        if not waiting:
            return


def main() -> None:
    """Inject the faults named on the command line, then keep what is held until killed."""
    parser = argparse.ArgumentParser(prog="rehearsal.environment.injection")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--strategy", default="gradual")
    parser.add_argument("--fault", action="append", default=[])
    arguments = parser.parse_args()
    place = layout.Place.at(arguments.state)
    injector = Injector(place=place, known=Secrets.read(place.root))
    inject(injector, faults.named(arguments.fault, arguments.strategy), arguments.record)
    signal.pause()


if __name__ == "__main__":
    main()
