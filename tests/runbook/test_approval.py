"""Approvals: which count, which are void, and what a run says when they do not suffice."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from planned_site import MEANING, NOW, RUNNER, PlannedSite, private_key, private_pem, public_pem

from cutover.clock import ManualClock
from cutover.errors import CutoverError, Refused, WrongInput
from cutover.evidence import bundle, dsse, signing
from cutover.evidence.errors import EvidenceError
from cutover.runbook import approval
from cutover.runbook.journal import Journal
from cutover.runbook.upgrade import Upgrade
from tests.evidence import sigstore_instance as sigstore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cutover.runbook.approval import Consent

B, C = "B. Person", "C. Person"


@pytest.fixture
def asked(planned: PlannedSite) -> PlannedSite:
    """Return a site where a signed approval is needed, and two people may give it."""
    planned.approvers(B, C)
    planned.require()
    return planned


def _refusal(consent: Consent) -> Refused:
    with pytest.raises(Refused) as caught:
        consent.require()
    return caught.value


# -- which count -------------------------------------------------------------------------------------------------------


def test_an_approval_of_the_very_plan_lets_the_run_begin(asked: PlannedSite) -> None:
    asked.approve(B)
    consent = asked.consent()
    consent.require()
    (signed,) = consent.approvals
    assert (signed.name, signed.meaning, signed.approved_at) == (B, MEANING, NOW)
    assert signed.signed_with == f"key {dsse.key_id(private_key(1).public_key())[:16]}"


def test_without_one_the_run_is_refused_with_what_to_do(asked: PlannedSite) -> None:
    refused = _refusal(asked.consent())
    assert refused.code == "approval-missing"
    assert B in refused.do
    assert C in refused.do
    assert f"./cutover approve --plan {asked.plan().digest}" in refused.do


def test_as_many_people_must_sign_as_the_policy_says_and_one_twice_is_one(asked: PlannedSite) -> None:
    asked.change("policy.toml", "required = true", "required = true\nmin_approvals = 2")
    asked.approve(B)
    asked.approve(B, meaning="once more", at=NOW + timedelta(minutes=1))
    refused = _refusal(asked.consent())
    assert refused.message == "1 of 2 needed people have approved this plan with a signature"
    asked.approve(C)
    consent = asked.consent()
    consent.require()
    assert consent.people == (B, C)


def test_nobody_who_may_approve_is_another_refusal(planned: PlannedSite) -> None:
    planned.require()
    assert _refusal(planned.consent()).code == "approvers-missing"


def test_production_needs_a_signature_whatever_the_policy_says(planned: PlannedSite) -> None:
    planned.approvers(B)
    planned.consent().require()
    planned.change("target.toml", 'kind = "staging"', 'kind = "production"')
    planned.change("policy.toml", "[approval]\n", "[approval]\nrequired = false\n")
    assert _refusal(planned.consent()).code == "approval-missing"
    planned.approve(B)
    planned.consent().require()


# -- drift -------------------------------------------------------------------------------------------------------------


def test_drift_voids_an_approval_and_what_changed_is_named(asked: PlannedSite) -> None:
    asked.approve(B)
    asked.change("policy.toml", "bake_s = 600", "bake_s = 60")
    asked.change("helm/stellaops/templates/web.yaml", "Deployment", "DaemonSet")
    refused = _refusal(asked.consent())
    assert refused.code == "approval-void"
    first, *lines = refused.seen.splitlines()
    assert first.startswith(f"{B} approved sha256:")
    assert first.endswith(f"now it is {asked.plan().digest}")
    assert [line.partition(":")[0] for line in lines] == ["policy file", "input chart.path"]
    asked.change("policy.toml", "bake_s = 60", "bake_s = 600")
    asked.change("helm/stellaops/templates/web.yaml", "DaemonSet", "Deployment")
    asked.consent().require()


def test_approving_it_again_is_enough(asked: PlannedSite) -> None:
    asked.approve(B)
    asked.change("values-green.yaml", "replicas: 2", "replicas: 4")
    asked.approve(B)
    consent = asked.consent()
    consent.require()
    assert (len(consent.approvals), len(consent.drifted)) == (1, 1)


def test_the_approval_of_an_earlier_upgrade_is_not_drift(asked: PlannedSite) -> None:
    asked.change("target.toml", 'from = "2027.Q1"\nto = "2027.Q2"', 'from = "2026.Q4"\nto = "2027.Q1"')
    asked.approve(B)
    asked.change("target.toml", 'from = "2026.Q4"\nto = "2027.Q1"', 'from = "2027.Q1"\nto = "2027.Q2"')
    assert _refusal(asked.consent()).code == "approval-missing"


def test_where_none_is_needed_a_void_one_stops_nothing(planned: PlannedSite) -> None:
    planned.approvers(B)
    planned.approve(B)
    planned.change("policy.toml", "bake_s = 600", "bake_s = 60")
    consent = planned.consent()
    consent.require()
    assert (consent.binding, len(consent.drifted)) == (False, 1)


# -- which do not count ------------------------------------------------------------------------------------------------


def _forged(envelope: bytes, **predicate: object) -> bytes:
    """Return an envelope with another predicate under the same signature."""
    fields = json.loads(envelope)
    payload = json.loads(base64.b64decode(fields["payload"]))
    payload["predicate"] |= predicate
    fields["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    return json.dumps(fields).encode()


def test_a_changed_word_is_a_broken_signature(asked: PlannedSite) -> None:
    good = asked.sign(B)
    for forged in (_forged(good, meaning="go at any time"), _forged(good, covers=["5.2a"]), _forged(good, approver=C)):
        asked.put(forged)
    consent = asked.consent()
    assert consent.approvals == ()
    assert len(consent.unusable) == 3
    assert all("signature-invalid" in why for why in consent.unusable)


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"by": C}, "signer-unknown: expected the signature of B. Person, found ['C. Person']"),
        ({"at": NOW + timedelta(hours=1)}, "which is still to come"),
        ({"account": RUNNER}, f"{RUNNER} performs it"),
    ],
)
def test_an_approval_that_says_what_is_not_so_counts_for_nothing(
    asked: PlannedSite, facts: dict[str, Any], part: str
) -> None:
    asked.approve(B, **facts)
    consent = asked.consent()
    assert consent.approvals == ()
    assert part in consent.unusable[0]
    assert part in _refusal(consent).seen


def test_a_strangers_key_counts_for_nothing(asked: PlannedSite) -> None:
    asked.keys["D. Stranger"] = private_key(9)
    asked.approve(B, by="D. Stranger")
    assert "signer-unknown" in asked.consent().unusable[0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"payload": 1}',
        b'{"verificationMaterial": {}, "dsseEnvelope": {"payload": "e30="}}',
        b'{"verificationMaterial": {"publicKey": {}}, "dsseEnvelope": 1}',
        b" " * (1 << 20) + b"{}",
    ],
)
def test_what_is_no_approval_is_named_and_stops_nothing_else(asked: PlannedSite, content: bytes) -> None:
    path = asked.put(content)
    asked.approve(B)
    consent = asked.consent()
    consent.require()
    assert [why.partition(":")[0] for why in consent.unusable] == [path.name]


@pytest.mark.parametrize(
    "payload",
    [
        {"_type": approval.STATEMENT_TYPE, "predicateType": "https://slsa.dev/provenance/v1", "predicate": {}},
        {"_type": approval.STATEMENT_TYPE, "predicateType": approval.PREDICATE_TYPE, "predicate": {"approver": B}},
        {"_type": approval.STATEMENT_TYPE, "predicateType": approval.PREDICATE_TYPE},
        {"_type": "other", "predicateType": approval.PREDICATE_TYPE, "predicate": {}},
    ],
)
def test_a_signed_statement_of_something_else_is_no_approval(asked: PlannedSite, payload: dict[str, Any]) -> None:
    subject = [{"name": "plan", "digest": {"sha256": asked.plan().digest.removeprefix("sha256:")}}]
    whole = json.dumps({**payload, "subject": subject}).encode()
    asked.put(signing.sign(bundle.IN_TOTO, whole, asked.keys[B]))
    assert "statement-malformed" in asked.consent().unusable[0]


def test_other_files_beside_them_are_left_alone(asked: PlannedSite) -> None:
    asked.approve(B)
    for name in ("README.md", "approvers.json", ".0.dsse.json"):
        (asked.folder / "approvals" / name).write_text("", "utf-8")
    assert asked.consent().unusable == ()


@pytest.mark.parametrize("account", ["ci-runner", RUNNER])
def test_who_performs_the_run_may_not_approve_it(planned: PlannedSite, account: str) -> None:
    planned.approvers(B)
    planned.require()
    planned.change("target.toml", f'name = "{B}"', f'name = "{B}"\naccounts = ["{account}"]')
    planned.approve(B)
    assert "the policy wants two people" in planned.consent().unusable[0]
    assert planned.consent(performed_by="bob@elsewhere").approvals
    planned.change("policy.toml", "required = true", "required = true\nseparate = false")
    planned.approve(B)
    planned.consent().require()


def test_who_asks_may_not_approve(planned: PlannedSite) -> None:
    planned.approvers("A. Person")
    planned.require()
    planned.approve("A. Person")
    assert "asks for this upgrade" in planned.consent().unusable[0]


def test_a_key_of_the_target_that_is_none_is_wrong_input(asked: PlannedSite) -> None:
    asked.change("target.toml", "MCowBQYDK2Vw", "MCowBQYDK2Vx")
    with pytest.raises(WrongInput) as caught:
        asked.consent()
    assert caught.value.code == "approver-key"


# -- points of no return -----------------------------------------------------------------------------------------------


def test_a_run_that_passes_a_point_of_no_return_needs_it_covered(asked: PlannedSite) -> None:
    asked.change("policy.toml", "in_run = false", "in_run = true")
    asked.approve(B, covers=["5.2a"])
    refused = _refusal(asked.consent())
    assert (refused.code, refused.facts["clause"]) == ("approval-not-covering", "5.2b")
    assert "--covers 5.2b" in refused.do
    asked.approve(B, covers=["5.2a", "5.2b"], meaning="and the rest")
    asked.consent().require()


def test_as_many_must_cover_it_as_must_sign(asked: PlannedSite) -> None:
    asked.change("policy.toml", "required = true", "required = true\nmin_approvals = 2")
    asked.approve(B, covers=["all"])
    asked.approve(C)
    consent = asked.consent()
    consent.require()
    with pytest.raises(Refused) as caught:
        consent.require_cover("R.2d")
    assert "1 of 2 people allowed R.2d" in caught.value.message
    asked.approve(C, covers=["R.2d"], meaning="the restore too")
    asked.consent().require_cover("R.2d")


def test_a_signature_binds_even_where_none_is_needed(planned: PlannedSite) -> None:
    planned.approvers(B)
    planned.consent().require_cover("5.2a")
    planned.approve(B)
    with pytest.raises(Refused):
        planned.consent().require_cover("5.2a")


def test_all_is_written_out_and_a_point_that_is_none_is_wrong_input(asked: PlannedSite) -> None:
    asked.approve(B, covers=["all"])
    assert {"5.2a", "5.2b", "R.2d"} <= set(asked.consent().approvals[0].covers)
    with pytest.raises(WrongInput) as caught:
        asked.sign(B, covers=["3.1a"])
    assert "3.1a is no point of no return" in caught.value.message


@pytest.mark.parametrize(("name", "meaning"), [(B, ""), ("", "go"), (B, " "), (B, "go\nand more")])
def test_an_approval_says_who_and_what(asked: PlannedSite, name: str, meaning: str) -> None:
    with pytest.raises(WrongInput):
        asked.sign(name, meaning=meaning, by=B)


# -- kinds of signatures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["ed25519", "p256", "rsa"],
)
def test_every_kind_of_key_signs(planned: PlannedSite, key: signing.PrivateKey) -> None:
    again = signing.load_key(private_pem(key, b"secret words"), "secret words")
    planned.approvers(B)
    planned.change("target.toml", json.dumps(public_pem(planned.keys[B])), json.dumps(public_pem(key)))
    planned.keys[B] = again
    planned.approve(B)
    assert planned.consent().people == (B,)


def test_a_key_that_cannot_be_read_or_is_too_weak_signs_nothing() -> None:
    pem = private_pem(private_key(1), b"secret words")
    assert signing.is_encrypted(pem)
    for wrong in (None, "other"):
        with pytest.raises(EvidenceError) as caught:
            signing.load_key(pem, wrong)
        assert (caught.value.code, caught.value.expected) == ("key-malformed", "a PEM private key, and its passphrase")
    weak_rsa = rsa.generate_private_key(65537, 1024)  # noqa: S505  # that is the point
    for weak in (weak_rsa, ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(EvidenceError) as caught:
            signing.load_key(private_pem(weak))
        assert caught.value.code == "key-unsupported"


IDENTITY = f"""
[[approval.approvers]]
name = "{C}"
identity = "{sigstore.IDENTITY}"
issuer = "{sigstore.ISSUER}"
"""


@pytest.fixture
def vouched(planned: PlannedSite) -> PlannedSite:
    """Return a site where one person is known by a key, and one by an identity that a Sigstore instance vouches for."""
    planned.approvers(B, more=IDENTITY)
    planned.require()
    (planned.folder / "trusted_root.json").write_bytes(sigstore.Instance().trusted_root())
    return planned


def _statement(planned: PlannedSite, name: str = C) -> bytes:
    return approval.statement(
        planned.plan().document(), name=name, account="c@laptop", meaning=MEANING, at=sigstore.SIGNED, covers=["all"]
    )


@pytest.mark.parametrize("generation", ["dsse_1", "dsse_2"])
def test_an_identity_signs_with_a_bundle(vouched: PlannedSite, generation: str) -> None:
    made = getattr(sigstore.Instance(), generation)(_statement(vouched))
    vouched.put(json.dumps(made).encode(), ".sigstore.json")
    consent = vouched.consent()
    consent.require()
    assert consent.approvals[0].signed_with == f"identity {sigstore.IDENTITY} ({sigstore.ISSUER})"


@pytest.mark.parametrize(
    ("instance", "name", "code"),
    [
        (sigstore.Instance(identity="https://forge.example/mallory"), C, "identity-mismatch"),
        (sigstore.Instance(issuer="https://other.example"), C, "issuer-mismatch"),
        (sigstore.Instance(authority=sigstore.Authority(name="fulcio", number=50)), C, "certificate-untrusted"),
        (sigstore.Instance(), B, "signer-unknown"),
    ],
)
def test_a_bundle_of_somebody_else_counts_for_nothing(
    vouched: PlannedSite, instance: sigstore.Instance, name: str, code: str
) -> None:
    vouched.put(json.dumps(instance.dsse_1(_statement(vouched, name))).encode(), ".sigstore.json")
    assert f": {code}: " in vouched.consent().unusable[0]


def test_a_bundle_may_be_of_another_plan_and_is_drift_then(vouched: PlannedSite) -> None:
    vouched.put(json.dumps(sigstore.Instance().dsse_1(_statement(vouched))).encode(), ".sigstore.json")
    vouched.change("policy.toml", "bake_s = 600", "bake_s = 60")
    assert _refusal(vouched.consent()).code == "approval-void"


def test_a_key_may_sign_in_a_bundle(vouched: PlannedSite) -> None:
    envelope = json.loads(signing.sign(bundle.IN_TOTO, _statement(vouched, B), vouched.keys[B]))
    vouched.put(json.dumps(sigstore.keyed({"dsseEnvelope": envelope})).encode(), ".sigstore.json")
    consent = vouched.consent()
    assert consent.people == (B,)
    assert consent.approvals[0].signed_with.startswith("key ")


# -- in a record -------------------------------------------------------------------------------------------------------


@pytest.fixture
def upgrade(asked: PlannedSite) -> Iterator[Upgrade]:
    """Return an upgrade that began with an approval of B., in its record."""
    asked.approve(B, covers=["5.2a"])
    consent = asked.consent()
    folder = asked.folder / "record"
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(consent.plan), "utf-8")
    approval.keep(consent, folder, asked.target())
    journal = Journal(folder / "journal.jsonl", clock=ManualClock(NOW))
    journal.write("plan", digest=consent.plan["digest"])
    policy = asked.policy()
    yield Upgrade(
        id="t", folder=folder, target=asked.target(), policy=policy, journal=journal, strategy=policy.strategy
    )
    journal.close()


def test_a_record_holds_what_its_approvals_are_verified_by(upgrade: Upgrade, asked: PlannedSite) -> None:
    folder = upgrade.folder / "approvals"
    (kept,) = folder.glob("*.dsse.json")
    assert kept.name.startswith(f"{asked.plan().digest[7:19]}-b-person-")
    people = json.loads((folder / "approvers.json").read_text("utf-8"))
    keys = [dsse.load_key(one["key"]) for one in people]
    assert dsse.verify(kept.read_bytes(), keys).payload_type == bundle.IN_TOTO


def test_keeping_them_twice_is_keeping_them_once(upgrade: Upgrade, asked: PlannedSite) -> None:
    before = sorted(path.name for path in (upgrade.folder / "approvals").iterdir())
    assert approval.keep(asked.consent(), upgrade.folder, asked.target()) == ()
    assert sorted(path.name for path in (upgrade.folder / "approvals").iterdir()) == before


def test_a_record_is_judged_by_its_own_plan_whatever_the_target_says_by_now(
    upgrade: Upgrade, asked: PlannedSite
) -> None:
    asked.change("policy.toml", "bake_s = 600", "bake_s = 60")
    for path in (asked.folder / "approvals").iterdir():
        path.unlink()
    approval.require_cover(upgrade, "5.2a")
    said = upgrade.journal.last("observation", what="point of no return")
    assert said is not None
    assert (said.data["point"], said.data["allowed_by"], said.data["signed"]) == ("5.2a", [B], True)


def test_a_point_of_no_return_may_be_approved_later(upgrade: Upgrade, asked: PlannedSite) -> None:
    with pytest.raises(Refused) as caught:
        approval.require_cover(upgrade, "R.2d")
    assert caught.value.code == "approval-not-covering"
    asked.approve(C, covers=["R.2d"], meaning="restore it", plan=json.loads((upgrade.folder / "plan.json").read_text()))
    approval.require_cover(upgrade, "R.2d")
    said = upgrade.journal.last("approval")
    assert said is not None
    assert (said.data["name"], said.data["covers"]) == (C, ["R.2d"])
    assert (upgrade.folder / said.data["file"]).is_file()
    approval.require_cover(upgrade, "R.2d")
    assert len([entry for entry in upgrade.journal.entries() if entry.event == "approval"]) == 1


def test_an_approval_in_the_record_that_was_changed_counts_for_nothing(upgrade: Upgrade, asked: PlannedSite) -> None:
    for path in (asked.folder / "approvals").iterdir():
        path.unlink()
    (kept,) = (upgrade.folder / "approvals").glob("*.dsse.json")
    kept.write_bytes(_forged(kept.read_bytes(), covers=["5.2a", "5.2b"]))
    with pytest.raises(Refused):
        approval.require_cover(upgrade, "5.2b")
    with pytest.raises(Refused):
        approval.require_cover(upgrade, "5.2a")


def test_another_plan_cannot_be_slipped_into_a_record(upgrade: Upgrade, asked: PlannedSite) -> None:
    path = upgrade.folder / "plan.json"
    other = path.read_text("utf-8").replace('"scope": "all"', '"scope": "until 3"')
    path.write_text(other, "utf-8")
    with pytest.raises(CutoverError) as caught:
        approval.require_cover(upgrade, "5.2a")
    assert caught.value.code == "plan-changed"
    asked.change("policy.toml", "bake_s = 600", "bake_s = 60")
    path.write_text(json.dumps(asked.plan().document()), "utf-8")
    with pytest.raises(Refused) as refused:
        approval.require_cover(upgrade, "5.2a")
    assert refused.value.code == "plan-changed"


def test_what_is_gone_on_with_must_be_what_was_begun(upgrade: Upgrade, asked: PlannedSite) -> None:
    approval.require_same_inputs(upgrade)
    asked.change("helm/stellaops/templates/web.yaml", "Deployment", "DaemonSet")
    with pytest.raises(Refused) as caught:
        approval.require_same_inputs(upgrade)
    assert caught.value.code == "inputs-changed"
    assert caught.value.seen.startswith("chart.path: was sha256:")


# -- what the record says ----------------------------------------------------------------------------------------------


def test_the_record_says_who_signed(asked: PlannedSite) -> None:
    asked.approve(B)
    asked.approve(C, meaning="fine with me", at=NOW + timedelta(minutes=2))
    facts = asked.consent().facts(asked.policy())
    assert (facts["approved_by"], facts["meaning"]) == (f"{B}, {C}", f"{MEANING} · fine with me")
    assert facts["approved_at"] == NOW + timedelta(minutes=2)
    assert facts["signature"].startswith(f"signed: {B} with key ")
    assert (facts["signed"], len(facts["approvals"])) == (True, 2)
    assert facts["requested_by"] == "A. Person (CHG-1042)"


def test_the_record_says_that_a_name_in_the_policy_is_not_signed(planned: PlannedSite) -> None:
    facts = planned.consent().facts(planned.policy())
    assert (facts["approved_by"], facts["signed"], facts["signature"]) == (B, False, approval.UNSIGNED)


def test_a_plans_file_that_was_changed_is_not_approved(planned: PlannedSite, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    document = planned.plan().document()
    path.write_text(json.dumps({**document, "estimates": {}}), "utf-8")
    assert approval.read_document(path)["digest"] == document["digest"]
    for content in ("", "[]", "{}", json.dumps({**document, "scope": "until 2"})):
        path.write_text(content, "utf-8")
        with pytest.raises(WrongInput):
            approval.read_document(path)
