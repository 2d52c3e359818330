"""The trust root: which keys may sign attestations, and which log is the log. Held by the operator, never by the site.

File (JSON): `{"attestation_keys": [PEM, …], "log": {"origin": text, "key": "name+hash+base64"}}`.
Invariant: a trust root is read once, before the upgrade, and its digest travels with every snapshot taken with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from cutover.evidence import dsse
from cutover.evidence._json import parse_object
from cutover.evidence.checkpoint import Verifier
from cutover.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IN_RECORD = "evidence/trust-root.json"
"""Where a record keeps the file that its snapshots were taken with: its keys are public."""
_CODE = "trust-malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRoot:
    """Attestation keys (at least one), the log's origin and key, and the digest of the file they came from.

    Pickles as the file's bytes, which is how it reaches a worker in another process.
    """

    attestation_keys: tuple[dsse.PublicKey, ...]
    log_origin: str
    log_verifier: Verifier
    digest: str
    raw: bytes = field(repr=False)

    def __reduce__(self) -> tuple[Callable[[bytes], TrustRoot], tuple[bytes]]:
        return parse, (self.raw,)


def load(path: Path) -> TrustRoot:
    """Read a trust root.

    Raises:
        EvidenceError: `trust-malformed`, `key-malformed` or `key-unsupported`.
        OSError: the file cannot be read.

    """
    return parse(path.read_bytes(), item=path.name)


def parse(raw: bytes, *, item: str = "trust root") -> TrustRoot:
    """Read a trust root from its file's bytes; raises as `load` does."""
    fields = parse_object(raw, code=_CODE, item=item)
    pems, log = fields.get("attestation_keys"), fields.get("log")
    if not isinstance(pems, list) or not pems or not all(isinstance(pem, str) for pem in pems):
        raise EvidenceError(_CODE, item, expected="attestation_keys: one PEM or more", actual=pems)
    if not isinstance(log, dict) or not all(isinstance(log.get(name), str) for name in ("origin", "key")):
        raise EvidenceError(_CODE, item, expected="log: origin and key", actual=log)
    return TrustRoot(
        attestation_keys=tuple(dsse.load_key(pem, item=f"{item}, key {n}") for n, pem in enumerate(pems)),
        log_origin=log["origin"],
        log_verifier=Verifier.parse(log["key"]),
        digest=f"sha256:{sha256(raw).hexdigest()}",
        raw=raw,
    )
