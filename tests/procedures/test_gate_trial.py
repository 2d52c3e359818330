"""The gates tried before a run: every question asked once, what has no answer named, nothing changed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from click.testing import CliRunner

from cutover import project
from cutover import site as sites
from cutover.cli.gates import gates as command
from cutover.policy import GATE_NAMES, Policy
from cutover.procedures import gate_trial
from cutover.runbook.gates import GATES

sys.path.insert(0, str(Path(__file__).parents[1] / "gates"))

from quiet_site import GOOD_COUNTS, GOOD_VALUES, FakePrometheus, FakeSite

if TYPE_CHECKING:
    from cutover.model import Roles
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

POLICY = Policy.read(project.CONTRACT / "examples" / "policy.toml")


class TriedSite(FakeSite):
    """The quiet site with what a trial asks beyond a run's gates."""

    def __init__(self, upgrade: Upgrade) -> None:
        super().__init__(prometheus=FakePrometheus(values=dict(GOOD_VALUES), counts=dict(GOOD_COUNTS)))
        self.target = upgrade.target
        routing = cast("Any", self.routing)
        routing.primary_backend = lambda: "stellaops-blue"
        routing.service_beside_route = lambda colour: colour.service

    def assign_roles(self, roles: Roles) -> None:
        self.roles = roles

    def close(self) -> None:
        return


@pytest.fixture
def tried(upgrade: Upgrade) -> TriedSite:
    return TriedSite(upgrade)


def try_gates(site: TriedSite, policy: Policy = POLICY) -> gate_trial.TrialReport:
    return gate_trial.try_gates(cast("Site", site), without_own(policy))


def without_own(policy: Policy) -> Policy:
    """Leave out the policy's own: the quiet Prometheus knows the guide's metrics alone."""
    return replace(policy, gates=replace(policy.gates, custom=()))


def test_every_gate_is_told_of_and_answers(tried: TriedSite) -> None:
    report = try_gates(tried)
    assert {trial.gate for trial in report.trials} == set(GATE_NAMES)
    assert not report.unanswered
    assert not report.warnings
    for name in GATES:
        green, blue = (trial for trial in report.trials if trial.gate == name)
        assert (green.colour, blue.colour) == ("green", "blue")
        assert green.verdict is not None
        assert blue.verdict is None, "blue is not judged"
        assert green.query != blue.query
    assert tried.routing.restored == 0


def test_a_silent_prometheus_is_named_with_what_to_do(tried: TriedSite) -> None:
    tried.prometheus.is_down = True
    report = try_gates(tried)
    assert {trial.gate for trial in report.unanswered} == set(GATES)
    assert all("Prometheus" in trial.do for trial in report.unanswered)


def test_a_colour_without_data_is_said_so_and_no_error(tried: TriedSite) -> None:
    tried.prometheus.values.clear()
    tried.prometheus.counts.clear()
    tried.cluster.has_service = False
    report = try_gates(tried)
    assert not report.unanswered
    said = [trial.said for trial in report.trials if trial.gate in GATES]
    assert all("is not installed yet, not scraped, or has no traffic" in one for one in said)
    (ready,) = (trial for trial in report.trials if trial.gate == "green_ready")
    assert ready.said == "green is not installed yet"


def test_a_database_that_does_not_answer(tried: TriedSite) -> None:
    tried.database.problem = "connection refused"
    (only,) = try_gates(tried).unanswered
    assert only.gate == "write_markers"
    assert "connection refused" in only.said
    assert only.do


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bake_s": 60.0, "interval_s": 30.0}, "[gates.compare] needs 5"),
        ({"weights": (1, 25, 50, 100)}, "every sample will be INCONCLUSIVE"),
    ],
)
def test_what_a_policy_cannot_bring_is_warned_of(tried: TriedSite, changes: dict[str, Any], said: str) -> None:
    policy = replace(POLICY, traffic=replace(POLICY.traffic, **changes))
    assert any(said in warning for warning in try_gates(tried, policy).warnings)


@pytest.mark.parametrize(("is_down", "code"), [(False, 0), (True, 3)])
def test_the_command(
    *, tried: TriedSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_down: bool, code: int
) -> None:
    monkeypatch.setattr(sites, "connect", lambda _: tried)
    monkeypatch.setattr(Policy, "read", lambda _: without_own(POLICY))
    tried.prometheus.is_down = is_down
    target = str(project.CONTRACT / "examples" / "target.toml")
    result = CliRunner().invoke(command, ["check", "--target", target])
    assert result.exit_code == code
    assert "error_ratio (prometheus, green)" in result.output
    assert ("NO ANSWER" in result.output) is is_down
    result = CliRunner().invoke(command, ["check", "--target", target, "--json"])
    document = json.loads(result.stdout)
    assert document["answered"] is not is_down
    assert list(tmp_path.iterdir()) == [tmp_path / "record"], "nothing is written"
