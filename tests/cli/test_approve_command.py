"""`cutover approve`: what a person does with a plan, and what a run then finds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "runbook"))

from planned_site import MEANING, SECRETS, PlannedSite, private_pem

from cutover.cli.group import cli
from cutover.clock import SYSTEM_CLOCK
from cutover.evidence import bundle, signing

if TYPE_CHECKING:
    from click.testing import Result

B = "B. Person"


class Operator:
    """The files of a site where B. may approve, B.'s key, and the command line."""

    def __init__(self, folder: Path) -> None:
        self.site = PlannedSite(folder=folder)
        self.site.approvers(B)
        self.site.require()
        self.target = str(folder / "target.toml")
        self.key = folder / "b.key"
        self.key.write_bytes(private_pem(self.site.keys[B]))

    def cutover(self, *arguments: object, typed: str | None = None) -> Result:
        """Call the command line."""
        return CliRunner(env=SECRETS).invoke(cli, [str(argument) for argument in arguments], input=typed)

    def approve(self, *arguments: object, plan: object = "", typed: str | None = None) -> Result:
        """Approve the plan as it is now, in B.'s words, with further arguments."""
        words = ["--as", B, "--meaning", MEANING]
        return self.cutover("approve", "--plan", plan or self.site.plan().digest, *words, *arguments, typed=typed)

    def kept(self) -> list[Path]:
        """Return the approvals that a run would find."""
        return sorted((self.site.folder / "approvals").glob("*"))


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return Operator(tmp_path)


def _refused(result: Result, code: int, *parts: str) -> None:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    for part in parts:
        assert part in result.output


def test_a_plan_is_approved_by_its_digest(operator: Operator) -> None:
    result = operator.approve("--target", operator.target, "--key", operator.key, "--covers", "5.2a, R.2d")
    assert result.exit_code == 0, result.output
    lines = {line[:22].strip(): line[22:] for line in result.output.splitlines()}
    assert lines["approved"] == f"plan {operator.site.plan().digest}"
    assert lines["meaning"] == f"“{MEANING}”"
    assert lines["covers"] == "5.2a, R.2d"
    assert "5.2b" in lines["does not cover"]
    assert lines["kept as"] == str(operator.kept()[0])
    consent = operator.site.consent(performed_by="ci@elsewhere", now=SYSTEM_CLOCK.now())
    consent.require()
    assert consent.approvals[0].covers == ("5.2a", "R.2d")


def test_the_plan_shows_who_approved_it(operator: Operator) -> None:
    shown = operator.cutover("plan", "--target", operator.target).output
    assert "approved              0 of 1 signed; a run is refused until then" in shown
    operator.site.change("policy.toml", "required = true", "required = true\nseparate = false")
    operator.approve("--target", operator.target, "--key", operator.key, "--covers", "all")
    shown = operator.cutover("plan", "--target", operator.target).output
    assert f"approved              {B}, " in shown
    assert f"“{MEANING}”, covers 5.2a, 5.2b" in shown
    document = json.loads(operator.cutover("plan", "--target", operator.target, "--json").stdout)
    assert document["approvals"]["needed"] is True
    assert [signed["name"] for signed in document["approvals"]["signed"]] == [B]
    operator.site.change("policy.toml", "bake_s = 600", "bake_s = 60")
    assert "void, signs another plan: " in operator.cutover("plan", "--target", operator.target).output


def test_the_same_approval_of_another_scope_needs_its_options(operator: Operator) -> None:
    shown = operator.cutover("plan", "--target", operator.target, "--until", "3", "--strategy", "instant", "--json")
    digest = json.loads(shown.stdout)["digest"]
    _refused(operator.approve("--target", operator.target, "--key", operator.key, plan=digest), 5, "is not the one")
    assert operator.kept() == []
    scope = ["--until", "3", "--strategy", "instant"]
    assert operator.approve("--target", operator.target, "--key", operator.key, *scope, plan=digest).exit_code == 0


def test_a_plans_file_is_enough_where_the_target_is_not_at_hand(operator: Operator) -> None:
    plan = operator.site.folder / "plan.json"
    plan.write_text(operator.cutover("plan", "--target", operator.target, "--json").output, "utf-8")
    _refused(operator.approve("--key", operator.key, plan=plan), 2, "--output DIR")
    result = operator.approve("--key", operator.key, "--output", operator.site.folder / "approvals", plan=plan)
    assert result.exit_code == 0, result.output
    assert "not verified" in result.output
    operator.site.change("policy.toml", "required = true", "required = true\nmin_approvals = 1")
    assert len(operator.kept()) == 1


