"""The half of `bundle` that needs the package `sigstore`; imported at the first bundle, since it takes its time.

`sigstore` decides: nothing is accepted that it refuses. Before it is asked, the log entry and the timestamps are
verified here, because more is demanded of them than it demands, and so that a refusal can say what it expected:

- a document that does not encode back to itself (junk within base64, a number in another spelling, a name in another
  case) is refused;
- the log must be one of the trusted root's, and the signatures by the key of *that* log; `sigstore` takes the id as a
  hint and tries every key;
- the checkpoint must be of the inclusion proof's tree size, not of its root alone; in Rekor v2 the entry's index must
  be the proof's;
- every timestamp must verify, and every promise, not one of them.

Invariants: no connection is opened; whatever the bytes, a refusal is an `EvidenceError`; a `TrustedVerifier` holds no
state of a verification, so threads may share it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.asn1 import decode_der
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils
from pydantic import ValidationError
from rfc3161_client import TimeStampResponse, VerifierBuilder, decode_timestamp_response
from rfc3161_client.errors import VerificationError as TimestampRefused
from sigstore.errors import VerificationError
from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore_models.bundle.v1 import Bundle as BundleFields
from sigstore_models.common.v1 import HashAlgorithm
from sigstore_models.trustroot.v1 import TrustedRoot as TrustedRootFields

from cutover.evidence import checkpoint, dsse, merkle
from cutover.evidence._json import canonical, parse_object
from cutover.evidence.bundle import Verified
from cutover.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from rfc3161_client.verify import Verifier as TimestampVerifier
    from sigstore_models.common.v1 import TimeRange
    from sigstore_models.rekor.v1 import TransparencyLogEntry

MAX_TIMESTAMPS: Final = 32

_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_OTHER_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7")
_BUNDLE: Final = "bundle-malformed"
_ROOT: Final = "trusted-root-malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """A log of the trusted root: its name as a host, its key, and when the key was valid."""

    name: str
    key: dsse.PublicKey
    valid_for: TimeRange | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Authority:
    """A timestamp authority of the trusted root, and when it was valid."""

    verifier: TimestampVerifier
    valid_for: TimeRange


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A proven log entry."""

    checkpoint: checkpoint.Checkpoint
    index: int
    global_index: int | None
    integrated_time: datetime | None


