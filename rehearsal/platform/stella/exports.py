"""Writes evidence bundles as files beside a manifest.

Invariants: a file is written only when its content has the recorded digest; the manifest is written last, so a folder
with a manifest is a whole export; a file's name is its evidence id.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from rehearsal.platform.stella import database, deployment, instants, outputs, records, verification
from rehearsal.platform.stella.answers import Answer
from rehearsal.platform.stella.cluster import Cluster
from rehearsal.platform.stella.errors import NotFoundError, RefusedError
from rehearsal.platform.stella.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rehearsal.platform.stella.answers import Json

MANIFEST_SCHEMA = "stella/evidence-export/v1"
MANIFEST_NAME = "manifest.json"
BUNDLES_FOLDER = "bundles"


def export(namespace: str, directory: Path, *, ids: Sequence[str] = ()) -> Answer:
    """Write every bundle, or those named, into `directory`.

    Raises: NotFoundError for an id that names no bundle, RefusedError when a bundle is not what is recorded.
    """
    settings = deployment.find(Cluster.from_kubeconfig(), namespace).settings
    with database.connect(settings.database_url) as connection:
        bundles = records.read_items(connection, kind="bundle")
    if ids:
        unknown = sorted(set(ids) - {item.id for item in bundles})
        if unknown:
            raise NotFoundError(
                f"no bundle named {', '.join(unknown)}", code="bundle-missing", remedy="name evidence of kind bundle"
            )
        bundles = tuple(item for item in bundles if item.id in set(ids))
    entries: list[Json] = []
    size_bytes = 0
    with closing(ObjectStore(settings.store).get_many(item.object_key for item in bundles)) as contents:
        for item, content in zip(bundles, contents, strict=True):
            finding = verification.verify_content(item, content)
            if finding is not None or content is None:
                raise RefusedError(
                    f"bundle {item.id} is not what is recorded: {finding.detail if finding else 'it has no content'}",
                    code="bundle-altered",
                    remedy="run `stella evidence verify-all` to see everything that is not intact",
                )
            file = f"{BUNDLES_FOLDER}/{item.id}.tar.gz"
            outputs.write_bytes(directory / file, content)
            size_bytes += len(content)
            entries.append(
                {
                    "id": item.id,
                    "scan_id": item.scan_id,
                    "file": file,
                    "sha256": item.sha256,
                    "size_bytes": item.size_bytes,
                }
            )
    outputs.write_json(
        directory / MANIFEST_NAME,
        {
            "schema": MANIFEST_SCHEMA,
            "created": instants.rfc3339(instants.now()),
            "items": len(entries),
            "bytes": size_bytes,
            "bundles": entries,
        },
    )
    return Answer(
        ok=True,
        facts={"items": len(entries), "bytes": size_bytes, "directory": str(directory)},
        summary=f"{len(entries)} bundles, {size_bytes} bytes, written to {directory}",
    )
