"""Sigstore bundles: made by an instance of our own, verified by the package, and every part of them tampered with."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from sigstore import _store

from cutover.evidence import bundle, dsse
from cutover.evidence.errors import EvidenceError
from tests.evidence import sigstore_instance as made
from tests.evidence.sigstore_instance import ARTIFACT, IDENTITY, ISSUER, SIGNED, Authority, Instance, Log, key

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = bundle.Policy(identity=IDENTITY, issuer=ISSUER, artifact=ARTIFACT)
DIGEST = f"sha256:{sha256(ARTIFACT).hexdigest()}"
RSA = rsa.generate_private_key(65537, 2048)
X25519 = x25519.X25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_ISSUER = "https://mallory.example"
FIRST, SECOND = ("hashedrekord_1", "dsse_1"), ("hashedrekord_2", "dsse_2")  # by the generation of the log
ENVELOPES, MESSAGES = ("dsse_1", "dsse_2"), ("hashedrekord_1", "hashedrekord_2")  # by what is signed
KINDS = FIRST + SECOND


@cache
def _made(kind: str) -> str:
    return json.dumps(getattr(Instance(), kind)())


def good(kind: str) -> dict[str, Any]:
    """Return a bundle of a kind, the test's own copy."""
    document: dict[str, Any] = json.loads(_made(kind))
    return document


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "trusted_root.json"
    path.write_bytes(Instance().trusted_root())
    return path


def encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def refusal(document: dict[str, Any] | bytes, root: Path, policy: bundle.Policy = POLICY) -> EvidenceError:
    raw = document if isinstance(document, bytes) else encoded(document)
    with pytest.raises(EvidenceError) as refused:
        bundle.verify(raw, root, policy, item="ev-7")
    assert refused.value.expected != refused.value.actual
    return refused.value


# What is accepted


FORMS = [(kind, form) for kind in KINDS for form in (made.BUNDLE_0_1, made.BUNDLE_0_2, made.BUNDLE_0_3)]


@pytest.mark.parametrize(
    ("kind", "media_type"),
    # The first form demands a promise, which the second generation of the log does not give.
    [(kind, form) for kind, form in FORMS if kind in FIRST or form != made.BUNDLE_0_1],
)
def test_what_a_good_bundle_proves(kind: str, media_type: str, root: Path):
    proved = bundle.verify(encoded(getattr(Instance(), kind)(media_type=media_type)), root, POLICY)
    assert (proved.identity, proved.issuer, proved.digest) == (IDENTITY, ISSUER, DIGEST)
    assert (proved.log_index, proved.log_size) == (4, 8)
    if kind.endswith("1"):
        assert (proved.integrated_time, proved.timestamps, proved.log_global_index) == (SIGNED, (), 1004)
        assert proved.log_origin == "rekor.example - 311000"
    else:
        assert (proved.integrated_time, proved.timestamps, proved.log_global_index) == (None, (SIGNED,), None)
        assert proved.log_origin == "log2025.example"
    envelope = kind.startswith("dsse")
    assert proved.payload == (made.statement() if envelope else None)
    assert proved.payload_type == ("application/vnd.in-toto+json" if envelope else None)
    assert proved.trusted_root == f"sha256:{sha256(root.read_bytes()).hexdigest()}"


def test_an_artifact_by_its_digest(root: Path):
    policy = bundle.Policy(identity=IDENTITY, issuer=ISSUER, digest=DIGEST)
    assert bundle.verify(encoded(good("hashedrekord_2")), root, policy).digest == DIGEST


def test_one_subject_among_several_is_enough(root: Path):
    subjects = [
        {"name": str(n), "digest": {"sha256": sha256(part).hexdigest()}} for n, part in enumerate((b"", ARTIFACT))
    ]
    payload = made.statement(subject=subjects)
    assert bundle.verify(encoded(Instance().dsse_2(payload)), root, POLICY).payload == payload


def test_a_first_generation_entry_may_have_a_timestamp_as_well(root: Path):
    document = good("hashedrekord_1")
    raw = base64.b64decode(document["messageSignature"]["signature"])
    stamped(document, Instance().timestamp(raw))
    proved = bundle.verify(encoded(document), root, POLICY)
    assert (proved.integrated_time, proved.timestamps) == (SIGNED, (SIGNED,))


