"""Catalogue, inventory and plan: what must agree, and what a plan says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cutover.errors import RunbookInvalid, WrongInput
from cutover.model import Risk, Strategy
from cutover.policy import Policy
from cutover.runbook import inventory, plan
from cutover.runbook.catalogue import Catalogue, load_clauses
from cutover.runbook.plan import NotRunKind, Scope
from cutover.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from miniature import Miniature


@pytest.fixture
def catalogue(miniature: Miniature) -> Catalogue:
    """Return the miniature's catalogue."""
    return load_clauses(miniature.root / "contract" / "clauses.toml")


# -- catalogue ---------------------------------------------------------------------------------------------------------


def test_the_order_of_the_file_is_the_order_of_a_run(catalogue: Catalogue) -> None:
    assert [clause.id for clause in catalogue][:3] == ["P.1", "1.1a", "2.1a"]
    assert catalogue.position("3.1a") == 3
    assert [clause.id for clause in catalogue.tagged(["clause_3_2", "phase_3", "clause_P_1"])] == ["P.1", "3.2"]


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ('id = "1.1a"', 'id = "P.1"', "clause P.1 stands there twice"),
        ('phase = "1"', 'phase = "9"', "phase '9', which has no title"),
        ("stage = 2", "stage = 7", "has stage 7"),
        ('risk = "irreversible"', 'risk = "scary"', "cannot be read"),
        ('not_built = "not yet"', 'not_built = ""', "does not say why"),
        ('guide = "g"', 'giude = "g"', "lacks 'guide'"),
        ('check = "c"', 'check = "c"\nchanges = "much"', "does not say how that is undone"),
        ("[phases]", "[phases", "cannot be read"),
    ],
)
def test_an_inconsistent_catalogue_is_refused(miniature: Miniature, old: str, new: str, part: str) -> None:
    path = miniature.root / "contract" / "clauses.toml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(RunbookInvalid) as raised:
        load_clauses(path)
    assert part in str(raised.value)


# -- inventory ---------------------------------------------------------------------------------------------------------


def _problems(miniature: Miniature, catalogue: Catalogue) -> list[str]:
    return inventory.problems(inventory.read_features(miniature.root / "features"), catalogue)


def test_nothing_is_wrong_with_the_miniature(miniature: Miniature, catalogue: Catalogue) -> None:
    assert _problems(miniature, catalogue) == []


SCENARIO = "    When clause 2.1a is performed\n    Then it holds\n"


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("@clause_2_1a", "@reversible", "'Clause 2.1a holds' has no clause tag"),
        ("@clause_2_1a", "@clause_9_9z", "the tag @clause_9_9z is not registered"),
        ("@clause_2_1a", "@clause_2_1a @hasty", "the tag @hasty is not registered"),
        ("@clause_2_1a", "@clause_2_1a @clause_T_1", "clause T.1 has a scenario and is said not to be built"),
        ("@clause_2_1a", "@clause_1_1a", "clause 2.1a (Clause 2.1a) has neither a scenario nor a line"),
        ("    Then it holds\n", "    When clause 1.1a is performed\n    Then it holds\n", "has 2 When steps"),
        ("    When clause 2.1a is performed\n", "", "has 0 When steps"),
        ("is performed\n", "is performed\n    And clause 1.1a is performed\n", "has 2 When steps"),
        ("    Then it holds\n", "", "has no Then"),
        ("Given the site is there", "When the site is there", "a Background holds only Givens"),
        ("Clause 2.1a holds", "http://blue holds", "'http://' is not the operator's language"),
        ("it holds", 'it says {"a": 1}', "'{' is not the operator's language"),
        ("it holds", "kubectl holds", "'kubectl' is not the operator's language"),
        ("it holds", "it holds --wait", "'--w' is not the operator's language"),
        (
            "  @clause_2_1a",
            "  @clause_2_1a\n  Scenario: Clause 2.1a holds\n" + SCENARIO + "\n  @clause_2_1a",
            "2 scenarios are called 'Clause 2.1a holds'",
        ),
    ],
)
def test_what_is_wrong_with_a_feature_is_named(
    miniature: Miniature, catalogue: Catalogue, old: str, new: str, part: str
) -> None:
    path = miniature.root / "features" / "2.feature"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    assert any(part in problem for problem in _problems(miniature, catalogue)), _problems(miniature, catalogue)


@pytest.mark.parametrize(("text", "part"), [("Feature", "is not Gherkin"), ("# nothing\n", "holds no feature")])
def test_a_file_that_is_no_feature(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "a.feature").write_text(text, "utf-8")
    with pytest.raises(RunbookInvalid, match=part):
        inventory.read_features(tmp_path)


