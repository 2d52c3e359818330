"""A secret in a record is found, in whatever form and file; what is reported never says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cutover.redaction import forms
from cutover.runbook import leaks
from cutover.runbook.leaks import Leak

if TYPE_CHECKING:
    from pathlib import Path

CANARY = 'canary/of "this" test'
SECRETS = {CANARY: "store.secret_key", "another-one": "database.dsn", "abc": "too.short"}


@pytest.mark.parametrize("form", sorted(forms(CANARY)))
def test_every_form_is_found_and_none_is_repeated(tmp_path: Path, form: str) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "a.txt").write_text(f"before {form} after", "utf-8")
    (tmp_path / "b.txt").write_text("nothing, abc", "utf-8")
    found = leaks.find(tmp_path, SECRETS)
    assert found == (Leak(path="artifacts/a.txt", kind="store.secret_key"),)
    assert not any(form in str(found) for form in forms(CANARY))


@pytest.mark.parametrize("shift", [0, 1, 5, 10])
def test_a_secret_across_two_reads_is_found(tmp_path: Path, shift: int) -> None:
    before = "x" * (leaks._CHUNK_BYTES - shift)
    (tmp_path / "a.txt").write_text(before + "another-one", "utf-8")
    assert [leak.kind for leak in leaks.find(tmp_path, SECRETS)] == ["database.dsn"]


def test_what_is_no_text_and_what_is_empty_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\0another-one")
    (tmp_path / "empty").write_bytes(b"")
    assert leaks.find(tmp_path, SECRETS) == ()
    assert leaks.find(tmp_path, {}) == ()