def test_an_index_is_given_under_its_own_shard(root: Path):
    """The same entry stands in two shards of one log: two origins, so that nobody compares the two indexes."""
    whole = good("dsse_1")
    taken(SHARD, "dsse_1", PROOF)(whole)
    here, there = (bundle.verify(encoded(one), root, POLICY) for one in (good("dsse_1"), whole))
    assert (here.log_id, here.log_global_index) == (there.log_id, there.log_global_index)
    assert (here.log_origin, here.log_index) == ("rekor.example - 311000", 4)
    assert (there.log_origin, there.log_index) == ("rekor.example - 310", 2)


def test_the_public_instances_trusted_roots_are_read():
    """What the package ships for Sigstore's production and staging: logs of both generations among them."""
    found = [path for folder in _store.__path__ for path in Path(folder).glob("*/trusted_root.json")]
    assert len(found) == 2
    for path in found:
        assert refusal(good("hashedrekord_2"), path).code in {"timestamp-invalid", "log-unknown"}


# What is refused: one part of a good bundle altered, and the code that says which


def at(document: dict[str, Any], path: str) -> tuple[Any, Any]:
    """Return the container and the last name of a dotted path."""
    *before, last = (int(part) if part.isdigit() else part for part in path.split("."))
    for part in before:
        document = document[part]  # type: ignore[index]
    return document, last


def flipped(path: str, position: int = -1) -> Callable[[dict[str, Any]], None]:
    """Flip the lowest bit of one byte within a base64 field."""

    def alter(document: dict[str, Any]) -> None:
        holder, name = at(document, path)
        raw = bytearray(base64.b64decode(holder[name]))
        raw[position] ^= 1
        holder[name] = made.b64(bytes(raw))

    return alter


