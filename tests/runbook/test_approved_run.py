"""A run of the miniature runbook that needs a signed approval: what begins without it, and what its record holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from planned_site import private_key, public_pem

from cutover.clock import SYSTEM_CLOCK
from cutover.evidence import bundle, dsse, signing
from cutover.policy import Policy
from cutover.runbook import approval, catalogue, inventory, materials, plan
from cutover.target import Target

if TYPE_CHECKING:
    from miniature import Miniature, Ran

B = "B. Person"
_TRIES = 5


@pytest.fixture
def asked(miniature: Miniature) -> Miniature:
    """Return a runbook whose policy demands a signature, and whose target knows one person's key."""
    approvers = f'\n[approval]\n[[approval.approvers]]\nname = "{B}"\nkey = {json.dumps(public_pem(private_key(1)))}\n'
    _replace(miniature, "target.toml", "\n[fixtures]\n", f"{approvers}\n[fixtures]\n")
    _replace(miniature, "policy.toml", "[approval]\n", "[approval]\nrequired = true\n")
    return miniature


def _replace(miniature: Miniature, name: str, old: str, new: str) -> None:
    path = miniature.root / name
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def _approve(miniature: Miniature, *, covers: tuple[str, ...] = ("all",), until: int | None = None) -> None:
    """Sign the plan of a run as it is now."""
    root = miniature.root
    materials.of_harness.cache_clear()  # the run is another process, and reads the harness as it is by then
    target = Target.load(root / "target.toml")
    document = plan.make(
        catalogue=catalogue.load_clauses(root / "contract" / "clauses.toml"),
        scenarios=inventory.read_features(root / "features"),
        target=target,
        policy=Policy.read(target.policy_path),
        scope=plan.Scope.of(until=until),
    ).document()
    payload = approval.statement(
        document, name=B, account="b@laptop", meaning="go", at=SYSTEM_CLOCK.now(), covers=covers
    )
    (root / "approvals").mkdir(exist_ok=True)
    path = root / "approvals" / f"{document['digest'][7:19]}.dsse.json"
    path.write_bytes(signing.sign(bundle.IN_TOTO, payload, private_key(1)))


def _approved(
    miniature: Miniature, *arguments: str, covers: tuple[str, ...] = ("all",), until: int | None = None
) -> Ran:
    """Sign the plan and run it; again where somebody edited the harness itself between the two."""
    for _ in range(_TRIES):
        _approve(miniature, covers=covers, until=until)
        ran = miniature.run(*arguments)
        if "tool harness: was" not in ran.err:
            break
    return ran


def _refused(ran: Ran, *parts: str) -> None:
    assert ran.code == 5, ran.out + ran.err
    assert ran.out == ""
    assert ran.err.count("REFUSED") == 1
    assert ran.folder is None, "a run that was refused leaves no record"
    for part in parts:
        assert part in ran.err


def _head(ran: Ran) -> dict[str, Any]:
    approved: dict[str, Any] = ran.journal[0]["data"]["approval"]
    return approved


def test_without_an_approval_nothing_begins(asked: Miniature) -> None:
    _refused(asked.run(), "nobody has approved this plan with a signature", "./cutover approve --plan sha256:")


def test_with_one_the_run_passes_and_its_record_proves_who_agreed(asked: Miniature) -> None:
    ran = _approved(asked)
    assert ran.code == 0, ran.out + ran.err
    assert ran.folder is not None
    head = _head(ran)
    assert (head["approved_by"], head["meaning"], head["signed"]) == (B, "go", True)
    assert ran.verdict["approval"]["signature"].startswith(f"signed: {B} with key ")
    (line,) = (line for line in ran.journal if line["event"] == "approval")
    kept = ran.folder / line["data"]["file"]
    (person,) = json.loads((kept.parent / "approvers.json").read_text("utf-8"))
    statement = json.loads(dsse.verify(kept.read_bytes(), [dsse.load_key(person["key"])]).payload)
    assert statement["subject"][0]["digest"] == {"sha256": ran.verdict["plan"]["digest"].removeprefix("sha256:")}


