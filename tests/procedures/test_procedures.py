"""The parts of the procedures that need no site; what they do to one is proven by the rehearsal."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING

import pyrage
import pytest
import yaml
from reportlab.pdfgen.canvas import Canvas

from cutover.errors import ClauseFailed, Refused, TargetInvalid
from cutover.evidence import dsse
from cutover.evidence.errors import EvidenceError
from cutover.procedures import backups, connections, documents, functional, preflight, release
from cutover.procedures.backups import ObjectsBackup
from cutover.procedures.release import Migration, Migrations, RunningVersions
from cutover.runbook import catalogue, plan
from rehearsal.platform.core import keys, makers

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.runbook.upgrade import Upgrade

UTC = dt.UTC


@pytest.mark.parametrize(
    ("wanted", "skipping"), [("2027.Q1", "2027.Q2"), ("2027.Q3", "2027.Q4"), ("2027.Q4", "2028.Q1")]
)
def test_the_release_after_the_wanted_one_skips_it(wanted: str, skipping: str) -> None:
    assert release.skipping_release(wanted) == skipping


@pytest.mark.parametrize("name", ["2027.Q5", "v1.2", "", "2027.Q2-rc1"])
def test_a_release_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(ClauseFailed, match=r"YYYY\.Qn"):
        release.skipping_release(name)


@pytest.mark.parametrize(
    ("changed", "agree"),
    [
        ({}, True),
        ({"image_tags": frozenset({"2027.Q2"})}, False),
        ({"image_tags": frozenset({"2027.Q1", "2027.Q2"})}, False),
        ({"image_tags": frozenset[str]()}, False),
        ({"labels": frozenset({"no label"})}, False),
        ({"endpoint": "2027.Q2"}, False),
    ],
)
def test_four_sources_must_name_the_same_release(changed: dict[str, object], agree: bool) -> None:
    one = frozenset({"2027.Q1"})
    versions = RunningVersions(platform="2027.Q1", image_tags=one, labels=one, endpoint="2027.Q1")
    assert dataclasses.replace(versions, **changed).agree is agree  # type: ignore[arg-type]


def test_pending_is_what_the_table_lacks_whatever_the_platform_says() -> None:
    reported = tuple(
        Migration(id=name, category=category, release="2027.Q2", is_applied=True)
        for name, category in (("0101", "A"), ("0102", "B"))
    )
    migrations = Migrations(reported=reported, table=reported[:1])
    assert not migrations.agree
    assert migrations.pending("2027.Q2") == ["0102"]
    assert migrations.pending("2027.Q2", category="A") == []
    assert migrations.applied("2027.Q2", category="B") == []
    assert migrations.pending("2027.Q1") == []


def _secrets(tmp_path: Path, content: bytes, mode: int = 0o600) -> ObjectsBackup:
    path = tmp_path / "secrets.yaml.age"
    path.write_bytes(content)
    path.chmod(mode)
    value = base64.b64encode(b"a password of this test").decode()
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"PASSWORD": value}}
    return ObjectsBackup(kind="Secret", path=path, manifests=(manifest,))


def _encrypted() -> bytes:
    recipient = pyrage.x25519.Identity.generate().to_public()
    return bytes(pyrage.encrypt(b"a password of this test", [recipient]))


def test_an_encrypted_private_backup_passes(tmp_path: Path) -> None:
    backups.require_encrypted(_secrets(tmp_path, _encrypted()))


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (_encrypted(), 0o644),
        (b"a password of this test", 0o600),
        (b"age-encryption.org/v1\na password of this test", 0o600),
        (b"age-encryption.org/v1\n" + base64.b64encode(b"a password of this test"), 0o600),
    ],
)
def test_a_backup_that_shows_a_secret_is_refused(tmp_path: Path, content: bytes, mode: int) -> None:
    with pytest.raises(ClauseFailed) as caught:
        backups.require_encrypted(_secrets(tmp_path, content, mode))
    assert caught.value.code == "secrets-in-plain-text"


def test_an_altered_backup_is_noticed_and_so_is_an_old_one(upgrade: Upgrade) -> None:
    for kind in backups.KINDS:
        path = upgrade.path("artifacts", "backups", kind)
        path.write_bytes(kind.encode())
        backups._record(upgrade, kind, path)
    backups.require_complete(upgrade)
    (upgrade.folder / "artifacts" / "backups" / "secrets").write_bytes(b"other")
    with pytest.raises(ClauseFailed) as caught:
        backups.require_complete(upgrade)
    assert caught.value.code == "backup-altered"


def test_backups_nobody_made_are_refused(upgrade: Upgrade) -> None:
    with pytest.raises(Refused) as caught:
        backups.require_complete(upgrade)
    assert "phase 1" in caught.value.do


def _bundle() -> tuple[bytes, list[object]]:
    key = keys.derived_signing_key(7)
    scan = makers.Scan(id="scan-1", image="example/app:1", created=dt.datetime(2026, 5, 1, tzinfo=UTC))
    content = next(item.content for item in makers.make_evidence(scan, key) if item.kind == "bundle")
    return content, [key.public_key()]


def test_a_forged_copy_is_well_formed_and_still_rejected() -> None:
    bundle, trusted = _bundle()
    forged = functional._tamper(bundle)
    assert forged != bundle
    assert dsse.verify(functional._attestation(bundle), trusted).key_ids  # type: ignore[arg-type]
    with pytest.raises(EvidenceError) as caught:
        dsse.verify(functional._attestation(forged), trusted)  # type: ignore[arg-type]
    assert caught.value.code == "signature-invalid"


@pytest.fixture
def begun(upgrade: Upgrade) -> Upgrade:
    """Return an upgrade whose plan is in its record."""
    made = plan.make(
        catalogue=catalogue.load_clauses(), scenarios=(), target=upgrade.target, policy=upgrade.policy
    ).document()
    upgrade.path("plan.json").write_text(json.dumps(made), "utf-8")
    upgrade.journal.write("plan", digest=made["digest"])
    return upgrade


def test_the_window_is_judged_at_the_present_moment(begun: Upgrade) -> None:
    agreed = preflight.agreed(begun)
    hour = dt.timedelta(hours=1)
    now = begun.clock.now()
    open_now = dataclasses.replace(agreed, window_start=now - hour, window_end=now + hour)
    preflight.require_window(begun, open_now)
    for start, end in ((now + hour, now + 2 * hour), (now - 2 * hour, now - hour)):
        with pytest.raises(Refused) as caught:
            preflight.require_window(begun, dataclasses.replace(agreed, window_start=start, window_end=end))
        assert caught.value.code == "outside-window"


def test_where_nobody_needs_to_sign_the_policys_name_stands_and_is_said_to_be_unsigned(begun: Upgrade) -> None:
    agreed = preflight.agreed(begun)
    agreed.consent.require()
    assert (agreed.approved_by, agreed.requested_by) == (("B. Person",), "A. Person (CHG-1042)")
    assert "not signed" in agreed.signature


def test_where_somebody_must_sign_a_name_is_not_enough(begun: Upgrade) -> None:
    asked = begun.policy.approval
    assert asked is not None
    begun.policy = dataclasses.replace(begun.policy, approval=dataclasses.replace(asked, required=True))
    with pytest.raises(Refused) as caught:
        preflight.agreed(begun).consent.require()
    assert caught.value.code == "approvers-missing"


def test_a_point_of_no_return_is_the_clause_that_is_running(begun: Upgrade) -> None:
    begun.journal.clause = "5.2a"
    preflight.require_approved(begun)
    said = begun.journal.last("observation", what="point of no return")
    assert said is not None
    assert (said.clause, said.data["point"], said.data["signed"]) == ("5.2a", "5.2a", False)
    asked = begun.policy.approval
    assert asked is not None
    begun.policy = dataclasses.replace(begun.policy, approval=dataclasses.replace(asked, required=True))
    with pytest.raises(Refused, match=r"no approval covers 5\.2a"):
        preflight.require_approved(begun)


def test_an_upgrade_nobody_approved_is_refused(upgrade: Upgrade) -> None:
    upgrade.policy = dataclasses.replace(upgrade.policy, approval=None)
    with pytest.raises(Refused) as caught:
        preflight.agreed(upgrade)
    assert caught.value.code == "approval-missing"


def test_documents_keep_what_they_said_before(upgrade: Upgrade, tmp_path: Path) -> None:
    changelog, version = tmp_path / "CHANGELOG.md", tmp_path / "CURRENT_VERSION.md"
    changelog.write_text("# Changelog\n\n## 2027.Q1 - 2026-08-01\n\n- Before.\n", encoding="utf-8")
    upgrade.target = dataclasses.replace(
        upgrade.target,
        documents=dataclasses.replace(upgrade.target.documents, changelog=changelog, current_version=version),
    )
    added = documents.add_to_changelog(upgrade)
    assert added.text.splitlines()[0] == "# Changelog"
    assert added.text.index(f"## {upgrade.target.upgrade.to_release}") < added.text.index("## 2027.Q1 - 2026-08-01")
    assert "- Before." in added.text
    assert "+## 2027.Q2" in added.difference.read_text(encoding="utf-8")
    assert upgrade.target.upgrade.to_release in documents.update_current_version(upgrade).text


def test_a_report_must_be_a_readable_pdf(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pdf", tmp_path / "bad.pdf"
    canvas = Canvas(str(good))
    canvas.drawString(72, 700, "a report")
    canvas.save()
    bad.write_bytes(good.read_bytes()[:40])
    assert documents.read_report(good).characters > 0
    for path in (bad, tmp_path / "absent.pdf"):
        with pytest.raises(ClauseFailed) as caught:
            documents.read_report(path)
        assert caught.value.code == "report-unreadable"


def test_planned_connections_come_from_all_values_files_the_last_one_winning(upgrade: Upgrade, tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    store = {"endpoint": "http://s", "bucket": "b", "accessKey": "k", "secretKey": "s"}
    cache, database = {"url": "redis://a/0"}, {"url": "postgresql://a/x", "pool": 5}
    first.write_text(yaml.safe_dump({"database": database, "cache": cache, "store": store}), encoding="utf-8")
    second.write_text(yaml.safe_dump({"database": {"url": "postgresql://b/x"}}), encoding="utf-8")
    green = dataclasses.replace(upgrade.roles.green, values=(first, second))
    assert connections._planned(green)["database_url"] == "postgresql://b/x"
    with pytest.raises(TargetInvalid) as caught:
        connections._planned(dataclasses.replace(green, values=(second,)))
    assert caught.value.code == "values-incomplete"
