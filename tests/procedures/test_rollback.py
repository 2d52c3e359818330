"""The way back after the cutover: what is assessed, what is decided, what must be so afterwards."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from cutover.errors import ClauseFailed, CouldNotMeasure, Refused, Timeout
from cutover.procedures import connections, continuity, release, rollback, sequences
from cutover.procedures.release import Installed, RunningImages
from cutover.procedures.rollback import Decision, Redeployed
from cutover.runbook import fingerprint
from cutover.runbook.fingerprint import Fingerprint
from cutover.runbook.ports import Served
from cutover.runbook.reverse import REDEPLOY, REMOVE_GREEN
from cutover.site.database import AppliedMigration
from cutover.site.helm import HelmRelease
from tests.evidence.world import START, World, item, trust_file
from tests.procedures import test_continuity

if TYPE_CHECKING:
    from collections.abc import Callable

    from cutover.clock import ManualClock
    from cutover.runbook.upgrade import Upgrade

BEFORE_SCANS = 3
BASELINE = BEFORE_SCANS * 4


def code_of(act: Callable[[], object]) -> str:
    try:
        act()
    except (ClauseFailed, CouldNotMeasure, Refused) as error:
        return error.code
    return ""


class Site(test_continuity.Site):
    """The world of a site whose platform can answer for continuity too."""

    def __init__(self, world: World, upgrade: Upgrade) -> None:
        super().__init__(world, upgrade.target)
        self.releases = {"stellaops-blue": helm_release("stellaops-blue"), "stellaops-green": helm_release("x")}
        self.helm: Any = SimpleNamespace(status=lambda name, _namespace: self.releases.get(name))
        self.answer: dict[str, Any] = {}
        self.namespaces: list[str] = []
        self.stella = SimpleNamespace(call=self._call)

    def _call(self, *argv: str, check: bool, namespace: str = "") -> dict[str, Any]:
        if "verify-continuity" not in argv:
            return self._verify_all(*argv, namespace=namespace, check=check)
        self.namespaces.append(namespace)
        Path(argv[-1]).write_text("<html>", "utf-8")
        now = len(self.world.rows)
        missing = self.answer.get("missing", 0)
        counted = {"before": BASELINE, "after": now, "missing": missing, "changed": 0}
        return {"ok": True, **counted, "added": now - BASELINE + missing, "failures": []} | self.answer


def helm_release(name: str, *, status: str = "deployed") -> HelmRelease:
    return HelmRelease(name=name, namespace="n", revision=1, status=status, values={})


@pytest.fixture
def world() -> World:
    return World.of(BEFORE_SCANS)


@pytest.fixture
def site(world: World, upgrade: Upgrade, tmp_path: Path) -> Any:  # noqa: ANN401 - drivers, as far as they are asked
    """Return the site of an upgrade whose baseline is sealed, whose schema is expanded and whose traffic moved."""
    path = tmp_path / "trust.json"
    path.write_bytes(trust_file())
    settings = dataclasses.replace(upgrade.target.evidence, trust_root=path, workers=1)
    upgrade.target = dataclasses.replace(upgrade.target, evidence=settings)
    upgrade.journal.write("run_started", upgrade_id=upgrade.id)
    made: Any = Site(world, upgrade)
    continuity.seal_baseline(upgrade, continuity.take_baseline(made, upgrade))
    world.expand()
    clock = cast("ManualClock", upgrade.clock)
    clock.advance((START + timedelta(seconds=BASELINE - 0.5) - clock.now()).total_seconds())
    upgrade.journal.write("weight", percent=10, target="green")
    world.scan()
    return made


# -- R.2a --------------------------------------------------------------------------------------------------------------


def test_the_impact_is_what_is_there_and_what_green_may_have_made(site: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    impact = rollback.assess(site, upgrade)
    rollback.require_assessed(impact)
    rollback.require_numbers_agree(impact)
    rollback.require_impact_kept(upgrade)
    facts = upgrade.recall("impact")
    assert (facts["before"], facts["after"], facts["added"], facts["missing"]) == (BASELINE, BASELINE + 4, 4, 0)
    assert facts["green_era"] == {"oci-manifest": 1, "sbom": 1, "attestation": 1, "bundle": 1}
    assert facts["broken"] == []
    balance = upgrade.journal.last("evidence")
    assert balance is not None
    assert balance.data["added"] == 4
    assert site.namespaces == [upgrade.roles.green.namespace]
    assert (upgrade.folder / "evidence/rollback-1/assessed/manifest.json").is_file()


def test_a_loss_is_said_and_does_not_close_the_way_back(site: Any, world: World, upgrade: Upgrade) -> None:  # noqa: ANN401
    del world.objects[world.rows[2].object_key]
    world.objects[world.rows[3].object_key] += b"!"
    site.answer = {"changed": 2, "ok": False}
    impact = rollback.assess(site, upgrade)
    rollback.require_assessed(impact)
    rollback.require_numbers_agree(impact)
    assert set(impact.broken) == {"E.1", "E.4"}
    assert upgrade.recall("impact")["changed"] == 2


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"missing": 1}, "impact-disagrees"),
        ({"changed": 1}, "impact-disagrees"),
        ({"before": BASELINE - 1, "added": 5}, "impact-disagrees"),
        ({"after": 99, "added": 99 - BASELINE}, "impact-disagrees"),
        ({"missing": "none"}, "report-malformed"),
    ],
)
def test_a_platform_that_counts_otherwise_is_not_believed(
    site: Any,  # noqa: ANN401
    upgrade: Upgrade,
    answer: dict[str, Any],
    code: str,
) -> None:
    impact = rollback.assess(site, upgrade)
    impact = replace(impact, platform={**impact.platform, **answer})
    assert code_of(lambda: rollback.require_numbers_agree(impact)) == code


def test_without_green_the_platform_is_asked_by_blue(site: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    del site.releases["stellaops-green"]
    rollback.assess(site, upgrade)
    assert site.namespaces == [upgrade.roles.blue.namespace]


def test_an_altered_baseline_is_refused(site: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    path = upgrade.folder / "evidence/before/lines.jsonl"
    path.write_bytes(path.read_bytes()[:-2])
    assert code_of(lambda: rollback.assess(site, upgrade)) == "baseline-altered"


# -- R.2c --------------------------------------------------------------------------------------------------------------


def test_what_green_made_is_all_there(site: Any, world: World, upgrade: Upgrade) -> None:  # noqa: ANN401
    rollback.assess(site, upgrade)
    world.scan()
    found = rollback.verify_green_era(site, upgrade)
    rollback.require_baseline_whole(found)
    rollback.require_green_era_valid(upgrade, found)
    assert sum(found.made.values()) == 8
    assert found.compared == ("evidence/rollback-1/assessed",)
    assert upgrade.recall("green-era")["broken"] == []


def test_a_second_attempt_takes_snapshots_of_its_own(site: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    rollback.assess(site, upgrade)
    upgrade.journal.write("run_resumed", procedure="rollback")
    rollback.assess(site, upgrade)
    found = rollback.verify_green_era(site, upgrade)
    assert found.compared == ("evidence/rollback-1/assessed", "evidence/rollback-2/assessed")


@pytest.mark.parametrize("what", ["content", "row", "object"])
def test_what_green_made_and_the_way_back_lost_is_found(
    site: Any,  # noqa: ANN401
    world: World,
    upgrade: Upgrade,
    what: str,
) -> None:
    rollback.assess(site, upgrade)
    index = BASELINE + 3
    row = world.rows[index]
    if what == "content":
        world.objects[row.object_key] += b"!"
    elif what == "object":
        del world.objects[row.object_key]
    else:
        del world.rows[index]
        del world.stored_leaves[1][index], world.stored_leaves[2][index]
    found = rollback.verify_green_era(site, upgrade)
    with pytest.raises(ClauseFailed) as raised:
        rollback.require_green_era_valid(upgrade, found)
    assert raised.value.code == "green-era-evidence"
    assert item(index) in raised.value.seen


def test_what_was_not_valid_when_it_was_made_is_not_valid(site: Any, world: World, upgrade: Upgrade) -> None:  # noqa: ANN401
    world.objects[world.rows[BASELINE + 2].object_key] = b"{}"
    found = rollback.verify_green_era(site, upgrade)
    assert found.compared == ()
    assert code_of(lambda: rollback.require_green_era_valid(upgrade, found)) == "green-era-evidence"


def test_what_a_person_gave_up_for_a_restore_may_be_gone(site: Any, world: World, upgrade: Upgrade) -> None:  # noqa: ANN401
    rollback.assess(site, upgrade)
    del world.rows[BASELINE + 3 :], world.stored_leaves[1][BASELINE + 3 :], world.stored_leaves[2][BASELINE + 3 :]
    found = rollback.verify_green_era(site, upgrade)
    upgrade.remember("restore-carried", given_up={"public.evidence": 1, "public.scans": 1})
    rollback.require_green_era_valid(upgrade, found)
    upgrade.remember("restore-carried", given_up={"public.scans": 1})
    assert code_of(lambda: rollback.require_green_era_valid(upgrade, found)) == "green-era-evidence"


def test_a_baseline_that_is_not_whole_any_more(site: Any, world: World, upgrade: Upgrade) -> None:  # noqa: ANN401
    world.objects[world.rows[1].object_key] += b" "
    found = rollback.verify_green_era(site, upgrade)
    with pytest.raises(ClauseFailed) as raised:
        rollback.require_baseline_whole(found)
    assert raised.value.code == "content-changed"
    assert "1 changed of 12; broken: E.2" in raised.value.seen


# -- R.2b --------------------------------------------------------------------------------------------------------------

A = AppliedMigration(id="0101", category="A", release="2027.Q2", checksum="sha256:1", applied_at=START)
B = AppliedMigration(id="0102", category="B", release="2027.Q2", checksum="sha256:2", applied_at=START)
OLD = AppliedMigration(id="0001", category="A", release="2027.Q1", checksum="sha256:0", applied_at=START)
KEPT = Fingerprint(
    blue="blue",
    schema={},
    migrations={"0001": "A 2027.Q1 sha256:0"},
    sequences={},
    routes={},
    replicas={"web": 2},
    images=("sha256:" + "a" * 64,),
    evidence=None,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """What the migration table holds, what blue does, and what is decided; code: of the refusal, empty for none."""

    table: tuple[AppliedMigration, ...]
    problem: str = ""
    ready: int = 2
    status: str = "deployed"
    restore: bool = False
    code: str = ""


DECISIONS = {
    "compatible, and blue works": Deciding(table=(OLD, A)),
    "nothing was applied": Deciding(table=(OLD,)),
    "said to be compatible, and blue does not work": Deciding(
        table=(OLD, A), problem="blue does not write", code="schema-incompatible"
    ),
    "blue is there, and nobody of it is ready": Deciding(table=(OLD, A), ready=0, code="blue-not-ready"),
    "blue is gone": Deciding(table=(OLD, A), ready=0, status=""),
    "blue is half gone": Deciding(table=(OLD, A), ready=0, status="uninstalling"),
    "breaking, and blue does not work": Deciding(table=(OLD, A, B), problem="blue does not write", restore=True),
    "breaking, and the probe does not notice": Deciding(table=(OLD, A, B), restore=True),
    "breaking, and blue is gone": Deciding(table=(OLD, A, B), ready=0, status="", restore=True),
    "breaking, and nobody of blue is ready": Deciding(table=(OLD, A, B), ready=0, restore=True),
}


@pytest.mark.parametrize("name", DECISIONS)
@pytest.mark.parametrize("is_kept", [True, False])
def test_the_database_is_decided_from_what_is_declared_and_from_what_blue_does(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch, name: str, is_kept: bool
) -> None:
    case = DECISIONS[name]

    def probe(*_: object) -> None:
        if case.problem:
            raise ClauseFailed(case.problem, seen="status 500")

    monkeypatch.setattr(release, "require_read_and_write", probe)
    monkeypatch.setattr(fingerprint, "kept", lambda _upgrade: KEPT if is_kept else None)
    found = helm_release("stellaops-blue", status=case.status) if case.status else None
    site: Any = SimpleNamespace(
        cluster=SimpleNamespace(ready_endpoints=lambda _namespace, _service: case.ready),
        helm=SimpleNamespace(status=lambda _name, _namespace: found),
        database=SimpleNamespace(migrations=lambda: case.table),
    )
    decision = rollback.decide(site, upgrade)
    assert decision.restore is case.restore
    assert upgrade.recall("database-decision")["restore"] is case.restore
    assert code_of(lambda: rollback.require_decided(site, upgrade, decision)) == case.code


def test_a_decision_says_what_it_rests_on() -> None:
    decision = Decision(compatible=("0101",), breaking=(), tried=True, problem="")
    assert str(decision) == "keep: category A 0101, B none; blue reads and writes on it"
    assert str(replace(decision, breaking=("0102",), tried=False)).startswith(
        "restore: category A 0101, B 0102; blue is"
    )


def test_ids_in_use_are_no_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(sequences, "require_ahead", asked.append)
    rollback.require_ids_ahead(cast("Any", "the site"))
    assert asked == ["the site"]


# -- R.2e --------------------------------------------------------------------------------------------------------------

RUNNING = RunningImages(digests={"web": frozenset(KEPT.images), "worker": frozenset(KEPT.images)}, unidentified=())


def test_blue_is_brought_to_the_release_before(upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, object]]] = []

    def bring(_site: object, _upgrade: Upgrade, environment: Any, **options: object) -> Installed:  # noqa: ANN401
        asked.append((environment.name, options))
        return Installed(status="deployed", tags=frozenset({"2027.Q1"}))

    monkeypatch.setattr(release, "bring", bring)
    monkeypatch.setattr(release, "running_images", lambda _site, _environment: RUNNING)
    redeployed = rollback.redeploy_blue(cast("Any", None), upgrade)
    assert asked == [("blue", {"tag": "2027.Q1", "action": REDEPLOY})]
    rollback.require_redeployed(upgrade, redeployed)
    assert upgrade.journal.last("deviation", id="F.12") is not None


@pytest.mark.parametrize(
    ("status", "tags", "code"),
    [
        ("deployed", {"2027.Q1"}, ""),
        ("failed", {"2027.Q1"}, "blue-not-deployed"),
        ("deployed", {"2027.Q2"}, "blue-not-deployed"),
        ("deployed", {"2027.Q1", "2027.Q2"}, "blue-not-deployed"),
        ("deployed", set(), "blue-not-deployed"),
    ],
)
def test_blue_is_at_the_release_before_and_no_other(upgrade: Upgrade, status: str, tags: set[str], code: str) -> None:
    redeployed = Redeployed(status=status, tags=frozenset(tags), images=RUNNING)
    assert code_of(lambda: rollback.require_redeployed(upgrade, redeployed)) == code


@pytest.mark.parametrize(
    ("is_kept", "images", "code"),
    [
        (True, RUNNING, ""),
        (True, replace(RUNNING, digests={"web": frozenset({"sha256:" + "b" * 64})}), "image-digest-differs"),
        (True, replace(RUNNING, unidentified=("web-1",)), "image-digest-differs"),
        (True, replace(RUNNING, digests={}), "image-digest-differs"),
        (False, replace(RUNNING, digests={"web": frozenset({"sha256:" + "b" * 64})}), ""),
        (False, replace(RUNNING, digests={}), "image-digest-differs"),
    ],
)
def test_blue_runs_what_it_ran(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch, is_kept: bool, images: RunningImages, code: str
) -> None:
    monkeypatch.setattr(fingerprint, "kept", lambda _upgrade: KEPT if is_kept else None)
    redeployed = Redeployed(status="deployed", tags=frozenset({"2027.Q1"}), images=images)
    assert code_of(lambda: rollback.require_same_images(upgrade, redeployed)) == code


# -- the state ---------------------------------------------------------------------------------------------------------


def test_a_state_that_differs_is_no_success(upgrade: Upgrade) -> None:
    state = SimpleNamespace(now=KEPT)
    site: Any = SimpleNamespace(state=lambda _roles, **_: state.now)
    rollback.require_as_before(site, upgrade, with_evidence=True)
    fingerprint.take(upgrade, site)
    rollback.require_as_before(site, upgrade, with_evidence=True)
    state.now = replace(KEPT, replicas={"web": 1})
    with pytest.raises(ClauseFailed) as raised:
        rollback.require_as_before(site, upgrade, with_evidence=False)
    assert raised.value.code == "state-differs"
    assert "replicas web: 2 before, 1 now" in raised.value.seen


# -- R.3 ---------------------------------------------------------------------------------------------------------------


class Green:
    """A site with green still on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.routes: tuple[str, ...] = ()
        self.depths = [0]
        self.status: str | None = "deployed"
        self.pods = [[{"metadata": {"name": "web-1"}}], []]
        self.uninstalled: list[str] = []
        self.configuration: CouldNotMeasure | None = None
        self.helm = SimpleNamespace(
            status=lambda name, _namespace: helm_release(name, status=self.status) if self.status else None,
            uninstall=self._uninstall,
        )
        self.cluster = SimpleNamespace(list=lambda *_, **__: self.pods.pop(0) if len(self.pods) > 1 else self.pods[0])
        monkeypatch.setattr(rollback, "routes_to", lambda _site, _environment: self.routes)
        monkeypatch.setattr(connections, "of", self._connections)

    def _uninstall(self, name: str, _namespace: str) -> None:
        self.uninstalled.append(name)
        self.status = None

    def _connections(self, *_: object, running: bool) -> Any:  # noqa: ANN401
        assert running
        if self.configuration is not None:
            raise self.configuration
        depth = SimpleNamespace(queue_depth=lambda: self.depths.pop(0) if len(self.depths) > 1 else self.depths[0])
        return SimpleNamespace(cache=depth)


