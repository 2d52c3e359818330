"""Which release works on which state of the schema, tried with each colour's own code (2.2a, R.2b, C.1).

Expand and contract in one table: before category A, after it, after category B; each colour is asked whether it is
ready, reads, writes a row and makes evidence, and whether the other colour reads what it made.
Invariants: what a colour says of itself never stands alone; a probe that fails is a cell of the table, not an error.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cutover.errors import ClauseFailed, CouldNotMeasure, Timeout
from cutover.procedures import release

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cutover.model import Environment
    from cutover.runbook.upgrade import Upgrade
    from cutover.site import Site

_PORT = 80
_UNDECIDED = ("queued", "running")


class SchemaState(StrEnum):
    """A state of the schema between two releases."""

    BEFORE_A = "before A"
    AFTER_A = "after A"
    AFTER_B = "after B"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What one colour could do on one state of the schema."""

    state: SchemaState
    colour: str
    release: str
    """As its version endpoint says."""
    not_ready: str
    """Why it is not ready, in its own words; empty when it is."""
    reads_and_writes: str
    """Why it does not read evidence, or write a row; empty when it does both."""
    makes_evidence: str
    """Why a scan of it made no evidence; empty when it did."""
    is_read_by_other: str
    """Why the other colour does not read what it made; empty when it does."""

    @property
    def works(self) -> bool:
        """Whether everything went well."""
        return not (self.not_ready or self.reads_and_writes or self.makes_evidence or self.is_read_by_other)


def probe(
    site: Site, upgrade: Upgrade, environment: Environment, other: Environment, *, state: SchemaState, bound_s: float
) -> Probed:
    """Try one colour on the schema as it is, without the public host; it leaves a marker and a scan of the test image.

    bound_s: how long a scan may take.
    Raises: CouldNotMeasure when the colour does not even tell its version.
    """
    version = site.cluster.proxy_get(environment.namespace, environment.service, _PORT, "/version").json()
    works, made, read = "", "", ""
    try:
        release.require_read_and_write(site, upgrade, environment)
    except (ClauseFailed, CouldNotMeasure) as error:
        works = error.message
    try:
        items = _make_evidence(site, upgrade, environment, bound_s=bound_s)
    except (ClauseFailed, CouldNotMeasure) as error:
        made, read = error.message, "nothing was made"
    else:
        read = _cross_read(site, other, items)
    return Probed(
        state=state,
        colour=environment.name,
        release=str(version.get("version")),
        not_ready=_not_ready(site, environment),
        reads_and_writes=works,
        makes_evidence=made,
        is_read_by_other=read,
    )


def _not_ready(site: Site, environment: Environment) -> str:
    answer = site.cluster.proxy_get(environment.namespace, environment.service, _PORT, "/readyz")
    if answer.status == 200:
        return ""
    checks: dict[str, Any] = answer.json().get("checks", {})
    failing = [f"{name}: {said}" for name, said in sorted(checks.items()) if said != "ok"]
    return "; ".join(failing) or f"status {answer.status}"


def _make_evidence(site: Site, upgrade: Upgrade, environment: Environment, *, bound_s: float) -> list[str]:
    """Let a colour scan the test image; return the ids of the evidence. Raises: ClauseFailed, CouldNotMeasure."""
    namespace, service = environment.namespace, environment.service
    image = f"{upgrade.target.fixtures.scan_image}-{secrets.token_hex(4)}"
    asked = site.cluster.proxy("POST", namespace, service, _PORT, "/api/v1/scans", body={"image": image})
    if asked.status != 202:
        raise ClauseFailed(f"{environment.name} takes no scan: status {asked.status}", code="scan-refused")
    path = f"/api/v1/scans/{asked.json()['id']}"
    try:
        scan = upgrade.wait_for(
            f"a scan of {environment.name} to end",
            lambda: site.cluster.proxy_get(namespace, service, _PORT, path).json(),
            until=lambda found: found.get("status") not in _UNDECIDED,
            bound_s=bound_s,
            describe=lambda found: str(found.get("status")),
            code="scan-hangs",
        )
    except Timeout as error:
        raise ClauseFailed(f"its scan did not end: {error.seen}", code="scan-hangs") from error
    if scan.get("status") != "done" or not scan.get("evidence"):
        raise ClauseFailed(f"its scan is {scan.get('status')}", code="scan-failed", seen=json.dumps(scan)[:300])
    return [str(item) for item in scan["evidence"]]


def _cross_read(site: Site, other: Environment, items: Iterable[str]) -> str:
    for item in items:
        answer = site.cluster.proxy_get(other.namespace, other.service, _PORT, f"/api/v1/evidence/{item}")
        if answer.status != 200:
            return f"{other.name} answers {answer.status} for {item}"
    return ""


def table(probed: Iterable[Probed]) -> str:
    """Return the matrix in Markdown: a row a state and colour, a column a probe."""
    head = ("schema", "colour", "release", "ready", "reads, writes", "makes evidence", "the other reads it", "works")
    rows = [head, tuple("---" for _ in head)]
    for one in probed:
        cells = (one.not_ready, one.reads_and_writes, one.makes_evidence, one.is_read_by_other)
        said = tuple("yes" if not cell else f"no: {cell}" for cell in cells)
        rows.append((one.state.value, one.colour, one.release, *said, "**yes**" if one.works else "**no**"))
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in rows)
