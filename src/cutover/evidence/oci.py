"""OCI manifests and image layouts, by re-hashing every byte that they name (clause E.1).

Invariants: a digest is computed, never copied; a blob is streamed, never held whole; a name that is not a plain
digest never becomes a path. Sources: OCI Image Format Specification 1.1, "Image Layout", "Image Manifest", "Image
Index", "Descriptors".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cutover.evidence._json import from_base64, parse_object
from cutover.evidence.errors import EvidenceError

IMAGE_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
_MANIFESTS: Final = frozenset({IMAGE_MANIFEST, DOCKER_MANIFEST})
_INDEXES: Final = frozenset({IMAGE_INDEX, DOCKER_LIST})

MAX_MANIFEST_BYTES: Final = 4 << 20
"""Registries agree to accept manifests of up to 4 MiB; larger ones are refused. Source: OCI Distribution 1.1."""
_CHUNK_BYTES: Final = 1 << 20
_DIGEST = re.compile(r"(sha256):[0-9a-f]{64}|(sha512):[0-9a-f]{128}")

BlobSource = Callable[[str], Iterable[bytes] | None]
"""Opens a blob by its digest, as chunks; None when this place does not store it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a manifest says of a blob: media type, `algorithm:hex` digest, size in bytes; `data` if it embeds it."""

    media_type: str
    digest: str
    size_bytes: int
    data: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A verified manifest or index: its own digest, and the blobs it names (config first, then layers; or manifests).

    `verified` are the digests of blobs that were stored and re-hashed.
    """

    digest: str
    media_type: str
    blobs: tuple[Descriptor, ...]
    verified: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A verified image layout: the digests index.json names, and every blob of the folder, each re-hashed."""

    roots: tuple[str, ...]
    blobs: tuple[str, ...]
    size_bytes: int


def verify_manifest(
    content: bytes,
    *,
    digest: str,
    blobs: BlobSource | None = None,
    media_type: str | None = None,
    item: str = "manifest",
) -> Manifest:
    """Re-hash a manifest or index, check its form, and re-hash the blobs it names where `blobs` stores them.

    Raises:
        EvidenceError: `digest-mismatch`, `size-mismatch` or `manifest-malformed`.

    """
    _demand_digest(digest, item)
    computed = hashlib.new(digest.partition(":")[0], content).hexdigest()
    if computed != digest.partition(":")[2]:
        raise EvidenceError("digest-mismatch", item, expected=digest, actual=computed)
    kind, descriptors = _descriptors(content, media_type, item)
    verified = []
    for descriptor in descriptors:
        chunks = blobs(descriptor.digest) if blobs is not None else None
        if chunks is not None:
            _verify_blob(chunks, descriptor, f"{item}, blob {descriptor.digest}")
            verified.append(descriptor.digest)
    return Manifest(digest=digest, media_type=kind, blobs=descriptors, verified=tuple(verified))


def verify_layout(path: Path | str) -> Layout:
    """Verify an image layout: every blob that index.json reaches is there, every file under blobs/ hashes to its name.

    Raises:
        EvidenceError: `layout-malformed`, `manifest-malformed`, `blob-missing`, `digest-mismatch` or `size-mismatch`.

    """
    try:
        return _verify_layout(Path(path))
    except OSError as error:
        raise EvidenceError("layout-malformed", str(path), expected="files that can be read", actual=error) from error


def _verify_layout(path: Path) -> Layout:
    marker = parse_object(_read(path / "oci-layout", "oci-layout"), code="layout-malformed", item="oci-layout")
    if marker.get("imageLayoutVersion") != "1.0.0":
        actual = marker.get("imageLayoutVersion")
        raise EvidenceError("layout-malformed", "oci-layout", expected="imageLayoutVersion 1.0.0", actual=actual)
    sizes = dict(_verify_files(path / "blobs"))
    _, roots = _descriptors(_read(path / "index.json", "index.json"), IMAGE_INDEX, "index.json")
    pending, seen = list(roots), set[str]()
    while pending:
        descriptor = pending.pop()
        item = descriptor.digest
        if item not in sizes:
            raise EvidenceError("blob-missing", item, expected=f"{descriptor.size_bytes} bytes", actual="no such file")
        if sizes[item] != descriptor.size_bytes:
            raise EvidenceError("size-mismatch", item, expected=descriptor.size_bytes, actual=sizes[item])
        if item not in seen and descriptor.media_type in _MANIFESTS | _INDEXES:
            seen.add(item)
            pending.extend(_descriptors(_read(_blob_path(path, item), item), descriptor.media_type, item)[1])
    return Layout(
        roots=tuple(root.digest for root in roots), blobs=tuple(sorted(sizes)), size_bytes=sum(sizes.values())
    )


def _verify_files(folder: Path) -> Iterator[tuple[str, int]]:
    """Re-hash every blob file; yield its digest and size."""
    if not folder.is_dir():
        raise EvidenceError("layout-malformed", "blobs", expected="a folder", actual="none")
    for algorithm in sorted(folder.iterdir()):
        if algorithm.is_symlink() or not algorithm.is_dir():
            raise EvidenceError(
                "layout-malformed", algorithm.name, expected="a folder of blobs", actual="another thing"
            )
        for file in sorted(algorithm.iterdir()):
            yield _verify_file(file)


def _verify_file(file: Path) -> tuple[str, int]:
    digest = f"{file.parent.name}:{file.name}"
    if not _DIGEST.fullmatch(digest) or file.is_symlink() or not file.is_file():
        raise EvidenceError("layout-malformed", digest, expected="a file named by its digest", actual="another name")
    with file.open("rb") as stream:
        computed = hashlib.file_digest(stream, file.parent.name).hexdigest()
    if computed != file.name:
        raise EvidenceError("digest-mismatch", digest, expected=file.name, actual=computed)
    return digest, file.stat().st_size


def _verify_blob(chunks: Iterable[bytes], descriptor: Descriptor, item: str) -> None:
    algorithm, _, expected = descriptor.digest.partition(":")
    hasher, size = hashlib.new(algorithm), 0
    for chunk in chunks:
        size += len(chunk)
        hasher.update(chunk)
    if size != descriptor.size_bytes:
        raise EvidenceError("size-mismatch", item, expected=descriptor.size_bytes, actual=size)
    if hasher.hexdigest() != expected:
        raise EvidenceError("digest-mismatch", item, expected=expected, actual=hasher.hexdigest())


def _descriptors(content: bytes, media_type: str | None, item: str) -> tuple[str, tuple[Descriptor, ...]]:
    code = "manifest-malformed"
    if len(content) > MAX_MANIFEST_BYTES:
        raise EvidenceError(code, item, expected=f"at most {MAX_MANIFEST_BYTES} bytes", actual=len(content))
    fields = parse_object(content, code=code, item=item)
    if fields.get("schemaVersion") != 2 or isinstance(fields.get("schemaVersion"), bool):
        raise EvidenceError(code, item, expected="schemaVersion 2", actual=fields.get("schemaVersion"))
    stated = fields.get("mediaType", media_type or (IMAGE_INDEX if "manifests" in fields else IMAGE_MANIFEST))
    if not isinstance(stated, str) or stated not in _MANIFESTS | _INDEXES:
        raise EvidenceError(code, item, expected="the media type of a manifest or index", actual=stated)
    if media_type is not None and stated != media_type:
        raise EvidenceError(code, item, expected=media_type, actual=stated)
    if (stated in _INDEXES) != ("manifests" in fields) or (stated in _MANIFESTS) != ("layers" in fields):
        # The specification's answer to one document read in two ways: a document has the fields of one kind only.
        raise EvidenceError(code, item, expected=f"the fields of {stated}", actual=", ".join(sorted(fields)))
    listed = fields.get("manifests") if stated in _INDEXES else fields.get("layers")
    if not isinstance(listed, list):
        raise EvidenceError(code, item, expected="a list of descriptors", actual=type(listed).__name__)
    values = listed if stated in _INDEXES else [fields.get("config"), *listed]
    return stated, tuple(_descriptor(value, item) for value in values)


def _descriptor(value: object, item: str) -> Descriptor:
    code = "manifest-malformed"
    if not isinstance(value, Mapping):
        raise EvidenceError(code, item, expected="a descriptor", actual=value)
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str):
        raise EvidenceError(code, item, expected="a descriptor with mediaType and digest", actual=value)
    _demand_digest(digest, item)
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise EvidenceError(code, item, expected="a size in bytes", actual=size)
    embedded = value.get("data")
    data = None if embedded is None else from_base64(embedded, code=code, item=item)
    descriptor = Descriptor(media_type=media_type, digest=digest, size_bytes=size, data=data)
    if data is not None:  # "Descriptors", data: it must match digest and size
        _verify_blob((data,), descriptor, f"{item}, data of {digest}")
    return descriptor


def _demand_digest(digest: object, item: str) -> None:
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise EvidenceError("manifest-malformed", item, expected="sha256: or sha512: and lower-case hex", actual=digest)


def _blob_path(layout: Path, digest: str) -> Path:
    algorithm, _, name = digest.partition(":")
    return layout / "blobs" / algorithm / name


def _read(path: Path, item: str) -> bytes:
    if not path.is_file():
        raise EvidenceError("layout-malformed", item, expected="a file", actual="none")
    with path.open("rb") as stream:
        return stream.read(MAX_MANIFEST_BYTES + 1)
