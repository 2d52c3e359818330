"""Sigstore bundles (media types 0.1 to 0.3), verified offline against a trusted root that the operator holds.

Two things are accepted, each by its own function:

- `verify`: signed under a short-lived certificate. The certificate leads to an authority of the trusted root and was
  valid at a proven time, a certificate log promised it, it names the policy's identity and issuer; the signature is
  over the policy's artifact, or over an in-toto statement (DSSE) with that artifact among its subjects; the log entry
  is included under a checkpoint that the log signed, and is about this very signature and certificate. Rekor v1 proves
  the time by its promise (signed entry timestamp), Rekor v2 by an RFC 3161 timestamp.
- `verify_with_key`: signed with a plain key (`publicKey`), by keys the caller holds. There is no certificate and thus
  no trusted root; log entries beside such a signature are not looked at, and nothing is claimed of them.

Invariants: no network, ever; nothing outside the bundle, the trusted root and the policy is read; what is verified is
what is returned; a log position is given within its own tree, whose origin stands beside it, for an index alone means
nothing across shards. Sources: Sigstore client specification; sigstore protobuf-specs; DSSE v1; in-toto Statement v1.

`sigstore` decides, and this package verifies log entry and timestamps itself beforehand (see `_sigstore`): both must
agree. `sigstore` is imported at the first `verify`, not with this module.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, utils

from cutover.evidence import dsse
from cutover.evidence._json import from_base64, parse_object
from cutover.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cutover.evidence._sigstore import TrustedVerifier

MEDIA_TYPES: Final = frozenset(
    {
        "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "application/vnd.dev.sigstore.bundle+json;version=0.3",
        "application/vnd.dev.sigstore.bundle.v0.3+json",
    }
)
IN_TOTO: Final = "application/vnd.in-toto+json"
_STATEMENTS: Final = frozenset({"https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1"})

MAX_BUNDLE_BYTES: Final = 16 << 20
MAX_CACHED: Final = 1024
"""Results kept, the least recently used given up first; payloads above `MAX_CACHED_PAYLOAD_BYTES` are not kept."""
MAX_CACHED_PAYLOAD_BYTES: Final = 1 << 16
_MAX_TRUSTED_ROOTS: Final = 8

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MALFORMED: Final = "bundle-malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Who must have signed what: `identity` and its `issuer` exactly as in the certificate, and the artifact.

    The artifact is given as its bytes (`artifact`) or as `sha256:` and 64 hex digits (`digest`), exactly one of them.
    """

    identity: str
    issuer: str
    artifact: bytes | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        """Refuse a policy that demands nothing.

        Raises:
            EvidenceError: `policy-malformed`.

        """
        for name, value in (("identity", self.identity), ("issuer", self.issuer)):
            if not isinstance(value, str) or not value:
                raise EvidenceError("policy-malformed", "policy", expected=f"{name}: text", actual=value)
        _artifact_digest(self.artifact, self.digest)

    @property
    def artifact_digest(self) -> str:
        """The artifact's digest, `sha256:` and hex, computed where its bytes are given."""
        return _artifact_digest(self.artifact, self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a bundle proved: `identity`, vouched for by `issuer`, signed the artifact of this `digest`.

    `payload` are the verified bytes of a DSSE envelope and `payload_type` their type; None for a signed artifact. The
    entry is number `log_index` (from 0) of the first `log_size` in the tree `log_origin`, of the log `log_id` (hex);
    compare indexes only under one origin. `integrated_time` and `log_global_index` are what a Rekor v1 promised, where
    it did; `timestamps` are RFC 3161 times. `trusted_root` is the digest of the file that vouches for all of it.
    """

    digest: str
    identity: str
    issuer: str
    payload_type: str | None
    payload: bytes | None
    log_id: str
    log_origin: str
    log_index: int
    log_size: int
    log_global_index: int | None
    integrated_time: datetime | None
    timestamps: tuple[datetime, ...]
    trusted_root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedByKey:
    """What a bundle signed with a plain key proved: these keys signed the artifact of this `digest`.

    `payload` and `payload_type` as in `Verified`; `key_ids` as in `dsse.key_id`.
    """

    digest: str
    payload_type: str | None
    payload: bytes | None
    key_ids: tuple[str, ...]


def verify(bundle: bytes, trusted_root: Path | str, policy: Policy, *, item: str = "bundle") -> Verified:
    """Verify a bundle signed under a certificate, naming `item` in a refusal.

    `trusted_root` is the file `trusted_root.json` of a Sigstore instance, read at each call; its verifier is built
    once, and a result is kept by the digests of bundle and root and by the policy. A DSSE bundle must hold an in-toto
    statement, and one of its subjects must have the artifact's digest.

    Raises:
        EvidenceError: `bundle-malformed`, `trusted-root-malformed`, `artifact-mismatch`, `timestamp-missing`,
            `timestamp-invalid`, `log-unknown`, `log-entry-unproven`, `log-promise-invalid`, `certificate-untrusted`,
            `certificate-expired`, `certificate-unlogged`, `identity-mismatch`, `issuer-mismatch`, `key-unsupported`,
            `signature-invalid`, `log-entry-mismatch` or `statement-malformed`.

    """
    _demand_bytes(bundle, item)
    try:
        root = Path(trusted_root).read_bytes()
    except (OSError, ValueError) as error:
        raise EvidenceError("trusted-root-malformed", str(trusted_root), expected="a file", actual=error) from error
    digest = policy.artifact_digest
    key = (sha256(bundle).digest(), sha256(root).digest(), policy.identity, policy.issuer, digest)
    found = _RESULTS.get(key)
    if found is None:
        proved = _verifier(root).verify(
            bundle, identity=policy.identity, issuer=policy.issuer, digest=digest, item=item
        )
        if proved.payload is not None:
            demand_subject(proved.payload_type, proved.payload, digest, item=item)
        _RESULTS.put(key, proved)
        found = proved
    return found


def verify_any(
    bundle: bytes, trusted_root: Path | str, policies: Iterable[Policy], *, item: str = "bundle"
) -> tuple[Policy, Verified]:
    """Verify a bundle that one of several people may have signed; return the first policy that holds, and its result.

    Raises:
        EvidenceError: as `verify`, of the last policy whose identity or issuer is not the signer's, at once for every
            other reason; `signer-unknown` without a policy.

    """
    refusal = EvidenceError("signer-unknown", item, expected="a known identity", actual="none is known")
    for policy in policies:
        try:
            return policy, verify(bundle, trusted_root, policy, item=item)
        except EvidenceError as problem:
            if problem.code not in {"identity-mismatch", "issuer-mismatch"}:
                raise
            refusal = problem
    raise refusal


def verify_with_key(
    bundle: bytes,
    keys: Iterable[dsse.PublicKey],
    *,
    artifact: bytes | None = None,
    digest: str | None = None,
    threshold: int = 1,
    item: str = "bundle",
) -> VerifiedByKey:
    """Verify a bundle signed with a plain key, by trusted keys; the artifact as in `Policy`.

    An envelope goes through `dsse`, by at least `threshold` distinct keys, and its statement must have the artifact
    among its subjects. A message signature has one signer, and an Ed25519 key needs the artifact's bytes for it.

    Raises:
        EvidenceError: `bundle-malformed`, `envelope-malformed`, `artifact-mismatch`, `key-unsupported`,
            `signature-invalid`, `signer-unknown`, `signature-threshold`, `statement-malformed` or `policy-malformed`.

    """
    _demand_bytes(bundle, item)
    held = list(keys)
    ring = dsse.KeyRing(held)
    stated = _artifact_digest(artifact, digest)
    fields = _keyed(bundle, item)
    if "dsseEnvelope" in fields:
        envelope = parse_object(_mapping(fields["dsseEnvelope"], item), code=_MALFORMED, item=item)
        verified = ring.verify(envelope, threshold=threshold, item=item)
        demand_subject(verified.payload_type, verified.payload, stated, item=item)
        return VerifiedByKey(
            digest=stated,
            payload_type=verified.payload_type,
            payload=verified.payload,
            key_ids=verified.key_ids,
        )
    signature = _message_signature(_mapping(fields["messageSignature"], item), stated, item)
    if threshold != 1:
        raise EvidenceError("signature-threshold", item, expected=f"{threshold} signatures", actual="one, by its form")
    signers = {
        dsse.key_id(key)
        for key in held
        if _is_artifact_signature(key, signature, artifact, bytes.fromhex(stated.partition(":")[2]), item)
    }
    if not signers:
        expected = f"a signature over {stated} by one of {', '.join(name[:16] for name in ring.key_ids) or '(none)'}"
        raise EvidenceError("signature-invalid", item, expected=expected, actual=signature[:16])
    return VerifiedByKey(digest=stated, payload_type=None, payload=None, key_ids=tuple(sorted(signers)))


def demand_subject(payload_type: str | None, payload: bytes, digest: str, *, item: str) -> None:
    """Demand that an in-toto statement has an artifact among its subjects: `digest` is `sha256:` and hex.

    Raises:
        EvidenceError: `statement-malformed` or `artifact-mismatch`.

    Source: in-toto Statement v1, "subject": a set of artifacts, each matched by digest alone.

    """
    code = "statement-malformed"
    if payload_type != IN_TOTO:
        raise EvidenceError(code, item, expected=f"a payload of type {IN_TOTO}", actual=payload_type)
    fields = parse_object(payload, code=code, item=f"{item}, its statement")
    kind, subjects = fields.get("_type"), fields.get("subject")
    if not isinstance(kind, str) or kind not in _STATEMENTS:
        raise EvidenceError(code, item, expected="_type: an in-toto Statement", actual=kind)
    if not isinstance(subjects, list) or not subjects:
        raise EvidenceError(code, item, expected="subject: one artifact or more", actual=subjects)
    found = []
    for subject in subjects:
        digests = subject.get("digest") if isinstance(subject, Mapping) else None
        if not isinstance(digests, Mapping) or not digests:
            raise EvidenceError(code, item, expected="subjects with a digest", actual=subject)
        found.append(digests.get("sha256"))
    if digest.partition(":")[2] not in found:
        actual = f"subjects {', '.join(f'sha256:{one}' for one in found)}"
        raise EvidenceError("artifact-mismatch", item, expected=digest, actual=actual)


class _Results:
    """A bounded cache of what was verified; a refusal is never kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], Verified] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[object, ...]) -> Verified | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: tuple[object, ...], result: Verified) -> None:
        if result.payload is not None and len(result.payload) > MAX_CACHED_PAYLOAD_BYTES:
            return
        with self._lock:
            self._kept[key] = result
            while len(self._kept) > MAX_CACHED:
                self._kept.popitem(last=False)


