"""No secret survives redaction, in whatever form it travels."""

from __future__ import annotations

import base64
import html
import json
import shlex
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.sax import saxutils

import markupsafe
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.redaction import MASK, Redactor, forms

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "s3cr/et+pass word"


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"PGPASSWORD='{SECRET}'",
        f"postgresql://u:{quote(SECRET, safe='')}@host/db",
        base64.b64encode(SECRET.encode()).decode(),
        f"{SECRET}{SECRET}",
        json.dumps({"password": "s3cr/et+pass word"}),
        base64.b64encode(f"postgresql://u:{SECRET}@h/d".encode()).decode(),
        base64.b64encode(f"postgresql://us:{SECRET}@h/d".encode()).decode(),
        base64.urlsafe_b64encode(f"u:{SECRET}".encode()).decode(),
        SECRET.encode().hex(),
        f"0x{SECRET.encode().hex().upper()}",
        quote(SECRET, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
    ],
)
def test_known_secret_is_masked_in_each_form(text: str) -> None:
    shown = Redactor([SECRET]).redact(text)
    assert MASK in shown
    for form in (SECRET, quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode(), *forms(SECRET)):
        assert form not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:unknown@cache:6379/0", f"redis://:{MASK}@cache:6379/0"),
        ("postgresql://u:unknown@h/d", f"postgresql://u:{MASK}@h/d"),
        ("http://host:8080/path@x", "http://host:8080/path@x"),
        ("-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----", MASK),
        ('"-----BEGIN PRIVATE KEY-----\\nabc\\n-----END PRIVATE KEY-----\\n"', f'"{MASK}\\n"'),
        ("-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----",) * 2,
        ("AGE-SECRET-KEY-1QQQQ rest", f"{MASK} rest"),
        ("host=db password=unknown dbname=d", f"host=db password={MASK} dbname=d"),
        ("redis://cache/0?password=unknown&db=1", f"redis://cache/0?password={MASK}&db=1"),
        ("nothing secret", "nothing secret"),
    ],
)
def test_shapes(text: str, shown: str) -> None:
    assert Redactor().redact(text) == shown


def test_a_short_word_does_not_blank_ordinary_text() -> None:
    assert Redactor(["a", ""]).redact("a banana") == "a banana"


def test_what_a_text_escapes_is_known_as_well() -> None:
    secret = 'quo"te\\back\nline'
    for text in (secret, json.dumps(secret), base64.b64encode(f"x{secret}".encode()).decode()):
        shown = Redactor([secret]).redact(text)
        assert MASK in shown
        assert not any(form in shown for form in forms(secret))


@pytest.mark.parametrize(
    "written",
    [
        html.escape,
        lambda secret: str(markupsafe.escape(secret)),
        lambda secret: shlex.quote(f"x{secret}"),
        lambda secret: secret.replace("'", "''"),
        lambda secret: repr(f"{secret}"),
        saxutils.escape,
    ],
)
def test_what_a_page_a_shell_and_a_statement_make_of_it_is_known_too(written: Callable[[str], str]) -> None:
    secret = """it's <a> & "b" of it"""
    shown = Redactor([secret]).redact(written(secret))
    assert MASK in shown
    assert "of it" not in shown


def test_a_short_secret_masks_no_digest() -> None:
    digest = "ab12" * 16
    assert Redactor([bytes.fromhex("ab12ab12").decode("latin-1")]).redact(digest) == digest
    assert Redactor(["word"]).redact(b"word".hex() * 8) == b"word".hex() * 8


def test_every_text_of_a_document_is_redacted() -> None:
    document = {"a": ["hunter22", 1, None, {"hunter22": True}]}
    assert Redactor(["hunter22"]).redact_all(document) == {"a": [MASK, 1, None, {MASK: True}]}


def test_a_secret_within_another_leaves_nothing_of_either() -> None:
    assert Redactor(["secret", "secretlonger"]).redact("secretlonger") == MASK


@given(secret=st.text(min_size=4, max_size=20), before=st.text(max_size=20), after=st.text(max_size=20))
def test_redacting_twice_changes_nothing(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    once = redactor.redact(before + secret + after)
    if secret not in MASK:
        assert redactor.redact(once) == once