class TrustedVerifier:
    """Verifies bundles against one trusted root, given as its file's bytes.

    Raises:
        EvidenceError: `trusted-root-malformed`.

    """

    def __init__(self, raw: bytes) -> None:
        self.digest = f"sha256:{sha256(raw).hexdigest()}"
        item = "trusted root"
        document = parse_object(raw, code=_ROOT, item=item)
        try:
            fields = TrustedRootFields.from_json(raw)
            trusted = TrustedRoot(fields)
            self._verifier = Verifier(trusted_root=trusted)
            chains = [one.certificates(allow_expired=True) for one in trusted.get_timestamp_authorities()]
            self._authorities = tuple(
                _Authority(verifier=_timestamp_verifier(chain), valid_for=stated.valid_for)
                for chain, stated in zip(chains, fields.timestamp_authorities, strict=True)
                if len(chain) > 1  # none of a chain that is announced and not yet valid
            )
        except Exception as error:  # the library raises several kinds, by what it met in the file
            raise EvidenceError(_ROOT, item, expected="a Sigstore trusted root", actual=_said(error)) from error
        _demand_round_trip(document, fields.to_json(), code=_ROOT, item=item, but="validFor")
        self._logs: dict[bytes, _Log] = {}
        for log in fields.tlogs:
            key = _log_key(log.public_key.raw_bytes)
            if key is not None:
                name = log.base_url.partition("://")[2].partition("/")[0]
                self._logs[log.log_id.key_id] = _Log(name=name, key=key, valid_for=log.public_key.valid_for)

    def verify(self, raw: bytes, *, identity: str, issuer: str, digest: str, item: str) -> Verified:
        """Verify a bundle but for the statement within; raises as `bundle.verify` does."""
        fields, bundle = _read(raw, item)
        stated = fields.message_signature.message_digest if fields.message_signature is not None else None
        if stated is not None and (f"sha256:{stated.digest.hex()}", stated.algorithm.value) != (digest, "SHA2_256"):
            actual = f"{stated.algorithm.value} {stated.digest.hex()}"
            raise EvidenceError("artifact-mismatch", item, expected=digest, actual=actual)
        artifact = bytes.fromhex(digest.partition(":")[2])
        timestamps = self._timestamps(fields, bundle, artifact, item)
        entry = self._entry(fields.verification_material.tlog_entries[0], timestamps, item)
        _demand_validity(bundle.signing_certificate, [*timestamps, entry.integrated_time], item)
        payload_type, payload = self._ask(bundle, artifact, _Names(identity, issuer, item), item)
        return Verified(
            digest=digest,
            identity=identity,
            issuer=issuer,
            payload_type=payload_type,
            payload=payload,
            log_id=fields.verification_material.tlog_entries[0].log_id.key_id.hex(),
            log_origin=entry.checkpoint.origin,
            log_index=entry.index,
            log_size=entry.checkpoint.size,
            log_global_index=entry.global_index,
            integrated_time=entry.integrated_time,
            timestamps=timestamps,
            trusted_root=self.digest,
        )

    def _timestamps(self, fields: BundleFields, bundle: Bundle, artifact: bytes, item: str) -> tuple[datetime, ...]:
        """Verify every RFC 3161 timestamp over the signature; return their times."""
        times = []
        for position, response in enumerate(_timestamp_responses(fields, item)):
            where = f"{item}, timestamp {position}"
            try:
                time = self._time_of(response, bundle.signature)
            except Exception as error:  # of what is signed and no timestamp, several kinds
                raise EvidenceError("timestamp-invalid", where, expected="RFC 3161", actual=_said(error)) from error
            if time is None:
                # A timestamp is over the signature: where both fail, the signature is what was altered.
                _demand_signature(bundle, artifact, item)
                expected = f"one by the trusted root's {len(self._authorities)} authorities, over this signature"
                raise EvidenceError("timestamp-invalid", where, expected=expected, actual="none verifies it")
            times.append(time)
        return tuple(times)

    def _time_of(self, response: TimeStampResponse, message: bytes) -> datetime | None:
        for authority in self._authorities:
            try:
                authority.verifier.verify_message(response, message)
            except TimestampRefused:
                continue
            if _is_within(response.tst_info.gen_time, authority.valid_for):
                return response.tst_info.gen_time
        return None

    def _entry(self, entry: TransparencyLogEntry, timestamps: tuple[datetime, ...], item: str) -> _Entry:
        """Verify inclusion, checkpoint and promise by the key of the very log that the entry names."""
        log = self._logs.get(entry.log_id.key_id)
        if log is None:
            expected = ", ".join(f"{key.hex()[:16]} ({known.name})" for key, known in self._logs.items())
            raise EvidenceError("log-unknown", item, expected=expected or "(none)", actual=entry.log_id.key_id)
        proof, proven = entry.inclusion_proof, _demand_inclusion(entry, log, item)
        integrated = _demand_promise(entry, log, item)
        for time in (*timestamps, *([integrated] if integrated is not None else [])):
            if log.valid_for is not None and not _is_within(time, log.valid_for):
                expected = f"a key of {log.name} valid since {log.valid_for.start}, until {log.valid_for.end}"
                raise EvidenceError("log-unknown", item, expected=expected, actual=time)
        if entry.kind_version.version != "0.0.1" and entry.log_index != proof.log_index:
            # Rekor v2 has one tree a log: an index of another shard is an index of another log.
            where = f"{item}, log entry"
            raise EvidenceError("log-entry-unproven", where, expected=proof.log_index, actual=entry.log_index)
        return _Entry(
            checkpoint=proven,
            index=proof.log_index,
            global_index=entry.log_index if integrated is not None else None,
            integrated_time=integrated,
        )

    def _ask(self, bundle: Bundle, artifact: bytes, names: _Names, item: str) -> tuple[str | None, bytes | None]:
        """Have `sigstore` verify all of it; what it refuses is refused, under the code of the stage it reached."""
        try:
            if bundle._inner.dsse_envelope is not None:  # noqa: SLF001 - the public names leave no way to ask
                return self._verifier.verify_dsse(bundle, names)
            hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=artifact)
            self._verifier.verify_artifact(hashed, bundle, names)
        except _NamesError as refused:
            raise refused.error from refused
        except Exception as error:  # beside its own errors, whatever ASN.1 and JSON of the bundle made others raise
            if names.reached:
                _demand_signature(bundle, artifact, item)
                code, expected = "log-entry-mismatch", "an entry about this signature, certificate and content"
            elif isinstance(error, VerificationError) and str(error).startswith(_SCT_REFUSED):
                code, expected = "certificate-unlogged", "a promise (SCT) by a certificate log of the trusted root"
            else:
                code, expected = "certificate-untrusted", "a signing certificate under the trusted root's authorities"
            raise EvidenceError(code, item, expected=expected, actual=_said(error)) from error
        return None, None


