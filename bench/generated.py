"""Snapshots of any size without a site: the same number gives the same bytes, a million lines in seconds.

Item n stands at leaf n and log index n; its digest is the SHA-256 of its number, so nothing else has to be kept.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

KINDS = ("oci-manifest", "sbom", "attestation", "bundle")
SIGNER = "5" * 64
NOTHING = sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """Items 0 to `end` - 1; every `missing_every`-th is left out, every `changed_every`-th has another content."""

    end: int
    missing_every: int = 0
    changed_every: int = 0

    def lines(self) -> Iterator[bytes]:
        """Return the lines of lines.jsonl."""
        for number in range(self.end):
            if self.missing_every and number % self.missing_every == 1:
                continue
            declared = content = digest(number)
            if self.changed_every and number % self.changed_every == 2:
                content = digest(-number)
            kind = KINDS[number % 4]
            signer, signers = ("null", "") if kind != "attestation" else (f'"{SIGNER}"', f'"{SIGNER}"')
            yield (
                f'{{"id":"ev-{number:012d}","kind":"{kind}","media_type":"application/vnd.example.{kind}+json",'
                f'"size_bytes":4096,"sha256":"{content}","declared_size_bytes":4096,"declared_sha256":"{declared}",'
                f'"declared_signer_key_id":{signer},"signer_key_ids":[{signers}],"leaf_index":{number},'
                f'"log_index":{number},"created":"{created(number)}"}}\n'
            ).encode()


def digest(number: int) -> str:
    """Return the digest of an item's content."""
    return sha256(b"%d" % number).hexdigest()


def created(number: int) -> str:
    """Return when an item was made."""
    return f"2027-04-{1 + number % 28:02d}T08:00:00.{number % 1_000_000:06d}Z"


def write(folder: Path, lines: Iterable[bytes], **manifest: Any) -> Path:  # noqa: ANN401 - fields of a manifest
    """Write a snapshot of these lines, without findings; `manifest` replaces fields of manifest.json."""
    folder.mkdir()
    hasher, last_id, kinds = sha256(), None, Counter[str]()
    with (folder / "lines.jsonl").open("wb", buffering=1 << 20) as stream:
        for raw in lines:
            stream.write(raw)
            hasher.update(raw)
            _, _, _, last_id, _, _, _, kind, _ = raw.decode().split('"', 8)
            kinds[kind] += 1
    count = kinds.total()
    (folder / "findings.jsonl").write_bytes(b"")
    fields = {
        "schema": "cutover/evidence-snapshot/v1",
        "watermark": {"at": "2027-05-01T00:00:00.000000Z", "last_id": last_id, "leaves": count},
        "items": count,
        "size_bytes": 4096 * count,
        "by_kind": kinds,
        "roots": {},
        "checkpoint": None,
        "trust_digest": "",
        "lines_digest": f"sha256:{hasher.hexdigest()}",
        "findings_digest": f"sha256:{NOTHING}",
        "findings": {},
    }
    (folder / "manifest.json").write_text(json.dumps(fields | manifest), encoding="utf-8")
    return folder
