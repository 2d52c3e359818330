"""report.pdf: what it says, its letters, what it is to an archive, and its signature."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pikepdf
import pypdf
import pytest
import sample_record

from cutover.record import pades
from cutover.record.keys import SigningKey
from rehearsal.tools import verapdf
from rehearsal.tools.cache import Cache
from reports import pdf, pdf_first, pdf_type, record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOSTILE = "<b>x</b> & </para> 中文 \x00\x1b[31m | `code` <script>alert(1)</script> " + "w" * 400
NOW = datetime(2026, 11, 23, 5, 0, 0, tzinfo=UTC)
SIGNER = "Release engineering"
EVERY_MAKER = pytest.mark.parametrize("make", [sample_record.passed, sample_record.failed, sample_record.sent_back])


def document(folder: Path, *, to_be_signed: bool = False) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(pdf.build(record.read(folder), to_be_signed=to_be_signed)))


def words(reader: pypdf.PdfReader) -> str:
    return " ".join(" ".join(page.extract_text().split()) for page in reader.pages)


def sealed(folder: Path) -> Path:
    """Put a manifest and a signed envelope into a record."""
    (folder / "manifest.json").write_text('{"files": {}}\n', "utf-8")
    (folder / "attestations").mkdir()
    envelope = {"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": [{"keyid": "ab" * 32}]}
    for name in ("svr", "test-result"):
        (folder / "attestations" / f"{name}.dsse.json").write_text(json.dumps(envelope), "utf-8")
    return folder


# -- what it says ------------------------------------------------------------------------------------------------------


@EVERY_MAKER
def test_the_document_holds_the_verdict_and_every_clause(tmp_path: Path, make: Callable[..., object]) -> None:
    sample = make(tmp_path)
    assert isinstance(sample, sample_record.Sample)
    reader = document(sample.folder)
    text = words(reader)
    verdict = json.loads((sample.folder / "verdict.json").read_text("utf-8"))
    assert verdict["result"] in reader.pages[0].extract_text()
    assert sample_record.NOTICE in reader.pages[0].extract_text()
    for clause in verdict["clauses"]:
        assert clause["id"] in text
        assert clause["title"] in text
    assert verdict["deviations"][0]["did"] in text


def test_every_page_is_numbered_and_names_record_verdict_and_digest(tmp_path: Path) -> None:
    folder = sealed(sample_record.failed(tmp_path).folder)
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    reader = document(folder)
    for number, page in enumerate(reader.pages, start=1):
        text = page.extract_text()
        assert f"page {number} of {len(reader.pages)}" in text
        assert sample_record.ID in text
        assert "FAILED" in text
        assert f"record sha256:{digest}" in text


def test_sections_are_bookmarked_and_listed_with_their_pages(tmp_path: Path) -> None:
    reader = document(sample_record.failed(tmp_path).folder)
    titles = [entry.title for entry in reader.outline if isinstance(entry, pypdf.generic.Destination)]
    assert titles == [
        "Timeline",
        "What failed",
        "Clauses",
        "Controls",
        "Served by",
        "Gates",
        "Deviations from the guide",
        "Evidence",
        "Load",
        "Commands",
        "Journal",
        "Plan",
        "Proof",
    ]
    text = words(reader)
    assert "Placeholder" not in text
    contents = text.partition("Contents")[2]
    assert all(title in contents for title in titles)


def test_a_command_that_failed_is_shown_with_the_end_of_its_transcript(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.command("1.1a", "stella", "doctor", exit_code=1)
    lines = [f"line {number} of the doctor" for number in range(100)]
    sample.write("artifacts/commands/001-stella.txt", "\n".join(lines))
    sample.fails("1.1a", reason="blue is not healthy")
    sample.end("FAILED", exit_code=1)
    text = words(document(sample.folder))
    assert "line 99 of the doctor" in text
    assert "line 70 of the doctor" in text
    assert "line 69 of the doctor" not in text


def test_a_transcript_outside_of_the_record_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("not of this record", "utf-8")
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.journal.write("command", clause="1.1a", argv=["x"], exit_code=1, duration_s=0.3, transcript="../secret.txt")
    sample.fails("1.1a", reason="blue is not healthy")
    sample.end("FAILED", exit_code=1)
    assert "not of this record" not in words(document(sample.folder))


def test_hostile_and_endless_text_is_shown_and_breaks_nothing(tmp_path: Path) -> None:
    sample = sample_record.failed(tmp_path, reason=HOSTILE * 30, cause=HOSTILE, seen=HOSTILE * 30, remedy=HOSTILE)
    text = words(document(sample.folder))
    assert "<b>x</b> & </para> [U+4E2D][U+6587] [U+0000][U+001B][31m" in text
    assert "cut here; the whole text is in" in text
    assert "S.1" in text


def test_an_empty_folder_gives_a_document(tmp_path: Path) -> None:
    assert "NO VERDICT" in words(document(tmp_path))


# -- its letters -------------------------------------------------------------------------------------------------------


def test_every_font_is_embedded(tmp_path: Path) -> None:
    reader = document(sample_record.failed(tmp_path, reason="✓ │ → ≥").folder)
    seen = set()
    for page in reader.pages:
        for font in page["/Resources"]["/Font"].values():
            assert "/FontFile2" in font.get_object()["/FontDescriptor"], font.get_object()["/BaseFont"]
            seen.add(str(font.get_object()["/BaseFont"]).partition("+")[2])
    assert seen >= {"FiraGO-Regular", "FiraGO-Bold"}


def test_a_character_that_no_font_has_is_written_as_its_number() -> None:
    assert pdf_type.legible("→ ≤ é ✔ ✓ │ ◆") == "→ ≤ é ✓ ✓ │ ◆"
    assert pdf_type.legible("中 🎉 \u200b \x07") == "[U+4E2D] [U+1F389] [U+200B] [U+0007]"


def test_every_piece_of_a_text_is_in_a_font_that_has_it() -> None:
    known = pdf_type.register()
    text = "a → b ✓ c │ 中 \n\t\u202f<é>"
    for font in (pdf_type.SANS, pdf_type.BOLD, pdf_type.MONO):
        pieces = list(pdf_type.runs(text, font))
        assert "".join(piece for _, piece in pieces) == pdf_type.legible(text)
        assert all(ord(character) in known[name] for name, piece in pieces for character in piece)


def test_a_line_that_is_too_long_is_cut_where_its_room_ends() -> None:
    cut = pdf_type.fitting("w" * 400, pdf_type.SANS, 7, 100)
    assert cut.endswith("…")
    assert 90 < pdf_type.width(cut, pdf_type.SANS, 7) <= 100
    assert pdf_type.fitting("short", pdf_type.SANS, 7, 100) == "short"


# -- to an archive -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to_be_signed", [False, True])
def test_the_same_record_gives_the_same_bytes(tmp_path: Path, *, to_be_signed: bool) -> None:
    read = record.read(sealed(sample_record.passed(tmp_path).folder))
    assert pdf.build(read, to_be_signed=to_be_signed) == pdf.build(read, to_be_signed=to_be_signed)


def test_the_document_says_that_it_is_for_an_archive(tmp_path: Path) -> None:
    reader = document(sample_record.passed(tmp_path).folder)
    root = reader.trailer["/Root"]
    intent = root["/OutputIntents"][0]
    assert intent["/S"] == "/GTS_PDFA1"
    assert intent["/DestOutputProfile"].get_data()[36:40] == b"acsp", "an ICC profile"
    xmp = reader.xmp_metadata
    assert xmp is not None
    text = root["/Metadata"].get_data().decode("utf-8")
    assert re.search(r"<pdfaid:part[^>]*>3</pdfaid:part>", text)
    assert re.search(r"<pdfaid:conformance[^>]*>B</pdfaid:conformance>", text)
    assert "PASSED: upgrade record" in text
    assert reader.metadata is not None
    assert reader.metadata.creation_date == xmp.xmp_create_date.replace(tzinfo=UTC)
    for page in reader.pages:
        for note in page.get("/Annots", ()):
            assert note.get_object()["/F"] == 4


def test_the_document_carries_verdict_and_attestations(tmp_path: Path) -> None:
    folder = sealed(sample_record.passed(tmp_path).folder)
    reader = document(folder)
    carried = {name: contents[0] for name, contents in reader.attachments.items()}
    assert carried == {
        "verdict.json": (folder / "verdict.json").read_bytes(),
        "svr.dsse.json": (folder / "attestations" / "svr.dsse.json").read_bytes(),
        "test-result.dsse.json": (folder / "attestations" / "test-result.dsse.json").read_bytes(),
    }
    associated = reader.trailer["/Root"]["/AF"]
    assert [spec["/AFRelationship"] for spec in associated] == ["/Data"] * 3
    assert {spec["/UF"] for spec in associated} == set(carried)


# -- its signature -----------------------------------------------------------------------------------------------------


def test_a_document_without_a_key_says_that_it_is_not_signed(tmp_path: Path) -> None:
    folder = sealed(sample_record.passed(tmp_path).folder)
    assert "Not signed" in document(folder).pages[0].extract_text()
    assert "Not signed" not in document(folder, to_be_signed=True).pages[0].extract_text()


def test_a_signature_shows_name_time_and_meaning_on_the_first_page(tmp_path: Path) -> None:
    read, key = record.read(sample_record.passed(tmp_path).folder), SigningKey.make(SIGNER, now=NOW)
    signed = pdf.sign(read, key, now=NOW)
    assert signed.problem == ""
    assert signed.content.startswith(pdf.build(read, to_be_signed=True))
    page = pypdf.PdfReader(io.BytesIO(signed.content)).pages[0]
    field = next(note.get_object() for note in page["/Annots"] if note.get_object().get("/FT") == "/Sig")
    assert field["/T"] == pades.FIELD
    left, bottom, right, top = (float(edge) for edge in field["/Rect"])
    assert (round(right - left), round(top - bottom)) == tuple(map(round, pdf_first.SIGNATURE))
    assert 0 < left < right < float(page.mediabox.right)
    shown = stamp_text(field)
    assert SIGNER in shown
    assert "23 Nov 2026, 05:00:00 UTC" in shown
    assert "ended as PASSED" in shown
    found = pades.examine(signed.content, key.trust_root(), now=NOW)
    assert found.problems == ()
    assert (found.name, found.time, found.meaning) == (SIGNER, NOW, pdf.meaning(read))


def test_a_long_name_of_a_signer_is_shown_whole(tmp_path: Path) -> None:
    name = "W" * 64
    signed = pdf.sign(record.read(sample_record.passed(tmp_path).folder), SigningKey.make(name, now=NOW), now=NOW)
    page = pypdf.PdfReader(io.BytesIO(signed.content)).pages[0]
    field = next(note.get_object() for note in page["/Annots"] if note.get_object().get("/FT") == "/Sig")
    assert name in stamp_text(field)


def stamp_text(field: pypdf.generic.DictionaryObject) -> str:
    """Return the text of a widget's appearance."""
    form = field["/AP"]["/N"]
    page = next(iter(form["/Resources"]["/XObject"].values())).get_object()
    writer = pypdf.PdfWriter()
    made = writer.add_blank_page(300, 300)
    made[pypdf.generic.NameObject("/Resources")] = page["/Resources"].clone(writer)
    contents = pypdf.generic.DecodedStreamObject()
    contents.set_data(page.get_data())
    made[pypdf.generic.NameObject("/Contents")] = writer._add_object(contents)
    return " ".join(made.extract_text().split())