@pytest.fixture
def green(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    return Green(monkeypatch)


def test_green_is_removed_once_its_jobs_are_done(green: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    green.depths = [3, 1, 0]
    rollback.require_nobody_sent(green, upgrade)
    state = rollback.remove_green(green, upgrade)
    rollback.require_green_gone(green, upgrade, state)
    assert green.uninstalled == ["stellaops-green"]
    assert upgrade.journal.last("done", action=REMOVE_GREEN) is not None
    assert rollback.remove_green(green, upgrade) == "absent"
    assert green.uninstalled == ["stellaops-green"], "what is gone is not removed again"
    rollback.require_nobody_sent(green, upgrade)


def test_green_stays_while_a_route_leads_to_it(green: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    green.routes = ("Ingress preview in namespace stellaops-green",)
    assert code_of(lambda: rollback.require_nobody_sent(green, upgrade)) == "green-still-routed"


def test_green_stays_while_a_job_of_it_is_not_done(green: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    green.depths = [2]
    with pytest.raises(Timeout) as raised:
        rollback.require_nobody_sent(green, upgrade)
    assert raised.value.code == "green-queue-not-empty"


def test_a_green_that_never_came_so_far_as_to_have_a_queue(green: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    green.configuration = CouldNotMeasure("not there", code="configuration-missing")
    rollback.require_nobody_sent(green, upgrade)
    green.configuration = CouldNotMeasure("unreachable", code="kubernetes-unreachable")
    assert code_of(lambda: rollback.require_nobody_sent(green, upgrade)) == "kubernetes-unreachable"


def test_green_that_is_still_there_is_said(green: Any, upgrade: Upgrade) -> None:  # noqa: ANN401
    assert code_of(lambda: rollback.require_green_gone(green, upgrade, "uninstalling")) == "green-not-removed"
    green.pods = [[{"metadata": {"name": "web-1"}}]]
    assert code_of(lambda: rollback.require_green_gone(green, upgrade, "absent")) == "green-pods-left"


# -- looking -----------------------------------------------------------------------------------------------------------


def served(colour: str) -> Served:
    return Served(total=20, by_colour={colour: 20}, failed=0, pods={}, problems=())


def looking(upgrade: Upgrade) -> Any:  # noqa: ANN401
    found = {"stellaops-blue": helm_release("stellaops-blue"), "stellaops-green": helm_release("g", status="failed")}
    return SimpleNamespace(
        target=upgrade.target,
        routing=SimpleNamespace(who_serves=lambda _requests: served("green"), is_split=lambda: True),
        helm=SimpleNamespace(status=lambda name, _namespace: found.get(name)),
        database=SimpleNamespace(migrations=lambda: (OLD, A, B)),
        releases=found,
    )


def test_what_decides_is_looked_at(upgrade: Upgrade) -> None:
    site = looking(upgrade)
    seen = rollback.observe(site, upgrade.roles)
    assert (seen.serves, seen.is_split, seen.blue_installed, seen.green_installed) == ("green", True, True, True)
    assert (seen.breaking, seen.problems) == (("0102",), ())
    site.releases["stellaops-blue"] = helm_release("stellaops-blue", status="uninstalling")
    assert rollback.observe(site, upgrade.roles).blue_installed is False


def test_what_does_not_answer_is_not_known(upgrade: Upgrade) -> None:
    site = looking(upgrade)

    def refuse(*_: object) -> None:
        raise CouldNotMeasure("the database does not answer")

    site.database.migrations = refuse
    seen = rollback.observe(site, upgrade.roles)
    assert (seen.serves, seen.breaking) == ("green", None)
    assert seen.problems == ("not known: the database does not answer",)


def test_the_way_is_planned_from_both_and_looking_writes_nothing(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    site = looking(upgrade)
    site.assign_roles = lambda roles: closed.append(f"with {roles.blue.name}")
    site.close = lambda: closed.append("closed")
    monkeypatch.setattr(rollback, "connect", lambda _target: site)
    upgrade.journal.write("weight", percent=100)
    made = rollback.plan(upgrade)
    assert made.needed == ("R.2a", "R.2b", "R.2d", "R.1", "R.2c")
    assert closed == ["with blue", "closed"]
    assert len(upgrade.journal) == 1


@pytest.mark.parametrize(("serves", "state"), [("blue", "none"), ("green", "running")])
def test_green_is_observed_no_longer_once_blue_has_the_traffic(upgrade: Upgrade, serves: str, state: str) -> None:
    upgrade.journal.write("run_started")
    upgrade.remember("observation", state="running", until="2027-04-04T08:00:00Z", window_s=259200.0)
    site: Any = SimpleNamespace(
        routing=SimpleNamespace(restore=lambda: None, who_serves=lambda _number: served(serves))
    )
    assert rollback.go_back(site, upgrade).serves == serves
    facts = upgrade.recall("observation")
    assert facts["state"] == state
    assert facts["window_s"] == 259200.0


def test_why_is_what_the_person_said(upgrade: Upgrade) -> None:
    upgrade.journal.write("run_started")
    assert rollback.why(upgrade) == "asked for"
    upgrade.journal.write("run_resumed", procedure="rollback", reason="one customer waits")
    assert rollback.why(upgrade) == "asked for: one customer waits"
    upgrade.journal.write("run_resumed", procedure="rollback", reason="")
    assert rollback.why(upgrade) == "asked for: no reason was given"
    upgrade.journal.write("run_resumed", procedure="resume")
    upgrade.journal.write("clause_finished", clause="3.1b", result="FAIL", reason="p99")
    assert rollback.why(upgrade) == "3.1b: p99"