_SCT_REFUSED: Final = "failed to verify SCT"


class _NamesError(VerificationError):
    """Carries our refusal through `sigstore`."""

    def __init__(self, error: EvidenceError) -> None:
        super().__init__(str(error))
        self.error = error


class _Names:
    """The policy in the form `sigstore` asks for: judges a certificate once all else of it was verified."""

    def __init__(self, identity: str, issuer: str, item: str) -> None:
        self._identity = identity
        self._issuer = issuer
        self._item = item
        self.reached = False

    def verify(self, cert: x509.Certificate) -> None:
        """Demand identity and issuer. Source: Fulcio certificate specification, 1.3.6.1.4.1.57264.1.1, .7 and .8."""
        self.reached = True
        issuers = _issuers(cert)
        if set(issuers) != {self._issuer}:  # one extension or both, and they must agree
            actual = ", ".join(issuers) or "no issuer in the certificate"
            raise self._refused("issuer-mismatch", self._issuer, actual)
        identities = _identities(cert)
        if self._identity not in identities:
            raise self._refused("identity-mismatch", self._identity, ", ".join(identities) or "no identity")

    def _refused(self, code: str, expected: str, actual: str) -> _NamesError:
        return _NamesError(EvidenceError(code, self._item, expected=expected, actual=actual))


def _read(raw: bytes, item: str) -> tuple[BundleFields, Bundle]:
    """Read a bundle strictly: as JSON, as its model, and as itself when written again."""
    document = parse_object(raw, code=_BUNDLE, item=item)
    try:
        fields = BundleFields.from_json(raw)
    except Exception as error:  # validation, and what its validators meet
        raise EvidenceError(_BUNDLE, item, expected="a Sigstore bundle", actual=_said(error)) from error
    _demand_round_trip(document, fields.to_json(), code=_BUNDLE, item=item)
    material = fields.verification_material
    if material.public_key is not None:
        raise EvidenceError(_BUNDLE, item, expected="a certificate (`verify_with_key` takes keys)", actual="publicKey")
    for entry in material.tlog_entries:
        data = material.timestamp_verification_data
        if not (data and data.rfc3161_timestamps) and not (entry.inclusion_promise and entry.integrated_time):
            expected = "a promise with an integrated time, or an RFC 3161 timestamp"
            raise EvidenceError("timestamp-missing", item, expected=expected, actual="neither")
    _timestamp_responses(fields, item)
    try:
        bundle = Bundle.from_json(raw)
    except Exception as error:  # its own errors, and what a certificate's ASN.1 makes others raise
        raise EvidenceError(_BUNDLE, item, expected="a Sigstore bundle", actual=_said(error)) from error
    return fields, bundle