def test_an_authority_that_gives_no_timestamp_costs_the_timestamp_alone(tmp_path: Path) -> None:
    read, key = record.read(sample_record.passed(tmp_path).folder), SigningKey.make(SIGNER, now=NOW)
    signed = pdf.sign(read, key, now=NOW, timestamp_url="http://127.0.0.1:9/")
    assert "gave no timestamp" in signed.problem
    found = pades.examine(signed.content, key.trust_root(), now=NOW)
    assert (found.problems, found.profile) == ((), "PAdES-B-B")


# -- what veraPDF says -------------------------------------------------------------------------------------------------


@pytest.fixture
def validator() -> None:
    """Go on where veraPDF can run; `tox -e pdfa` demands that it can."""
    if os.environ.get("CUTOVER_PDFA") == "required":
        return
    program = Cache.locate(os.environ).root / f"verapdf-{verapdf.VERSION}-{verapdf.SHA256[:10]}" / "verapdf.jar"
    if shutil.which("java") is None or not program.is_file():
        pytest.skip("veraPDF is not here; tox -e pdfa brings it")


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("validator")
def test_verapdf_finds_nothing_before_and_after_signing(tmp_path: Path) -> None:
    key, paths = SigningKey.make(SIGNER, now=NOW), []
    texts = {"reason": f"{HOSTILE} ✓ │ → ≥ é Ж", "cause": HOSTILE}
    folders = [
        sealed(sample_record.passed(tmp_path / "a").folder),
        sample_record.failed(tmp_path / "b", **texts).folder,
        sample_record.sent_back(tmp_path / "c").folder,
    ]
    for number, folder in enumerate(folders):
        read = record.read(folder)
        for name, content in (
            ("unsigned", pdf.build(read)),
            ("room", pdf.build(read, to_be_signed=True)),
            ("signed", pdf.sign(read, key, now=NOW).content),
        ):
            paths.append(tmp_path / f"{number}-{name}.pdf")
            paths[-1].write_bytes(content)
    broken = tmp_path / "broken.pdf"
    with pikepdf.open(paths[0]) as changed:
        del changed.Root.OutputIntents
        changed.save(broken)
    *every, bad = verapdf.validate([*paths, broken])
    assert [(one.path.name, one.failures) for one in every if not one.compliant or one.failed_checks] == []
    assert all("3B" in one.profile and one.passed_checks > 1000 for one in every)
    assert not bad.compliant, "veraPDF does find what is wrong"