def put(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Put a value; None takes the field out."""

    def alter(document: dict[str, Any]) -> None:
        holder, name = at(document, path)
        if value is None:
            del holder[name]
        else:
            holder[name] = value

    return alter


def replaced(path: str, old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def alter(document: dict[str, Any]) -> None:
        holder, name = at(document, path)
        assert old in holder[name]
        holder[name] = holder[name].replace(old, new)

    return alter


def stamped(document: dict[str, Any], *responses: bytes) -> None:
    stamps = [{"signedTimestamp": made.b64(one)} for one in responses]
    document["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": stamps}


def taken(other: Instance, kind: str, path: str) -> Callable[[dict[str, Any]], None]:
    """Put what another instance would have there."""

    def alter(document: dict[str, Any]) -> None:
        holder, name = at(document, path)
        theirs, _ = at(getattr(other, kind)(), path)
        holder[name] = theirs[name]

    return alter


def unproven_body(document: dict[str, Any]) -> None:
    """Another instance's whole log entry, proven, about another signature."""
    other = Instance(signer=key(41)).hashedrekord_1()
    document["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]


def double_entry(document: dict[str, Any]) -> None:
    document["verificationMaterial"]["tlogEntries"] *= 2


ENTRY = "verificationMaterial.tlogEntries.0"
PROOF = f"{ENTRY}.inclusionProof"
CERTIFICATE = "verificationMaterial.certificate.rawBytes"
STAMP = "verificationMaterial.timestampVerificationData.rfc3161Timestamps.0.signedTimestamp"
SHARD = Instance(log_1=Log(host="rekor.example", number=31, generation=1, before=2, after=1))
LATE = Instance(signed=SIGNED + timedelta(minutes=11))


@dataclass(frozen=True, kw_only=True)
class Tampering:
    """One alteration of a bundle of some kind, and the code it must be refused with."""

    name: str
    kind: str
    alter: Callable[[dict[str, Any]], None]
    code: str


def row(name: str, kinds: tuple[str, ...], alter: Callable[[dict[str, Any]], None], code: str) -> list[Tampering]:
    return [Tampering(name=name, kind=kind, alter=alter, code=code) for kind in kinds]


TAMPERINGS = [
    *row("signature", MESSAGES, flipped("messageSignature.signature"), "signature-invalid"),
    *row("envelope's signature", ENVELOPES, flipped("dsseEnvelope.signatures.0.sig"), "signature-invalid"),
    *row("payload", ENVELOPES, flipped("dsseEnvelope.payload", 5), "signature-invalid"),
    *row("payload's type", ENVELOPES, put("dsseEnvelope.payloadType", "text/plain"), "signature-invalid"),
    *row("digest", MESSAGES, flipped("messageSignature.messageDigest.digest"), "artifact-mismatch"),
    *row("digest's kind", MESSAGES, put("messageSignature.messageDigest.algorithm", "SHA2_512"), "artifact-mismatch"),
    *row("certificate's signature", KINDS, flipped(CERTIFICATE), "certificate-untrusted"),
    *row("certificate's identity", KINDS, flipped(CERTIFICATE, 400), "certificate-untrusted"),
    *row("certificate's shape", KINDS, flipped(CERTIFICATE, 0), "bundle-malformed"),
    *row(
        "leaf of another signer",
        ("dsse_1",),
        taken(Instance(signer=key(41)), "dsse_1", CERTIFICATE),
        "signature-invalid",
    ),
    *row("proof hash", KINDS, flipped(f"{PROOF}.hashes.0"), "log-entry-unproven"),
    *row("proof hash taken out", KINDS, put(f"{PROOF}.hashes.1", None), "log-entry-unproven"),
    *row("proof's root", KINDS, flipped(f"{PROOF}.rootHash"), "log-entry-unproven"),
    *row("proof's index", KINDS, put(f"{PROOF}.logIndex", "5"), "log-entry-unproven"),
    *row("proof's size", KINDS, put(f"{PROOF}.treeSize", "7"), "log-entry-unproven"),
    *row("proof of another shard's entry", ("hashedrekord_1",), taken(SHARD, "dsse_1", PROOF), "log-entry-unproven"),
    *row("index within another shard", ("dsse_1",), put(f"{PROOF}.logIndex", "1004"), "bundle-malformed"),
    *row("checkpoint's size", KINDS, replaced(f"{PROOF}.checkpoint.envelope", "\n8\n", "\n9\n"), "log-entry-unproven"),
    *row(
        "checkpoint's origin",
        KINDS,
        replaced(f"{PROOF}.checkpoint.envelope", ".example", ".exemple"),
        "log-entry-unproven",
    ),
    *row("checkpoint unsigned", KINDS, replaced(f"{PROOF}.checkpoint.envelope", "— ", "- "), "log-entry-unproven"),
    *row("checkpoint of nobody", KINDS, put(f"{PROOF}.checkpoint.envelope", ""), "log-entry-unproven"),
    *row("no checkpoint", KINDS, put(f"{PROOF}.checkpoint", None), "bundle-malformed"),
    *row("no proof", KINDS, put(PROOF, None), "bundle-malformed"),
    *row("promise", FIRST, flipped(f"{ENTRY}.inclusionPromise.signedEntryTimestamp"), "log-promise-invalid"),
    *row("integrated time", FIRST, put(f"{ENTRY}.integratedTime", "1743508806"), "log-promise-invalid"),
    *row("index of another shard", FIRST, put(f"{ENTRY}.logIndex", "4"), "log-promise-invalid"),
    *row("index of another shard", SECOND, put(f"{ENTRY}.logIndex", "1004"), "log-entry-unproven"),
    *row("promise without a time", FIRST, put(f"{ENTRY}.integratedTime", None), "timestamp-missing"),
    *row("time without a promise", FIRST, put(f"{ENTRY}.inclusionPromise", None), "timestamp-missing"),
    *row("time zero", FIRST, put(f"{ENTRY}.integratedTime", "0"), "timestamp-missing"),
    *row("log", KINDS, flipped(f"{ENTRY}.logId.keyId"), "log-unknown"),
    *row("entry's body", KINDS, flipped(f"{ENTRY}.canonicalizedBody", 30), "log-entry-unproven"),
    *row("entry about another", ("hashedrekord_1",), unproven_body, "log-entry-mismatch"),
    *row("entry's kind", ("hashedrekord_1",), put(f"{ENTRY}.kindVersion.kind", "dsse"), "log-entry-mismatch"),
    *row("entry's version", ("hashedrekord_1",), put(f"{ENTRY}.kindVersion.version", "0.0.2"), "log-promise-invalid"),
    *row("entry's version", SECOND, put(f"{ENTRY}.kindVersion.version", "0.0.1"), "log-entry-mismatch"),
    *row("entry's version", KINDS, put(f"{ENTRY}.kindVersion.version", "0.0.3"), "bundle-malformed"),
    *row("timestamp's signature", SECOND, flipped(STAMP), "timestamp-invalid"),
    *row("timestamp's shape", SECOND, flipped(STAMP, 0), "timestamp-invalid"),
    *row("timestamp's status", SECOND, flipped(STAMP, 8), "timestamp-invalid"),
    *row("timestamp of another", SECOND, taken(Instance(signer=key(41)), "dsse_2", STAMP), "timestamp-invalid"),
    *row("no timestamp", SECOND, put(STAMP.rpartition(".")[0], None), "timestamp-missing"),
    *row("no timestamps", SECOND, put("verificationMaterial.timestampVerificationData", None), "timestamp-missing"),
    *row("two entries", KINDS, double_entry, "bundle-malformed"),
    *row("no entry", KINDS, put(ENTRY, None), "bundle-malformed"),
    *row("media type", KINDS, put("mediaType", "application/json"), "bundle-malformed"),
    *row("unknown field", KINDS, put("extra", 1), "bundle-malformed"),
    *row("number as a number", KINDS, put(f"{ENTRY}.logIndex", 4), "bundle-malformed"),
    *row("number with a zero", KINDS, put(f"{PROOF}.logIndex", "04"), "bundle-malformed"),
    *row("number of another script", KINDS, put(f"{PROOF}.logIndex", "\u0664"), "bundle-malformed"),
    *row("junk in base64", KINDS, replaced(CERTIFICATE, "MII", "M II"), "bundle-malformed"),
    *row("name of another case", KINDS, lambda whole: whole.update(media_type=whole["mediaType"]), "bundle-malformed"),
    *row("plain key", KINDS, lambda whole: whole.update(made.keyed({})), "bundle-malformed"),
]


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda one: f"{one.name}, {one.kind}")
def test_tampered_bundles(tampering: Tampering, root: Path):
    document = good(tampering.kind)
    tampering.alter(document)
    refused = refusal(document, root)
    assert (refused.code, refused.item.split(",")[0]) == (tampering.code, "ev-7"), str(refused)


# What is refused: a bundle that is whole, made by the wrong hands


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """An instance in which one part is not what the trusted root names, and the code for its bundles."""

    name: str
    instance: Instance
    code: str
    kinds: tuple[str, ...] = KINDS


WRONG = [
    Wrong(name="other identity", instance=Instance(identity="https://forge.example/mallory"), code="identity-mismatch"),
    Wrong(
        name="other issuer", instance=Instance(issuer=OTHER_ISSUER, older_issuer=OTHER_ISSUER), code="issuer-mismatch"
    ),
    Wrong(
        name="other authority",
        instance=Instance(authority=Authority(name="fulcio", number=50)),
        code="certificate-untrusted",
    ),
    Wrong(
        name="other certificate log",
        instance=Instance(certificate_log=Log(host="ct.example", number=51, generation=1)),
        code="certificate-unlogged",
    ),
    Wrong(
        name="other log",
        instance=Instance(
            log_1=Log(host="rekor.example", number=52, generation=1, offset=1000),
            log_2=Log(host="log2025.example", number=53, generation=2),
        ),
        code="log-unknown",
    ),
    Wrong(
        name="other timestamp authority",
        instance=Instance(timestamps=Authority(name="tsa", number=54)),
        code="timestamp-invalid",
        kinds=SECOND,
    ),
    Wrong(name="signed too late", instance=LATE, code="certificate-expired"),
    Wrong(name="signed too early", instance=Instance(signed=SIGNED - timedelta(hours=1)), code="certificate-expired"),
    Wrong(
        name="before the log's key",
        instance=Instance(signed=made.SINCE - timedelta(seconds=1), issued=made.SINCE - timedelta(seconds=1)),
        code="log-unknown",
        kinds=FIRST,
    ),
]


@pytest.mark.parametrize(
    ("wrong", "kind"), [pytest.param(one, kind, id=f"{one.name}, {kind}") for one in WRONG for kind in one.kinds]
)
def test_bundles_of_the_wrong_hands(wrong: Wrong, kind: str, root: Path):
    assert refusal(getattr(wrong.instance, kind)(), root).code == wrong.code


@pytest.mark.parametrize("kind", KINDS)
def test_another_policy_s_names(kind: str, root: Path):
    """The certificate names somebody, and the refusal says whom."""
    other = bundle.Policy(identity="https://forge.example/other", issuer=ISSUER, artifact=ARTIFACT)
    refused = refusal(good(kind), root, other)
    assert (refused.code, refused.expected, refused.actual) == (
        "identity-mismatch",
        "https://forge.example/other",
        IDENTITY,
    )
    other = bundle.Policy(identity=IDENTITY, issuer="https://other.example", artifact=ARTIFACT)
    refused = refusal(good(kind), root, other)
    assert (refused.code, refused.expected) == ("issuer-mismatch", "https://other.example")
    assert ISSUER in refused.actual


@pytest.mark.parametrize("kind", KINDS)
def test_another_artifact(kind: str, root: Path):
    other = bundle.Policy(identity=IDENTITY, issuer=ISSUER, artifact=ARTIFACT + b" ")
    refused = refusal(good(kind), root, other)
    assert (refused.code, refused.expected) == ("artifact-mismatch", other.artifact_digest)
    assert DIGEST.partition(":")[2] in refused.actual


@pytest.mark.parametrize("kind", MESSAGES)
def test_another_artifact_where_the_bundle_names_none(kind: str, root: Path):
    """The digest in a bundle is optional: the log's entry tells artifact from signature."""
    document = good(kind)
    del document["messageSignature"]["messageDigest"]
    other = bundle.Policy(identity=IDENTITY, issuer=ISSUER, artifact=b"other")
    assert refusal(document, root, other).code == "artifact-mismatch"
    assert bundle.verify(encoded(document), root, POLICY).digest == DIGEST


def test_a_certificate_without_a_promise(root: Path, monkeypatch: pytest.MonkeyPatch):
    bare = Instance().certificate(with_sct=False)
    monkeypatch.setattr(Instance, "certificate", lambda _: bare)
    assert refusal(Instance().dsse_2(), root).code == "certificate-unlogged"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (made.statement(b"another artifact"), "artifact-mismatch"),
        (made.statement(subject=[{"name": "release", "digest": {"sha512": "00"}}]), "artifact-mismatch"),
        (made.statement(subject=[{"name": DIGEST}]), "statement-malformed"),
        (made.statement(subject=[]), "statement-malformed"),
        (made.statement(subject=None), "statement-malformed"),
        (made.statement(_type="https://example.com/Statement"), "statement-malformed"),
        (made.statement(_type=[]), "statement-malformed"),
        (b"[]", "statement-malformed"),
        (b"", "statement-malformed"),
        (ARTIFACT, "statement-malformed"),
        (made.statement()[:-1] + b', "_type": "https://in-toto.io/Statement/v1"}', "statement-malformed"),
    ],
)
def test_a_statement_must_be_about_the_artifact(payload: bytes, code: str, root: Path):
    """Signed and logged as it should be, and about something else, or about nothing."""
    assert refusal(Instance().dsse_2(payload), root).code == code