def _timestamp_responses(fields: BundleFields, item: str) -> list[TimeStampResponse]:
    """Read the timestamps, each once and no more of them than anybody needs."""
    data = fields.verification_material.timestamp_verification_data
    raw = [one.signed_timestamp for one in data.rfc3161_timestamps] if data is not None else []
    if len(raw) > MAX_TIMESTAMPS or len(set(raw)) != len(raw):
        expected = f"at most {MAX_TIMESTAMPS} timestamps, each once"
        raise EvidenceError("timestamp-invalid", item, expected=expected, actual=f"{len(raw)} timestamps")
    try:
        return [decode_timestamp_response(one) for one in raw]
    except ValueError as error:
        raise EvidenceError("timestamp-invalid", item, expected="RFC 3161 in DER", actual=error) from error


def _demand_round_trip(document: object, again: str, *, code: str, item: str, but: str | None = None) -> None:
    """Refuse a document that its model would write otherwise; absent and null are one. `but` names a field left out.

    Source: protobuf JSON mapping; this accepts the canonical spelling alone.
    """
    written = _plain(parse_object(again, code=code, item=item), but)
    if _plain(document, but) != written:
        raise EvidenceError(code, item, expected="canonical base64, numbers and names", actual="another spelling")


def _plain(value: object, but: str | None) -> object:
    if isinstance(value, Mapping):
        return {name: _plain(one, but) for name, one in value.items() if one is not None and name != but}
    return [_plain(one, but) for one in value] if isinstance(value, list) else value


def _demand_inclusion(entry: TransparencyLogEntry, log: _Log, item: str) -> checkpoint.Checkpoint:
    """Verify the checkpoint by the log's key, and the entry's place under it. Source: RFC 9162 §2.1.3.2."""
    try:
        signed = _signed_checkpoint(entry, log)
        merkle.verify_inclusion(
            leaf_hash=merkle.leaf_hash(entry.canonicalized_body),
            index=entry.inclusion_proof.log_index,
            size=signed.size,
            proof=entry.inclusion_proof.hashes,
            root=signed.root,
        )
    except EvidenceError as error:
        where = f"{item}, log entry, {error.item}"
        raise EvidenceError("log-entry-unproven", where, expected=error.expected, actual=error.actual) from error
    return signed


def _signed_checkpoint(entry: TransparencyLogEntry, log: _Log) -> checkpoint.Checkpoint:
    """Verify the checkpoint's signature, and that proof and checkpoint speak of one tree. Source: C2SP signed-note."""
    code, where, proof = "log-entry-unproven", "its checkpoint", entry.inclusion_proof
    text, signatures = checkpoint.split(proof.checkpoint.envelope if proof.checkpoint is not None else "")
    hint = entry.log_id.key_id[:4]
    ours = [(name, signature) for name, stated, signature in signatures if stated == hint]
    if not any(dsse.is_signature(log.key, signature, text) for _, signature in ours):
        actual = f"{', '.join(f'{name}+{stated.hex()}' for name, stated, _ in signatures)}, none of which verifies"
        raise EvidenceError(code, where, expected=f"a signature by {log.name}+{hint.hex()}", actual=actual)
    signed = checkpoint.read(text, tuple(name for name, _ in ours))
    if signed.size != proof.tree_size:
        raise EvidenceError(code, where, expected=f"{signed.size} entries", actual=f"{proof.tree_size} in the proof")
    if signed.root != proof.root_hash:
        raise EvidenceError(code, where, expected=signed.root, actual=proof.root_hash)
    return signed


