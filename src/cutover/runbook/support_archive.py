"""One archive for support: what is in it is listed, what could not be had is named, and no secret is among it.

    index.json    every file with size, SHA-256 and what it is; what was left out and why
    README.txt    the same for a person
    NAME          the files themselves, as text with every known secret masked

Invariants: each text is redacted on the way in, whoever says that it was already; what is no text is left out and named
with its digest, for nobody could tell what it holds; the file is its owner's alone, and appears whole or not at all.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from cutover.clock import rfc3339
from cutover.files import write_whole
from cutover.runbook.journal import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from cutover.redaction import Redactor

SCHEMA = "cutover/support/v1"
INDEX, README = "index.json", "README.txt"
LARGEST_FILE_BYTES = 32 << 20
"""A file beyond that is left out and named: an archive is to be sent by mail or ticket."""
_HEAD_BYTES = 1 << 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of an archive."""

    name: str
    what: str
    """What it is, in words."""
    size_bytes: int
    sha256: str
    is_redacted: bool
    """Something in it was masked here, so that it is not byte for byte what it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Something that is not in an archive, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An archive that was written."""

    path: Path
    size_bytes: int
    sha256: str
    members: tuple[Member, ...]
    left_out: tuple[LeftOut, ...]


class SupportArchive:
    """An archive in the making."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._contents: dict[str, bytes] = {}
        self._members: dict[str, Member] = {}
        self._left_out: list[LeftOut] = []

    def add(self, name: str, content: str | bytes, *, what: str) -> None:
        """Add a text under a name, or name it as left out when it is none or too large. A later one replaces it."""
        raw = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
        if len(raw) > LARGEST_FILE_BYTES or b"\0" in raw[:_HEAD_BYTES]:
            kind = f"{len(raw)} bytes" if len(raw) > LARGEST_FILE_BYTES else "no text"
            self.leave_out(name, f"{kind}, sha256 {hashlib.sha256(raw).hexdigest()}")
            return
        text = raw.decode("utf-8", "replace")
        kept = self._redactor.redact(text)
        data = raw if kept == text else kept.encode("utf-8", "backslashreplace")
        clean = self._redactor.redact(name)
        self._contents[clean] = data
        self._members[clean] = Member(
            name=clean,
            what=what,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            is_redacted=kept != text,
        )

    def add_json(self, name: str, document: object, *, what: str) -> None:
        """Add a document."""
        self.add(name, json.dumps(plain(document), ensure_ascii=False, indent=1) + "\n", what=what)

    def add_file(self, path: Path, name: str, *, what: str) -> None:
        """Add a file, or say why it is not there."""
        try:
            size_bytes = path.stat().st_size
            if size_bytes > LARGEST_FILE_BYTES:
                self.leave_out(name, f"{size_bytes} bytes")
                return
            self.add(name, path.read_bytes(), what=what)
        except OSError as problem:
            self.leave_out(name, f"could not be read: {problem.strerror or problem}")

    def add_tar(self, packed: bytes, folder: str, *, what: str) -> int:
        """Add the files of another tar.gz, each redacted anew, and return how many there were."""
        count = 0
        try:
            for name, content in members_of(packed):
                self.add(f"{folder}/{name}", content, what=what)
                count += 1
        except (tarfile.TarError, OSError, EOFError, zlib.error) as problem:
            self.leave_out(folder, f"the archive cannot be read: {problem}")
        return count

    def leave_out(self, name: str, why: str) -> None:
        """Name something that is not in the archive."""
        self._left_out.append(LeftOut(name=self._redactor.redact(name), why=self._redactor.redact(why)))

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is not in it so far."""
        return tuple(self._left_out)

    def write(self, path: Path, *, now: datetime, about: Mapping[str, Any]) -> Written:
        """Write the archive with its list; about: whose it is, kept in the list. Raises OSError."""
        members = tuple(self._members[name] for name in sorted(self._members))
        index = {
            "schema": SCHEMA,
            "created": rfc3339(now),
            **self._redactor.redact_all(plain(about)),
            "files": plain(members),
            "left_out": plain(self._left_out),
        }
        listed = {
            INDEX: json.dumps(index, ensure_ascii=False, indent=1).encode() + b"\n",
            README: _readme(index).encode(),
        }
        content = packed({**listed, **{name: self._contents[name] for name in sorted(self._contents)}}, now=now)
        write_whole(path, content, mode=0o600)
        return Written(
            path=path,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            members=members,
            left_out=self.left_out,
        )


def packed(files: Mapping[str, bytes], *, now: datetime) -> bytes:
    """Return a tar.gz of files, in their order, each its owner's alone."""
    stream = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", mtime=int(now.timestamp())) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), int(now.timestamp()), 0o600
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def members_of(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of every regular file of a tar.gz whose name stays inside.

    Raises: tarfile.TarError, OSError, EOFError, zlib.error.
    """
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if not member.isfile() or name.is_absolute() or ".." in name.parts:
                continue
            file = archive.extractfile(member)
            if file is not None:
                yield str(name), file.read(LARGEST_FILE_BYTES + 1)


def _readme(index: Mapping[str, Any]) -> str:
    lines = [f"Support archive of {index.get('site', 'a site')}, made {index['created']}", ""]
    lines += [f"{key.replace('_', ' ')}: {index[key]}" for key in ("upgrade", "failed", "diagnosis") if index.get(key)]
    lines += ["", f"{'bytes':>10}  file"]
    lines += [f"{one['size_bytes']:>10}  {one['name']}  ({one['what']})" for one in index["files"]]
    if index["left_out"]:
        lines += ["", "not in it:"]
        lines += [f"  {one['name']}: {one['why']}" for one in index["left_out"]]
    return "\n".join([*lines, "", "Every known secret was masked; compare with index.json.", ""])
