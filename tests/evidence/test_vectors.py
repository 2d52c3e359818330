"""The standards' own vectors, and the signatures of the public functions as the issue states them.

Sources: RFC 6962's reference tree of eight leaves and its paths, as Certificate Transparency's and Trillian's tests
publish them; the DSSE specification's example and test vectors; the C2SP checkpoint specification's example.
"""

from __future__ import annotations

import base64
import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from cutover.evidence import bundle, checkpoint, dsse, merkle, oci, sbom
from cutover.evidence.errors import EvidenceError
from tests.evidence import reference
from tests.evidence.test_merkle import LEAVES, ROOTS

if TYPE_CHECKING:
    from collections.abc import Callable

# RFC 6962: nodes of the reference tree, named by their height and place, and the paths that are published over it.

NODES = {
    "0.0": "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "0.1": "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "0.2": "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
    "0.4": "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "0.6": "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
    "1.0": "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "1.1": "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "1.2": "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "1.3": "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "2.0": "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "2.1": "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
}


def path(names: str) -> list[bytes]:
    return [bytes.fromhex(NODES[name]) for name in names.split()]


@pytest.mark.parametrize(
    ("index", "size", "names"),
    [
        (0, 1, ""),
        (0, 8, "0.1 1.1 2.1"),
        (3, 8, "0.2 1.0 2.1"),
        (5, 8, "0.4 1.3 2.0"),
        (7, 8, "0.6 1.2 2.0"),
        (2, 3, "1.0"),
        (1, 5, "0.0 1.1 0.4"),
    ],
)
def test_published_inclusion_paths(index: int, size: int, names: str):
    proof, root = path(names), bytes.fromhex(ROOTS[size])
    merkle.verify_inclusion(leaf_hash=LEAVES[index], index=index, size=size, proof=proof, root=root)
    assert reference.inclusion(index, LEAVES[:size]) == proof
    assert reference.root_of_path(index, size, LEAVES[index], proof) == root


@pytest.mark.parametrize(
    ("size1", "size2", "names"), [(1, 1, ""), (1, 8, "0.1 1.1 2.1"), (6, 8, "1.2 1.3 2.0"), (2, 5, "1.1 0.4")]
)
def test_published_consistency_paths(size1: int, size2: int, names: str):
    proof, root1, root2 = path(names), bytes.fromhex(ROOTS[size1]), bytes.fromhex(ROOTS[size2])
    merkle.verify_consistency(size1=size1, size2=size2, proof=proof, root1=root1, root2=root2)
    assert reference.consistency(size1, LEAVES[:size2]) == proof


@pytest.mark.parametrize("size", range(1, 9))
def test_every_path_of_the_reference_tree(size: int):
    leaves, root = LEAVES[:size], bytes.fromhex(ROOTS[size])
    for index, leaf in enumerate(leaves):
        proof = reference.inclusion(index, leaves)
        merkle.verify_inclusion(leaf_hash=leaf, index=index, size=size, proof=proof, root=root)
    for before in range(1, size + 1):
        proof = reference.consistency(before, leaves)
        root1 = bytes.fromhex(ROOTS[before])
        merkle.verify_consistency(size1=before, size2=size, proof=proof, root1=root1, root2=root)


# DSSE v1, protocol.md, "Test Vectors": a P-256 key, and a signature as r and s side by side

EXAMPLE_KEY = ec.EllipticCurvePublicNumbers(
    x=46950820868899156662930047687818585632848591499744589407958293238635476079160,
    y=5640078356564379163099075877009565129882514886557779369047442380624545832820,
    curve=ec.SECP256R1(),
).public_key()
EXAMPLE_SIGNATURE = "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="
EXAMPLE = {
    "payload": "aGVsbG8gd29ybGQ=",
    "payloadType": "http://example.com/HelloWorld",
    "signatures": [{"sig": EXAMPLE_SIGNATURE}],
}


