"""The rollback says who serves by what answered, whatever was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from quiet_site import FakeRouting, FakeSite

from cutover.errors import ClauseFailed, CouldNotMeasure
from cutover.runbook import rollback

if TYPE_CHECKING:
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
