"""A document made fit to be kept: PDF/A-3b, with the record's machine-readable half inside of it.

Invariants: the same input gives the same bytes, dates and ids included; colours have the sRGB output intent; every
embedded file is associated with the document, with its media type and what it is.
Source: ISO 19005-3:2012 (6.2.3 output intent, 6.6.2 metadata, 6.8 embedded files); checked with veraPDF, `tox -e pdfa`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import pikepdf
from pikepdf import Array, Dictionary, Name, Pdf, String

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGNATURE_FIELD: Final = "RecordSignature"
"""The name of the empty field that a signature of the document fills."""
_PROFILE: Final = files("pikepdf") / "pdfa" / "data" / "sRGB.icc"
_UNKNOWN_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PRINTED: Final = 4
"""An annotation's flag: it is printed with the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file inside of the document."""

    name: str
    content: bytes
    description: str
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A rectangle on a page, in points from its lower left corner."""

    page: int
    """From 0."""
    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the document says of itself."""

    title: str
    subject: str
    author: str
    producer: str
    time: datetime | None
    """When what it tells of ended; None when unknown."""


def archived(
    content: bytes, about: About, attachments: Sequence[Attachment] = (), signature: Place | None = None
) -> bytes:
    """Return a PDF as PDF/A-3b. signature: where an empty field for one is wanted."""
    with Pdf.open(io.BytesIO(content)) as document:
        _set_output_intent(document)
        _describe(document, about)
        _print_annotations(document)
        document.Root.ViewerPreferences = Dictionary(DisplayDocTitle=True)
        document.Root.PageMode = Name.UseOutlines
        for attachment in attachments:
            _attach(document, attachment, about.time or _UNKNOWN_TIME)
        if signature is not None:
            _leave_room(document, signature)
        stream = io.BytesIO()
        document.save(
            stream,
            deterministic_id=True,
            fix_metadata_version=False,
            object_stream_mode=pikepdf.ObjectStreamMode.generate,
            force_version="1.7",
        )
    return stream.getvalue()


def _set_output_intent(document: Pdf) -> None:
    profile = document.make_stream(_PROFILE.read_bytes(), N=3, Alternate=Name.DeviceRGB)
    document.Root.OutputIntents = Array(
        [
            document.make_indirect(
                Dictionary(
                    Type=Name.OutputIntent,
                    S=Name.GTS_PDFA1,
                    OutputConditionIdentifier=String("sRGB"),
                    Info=String("sRGB IEC61966-2.1"),
                    RegistryName=String("http://www.color.org"),
                    DestOutputProfile=profile,
                )
            )
        ]
    )


def _print_annotations(document: Pdf) -> None:
    """Let every annotation be shown and printed, as 6.3.2 demands; here they are links."""
    for page in document.pages:
        for note in page.obj.get("/Annots", Array()):
            note.F = _PRINTED


def _describe(document: Pdf, about: About) -> None:
    """Write the document's properties, in XMP and, as older readers want them, beside it."""
    time = (about.time or _UNKNOWN_TIME).astimezone(UTC).replace(microsecond=0)
    with document.open_metadata(set_pikepdf_as_editor=False, update_docinfo=False) as metadata:
        metadata.load_from_docinfo({})
        metadata["dc:title"] = about.title
        metadata["dc:creator"] = [about.author]
        metadata["dc:description"] = about.subject
        metadata["dc:language"] = ["en"]
        metadata["pdf:Producer"] = about.producer
        metadata["xmp:CreatorTool"] = about.author
        for name in ("xmp:CreateDate", "xmp:ModifyDate", "xmp:MetadataDate"):
            metadata[name] = time.isoformat()
        metadata["pdfaid:part"] = "3"
        metadata["pdfaid:conformance"] = "B"
    stamp = String(time.strftime("D:%Y%m%d%H%M%S+00'00'"))
    document.trailer.Info = document.make_indirect(
        Dictionary(
            Title=String(about.title),
            Author=String(about.author),
            Subject=String(about.subject),
            Producer=String(about.producer),
            Creator=String(about.author),
            CreationDate=stamp,
            ModDate=stamp,
        )
    )


def _attach(document: Pdf, attachment: Attachment, time: datetime) -> None:
    spec = pikepdf.AttachedFileSpec(
        document,
        attachment.content,
        description=attachment.description,
        filename=attachment.name,
        mime_type=attachment.media_type,
        creation_date=time.strftime("D:%Y%m%d%H%M%S+00'00'"),
        mod_date=time.strftime("D:%Y%m%d%H%M%S+00'00'"),
        relationship=Name.Data,
    )
    document.attachments[attachment.name] = spec


def _leave_room(document: Pdf, place: Place) -> None:
    """Add an empty signature field with an empty appearance."""
    page = document.pages[place.page]
    box = [place.left, place.bottom, place.right, place.top]
    empty = document.make_stream(b"", Type=Name.XObject, Subtype=Name.Form, BBox=Array([0, 0, 1, 1]))
    field = document.make_indirect(
        Dictionary(
            Type=Name.Annot,
            Subtype=Name.Widget,
            FT=Name.Sig,
            T=String(SIGNATURE_FIELD),
            F=_PRINTED,
            P=page.obj,
            Rect=Array(box),
            AP=Dictionary(N=empty),
        )
    )
    notes = page.obj.get("/Annots", Array())
    notes.append(field)
    page.obj.Annots = notes
    document.Root.AcroForm = document.make_indirect(Dictionary(Fields=Array([field]), SigFlags=3))