def test_the_dsse_specification_s_example():
    verified = dsse.verify(json.dumps(EXAMPLE), [EXAMPLE_KEY])
    assert (verified.payload, verified.payload_type) == (b"hello world", "http://example.com/HelloWorld")
    assert (
        dsse.pae(verified.payload_type, verified.payload) == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_the_example_s_signature_in_der():
    """The same numbers as most signers write them."""
    raw = base64.b64decode(EXAMPLE_SIGNATURE)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    envelope = EXAMPLE | {"signatures": [{"sig": base64.b64encode(der).decode()}]}
    assert dsse.verify(envelope, [EXAMPLE_KEY]) == dsse.verify(EXAMPLE, [EXAMPLE_KEY])


@pytest.mark.parametrize("raw", [bytes(64), b"\xff" * 64, b"\x30\x3e\x02" + bytes(61), bytes(63)])
def test_numbers_that_are_no_signature(raw: bytes):
    envelope = EXAMPLE | {"signatures": [{"sig": base64.b64encode(raw).decode()}]}
    with pytest.raises(EvidenceError) as refused:
        dsse.verify(envelope, [EXAMPLE_KEY])
    assert refused.value.code == "signature-invalid"


# DSSE v1, testvectors/vectors.json: the Ed25519 keys of RFC 8032 §7.1, TEST 1 (A) and TEST 2 (B)

VECTOR_KEYS = {
    name: ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    for name, public in {
        "A": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "B": "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    }.items()
}
STATEMENT = "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEifQ=="
BY_A = "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA=="
BY_B = "c1+67/aT0yqEpwx8PsVY3MLHsj9D0CZ014/Fv/QlG59P+9CobUZ7xECJ/V3USG0Ob9CiE5LjReEZUzNF2l7eBw=="


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One vector: an envelope, who is trusted and how many must sign, and the code it is refused with, if it is."""

    name: str
    signatures: tuple[tuple[str | None, str], ...]
    payload: str = STATEMENT
    payload_type: str = "application/vnd.in-toto+json"
    trusted: str = "A"
    threshold: int = 1
    refused: str | None = None


VECTORS = (
    Vector(name="single-signature", signatures=(("A", BY_A),)),
    Vector(
        name="url-safe-base64",
        payload="-_-_Pj8=",
        signatures=(("A", "P-_KHICeR7tI6S_YyejJTRtrXhcQyQ2LYPaL8h90KjC9qN8HU_svOQ6TuDOT1HIrsGW886DbWNWcCmX5twLrAw=="),),
    ),
    Vector(
        name="payload-type-swapped",
        payload_type="application/vnd.example.other+json",
        signatures=((None, BY_A),),
        refused="signature-invalid",
    ),
    Vector(
        name="non-ascii-payload-type",
        payload_type="application/vnd.exämple+json",
        signatures=(("A", "xmSk/ug66ysT7ayhkCIjhAq42zgZXSsEWuzUaNL7w2eGAdF/NU6/fRXPtmfN+5DNSAs5/i2lUnHjbbjPsu0tAw=="),),
    ),
    Vector(
        name="empty-payload",
        payload="",
        signatures=(("A", "gSggCAaTLTYyRH6FIDBem6meyIynsYy8RTHVzwx9tnTb7Bg/1jMWnuVgI/gffqmbsC2VX5/jHfkkDqsj7CDbDg=="),),
    ),
    Vector(
        name="empty-payload-type",
        payload_type="",
        signatures=(("A", "iC3q/+3Rm0+lpAJRueDmDh15PnwCfxKmS0NAfKsbv+zgulXQC/WM9trc+j1XEqlwDIg/vf/uNfebeD6sxInrDg=="),),
        refused="envelope-malformed",
    ),
    Vector(name="threshold-two-distinct-keys", signatures=(("A", BY_A), ("B", BY_B)), trusted="AB", threshold=2),
    Vector(
        name="threshold-two-one-key-twice",
        signatures=(("A", BY_A), ("A", BY_A)),
        trusted="AB",
        threshold=2,
        refused="signature-threshold",
    ),
    Vector(name="threshold-two-without-keyids", signatures=((None, BY_A), (None, BY_B)), trusted="AB", threshold=2),
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_the_dsse_test_vectors(vector: Vector):
    signatures = [{"sig": sig} | ({"keyid": name} if name else {}) for name, sig in vector.signatures]
    envelope = {"payload": vector.payload, "payloadType": vector.payload_type, "signatures": signatures}
    keys = [VECTOR_KEYS[name] for name in vector.trusted]
    if vector.refused is None:
        verified = dsse.verify(envelope, keys, threshold=vector.threshold)
        assert verified.payload == base64.urlsafe_b64decode(vector.payload.replace("+", "-").replace("/", "_"))
        return
    with pytest.raises(EvidenceError) as refused:
        dsse.verify(envelope, keys, threshold=vector.threshold)
    assert refused.value.code == vector.refused


# C2SP tlog-checkpoint prints a checkpoint under a made-up name; its signature is the Go checksum database's own

PUBLISHED_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
PUBLISHED_NOTE = """go.sum database tree
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— sum.golang.org Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""


def test_a_published_checkpoint():
    read = checkpoint.verify(PUBLISHED_NOTE, PUBLISHED_KEY)
    assert (read.origin, read.size, read.signers) == ("go.sum database tree", 20852163, ("sum.golang.org",))
    assert base64.b64encode(read.root).decode() == "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
    with pytest.raises(EvidenceError) as refused:
        checkpoint.verify(PUBLISHED_NOTE.replace("20852163", "20852164"), PUBLISHED_KEY)
    assert refused.value.code == "checkpoint-signature-invalid"


def test_the_specification_s_text_of_a_checkpoint():
    """As printed: the form is read, and nobody's signature is believed."""
    note = PUBLISHED_NOTE.replace("go.sum database tree", "example.com/behind-the-sofa")
    note = note.replace("— sum.golang.org", "— example.com/behind-the-sofa")
    text, signatures = checkpoint.split(note)
    assert checkpoint.read(text, ()).origin == "example.com/behind-the-sofa"
    assert [(name, hint.hex(), len(signature)) for name, hint, signature in signatures] == [
        ("example.com/behind-the-sofa", "033de0ae", 64)
    ]


# The public functions, as the issue names them


def parameters(function: Callable[..., Any]) -> list[str]:
    """Return a function's parameters: `*` before one by keyword only, `=` after one with a default."""
    return [
        f"{'*' if one.kind is one.KEYWORD_ONLY else ''}{name}{'' if one.default is one.empty else '='}"
        for name, one in inspect.signature(function).parameters.items()
    ]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (merkle.root_hash, "leaves"),
        (merkle.leaf_hash, "data"),
        (merkle.verify_inclusion, "*leaf_hash *index *size *proof *root"),
        (merkle.verify_consistency, "*size1 *size2 *proof *root1 *root2"),
        (dsse.pae, "payload_type payload"),
        (dsse.verify, "envelope keys threshold="),
        (checkpoint.verify, "note verifier_keys *origin="),
        (bundle.verify, "bundle trusted_root policy *item="),
        (bundle.verify_with_key, "bundle keys *artifact= *digest= *threshold= *item="),
        (oci.verify_layout, "path"),
        (sbom.compare, "before after"),
    ],
)
def test_public_signatures(function: Callable[..., Any], expected: str):
    assert " ".join(parameters(function)) == expected


def test_the_default_threshold_is_one_key():
    assert inspect.signature(dsse.verify).parameters["threshold"].default == 1
