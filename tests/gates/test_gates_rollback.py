"""The rollback says who serves by what answered, whatever was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from quiet_site import FakeLoad, FakeRouting, FakeSite

from cutover.errors import ClauseFailed, CouldNotMeasure
from cutover.runbook import gates, rollback
from cutover.runbook.ports import Served

if TYPE_CHECKING:
    from cutover.clock import ManualClock
    from cutover.runbook.upgrade import Upgrade


def test_blue_alone_is_proven(upgrade: Upgrade) -> None:
    site = FakeSite(routing=FakeRouting(answers=[{"blue": 90, "green": 10}, {"blue": 100}]))
    report = rollback.restore_blue(upgrade, site, trigger=ClauseFailed("green fails"))
    assert report.is_proven
    assert (report.serves, report.verified_requests) == ("blue", 100)
    assert site.routing.restored == 1
    finished = upgrade.journal.last("rollback_finished")
    assert finished is not None
    assert finished.data["serves"] == "blue"
    started = upgrade.journal.last("rollback_started")
    assert started is not None
    assert started.data["trigger"] == "green fails"
    deviation = upgrade.journal.last("deviation", id="F.4")
    assert deviation is not None
    assert deviation.data["instead_of"] == "patching the primary Ingress alone"


@pytest.mark.parametrize(
    ("answers", "serves"),
    [
        ({"failed": 100}, "nobody"),
        ({"blue": 50, "green": 50}, "mixed"),
        ({"green": 100}, "green"),
        ({"blue": 90, "failed": 10}, "mixed"),
    ],
)
def test_what_is_not_proven_is_said(upgrade: Upgrade, answers: dict[str, int], serves: str) -> None:
    report = rollback.restore_blue(upgrade, FakeSite(routing=FakeRouting(answers=[answers])), trigger="a gate failed")
    assert not report.is_proven
    assert report.serves == serves
    assert report.took_s >= upgrade.policy.limits.rollback_s


def test_a_last_look_that_happens_to_see_blue_alone_is_no_proof(upgrade: Upgrade) -> None:
    site = FakeSite(routing=_SeldomGreen())
    report = rollback.restore_blue(upgrade, site, trigger="a gate failed")
    assert not report.is_proven
    assert report.serves == "mixed"


class _SeldomGreen(FakeRouting):
    """Green still has one request of a hundred: few look as if there were none."""

    def who_serves(self, requests: int) -> Served:
        green = requests // 100
        by_colour = {"blue": requests - green, "green": green}
        return Served(total=requests, by_colour=by_colour, failed=0, pods={}, problems=())


def test_a_route_that_cannot_be_changed_is_an_error_and_in_the_journal(upgrade: Upgrade) -> None:
    error = CouldNotMeasure("the API server does not answer", code="kubernetes-unreachable")
    site = FakeSite(routing=FakeRouting(answers=[{"green": 100}], error=error))
    with pytest.raises(CouldNotMeasure):
        rollback.restore_blue(upgrade, site, trigger=None)
    finished = upgrade.journal.last("rollback_finished")
    assert finished is not None
    assert finished.data["serves"] == "green"
    assert upgrade.journal.last("failed", action="restore") is not None
    assert upgrade.journal.last("deviation", id="F.4") is None, "nothing was done instead"


def test_blue_serves_before_anybody_looks_for_the_cause(upgrade: Upgrade, clock: ManualClock) -> None:
    site = FakeSite(routing=FakeRouting(answers=[{"blue": 90, "green": 10}, {"blue": 100}]))
    rollback.send_back(upgrade, site, trigger="3.1b: a gate does not hold")
    assert site.routing.restored == 1
    seen = upgrade.journal.last("observation", what="blue serves again")
    assert seen is not None
    rollback.send_back(upgrade, site, trigger="the clause failed")
    assert site.routing.restored == 1, "it is begun already"
    clock.advance(20)  # the cause is looked for
    report = rollback.restore_blue(upgrade, site, trigger="R.1")
    assert site.routing.restored == 2, "R.1 makes sure of it"
    assert report.is_proven
    assert report.took_s == seen.data["took_s"] < 1, "blue has served since then"
    began = [entry.data["trigger"] for entry in upgrade.journal.entries() if entry.event == "rollback_started"]
    assert began == ["3.1b: a gate does not hold"]


def test_what_could_not_be_sent_back_at_once_is_timed_to_its_proof(upgrade: Upgrade, clock: ManualClock) -> None:
    error = CouldNotMeasure("the API server does not answer", code="kubernetes-unreachable")
    site = FakeSite(routing=FakeRouting(answers=[{"blue": 100}], error=error))
    rollback.send_back(upgrade, site, trigger="3.1b failed")
    assert upgrade.journal.last("observation", what="blue serves again") is None
    site.routing.error = None
    clock.advance(3)
    report = rollback.restore_blue(upgrade, site, trigger="R.1")
    assert report.is_proven
    assert report.took_s == pytest.approx(3.0)


def test_a_later_rollback_begins_anew(upgrade: Upgrade) -> None:
    site = FakeSite(routing=FakeRouting(answers=[{"blue": 100}]))
    rollback.restore_blue(upgrade, site, trigger="one")
    rollback.send_back(upgrade, site, trigger="two")
    assert site.routing.restored == 2
    began = [entry.data["trigger"] for entry in upgrade.journal.entries() if entry.event == "rollback_started"]
    assert began == ["one", "two"]


def test_what_another_process_began_is_timed_from_when_it_is_gone_on_with(upgrade: Upgrade, clock: ManualClock) -> None:
    upgrade.journal.write("rollback_started", trigger="3.1b: a gate does not hold")
    clock.advance(86_400)
    upgrade.journal.write("run_resumed", procedure="resume")
    site = FakeSite(routing=FakeRouting(answers=[{"blue": 100}]))
    report = rollback.restore_blue(upgrade, site, trigger="a rollback had begun")
    assert report.is_proven
    assert report.took_s < 1
    assert site.routing.restored == 1


def test_a_bake_that_fails_has_sent_the_traffic_back(
    upgrade: Upgrade, site: FakeSite, load: FakeLoad, clock: ManualClock
) -> None:
    load.fails_from_s = 5.0
    with pytest.raises(ClauseFailed):
        gates.bake(upgrade, site, load, percent=10)
    assert site.routing.restored == 1
    assert clock.monotonic() <= 6.0
    order = [entry.event for entry in upgrade.journal.entries()]
    assert order.index("gate_decision") < order.index("rollback_started") < order.index("intent")
