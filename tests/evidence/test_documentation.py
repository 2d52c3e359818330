"""The guide to evidence: its examples run, and its table of codes leaves none out."""

from __future__ import annotations

import re
from pathlib import Path

from cutover.evidence.errors import CODES
from tests.evidence.world import trust_file

GUIDE = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text()


def test_the_examples_run(tmp_path: Path):
    """In the reader's order, in one namespace, beside a trust root."""
    (tmp_path / "trust.json").write_bytes(trust_file())
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, object] = {"folder": tmp_path, "__name__": "guide"}
    for block in blocks:
        exec(compile(block, "docs/evidence.md", "exec"), names)  # noqa: S102 - the project's own guide


def test_every_code_has_a_line_in_the_table():
    beginnings = set(re.findall(r"`([a-z]+-)`", GUIDE))
    assert {f"{code.partition('-')[0]}-" for code in CODES} == beginnings
