"""Malformed input of every parser: refused as an `EvidenceError`, or understood as what it was before.

What is signed or hashed (`sealed`) is accepted with the very meaning it had, or not at all: an acceptance is compared
with the untouched document's. What nothing seals (a key, a policy of trust, an index) may say something else, and is
judged by an oracle of its own. More than ten thousand mutations in all, the same ones on every run.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from cutover.evidence import agreement, bundle, checkpoint, diff, dsse, merkle, oci, sbom, snapshot, trust
from cutover.evidence._json import parse_object
from cutover.evidence.errors import CODES, EvidenceError
from tests.evidence import mutation, reference
from tests.evidence import sigstore_instance as sigstore
from tests.evidence.test_agreement import baseline
from tests.evidence.test_bundle import POLICY, enveloped, good, message
from tests.evidence.world import (
    LOG_KEY,
    ORIGIN,
    OTHER_LOG_KEY,
    SIGNER,
    STRANGER,
    World,
    pem,
    sign,
    sign_note,
    trust_file,
    verifier_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

KEYS = [STRANGER.public_key(), SIGNER.public_key()]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a number of mutations."""

    refused: int
    accepted: int


def survey(
    name: str,
    cases: int,
    mutate: Callable[[Random], Any],
    read: Callable[[Any], object],
    judge: Callable[[Any, Any], bool],
) -> Outcome:
    """Read `cases` mutations: each is refused by an `EvidenceError`, or `judge` agrees with what was accepted."""
    refused = accepted = 0
    for case in range(cases):
        mutated = mutate(Random(f"{name} {case}"))  # noqa: S311 - to be the same on every run
        try:
            result = read(mutated)
        except EvidenceError as error:
            refused += error.remedy == CODES[error.code]
            continue
        except Exception as error:
            raise AssertionError(f"{name} {case}: {type(error).__name__} escaped for {mutated!r}"[:3000]) from error
        assert judge(mutated, result), f"{name} {case}: accepted {result!r} for {mutated!r}"[:3000]
        accepted += 1
    return Outcome(refused=refused, accepted=accepted)


def of_any(seeds: Iterable[bytes]) -> Callable[[Random], bytes]:
    """Mutate one of several documents, half of the time by its bytes, half of the time by its JSON."""
    documents = tuple(seeds)

    def mutate(random: Random) -> bytes:
        raw = random.choice(documents)
        return (mutation.of_json if random.random() < 0.6 else mutation.of_bytes)(raw, random)

    return mutate


def of_text(seeds: Iterable[bytes]) -> Callable[[Random], bytes]:
    documents = tuple(seeds)
    return lambda random: mutation.of_bytes(random.choice(documents), random)


# Sealed: a signature or a digest is over the meaning


def two_signatures() -> bytes:
    envelope = sign("text/plain", b"hello world")
    envelope["signatures"] += sign("text/plain", b"hello world", STRANGER)["signatures"]
    return json.dumps(envelope).encode()


def test_envelopes():
    one = json.dumps(sign("text/plain", b"hello world")).encode()
    ids = {dsse.key_id(key) for key in KEYS}
    seen = survey(
        "envelope",
        3000,
        of_any((one, two_signatures())),
        lambda raw: dsse.verify(raw, KEYS),
        lambda _, got: (got.payload, got.payload_type) == (b"hello world", "text/plain") and ids >= set(got.key_ids),
    )
    assert seen.refused > 1500
    assert seen.accepted > 300  # names in another order, whitespace, another hint, a field that nothing reads


def test_envelopes_under_a_threshold():
    """A mutation never makes one signer two."""
    seen = survey(
        "threshold",
        1000,
        of_any((json.dumps(sign("text/plain", b"hello world")).encode(),)),
        lambda raw: dsse.verify(raw, KEYS, threshold=2),
        lambda *_: False,
    )
    assert seen.refused == 1000


def test_notes():
    root = bytes(range(32))
    plain = sign_note(7, root)
    witnessed = plain + sign_note(7, root, OTHER_LOG_KEY, name="witness").rpartition("\n\n")[2]
    seen = survey(
        "note",
        3000,
        of_text(note.encode() for note in (plain, witnessed)),
        lambda raw: checkpoint.verify(raw, verifier_key(LOG_KEY), origin=ORIGIN),
        lambda _, got: (
            (got.origin, got.size, got.root, got.signers, got.extensions) == (ORIGIN, 7, root, (ORIGIN,), ())
        ),
    )
    assert seen.refused > 2000
    assert seen.accepted > 50  # the witness's line is not looked at


