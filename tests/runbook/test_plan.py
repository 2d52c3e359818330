"""A plan: what changes its digest, and how that is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cutover.model import Risk, Strategy
from cutover.runbook import materials, plan

if TYPE_CHECKING:
    from pathlib import Path

    from planned_site import PlannedSite

    from cutover.runbook.plan import Plan


def _changes(before: Plan, after: Plan) -> list[str]:
    assert before.digest != after.digest
    lines = plan.changes(plan.outline(before.document()), plan.outline(after.document()))
    return [line.partition(":")[0] for line in lines]


@pytest.mark.parametrize(
    ("path", "change", "named"),
    [
        ("policy.toml", ("bake_s = 600", "bake_s = 601"), ["policy file"]),
        ("target.toml", ('name = "staging-eu"', 'name = "staging-us"'), ["target", "target file"]),
        ("helm/stellaops/templates/web.yaml", ("Deployment", "StatefulSet"), ["input chart.path"]),
        ("values-green.yaml", ("replicas: 2", "replicas: 3"), ["input colours.green.values 1"]),
        ("trust.json", ("{}", "{ }"), ["input evidence.trust_root"]),
    ],
)
def test_whatever_decides_what_a_run_does_changes_the_digest_and_is_named(
    planned: PlannedSite, path: str, change: tuple[str, str], named: list[str]
) -> None:
    before = planned.plan()
    planned.change(path, *change)
    assert _changes(before, planned.plan()) == named


def test_a_file_more_in_the_chart_is_a_change(planned: PlannedSite) -> None:
    before = planned.plan()
    (planned.folder / "helm" / "stellaops" / "extra.yaml").write_text("", "utf-8")
    assert _changes(before, planned.plan()) == ["input chart.path"]


def test_a_file_that_is_renamed_is_a_change(planned: PlannedSite) -> None:
    before = planned.plan()
    templates = planned.folder / "helm" / "stellaops" / "templates"
    (templates / "web.yaml").rename(templates / "worker.yaml")
    assert _changes(before, planned.plan()) == ["input chart.path"]


def test_another_scope_or_strategy_is_another_plan(planned: PlannedSite) -> None:
    assert _changes(planned.plan(), planned.plan(strategy=Strategy.INSTANT)) == ["strategy", "clauses"]
    assert _changes(planned.plan(), planned.plan(scope=plan.Scope.of(until=3))) == ["scope", "clauses"]


def test_what_a_run_changes_itself_is_no_part_of_the_plan(planned: PlannedSite) -> None:
    before = planned.plan().digest
    (planned.folder / "docs").mkdir()
    (planned.folder / "docs" / "CHANGELOG.md").write_text("# 2027.Q2\n", "utf-8")
    (planned.folder / "kubeconfig").write_text("token: other\n", "utf-8")
    assert planned.plan().digest == before


def test_a_renewed_secret_is_the_same_plan_and_no_digest_depends_on_it(planned: PlannedSite) -> None:
    before = planned.plan()
    planned.change("values-green.yaml", "green-canary", "another-canary")
    assert planned.plan().digest == before.digest


def test_the_harness_itself_is_a_part_of_the_plan(tmp_path: Path) -> None:
    root = tmp_path / "project"
    for name in ("src/cutover/a.py", "features/b.feature", "contract/c.toml", "requirements.lock"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("one", "utf-8")
    before = dict(materials.of_harness(root))
    (root / "src/cutover/__pycache__").mkdir()
    (root / "src/cutover/__pycache__/a.py").write_text("compiled", "utf-8")
    materials.of_harness.cache_clear()
    assert materials.of_harness(root) == before
    (root / "features/b.feature").write_text("two", "utf-8")
    (root / "requirements.lock").write_text("two", "utf-8")
    materials.of_harness.cache_clear()
    after = materials.of_harness(root)
    assert [name for name in before if before[name] != after[name]] == ["harness", "libraries"]


def test_the_digest_is_over_everything_but_what_is_said_beside_it(planned: PlannedSite) -> None:
    document = json.loads(json.dumps(planned.plan().document()))
    assert plan.digest_of({**document, "estimates": {"total_s": 1}}) == document["digest"]
    for key, value in document.items():
        if key != "digest":
            assert plan.digest_of({**document, key: [value]}) != document["digest"]
    with pytest.raises(ValueError, match="canonical"):
        plan.digest_of({**document, "scope": float("nan")})


def test_points_of_no_return_are_told_apart_by_when_they_come(planned: PlannedSite) -> None:
    made = planned.plan()
    assert made.points_of_no_return == ()
    assert {"5.2a", "5.2b", "R.2d"} <= set(made.later_points)
    planned.change("policy.toml", "in_run = false", "in_run = true")
    within = planned.plan()
    assert within.points_of_no_return == ("5.2a", "5.2b")
    assert not {"5.2a", "5.2b"} & set(within.later_points)
    assert within.risks()[Risk.IRREVERSIBLE] == 2
