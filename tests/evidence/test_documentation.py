"""The guide to evidence: its examples run, and its table of codes leaves none out."""

from __future__ import annotations

import json
import re
from pathlib import Path

from cutover.evidence.errors import CODES
from tests.evidence import sigstore_instance
from tests.evidence.world import trust_file

GUIDE = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text()


def test_the_examples_run(tmp_path: Path):
    """In the reader's order, in one namespace, beside the files that a reader would have."""
    (tmp_path / "trust.json").write_bytes(trust_file())
    instance = sigstore_instance.Instance()
    (tmp_path / "trusted_root.json").write_bytes(instance.trusted_root())
    (tmp_path / "release.bin").write_bytes(sigstore_instance.ARTIFACT)
    (tmp_path / "release.sigstore.json").write_text(json.dumps(instance.hashedrekord_2()))
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, object] = {"folder": tmp_path, "__name__": "guide"}
    for block in blocks:
        exec(compile(block, "docs/evidence.md", "exec"), names)  # noqa: S102 - the project's own guide


def test_every_code_has_a_line_in_the_table():
    beginnings = set(re.findall(r"`([a-z]+-)`", GUIDE))
    assert {f"{code.partition('-')[0]}-" for code in CODES} == beginnings