def test_verifier_keys():
    """A key's id is a hash over it: another key under the same id would be a collision of 32 bits, found by nobody."""
    text = verifier_key(LOG_KEY)
    good_key = checkpoint.Verifier.parse(text)
    seen = survey(
        "verifier key",
        1000,
        lambda random: mutation.of_bytes(text.encode(), random).decode("utf-8", "surrogateescape"),
        checkpoint.Verifier.parse,
        lambda _, got: got.key.public_bytes_raw() == good_key.key.public_bytes_raw() and got.name == ORIGIN,
    )
    assert seen.refused > 800


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sigstore") / "trusted_root.json"
    path.write_bytes(sigstore.Instance().trusted_root())
    return path


@pytest.mark.parametrize("kind", ["hashedrekord_1", "dsse_1", "hashedrekord_2", "dsse_2"])
def test_bundles(kind: str, root: Path):
    raw = json.dumps(good(kind)).encode()
    proved = bundle.verify(raw, root, POLICY)
    seen = survey(
        kind,
        500,
        of_any((raw,)),
        lambda mutated: bundle.verify(mutated, root, POLICY),
        # The bundle's own copy of the log's word on time and place may go, where another proof of time stays.
        lambda _, got: got == proved,
    )
    assert seen.refused > 350
    assert seen.accepted > 10


def test_bundles_by_plain_keys():
    documents = [
        json.dumps(one).encode() for one in (enveloped(), message(sigstore.sign(sigstore.key(40), sigstore.ARTIFACT)))
    ]
    public = sigstore.key(40).public_key()
    survey(
        "keyed bundle",
        1000,
        of_any(documents),
        lambda raw: bundle.verify_with_key(raw, [public], artifact=sigstore.ARTIFACT),
        lambda _, got: got.payload in {None, sigstore.statement()} and got.key_ids == (dsse.key_id(public),),
    )


