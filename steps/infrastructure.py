"""Steps about namespaces, databases, caches, store and balancer (P.1 to P.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bdd import given, parsers, then, when

from cutover.procedures import infrastructure
from cutover.runbook.checks import expect

if TYPE_CHECKING:
    from cutover.procedures.infrastructure import CacheIdentities, Identities, MarkerRead, Namespaces
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site
    from cutover.site.routing import Served


@given("the operator's host has the commands of the runbook")
def commands_present(site: Site) -> None:
    infrastructure.require_commands(site)


@when("the namespaces of the two colours are looked up", target_fixture="namespaces")
def namespaces_looked_up(site: Site, upgrade: Upgrade) -> Namespaces:
    return infrastructure.namespaces(site, upgrade.roles.blue, upgrade.roles.green)


@then("blue's namespace exists and serves the public host")
def blue_namespace_serves(site: Site, upgrade: Upgrade) -> None:
    blue = upgrade.roles.blue
    backend, wanted = site.routing.primary_backend(), site.routing.service_beside_route(blue)
    expect(
        backend == wanted,
        f"the public route does not name blue's Service {wanted}",
        seen=f"the route names {backend}",
        expected=wanted,
        do="correct [routing] or [colours] in the target file, or finish the previous upgrade first",
        code="route-not-blue",
    )


@then("green's namespace is absent or belongs to this upgrade")
def green_namespace_free(upgrade: Upgrade, namespaces: Namespaces) -> None:
    expect(
        not namespaces.green_foreign,
        f"green's namespace {upgrade.roles.green.namespace} holds workloads of somebody else",
        seen="deployments " + ", ".join(namespaces.green_foreign),
        do="remove them, or name another namespace for green in the target file",
        code="green-occupied",
    )


@when("the database that each colour is given is asked who it is", target_fixture="identities")
def databases_asked(site: Site, upgrade: Upgrade) -> Identities:
    return infrastructure.database_identities(site, upgrade.roles.blue, upgrade.roles.green)


@then("both answers name the same server and the same database")
def same_database(identities: Identities) -> None:
    expect(
        identities.blue == identities.green,
        "blue and green do not share one database",
        seen=f"green reaches {identities.green}",
        expected=str(identities.blue),
        do="give green blue's database in its values",
        code="database-not-shared",
    )


@then("the database records its migrations")
def migrations_recorded(site: Site) -> None:
    expect(
        bool(site.database.migrations()),
        "the database has no migration history",
        seen="the migration table is empty",
        do="point [database] of the target at the platform's database",
        code="migrations-not-recorded",
    )


@when("the cache that each colour is given is asked who it is", target_fixture="caches")
def caches_asked(site: Site, upgrade: Upgrade) -> CacheIdentities:
    return infrastructure.cache_identities(site, upgrade.roles.blue, upgrade.roles.green)


@then("the two answers differ")
def caches_differ(caches: CacheIdentities) -> None:
    expect(
        caches.blue != caches.green,
        "blue and green share one cache",
        seen=f"both caches answer with run id {caches.blue}",
        do="give green a cache of its own in its values",
        code="cache-shared",
    )


@then("green's cache is empty")
def green_cache_empty(caches: CacheIdentities) -> None:
    expect(
        caches.green_keys == 0,
        "green's cache is not empty",
        seen=f"it holds {caches.green_keys} keys",
        do="flush green's cache, or find out who uses it",
        code="cache-not-empty",
    )


@when(
    "a marker object is written with blue's credentials, read back by both colours and removed", target_fixture="marker"
)
def marker_read_back(site: Site, upgrade: Upgrade) -> MarkerRead:
    return infrastructure.read_marker_back(site, upgrade)


@then("green's credentials read the same bytes")
def green_reads_marker(marker: MarkerRead) -> None:
    expect(
        marker.by_green == marker.written,
        "green's credentials read other bytes than blue's wrote",
        seen=f"object {marker.key} differs",
        do="give green blue's object store in its values",
        code="store-not-shared",
    )


@then("blue's service reads the same bytes")
def blue_reads_marker(marker: MarkerRead) -> None:
    expect(
        marker.by_blue_service == marker.written,
        "blue's service reads other bytes than blue's credentials wrote",
        seen=f"object {marker.key} differs",
        do="compare [store] of the target with blue's configuration",
        code="store-not-shared",
    )


@when(parsers.parse("the public host is asked {count:d} times"), target_fixture="served")
def public_host_asked(site: Site, count: int) -> Served:
    return infrastructure.ask_public_host(site, count)


@then("every answer succeeds and names the colour that served it")
def every_answer_names_colour(served: Served) -> None:
    expect(
        served.failed == 0 and sum(served.by_colour.values()) == served.total,
        "the public host does not answer every request with the colour that served it",
        seen=str(served),
        do="check the ingress controller, and colour_header in [routing] of the target",
        code="public-host-failing",
    )


@then("the colour that serves is the one that the public route names")
def serving_colour_is_routed(upgrade: Upgrade, served: Served) -> None:
    blue = upgrade.roles.blue
    upgrade.deviation(
        "F.17",
        did=f"read the roles from who serves: {blue.name} served before, {upgrade.roles.green.name} gets the release",
        instead_of="fixed names for blue and green",
        why="the next upgrade starts with the roles swapped",
    )
    expect(
        set(served.by_colour) == {blue.name},
        "the public host is served by another colour than the route names",
        seen=str(served),
        expected=f"all by {blue.name}",
        do="look for a canary or a weight left over from an earlier upgrade",
        code="route-and-service-differ",
    )
