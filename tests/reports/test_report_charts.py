"""The charts: one drawing, painted by reportlab's graphics for the page and for the PDF."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pypdf
import sample_record
from reportlab.graphics import renderPDF
from reportlab.pdfgen.canvas import Canvas

from reports import html, record, shapes, timeline

if TYPE_CHECKING:
    from pathlib import Path

PAINTED = {"rect", "polygon", "polyline", "text"}


def picture() -> shapes.Drawing:
    drawing = shapes.Drawing(name="one", title="A <title>", width=200, height=90.4, description="What & why")
    drawing.box(10, 20, 30.04, 5, look="good", hint="three <passes>")
    drawing.path([(0, 0), (50, 10), (60, 80)], "weight")
    drawing.path([(0, 0), (50, 10), (60, 80)], "flag-bad", closed=True, hint="back")
    drawing.label(100, 40, "50 % & more", "soft", "end")
    return drawing


def painted_picture() -> ET.Element:
    return ET.fromstring(shapes.svg(picture()))  # noqa: S314  # of ours


def test_every_shape_is_one_element_with_its_look() -> None:
    root = painted_picture()
    painted = [element for element in root.iter() if element.tag in PAINTED]
    assert [element.tag for element in painted] == ["rect", "polyline", "polygon", "text"]
    assert [element.get("class") for element in painted] == ["t-good", "t-weight", "t-flag-bad", "t-soft"]
    assert not any(element.get("style") for element in root.iter()), "colours are the style rules' alone"
    assert [element.findtext("title") for element in painted] == ["three <passes>", None, "back", None]
    assert painted[3].text == "50 % & more"
    assert painted[3].get("text-anchor") == "end"


def test_it_stands_where_the_drawing_has_it() -> None:
    root = painted_picture()
    box, text = root.find(".//rect"), root.find(".//text")
    assert root.get("viewBox") == "0 0 200 91", "a whole number of points, for the picture is turned over"
    assert box is not None
    assert (box.get("x"), box.get("y"), box.get("width"), box.get("height")) == ("10", "66", "30.0", "5")
    assert text is not None
    assert text.get("y") == "51"
    assert text.get("transform") == "translate(0,102) scale(1,-1)", "turned back, or it would be read from behind"


def test_it_has_a_title_and_a_description_under_names_of_its_own() -> None:
    root = painted_picture()
    labelled = (root.get("aria-labelledby") or "").split()
    assert root.get("role") == "img"
    assert [root.findtext(f"*[@id='{name}']") for name in labelled] == ["A <title>", "What & why"]
    assert set(re.findall(r'id="([^"]+)"', shapes.svg(picture()))) == set(labelled)


def test_the_same_drawing_is_the_same_bytes_and_its_text_is_never_markup(tmp_path: Path) -> None:
    drawing = timeline.draw(record.read(sample_record.failed(tmp_path).folder))
    assert drawing is not None
    assert shapes.svg(drawing) == shapes.svg(drawing)
    drawing.label(5, 5, "</svg><script>alert(1)</script>")
    assert "<script" not in shapes.svg(drawing)


def test_a_page_names_no_part_of_two_charts_alike(tmp_path: Path) -> None:
    source = html.build(record.read(sample_record.sent_back(tmp_path).folder))
    assert source.count("<svg") == 2
    names = re.findall(r'\bid="([^"]+)"', source)
    assert len(names) == len(set(names))


def test_on_paper_it_is_vectors_in_the_fonts_that_are_given() -> None:
    stream = io.BytesIO()
    canvas = Canvas(stream, initialFontName="Courier")
    made = shapes.graphic(picture(), sans="Courier", bold="Courier-Bold", legible=str.upper, type_scale=0.5)
    renderPDF.draw(made, canvas, 0, 0)
    canvas.save()
    page = pypdf.PdfReader(stream).pages[0]
    assert page.extract_text().strip() == "50 % & MORE"
    fonts = {font["/BaseFont"] for font in page["/Resources"]["/Font"].values()}
    assert fonts == {"/Courier"}
    assert "/XObject" not in page["/Resources"]
