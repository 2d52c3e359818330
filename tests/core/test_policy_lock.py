"""How a policy locks its site, and how long it lets anything wait for a lock in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cutover import project
from cutover.errors import PolicyInvalid
from cutover.policy import Locking, Policy

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = (project.CONTRACT / "examples" / "policy.toml").read_text(encoding="utf-8")


def policy_with(folder: Path, *, lock: str = "", limits: str = "") -> Policy:
    path = folder / "policy.toml"
    text = EXAMPLE.replace("[limits]\n", f"[limits]\n{limits}\n").replace("[lock]\n", f"{lock}\n")
    path.write_text(text, encoding="utf-8")
    return Policy.read(path)


@pytest.mark.parametrize(
    ("text", "lock"),
    [
        ("", Locking(duration_s=15, renew_s=5)),
        ("[lock]", Locking(duration_s=15, renew_s=5)),
        ("[lock]\nduration_s = 4\nrenew_s = 1", Locking(duration_s=4, renew_s=1)),
        ("[lock]\nduration_s = 10", Locking(duration_s=10, renew_s=5)),
    ],
)
def test_how_long_a_lock_lasts(tmp_path: Path, text: str, lock: Locking) -> None:
    assert policy_with(tmp_path, lock=text).lock == lock


@pytest.mark.parametrize(
    "text",
    [
        "[lock]\nduration_s = 9.9",
        "[lock]\nrenew_s = 8",
        "[lock]\nduration_s = 0.5\nrenew_s = 0.1",
        "[lock]\nrenew_s = 0",
        "[lock]\nrenew_s = -1",
        '[lock]\nduration_s = "long"',
        "[lock]\nname = 1",
    ],
)
def test_a_lock_that_one_lost_renewal_loses_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(PolicyInvalid):
        policy_with(tmp_path, lock=text)


@pytest.mark.parametrize(("line", "wait_s"), [("", 3), ("lock_wait_s = 0.5", 0.5)])
def test_how_long_anything_waits_in_the_database(tmp_path: Path, line: str, wait_s: float) -> None:
    assert policy_with(tmp_path, limits=line).limits.lock_wait_s == wait_s


@pytest.mark.parametrize("value", ["0", "-1", '"long"'])
def test_no_wait_at_all_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(PolicyInvalid):
        policy_with(tmp_path, limits=f"lock_wait_s = {value}")
