"""Search a finished record for secrets: the proof that redaction missed nothing.

Invariants: every file of the folder is read whole, each secret is searched in all of its forms; what is packed is
unpacked first: archives and what lies in them, streams, texts and attachments of PDF documents, and the compressed data
that a page carries; what is encrypted, or cannot be unpacked, is named. A file that this process found clean is not
read again for the same secrets as long as nobody wrote it: a record is searched before its verdict, and once more with
its reports. What is returned names files and kinds of secrets, never a secret.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from cutover import pdf_text
from cutover.errors import CouldNotMeasure
from cutover.redaction import forms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import pikepdf

SEARCHED: Final = "leak search"
"""What the journal calls a search of the record."""
INSIDE: Final = "!"
"""Stands between an archive and a member of it in the name of what was found."""
_CHUNK_BYTES = 1 << 20
_HEAD_BYTES = 1 << 13
_SHORTEST_IN_BINARY = 8
"""A shorter form occurs by chance in what is no text."""
_DEEPEST = 4
"""An archive inside an archive inside an archive."""
_LARGEST_MEMBER = 1 << 28
_GZIP, _ZIP, _PDF = b"\x1f\x8b", b"PK\x03\x04", b"%PDF-"
_PACKED_NAME = re.compile(rb"\.(?:gz|tgz|zip|pdf)(?:\0|$)", re.IGNORECASE)
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_PACKED_BASE64 = re.compile(rb"(?:e(?<![A-Za-z0-9+/]e)[A-P]|H(?<![A-Za-z0-9+/]H)4sI)[A-Za-z0-9+/]{124,}={0,2}")
"""A long word of base64 that begins as zlib's or gzip's output does; its first letter is what is searched for."""
_SPACE = re.compile(rb"\s+")
_CLEAN: dict[tuple[int, int, int, int], int] = {}
"""Files without a leak and with nothing left unread (device, inode, size, time of change), by what was looked for."""
_AGE = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Leak:
    """A secret in a file."""

    path: str
    """Relative to the folder; of an archive with the member's name behind `!`."""
    kind: str
    """Which secret it is, by its place in the target: `store.secret_key`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What a search came to."""

    files: int
    secrets: int
    leaks: tuple[Leak, ...]
    """Sorted."""
    unread: tuple[str, ...]
    """What could not be unpacked, each with the reason, and what is encrypted; sorted."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the journal says of it."""
        return {"what": SEARCHED, "files": self.files, "secrets": self.secrets, "found": len(self.leaks)}

    @property
    def named(self) -> str:
        """Every leak, in words without the secret."""
        return "; ".join(f"{leak.kind} in {leak.path}" for leak in self.leaks)


def find(folder: Path, secrets: Mapping[str, str]) -> tuple[Leak, ...]:
    """Return where secrets stand in the files under `folder`, sorted. secrets: each secret's kind. Raises OSError."""
    return search(folder, secrets).leaks


def require_none(folder: Path, secrets: Mapping[str, str]) -> Searched:
    """Search a folder, and refuse what holds a secret. Raises CouldNotMeasure naming the files, OSError."""
    found = search(folder, secrets)
    if found.leaks:
        raise CouldNotMeasure(
            f"the record holds secrets of the target: {found.named}",
            code="secret-in-record",
            seen=found.named,
            do="give this record to nobody; delete the files, and change what they show",
        )
    return found


def search(folder: Path, secrets: Mapping[str, str], *, only: Iterable[Path] | None = None) -> Searched:
    """Return what a search of every file under `folder` came to; only: of these files alone. Raises OSError.

    secrets: each secret's kind.
    """
    sought = _Sought.of(secrets)
    paths = sorted(folder.rglob("*") if only is None else only)
    paths = [path for path in paths if path.is_file() and not path.is_symlink()]
    found, wanted = _Found(), hash(frozenset(secrets))
    for path in paths:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            state = (about.st_dev, about.st_ino, about.st_size, about.st_ctime_ns)
            if _CLEAN.get(state) == wanted:
                continue
            mine = _Found()
            _look(file, str(path.relative_to(folder)), sought, mine)
        found.leaks |= mine.leaks
        found.unread |= mine.unread
        if not mine.leaks and not mine.unread:
            _CLEAN[state] = wanted
    leaks = {Leak(path=name, kind=kind) for name, kind in found.leaks}
    return Searched(
        files=len(paths), secrets=len(secrets), leaks=tuple(sorted(leaks)), unread=tuple(sorted(found.unread))
    )


