"""What a broken-off attempt left: known from the journal, removed once, and never more than that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import CouldNotMeasure
from cutover.procedures import leftovers
from cutover.procedures.leftovers import SCRATCH_DATABASE, SCRATCH_NAMESPACE
from cutover.redaction import Redactor
from cutover.site import cluster, database
from cutover.site.database import Database
from cutover.site.operator import PRIVATE_FOLDER, Operator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cutover.runbook.upgrade import Upgrade

DATABASE, NAMESPACE = database.scratch_name(), cluster.scratch_name()


class Remover:
    """A driver that remembers what it was told to remove, and cannot remove some of it."""

    def __init__(self, *refused: str) -> None:
        self.refused, self.removed = refused, list[str]()

    def remove_left(self, name: str) -> None:
        if name in self.refused:
            raise CouldNotMeasure("it does not answer", code="database-unreachable")
        self.removed.append(name)


def site_of(*refused: str, operator: object = None) -> Any:  # noqa: ANN401 - drivers, as far as they are asked
    remover = Remover(*refused)
    return SimpleNamespace(operator=operator or remover, database=remover, cluster=remover)


def begin(upgrade: Upgrade, action: str, name: str) -> None:
    """Write what a killed attempt writes: that it is about to make something."""
    upgrade.journal.write("intent", action=action, scratch=name)


def test_what_was_begun_and_not_done_is_left(upgrade: Upgrade) -> None:
    assert leftovers.left(upgrade.journal.entries()) == ()
    with upgrade.journal.action(SCRATCH_DATABASE, scratch=database.scratch_name()):
        pass
    begin(upgrade, SCRATCH_DATABASE, DATABASE)
    begin(upgrade, SCRATCH_NAMESPACE, NAMESPACE)
    begin(upgrade, "shift", "nothing of ours")
    assert leftovers.left(upgrade.journal.entries()) == ((SCRATCH_DATABASE, DATABASE), (SCRATCH_NAMESPACE, NAMESPACE))


def test_what_failed_may_still_be_there(upgrade: Upgrade) -> None:
    with (
        pytest.raises(CouldNotMeasure),
        upgrade.journal.action(SCRATCH_DATABASE, scratch=DATABASE),
    ):
        raise CouldNotMeasure("the server went away before it could be dropped", code="database-unreachable")
    assert leftovers.left(upgrade.journal.entries()) == ((SCRATCH_DATABASE, DATABASE),)


def test_it_is_removed_once(upgrade: Upgrade) -> None:
    begin(upgrade, SCRATCH_DATABASE, DATABASE)
    begin(upgrade, SCRATCH_NAMESPACE, NAMESPACE)
    site = site_of()
    assert leftovers.remove(site, upgrade) == (f"scratch database {DATABASE}", f"scratch namespace {NAMESPACE}")
    assert site.database.removed == [DATABASE, NAMESPACE]
    assert leftovers.remove(site, upgrade) == ()
    assert site.database.removed == [DATABASE, NAMESPACE]


def test_what_cannot_be_removed_hinders_nothing_and_is_tried_again(upgrade: Upgrade) -> None:
    begin(upgrade, SCRATCH_DATABASE, DATABASE)
    begin(upgrade, SCRATCH_NAMESPACE, NAMESPACE)
    assert leftovers.remove(site_of(DATABASE), upgrade) == (f"scratch namespace {NAMESPACE}",)
    failed = upgrade.journal.last("failed", action=leftovers.REMOVAL)
    assert failed is not None
    assert failed.data["scratch"] == DATABASE
    assert leftovers.remove(site_of(), upgrade) == (f"scratch database {DATABASE}",)


@pytest.fixture
def operator(upgrade: Upgrade) -> Iterator[Operator]:
    made = Operator("local://", redactor=Redactor(), folder=upgrade.folder / "artifacts", journal=upgrade.journal)
    yield made
    made.close()


def test_a_private_folder_is_known_before_it_is_made_and_gone_with_what_is_in_it(
    upgrade: Upgrade, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = tmp_path / operator.temp.name
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "archive").write_bytes(b"rows nobody else may read")
    (begun,) = leftovers.left(upgrade.journal.entries())
    assert begun == (PRIVATE_FOLDER, folder.name)
    operator._temp = operator._temp_noted = None  # what a killed process knows of it
    assert leftovers.remove(site_of(operator=operator), upgrade) == (f"{PRIVATE_FOLDER} {folder.name}",)
    assert not folder.exists()


def test_a_private_folder_that_was_removed_is_not_left(upgrade: Upgrade, operator: Operator) -> None:
    first = operator.temp
    operator.discard_temp()
    assert operator.temp != first
    operator.close()
    assert leftovers.left(upgrade.journal.entries()) == ()


@pytest.mark.parametrize("name", ["", "..", "/etc", "cutover.x", "cutover.0123456789abcdef/../x", "stellaops", "prod"])
def test_only_names_that_the_harness_gives_are_ever_removed(operator: Operator, name: str) -> None:
    kubernetes = object.__new__(cluster.Cluster)
    for remove in (operator.remove_left, Database("postgresql://u@h/stellaops").remove_left, kubernetes.remove_left):
        with pytest.raises(ValueError, match="no name of"):
            remove(name)


def test_an_output_of_an_earlier_attempt_is_not_taken_for_a_new_one(upgrade: Upgrade) -> None:
    path = leftovers.fresh_output(upgrade, "artifacts/platform/report.json")
    path.write_text("{}", "utf-8")
    assert leftovers.fresh_output(upgrade, "artifacts/platform/report.json") == path
    assert not path.exists()
