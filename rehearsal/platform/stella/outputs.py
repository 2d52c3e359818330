"""Writes the files that commands are asked for. Invariant: a file is complete or not there."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from rehearsal.platform.stella.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rehearsal.platform.stella.answers import Json


def write_json(path: Path, body: Mapping[str, Json]) -> None:
    """Write a JSON document whole or not at all. Raises: RefusedError."""
    write_text(path, json.dumps(body, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all. Raises: RefusedError."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file whole or not at all, making its folder; `mode` as umask leaves it.

    Raises: RefusedError when the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
        beside.replace(path)
    except OSError as cause:
        raise RefusedError(
            f"{path} cannot be written: {cause.strerror}", code="output-unwritable", remedy="choose another --output"
        ) from cause