def test_manifests_under_their_digest():
    content = json.dumps(image()).encode()
    digest = f"sha256:{sha256(content).hexdigest()}"
    seen = survey(
        "sealed manifest",
        500,
        of_any((content,)),
        lambda raw: oci.verify_manifest(raw, digest=digest),
        lambda raw, _: raw == content,
    )
    assert seen.refused > 400


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a snapshot of a small site."""
    return World.of(2).snapshot(tmp_path_factory.mktemp("site") / "taken")


@pytest.mark.parametrize("name", ["lines.jsonl", "findings.jsonl", "manifest.json"])
def test_snapshots(name: str, taken: Path, tmp_path: Path):
    """The manifest seals the rest, and the record seals the manifest: items are what they were, or are refused."""
    lines = list(snapshot.load(taken).lines())
    mutant = tmp_path / "mutant"
    shutil.copytree(taken, mutant)
    whole = (taken / name).read_bytes()
    mutate = of_any((whole,)) if name == "manifest.json" else of_text((whole,))

    def read(raw: bytes) -> object:
        (mutant / name).write_bytes(raw)
        held = snapshot.load(mutant)
        assert list(held.findings()) == []
        assert diff.compare(taken, mutant).unchanged == len(lines)
        return list(held.lines())

    seen = survey(name, 300, mutate, read, lambda _, got: got == lines)
    assert seen.refused > 100  # of an empty file, some mutations are the empty file


# Not sealed: the document may say something else, and an oracle says what


def blob(content: bytes, kind: str = "application/octet-stream") -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{sha256(content).hexdigest()}", "size": len(content)}


CONFIG, LAYER = b"{}", b"layer bytes"
BLOBS = {blob(content)["digest"]: content for content in (CONFIG, LAYER)}


def image() -> dict[str, Any]:
    embedded = blob(CONFIG) | {"data": base64.b64encode(CONFIG).decode()}
    return {"schemaVersion": 2, "mediaType": oci.IMAGE_MANIFEST, "config": embedded, "layers": [blob(LAYER)]}


def index() -> dict[str, Any]:
    manifest = json.dumps(image()).encode()
    return {"schemaVersion": 2, "mediaType": oci.IMAGE_INDEX, "manifests": [blob(manifest, oci.IMAGE_MANIFEST)]}


def named(document: dict[str, Any]) -> list[tuple[str, int]]:
    """Return what a manifest or index names, by a reader that has nothing in common with ours."""
    listed = document["manifests"] if "manifests" in document else [document["config"], *document["layers"]]
    return [(one["digest"], one["size"]) for one in listed]


def is_true_of(raw: bytes, manifest: oci.Manifest) -> bool:
    """Whatever is accepted is what the document says, and what was stored has the digest it is stored under."""
    said = named(json.loads(raw)) == [(one.digest, one.size_bytes) for one in manifest.blobs]
    whole = all(sha256(one.data).hexdigest() == one.digest[7:] for one in manifest.blobs if one.data is not None)
    return said and whole and set(manifest.verified) == {one.digest for one in manifest.blobs} & BLOBS.keys()


def test_manifests_under_any_digest():
    seen = survey(
        "manifest",
        1500,
        of_any((json.dumps(image()).encode(), json.dumps(index()).encode())),
        lambda raw: oci.verify_manifest(
            raw,
            digest=f"sha256:{sha256(raw).hexdigest()}",
            blobs=lambda digest: [BLOBS[digest]] if digest in BLOBS else None,
        ),
        is_true_of,
    )
    assert seen.refused > 700
    assert seen.accepted > 100


def test_layouts(tmp_path: Path):
    """A file of the layout altered; or the manifest altered, and stored and named as it then should be."""
    number = iter(range(10_000))

    def layout(random: Random) -> Path:
        folder = tmp_path / str(next(number))
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        manifest = json.dumps(image()).encode()
        way = random.randrange(4)
        if way == 0:
            manifest = mutation.of_json(manifest, random)
        top = json.dumps(index() | {"manifests": [blob(manifest, oci.IMAGE_MANIFEST)]}).encode()
        for content in (CONFIG, LAYER, manifest):
            (blobs / sha256(content).hexdigest()).write_bytes(content)
        (folder / "index.json").write_bytes(mutation.of_json(top, random) if way == 1 else top)
        marker = b'{"imageLayoutVersion": "1.0.0"}'
        (folder / "oci-layout").write_bytes(mutation.of_json(marker, random) if way == 2 else marker)
        if way == 3:
            path = random.choice(sorted(blobs.iterdir()))
            path.write_bytes(mutation.of_bytes(path.read_bytes(), random))
        return folder

    def is_whole(folder: Path, got: oci.Layout) -> bool:
        stored = {f"sha256:{path.name}": path.read_bytes() for path in (folder / "blobs" / "sha256").iterdir()}
        reached = [digest for digest, _ in named(json.loads((folder / "index.json").read_bytes()))]
        return (
            all(f"sha256:{sha256(content).hexdigest()}" == digest for digest, content in stored.items())
            and set(got.blobs) == stored.keys()
            and list(got.roots) == reached
            and set(reached) <= stored.keys()
        )

    seen = survey("layout", 800, layout, oci.verify_layout, is_whole)
    assert seen.refused > 400
    assert seen.accepted > 50


def numbers(random: Random, good_number: int) -> object:
    return random.choice(
        (good_number + 1, good_number - 1, -1, 0, 1, 2**63, 2**64, 10**400, True, None, 1.0, "1", b"1")
    )


def hashes(random: Random, proof: list[bytes]) -> object:
    """Alter a list of hashes: one of them, their order, their number, or what is no list at all."""
    position = random.randrange(len(proof) + 1)
    other = random.choice((bytes(32), b"", b"\x00" * 31, "x" * 32, None, random.randbytes(32), proof, bytearray(32)))
    return random.choice(
        (
            [*proof[:position], other, *proof[position + 1 :]],
            [*proof[:position], other, *proof[position:]],
            proof[:position],
            proof[position:],
            proof[::-1],
            proof + proof,
            b"".join(proof),
            dict.fromkeys(proof),
            None,
            other,
        )
    )


def altered(fields: dict[str, Any], random: Random) -> dict[str, Any]:
    """Alter one or two arguments of a proof's verification."""
    mutant = dict(fields)
    for name in random.sample(sorted(fields), random.choice((1, 1, 2))):
        value = mutant[name]
        if isinstance(value, int):
            mutant[name] = numbers(random, value)
        elif isinstance(value, list):
            mutant[name] = hashes(random, value)
        else:
            bit = bytearray(value)
            bit[random.randrange(32)] ^= 1 << random.randrange(8)
            mutant[name] = random.choice((bytes(bit), bytes(bit), value[:31], value + b"\x00", value.hex(), None, bit))
    return mutant


LEAVES = [merkle.leaf_hash(b"%d" % n) for n in range(70)]


def test_inclusion_proofs():
    """A size beside the true one may lead to the same root: so acceptance is compared with the RFC's own recursion."""

    def mutate(random: Random) -> dict[str, Any]:
        size = random.randrange(1, 70)
        at = random.randrange(size)
        fields = {"leaf_hash": LEAVES[at], "index": at, "size": size, "proof": reference.inclusion(at, LEAVES[:size])}
        return altered(fields | {"root": reference.root(LEAVES[:size])}, random)

    def is_true(fields: dict[str, Any], _: object) -> bool:
        led = reference.root_of_path(fields["index"], fields["size"], fields["leaf_hash"], fields["proof"])
        return 0 <= fields["index"] < fields["size"] and led == fields["root"]

    seen = survey("inclusion", 2000, mutate, lambda fields: merkle.verify_inclusion(**fields), is_true)
    assert seen.refused > 1500


