"""A plan: what changes its digest, and how that is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cutover import project
from cutover.model import Risk, Strategy
from cutover.policy import Policy
from cutover.runbook import catalogue, inventory, materials, plan
from cutover.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cutover.runbook.plan import Plan

    Make = Callable[..., Plan]

SECRETS = {
    "STELLA_DSN": "postgresql://stella:data-pass@db/stellaops",
    "STELLA_LOG_DSN": "postgresql://stella:data-pass@db/stella_log",
    "STELLA_BLUE_CACHE_URL": "redis://:blue-pass@cache:6379/0",
    "STELLA_GREEN_CACHE_URL": "redis://:green-pass@cache:6380/0",
    "STELLA_ADMIN_DSN": "postgresql://admin:admin-pass@db/postgres",
    "STELLA_STORE_ACCESS_KEY": "access-key",
    "STELLA_STORE_SECRET_KEY": "secret-key",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a target, its policy, and the files that it names."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for name in ("target.toml", "policy.toml"):
        (tmp_path / name).write_bytes((project.CONTRACT / "examples" / name).read_bytes())
    chart = tmp_path / "helm" / "stellaops" / "templates"
    chart.mkdir(parents=True)
    (chart / "web.yaml").write_text("kind: Deployment\n", "utf-8")
    (tmp_path / "values-green.yaml").write_text("replicas: 2\nsecretKey: green-canary\n", "utf-8")
    (tmp_path / "trust.json").write_text("{}", "utf-8")
    return tmp_path


@pytest.fixture
def make(folder: Path) -> Make:
    """Return a function that makes the plan of the files as they are now."""

    def do(*, strategy: Strategy | None = None, scope: plan.Scope | None = None) -> Plan:
        target = Target.load(folder / "target.toml")
        return plan.make(
            catalogue=catalogue.load_clauses(),
            scenarios=inventory.read_features(project.FEATURES),
            target=target,
            policy=Policy.read(target.policy_path),
            strategy=strategy,
            scope=scope,
        )

    return do


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
    folder: Path, make: Make, path: str, change: tuple[str, str], named: list[str]
) -> None:
    before = make()
    text = (folder / path).read_text("utf-8")
    assert change[0] in text
    (folder / path).write_text(text.replace(*change), "utf-8")
    assert _changes(before, make()) == named


def test_a_file_more_in_the_chart_is_a_change(folder: Path, make: Make) -> None:
    before = make()
    (folder / "helm" / "stellaops" / "extra.yaml").write_text("", "utf-8")
    assert _changes(before, make()) == ["input chart.path"]


def test_a_file_that_is_renamed_is_a_change(folder: Path, make: Make) -> None:
    before = make()
    templates = folder / "helm" / "stellaops" / "templates"
    (templates / "web.yaml").rename(templates / "worker.yaml")
    assert _changes(before, make()) == ["input chart.path"]


def test_another_scope_or_strategy_is_another_plan(make: Make) -> None:
    assert _changes(make(), make(strategy=Strategy.INSTANT)) == ["strategy", "clauses"]
    assert _changes(make(), make(scope=plan.Scope.of(until=3))) == ["scope", "clauses"]


def test_what_a_run_changes_itself_is_no_part_of_the_plan(folder: Path, make: Make) -> None:
    before = make().digest
    (folder / "docs").mkdir()
    (folder / "docs" / "CHANGELOG.md").write_text("# 2027.Q2\n", "utf-8")
    (folder / "kubeconfig").write_text("token: other\n", "utf-8")
    assert make().digest == before


def test_a_renewed_secret_is_the_same_plan_and_no_digest_depends_on_it(folder: Path, make: Make) -> None:
    before = make()
    text = (folder / "values-green.yaml").read_text("utf-8")
    (folder / "values-green.yaml").write_text(text.replace("green-canary", "another-canary"), "utf-8")
    assert make().digest == before.digest


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


def test_the_digest_is_over_everything_but_what_is_said_beside_it(make: Make) -> None:
    document = json.loads(json.dumps(make().document()))
    assert plan.digest_of({**document, "estimates": {"total_s": 1}}) == document["digest"]
    for key, value in document.items():
        if key != "digest":
            assert plan.digest_of({**document, key: [value]}) != document["digest"]
    with pytest.raises(ValueError, match="canonical"):
        plan.digest_of({**document, "scope": float("nan")})


def test_points_of_no_return_are_told_apart_by_when_they_come(folder: Path, make: Make) -> None:
    made = make()
    assert made.points_of_no_return == ()
    assert {"5.2a", "5.2b", "R.2d"} <= set(made.later_points)
    policy = (folder / "policy.toml").read_text("utf-8")
    (folder / "policy.toml").write_text(policy.replace("in_run = false", "in_run = true"), "utf-8")
    within = make()
    assert within.points_of_no_return == ("5.2a", "5.2b")
    assert not {"5.2a", "5.2b"} & set(within.later_points)
    assert within.risks()[Risk.IRREVERSIBLE] == 2
