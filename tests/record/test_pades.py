"""Signatures inside of a PDF: made, timestamped over HTTP, believed, and not believed once anything is changed."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pikepdf
import pytest
from cryptography import x509
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

from cutover.errors import CouldNotMeasure, WrongInput
from cutover.record import pades
from cutover.record.keys import VALID, SigningKey
from rehearsal.environment import pki, timestamps

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime.now(UTC).replace(microsecond=0)
MEANING = "Author of this record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A timestamping authority that answers."""

    url: str
    certificate: x509.Certificate


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.make("Release engineering")


@pytest.fixture(scope="module")
def document() -> bytes:
    stream = io.BytesIO()
    with pikepdf.new() as made:
        made.add_blank_page(page_size=(300, 200))
        made.save(stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    folder = tmp_path_factory.mktemp("authority")
    paths = [folder / name for name in pki.TIMESTAMPING]
    for path, content in zip(paths, pki.timestamping_authority(), strict=True):
        path.write_bytes(content)
    serving = timestamps.server(timestamps.authority(*paths), ("127.0.0.1", 0))
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    try:
        yield Authority(
            url=f"http://127.0.0.1:{serving.server_port}/",
            certificate=x509.load_der_x509_certificate(paths[0].read_bytes()),
        )
    finally:
        serving.shutdown()
        thread.join()
        serving.server_close()


def signed(document: bytes, key: SigningKey, **settings: str) -> bytes:
    return pades.sign(document, key, meaning=MEANING, now=NOW, **settings)


def test_a_signature_says_who_when_and_why_and_covers_all(document: bytes, key: SigningKey) -> None:
    found = pades.examine(signed(document, key), key.trust_root(), now=NOW)
    assert found.problems == ()
    assert (found.name, found.meaning, found.time) == ("Release engineering", MEANING, NOW)
    assert found.covers_all
    assert found.certifies
    assert found.profile == "PAdES-B-B"
    assert found.timestamp is None


def test_the_unsigned_document_is_the_beginning_of_the_signed_one(document: bytes, key: SigningKey) -> None:
    assert signed(document, key).startswith(document)
    assert not pades.is_signed(document)
    assert pades.is_signed(signed(document, key))


def test_an_authority_says_when(document: bytes, key: SigningKey, authority: Authority) -> None:
    content = signed(document, key, timestamp_url=authority.url)
    trust = key.trust_root().with_timestamping(authority.certificate)
    found = pades.examine(content, trust, now=NOW)
    assert found.problems == ()
    assert found.profile == "PAdES-B-T"
    assert found.timestamp is not None
    assert abs(found.timestamp - datetime.now(UTC)) < timedelta(minutes=10)
    assert found.authority == "embedded-timestamps, rehearsal only"


def test_a_timestamp_of_a_stranger_is_not_believed(document: bytes, key: SigningKey, authority: Authority) -> None:
    found = pades.examine(signed(document, key, timestamp_url=authority.url), key.trust_root(), now=NOW)
    assert found.problems == ("its timestamp does not hold, or is of an authority that is not trusted",)
    assert found.timestamp is None


def test_an_authority_that_is_not_there_is_named(document: bytes, key: SigningKey) -> None:
    with pytest.raises(CouldNotMeasure) as caught:
        signed(document, key, timestamp_url="http://127.0.0.1:9/")
    assert caught.value.code == "timestamp-absent"
    assert "http://127.0.0.1:9/" in str(caught.value)


@pytest.mark.parametrize("kind", [timestamps.QUERY, "text/plain"])
def test_an_authority_gives_nothing_to_what_is_no_request(authority: Authority, kind: str) -> None:
    said = httpx.post(authority.url, content=b"junk", headers={"Content-Type": kind})
    assert said.status_code == httpx.codes.BAD_REQUEST
    assert said.headers["Content-Type"] == "text/plain"


def test_a_certificate_that_has_ended_holds_when_a_timestamp_was_given_before(
    document: bytes, key: SigningKey, authority: Authority
) -> None:
    short = SigningKey.make("Release engineering", now=NOW - VALID + timedelta(hours=2))
    trust = short.trust_root().with_timestamping(authority.certificate)
    later = NOW + timedelta(days=30)
    assert short.certificate.not_valid_after_utc < later < key.certificate.not_valid_after_utc
    assert pades.examine(signed(document, short, timestamp_url=authority.url), trust, now=later).problems == ()
    assert any(
        "no authority" in problem for problem in pades.examine(signed(document, short), trust, now=later).problems
    )


def test_another_authority_is_not_believed(document: bytes, key: SigningKey) -> None:
    stranger = SigningKey.make("Release engineering")
    found = pades.examine(signed(document, stranger), key.trust_root(), now=NOW)
    assert found.problems == ("the signer's certificate leads to no authority of the trust root",)


@pytest.mark.parametrize("at", [20, 200, 400])
def test_a_changed_bit_is_found(document: bytes, key: SigningKey, at: int) -> None:
    content = bytearray(signed(document, key))
    content[at] ^= 1
    assert pades.examine(bytes(content), key.trust_root(), now=NOW).problems


def test_what_is_added_or_cut_off_is_found(document: bytes, key: SigningKey) -> None:
    content = signed(document, key)
    added = pades.examine(content + b"% more\n", key.trust_root(), now=NOW)
    assert "the signature does not cover the whole file" in added.problems
    assert pades.examine(content[:-40], key.trust_root(), now=NOW).problems


def test_a_later_change_that_a_reader_would_show_is_found(document: bytes, key: SigningKey) -> None:
    writer = IncrementalPdfFileWriter(io.BytesIO(signed(document, key)))
    writer.root["/PageMode"] = generic.NameObject("/FullScreen")
    writer.update_root()
    stream = io.BytesIO()
    writer.write(stream)
    assert pades.examine(stream.getvalue(), key.trust_root(), now=NOW).problems


@pytest.mark.parametrize("content", [b"", b"junk", b"%PDF-1.7\n"])
def test_what_is_no_document_is_a_problem_and_no_crash(content: bytes, key: SigningKey) -> None:
    assert pades.examine(content, key.trust_root(), now=NOW).problems
    assert not pades.is_signed(content)
    with pytest.raises(WrongInput):
        signed(content, key)


def test_an_unsigned_document_says_so(document: bytes, key: SigningKey) -> None:
    assert pades.examine(document, key.trust_root(), now=NOW).problems == ("the document carries no signature",)


def test_a_second_signature_is_refused(document: bytes, key: SigningKey) -> None:
    with pytest.raises(WrongInput):
        signed(signed(document, key), key)