def test_every_timestamp_must_verify(root: Path):
    """A promise proves the time already; a timestamp beside it that does not verify is refused all the same."""
    document = good("hashedrekord_1")
    signature = base64.b64decode(document["messageSignature"]["signature"])
    instance = Instance()
    stamped(document, instance.timestamp(signature), instance.timestamp(b"another signature"))
    assert refusal(document, root).code == "timestamp-invalid"
    stamped(document, *[instance.timestamp(signature)] * 2)
    assert refusal(document, root).code == "timestamp-invalid"
    stamped(document, *(instance.timestamp(signature, at=SIGNED + timedelta(seconds=n)) for n in range(33)))
    assert refusal(document, root).code == "timestamp-invalid"
    stamped(document, instance.timestamp(signature, granted=2))
    assert refusal(document, root).code == "timestamp-invalid"


def test_a_timestamp_out_of_its_authority_s_time(root: Path):
    document = json.loads(root.read_bytes())
    document["timestampAuthorities"][0]["validFor"]["end"] = "2025-03-01T00:00:00Z"
    root.write_bytes(encoded(document))
    assert refusal(good("dsse_2"), root).code == "timestamp-invalid"


@pytest.mark.parametrize(
    "instance",
    [Instance(older_issuer=OTHER_ISSUER), Instance(issuer=OTHER_ISSUER)],
    ids=["only the newer is right", "only the older is right"],
)
def test_issuers_that_contradict_each_other(instance: Instance, root: Path):
    """A certificate may name its issuer in either extension, or in both; then both must be the policy's."""
    refused = refusal(instance.dsse_2(), root)
    assert refused.code == "issuer-mismatch"
    assert OTHER_ISSUER in refused.actual


