"""Whose signature a statement of a record carries, by the trust root that the reader holds.

Invariants: a signature that no key or identity of the trust root made is a reason, never an exception; an envelope in
another form than it is written in is refused though a verifier could ignore the difference: it was changed.
"""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutover.evidence._json import parse_object
from cutover.evidence.errors import EvidenceError
from cutover.record import signer, statements

if TYPE_CHECKING:
    from cutover.record.findings import Check
    from cutover.record.keys import TrustRoot
    from cutover.record.seal import Seal


def signer_of(check: Check, file: str, seal: Seal, trust: TrustRoot) -> str:
    """Return whom the trust root knows a seal's signer as; empty, with a reason, where no signature holds."""
    kind = seal.signature.get("kind")
    if kind == signer.NONE:
        why = str(seal.signature.get("why", ""))
        check.refuse(file, "seal-unsigned", f"nobody signed it ({why}): whoever had the folder could have changed it")
        return ""
    if kind not in signer.SUFFIXES:
        check.refuse(file, "seal-changed", f"no signature is of the kind {kind!r}", where="signature.kind")
        return ""
    held = seal.signature.get("bundle" if kind == signer.SIGSTORE else "envelope")
    raw = json.dumps(held, ensure_ascii=False).encode()
    payload, name = _proven(check, file, raw, trust, kind=kind, digest=seal.manifest)
    if payload is None:
        return ""
    if payload != seal.statement:
        check.refuse(file, "seal-differs", "what was signed is another statement", where="signature")
        return ""
    return name


def statement_of(check: Check, file: str, raw: bytes, trust: TrustRoot, digest: str) -> bytes | None:
    """Return what an attestation's file says, once its signature holds; None, with a reason, where none does.

    digest: of the record's manifest, which must be among its subjects.
    """
    kind = signer.SIGSTORE if file.endswith(signer.SUFFIXES[signer.SIGSTORE]) else signer.KEY
    return _proven(check, file, raw, trust, kind=kind, digest=digest)[0]


def _proven(
    check: Check, file: str, raw: bytes, trust: TrustRoot, *, kind: str, digest: str
) -> tuple[bytes | None, str]:
    """Return a signed statement and whom the trust root knows its signer as; None, with a reason, where none holds."""
    try:
        if kind == signer.SIGSTORE:
            return _by_identity(raw, trust, digest, file)
        return _by_key(raw, trust, file)
    except EvidenceError as problem:
        check.refuse(file, problem.code, f"expected {problem.expected}, found {problem.actual}", where="signature")
        return None, ""


def _by_key(raw: bytes, trust: TrustRoot, file: str) -> tuple[bytes, str]:
    verified = trust.ring().verify(raw, item=file)
    fields: Any = parse_object(raw, code="envelope-malformed", item=file)
    [signature, *more] = fields["signatures"]
    # What a verifier may ignore (a hint, a second signature, another alphabet) was not written here.
    as_written = {
        "payload": base64.b64encode(verified.payload).decode(),
        "payloadType": statements.PAYLOAD_TYPE,
        "signatures": [{"keyid": verified.key_ids[0], "sig": signature.get("sig")}],
    }
    if more or json.dumps(fields) != json.dumps(as_written) or "-" in signature["sig"] or "_" in signature["sig"]:
        raise EvidenceError("envelope-malformed", file, expected="the form it is written in", actual="another")
    return verified.payload, trust.name_of(verified.key_ids[0])


def _by_identity(raw: bytes, trust: TrustRoot, digest: str, file: str) -> tuple[bytes, str]:
    from cutover.evidence import bundle  # noqa: PLC0415

    policies = (bundle.Policy(identity=one.identity, issuer=one.issuer, digest=digest) for one in trust.identities)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "trusted_root.json"
        root.write_bytes(trust.sigstore)
        _, verified = bundle.verify_any(raw, root, policies, item=file)
    return verified.payload or b"", f"{verified.identity} ({verified.issuer})"
