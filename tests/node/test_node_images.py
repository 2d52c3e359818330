"""The image layout: same descriptions, same bytes; a reference leads to one image or to kubelet's words."""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from rehearsal.node.catalogue import REPOSITORY, platform_images
from rehearsal.node.errors import ImageError, LayoutError
from rehearsal.node.images import (
    ImageDescription,
    build_layout,
    list_references,
    parse_reference,
    remove_tag,
    resolve,
)
from rehearsal.node.pull import ImageStore, default_policy

if TYPE_CHECKING:
    from pathlib import Path

ONE = ImageDescription(
    repository="registry.stella.test/one",
    tag="1.0",
    entrypoint=("python", "-m", "one"),
    cmd=("serve",),
    env={"B": "2", "A": "1=1"},
    working_dir="/srv",
    files={"etc/b": b"bb", "etc/a": b"a"},
)
TWO = ImageDescription(repository="registry.stella.test/one", tag="2.0", entrypoint=("two",))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_layout_is_the_same_bytes_everywhere(tmp_path: Path) -> None:
    first = build_layout(tmp_path / "a", [ONE, TWO])
    second = build_layout(tmp_path / "b", [ONE, TWO])
    assert first == second
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    # The digest itself is part of what is promised: a change of the format shows here.
    assert first["registry.stella.test/one:2.0"] == (
        "sha256:397948fe3eee8cddc4f3e5d05bf8efb8ba60e5b531dd7b272b286e17baaf3a08"
    )


def test_every_blob_is_named_by_its_content(tmp_path: Path) -> None:
    build_layout(tmp_path, [ONE, TWO])
    blobs = list((tmp_path / "blobs" / "sha256").iterdir())
    assert len(blobs) == 6
    for blob in blobs:
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name


def test_a_layer_holds_the_files_sorted_and_undated(tmp_path: Path) -> None:
    build_layout(tmp_path, [ONE])
    index = json.loads((tmp_path / "index.json").read_text())
    manifest = json.loads((tmp_path / "blobs/sha256" / index["manifests"][0]["digest"][7:]).read_text())
    with tarfile.open(tmp_path / "blobs/sha256" / manifest["layers"][0]["digest"][7:]) as layer:
        assert [(member.name, member.mtime, member.uid) for member in layer] == [("etc/a", 0, 0), ("etc/b", 0, 0)]


def test_resolve_gives_what_was_described(tmp_path: Path) -> None:
    digests = build_layout(tmp_path, [ONE, TWO])
    image = resolve(tmp_path, "registry.stella.test/one:1.0")
    assert image.digest == digests["registry.stella.test/one:1.0"]
    assert image.image_id == f"registry.stella.test/one@{image.digest}"
    assert (image.entrypoint, image.cmd, image.working_dir) == (ONE.entrypoint, ONE.cmd, "/srv")
    assert dict(image.env) == {"A": "1=1", "B": "2"}
    assert image.size_bytes > 1024
    assert resolve(tmp_path, f"registry.stella.test/one@{image.digest}") == image
    assert resolve(tmp_path, f"registry.stella.test/one:whatever@{image.digest}") == image


@pytest.mark.parametrize(
    ("reference", "reason", "words"),
    [
        ("registry.stella.test/one:3.0", "ErrImagePull", "registry.stella.test/one:3.0: not found"),
        ("registry.stella.test/one", "ErrImagePull", "registry.stella.test/one:latest: not found"),
        ("registry.stella.test/other:1.0", "ErrImagePull", 'failed to resolve reference "registry.stella.test/other:1'),
        (f"registry.stella.test/one@sha256:{'0' * 64}", "ErrImagePull", "code = NotFound"),
        ("registry.stella.test/One:1.0", "InvalidImageName", "invalid reference format"),
        ("", "InvalidImageName", "invalid reference format"),
    ],
)
def test_an_unknown_image_is_refused_in_kubelets_words(tmp_path: Path, reference: str, reason: str, words: str) -> None:
    build_layout(tmp_path, [ONE])
    with pytest.raises(ImageError) as refusal:
        resolve(tmp_path, reference)
    assert refusal.value.reason == reason
    assert words in refusal.value.message


def test_a_removed_tag_is_unknown_to_the_next_pull(tmp_path: Path) -> None:
    build_layout(tmp_path, [ONE, TWO])
    assert remove_tag(tmp_path, ONE.reference)
    assert not remove_tag(tmp_path, ONE.reference)
    assert list_references(tmp_path) == (TWO.reference,)
    with pytest.raises(ImageError):
        resolve(tmp_path, ONE.reference)
    build_layout(tmp_path, [ONE, TWO])
    assert resolve(tmp_path, ONE.reference).entrypoint == ONE.entrypoint


def test_an_altered_blob_is_refused(tmp_path: Path) -> None:
    digest = build_layout(tmp_path, [ONE])[ONE.reference]
    blob = tmp_path / "blobs" / "sha256" / digest[7:]
    blob.write_bytes(blob.read_bytes().replace(b"layers", b"Layers"))
    with pytest.raises(LayoutError, match="other content"):
        resolve(tmp_path, ONE.reference)


def test_a_folder_without_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="build_layout"):
        resolve(tmp_path, ONE.reference)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("one", "one:latest"),
        ("localhost:5000/one", "localhost:5000/one:latest"),
        ("localhost:5000/one:2", "localhost:5000/one:2"),
        ("registry.stella.test/a/b_c-d:2027.Q1", "registry.stella.test/a/b_c-d:2027.Q1"),
    ],
)
def test_references_are_parsed(text: str, written: str) -> None:
    assert str(parse_reference(text)) == written


@pytest.mark.parametrize(
    ("reference", "policy"),
    [
        ("one", "Always"),
        ("one:latest", "Always"),
        ("one:2", "IfNotPresent"),
        (f"one@sha256:{'0' * 64}", "IfNotPresent"),
    ],
)
def test_the_default_pull_policy(reference: str, policy: str) -> None:
    assert default_policy(reference) == policy


def test_a_node_keeps_what_it_pulled(tmp_path: Path) -> None:
    layout, state = tmp_path / "images", tmp_path
    build_layout(layout, [ONE])
    store = ImageStore(layout, state)
    assert store.find(ONE.reference) is None
    image = store.pull(ONE.reference)
    remove_tag(layout, ONE.reference)
    again = ImageStore(layout, state)
    assert again.find(ONE.reference) == image
    assert again.describe() == [
        {"names": [image.image_id, ONE.reference], "sizeBytes": image.size_bytes},
    ]
    with pytest.raises(ImageError):
        again.pull(ONE.reference)


def test_a_pull_from_a_broken_registry_is_a_pull_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as refusal:
        ImageStore(tmp_path / "absent", tmp_path).pull(ONE.reference)
    assert refusal.value.reason == "ErrImagePull"


def test_the_platforms_images_are_told_apart_by_release_and_sources(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "a.py").write_text("one")
    before = build_layout(tmp_path / "a", platform_images(sources=sources))
    assert set(before) == {f"{REPOSITORY}:2027.Q1", f"{REPOSITORY}:2027.Q2", f"{REPOSITORY}:2027.Q3"}
    assert len(set(before.values())) == 3
    image = resolve(tmp_path / "a", f"{REPOSITORY}:2027.Q2")
    assert image.entrypoint == ("python", "-m", "rehearsal.platform.app")
    assert dict(image.env) == {"STELLA_RELEASE": "2027.Q2"}
    (sources / "a.py").write_text("two")
    after = build_layout(tmp_path / "b", platform_images(sources=sources))
    assert not set(before.values()) & set(after.values())
