"""Scans an image: `scan`.

Invariant: a dry run opens neither the database nor the store, and asks the platform nothing.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from rehearsal.platform.core import makers
from rehearsal.platform.stella import deployment, instants
from rehearsal.platform.stella.answers import Answer, Table
from rehearsal.platform.stella.cluster import Cluster
from rehearsal.platform.stella.errors import RefusedError, UnreachableError

if TYPE_CHECKING:
    from rehearsal.platform.stella.answers import Json
    from rehearsal.platform.stella.deployment import Deployment

SCAN_BOUND_S = 30.0
POLL_S = 0.2
ENDED = frozenset({"done", "failed"})


def scan(namespace: str, image: str, *, dry_run: bool) -> Answer:
    """Scan an image; a dry run computes the result here and writes nothing.

    Raises: UnreachableError, RefusedError.
    """
    cluster = Cluster.from_kubeconfig()
    found = deployment.find(cluster, namespace)
    scan_id, written = None, 0
    if dry_run:
        subject = makers.Scan(id="dry-run", image=image, created=instants.now())
        components = len(json.loads(makers.make_sbom(subject))["components"])
    else:
        scan_id = request_scan(cluster, found, image)
        await_scan(cluster, found, scan_id)
        components, written = len(makers.components(image)), len(makers.KINDS)
    findings: dict[str, Json] = dict(makers.findings(image))
    return Answer(
        ok=True,
        facts={
            "dry_run": dry_run,
            "image": image,
            "scan_id": scan_id,
            "components": components,
            "findings": findings,
            "written": written,
        },
        summary=f"{image}: {components} components; "
        + ("nothing was written" if dry_run else f"{written} items written"),
        tables=(Table(title="Findings", columns=("severity", "count"), rows=tuple(findings.items())),),
    )


def request_scan(cluster: Cluster, found: Deployment, image: str) -> str:
    """Queue a scan and return its id. Raises: RefusedError, UnreachableError."""
    answer = cluster.call_service(
        found.namespace, found.service, "/api/v1/scans", method="POST", body=json.dumps({"image": image}).encode()
    )
    if answer.status != 202:
        raise UnreachableError(
            f"the platform answered {answer.status} to a scan of {image}",
            code="scan-refused",
            remedy="run `stella doctor` to see what is not ready",
        )
    return str(answer.json()["id"])


def await_scan(cluster: Cluster, found: Deployment, scan_id: str) -> None:
    """Wait until a scan is done. Raises: RefusedError when it fails or takes longer than its bound."""
    deadline_s = time.monotonic() + SCAN_BOUND_S
    status = "unknown"
    while time.monotonic() < deadline_s:
        answer = cluster.call_service(found.namespace, found.service, f"/api/v1/scans/{scan_id}")
        status = str(answer.json().get("status")) if answer.status == 200 else f"answer {answer.status}"
        if status in ENDED:
            break
        time.sleep(POLL_S)
    if status != "done":
        raise RefusedError(
            f"scan {scan_id} is {status} after at most {SCAN_BOUND_S:g} s",
            code="scan-not-done",
            remedy="look at the worker's log and at the queue with `stella doctor --full`",
        )
