"""What a sealed record attests, ready to be handed on: its attestations, and the images that they are about.

Invariant: nothing is handed on of a record that is not sealed and signed, or whose attestations were changed since.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover.errors import Refused
from cutover.evidence.errors import EvidenceError
from cutover.record import signer, statements
from cutover.record.manifest import ATTESTATIONS, FILE, SEAL, item_of
from cutover.record.registry import Artifact
from cutover.record.seal import Seal

if TYPE_CHECKING:
    from pathlib import Path

ENVELOPE = "application/vnd.dsse.envelope.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """A record's attestations, and their images."""

    artifacts: tuple[Artifact, ...]
    images: tuple[str, ...]
    """Digests, each once."""


def of_record(folder: Path) -> Attested:
    """Return what a record attests. Raises Refused: it is not sealed and signed, or was changed since; no image."""
    try:
        seal = Seal.parse((folder / SEAL).read_bytes())
        artifacts = [
            _artifact(folder, name)
            for name in sorted(seal.files)
            if name.startswith(f"{ATTESTATIONS}/") and seal.is_signed
        ]
        changed = [name for name, item in seal.files.items() if item_of(folder / name) != item]
    except (OSError, EvidenceError, ValueError, KeyError) as problem:
        raise _refusal(folder, "its seal cannot be read", str(problem)) from problem
    if changed:
        raise _refusal(folder, "it is not as it was sealed", ", ".join(changed[:3]))
    if not artifacts:
        raise _refusal(folder, "it was sealed without a signature", "no attestation")
    named: list[dict[str, Any]] = artifacts[0][1]["subject"]
    images = [f"sha256:{one['digest']['sha256']}" for one in named if not one["name"].endswith(f"/{FILE}")]
    if not images:
        raise _refusal(folder, "it is about no image", "green was never installed")
    return Attested(artifacts=tuple(one for one, _ in artifacts), images=tuple(dict.fromkeys(images)))


def _artifact(folder: Path, name: str) -> tuple[Artifact, dict[str, Any]]:
    content = (folder / name).read_bytes()
    document = json.loads(content)
    envelope = document.get("dsseEnvelope", document)
    statement = json.loads(base64.b64decode(envelope["payload"]))
    is_bundle = name.endswith(signer.SUFFIXES[signer.SIGSTORE])
    short = name.removeprefix(f"{ATTESTATIONS}/").partition(".")[0]
    if short not in statements.NAMES:
        raise ValueError(f"{name} is no attestation of a record")
    return (
        Artifact(
            name=short,
            content=content,
            media_type=BUNDLE if is_bundle else ENVELOPE,
            predicate_type=statement["predicateType"],
        ),
        statement,
    )


def _refusal(folder: Path, why: str, seen: str) -> Refused:
    return Refused(
        f"nothing is handed on of the record {folder.name}: {why}",
        code="record-not-attested",
        seen=seen,
        do="look at it with ./cutover verify; seal it with ./cutover report RECORD --key FILE",
        state="nothing was pushed",
    )