def search_text(name: str, text: str, secrets: Mapping[str, str]) -> tuple[Leak, ...]:
    """Return which secrets stand in a text, as in a file of that name."""
    found = _Found()
    _look(io.BytesIO(text.encode("utf-8", "surrogatepass")), name, _Sought.of(secrets), found)
    return tuple(sorted(Leak(path=path, kind=kind) for path, kind in found.leaks))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sought:
    """The forms of every secret, each with its kind; a form with another one inside is found by that."""

    in_text: Mapping[bytes, str]
    in_binary: Mapping[bytes, str]
    squeezed: Mapping[bytes, str]
    """Without white space, for texts whose lines were broken anew."""
    longest: int

    @classmethod
    def of(cls, secrets: Mapping[str, str]) -> _Sought:
        """Return what is looked for."""
        kinds: dict[bytes, str] = {}
        for secret, kind in secrets.items():
            written = sorted((form.encode("utf-8", "surrogatepass") for form in forms(secret)), key=len)
            least: list[bytes] = []
            for form in written:
                if not any(shorter in form for shorter in least):
                    least.append(form)
            kinds |= dict.fromkeys(least, kind)
        return cls(
            in_text=kinds,
            in_binary=_of_length(kinds),
            squeezed=_of_length({_SPACE.sub(b"", form): kind for form, kind in kinds.items()}),
            longest=max(map(len, kinds), default=1),
        )


def _of_length(kinds: Mapping[bytes, str]) -> dict[bytes, str]:
    return {form: kind for form, kind in kinds.items() if len(form) >= _SHORTEST_IN_BINARY}


@dataclass(slots=True)
class _Found:
    leaks: set[tuple[str, str]] = field(default_factory=set)
    unread: set[str] = field(default_factory=set)

    def in_bytes(self, name: str, content: bytes, wanted: Mapping[bytes, str]) -> None:
        self.leaks |= {(name, kind) for form, kind in wanted.items() if form in content}


def _look(file: IO[bytes], name: str, sought: _Sought, found: _Found, *, depth: int = 0) -> None:
    """Search a file, and what is packed in it."""
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if head.startswith(_GZIP):
        found.in_bytes(name, head, sought.in_binary)  # a name may stand there; all else is compressed
    else:
        _look_plainly(file, name, sought.in_binary if b"\0" in head else sought.in_text, sought.longest, found)
    file.seek(0)
    if head.startswith(_AGE):
        found.unread.add(f"{name}: encrypted")
    elif depth >= _DEEPEST:
        found.unread.add(f"{name}: too deep in archives")
    else:
        try:
            _look_inside(file, head, name, sought, found, depth=depth)
        except OSError:
            raise
        except Exception as problem:  # noqa: BLE001  # whatever a file does to its reader, it is named and no more
            found.unread.add(f"{name}: {type(problem).__name__}: {problem}")


def _look_plainly(file: IO[bytes], name: str, wanted: Mapping[bytes, str], longest: int, found: _Found) -> None:
    kept = b""
    while chunk := file.read(_CHUNK_BYTES):
        text = kept + chunk
        found.in_bytes(name, text, wanted)
        kept = text[max(0, len(text) - longest + 1) :]


def _look_inside(file: IO[bytes], head: bytes, name: str, sought: _Sought, found: _Found, *, depth: int) -> None:
    if head.startswith(_GZIP):
        _look_gzip(file, name, sought, found, depth=depth)
    elif head.startswith(_ZIP):
        _look_zip(file, name, sought, found, depth=depth)
    elif head.startswith(_PDF):
        _look_pdf(file, name, sought, found, depth=depth)
    elif _is_tar(head):
        _look_tar(file, name, sought, found, depth=depth)
    elif b"\0" not in head:
        for content in _carried(file.read()):
            found.in_bytes(f"{name}{INSIDE}data", content, sought.in_text)


def _carried(text: bytes) -> Iterator[bytes]:
    """Yield what a text carries compressed, in base64."""
    for match in _PACKED_BASE64.finditer(text):
        try:
            raw = base64.b64decode(match[0] + b"=" * (-len(match[0]) % 4))
            yield zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(raw, _LARGEST_MEMBER)
        except (binascii.Error, zlib.error):
            continue


