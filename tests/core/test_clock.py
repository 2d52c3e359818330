"""The wall clock put ahead: by how much, for whom, and what else keeps the machine's time."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from cutover import project
from cutover.clock import AHEAD, SYSTEM_CLOCK, SystemClock, asked_ahead
from cutover.errors import Refused, WrongInput
from cutover.model import ExitCode
from cutover.target import Target

DAY_S = 86400


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Target:
    """Return the example's target."""
    for line in (project.CONTRACT / "examples" / "target.toml").read_text(encoding="utf-8").splitlines():
        name = line.partition("_env = ")[2].strip().strip('"')
        if name:
            monkeypatch.setenv(name, "postgresql://user:secret-word@db/stellaops")
    return Target.load(project.CONTRACT / "examples" / "target.toml")


def test_a_clock_is_ahead_by_what_it_was_given() -> None:
    assert SystemClock().now() - datetime.now(UTC) < timedelta(hours=1)
    ahead = SystemClock(timedelta(seconds=DAY_S)).now() - datetime.now(UTC)
    assert timedelta(hours=23) < ahead <= timedelta(seconds=DAY_S)
    assert not SYSTEM_CLOCK.ahead


def test_the_whole_process_is_ahead_where_the_variable_says_so() -> None:
    code = "from cutover.clock import SYSTEM_CLOCK; print(SYSTEM_CLOCK.ahead.total_seconds())"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={AHEAD: str(DAY_S)}
    )
    assert float(done.stdout) == DAY_S


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", "1e9", "86400 s"])
def test_what_is_no_time_ahead(text: str, target: Target) -> None:
    with pytest.raises(ValueError, match=r"not from 0 to|could not convert"):
        asked_ahead({AHEAD: text})
    with pytest.raises(WrongInput) as caught:
        target.require_clock({AHEAD: text})
    assert AHEAD in caught.value.do


@pytest.mark.parametrize(
    ("kind", "disposable", "allowed"),
    [
        ("rehearsal", True, True),
        ("rehearsal", False, False),
        ("staging", False, False),
        ("production", True, False),
        ("pre-production", True, False),
    ],
)
def test_only_a_disposable_site_that_is_no_production_may_have_its_clock_put_ahead(
    kind: str, disposable: bool, allowed: bool, target: Target
) -> None:
    site = dataclasses.replace(target, kind=kind, disposable=disposable)
    site.require_clock({})
    if allowed:
        site.require_clock({AHEAD: str(DAY_S)})
        return
    with pytest.raises(Refused) as caught:
        site.require_clock({AHEAD: str(DAY_S)})
    assert (caught.value.code, caught.value.exit_code) == ("clock-ahead", ExitCode.REFUSED)


def test_a_target_is_refused_when_it_is_read(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AHEAD, str(DAY_S))
    with pytest.raises(Refused, match="clock may not be put ahead"):
        Target.load(target.path)