def test_drift_is_named_and_nothing_begins(asked: Miniature) -> None:
    _approve(asked)
    _replace(asked, "policy.toml", "bake_s = 600", "bake_s = 60")
    _refused(
        asked.run(), "not the one that was approved any more", "policy file: was sha256:", "or have the plan as it is"
    )


def test_another_scope_is_another_plan(asked: Miniature) -> None:
    _approve(asked)
    _refused(asked.run("--until", "2"), "scope: was all, now until 2")
    assert _approved(asked, "--until", "2", until=2).code == 4


def test_a_point_of_no_return_that_nobody_allowed_is_refused_at_once(asked: Miniature) -> None:
    _refused(_approved(asked, covers=()), "no approval covers 5.2a, which cannot be undone", "--covers 5.2a")


def test_where_nobody_needs_to_sign_the_record_says_so(miniature: Miniature) -> None:
    head = _head(miniature.run("--phase", "1"))
    assert (head["approved_by"], head["signed"], head["signature"]) == ("B. Person", False, approval.UNSIGNED)


# -- in further attempts -----------------------------------------------------------------------------------------------


def _go_on(miniature: Miniature, ran: Ran) -> Ran:
    assert ran.folder is not None
    return miniature.run("--continue", str(ran.folder))


def test_going_on_to_more_than_was_approved_needs_an_approval_of_that(asked: Miniature) -> None:
    first = _approved(asked, "--until", "2", until=2)
    assert first.code == 4, first.out + first.err
    ran = _go_on(asked, first)
    assert ran.code == 5, ran.out + ran.err
    assert "scope: was until 2, now all" in ran.err
    assert [line for line in ran.journal if line["event"] == "run_resumed"] == []
    for _ in range(_TRIES):
        _approve(asked)
        ran = _go_on(asked, first)
        if ran.code != 5:
            break
    assert ran.code == 0, ran.out + ran.err
    assert ran.folder is not None
    plans = [line["data"]["digest"] for line in ran.journal if line["event"] == "plan"]
    kept = [json.loads((ran.folder / name).read_text("utf-8")) for name in ("plan.json", "plan-2.json")]
    assert [document["digest"] for document in kept] == plans
    assert [document["scope"] for document in kept] == ["until 2", "all"]
    assert ran.verdict["plan"]["digest"] == plans[-1]
    assert {signed["name"] for signed in ran.verdict["approval"]["approvals"]} == {B}
    assert len(ran.verdict["approval"]["approvals"]) == 2


def test_going_on_with_what_was_approved_needs_nothing_more(asked: Miniature) -> None:
    first = _approved(asked)
    assert first.code == 0
    killed = asked.run(do={"3.1a": "kill"})
    if "tool harness: was" in killed.err:
        pytest.skip("the harness itself was edited meanwhile")
    for path in (asked.root / "approvals").iterdir():
        path.unlink()
    ran = _go_on(asked, killed)
    assert ran.code == 0, ran.out + ran.err
    assert len([line for line in ran.journal if line["event"] == "plan"]) == 1


def test_another_chart_is_not_gone_on_with(miniature: Miniature) -> None:
    killed = miniature.run(do={"2.1a": "kill"})
    (miniature.root / "helm" / "stellaops" / "Chart.yaml").write_text("name: another\n", "utf-8")
    ran = _go_on(miniature, killed)
    assert ran.code == 5
    assert "chart.path: was sha256:" in ran.err
    (miniature.root / "helm" / "stellaops" / "Chart.yaml").unlink()
    assert _go_on(miniature, killed).code == 0


def test_blue_is_brought_back_whatever_was_changed(miniature: Miniature) -> None:
    killed = miniature.run(do={"3.2": "fail", "R.1": "kill"})
    (miniature.root / "helm" / "stellaops" / "Chart.yaml").write_text("name: another\n", "utf-8")
    ran = _go_on(miniature, killed)
    assert ran.verdict["rollback"]["serves"] == "blue", ran.out + ran.err
