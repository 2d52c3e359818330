"""Blue's removal: too early, with jobs in its queue, and gone on with after it was broken off anywhere (5.2)."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import redis

from cutover.clock import ManualClock, rfc3339
from cutover.errors import ClauseFailed, CouldNotMeasure, Refused
from cutover.model import ExitCode
from cutover.procedures import connections, decommission, health, traffic
from cutover.runbook.attempts import RESUMED
from cutover.site.cache import QUEUE, Cache
from rehearsal.tools import ensure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

sys.path.insert(0, str(Path(__file__).parents[1] / "site"))

HOUR_S = 3600.0


# -- the window --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration_s", "words"),
    [
        (169_920.0, "47 h 12 min"),
        (169_919.2, "47 h 12 min"),
        (3600.0, "1 h 0 min"),
        (3599.5, "1 h 0 min"),
        (725.0, "12 min 5 s"),
        (8.2, "9 s"),
        (0.0, "0 s"),
    ],
)
def test_a_duration_in_words_is_never_less_than_there_is(duration_s: float, words: str) -> None:
    assert decommission.in_words(duration_s) == words


def promote(upgrade: Upgrade) -> None:
    with upgrade.journal.action("promote", to="green"):
        pass


def observed(upgrade: Upgrade, state: str, *, left_s: float) -> None:
    until = rfc3339(upgrade.clock.now() + timedelta(seconds=left_s))
    upgrade.remember("observation", state=state, until=until, window_s=72 * HOUR_S)


def refused(upgrade: Upgrade) -> Refused:
    with pytest.raises(Refused) as caught:
        decommission.require_window_proven(upgrade)
    assert (caught.value.code, caught.value.exit_code) == ("too-early", ExitCode.REFUSED)
    return caught.value


def test_too_early_says_how_much_is_left(upgrade: Upgrade) -> None:
    promote(upgrade)
    observed(upgrade, "running", left_s=72 * HOUR_S)
    cast("ManualClock", upgrade.clock).advance(24 * HOUR_S + 48 * 60)
    error = refused(upgrade)
    assert error.seen.endswith(", 47 h 12 min left")
    assert error.facts["left_s"] == 169_920.0
    assert "observation running" in error.seen


def test_a_window_that_has_passed_must_have_been_judged(upgrade: Upgrade) -> None:
    promote(upgrade)
    observed(upgrade, "running", left_s=-5)
    error = refused(upgrade)
    assert "somebody has judged" in error.message
    assert "left" not in error.seen
    assert "./cutover observe" in error.do
    observed(upgrade, "complete", left_s=-5)
    decommission.require_window_proven(upgrade)


def test_before_anything_was_observed_the_whole_window_is_left(upgrade: Upgrade) -> None:
    promote(upgrade)
    window_s = upgrade.policy.observation.window_s
    assert refused(upgrade).seen.endswith(f"{decommission.in_words(window_s)} left")


def test_without_a_cutover_nothing_is_proven(upgrade: Upgrade) -> None:
    observed(upgrade, "complete", left_s=-5)
    refused(upgrade)


def test_what_was_observed_before_a_way_back_proves_nothing_of_the_next_cutover(upgrade: Upgrade) -> None:
    promote(upgrade)
    observed(upgrade, "complete", left_s=-5)
    upgrade.journal.write("rollback_finished", serves=upgrade.roles.blue.name)
    refused(upgrade)
    promote(upgrade)
    refused(upgrade)
    observed(upgrade, "complete", left_s=-5)
    decommission.require_window_proven(upgrade)


# -- the queue, in a real server ---------------------------------------------------------------------------------------


@dataclass
class Queue:
    """Blue's cache."""

    url: str
    process: subprocess.Popen[bytes]

    def push(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.rpush(QUEUE, "job")

    def empty(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.delete(QUEUE)


@pytest.fixture
def queue(tmp_path: Path, upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = str(ensure(("valkey-server",)).path("valkey-server"))
    process = subprocess.Popen(
        [program, "--port", str(port), "--save", "", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL
    )
    url = f"redis://127.0.0.1:{port}/0"
    cache = Cache(url)

    def of(_site: object, environment: Any, **_: object) -> Any:  # noqa: ANN401
        assert environment == upgrade.roles.blue
        return SimpleNamespace(cache=cache)

    monkeypatch.setattr(connections, "of", of)
    upgrade.wait_for(
        "valkey", cache.queue_depth, until=lambda _: True, bound_s=10_000, tolerate=(CouldNotMeasure,), interval_s=0.01
    )
    yield Queue(url=url, process=process)
    process.kill()
    process.wait()


def drain(upgrade: Upgrade) -> None:
    decommission.drain_blue(cast("Site", None), upgrade)


def test_blue_stays_until_its_queue_is_empty(upgrade: Upgrade, queue: Queue) -> None:
    queue.push()
    with pytest.raises(Refused) as caught:
        drain(upgrade)
    assert (caught.value.code, caught.value.exit_code) == ("blue-queue-not-empty", ExitCode.REFUSED)
    assert "1 jobs" in caught.value.seen
    assert not upgrade.knows("blue queue")
    queue.empty()
    drain(upgrade)
    assert upgrade.recall("blue queue") == {"jobs": 0}


@pytest.mark.parametrize("was_drained", [True, False])
@pytest.mark.parametrize("was_begun", [True, False])
def test_a_cache_that_is_gone_is_believed_only_after_it_was_drained_and_removed(
    *, upgrade: Upgrade, queue: Queue, was_drained: bool, was_begun: bool
) -> None:
    if was_drained:
        drain(upgrade)
    if was_begun:
        upgrade.journal.write("intent", action="decommission")
    queue.process.kill()
    queue.process.wait()
    if was_drained and was_begun:
        drain(upgrade)
        assert upgrade.journal.last("observation", what="already", action="drain") is not None
    else:
        with pytest.raises(CouldNotMeasure):
            drain(upgrade)


def test_jobs_that_came_after_the_removal_was_begun_are_seen(upgrade: Upgrade, queue: Queue) -> None:
    drain(upgrade)
    upgrade.journal.write("intent", action="decommission")
    queue.push()
    with pytest.raises(Refused):
        drain(upgrade)


# -- the release and the namespace -------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Remains:
    """What is left of blue, and where whoever removes it is killed."""

    release: str | None = "deployed"
    namespace: str | None = "Active"
    in_use: tuple[str, ...] = ()
    killed_at: str = ""
    fails: bool = False
    done: list[str] = field(default_factory=list)

    def status(self, *_: object) -> Any:  # noqa: ANN401
        return SimpleNamespace(status=self.release) if self.release else None

    def uninstall(self, *_: object) -> None:
        assert self.release is not None, "helm says: release not found"
        self._kill("before")
        self.done.append("uninstall")
        if self.fails:
            raise ClauseFailed("helm did not remove it", code="helm-failed")
        self.release = "uninstalling"
        self._kill("inside")
        self.release = None
        self._kill("after")

    def _kill(self, where: str) -> None:
        if self.killed_at == where:
            raise Killed

    def has_namespace(self, _name: str) -> bool:
        return self.namespace is not None

    def in_use_of(self, _name: str, *, release: str) -> tuple[str, ...]:
        del release
        return self.in_use

    def delete_namespace(self, _name: str) -> None:
        self._kill("namespace")
        self.done.append("delete")
        self.namespace = None

    def site(self) -> Site:
        helm = SimpleNamespace(status=self.status, uninstall=self.uninstall)
        cluster = SimpleNamespace(
            of_every_namespace=lambda _: (),
            has_namespace=self.has_namespace,
            in_use=self.in_use_of,
            delete_namespace=self.delete_namespace,
        )
        return cast("Site", SimpleNamespace(helm=helm, cluster=cluster))


@pytest.mark.parametrize(("where", "times"), [("before", 1), ("inside", 2), ("after", 1)])
def test_a_removal_that_was_broken_off_is_gone_on_with_from_what_is_left(
    upgrade: Upgrade, where: str, times: int
) -> None:
    blue = Remains(killed_at=where)
    with pytest.raises(Killed):
        decommission.uninstall_blue(blue.site(), upgrade)
    blue.killed_at = ""
    upgrade.journal.write(RESUMED, procedure="decommission")
    assert decommission.uninstall_blue(blue.site(), upgrade) == "absent"
    assert blue.done == ["uninstall"] * times
    already = upgrade.journal.last("observation", what="already", action="decommission")
    assert (already is not None) == (where == "after")
    assert decommission.uninstall_blue(blue.site(), upgrade) == "absent"
    assert blue.done == ["uninstall"] * times


def test_blue_that_somebody_else_removed_cannot_serve_again_either(upgrade: Upgrade) -> None:
    assert decommission.uninstall_blue(Remains(release=None).site(), upgrade) == "absent"
    assert upgrade.decommissioned


@pytest.mark.parametrize("broken", ["", "route", "pods", "answers"])
def test_blue_is_not_removed_unless_green_serves_at_that_moment(
    upgrade: Upgrade, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fails(what: str) -> None:
        asked.append(what)
        if what == broken:
            raise ClauseFailed(what, code="x")

    monkeypatch.setattr(decommission, "routes_to", lambda *_: ["Ingress left"] if broken == "route" else [])
    monkeypatch.setattr(health, "require_available", lambda _, colour: fails(f"pods of {colour.name}"[:4]))
    monkeypatch.setattr(traffic, "require_served_by", lambda *_: fails("answers"))
    if not broken:
        decommission.require_green_holds(Remains().site(), upgrade)
        assert asked == ["pods", "answers"]
        return
    with pytest.raises(Refused if broken == "route" else ClauseFailed):
        decommission.require_green_holds(Remains().site(), upgrade)


def test_a_removal_that_fails_is_said(upgrade: Upgrade) -> None:
    with pytest.raises(ClauseFailed):
        decommission.uninstall_blue(Remains(fails=True).site(), upgrade)


def test_a_namespace_is_deleted_once(upgrade: Upgrade) -> None:
    blue = Remains(killed_at="namespace")
    with pytest.raises(Killed):
        decommission.clean_namespace(blue.site(), upgrade)
    blue.killed_at = ""
    for _ in range(2):
        assert decommission.clean_namespace(blue.site(), upgrade).deleted
    assert blue.done == ["delete"]
    assert upgrade.journal.last("observation", what="already", action="delete namespace") is not None


def test_a_namespace_in_use_stays_every_time(upgrade: Upgrade) -> None:
    blue = Remains(in_use=("Ingress main",))
    for _ in range(2):
        assert not decommission.clean_namespace(blue.site(), upgrade).deleted
    assert blue.done == []
