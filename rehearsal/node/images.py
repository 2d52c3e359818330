"""A local OCI image layout: written from descriptions, read by reference.

The layout is the node's registry. `build_layout` writes `oci-layout`, `index.json` and `blobs/sha256/…`; the same
descriptions give the same bytes, so a digest names its content on every machine. `resolve` reads the layout anew at
each call: a tag taken out of `index.json` is unknown to the next pull.

Source: OCI Image Layout 1.1, OCI Image Format 1.1 (uncompressed tar layers, so that no compressor's version matters).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.node.errors import ImageError, LayoutError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rehearsal.node.shapes import Json

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
NAME_ANNOTATION = "org.opencontainers.image.ref.name"
EPOCH = "1970-01-01T00:00:00Z"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"^(?P<repository>(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDescription:
    """What an image is made from: its name, what it runs, and the files that identify its content."""

    repository: str
    tag: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """Return repository:tag."""
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as a pull leaves it: `digest` is its manifest's, `size_bytes` counts manifest, config and layers."""

    repository: str
    digest: str
    config_digest: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str
    size_bytes: int

    @property
    def image_id(self) -> str:
        """Return the imageID a kubelet reports: repository@digest."""
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A parsed image reference, its tag defaulted to `latest` when neither tag nor digest is given."""

    repository: str
    tag: str
    digest: str

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """Return `text` taken apart.

    Raises:
        ImageError: it is not an image reference (InvalidImageName).
    """
    match = _REFERENCE.match(text)
    if match is None:
        message = f'Failed to apply default image tag "{text}": couldn\'t parse image name "{text}": '
        raise ImageError(message + "invalid reference format", reason="InvalidImageName")
    tag, digest = match["tag"] or "", match["digest"] or ""
    return Reference(repository=match["repository"], tag=tag or ("" if digest else "latest"), digest=digest)


def build_layout(directory: Path, images: Iterable[ImageDescription]) -> dict[str, str]:
    """Write a layout that holds exactly `images`, and return their manifest digests by reference.

    Blobs that are already there stay; `index.json` is replaced in one step, so a reader sees the old or the new one.
    """
    (directory / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    _write(directory / "oci-layout", _encode({"imageLayoutVersion": "1.0.0"}))
    entries = [_write_image(directory, image) for image in images]
    _write_index(directory, entries)
    return {entry["annotations"][NAME_ANNOTATION]: entry["digest"] for entry in entries}


def remove_tag(directory: Path, reference: str) -> bool:
    """Take `reference` out of the layout's index, and return whether it was there. Its blobs stay."""
    entries = _read_index(directory)
    kept = [entry for entry in entries if (entry.get("annotations") or {}).get(NAME_ANNOTATION) != reference]
    if len(kept) == len(entries):
        return False
    _write_index(directory, kept)
    return True


def list_references(directory: Path) -> tuple[str, ...]:
    """Return the references the layout knows, sorted."""
    names = ((entry.get("annotations") or {}).get(NAME_ANNOTATION) for entry in _read_index(directory))
    return tuple(sorted(name for name in names if name))


def resolve(directory: Path, reference: str) -> Image:
    """Return the image that `reference` names in the layout now.

    Raises:
        ImageError: no such image (ErrImagePull, in containerd's words), or no such form (InvalidImageName).
        LayoutError: the folder is not a layout, or a blob does not match its digest.
    """
    wanted = parse_reference(reference)
    for entry in _read_index(directory):
        name = parse_reference((entry.get("annotations") or {}).get(NAME_ANNOTATION, ""))
        if name.repository != wanted.repository:
            continue
        if entry["digest"] == wanted.digest or (not wanted.digest and name.tag == wanted.tag):
            return _read_image(directory, wanted.repository, entry)
    text = str(wanted)
    message = (
        f'rpc error: code = NotFound desc = failed to pull and unpack image "{text}": '
        f'failed to resolve reference "{text}": {text}: not found'
    )
    raise ImageError(message, reason="ErrImagePull")


def _write_image(directory: Path, image: ImageDescription) -> Json:
    layer = _pack(image.files)
    layer_digest = _write_blob(directory, layer)
    settings: Json = {"Entrypoint": list(image.entrypoint)}
    if image.cmd:
        settings["Cmd"] = list(image.cmd)
    if image.env:
        settings["Env"] = [f"{name}={value}" for name, value in sorted(image.env.items())]
    if image.working_dir:
        settings["WorkingDir"] = image.working_dir
    if image.labels:
        settings["Labels"] = dict(image.labels)
    config = _encode(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": EPOCH,
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
            "history": [{"created": EPOCH, "created_by": "rehearsal.node.images"}],
        }
    )
    config_digest = _write_blob(directory, config)
    manifest = _encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": config_digest, "size": len(config)},
            "layers": [{"mediaType": LAYER_TYPE, "digest": layer_digest, "size": len(layer)}],
        }
    )
    return {
        "mediaType": MANIFEST_TYPE,
        "digest": _write_blob(directory, manifest),
        "size": len(manifest),
        "annotations": {NAME_ANNOTATION: image.reference},
        "platform": {"architecture": "amd64", "os": "linux"},
    }


def _read_image(directory: Path, repository: str, entry: Json) -> Image:
    manifest = json.loads(_read_blob(directory, entry["digest"]))
    config = json.loads(_read_blob(directory, manifest["config"]["digest"]))
    settings = config.get("config") or {}
    return Image(
        repository=repository,
        digest=entry["digest"],
        config_digest=manifest["config"]["digest"],
        entrypoint=tuple(settings.get("Entrypoint") or ()),
        cmd=tuple(settings.get("Cmd") or ()),
        env=dict(item.partition("=")[::2] for item in settings.get("Env") or ()),
        working_dir=settings.get("WorkingDir") or "",
        size_bytes=entry["size"] + manifest["config"]["size"] + sum(layer["size"] for layer in manifest["layers"]),
    )


def _pack(files: Mapping[str, bytes]) -> bytes:
    """Return a tar of `files`, sorted, owned by 0:0, dated 1970."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(files[name]))
    return buffer.getvalue()


def _encode(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _write_blob(directory: Path, content: bytes) -> str:
    name = hashlib.sha256(content).hexdigest()
    target = directory / "blobs" / "sha256" / name
    if not target.exists():
        _write(target, content)
    return f"sha256:{name}"


def _read_blob(directory: Path, digest: str) -> bytes:
    algorithm, _, name = digest.partition(":")
    try:
        content = (directory / "blobs" / algorithm / name).read_bytes()
    except OSError as cause:
        raise LayoutError(f"the image layout lacks blob {digest}: build the layout again") from cause
    if hashlib.sha256(content).hexdigest() != name:
        raise LayoutError(f"blob {digest} of the image layout has other content: build the layout again")
    return content


def _read_index(directory: Path) -> list[Json]:
    try:
        index = json.loads((directory / "index.json").read_text(encoding="utf-8"))
        entries: list[Json] = index["manifests"]
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise LayoutError(f"no readable OCI image layout: {cause}; build it with build_layout") from cause
    return entries


def _write_index(directory: Path, entries: list[Json]) -> None:
    _write(directory / "index.json", _encode({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}))


def _write(target: Path, content: bytes) -> None:
    """Write `target` in one step, readable by all."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as handle:
        handle.write(content)
        temporary = Path(handle.name)
    temporary.chmod(0o644)
    os.replace(temporary, target)  # noqa: PTH105 - Path.replace would hide that this is the atomic step