def test_consistency_proofs():
    def mutate(random: Random) -> dict[str, Any]:
        new = random.randrange(2, 70)
        old = random.randrange(1, new)
        roots = {"root1": reference.root(LEAVES[:old]), "root2": reference.root(LEAVES[:new])}
        return altered({"size1": old, "size2": new, "proof": reference.consistency(old, LEAVES[:new])} | roots, random)

    def is_true(fields: dict[str, Any], _: object) -> bool:
        old, new, proof = fields["size1"], fields["size2"], fields["proof"]
        if old in {0, new}:  # nothing to prove: only equal roots, or the empty one, may stand there
            return not proof and fields["root1"] == (merkle.EMPTY_ROOT if old == 0 else fields["root2"])
        return reference.roots_of_proof(old, new, proof, fields["root1"]) == (fields["root1"], fields["root2"])

    seen = survey("consistency", 2000, mutate, lambda fields: merkle.verify_consistency(**fields), is_true)
    assert seen.refused > 1500


def test_trust_roots():
    """Another key may stand in a trust root; ours may not become it: the log's key is under its own hash."""
    envelope, note = sign("text/plain", b"x"), sign_note(7, bytes(32))

    def is_true(_: bytes, got: trust.TrustRoot) -> bool:
        with contextlib.suppress(EvidenceError):
            assert dsse.verify(envelope, got.attestation_keys).payload == b"x"
        with contextlib.suppress(EvidenceError):
            assert checkpoint.verify(note, got.log_verifier).size == 7
        return all(isinstance(key, ec.EllipticCurvePublicKey) for key in got.attestation_keys)

    seen = survey("trust root", 800, of_any((trust_file(),)), trust.parse, is_true)
    assert seen.refused > 300


def test_keys():
    kinds = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
    seen = survey(
        "key",
        800,
        of_text((pem(SIGNER).encode(), ED25519_PEM)),
        dsse.load_key,
        lambda _, got: isinstance(got, kinds) and len(dsse.key_id(got)) == 64,
    )
    assert seen.refused > 400


ED25519_PEM = b"""-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=
-----END PUBLIC KEY-----
"""


def test_trusted_roots(root: Path, tmp_path: Path):
    """A bundle under an altered Sigstore trusted root: refused, or proven by the same facts."""
    raw = json.dumps(good("hashedrekord_2")).encode()
    proved = bundle.verify(raw, root, POLICY)
    path = tmp_path / "trusted_root.json"

    def read(mutated: bytes) -> bundle.Verified:
        path.write_bytes(mutated)
        return bundle.verify(raw, path, POLICY)

    def is_same(_: bytes, got: bundle.Verified) -> bool:
        mine, theirs = ([getattr(one, name) for name in FACTS] for one in (proved, got))
        return mine == theirs

    seen = survey("trusted root", 400, of_any((root.read_bytes(),)), read, is_same)
    assert seen.refused > 150
    assert seen.accepted > 30


FACTS = [name for name in bundle.Verified.__dataclass_fields__ if name != "trusted_root"]


def test_sboms():
    """Every pair of bytes has an answer, and only equal bytes are the same."""
    before = json.dumps({"components": [{"name": "a", "version": "1"}, {"name": "b"}], "a/b": 1}).encode()
    seen = survey(
        "SBOM",
        500,
        of_any((before,)),
        lambda raw: sbom.compare(before, raw),
        lambda raw, got: got.same == (raw == before) and (got.explanation == "identical") == got.same,
    )
    assert seen.refused == 0


def test_platform_reports(taken: Path):
    """An altered report agrees with ours only where everything that we compare is what it was."""
    held, report = snapshot.load(taken), baseline(World.of(2))

    def facts(fields: Mapping[str, Any]) -> object:
        results = sorted((one["id"], one["sha256"], one["ok"]) for one in fields["results"])
        return results, fields["items"], fields["size"], fields["root"], fields["schema_version"]

    seen = survey(
        "report",
        500,
        of_any((json.dumps(report).encode(),)),
        lambda raw: agreement.compare(held, parse_object(raw, code="report-malformed", item="report")),
        lambda raw, found: bool(found) or facts(json.loads(raw)) == facts(report),
    )
    assert seen.refused > 200
    assert seen.accepted > 100


# The survey itself


def test_a_survey_fails_on_what_it_is_for():
    """A parser that lets another exception out, and one that accepts what it should not."""
    envelope = json.dumps(sign("text/plain", b"x")).encode()
    with pytest.raises(AssertionError, match="escaped"):
        survey("lax", 200, of_any((envelope,)), json.loads, lambda *_: True)
    with pytest.raises(AssertionError, match="accepted"):
        survey("blind", 200, of_any((envelope,)), lambda _: b"x", lambda *_: False)