def _demand_promise(entry: TransparencyLogEntry, log: _Log, item: str) -> datetime | None:
    """Verify the promise of a Rekor v1 where there is one; return its integrated time."""
    code, where = "log-promise-invalid", f"{item}, log entry"
    if entry.inclusion_promise is None:
        return None
    if not entry.integrated_time or entry.kind_version.version != "0.0.1":
        kind = f"{entry.kind_version.kind} {entry.kind_version.version}, time {entry.integrated_time}"
        raise EvidenceError(code, where, expected="a promise with a time, of an entry 0.0.1", actual=kind)
    promised = canonical(
        {
            "body": base64.b64encode(entry.canonicalized_body).decode("ascii"),
            "integratedTime": entry.integrated_time,
            "logID": entry.log_id.key_id.hex(),
            "logIndex": entry.log_index,
        },
        code=code,
        item=where,
    )
    signature = entry.inclusion_promise.signed_entry_timestamp
    if not dsse.is_signature(log.key, signature, promised):
        expected = f"the signature of {log.name} over body, time, log and index"
        raise EvidenceError(code, where, expected=expected, actual=f"{signature[:16].hex()}…, which does not verify")
    try:
        return datetime.fromtimestamp(entry.integrated_time, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise EvidenceError(code, where, expected="a time", actual=entry.integrated_time) from error


def _demand_validity(certificate: x509.Certificate, times: list[datetime | None], item: str) -> None:
    since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    for time in times:
        if time is not None and not since <= time <= until:
            raise EvidenceError("certificate-expired", item, expected=f"signed from {since} to {until}", actual=time)


def _demand_signature(bundle: Bundle, artifact: bytes, item: str) -> None:
    """Demand that the signature alone is good under the bundle's own certificate: tells which part was altered."""
    key = bundle.signing_certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise EvidenceError("key-unsupported", item, expected="an ECDSA certificate", actual=type(key).__name__)
    envelope = bundle._inner.dsse_envelope  # noqa: SLF001 - as above
    digest = artifact if envelope is None else sha256(dsse.pae(envelope.payload_type, envelope.payload)).digest()
    try:
        key.verify(bundle.signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except InvalidSignature as error:
        body = bundle.log_entry._inner.canonicalized_body  # noqa: SLF001 - as above
        if envelope is None and digest.hex().encode() not in body and base64.b64encode(digest) not in body:
            expected, actual = f"sha256:{digest.hex()}", "a log entry about another artifact"
            raise EvidenceError("artifact-mismatch", item, expected=expected, actual=actual) from error
        expected = f"a signature over sha256:{digest.hex()}"
        actual = f"{bundle.signature[:16].hex()}…, which does not verify"
        raise EvidenceError("signature-invalid", item, expected=expected, actual=actual) from error


def _issuers(certificate: x509.Certificate) -> list[str]:
    """Return what the certificate's issuer extensions say, the newer first."""
    found = []
    for oid in (_ISSUER_V2, _ISSUER):
        try:
            value = certificate.extensions.get_extension_for_oid(oid).value
        except x509.ExtensionNotFound:
            continue
        if isinstance(value, x509.UnrecognizedExtension):
            found.append(decode_der(str, value.value) if oid == _ISSUER_V2 else value.value.decode("utf-8"))
    return found


def _identities(certificate: x509.Certificate) -> list[str]:
    """Return the certificate's identities: e-mail addresses, URIs, and Fulcio's own other names."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    others = [one for one in names.get_values_for_type(x509.OtherName) if one.type_id == _OTHER_NAME]
    return [
        *names.get_values_for_type(x509.RFC822Name),
        *names.get_values_for_type(x509.UniformResourceIdentifier),
        *(decode_der(str, one.value) for one in others),
    ]


def _timestamp_verifier(certificates: list[x509.Certificate]) -> TimestampVerifier:
    leaf, *intermediates, root = certificates
    builder = VerifierBuilder().tsa_certificate(leaf).add_root_certificate(root)
    for certificate in intermediates:
        builder = builder.add_intermediate_certificate(certificate)
    return builder.build()


def _log_key(raw: bytes | None) -> dsse.PublicKey | None:
    """Read a log's key; None for a kind this package does not verify with, so that its entries are refused."""
    try:
        key = serialization.load_der_public_key(raw or b"")
        if isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
            dsse.KeyRing([key])
            return key
    except (ValueError, TypeError, EvidenceError):
        return None
    return None


def _is_within(time: datetime, period: TimeRange) -> bool:
    return period.start <= time and (period.end is None or time <= period.end)


def _said(error: Exception) -> str:
    """Return what an error of a library says, on one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}"
    return str(error) or type(error).__name__
