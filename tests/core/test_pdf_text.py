"""The text of documents, as it is searched and measured."""

from __future__ import annotations

import io

import pytest
from reportlab.pdfgen.canvas import Canvas

from cutover import pdf_text


def written(*pages: tuple[str, ...]) -> bytes:
    made = io.BytesIO()
    canvas = Canvas(made)
    for lines in pages:
        for number, line in enumerate(lines):
            canvas.drawString(72, 700 - 12 * number, line)
        canvas.showPage()
    canvas.save()
    return made.getvalue()


def test_each_page_has_its_text() -> None:
    assert pdf_text.pages(written(("first",), ("second",), ())) == ["first", "second", ""]


def test_a_hyphen_at_the_end_of_a_line_stays_a_hyphen() -> None:
    (text,) = pdf_text.pages(written(("the word is pass-", "phrase-of-many")))
    assert "pass-phrase-of-many" in "".join(text.split())


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7 rubbish", written(("cut short",))[:40]])
def test_what_is_no_document_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        pdf_text.pages(content)
