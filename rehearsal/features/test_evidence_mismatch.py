# ruff: noqa: INP001, D103  # a folder of pytest, as features and steps are
"""The steps of an evidence mismatch: altered as the tamper suite alters, verified as any run verifies."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pytest
from pytest_bdd import given, parsers, scenarios, then, when

from cutover.errors import ClauseFailed
from cutover.procedures import continuity, snapshots
from cutover.runbook import diagnosis
from rehearsal.environment import objects, tampering
from rehearsal.environment.sitedata import DATABASE, EVIDENCE_BUCKET, LOG_DATABASE
from rehearsal.platform.core import keys
from rehearsal.platform.core.settings import StoreSettings
from rehearsal.platform.core.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from rehearsal.environment.strikes import Injector
    from rehearsal.environment.tampering import Struck

scenarios("evidence_mismatch.feature")

REINDEX_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A verification of the whole site: every refusal of every guarantee, in the order found."""

    refused: tuple[ClauseFailed, ...]
    items: frozenset[str]


@pytest.fixture
def tampered(injector: Injector, upgrade: Upgrade) -> Iterator[tampering.Site]:
    """Yield the site as the tamper suite reaches it."""
    place, known = injector.place, injector.known
    settings = StoreSettings(
        endpoint=objects.ENDPOINT, bucket=EVIDENCE_BUCKET, access_key=known.access_key, secret_key=known.secret_key
    )
    with (
        psycopg.connect(known.dsn(DATABASE), autocommit=True) as database,
        psycopg.connect(known.dsn(LOG_DATABASE), autocommit=True) as log,
        Store(settings) as store,
    ):
        yield tampering.Site(
            database=database,
            log=log,
            store=store,
            trust=place.root / "trust.json",
            signing_key=keys.load_signing_key((place.root / "signing-key.pem").read_text(encoding="utf-8")),
            log_key=keys.load_log_key((place.root / "log-signing-key.pem").read_text(encoding="utf-8")),
            baseline=int(upgrade.recall("baseline")["items"]),
            first=0,
        )


def _struck(kind: str, site: tampering.Site, upgrade: Upgrade) -> Iterator[Struck]:
    struck = tampering.strike(kind, site, random.Random(kind))  # noqa: S311 - the same each time
    upgrade.journal.write("observation", what="altered", kind=kind, items=struck.victims)
    yield struck
    struck.undo()


# -- what is given -----------------------------------------------------------------------------------------------------


@given("the baseline of the evidence is taken", target_fixture="baseline")
def baseline(site: Site, upgrade: Upgrade) -> Path:
    folder = upgrade.folder / continuity.BEFORE
    if not upgrade.knows("baseline"):
        taken = snapshots.take(site, folder)
        upgrade.remember("baseline", folder=continuity.BEFORE, items=taken.manifest.items, digest=taken.manifest.digest)
    return folder


@given("a digest in the index is altered", target_fixture="struck")
def digest_altered(baseline: Path, tampered: tampering.Site, upgrade: Upgrade) -> Iterator[Struck]:
    del baseline
    yield from _struck("row-digest", tampered, upgrade)


@given("the content of an item is altered", target_fixture="struck")
def content_altered(baseline: Path, tampered: tampering.Site, upgrade: Upgrade) -> Iterator[Struck]:
    del baseline
    yield from _struck("bundle-bit", tampered, upgrade)


# -- what is done ------------------------------------------------------------------------------------------------------


@when("continuity is verified", target_fixture="verified")
def verify(site: Site, upgrade: Upgrade, baseline: Path) -> Verified:
    return _verified(site, upgrade, baseline)


@when("the index is rebuilt", target_fixture="verified")
def rebuild(site: Site, upgrade: Upgrade, baseline: Path) -> Verified:
    namespace = upgrade.roles.blue.namespace
    answer = site.stella.call("evidence", "reindex", namespace=namespace, check=False, timeout_s=REINDEX_S)
    upgrade.journal.write("observation", what="reindexed", answer={key: answer[key] for key in ("ok", "reindexed")})
    return _verified(site, upgrade, baseline)


def _verified(site: Site, upgrade: Upgrade, baseline: Path) -> Verified:
    """Take the site's evidence anew, verify all five guarantees from the baseline, and diagnose each that is broken."""
    number = len(list(upgrade.path("evidence", "x").parent.glob("again-*"))) + 1
    report = snapshots.verify_site(site, baseline, upgrade.path("evidence", f"again-{number}"))
    refused = []
    for guarantee in report.guarantees:
        try:
            continuity.require_guarantee(guarantee)
        except ClauseFailed as error:
            diagnosis.explain(site, upgrade.roles.blue, error)
            refused.append(error)
            upgrade.journal.write(
                "diagnosis",
                id=error.facts.get(diagnosis.FACT),
                troubleshooting=error.facts.get("troubleshooting"),
                cause=error.cause_text,
                remedy=error.do,
            )
    items = frozenset(finding.item for guarantee in report.guarantees for finding in guarantee.findings)
    return Verified(refused=tuple(refused), items=items)


# -- what is seen ------------------------------------------------------------------------------------------------------


@then("the altered item is refused")
def item_refused(verified: Verified, struck: Struck) -> None:
    assert set(struck.victims) <= verified.items


@then("continuity holds")
def holds(verified: Verified) -> None:
    assert not verified.refused, [str(error) for error in verified.refused]
    assert not verified.items


@then("the damaged index is the cause")
def index_is_cause(verified: Verified) -> None:
    assert _rows(verified) == {("index-damaged", "T.3")}


@then("altered evidence is the cause")
def evidence_is_cause(verified: Verified) -> None:
    assert ("evidence-altered", "T.3") in _rows(verified)


def _rows(verified: Verified) -> set[tuple[object, object]]:
    return {(error.facts.get(diagnosis.FACT), error.facts.get("troubleshooting")) for error in verified.refused}


@then(parsers.parse("the guide's remedy is named: {remedy}"))
def remedy_named(verified: Verified, remedy: str) -> None:
    assert remedy in " ".join(error.do for error in verified.refused)