def test_rows_of_an_outline_carry_their_blocks_tags(tmp_path: Path) -> None:
    (tmp_path / "a.feature").write_text(
        "@phase_3\nFeature: F\n  Rule: R\n    Background:\n      Given b\n\n    Scenario Outline: <w> percent\n"
        "      When the weight is <w>\n      Then it is <w>\n\n      @clause_3_1a\n      Examples: one\n"
        "        | w |\n        | 10 |\n\n      @clause_3_1b\n      Examples: two\n        | w |\n        | 25 |\n",
        "utf-8",
    )
    first, second = inventory.read_features(tmp_path)
    assert (first.name, first.tags) == ("10 percent", {"phase_3", "clause_3_1a"})
    assert (second.name, second.tags) == ("25 percent", {"phase_3", "clause_3_1b"})
    assert second.rule == "R"
    assert [step.text for step in (*second.background, *second.steps)] == ["b", "the weight is 25", "it is 25"]


# -- plan --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phases", "until", "stages", "text"),
    [
        ((), None, (1, 2, 3, 4, 5), "all"),
        ((3,), None, (3,), "phases 3"),
        ((3, 1, 3), None, (1, 3), "phases 1, 3"),
        ((), 2, (1, 2), "until 2"),
        ((), 5, (1, 2, 3, 4, 5), "until 5"),
    ],
)
def test_scope(phases: tuple[int, ...], until: int | None, stages: tuple[int, ...], text: str) -> None:
    scope = Scope.of(phases=phases, until=until)
    assert (scope.stages, scope.text) == (stages, text)


@pytest.mark.parametrize(("phases", "until"), [((0,), None), ((6,), None), ((), 0), ((1,), 2)])
def test_a_scope_that_is_none(phases: tuple[int, ...], until: int | None) -> None:
    with pytest.raises(WrongInput):
        Scope.of(phases=phases, until=until)


def _plan(miniature: Miniature, **settings: object) -> plan.Plan:
    return plan.make(
        catalogue=load_clauses(miniature.root / "contract" / "clauses.toml"),
        scenarios=inventory.read_features(miniature.root / "features"),
        target=Target.load(miniature.root / "target.toml"),
        policy=Policy.read(miniature.root / "policy.toml"),
        **settings,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("strategy", "scope", "in_run", "left"),
    [
        ("gradual", Scope(), True, {"R.1": "not-needed", "T.1": "not-built"}),
        ("instant", Scope(), True, {"3.1a": "strategy", "R.1": "not-needed", "T.1": "not-built"}),
        (
            "gradual",
            Scope(),
            False,
            {"5.1": "observation", "5.2a": "observation", "R.1": "not-needed", "T.1": "not-built"},
        ),
        (
            "instant",
            Scope.of(phases=[3]),
            True,
            dict.fromkeys(("P.1", "1.1a", "2.1a", "4.1a", "5.1", "5.2a"), "scope")
            | {"3.1a": "strategy", "R.1": "not-needed", "T.1": "not-built"},
        ),
    ],
)
def test_what_a_plan_leaves_out_and_why(
    miniature: Miniature, strategy: str, scope: Scope, in_run: bool, left: dict[str, str]
) -> None:
    miniature.write_target(in_run=in_run)
    made = _plan(miniature, strategy=Strategy(strategy), scope=scope)
    assert {clause.id: clause.not_run.kind for clause in made.clauses if clause.not_run} == left


def test_points_of_no_return_are_those_that_are_performed(miniature: Miniature) -> None:
    assert _plan(miniature).points_of_no_return == ("5.2a",)
    assert _plan(miniature, scope=Scope.of(until=4)).points_of_no_return == ()


def test_the_digest_covers_everything(miniature: Miniature) -> None:
    first = _plan(miniature)
    assert first.digest == _plan(miniature).digest
    assert first.digest != _plan(miniature, strategy=Strategy.INSTANT).digest
    policy = miniature.root / "policy.toml"
    policy.write_text(policy.read_text("utf-8").replace("bake_s = 600", "bake_s = 601"), "utf-8")
    assert first.digest != _plan(miniature).digest


def test_only_these_kinds_let_a_run_pass() -> None:
    assert {kind.value for kind in NotRunKind if kind.allows_passing} == {
        "not-built",
        "strategy",
        "not-needed",
        "observation",
    }


def test_the_real_catalogue_names_the_targets_own_things(miniature: Miniature) -> None:
    made = plan.make(
        catalogue=load_clauses(),
        scenarios=(),
        target=Target.load(miniature.root / "target.toml"),
        policy=Policy.read(miniature.root / "policy.toml"),
    )
    changes = {clause.id: clause.changes for clause in made.clauses}
    assert changes["2.1a"] == "release stellaops-green at 2027.Q2 in namespace stellaops-green"
    assert changes["3.1b"] == "canary stellaops-canary in stellaops-prod sends 25 % to green"
    assert [text for text in (*changes.values(), *(clause.undo for clause in made.clauses)) if "{" in text] == []
    assert {clause.id for clause in made.clauses if clause.risk is Risk.IRREVERSIBLE} == {"5.2a", "5.2b", "C.1", "R.2d"}
