# ruff: noqa: INP001, D103  # a folder of pytest, as features and steps are
"""The steps of the troubleshooting table: faults as the rehearsal injects them, diagnosed by the engine alone."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, scenarios, then, when

from cutover import waiting
from cutover.errors import CutoverError
from cutover.procedures import examination, release, support
from cutover.redaction import forms
from cutover.runbook import diagnosis, rollback
from cutover.runbook.support_archive import members_of
from cutover.target import NginxRoutes
from rehearsal.environment import faults, mending

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.model import Environment
    from cutover.procedures.examination import SiteExamined
    from cutover.procedures.support import Captured
    from cutover.runbook.causes import Diagnosis
    from cutover.runbook.rollback import RollbackReport
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from rehearsal.environment.strikes import Injector

scenarios("troubleshooting.feature")

SEEN_BOUND_S = 40.0
"""So long the cluster may take to notice."""
SAMPLE = 20


def _strike(injector: Injector, name: str) -> None:
    injector.strike(faults.named([name])[0])


def _note(upgrade: Upgrade, found: Diagnosis | None) -> None:
    if found is None:
        upgrade.journal.write("diagnosis", id="")
        return
    upgrade.journal.write(
        "diagnosis", id=found.id, troubleshooting=found.clause, cause=found.cause, remedy=found.remedy
    )


def _wait_for_pods(site: Site, upgrade: Upgrade) -> None:
    green = upgrade.roles.green
    waiting.wait_for(
        "every pod of green to be ready",
        lambda: diagnosis.examine(site, green),
        until=lambda seen: seen.pods > 0 and seen.ready_pods == seen.pods and bool(seen.ready_endpoints),
        bound_s=SEEN_BOUND_S,
    )


# -- what is given -----------------------------------------------------------------------------------------------------


@given("another session holds the migration lock")
def lock_held(injector: Injector) -> Iterator[None]:
    _strike(injector, "init-stuck")
    yield
    mending.free_migration_lock(injector)


@given("nobody holds the migration lock")
def lock_free(injector: Injector) -> None:
    assert not injector.held


@given("every pod of green is ready")
def green_ready(site: Site, upgrade: Upgrade) -> None:
    _wait_for_pods(site, upgrade)


@given("green's path to the database is cut")
def path_cut(injector: Injector, site: Site, upgrade: Upgrade) -> Iterator[None]:
    green = upgrade.roles.green
    _strike(injector, "database-down")
    waiting.wait_for(
        "green's ready probes to fail",
        lambda: site.cluster.ready_endpoints(green.namespace, green.service),
        until=lambda ready: ready == 0,
        bound_s=SEEN_BOUND_S,
    )
    yield
    mending.reconnect_green(injector)


@given("green's Service selects no pod")
def selects_nobody(injector: Injector, site: Site, upgrade: Upgrade) -> Iterator[None]:
    _wait_for_pods(site, upgrade)
    site.routing.prepare()
    green = upgrade.roles.green
    try:
        _strike(injector, "selector-wrong-late")
        waiting.wait_for(
            "green's Service to refuse connections",
            lambda: _accepts(site, green),
            until=lambda accepts: not accepts,
            bound_s=SEEN_BOUND_S,
        )
        yield
    finally:
        mending.select_green(injector)


def _accepts(site: Site, environment: Environment) -> bool:
    """Whether the Service takes a new connection: one that is open already outlives its endpoints."""
    service = site.cluster.service(environment.namespace, environment.service) or {}
    try:
        socket.create_connection((service["spec"]["clusterIP"], 80), timeout=1).close()
    except OSError:
        return False
    return True


@given("somebody lets the public route name it all the same")
def route_names_it(site: Site, upgrade: Upgrade) -> Iterator[None]:
    """By hand: the runbook refuses a Service without endpoints (F.3)."""
    kind, _, name = upgrade.target.routing.public_route.partition(" ")
    try:
        site.cluster.patch(kind, upgrade.target.routing.namespace, name, [_naming(upgrade)])
        waiting.wait_for(
            "public requests to fail",
            lambda: site.routing.who_serves(SAMPLE),
            until=lambda served: served.failed == served.total,
            bound_s=SEEN_BOUND_S,
        )
        yield
    finally:
        site.routing.restore()
        _wait_for_colour(site, "blue")


def _naming(upgrade: Upgrade) -> dict[str, object]:
    """Return the operation that lets the public route name green's Service."""
    routing, green = upgrade.target.routing, upgrade.roles.green
    if isinstance(routing, NginxRoutes):
        place = "/spec/rules/0/http/paths/0/backend/service/name"
        return {"op": "replace", "path": place, "value": routing.name_of(green)}
    backend = {"name": green.service, "namespace": green.namespace, "port": 80}
    return {"op": "replace", "path": "/spec/rules/0/backendRefs", "value": [backend]}


def _wait_for_colour(site: Site, colour: str) -> None:
    waiting.wait_for(
        f"every request to be served by {colour}",
        lambda: site.routing.who_serves(SAMPLE),
        until=lambda served: served.only(colour),
        bound_s=SEEN_BOUND_S,
    )


# -- what is done ------------------------------------------------------------------------------------------------------


@when("green is installed", target_fixture="error")
def install(site: Site, upgrade: Upgrade) -> CutoverError | None:
    try:
        release.install_green(site, upgrade)
    except CutoverError as error:
        diagnosis.explain(site, upgrade.roles.green, error)
        upgrade.journal.write(
            "diagnosis",
            id=error.facts.get(diagnosis.FACT),
            troubleshooting=error.facts.get("troubleshooting"),
            cause=error.cause_text,
            remedy=error.do,
        )
        return error
    return None