def test_a_key_with_a_passphrase_asks_for_it_or_reads_it(operator: Operator) -> None:
    operator.key.write_bytes(private_pem(operator.site.keys[B], b"secret words"))
    call = ["--target", operator.target, "--key", operator.key]
    assert operator.approve(*call, typed="secret words\n").exit_code == 0
    _refused(operator.approve(*call, typed="wrong words\n"), 2, "cannot be signed with", "its passphrase")
    passphrase = operator.site.folder / "passphrase"
    passphrase.write_text("secret words\n", "utf-8")
    result = operator.approve(*call, "--passphrase-file", passphrase)
    assert result.exit_code == 0
    assert "secret words" not in result.output


def test_what_was_signed_elsewhere_is_taken_in(operator: Operator) -> None:
    statement = operator.site.folder / "statement.json"
    assert operator.approve("--target", operator.target, "--statement", statement).exit_code == 0
    signed = operator.site.folder / "signed.json"
    signed.write_bytes(signing.sign(bundle.IN_TOTO, statement.read_bytes(), operator.site.keys[B]))
    digest = operator.site.plan().digest
    call = ["approve", "--plan", digest, "--target", operator.target, "--signed", signed]
    assert operator.cutover(*call).exit_code == 0
    assert len(operator.kept()) == 1
    signed.write_bytes(signed.read_bytes().replace(b'"sig":"', b'"sig":"AAAA'))
    _refused(operator.cutover(*call), 5, "nobody whom the target file names")
    assert len(operator.kept()) == 1


def test_an_approval_of_another_plan_is_not_taken_in(operator: Operator) -> None:
    signed = operator.site.folder / "signed.json"
    signed.write_bytes(operator.site.sign(B))
    operator.site.change("policy.toml", "bake_s = 600", "bake_s = 60")
    digest = operator.site.plan().digest
    result = operator.cutover("approve", "--plan", digest, "--target", operator.target, "--signed", signed)
    _refused(result, 5, "what was signed is another plan")
    assert operator.kept() == []


def test_a_name_that_the_target_does_not_have_is_refused_before_anything_is_kept(operator: Operator) -> None:
    digest = operator.site.plan().digest
    call = ["approve", "--plan", digest, "--target", operator.target, "--key", operator.key, "--meaning", "go"]
    _refused(operator.cutover(*call, "--as", "D. Stranger"), 5, "who may approve: B. Person")
    assert operator.kept() == []


def test_who_asks_is_told_at_once_that_they_may_not_approve(operator: Operator) -> None:
    operator.site.change("policy.toml", "A. Person (CHG-1042)", f"{B} (CHG-1042)")
    _refused(operator.approve("--target", operator.target, "--key", operator.key), 5, "may not approve it")
    assert operator.kept() == []
    operator.site.change("policy.toml", "required = true", "required = true\nseparate = false")
    assert operator.approve("--target", operator.target, "--key", operator.key).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--key", "KEY", "--statement", "s.json"], "--key and --statement exclude each other"),
        ([], "it is not said how the approval is signed"),
        (["--key", "absent.key"], "there is no private key in absent.key"),
        (["--key", "TARGET"], "cannot be signed with"),
        (["--key", "KEY", "--covers", "3.1a"], "3.1a is no point of no return"),
        (["--key", "KEY", "--meaning", " "], "an approval needs a name and a meaning"),
    ],
)
def test_wrong_input_is_one_message(operator: Operator, arguments: list[str], part: str) -> None:
    names = {"KEY": str(operator.key), "TARGET": operator.target}
    given = [names.get(argument, argument) for argument in arguments]
    _refused(operator.approve("--target", operator.target, *given), 2, part)
    assert operator.kept() == []


def test_a_digest_alone_says_nothing(operator: Operator) -> None:
    _refused(operator.approve("--key", operator.key), 2, "--target FILE")
    _refused(operator.approve("--signed", operator.key, plan=_written_plan(operator)), 2, "nothing says who may sign")


def _written_plan(operator: Operator) -> Path:
    path = operator.site.folder / "plan.json"
    path.write_text(json.dumps(operator.site.plan().document()), "utf-8")
    return path


def test_a_changed_plans_file_is_not_approved(operator: Operator) -> None:
    path = _written_plan(operator)
    path.write_text(path.read_text("utf-8").replace('"scope": "all"', '"scope": "until 2"'), "utf-8")
    _refused(operator.approve("--target", operator.target, "--key", operator.key, plan=path), 2, "was changed")
