"""The compatibility matrix allows one release at a time, and says why it refuses anything else."""

import pytest

from rehearsal.platform.core import migrations
from rehearsal.platform.stella import compatibility


@pytest.mark.parametrize(
    ("origin", "target", "allowed", "path", "reason"),
    [
        ("2026.Q4", "2027.Q1", True, ("2026.Q4", "2027.Q1"), "follows"),
        ("2027.Q1", "2027.Q2", True, ("2027.Q1", "2027.Q2"), "follows"),
        ("2027.Q2", "2027.Q3", True, ("2027.Q2", "2027.Q3"), "follows"),
        ("2027.Q3", "2027.Q4", True, ("2027.Q3", "2027.Q4"), "follows"),
        ("2027.Q1", "2027.Q3", False, ("2027.Q1", "2027.Q2", "2027.Q3"), "skips 2027.Q2"),
        ("2026.Q4", "2027.Q3", False, ("2026.Q4", "2027.Q1", "2027.Q2", "2027.Q3"), "skips 2027.Q1, 2027.Q2"),
        ("2027.Q2", "2027.Q2", False, ("2027.Q2",), "runs 2027.Q2 already"),
        ("2027.Q2", "2027.Q1", False, (), "rollback"),
        ("2027.Q2", "2028.Q1", False, (), "does not know"),
        ("latest", "2027.Q2", False, (), "does not know"),
    ],
)
def test_a_release_follows_only_the_one_before(
    origin: str, target: str, *, allowed: bool, path: tuple[str, ...], reason: str
):
    verdict = compatibility.check(origin, target)
    assert (verdict.allowed, verdict.path) == (allowed, path)
    assert reason in verdict.reason


def test_newer_is_decided_by_the_matrix_and_not_by_the_name():
    assert compatibility.is_newer("2027.Q2", "2027.Q1")
    assert not compatibility.is_newer("2027.Q1", "2027.Q1")
    assert not compatibility.is_newer("2099.Q1", "2027.Q1")


def test_the_client_knows_every_migration_of_its_release():
    assert migrations.RELEASES[-1] == compatibility.CLIENT
