"""The table of codes: every code is used, every code used is in the table, and each says what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cutover import evidence
from cutover.evidence.errors import CODES, EvidenceError, Finding, shown

SOURCES = {path.name: path.read_text() for path in Path(evidence.__path__[0]).glob("*.py")}
QUOTED = re.compile(r'"([a-z]+(?:-[a-z0-9]+)+)"')


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_used_and_has_a_remedy_of_one_line(code: str):
    assert any(f'"{code}"' in text for name, text in SOURCES.items() if name != "errors.py")
    assert CODES[code]
    assert "\n" not in CODES[code]


def test_every_code_in_use_is_in_the_table():
    """Whatever is quoted with a hyphen is a code, or a kind of evidence."""
    used = {word for name, text in SOURCES.items() if name != "errors.py" for word in QUOTED.findall(text)}
    assert used - CODES.keys() <= {"oci-manifest", "oci-layout", "utf-8"}


def test_a_refusal_and_its_finding_say_the_same():
    error = EvidenceError("content-changed", "ev-1", expected=b"\x01", actual="x")
    found = error.finding()
    assert found == Finding.of("content-changed", "ev-1", expected="01", actual="x")
    assert found.as_json()["remedy"] == error.remedy == CODES["content-changed"]
    assert str(error) == "content-changed: ev-1: expected 01, found x"
    assert error.finding("ev-2").item == "ev-2"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"\x00\xff", "00ff"),
        ("a\nb\x1b[0m", "a\\nb\\x1b[0m"),
        ("\ud800", "\\ud800"),
        (10**5000, "a number of 16610 bits"),
        ("x" * 300, "x" * 200 + "… (300 characters)"),
    ],
    ids=["bytes", "control characters", "surrogate", "huge number", "long text"],
)
def test_values_are_shown_on_one_printable_line(value: object, text: str):
    """What an attacker wrote into a field reaches terminals and reports."""
    assert shown(value) == text
