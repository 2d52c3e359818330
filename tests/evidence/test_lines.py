"""The fast reading of a line: what `Line.decode` reads, or a refusal, whatever the line."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.evidence import _lines
from cutover.evidence.errors import EvidenceError
from cutover.evidence.snapshot import FIELDS, Line

Text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ('"', "\\", "\x00", "\x7f", "é")
)
Number = st.integers(-(2**70), 2**70)
Lines = st.builds(
    Line,
    id=Text,
    kind=Text,
    media_type=Text,
    size_bytes=st.none() | Number,
    sha256=st.none() | Text,
    declared_size_bytes=Number,
    declared_sha256=Text,
    declared_signer_key_id=st.none() | Text,
    signer_key_ids=st.lists(Text, max_size=3).map(tuple),
    leaf_index=Number,
    log_index=Number,
    created=Text,
)
LINE = Line(
    id="ev-1",
    kind="sbom",
    media_type="application/json",
    size_bytes=1,
    sha256="0" * 64,
    declared_size_bytes=1,
    declared_sha256="0" * 64,
    declared_signer_key_id=None,
    signer_key_ids=("a",),
    leaf_index=0,
    log_index=1,
    created="2027-04-01T08:00:00.000000Z",
)
facts_of = attrgetter(*_lines.Facts._fields)


@given(Lines)
def test_facts_are_the_lines_own(line: Line):
    raw = line.encode()
    assert _lines.facts(raw) == facts_of(Line.decode(raw)) == facts_of(line)


@given(Lines)
def test_another_spelling_of_a_line_says_the_same(line: Line):
    """Escaped, spaced, in another order: the slow way reads it."""
    fields = json.loads(line.encode())
    raw = json.dumps({name: fields[name] for name in reversed(FIELDS)}, indent=1).encode()
    assert _lines.facts(raw) == facts_of(line)


RAW = LINE.encode()


@given(st.integers(0, len(RAW) - 1), st.binary(max_size=2), st.integers(0, 3))
def test_mutated_lines_are_read_as_before_or_refused(position: int, inserted: bytes, dropped: int):
    raw = RAW[:position] + inserted + RAW[position + dropped :]
    with suppress(EvidenceError):
        found = _lines.facts(raw)
        assert found == facts_of(Line.decode(raw))


def test_a_line_as_written_is_read_fast():
    assert _lines._usual(RAW) is not None
    assert _lines._usual(replace(LINE, id='"').encode()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"id": 1},
        {"id": None},
        {"id": "\ud800"},
        {"kind": ["sbom"]},
        {"declared_sha256": None},
        {"declared_size_bytes": 1.0},
        {"leaf_index": True},
        {"leaf_index": "0"},
        {"log_index": None},
        {"created": {}},
        {"signer_key_ids": None},
        {"more": 1},
    ],
)
def test_a_value_that_no_line_has_is_refused(change: dict[str, object]):
    raw = json.dumps(json.loads(RAW) | change, separators=(",", ":")).encode()
    with pytest.raises(EvidenceError) as refused:
        _lines.facts(raw)
    assert refused.value.code == "snapshot-malformed"


@pytest.mark.parametrize("raw", [b"", b"\n", b"[]", b"1", b"null", b"{}", b"\xff", b"[" * 100_000, RAW + RAW, RAW[:-2]])
def test_what_is_no_line_is_refused(raw: bytes):
    with pytest.raises(EvidenceError) as refused:
        _lines.facts(raw)
    assert refused.value.code == "snapshot-malformed"
