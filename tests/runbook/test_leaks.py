"""A secret in a record is found, in whatever form, file and packing; what is reported never says it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING

import pikepdf
import pytest
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph, SimpleDocTemplate

from cutover.errors import CouldNotMeasure
from cutover.redaction import forms
from cutover.runbook import leaks
from cutover.runbook.leaks import Leak

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CANARY = """canary/of "this" test's"""
OTHER = "another-one"
SECRETS = {CANARY: "store.secret_key", OTHER: "database.dsn", "abc": "too.short"}


@pytest.mark.parametrize("form", sorted(forms(CANARY)))
def test_every_form_is_found_and_none_is_repeated(tmp_path: Path, form: str) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "a.txt").write_text(f"before {form} after", "utf-8")
    (tmp_path / "b.txt").write_text("nothing, abc", "utf-8")
    found = leaks.find(tmp_path, SECRETS)
    assert found == (Leak(path="artifacts/a.txt", kind="store.secret_key"),)
    assert not any(form in str(found) for form in forms(CANARY))


@pytest.mark.parametrize("shift", [0, 1, 5, 10])
def test_a_secret_across_two_reads_is_found(tmp_path: Path, shift: int) -> None:
    before = "x" * (leaks._CHUNK_BYTES - shift)
    (tmp_path / "a.txt").write_text(before + OTHER, "utf-8")
    assert [leak.kind for leak in leaks.find(tmp_path, SECRETS)] == ["database.dsn"]


def test_what_is_no_text_is_searched_for_what_does_not_stand_there_by_chance(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\0another-one\0word")
    (tmp_path / "empty").write_bytes(b"")
    found = leaks.find(tmp_path, {OTHER: "long", "word": "short"})
    assert found == (Leak(path="binary", kind="long"),)
    assert leaks.find(tmp_path, {}) == ()


# -- what is packed ----------------------------------------------------------------------------------------------------


def archived(content: bytes, *, name: str = "inside/a.txt", gz: bool = True) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz" if gz else "w") as archive:
        for member, text in (("inside/harmless.txt", b"nothing"), (name, content)):
            about = tarfile.TarInfo(member)
            about.size = len(text)
            archive.addfile(about, io.BytesIO(text))
    return packed.getvalue()


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside/a.txt", content)
    return packed.getvalue()


def page_of(content: bytes) -> bytes:
    """Return a page that carries its data compressed, as the continuity report does."""
    data = base64.b64encode(zlib.compress(content + bytes(range(256)) * 8)).decode()
    return f"<html><script type='text/plain'>{data}</script></html>".encode()


def lettered(content: bytes) -> bytes:
    """Return a document whose page says it, in lines as narrow as a column."""
    made = io.BytesIO()
    document = SimpleDocTemplate(made, pagesize=(120, 400), leftMargin=10, rightMargin=10)
    words = content.decode().replace("&", "&amp;").replace("<", "&lt;")
    document.build([Paragraph(words, getSampleStyleSheet()["Normal"])])
    return made.getvalue()


def titled(content: bytes) -> bytes:
    made = io.BytesIO()
    canvas = Canvas(made, pagesize=A4)
    canvas.setTitle(f"Ω {content.decode()}")  # as UTF-16: the title is no Latin
    canvas.drawString(72, 72, "nothing")
    canvas.save()
    return made.getvalue()


def attached(content: bytes) -> bytes:
    made = io.BytesIO()
    with pikepdf.new() as document:
        document.add_blank_page()
        document.attachments["verdict.json"] = pikepdf.AttachedFileSpec(document, content, filename="verdict.json")
        document.save(made)
    return made.getvalue()


PACKED: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "a compressed file": ("a.json.gz", gzip.compress, "a.json.gz!content"),
    "two streams in one file": (
        "a.gz",
        lambda content: gzip.compress(b"first") + gzip.compress(content),
        "a.gz!content",
    ),
    "what stands behind a stream": (
        "a.gz",
        lambda content: gzip.compress(b"first") + b"\0" + content,
        "a.gz!content",
    ),
    "an archive": ("a.tar", lambda content: archived(content, gz=False), "a.tar!inside/a.txt"),
    "a compressed archive": ("a.tar.gz", archived, "a.tar.gz!inside/a.txt"),
    "an archive in an archive": (
        "a.tar.gz",
        lambda content: archived(archived(content), name="b.tar.gz"),
        "a.tar.gz!b.tar.gz!inside/a.txt",
    ),
    "a zip file": ("a.zip", zipped, "a.zip!inside/a.txt"),
    "an archive in a zip file": (
        "a.zip",
        lambda content: zipped(archived(content)),
        "a.zip!inside/a.txt!inside/a.txt",
    ),
    "the data of a page": ("continuity.html", page_of, "continuity.html!data"),
    "the text of a document": ("report.pdf", lettered, "report.pdf!page 1"),
    "the title of a document": ("report.pdf", titled, "report.pdf!object"),
    "what a document has attached": ("report.pdf", attached, "report.pdf!object"),
    "a document in an archive": (
        "a.tar.gz",
        lambda content: archived(lettered(content), name="report.pdf"),
        "a.tar.gz!report.pdf!page 1",
    ),
}


