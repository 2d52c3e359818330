"""Stops real rehearsals while green has a quarter of the traffic, and says what became of them.

`python -m rehearsal.cancel`: each way of stopping is a run of its own, `./cutover rehearse`, stopped during the bake of
clause 3.1b. Asked once, a run finishes its action, restores blue and writes its record; asked twice, it stops now and
leaves its journal. Invariants: each run has a terminal of its own, and signals go where that or a job runner sends
them; who serves is asked of the site; the process exits 0 only when every case is as it should be.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from rehearsal import asked, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "CUTOVER_CANCEL_RUN"
LONGEST_RUN_S = 300
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Requests to stop, as the run knows them."""
BOUND_S = 5.0
WEIGHT = 25
_INTO_THE_BAKE_S = 3.0
_BETWEEN_S = 0.3
_LOOK_S = 0.02
_INCOMPLETE = 4
HEAD = ("stopped by", "seconds until ended", "exit code", "served by", "R.1", "record", "as designed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way of stopping a run."""

    name: str
    signals: tuple[signal.Signals, ...] = ()
    """Empty where the terminal is closed: the kernel sends SIGHUP then, and no line can be written any more."""
    to_group: bool = True
    """Sent to the whole foreground group, as a terminal does."""

    @property
    def is_twice(self) -> bool:
        """Whether the run is to stop now."""
        return len(self.signals) > 1


CASES = (
    Case(name="Ctrl-C", signals=(signal.SIGINT,)),
    Case(name="Ctrl-C twice", signals=(signal.SIGINT, signal.SIGINT)),
    Case(name="SIGTERM", signals=(signal.SIGTERM,), to_group=False),
    Case(name="SIGHUP: the terminal is closed"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a stopped run."""

    took_s: float
    """From the first signal until the process had ended."""
    exit_code: int
    serves: str
    rollback: str
    record: str
    """`written`: verdict and sealed journal; `journal left`: a journal that says where the run stood, no verdict."""
    left: tuple[str, ...]
    """Processes of the run that are still there."""

    def differences(self, case: Case) -> Iterator[str]:
        """Say in what it is not what the design says."""
        if self.took_s > BOUND_S:
            yield f"{self.took_s:.1f} s, at most {BOUND_S:g}"
        if self.exit_code != _INCOMPLETE:
            yield f"exit code {self.exit_code}, not {_INCOMPLETE}"
        if self.record != ("journal left" if case.is_twice else "written"):
            yield f"record {self.record}"
        if not case.is_twice and (self.serves, self.rollback) != ("blue", "PASS"):
            yield f"served by {self.serves}, R.1 {self.rollback}"
        if self.left:
            yield f"left running: {', '.join(self.left)}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--records", type=click.Path(path_type=Path), help="Keep the records here.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Put the rows into this document's table.")
@click.option("--only", metavar="WORDS", default="", help="Only the cases whose name holds these words.")
def main(*, records: Path | None, markdown: Path | None, only: str) -> None:
    """Stop a rehearsal at weight 25 in each way, and compare with what the design says."""
    folder = records or Path(tempfile.mkdtemp(prefix="cutover-cancel-"))
    sound = True
    for number, case in enumerate(CASES):
        if only not in case.name:
            continue
        outcome = perform(case, folder / str(number))
        differences = list(outcome.differences(case))
        sound = sound and not differences
        row = cells(case, outcome, differences)
        click.echo(f"{'✘' if differences else '✔'} " + "  ".join(row))
        if markdown is not None:
            tables.written(markdown, "cancelled", HEAD, [row])
    sys.exit(0 if sound else 1)


def cells(case: Case, outcome: Outcome, differences: list[str]) -> list[str]:
    """Return the cells of a row, in the order of `HEAD`."""
    return [
        case.name,
        f"{outcome.took_s:.1f}",
        str(outcome.exit_code),
        outcome.serves,
        outcome.rollback,
        outcome.record,
        "; ".join(differences) or "yes",
    ]


def perform(case: Case, folder: Path) -> Outcome:
    """Rehearse, stop the run at weight 25, and look at what is there then. Raises: LookupError when it never was."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = f"{case.name}-{time.time_ns()}"
    environment = {**os.environ, MARK: mark}
    output = folder / "output.txt"
    command = [asked.CUTOVER, "rehearse", "--keep", "--strategy", "gradual", "--record", str(folder)]
    with Terminal(output) as terminal:
        run = subprocess.Popen(
            command,
            stdin=terminal.line,
            stdout=terminal.line,
            stderr=terminal.line,
            env=environment,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - the reader's thread holds no lock that it could want
        )
        try:
            _wait_for_weight(folder, run)
            time.sleep(_INTO_THE_BAKE_S)
            began = time.monotonic()
            for at, number in enumerate(case.signals):
                time.sleep(_BETWEEN_S if at else 0.0)
                (os.killpg if case.to_group else os.kill)(run.pid, number)
            if not case.signals:
                terminal.close()
            exit_code = run.wait(LONGEST_RUN_S)
            took_s = time.monotonic() - began
        finally:
            if run.poll() is None:
                run.kill()
                run.wait()
    named = re.search(r"^environment (\S+)", output.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    serves = asked.who_serves(named[1], environment) if named else "unknown"
    if named is not None:
        asked.remove(named[1], environment)
    rollback, record = _record(folder)
    return Outcome(
        took_s=took_s,
        exit_code=exit_code,
        serves=serves,
        rollback=rollback,
        record=record,
        left=tuple(asked.processes_marked(MARK, mark)),
    )


class Terminal:
    """A terminal of one's own for a run: what it shows goes to a file, until it is closed."""

    def __init__(self, output: Path) -> None:
        """Open it. output: the file."""
        self._ours, self.line = os.openpty()
        self._wake, self._waker = os.pipe()
        self._reader = threading.Thread(target=self._read, args=(output,), daemon=True)
        self._reader.start()

    def _read(self, output: Path) -> None:
        with output.open("wb") as file:
            while self._wake not in (ready := select.select([self._ours, self._wake], [], [])[0]):
                file.write(os.read(ready[0], 65536))
                file.flush()

    def close(self) -> None:
        """Hang up, once: the kernel tells the processes at the other end."""
        if self._waker >= 0:
            os.close(self.line)
            os.write(self._waker, b".")
            self._reader.join()
            for descriptor in (self._ours, self._wake, self._waker):
                os.close(descriptor)
            self._waker = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _take_terminal() -> None:
    """Make standard input the terminal of the session that was just begun."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _wait_for_weight(folder: Path, run: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LONGEST_RUN_S
    while run.poll() is None and time.monotonic() < deadline:
        for entry in _entries(folder):
            if entry["event"] == "weight" and entry["data"].get("percent") == WEIGHT:
                return
        time.sleep(_LOOK_S)
    raise LookupError(f"the run never came to weight {WEIGHT}, see {folder / 'output.txt'}")


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    for journal in folder.glob("*/journal.jsonl"):
        for line in journal.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


def _record(folder: Path) -> tuple[str, str]:
    """Return the result of R.1, and what state the record is in."""
    told = [entry["event"] for entry in _entries(folder)]
    verdicts = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*/verdict.json")]
    clauses = verdicts[0]["clauses"] if verdicts else []
    rollback = next((clause["result"] for clause in clauses if clause["id"] == "R.1"), "-")
    if verdicts and told[-1:] == ["run_finished"] and "run_interrupted" in told:
        return rollback, "written"
    if not verdicts and told and "run_finished" not in told:
        return rollback, "journal left"
    return rollback, f"with {len(verdicts)} verdicts, journal ends with {told[-1] if told else 'nothing'}"


if __name__ == "__main__":
    main()