_RESULTS: Final = _Results()


@lru_cache(maxsize=_MAX_TRUSTED_ROOTS)
def _verifier(root: bytes) -> TrustedVerifier:
    from cutover.evidence._sigstore import TrustedVerifier  # noqa: PLC0415 - half a second, for those who need it

    return TrustedVerifier(root)


def _artifact_digest(artifact: object, digest: object) -> str:
    if (artifact is None) == (digest is None):
        actual = "neither" if artifact is None else "both"
        raise EvidenceError("policy-malformed", "policy", expected="the artifact's bytes or its digest", actual=actual)
    if artifact is not None:
        if not isinstance(artifact, bytes):
            raise EvidenceError("policy-malformed", "policy", expected="bytes", actual=type(artifact).__name__)
        return f"sha256:{sha256(artifact).hexdigest()}"
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise EvidenceError("policy-malformed", "policy", expected="sha256: and 64 lower-case hex", actual=digest)
    return digest


def _demand_bytes(bundle: object, item: str) -> None:
    if not isinstance(bundle, bytes):
        raise EvidenceError(_MALFORMED, item, expected="bytes", actual=type(bundle).__name__)
    if len(bundle) > MAX_BUNDLE_BYTES:
        raise EvidenceError(_MALFORMED, item, expected=f"at most {MAX_BUNDLE_BYTES} bytes", actual=len(bundle))