@pytest.mark.parametrize("packing", PACKED)
def test_what_is_packed_is_unpacked_and_named(tmp_path: Path, packing: str) -> None:
    name, pack, where = PACKED[packing]
    (tmp_path / name).write_bytes(pack(f"before {OTHER} after".encode()))
    found = leaks.search(tmp_path, SECRETS)
    assert {leak.kind for leak in found.leaks} == {"database.dsn"}
    assert any(leak.path.startswith(where) for leak in found.leaks), found.leaks
    assert found.unread == ()
    assert OTHER not in str(found)


@pytest.mark.parametrize("packing", PACKED)
def test_the_same_without_a_secret_is_clean(tmp_path: Path, packing: str) -> None:
    name, pack, _ = PACKED[packing]
    (tmp_path / name).write_bytes(pack(b"before [redacted] after"))
    assert leaks.search(tmp_path, SECRETS).leaks == ()


def test_a_long_secret_that_a_document_breaks_into_lines_is_found(tmp_path: Path) -> None:
    secret = "correct-horse battery-staple-and-much-more of-it"
    (tmp_path / "report.pdf").write_bytes(lettered(f"it is {secret} here".encode()))
    assert [leak.kind for leak in leaks.find(tmp_path, {secret: "store.secret_key"})] == ["store.secret_key"]


def test_a_members_name_is_searched_too(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(archived(b"nothing", name=f"of-{OTHER}.txt"))
    assert [leak.kind for leak in leaks.find(tmp_path, SECRETS)][:1] == ["database.dsn"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.gz", gzip.compress(b"much" * 999)[:-9], "a.gz: EOFError"),
        ("a.gz", b"\x1f\x8bnothing of the kind", "a.gz: error"),
        ("a.zip", b"PK\x03\x04rubbish", "a.zip: BadZipFile"),
        ("a.pdf", b"%PDF-1.7 rubbish", "a.pdf: PdfError"),
        ("a.age", b"age-encryption.org/v1\n-> X25519 x\n", "a.age: encrypted"),
    ],
)
def test_what_cannot_be_unpacked_is_named_and_stops_nothing(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "z.txt").write_text(OTHER, "utf-8")
    found = leaks.search(tmp_path, SECRETS)
    assert [unread.startswith(said) for unread in found.unread] == [True], found.unread
    assert [leak.path for leak in found.leaks] == ["z.txt"]


def test_an_archive_without_an_end_is_given_up(tmp_path: Path) -> None:
    content = OTHER.encode()
    for _ in range(8):
        content = gzip.compress(content)
    (tmp_path / "a.gz").write_bytes(content)
    assert "too deep in archives" in leaks.search(tmp_path, SECRETS).unread[0]


def test_a_file_is_read_again_when_it_was_written_or_something_else_is_sought(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("nothing", "utf-8")
    assert leaks.search(tmp_path, SECRETS).facts["found"] == 0
    assert leaks.search(tmp_path, SECRETS).files == 1, "a file that is known to be clean counts"
    assert [leak.kind for leak in leaks.find(tmp_path, {"nothing": "a word"})] == ["a word"]
    before = path.stat()
    path.write_text("another", "utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [leak.kind for leak in leaks.find(tmp_path, {"nothing": "a word", "another": "b"})] == ["b"]
    path.write_text("nothing", "utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert leaks.find(tmp_path, {"nothing": "a word"}) == leaks.find(tmp_path, {"nothing": "a word"}) != ()


# -- what is told ------------------------------------------------------------------------------------------------------


def test_a_search_says_how_much_it_looked_at(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(OTHER, "utf-8")
    found = leaks.search(tmp_path, SECRETS)
    assert found.facts == {"what": "leak search", "files": 2, "secrets": 3, "found": 2}
    assert found.named == "database.dsn in a.txt; database.dsn in b.txt"
    assert leaks.search(tmp_path, SECRETS, only=[tmp_path / "b.txt"]).named == "database.dsn in b.txt"
    assert json.dumps(found.facts)


def test_a_folder_that_must_hold_none_is_refused_with_the_files(tmp_path: Path) -> None:
    assert leaks.require_none(tmp_path, SECRETS).files == 0
    (tmp_path / "a.txt").write_text(OTHER, "utf-8")
    with pytest.raises(CouldNotMeasure) as refused:
        leaks.require_none(tmp_path, SECRETS)
    assert refused.value.seen == "database.dsn in a.txt"
    assert OTHER not in str(refused.value) + refused.value.seen


def test_a_text_is_searched_as_a_file_would_be() -> None:
    assert leaks.search_text("standard output", f"x {OTHER}", SECRETS) == (
        Leak(path="standard output", kind="database.dsn"),
    )
    assert leaks.search_text("standard output", "x [redacted]", SECRETS) == ()
