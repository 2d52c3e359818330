"""Files that are written whole or not at all: neither a reader nor a later attempt ever meets half of one.

Invariant: what stood under the name stays until the new content is on disk; what a killed process left of its own is
written over by the next one that writes the same file.
"""

from __future__ import annotations

import contextlib
import os
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_USUAL_MODE = 0o666  # less what the umask takes away


def write_whole(path: Path, content: str | bytes, *, mode: int | None = None) -> None:
    """Write a file; mode: of the file from its first byte on, whatever the umask is."""
    with written_whole(path, mode=mode) as stream:
        stream.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def written_whole(path: Path, *, mode: int | None = None) -> Iterator[IO[bytes]]:
    """Yield a stream whose content becomes the file when the block ends well; otherwise nothing changes."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(partial, flags, _USUAL_MODE if mode is None else mode), "wb") as stream:
        try:
            yield stream
            stream.flush()
            if mode is not None:
                os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    partial.replace(path)