@when("green is examined", target_fixture="cause")
def examine_green(site: Site, upgrade: Upgrade) -> Diagnosis | None:
    found = diagnosis.examine(site, upgrade.roles.green).diagnosis
    _note(upgrade, found)
    return found


@when("the site is examined", target_fixture="examined")
def examine_site(site: Site, upgrade: Upgrade) -> SiteExamined:
    found = examination.examine(site, upgrade.roles)
    for trouble in found.troubles:
        _note(upgrade, trouble.diagnosis)
    return found


@when("the failure is escalated", target_fixture="escalated")
def escalate(site: Site, upgrade: Upgrade) -> tuple[RollbackReport, Captured]:
    report = rollback.restore_blue(upgrade, site, "green fails every request: escalated")
    return report, support.capture(site, upgrade, failed="a drill: green's Service selects no pod")


# -- what is seen ------------------------------------------------------------------------------------------------------


@then("the installation fails, and a migration that waits is the cause")
def stuck_is_cause(error: CutoverError | None) -> None:
    assert error is not None
    assert error.facts.get(diagnosis.FACT) in {"init-stuck", "migration-blocked"}, error.facts
    assert error.facts.get("troubleshooting") == "T.1"
    assert "lock" in f"{error.message} {error.cause_text} {error.seen}"


@then("every pod of green is ready")
def all_ready(error: CutoverError | None, site: Site, upgrade: Upgrade) -> None:
    assert error is None, str(error)
    seen = diagnosis.examine(site, upgrade.roles.green)
    assert seen.ready_pods == seen.pods > 0


@then("its database is the cause")
def database_is_cause(cause: Diagnosis | None) -> None:
    assert cause is not None
    assert (cause.id, cause.clause) == ("database-out-of-reach", "T.2"), cause


@then("no cause is found")
def nothing_found(cause: Diagnosis | None) -> None:
    assert cause is None, cause


@then("the public requests fail")
def requests_fail(examined: SiteExamined) -> None:
    assert "public host" in {sight.part for sight in examined.bad}


@then("the selector of green's Service is the cause")
def selector_is_cause(examined: SiteExamined) -> None:
    rows = {(trouble.where, trouble.diagnosis.id, trouble.diagnosis.clause) for trouble in examined.troubles}
    assert ("green", "selector-wrong", "T.4") in rows, rows


@then(parsers.parse("the guide's remedy is named: {remedy}"))
def remedy_named(upgrade: Upgrade, remedy: str) -> None:
    """Read it from the record, where the reader of a failure finds it."""
    told = [
        str(entry.data.get("remedy", ""))
        for entry in upgrade.journal.entries()
        if entry.event == "diagnosis" and entry.clause == upgrade.clause
    ]
    assert any(remedy in text for text in told), told


@then("blue serves every request")
def blue_serves(escalated: tuple[RollbackReport, Captured], site: Site) -> None:
    report, _ = escalated
    assert report.is_proven
    assert report.serves == "blue"
    assert site.public.who_serves(SAMPLE).only("blue")


@then("the diagnostics of both colours are in the record")
def diagnostics_kept(escalated: tuple[RollbackReport, Captured], upgrade: Upgrade) -> None:
    _, captured = escalated
    assert [(one.colour, one.problem) for one in captured.diagnostics] == [("blue", ""), ("green", "")]
    for one in captured.diagnostics:
        kept = dict(members_of((upgrade.folder / support.FOLDER / f"diagnostics-{one.colour}.tar.gz").read_bytes()))
        assert any(name.endswith("checks.json") for name in kept)
        assert any(name.endswith(".log") for name in kept)


@then("one archive is ready to send, and lists all that is in it")
def archive_ready(escalated: tuple[RollbackReport, Captured], upgrade: Upgrade) -> None:
    _, captured = escalated
    assert len(list((upgrade.folder / support.FOLDER).glob("support-*.tar.gz"))) == 1
    assert support.unlisted(captured.archive.path) == ()
    names = {member.name for member in captured.archive.members}
    assert {"diagnosis.json", "record/journal.jsonl", "record/target.redacted.toml"} <= names
    for namespace in (upgrade.roles.blue.namespace, upgrade.roles.green.namespace):
        assert f"cluster/{namespace}/event.json" in names
        assert any(name.startswith(f"cluster/{namespace}/logs/") for name in names)


@then("no secret of the site is in any of them")
def no_secret(site: Site, upgrade: Upgrade) -> None:
    secrets = {*upgrade.target.secrets(), *_of_cluster(site, upgrade)}
    assert len(secrets) > len(upgrade.target.secrets()), "the cluster has secrets of its own to look for"
    looked_for = {form for secret in secrets for form in forms(secret)}
    for path in sorted((upgrade.folder / support.FOLDER).glob("*.tar.gz")):
        for name, content in members_of(path.read_bytes()):
            text = content.decode("utf-8", "replace")
            found = [form for form in looked_for if form in text]
            assert not found, f"{len(found)} forms of secrets in {name} of {path.name}"


def _of_cluster(site: Site, upgrade: Upgrade) -> Iterator[str]:
    for environment in (upgrade.roles.blue, upgrade.roles.green):
        for secret in site.cluster.list("Secret", environment.namespace):
            if secret.get("type") == "Opaque":
                yield from support.values_of(secret)
