"""SBOMs: bytes decide, the canonical form explains."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.evidence import sbom
from cutover.evidence.errors import EvidenceError

BEFORE = b'{"components": [{"name": "a", "version": "1"}, {"name": "b"}], "a/b": 1}'


@pytest.mark.parametrize(
    ("after", "explanation", "differences"),
    [
        (BEFORE, "identical", ()),
        (BEFORE.replace(b" ", b""), "same content, other bytes", ()),
        (BEFORE.replace(b'"version": "1"', b'"version": "2"'), "other content", ("/components/0/version",)),
        (BEFORE.replace(b', {"name": "b"}', b""), "other content", ("/components/1",)),
        (BEFORE.replace(b', "a/b": 1', b""), "other content", ("/a~1b",)),
        (b"[]", "other content", ("/",)),
        (b"<bom/>", "other bytes", ()),
        (b"[" * 100_000, "other bytes", ()),
    ],
)
def test_explanations(after: bytes, explanation: str, differences: tuple[str, ...]):
    result = sbom.compare(BEFORE, after)
    assert result.same == (after == BEFORE)
    assert result.explanation.startswith(explanation)
    assert result.differences == differences


def test_the_same_content_in_other_bytes_is_refused():
    """An SBOM written again is another SBOM: signatures and leaves are over its bytes."""
    with pytest.raises(EvidenceError, match="same content, other bytes") as refused:
        sbom.verify(BEFORE, BEFORE + b"\n", item="ev-1")
    assert (refused.value.code, refused.value.item) == ("content-changed", "ev-1")
    sbom.verify(BEFORE, BEFORE)


@given(st.binary(), st.binary())
def test_any_bytes_have_an_answer(before: bytes, after: bytes):
    assert sbom.compare(before, after).same == (before == after)
