"""The text of PDF documents, as a person's reader shows it."""

from __future__ import annotations

_BROKEN_AT = str.maketrans({"\x02": "-", "\ufffe": "-"})
"""What PDFium gives in the place of a hyphen at the end of a line."""


def pages(content: bytes) -> list[str]:
    """Return the text of each page of a document. Raises ValueError when it is none that can be read."""
    import pypdfium2  # noqa: PLC0415  # only where there is a document

    try:
        with pypdfium2.PdfDocument(content) as document:
            return [page.get_textpage().get_text_bounded().translate(_BROKEN_AT) for page in document]
    except pypdfium2.PdfiumError as error:
        raise ValueError(str(error)) from error
