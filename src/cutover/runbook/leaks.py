"""Search a finished record for secrets: the proof that redaction missed nothing.

Invariants: every text file of the folder is read whole, each secret is searched in all of its forms; what is returned
names files and kinds of secrets, never a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cutover.redaction import forms

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

SEARCHED: Final = "leak search"
"""What the journal calls a search of the record."""
_CHUNK_BYTES = 1 << 20
_HEAD_BYTES = 1 << 13


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Leak:
    """A secret in a file."""

    path: str
    """Relative to the folder."""
    kind: str
    """Which secret it is, by its place in the target: `store.secret_key`."""


def find(folder: Path, secrets: Mapping[str, str]) -> tuple[Leak, ...]:
    """Return where secrets stand in the text files under `folder`, sorted.

    secrets: each secret's kind. A file with a zero byte in its first 8 KiB is no text. Raises OSError.
    """
    kinds = {form.encode("utf-8", "surrogatepass"): kind for secret, kind in secrets.items() for form in forms(secret)}
    found: set[Leak] = set()
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        name = str(path.relative_to(folder))
        found |= {Leak(path=name, kind=kinds[form]) for form in _forms_in(path, kinds)}
    return tuple(sorted(found))


def _forms_in(path: Path, wanted: Collection[bytes]) -> set[bytes]:
    overlap = max(map(len, wanted), default=1) - 1
    found: set[bytes] = set()
    with path.open("rb") as file:
        if b"\0" in file.read(_HEAD_BYTES):
            return found
        file.seek(0)
        kept = b""
        while chunk := file.read(_CHUNK_BYTES):
            text = kept + chunk
            found.update(form for form in wanted if form in text)
            kept = text[len(text) - overlap :] if overlap < len(text) else text
    return found
