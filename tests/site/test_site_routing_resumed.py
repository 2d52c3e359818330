"""Moves of traffic that were broken off at any step and gone on with by another process: the same routes, once."""

from __future__ import annotations

import contextlib
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import Refused
from cutover.procedures import traffic
from cutover.runbook.attempts import RESUMED
from cutover.runbook.journal import Journal
from cutover.site.routing import routing_of

sys.path.insert(0, str(Path(__file__).parent))

from memory_cluster import MemoryCluster
from route_objects import (
    CANARY,
    GATEWAY,
    NGINX,
    ROLES,
    WEIGHT,
    backend,
    condition,
    gateway,
    http_route,
    ingress,
    services,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.site.routing.interface import SiteRouting

MOVES = ("10", "25", "50", "100", "promote")
KINDS = ("nginx", "gateway")


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Life:
    """How many steps a process still makes; a step is one before and one after each write, wherever it goes."""

    left: int = 10**9

    def step(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


class MortalCluster(MemoryCluster):
    """A cluster whose caller may be killed before and after each of its writes."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self.life = life
        self.writes = 0

    def create(self, *arguments: Any) -> Any:  # noqa: ANN401
        return self._do(super().create, *arguments)

    def patch(self, *arguments: Any) -> Any:  # noqa: ANN401
        return self._do(super().patch, *arguments)

    def delete(self, *arguments: Any) -> Any:  # noqa: ANN401
        return self._do(super().delete, *arguments)

    def _do(self, write: Any, *arguments: Any) -> Any:  # noqa: ANN401
        self.life.step()
        made = write(*arguments)
        self.writes += made is not False
        self.life.step()
        return made


def follow(route: Any) -> None:  # noqa: ANN401
    """Do what a controller does: take the route as it is now."""
    for parent in route.get("status", {}).get("parents", []):
        generation = route["metadata"]["generation"]
        parent["conditions"] = [condition(each, generation=generation) for each in ("Accepted", "ResolvedRefs")]


class World:
    """One site and one record."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.life = Life()
        self.cluster = MortalCluster(self.life)
        self.settings: Any = GATEWAY if kind == "gateway" else NGINX
        services(self.cluster)
        if kind == "gateway":
            self.cluster.controller = follow
            self.cluster.put(http_route())
            self.cluster.put(gateway())
        else:
            self.cluster.put(ingress())
        self.journal = Journal(folder / "journal.jsonl")
        self.journal.guard = self._guard
        self.journal.write("run_started")

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        self.life.step()
        yield

    def process(self) -> SiteRouting:
        """Return the routes of another process."""
        cluster: Any = self.cluster
        public: Any = None
        return routing_of(self.settings, cluster=cluster, public=public, roles=ROLES, journal=self.journal)

    def move(self, routing: SiteRouting, move: str) -> None:
        """Do one step of the cutover, as its clause does."""
        site: Any = SimpleNamespace(routing=routing)
        upgrade: Any = SimpleNamespace(journal=self.journal, shield=contextlib.nullcontext, roles=ROLES)
        if move == "promote":
            traffic.promote(site, upgrade)
        else:
            traffic.set_weight(site, upgrade, int(move))

    def resume(self) -> SiteRouting:
        """Go on with another process."""
        self.life.left = 10**9
        self.journal.write(RESUMED, procedure="resume")
        return self.process()

    def done(self) -> list[str]:
        """Return what the journal says was done, in order."""
        return [
            str(entry.data.get("percent", entry.data["action"]))
            for entry in self.journal.entries()
            if entry.event == "done"
        ]

    def objects(self) -> Any:  # noqa: ANN401
        """Return every object without what counts its changes."""
        return {
            place: (found.get("spec"), found["metadata"].get("annotations"))
            for place, found in self.cluster.objects.items()
        }


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    world = World(request.param, tmp_path)
    yield world
    world.life.left = 10**9
    world.journal.close()


def perform(world: World, routing: SiteRouting, moves: tuple[str, ...]) -> None:
    for move in moves:
        world.move(routing, move)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cutover_killed_at_any_step_comes_to_the_same(kind: str, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = World(kind, tmp_path / "whole")
    perform(whole, whole.process(), MOVES)
    whole.journal.close()
    for steps in itertools.count():
        folder = tmp_path / str(steps)
        folder.mkdir()
        world = World(kind, folder)
        routing, world.life.left = world.process(), steps
        for number, move in enumerate(MOVES):
            try:
                world.move(routing, move)
            except Killed:
                perform(world, world.resume(), MOVES[number:])
                break
        was_killed = world.journal.last(RESUMED) is not None
        world.life.left = 10**9
        assert world.objects() == whole.objects(), steps
        assert world.cluster.writes == whole.cluster.writes, steps
        assert [*dict.fromkeys(world.done())] == world.done(), steps
        weights = [entry.data["percent"] for entry in world.journal.entries() if entry.event == "weight"]
        assert [*dict.fromkeys(weights)] == [10, 25, 50, 100], steps
        assert world.process().drift() == (), steps
        world.journal.close()
        if not was_killed:
            assert steps > 30
            return


@pytest.mark.parametrize("world", KINDS, indirect=True)
@pytest.mark.parametrize("moves", [("10",), ("10", "25"), ("promote",), ("100", "promote")])
def test_what_is_so_already_is_seen_and_not_done_again(world: World, moves: tuple[str, ...]) -> None:
    perform(world, world.process(), moves)
    writes, patches, done = world.cluster.writes, list(world.cluster.patches), world.done()
    world.move(world.resume(), moves[-1])
    assert (world.cluster.writes, world.cluster.patches, world.done()) == (writes, patches, done)
    already = world.journal.last("observation", what="already")
    assert already is not None
    weight = world.journal.last("weight")
    assert weight is not None
    assert weight.seq > already.seq


ELSEWHERE = {
    "another weight": ingress("canary", backend="to-green", annotations={CANARY: "true", WEIGHT: "90"}),
    "another Service": ingress("canary", backend="elsewhere", annotations={CANARY: "true", WEIGHT: "10"}),
}


@pytest.mark.parametrize("world", ["nginx"], indirect=True)
@pytest.mark.parametrize("name", ELSEWHERE)
def test_somebody_elses_change_between_two_attempts_refuses_to_move_on(world: World, name: str) -> None:
    world.move(world.process(), "10")
    routing = world.resume()
    world.cluster.put(ELSEWHERE[name])
    with pytest.raises(Refused) as caught:
        world.move(routing, "10")
    assert caught.value.code == "changed-by-someone-else"


@pytest.mark.parametrize("world", ["gateway"], indirect=True)
def test_a_route_that_somebody_else_weighed_is_not_already_there(world: World) -> None:
    world.move(world.process(), "10")
    routing = world.resume()
    route = http_route(backends=[backend(weight=50), backend("stellaops-green", namespace="green", weight=50)])
    world.cluster.put(route)
    assert not routing.stands_at(10)
    with pytest.raises(Refused):
        world.move(routing, "25")


@pytest.mark.parametrize("world", KINDS, indirect=True)
def test_a_restore_killed_at_any_step_is_gone_on_with(world: World) -> None:
    for steps in range(12):
        world.move(world.process(), "25")
        routing = world.process()
        world.life.left = steps
        with contextlib.suppress(Killed):
            routing.restore()
        routing = world.resume()
        routing.restore()
        assert not routing.is_split(), steps
        assert routing.primary_backend() == routing.service_beside_route(ROLES.blue), steps
        assert routing.drift() == (), steps
