"""Look at the state of a site, so far as going back must restore it.

Invariant: looking changes nothing, and what the database says is of one moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.evidence import leaves, merkle
from cutover.runbook.fingerprint import EvidenceState, Fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cutover.evidence.sources import EvidenceRow
    from cutover.model import Environment, Roles
    from cutover.site import Site
    from cutover.site.database import AppliedMigration, Database

_RELEASE = "app.kubernetes.io/instance"
_LEAF_SCHEMA = 1
"""Of the release before: whatever the leaves of the new one are, these stay comparable."""


def look(site: Site, roles: Roles, *, leaf_count: int | None, with_evidence: bool) -> Fingerprint:
    """Return the state now. leaf_count: so many items of evidence go into the root; None for all there are.

    Raises:
        CouldNotMeasure: something does not answer.
    """
    blue, database = roles.blue, site.database
    with database.snapshot() as moment:
        schema, sequences = moment.schema(), moment.sequences()
    owned = {_RELEASE: blue.release}
    return Fingerprint(
        blue=blue.name,
        schema=schema,
        migrations={row.id: _told(row) for row in database.migrations()},
        sequences=sequences,
        routes=_routes(site),
        replicas={
            found.name: found.desired
            for found in site.cluster.deployments(blue.namespace)
            if found.labels.items() >= owned.items()
        },
        images=_images(site, blue, owned),
        evidence=_evidence(database, leaf_count) if with_evidence else None,
    )


def _told(row: AppliedMigration) -> str:
    return f"{row.category} {row.release} {row.checksum}"


def _routes(site: Site) -> dict[str, str]:
    """Return whom the public route names, what splits the traffic, and which object the route is."""
    settings = site.target.routing
    kind, _, name = settings.public_route.partition(" ")
    found = site.cluster.get(kind, settings.namespace, name)
    return {
        "names": site.routing.primary_backend(),
        "split by": site.routing.split_by() or "nothing",
        "object": str(found["metadata"]["uid"]) if found is not None else "none",
    }


def _images(site: Site, blue: Environment, owned: dict[str, str]) -> tuple[str, ...]:
    pods = site.cluster.pods(blue.namespace, selector=owned)
    return tuple(sorted({image.rpartition("@")[2] for pod in pods for image in pod.image_ids if image}))


def _evidence(database: Database, leaf_count: int | None) -> EvidenceState:
    """Compute the root over the first leaves from what the rows say; one that is missing makes it another root."""
    items = database.evidence_count()
    wanted = items if leaf_count is None else leaf_count
    root = merkle.root_hash(_hashes(database.leading_rows(wanted)))
    return EvidenceState(leaves=wanted, root=root.hex(), items=items)


def _hashes(rows: Iterator[EvidenceRow]) -> Iterator[bytes]:
    for row in rows:
        yield leaves.leaf_hash(
            _LEAF_SCHEMA,
            id=row.id,
            kind=row.kind,
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            created=leaves.timestamp(row.created),
        )
