"""The supervisor's order: what starts when, and what a failure leaves."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest

from rehearsal.environment.errors import PartFailed
from rehearsal.environment.parts import Job, Part
from rehearsal.environment.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rehearsal.environment.layout import Place

SLEEP = ("sleep", "60")


def _supervisor(place: Place, parts: Sequence[Part], jobs: Sequence[Job] = ()) -> Supervisor:
    place.logs().mkdir()
    return Supervisor(place=place, parts=parts, jobs=jobs)


def _bring_up(supervisor: Supervisor) -> None:
    async def run() -> None:
        try:
            await supervisor.bring_up()
        finally:
            await supervisor.stop()

    asyncio.run(run())


def _appears(path: Path) -> Callable[[], bool]:
    return path.exists


def test_a_part_starts_only_when_those_before_it_are_ready(place: Place) -> None:
    mark = place.root / "mark"
    parts = [
        Part(name="second", argv=("sh", "-c", f"test -e {mark} && exec sleep 60"), after=("first", "work")),
        Part(name="first", argv=("sh", "-c", f"sleep 0.1; touch {mark}; exec sleep 60"), ready=_appears(mark)),
    ]
    done: list[float] = []
    supervisor = _supervisor(place, parts, [Job(name="work", work=lambda: done.append(time.monotonic()))])
    _bring_up(supervisor)
    assert done
    told = json.loads(place.status.read_text())["parts"]
    assert told["second"]["ready_after_s"] >= told["first"]["ready_after_s"]
    assert told["work"]["state"] == "done"


def test_a_part_that_ends_too_soon_fails_the_whole_and_is_named(place: Place) -> None:
    parts = [
        Part(name="good", argv=SLEEP),
        Part(name="broken", argv=("sh", "-c", "echo why >&2; exit 3"), ready=lambda: False),
    ]
    with pytest.raises(ExceptionGroup) as caught:
        _bring_up(_supervisor(place, parts))
    (failure,) = caught.value.exceptions
    assert isinstance(failure, PartFailed)
    assert "broken ended before it was ready (exit code 3)" in str(failure)
    assert place.logs("broken").read_text() == "why\n"


def test_a_job_that_fails_says_why_in_its_log(place: Place) -> None:
    def fail() -> None:
        raise LookupError("no such thing")

    with pytest.raises(ExceptionGroup):
        _bring_up(_supervisor(place, [], [Job(name="work", work=fail)]))
    assert place.logs("work").read_text() == "LookupError: no such thing\n"


def test_a_part_that_outlives_its_signal_is_killed_only_if_it_survives_that(place: Place) -> None:
    deaf = place.root / "deaf"
    stubborn = ("sh", "-c", f"trap '' TERM; touch {deaf}; while :; do sleep 0.05; done")
    _bring_up(
        _supervisor(
            place, [Part(name="store", argv=stubborn, ready=_appears(deaf), stop_bound_s=0.2, survives_kill=True)]
        )
    )
    deaf.unlink()
    part = Part(name="database", argv=stubborn, ready=_appears(deaf), stop_bound_s=0.2)
    supervisor = Supervisor(place=place, parts=[part], jobs=[])

    async def run() -> None:
        await supervisor.bring_up()
        try:
            with pytest.raises(PartFailed, match="database did not end within"):
                await supervisor.stop()
        finally:
            process = supervisor._processes["database"]
            process.kill()
            await process.wait()

    asyncio.run(run())


def test_what_ends_later_is_noted_and_not_restarted(place: Place) -> None:
    supervisor = _supervisor(place, [Part(name="short", argv=("sleep", "0.1")), Part(name="long", argv=SLEEP)])

    async def run() -> None:
        await supervisor.bring_up()
        watching = asyncio.create_task(supervisor.watch())
        while supervisor.states["short"].state != "ended":  # noqa: ASYNC110 - the state is what is tested
            await asyncio.sleep(0.02)
        watching.cancel()
        await supervisor.stop()

    asyncio.run(run())
    told = json.loads(place.status.read_text())["parts"]
    assert (told["short"]["state"], told["short"]["detail"]) == ("ended", "exit code 0")
    assert told["long"]["state"] == "ready"
