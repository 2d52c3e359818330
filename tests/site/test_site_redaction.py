"""No secret survives redaction, in whatever form it travels."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.site.redaction import MASK, Redactor

SECRET = "s3cr/et+pass word"


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"PGPASSWORD='{SECRET}'",
        f"postgresql://u:{quote(SECRET, safe='')}@host/db",
        base64.b64encode(SECRET.encode()).decode(),
        f"{SECRET}{SECRET}",
    ],
)
def test_known_secret_is_masked_in_each_form(text: str) -> None:
    shown = Redactor([SECRET]).redact(text)
    assert MASK in shown
    for form in (SECRET, quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode()):
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
        ("nothing secret", "nothing secret"),
    ],
)
def test_shapes(text: str, shown: str) -> None:
    assert Redactor().redact(text) == shown


def test_a_short_word_does_not_blank_ordinary_text() -> None:
    assert Redactor(["a", ""]).redact("a banana") == "a banana"


def test_a_secret_within_another_leaves_nothing_of_either() -> None:
    assert Redactor(["secret", "secretlonger"]).redact("secretlonger") == MASK


@given(secret=st.text(min_size=4, max_size=20), before=st.text(max_size=20), after=st.text(max_size=20))
def test_redacting_twice_changes_nothing(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    once = redactor.redact(before + secret + after)
    if secret not in MASK:
        assert redactor.redact(once) == once
