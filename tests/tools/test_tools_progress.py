"""What is shown while programs are made: what, how long it usually takes, how much is left, and never silence."""

import io

import pytest

from rehearsal.tools.progress import HEARTBEAT_S, Estimate, PlainDisplay, Row, Step, TerminalDisplay, spoken

STEPS = (
    Step(name="a", title="downloading a", row=Row.DOWNLOAD, usually_s=10),
    Step(name="b", title="building b", row=Row.BUILD, usually_s=300),
    Step(name="c", title="building c", row=Row.BUILD, usually_s=100),
)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (41, "41 s"), (89, "89 s"), (90, "1 min 30 s"), (299, "5 min"), (301, "5 min"), (1000, "17 min")],
)
def test_durations_are_said_as_a_person_would(seconds: float, text: str) -> None:
    assert spoken(seconds) == text


def test_rows_run_side_by_side_so_the_longer_counts() -> None:
    estimate = Estimate(clock=Clock())
    estimate.plan(STEPS)
    assert estimate.remaining_s() == 400


def test_what_is_left_follows_the_pace_seen_so_far() -> None:
    clock = Clock()
    estimate = Estimate(clock=clock)
    estimate.plan(STEPS)
    estimate.states["b"].began_s = clock()
    clock.now_s += 300
    estimate.states["b"].fraction = 0.5
    assert estimate.remaining_s() == pytest.approx(2 * (150 + 100))


def test_plain_lines_say_beginning_end_and_what_is_left() -> None:
    clock, stream = Clock(), io.StringIO()
    display = PlainDisplay(stream, clock=clock)
    display.plan(STEPS)
    display.begin("a")
    clock.now_s += 5
    display.end("a")
    assert stream.getvalue().splitlines() == [
        "tools: 3 things to make: usually 7 min on two cores, once",
        "tools: downloading a (usually 10 s)",
        "tools: downloading a: done in 5 s; about 7 min left",
    ]


def test_silence_is_broken_by_a_heartbeat_with_the_detail() -> None:
    clock, stream = Clock(), io.StringIO()
    display = PlainDisplay(stream, clock=clock)
    display.plan(STEPS)
    display.begin("b")
    display.advance("b", 0.1, "30 of about 300 packages compiled")
    said = len(stream.getvalue().splitlines())
    clock.now_s += HEARTBEAT_S - 1
    display.tick()
    assert len(stream.getvalue().splitlines()) == said
    clock.now_s += 1
    display.tick()
    line = stream.getvalue().splitlines()[-1]
    assert line.startswith("tools: building b: 30 of about 300 packages compiled, 20 s; about ")
    assert HEARTBEAT_S <= 30


def test_bars_show_every_step_and_the_whole() -> None:
    stream = io.StringIO()
    with TerminalDisplay(stream, clock=Clock()) as display:
        display.plan(STEPS)
        for step in STEPS:
            display.begin(step.name)
            display.advance(step.name, 0.5, "half")
            display.end(step.name)
        display.note("a note")
        display.tick()
    shown = stream.getvalue()
    for text in ("downloading a", "building b", "building c", "all", "a note"):
        assert text in shown
