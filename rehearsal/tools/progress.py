"""Showing how far the making of the binaries is: bars on a terminal, plain lines elsewhere.

What reports are: a `Step` begins, says how far it is, ends. What is shown never decides anything. All methods may be
called from any thread. Remaining time is the longer of the two rows that run side by side, downloads and builds.
"""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID

HEARTBEAT_S = 20.0
_TICK_S = 1.0
_LEARNT_FROM_S = 15.0
_SLOWEST = 6.0


class Row(Enum):
    """Which of the two rows that run side by side a step is in; the steps of a row come one after another."""

    DOWNLOAD = "download"
    BUILD = "build"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to make: `title` as it is shown, `usually_s` seconds on two cores."""

    name: str
    title: str
    row: Row
    usually_s: float


class Display(Protocol):
    """What makes things reports to this."""

    def __enter__(self) -> Self:
        """Start to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop to show."""

    def plan(self, steps: tuple[Step, ...]) -> None:
        """Say all that will be done, in order."""

    def begin(self, name: str) -> None:
        """Say that the step called `name` starts."""

    def advance(self, name: str, fraction: float, detail: str) -> None:
        """Say that `fraction`, 0 to 1, of the step is done, and what it is at."""

    def end(self, name: str) -> None:
        """Say that the step is done."""

    def note(self, text: str) -> None:
        """Say something worth a line of its own."""


@dataclass(slots=True, kw_only=True)
class _State:
    step: Step
    began_s: float | None = None
    ended_s: float | None = None
    fraction: float = 0.0
    detail: str = ""


@dataclass(slots=True)
class Estimate:
    """What is known of every step, and from it the seconds that are left."""

    clock: Callable[[], float] = time.monotonic
    states: dict[str, _State] = field(default_factory=dict)

    def plan(self, steps: tuple[Step, ...]) -> None:
        """Take up `steps`."""
        self.states = {step.name: _State(step=step) for step in steps}

    def elapsed_s(self, name: str) -> float:
        """Return the seconds that the step has taken so far, or took."""
        state = self.states[name]
        if state.began_s is None:
            return 0.0
        return (self.clock() if state.ended_s is None else state.ended_s) - state.began_s

    def remaining_s(self) -> float:
        """Return the seconds that are probably left until everything is done."""
        return max((self._row_remaining_s(row) for row in Row), default=0.0)

    def running(self) -> tuple[str, ...]:
        """Return the names of the steps that have begun and not ended."""
        return tuple(name for name, state in self.states.items() if state.began_s is not None and state.ended_s is None)

    def _row_remaining_s(self, row: Row) -> float:
        states = [state for state in self.states.values() if state.step.row is row]
        usual_s = sum(self._progress(state) * state.step.usually_s for state in states)
        taken_s = sum(self.elapsed_s(state.step.name) for state in states)
        pace = min(max(taken_s / usual_s, 1 / _SLOWEST), _SLOWEST) if usual_s > _LEARNT_FROM_S else 1.0
        return pace * sum((1 - self._progress(state)) * state.step.usually_s for state in states)

    @staticmethod
    def _progress(state: _State) -> float:
        return 1.0 if state.ended_s is not None else state.fraction


def spoken(seconds: float) -> str:
    """Return a duration as a person would say it: `40 s`, `about` left to the caller, `3 min`, `2 min 30 s`."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    minutes, rest = divmod(round(seconds / 10) * 10, 60)
    return f"{minutes} min {rest} s" if rest and minutes < 5 else f"{round(seconds / 60)} min"


