"""The limits of a policy that have a default."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cutover import project
from cutover.errors import PolicyInvalid
from cutover.policy import Policy

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = (project.CONTRACT / "examples" / "policy.toml").read_text(encoding="utf-8")


def policy_with(folder: Path, line: str) -> Policy:
    path = folder / "policy.toml"
    path.write_text(EXAMPLE.replace("[limits]\n", f"[limits]\n{line}\n"), encoding="utf-8")
    return Policy.read(path)


@pytest.mark.parametrize(("line", "days"), [("", 365), ("archive_retention_days = 30", 30)])
def test_how_long_the_archive_keeps(tmp_path: Path, line: str, days: int) -> None:
    assert policy_with(tmp_path, line).limits.archive_retention_days == days


@pytest.mark.parametrize("value", ["0", "-1", "40000", '"long"'])
def test_a_retention_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(PolicyInvalid, match=r"."):
        policy_with(tmp_path, f"archive_retention_days = {value}")