def _look_gzip(file: IO[bytes], name: str, sought: _Sought, found: _Found, *, depth: int) -> None:
    """Search a compressed stream; the members of an archive are taken apart only where that can say more."""
    content = _inflated(file.read())
    if not _is_tar(content):
        _look(io.BytesIO(content), f"{name}{INSIDE}content", sought, found, depth=depth + 1)
        return
    whole = _Found()
    whole.in_bytes(name, content, sought.in_text)
    if whole.leaks or _PACKED_NAME.search(content):
        _look_tar(io.BytesIO(content), name, sought, found, depth=depth)
        whole.leaks -= {(name, kind) for path, kind in found.leaks if path.startswith(f"{name}{INSIDE}")}
        found.leaks |= whole.leaks


def _is_tar(content: bytes) -> bool:
    return content[_TAR_MAGIC_AT : _TAR_MAGIC_AT + len(_TAR_MAGIC)] == _TAR_MAGIC


def _inflated(packed: bytes) -> bytes:
    """Return a gzip stream's content, all of its members, and what stands behind them as it is.

    Raises zlib.error, EOFError when it is cut short.
    """
    parts, rest, size = [], packed, 0
    while rest.startswith(_GZIP):
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        parts.append(stream.decompress(rest, _LARGEST_MEMBER - size))
        size += len(parts[-1])
        if not stream.eof:
            raise EOFError("it is cut short, or holds more than 256 MiB")
        rest = stream.unused_data
    return b"".join((*parts, rest))


def _look_tar(file: IO[bytes], name: str, sought: _Sought, found: _Found, *, depth: int) -> None:
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            inside = f"{name}{INSIDE}{member.name}"
            found.in_bytes(inside, member.name.encode("utf-8", "surrogateescape"), sought.in_text)
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                _look(io.BytesIO(content.read()), inside, sought, found, depth=depth + 1)


def _look_zip(file: IO[bytes], name: str, sought: _Sought, found: _Found, *, depth: int) -> None:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            inside = f"{name}{INSIDE}{member.filename}"
            if member.file_size > _LARGEST_MEMBER:
                found.unread.add(f"{inside}: larger than 256 MiB")
            elif not member.is_dir():
                _look(io.BytesIO(archive.read(member)), inside, sought, found, depth=depth + 1)


def _look_pdf(file: IO[bytes], name: str, sought: _Sought, found: _Found, *, depth: int) -> None:
    """Search a document's strings and streams as they are, its attachments, and the text that people read in it."""
    import pikepdf  # noqa: PLC0415  # only where there is a document

    content = file.read()
    with pikepdf.open(io.BytesIO(content)) as document:
        for part in document.objects:
            inside = f"{name}{INSIDE}object {part.objgen[0]}"
            said = "\n".join(_strings(part)).encode("utf-8", "surrogatepass")
            found.in_bytes(inside, said, sought.in_text)
            if isinstance(part, pikepdf.Stream):
                _look(io.BytesIO(_stream(part)), inside, sought, found, depth=depth + 1)
    for number, page in enumerate(pdf_text.pages(content), 1):
        text = page.encode("utf-8", "surrogatepass")
        found.in_bytes(f"{name}{INSIDE}page {number}", text, sought.in_text)
        found.in_bytes(f"{name}{INSIDE}page {number}", _SPACE.sub(b"", text), sought.squeezed)


def _stream(part: pikepdf.Stream) -> bytes:
    """Return a stream's content, of a picture what stands in the file."""
    import pikepdf  # noqa: PLC0415

    try:
        return part.read_bytes()
    except pikepdf.PdfError:
        return part.read_raw_bytes()


def _strings(part: pikepdf.Object) -> Iterator[str]:
    """Yield the texts of an object, not those of the objects that it refers to: they are looked at themselves."""
    import pikepdf  # noqa: PLC0415

    if isinstance(part, pikepdf.String):
        yield str(part)
    inner: Iterable[pikepdf.Object] = ()
    if isinstance(part, pikepdf.Array):
        inner = list(part)
    elif isinstance(part, pikepdf.Dictionary | pikepdf.Stream):
        inner = [part[key] for key in list(part.keys())]
    for one in inner:
        if isinstance(one, pikepdf.Object) and not one.is_indirect:
            yield from _strings(one)
