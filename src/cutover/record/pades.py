"""A signature inside of a PDF: made with the record's key, examined as any reader of PDF would, offline.

Invariants: the unsigned document is the beginning of the signed one, byte for byte; the signature covers all of the
file and certifies that nothing may be changed after it; what is signed with a key is accepted by `examine` with the
trust root that names the key's authority; no network but the timestamping authority's that the caller names.
Source: ETSI EN 319 142-1 (PAdES baseline: B-B, with a timestamp B-T), ISO 32000-1 12.8.2.2 (DocMDP), RFC 3161.
"""

from __future__ import annotations

import asyncio
import io
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from asn1crypto import keys
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import serialization
from pyhanko.pdf_utils.content import PdfContent
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.layout import AxisAlignment, BoxConstraints, Margins, SimpleBoxLayoutRule
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import signers
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter, enumerate_sig_fields
from pyhanko.sign.general import SigningError
from pyhanko.sign.timestamps import TimestampRequestError
from pyhanko.sign.timestamps.requests_client import RequestsHTTPTimeStamper
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko.sign.validation.status import PdfSignatureStatus, SignatureCoverageLevel
from pyhanko.stamp.static import StaticStampStyle
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

from cutover.errors import CouldNotMeasure, WrongInput

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cryptography import x509
    from pyhanko.pdf_utils.writer import BasePdfFileWriter
    from pyhanko.sign.signers.pdf_signer import PdfSigningSession
    from pyhanko.sign.timestamps import TimeStamper
    from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature

    from cutover.record.keys import SigningKey, TrustRoot

FIELD: Final = "RecordSignature"
"""The field that is filled; it is made, invisible, where the document has none of this name."""
PROFILES: Final = ("PAdES-B-B", "PAdES-B-T")
_TIMESTAMP_S: Final = 10
_DIGEST: Final = "sha256"

logging.getLogger("pyhanko").setLevel(logging.CRITICAL)
logging.getLogger("pyhanko_certvalidator").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a document's signature says, and what speaks against it."""

    problems: tuple[str, ...]
    """Empty when a reader who holds the trust root may believe all of the rest."""
    name: str = ""
    """Of the signer, as the certificate has it."""
    meaning: str = ""
    """Why it was signed, in the signer's words."""
    time: datetime | None = None
    """When, as the signer says."""
    timestamp: datetime | None = None
    """When at the latest, as the timestamping authority says; None without one, or when it cannot be believed."""
    authority: str = ""
    """Who vouches for the timestamp."""
    covers_all: bool = False
    """The signature covers every byte of the file but its own."""
    certifies: bool = False
    """It allows no change at all after it."""

    @property
    def profile(self) -> str:
        """The baseline profile that it keeps."""
        return PROFILES[self.timestamp is not None]


# -- signing -----------------------------------------------------------------------------------------------------------


class _Page(PdfContent):
    """The first page of another document as a stamp's content; that page brings its fonts with it."""

    def __init__(self, document: bytes) -> None:
        super().__init__()
        self._document = document

    def render(self) -> bytes:
        """Take the page over and return the command that paints it."""
        writer: BasePdfFileWriter = self._ensure_writer
        page = writer.import_page_as_xobject(PdfFileReader(io.BytesIO(self._document)))
        self.resources.xobject["/RecordStamp"] = page
        left, low, right, high = (float(edge) for edge in page.get_object()["/BBox"])
        self.box = BoxConstraints(width=right - left, height=high - low)
        return b"/RecordStamp Do"


class _Signer(signers.PdfSigner):
    """Signs at the moment that the caller names, which the visible block shows too."""

    def __init__(self, *, at: datetime, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]  # passed on as they are
        self._at = at

    def init_signing_session(
        self,
        pdf_out: BasePdfFileWriter,
        existing_fields_only: bool = False,  # noqa: FBT002  # as it is there
    ) -> PdfSigningSession:
        """Begin, at that moment."""
        session = super().init_signing_session(pdf_out, existing_fields_only)
        session.system_time = self._at
        return session


def sign(
    document: bytes, key: SigningKey, *, meaning: str, now: datetime, appearance: bytes = b"", timestamp_url: str = ""
) -> bytes:
    """Return the document signed and certified.

    appearance: one page in PDF, painted into the document's signature field, where it has one.
    timestamp_url: a timestamping authority (RFC 3161); empty for a signature without one.

    Raises:
        CouldNotMeasure: `timestamp-absent`, the authority did not answer as it should.
        WrongInput: `pdf-unsignable`, the document cannot be signed.
    """
    settings = signers.PdfSignatureMetadata(
        field_name=FIELD,
        md_algorithm=_DIGEST,
        name=key.name,
        reason=meaning,
        certify=True,
        docmdp_permissions=MDPPerm.NO_CHANGES,
        subfilter=SigSeedSubFilter.PADES,
    )
    stamp = StaticStampStyle(border_width=0, background=_Page(appearance), background_layout=_WHOLE)
    signer = _Signer(
        at=now,
        signature_meta=settings,
        signer=_of(key),
        timestamper=_timestamper(timestamp_url),
        stamp_style=stamp if appearance else None,
    )
    try:
        writer = IncrementalPdfFileWriter(io.BytesIO(document))
        output = io.BytesIO()
        signer.sign_pdf(writer, output=output)
    except TimestampRequestError as problem:
        raise CouldNotMeasure(
            f"the timestamping authority {timestamp_url} gave no timestamp",
            code="timestamp-absent",
            seen=f"{problem.__cause__ or problem}",
            do="check [signing] timestamp_url of the target, then ./cutover report RECORD --key KEY",
        ) from problem
    except (PdfError, SigningError, ValueError, KeyError) as problem:
        raise WrongInput("the document cannot be signed", code="pdf-unsignable", seen=str(problem)) from problem
    return output.getvalue()