def _keyed(bundle: bytes, item: str) -> Mapping[str, object]:
    """Read a bundle that names a plain key: its one content, under the content's own name."""
    fields = parse_object(bundle, code=_MALFORMED, item=item)
    kind = fields.get("mediaType")
    if not isinstance(kind, str) or kind not in MEDIA_TYPES:
        raise EvidenceError(_MALFORMED, item, expected="the media type of a bundle, 0.1 to 0.3", actual=kind)
    material = _mapping(fields.get("verificationMaterial"), item)
    held = [name for name in ("publicKey", "certificate", "x509CertificateChain") if material.get(name) is not None]
    if held != ["publicKey"]:
        actual = ", ".join(held) or "none"
        raise EvidenceError(_MALFORMED, item, expected="publicKey (a certificate is for `verify`)", actual=actual)
    _mapping(material["publicKey"], item)
    contents = {name: fields[name] for name in ("dsseEnvelope", "messageSignature") if fields.get(name) is not None}
    if len(contents) != 1:
        actual = ", ".join(contents) or "neither"
        raise EvidenceError(_MALFORMED, item, expected="dsseEnvelope or messageSignature", actual=actual)
    return contents


def _message_signature(fields: Mapping[str, object], stated: str, item: str) -> bytes:
    signature = from_base64(fields.get("signature"), code=_MALFORMED, item=f"{item}, signature")
    held = fields.get("messageDigest")
    if held is not None:
        held = _mapping(held, item)
        if held.get("algorithm") != "SHA2_256":
            raise EvidenceError(_MALFORMED, item, expected="a digest by SHA2_256", actual=held.get("algorithm"))
        found = f"sha256:{from_base64(held.get('digest'), code=_MALFORMED, item=f'{item}, digest').hex()}"
        if found != stated:
            raise EvidenceError("artifact-mismatch", item, expected=stated, actual=found)
    return signature


def _is_artifact_signature(
    key: dsse.PublicKey, signature: bytes, artifact: bytes | None, digest: bytes, item: str
) -> bool:
    """Say whether a key signed the artifact: by its digest where the algorithm hashes first, else by its bytes."""
    if artifact is not None:
        return dsse.is_signature(key, signature, artifact)
    if isinstance(key, ed25519.Ed25519PublicKey):
        raise EvidenceError("policy-malformed", item, expected="the artifact's bytes, for Ed25519", actual="its digest")
    hashed = utils.Prehashed(hashes.SHA256())
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, digest, ec.ECDSA(hashed))
        else:
            key.verify(signature, digest, padding.PKCS1v15(), hashed)
    except InvalidSignature:
        return False
    return True


def _mapping(value: object, item: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise EvidenceError(_MALFORMED, item, expected="an object", actual=type(value).__name__)
    return value