def test_a_certificate_without_an_issuer(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(made, "_FULCIO", "1.3.6.1.4.1.99999.1")
    refused = refusal(Instance().dsse_2(), root)
    assert (refused.code, refused.actual) == ("issuer-mismatch", "no issuer in the certificate")


def test_a_payload_of_another_type(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Signed and logged as it should be, the very artifact even, and no statement about anything."""
    monkeypatch.setattr(made, "IN_TOTO", "text/plain")
    assert refusal(Instance().dsse_2(ARTIFACT), root).code == "statement-malformed"


@pytest.mark.parametrize("kind", FIRST)
def test_a_certificate_for_a_key_of_another_kind(kind: str, root: Path):
    assert refusal(getattr(Instance(signer=RSA), kind)(), root).code == "key-unsupported"


class Far:
    """A time that no calendar has."""

    def timestamp(self) -> int:
        return 10**15


def test_a_promise_of_a_time_that_no_calendar_has(root: Path):
    instance = Instance(signed=Far())  # type: ignore[arg-type]  # that is the point
    assert refusal(instance.hashedrekord_1(), root).code == "log-promise-invalid"


# The trusted root and the policy


@pytest.mark.parametrize(
    "alter",
    [
        put("mediaType", "application/json"),
        put("tlogs", []),
        put("tlogs", None),
        put("certificateAuthorities", []),
        put("certificateAuthorities.0.certChain.certificates", []),
        put("certificateAuthorities.0.certChain.certificates.0.rawBytes", "AAAA"),
        replaced("tlogs.0.logId.keyId", "=", "= "),
        put("tlogs.0.publicKey.keyDetails", "ROT13"),
        put("timestampAuthorities.0.validFor", "always"),
        put("timestampAuthorities.0.certChain.certificates.0.rawBytes", "AAAA"),
    ],
)
def test_malformed_trusted_roots(alter: Callable[[dict[str, Any]], None], root: Path):
    document = json.loads(root.read_bytes())
    alter(document)
    root.write_bytes(encoded(document))
    assert refusal(good("dsse_2"), root).code == "trusted-root-malformed"


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"tlogs": [], "tlogs": []}'])
def test_files_that_are_no_trusted_root(raw: bytes, root: Path):
    root.write_bytes(raw)
    assert refusal(good("dsse_2"), root).code == "trusted-root-malformed"
    root.unlink()
    assert refusal(good("dsse_2"), root).code == "trusted-root-malformed"


@pytest.mark.parametrize("raw", [b"no key", made.spki(X25519.public_key())], ids=["no key", "X25519"])
@pytest.mark.parametrize(
    ("part", "kind", "code"),
    [
        ("tlogs", "hashedrekord_1", "log-unknown"),
        ("tlogs", "dsse_2", "log-unknown"),
        ("ctlogs", "dsse_1", "certificate-unlogged"),
    ],
)
def test_a_log_with_a_key_of_another_kind(part: str, kind: str, code: str, raw: bytes, root: Path):
    document = json.loads(root.read_bytes())
    for log in document[part]:
        log["publicKey"]["rawBytes"] = made.b64(raw)
    root.write_bytes(encoded(document))
    assert refusal(good(kind), root).code == code


def test_a_trusted_root_without_certificate_logs_or_timestamp_authorities(root: Path):
    document = json.loads(root.read_bytes())
    root.write_bytes(encoded(document | {"ctlogs": []}))
    assert refusal(good("dsse_1"), root).code == "certificate-untrusted"
    root.write_bytes(encoded(document | {"timestampAuthorities": []}))
    assert refusal(good("dsse_2"), root).code == "timestamp-invalid"


def test_a_changed_trusted_root_is_read_again(root: Path):
    raw = encoded(good("hashedrekord_1"))
    bundle.verify(raw, root, POLICY)
    root.write_bytes(Instance(authority=Authority(name="fulcio", number=50)).trusted_root())
    assert refusal(raw, root).code == "certificate-untrusted"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"artifact": b"", "digest": DIGEST},
        {"artifact": "text"},
        {"digest": DIGEST.upper()},
        {"digest": DIGEST[7:]},
        {"digest": b"sha256"},
        {"artifact": b"", "identity": ""},
        {"artifact": b"", "issuer": None},
    ],
)
def test_policies_that_demand_nothing(fields: dict[str, Any]):
    with pytest.raises(EvidenceError) as refused:
        bundle.Policy(**({"identity": IDENTITY, "issuer": ISSUER} | fields))
    assert refused.value.code == "policy-malformed"


@pytest.mark.parametrize("raw", [None, "{}", {}, b"", b"[]", b"[" * 100_000, b"\xff", b'{"a": NaN}', b" " * (17 << 20)])
def test_what_is_no_bundle(raw: Any, root: Path):  # noqa: ANN401 - anything at all is the point
    for attempt in (lambda: bundle.verify(raw, root, POLICY), lambda: bundle.verify_with_key(raw, [], digest=DIGEST)):
        with pytest.raises(EvidenceError) as refused:
            attempt()
        assert refused.value.code == "bundle-malformed"


# Once per trusted root, once per bundle, never over the network


def test_results_are_kept_and_bounded(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bundle, "_RESULTS", bundle._Results())
    raw = encoded(good("dsse_1"))
    first = bundle.verify(raw, root, POLICY)
    assert bundle.verify(raw, root, POLICY) is first
    other = bundle.Policy(identity="https://other.example", issuer=ISSUER, artifact=ARTIFACT)
    assert refusal(raw, root, other).code == "identity-mismatch"
    monkeypatch.setattr(bundle, "MAX_CACHED", 1)
    bundle.verify(encoded(good("dsse_2")), root, POLICY)
    assert bundle.verify(raw, root, POLICY) is not first
    monkeypatch.setattr(bundle, "MAX_CACHED_PAYLOAD_BYTES", 0)
    large = encoded(Instance().dsse_2(made.statement(predicate="large")))
    assert bundle.verify(large, root, POLICY) is not bundle.verify(large, root, POLICY)


def test_no_socket_is_opened(root: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    bundle._verifier.cache_clear()
    monkeypatch.setattr(bundle, "_RESULTS", bundle._Results())
    for name in ("socket", "create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    for kind in KINDS:
        bundle.verify(encoded(good(kind)), root, POLICY)


def test_the_package_is_imported_without_sigstore():
    """Half a second that nobody pays who verifies no bundle."""
    script = "import sys; from cutover.evidence import bundle, dsse; sys.exit('sigstore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


# Plain keys

SIGNER = key(40)
PUBLIC, STRANGER = SIGNER.public_key(), key(41).public_key()


def message(by: bytes, **fields: object) -> dict[str, Any]:
    held = {"messageDigest": {"algorithm": "SHA2_256", "digest": made.b64(sha256(ARTIFACT).digest())}}
    return made.keyed({"messageSignature": held | {"signature": made.b64(by)} | fields})


def enveloped(payload: bytes = made.statement(), *signers: Any) -> dict[str, Any]:  # noqa: ANN401
    envelope = good("dsse_1")["dsseEnvelope"] | {"payload": made.b64(payload), "signatures": []}
    for signer in signers or (SIGNER,):
        signature = made.sign(signer, dsse.pae(envelope["payloadType"], payload))
        envelope["signatures"].append({"sig": made.b64(signature)})
    return made.keyed({"dsseEnvelope": envelope}, hint="somebody")


def test_an_envelope_by_a_plain_key():
    proved = bundle.verify_with_key(encoded(enveloped()), [STRANGER, PUBLIC], artifact=ARTIFACT)
    assert (proved.payload, proved.digest, proved.key_ids) == (made.statement(), DIGEST, (dsse.key_id(PUBLIC),))
    both = encoded(enveloped(made.statement(), SIGNER, key(41)))
    assert len(bundle.verify_with_key(both, [STRANGER, PUBLIC], digest=DIGEST, threshold=2).key_ids) == 2


ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))


@pytest.mark.parametrize(
    ("public", "signature", "by_digest"),
    [
        (PUBLIC, made.sign(SIGNER, ARTIFACT), True),
        (RSA.public_key(), RSA.sign(ARTIFACT, PKCS1v15(), hashes.SHA256()), True),
        (ED25519.public_key(), ED25519.sign(ARTIFACT), False),
    ],
    ids=["P-256", "RSA", "Ed25519"],
)
def test_an_artifact_signed_by_a_plain_key(public: dsse.PublicKey, signature: bytes, by_digest: bool):
    raw = encoded(message(signature))
    proved = bundle.verify_with_key(raw, [public], artifact=ARTIFACT)
    assert (proved.payload, proved.key_ids) == (None, (dsse.key_id(public),))
    if by_digest:
        assert bundle.verify_with_key(raw, [public], digest=DIGEST) == proved
    else:
        with pytest.raises(EvidenceError) as refused:
            bundle.verify_with_key(raw, [public], digest=DIGEST)
        assert refused.value.code == "policy-malformed"
    other = encoded(message(signature[:-1] + bytes([signature[-1] ^ 1])))
    with pytest.raises(EvidenceError) as refused:
        bundle.verify_with_key(other, [public], artifact=ARTIFACT)
    assert refused.value.code == "signature-invalid"


GOOD_MESSAGE = made.sign(SIGNER, ARTIFACT)


@pytest.mark.parametrize(
    ("document", "options", "code"),
    [
        (message(GOOD_MESSAGE), {"artifact": b"other"}, "artifact-mismatch"),
        (message(GOOD_MESSAGE, messageDigest=None), {"artifact": b"other"}, "signature-invalid"),
        (message(GOOD_MESSAGE, messageDigest=None), {"digest": f"sha256:{'0' * 64}"}, "signature-invalid"),
        (message(GOOD_MESSAGE, messageDigest=3), {}, "bundle-malformed"),
        (message(GOOD_MESSAGE, messageDigest={"algorithm": "SHA2_512"}), {}, "bundle-malformed"),
        (message(GOOD_MESSAGE, signature=None), {}, "bundle-malformed"),
        (message(GOOD_MESSAGE), {"threshold": 2}, "signature-threshold"),
        (message(GOOD_MESSAGE), {"artifact": ARTIFACT, "digest": DIGEST}, "policy-malformed"),
        (message(GOOD_MESSAGE) | {"mediaType": "text/plain"}, {}, "bundle-malformed"),
        (message(GOOD_MESSAGE) | {"mediaType": []}, {}, "bundle-malformed"),
        (message(GOOD_MESSAGE) | {"verificationMaterial": []}, {}, "bundle-malformed"),
        (message(GOOD_MESSAGE) | {"verificationMaterial": {"publicKey": []}}, {}, "bundle-malformed"),
        (message(GOOD_MESSAGE) | {"dsseEnvelope": {}}, {}, "bundle-malformed"),
        (made.keyed({}), {}, "bundle-malformed"),
        (made.keyed({"dsseEnvelope": []}), {}, "bundle-malformed"),
        (made.keyed({"dsseEnvelope": {}}), {}, "envelope-malformed"),
        (good("dsse_1"), {}, "bundle-malformed"),
        (enveloped(made.statement(b"other")), {}, "artifact-mismatch"),
        (enveloped(b"{}"), {}, "statement-malformed"),
        (enveloped(made.statement(), key(41)), {}, "signature-invalid"),
        (enveloped(), {"threshold": 2}, "signature-threshold"),
    ],
)
def test_plain_keys_refused(document: dict[str, Any], options: dict[str, Any], code: str):
    options = options if options.keys() & {"artifact", "digest"} else options | {"artifact": ARTIFACT}
    with pytest.raises(EvidenceError) as refused:
        bundle.verify_with_key(encoded(document), [PUBLIC], **options)
    assert refused.value.code == code
