"""OCI manifests and layouts: every byte re-hashed, and no document read in two ways."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.evidence import oci
from cutover.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG, LAYER = b"{}", b"layer bytes"


def digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def descriptor(content: bytes, kind: str = "application/octet-stream", **fields: object) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest(content), "size": len(content)} | fields


def image(**fields: object) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": oci.IMAGE_MANIFEST,
        "config": descriptor(CONFIG),
        "layers": [descriptor(LAYER)],
    } | fields


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


MANIFEST = encoded(image())
BLOBS = {digest(CONFIG): CONFIG, digest(LAYER): LAYER}


def stored(name: str) -> list[bytes] | None:
    """Open a blob in chunks of three bytes."""
    content = BLOBS.get(name)
    return None if content is None else [content[at : at + 3] for at in range(0, len(content), 3)]


def test_a_manifest_and_the_blobs_it_names():
    verified = oci.verify_manifest(MANIFEST, digest=digest(MANIFEST), blobs=stored)
    assert verified.media_type == oci.IMAGE_MANIFEST
    assert verified.verified == (digest(CONFIG), digest(LAYER))


def test_blobs_stored_elsewhere_are_named_but_not_verified():
    verified = oci.verify_manifest(MANIFEST, digest=digest(MANIFEST), blobs=lambda _: None)
    assert [one.digest for one in verified.blobs] == [digest(CONFIG), digest(LAYER)]
    assert verified.verified == ()


def test_embedded_data_must_be_the_blob():
    """Source: OCI descriptors, "data": an embedded copy must match digest and size."""
    good = encoded(image(config=descriptor(CONFIG, data=base64.b64encode(CONFIG).decode())))
    oci.verify_manifest(good, digest=digest(good))
    bad = encoded(image(config=descriptor(CONFIG, data=base64.b64encode(b"[]").decode())))
    with pytest.raises(EvidenceError) as refused:
        oci.verify_manifest(bad, digest=digest(bad))
    assert refused.value.code == "digest-mismatch"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ([b"layer bytez"], "digest-mismatch"),
        ([b"layer byte"], "size-mismatch"),
        ([], "size-mismatch"),
    ],
)
def test_a_blob_that_changed(content: list[bytes], code: str):
    blobs = {digest(LAYER): content}
    with pytest.raises(EvidenceError) as refused:
        oci.verify_manifest(MANIFEST, digest=digest(MANIFEST), blobs=blobs.get)
    assert refused.value.code == code
    assert digest(LAYER) in refused.value.item


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        image(schemaVersion=1),
        image(schemaVersion=True),
        image(mediaType="text/plain"),
        image(mediaType=oci.IMAGE_INDEX),
        image(manifests=[]),
        image(layers=None),
        image(config=None),
        image(layers=["x"]),
        image(layers=[descriptor(LAYER, size=-1)]),
        image(layers=[descriptor(LAYER, size=True)]),
        image(layers=[descriptor(LAYER, digest="md5:00")]),
        image(layers=[descriptor(LAYER, digest="sha256:../../etc/passwd")]),
        image(layers=[descriptor(LAYER, digest=digest(LAYER).upper())]),
        image(layers=[descriptor(LAYER, mediaType=None)]),
        image(layers=[descriptor(LAYER, data=5)]),
        image(padding="x" * oci.MAX_MANIFEST_BYTES),
    ],
)
def test_malformed_manifests(document: object):
    raw = encoded(document)
    with pytest.raises(EvidenceError) as refused:
        oci.verify_manifest(raw, digest=digest(raw))
    assert refused.value.code == "manifest-malformed"


def test_another_content_under_the_digest_asked_for():
    with pytest.raises(EvidenceError) as refused:
        oci.verify_manifest(MANIFEST + b" ", digest=digest(MANIFEST), item="ev-7")
    assert (refused.value.code, refused.value.item) == ("digest-mismatch", "ev-7")


@given(st.integers(0, len(MANIFEST) - 1), st.binary(max_size=3))
def test_mutated_manifests_are_refused_or_read(position: int, value: bytes):
    """With the right digest any bytes may come: an EvidenceError, never another exception."""
    raw = MANIFEST[:position] + value + MANIFEST[position + 1 :]
    with contextlib.suppress(EvidenceError):
        oci.verify_manifest(raw, digest=digest(raw))


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    blobs = tmp_path / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for content in (CONFIG, LAYER, MANIFEST):
        (blobs / sha256(content).hexdigest()).write_bytes(content)
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = {"schemaVersion": 2, "manifests": [descriptor(MANIFEST, oci.IMAGE_MANIFEST)]}
    (tmp_path / "index.json").write_bytes(encoded(index))
    return tmp_path


def blob(layout: Path, content: bytes) -> Path:
    return layout / "blobs" / "sha256" / sha256(content).hexdigest()


def test_a_whole_layout(layout: Path):
    verified = oci.verify_layout(layout)
    assert verified.roots == (digest(MANIFEST),)
    assert oci.verify_layout(str(layout)) == verified
    assert set(verified.blobs) == {digest(content) for content in (CONFIG, LAYER, MANIFEST)}


def test_a_layout_s_changed_missing_and_stray_blobs(layout: Path):
    """One folder, damaged more and more: each refusal names the blob."""
    blob(layout, LAYER).write_bytes(b"other bytes")
    with pytest.raises(EvidenceError, match="digest-mismatch"):
        oci.verify_layout(layout)
    blob(layout, LAYER).unlink()
    with pytest.raises(EvidenceError, match=f"blob-missing: {digest(LAYER)}"):
        oci.verify_layout(layout)
    blob(layout, LAYER).symlink_to(blob(layout, CONFIG))
    with pytest.raises(EvidenceError, match="layout-malformed"):
        oci.verify_layout(layout)
    blob(layout, LAYER).unlink()
    stray = layout / "blobs" / "sha256" / "README"
    stray.write_text("stray")
    with pytest.raises(EvidenceError, match="layout-malformed"):
        oci.verify_layout(layout)
    stray.rename(layout / "blobs" / "README")
    with pytest.raises(EvidenceError, match="layout-malformed: README"):
        oci.verify_layout(layout)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("oci-layout", b"{}"),
        ("oci-layout", b""),
        ("index.json", b"[]"),
        ("index.json", encoded({"schemaVersion": 2})),
        ("index.json", encoded({"schemaVersion": 2, "manifests": [descriptor(MANIFEST, size=1)]})),
        ("index.json", encoded({"schemaVersion": 2, "manifests": [descriptor(b"absent")]})),
    ],
)
def test_damaged_layout_files(name: str, content: bytes, layout: Path):
    (layout / name).write_bytes(content)
    with pytest.raises(EvidenceError):
        oci.verify_layout(layout)


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
def test_absent_layout_files(name: str, layout: Path):
    (layout / name).unlink()
    with pytest.raises(EvidenceError) as refused:
        oci.verify_layout(layout)
    assert (refused.value.code, refused.value.item) == ("layout-malformed", name)


def test_files_that_cannot_be_read(layout: Path, monkeypatch: pytest.MonkeyPatch):
    """A pipe is not waited for, and an error of the disk is a refusal."""
    (layout / "index.json").unlink()
    os.mkfifo(layout / "index.json")
    with pytest.raises(EvidenceError, match=r"layout-malformed: index\.json"):
        oci.verify_layout(layout)

    def broken(*_: object) -> object:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", broken)
    with pytest.raises(EvidenceError, match="Input/output error"):
        oci.verify_layout(layout)