class _Base:
    """What both displays share: the estimate, and a thread that ticks."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._estimate = Estimate(clock=clock)
        self._clock = clock
        self._guard = threading.RLock()
        self._stopped = threading.Event()
        self._ticker: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._ticker = threading.Thread(target=self._run, daemon=True, name="progress")
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._ticker is not None:
            self._ticker.join()

    def _run(self) -> None:
        while not self._stopped.wait(_TICK_S):
            with self._guard:
                self.tick()

    def tick(self) -> None:
        """Do what has to be done about once a second."""

    def advance(self, name: str, fraction: float, detail: str) -> None:
        """Keep how far the step is; ticks show it."""
        with self._guard:
            state = self._estimate.states[name]
            state.fraction = min(max(fraction, 0.0), 0.99)
            state.detail = detail


class PlainDisplay(_Base):
    """One line for each beginning and end, and one at least every `HEARTBEAT_S` seconds in between."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self._stream = stream
        self._last_line_s = clock()

    def plan(self, steps: tuple[Step, ...]) -> None:
        """Say what will be done and how long it usually takes."""
        with self._guard:
            self._estimate.plan(steps)
            things = "1 thing" if len(steps) == 1 else f"{len(steps)} things"
            self._line(f"{things} to make: usually {spoken(self._estimate.remaining_s())} on two cores, once")

    def begin(self, name: str) -> None:
        """Say that the step starts and how long it usually takes."""
        with self._guard:
            state = self._estimate.states[name]
            state.began_s = self._clock()
            self._line(f"{state.step.title} (usually {spoken(state.step.usually_s)})")

    def end(self, name: str) -> None:
        """Say that the step is done and what is left."""
        with self._guard:
            state = self._estimate.states[name]
            state.ended_s = self._clock()
            left = self._estimate.remaining_s()
            rest = f"; about {spoken(left)} left" if left else ""
            self._line(f"{state.step.title}: done in {spoken(self._estimate.elapsed_s(name))}{rest}")

    def note(self, text: str) -> None:
        """Write `text` as a line."""
        with self._guard:
            self._line(text)

    def tick(self) -> None:
        """Write a line when nothing was written for long."""
        if self._clock() - self._last_line_s < HEARTBEAT_S:
            return
        running = self._estimate.running()
        if not running:
            return
        told = []
        for name in running:
            state = self._estimate.states[name]
            detail = f"{state.detail}, " if state.detail else ""
            told.append(f"{state.step.title}: {detail}{spoken(self._estimate.elapsed_s(name))}")
        self._line(f"{'; '.join(told)}; about {spoken(self._estimate.remaining_s())} left in all")

    def _line(self, text: str) -> None:
        self._last_line_s = self._clock()
        self._stream.write(f"tools: {text}\n")
        self._stream.flush()


class TerminalDisplay(_Base):
    """A bar for each step, and one line for the whole."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        from rich.console import Console  # noqa: PLC0415 - rich takes longer to import than the usual answer takes
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        self._bars: RichBars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[detail]}"),
            console=Console(file=stream),
        )
        self._tasks: dict[str, TaskID] = {}
        self._whole: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, traceback)
        self.tick()
        self._bars.stop()

    def plan(self, steps: tuple[Step, ...]) -> None:
        """Put a bar up for every step."""
        with self._guard:
            self._estimate.plan(steps)
            for step in steps:
                detail = f"usually {spoken(step.usually_s)}"
                self._tasks[step.name] = self._bars.add_task(step.title, total=1.0, start=False, detail=detail)
            self._whole = self._bars.add_task("[bold]all", total=1.0, detail="")
            self.tick()

    def begin(self, name: str) -> None:
        """Start the step's bar."""
        with self._guard:
            self._estimate.states[name].began_s = self._clock()
            self._bars.start_task(self._tasks[name])

    def end(self, name: str) -> None:
        """Fill the step's bar."""
        with self._guard:
            self._estimate.states[name].ended_s = self._clock()
            self._bars.update(self._tasks[name], completed=1.0, detail="done")
            self._bars.stop_task(self._tasks[name])

    def note(self, text: str) -> None:
        """Write `text` above the bars."""
        with self._guard:
            self._bars.console.print(text, markup=False, highlight=False)

    def tick(self) -> None:
        """Move the running bars and the whole."""
        for name in self._estimate.running():
            state = self._estimate.states[name]
            usual = f"usually {spoken(state.step.usually_s)}"
            # a step that reports nothing is moved by the clock, up to nine tenths
            guessed = min(self._estimate.elapsed_s(name) / state.step.usually_s, 0.9)
            detail = f"{state.detail}, {usual}" if state.detail else usual
            self._bars.update(self._tasks[name], completed=state.fraction or guessed, detail=detail)
        if self._whole is None:
            return
        left_s = self._estimate.remaining_s()
        taken_s = max((self._estimate.elapsed_s(name) for name in self._estimate.states), default=0.0)
        whole = taken_s / (taken_s + left_s) if taken_s + left_s else 1.0
        self._bars.update(self._whole, completed=whole, detail=f"about {spoken(left_s)} left" if left_s else "done")


def automatic_display() -> Display:
    """Return bars where stderr is a terminal, plain lines on stderr elsewhere."""
    return TerminalDisplay(sys.stderr) if sys.stderr.isatty() else PlainDisplay(sys.stderr)
