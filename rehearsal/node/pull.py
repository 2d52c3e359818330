"""The images a node holds, and what happens when a container needs one.

What was pulled is kept in the state folder: a tag that later leaves the registry's layout stays on the node, and
imagePullPolicy decides, as on any node.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from rehearsal.node.errors import ImageError, LayoutError
from rehearsal.node.images import Image, parse_reference, resolve

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal.node.shapes import Json


class ImageStore:
    """The node's images, over one registry's layout."""

    def __init__(self, layout: Path, state: Path) -> None:
        self._layout = layout
        self._file = state / "images.json"
        self._held: dict[str, Image] = {}
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            self._held = {
                name: Image(**(fields | {key: tuple(fields[key]) for key in ("entrypoint", "cmd")}))
                for name, fields in kept.items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            # Without a readable record the node holds no image and pulls again.
            self._held = {}

    def find(self, reference: str) -> Image | None:
        """Return the image the node already holds under this reference. Raises ImageError: not a reference."""
        return self._held.get(str(parse_reference(reference)))

    def pull(self, reference: str) -> Image:
        """Return what the registry has under this reference now, and hold it.

        Raises:
            ImageError: it has none (ErrImagePull), or the reference is malformed (InvalidImageName).
        """
        name = str(parse_reference(reference))
        try:
            image = resolve(self._layout, reference)
        except LayoutError as problem:
            message = f'rpc error: code = Unknown desc = failed to pull and unpack image "{name}": {problem.message}'
            raise ImageError(message, reason="ErrImagePull") from problem
        self._held[name] = image
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps({key: _plain(held) for key, held in self._held.items()}), encoding="utf-8")
        os.replace(temporary, self._file)  # noqa: PTH105 - the atomic step
        return image

    def describe(self) -> list[Json]:
        """Return the Node status' list of images."""
        names: dict[str, list[str]] = {}
        sizes: dict[str, int] = {}
        for name, image in sorted(self._held.items()):
            names.setdefault(image.image_id, [image.image_id]).append(name)
            sizes[image.image_id] = image.size_bytes
        return [{"names": held, "sizeBytes": sizes[image_id]} for image_id, held in names.items()]


def default_policy(reference: str) -> str:
    """Return the imagePullPolicy of a container that names none: Always for `latest`, else IfNotPresent."""
    parsed = parse_reference(reference)
    return "Always" if parsed.tag == "latest" and not parsed.digest else "IfNotPresent"


def _plain(image: Image) -> Json:
    return asdict(image) | {"env": dict(image.env)}