_WHOLE: Final = SimpleBoxLayoutRule(x_align=AxisAlignment.ALIGN_MIN, y_align=AxisAlignment.ALIGN_MIN, margins=Margins())


def _timestamper(url: str) -> TimeStamper | None:
    return RequestsHTTPTimeStamper(url, timeout=_TIMESTAMP_S) if url else None  # type: ignore[no-untyped-call]


def _of(key: SigningKey) -> signers.SimpleSigner:
    private = key.private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    store = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    store.register_multiple(_asn1(key.chain))
    certificate = next(iter(_asn1([key.certificate])))
    return signers.SimpleSigner(
        signing_cert=certificate, signing_key=keys.PrivateKeyInfo.load(private), cert_registry=store
    )


def _asn1(certificates: Iterable[x509.Certificate]) -> list[asn1_x509.Certificate]:
    return [asn1_x509.Certificate.load(one.public_bytes(serialization.Encoding.DER)) for one in certificates]


# -- examining ---------------------------------------------------------------------------------------------------------


def is_signed(document: bytes) -> bool:
    """Say whether a document carries a signature, good or bad."""
    try:
        return bool(PdfFileReader(io.BytesIO(document)).embedded_signatures)
    except Exception:  # noqa: BLE001  # a damaged document fails in many ways
        return False


def examine(document: bytes, trust: TrustRoot, *, now: datetime) -> Signature:
    """Return what the document's signature says; whatever is wrong with it is in `problems`, nothing is raised."""
    try:
        return asyncio.run(_examined(document, trust, now))
    except Exception as problem:  # noqa: BLE001  # a damaged document fails in many ways, and is somebody else's
        first = str(problem).partition("\n")[0]
        return Signature(problems=(f"the document or its signature cannot be read: {type(problem).__name__}: {first}",))


async def _examined(document: bytes, trust: TrustRoot, now: datetime) -> Signature:
    reader = PdfFileReader(io.BytesIO(document))
    embedded = reader.embedded_signatures
    if not embedded:
        return Signature(problems=("the document carries no signature",))
    if len(embedded) > 1:
        return Signature(problems=(f"the document carries {len(embedded)} signatures, not one",))
    status = await _status(embedded[0], trust, now)
    stamped = status.timestamp_validity
    at = stamped.timestamp if stamped is not None and stamped.valid and stamped.trusted else None
    if not status.trusted and at is not None:
        # The certificate may have ended since: what counts is whether it held when the timestamp was given.
        status = await _status(PdfFileReader(io.BytesIO(document)).embedded_signatures[0], trust, at, stamps=now)
    words = embedded[0].sig_object
    covers_all = status.coverage == SignatureCoverageLevel.ENTIRE_FILE
    permission = embedded[0].docmdp_level
    is_whole = status.intact and status.valid
    problems = [
        (not is_whole, "the document is not the one that was signed"),
        (not covers_all, "the signature does not cover the whole file"),
        (is_whole and not status.trusted, "the signer's certificate leads to no authority of the trust root"),
        (permission is not MDPPerm.NO_CHANGES, "the signature does not certify the document against every change"),
        (stamped is not None and at is None, "its timestamp does not hold, or is of an authority that is not trusted"),
        (words.get("/SubFilter") != "/ETSI.CAdES.detached", "the signature is not of PAdES"),
        (_first_field(reader) != FIELD, f"the signature is in another field than {FIELD}"),
    ]
    return Signature(
        problems=tuple(text for is_so, text in problems if is_so),
        name=_name(status.signing_cert),
        meaning=str(words.get("/Reason", "")),
        time=status.signer_reported_dt or embedded[0].self_reported_timestamp,
        timestamp=at,
        authority=_name(stamped.signing_cert) if stamped is not None and at is not None else "",
        covers_all=covers_all,
        certifies=permission is MDPPerm.NO_CHANGES,
    )


async def _status(
    embedded: EmbeddedPdfSignature, trust: TrustRoot, moment: datetime, *, stamps: datetime | None = None
) -> PdfSignatureStatus:
    """Return what pyHanko says; moment: at which the signer's certificate must hold, and stamps the authority's."""
    return await async_validate_pdf_signature(
        embedded,
        signer_validation_context=_context(trust.certificates, moment),
        ts_validation_context=_context(trust.timestamping, stamps or moment),
    )


def _context(authorities: Iterable[x509.Certificate], moment: datetime) -> ValidationContext:
    """Return the rules of a reader without a network: an authority of ours publishes no list of what it took back."""
    return ValidationContext(
        trust_roots=_asn1(authorities), allow_fetching=False, revocation_mode="soft-fail", moment=moment
    )


def _first_field(reader: PdfFileReader) -> str:
    return next((str(name) for name, _value, _field in enumerate_sig_fields(reader, filled_status=True)), "")


def _name(certificate: asn1_x509.Certificate) -> str:
    common = certificate.subject.native.get("common_name")
    return str(common[0] if isinstance(common, list) else common or certificate.subject.human_friendly)
