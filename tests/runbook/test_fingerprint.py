"""The state before green comes: kept once, never believed when altered, compared after the way back."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from cutover.errors import ClauseFailed
from cutover.runbook import fingerprint
from cutover.runbook.fingerprint import EvidenceState, Fingerprint, differences, forbidden

if TYPE_CHECKING:
    from cutover.model import Roles
    from cutover.runbook.upgrade import Upgrade

BEFORE = Fingerprint(
    blue="blue",
    schema={"public.scans id": "text required"},
    migrations={"0001": "A 2027.Q1 sha256:1"},
    sequences={"public.ids": 7, "public.unused": None},
    routes={"names": "stellaops-blue", "split by": "nothing"},
    replicas={"web": 2},
    images=("sha256:a",),
    evidence=EvidenceState(leaves=5, root="ab", items=5),
)
EXPANDED = {**BEFORE.migrations, "0002": "A 2027.Q2 sha256:2"}


class FakeSite:
    """A site whose state the test sets."""

    def __init__(self) -> None:
        self.now = BEFORE
        self.asked: list[tuple[int | None, bool]] = []

    def state(self, roles: Roles, *, leaves: int | None = None, with_evidence: bool = True) -> Fingerprint:
        assert roles.blue.name == "blue"
        self.asked.append((leaves, with_evidence))
        return self.now if with_evidence else dataclasses.replace(self.now, evidence=None)


@pytest.fixture
def site() -> FakeSite:
    return FakeSite()


def test_it_is_kept_once(upgrade: Upgrade, site: FakeSite) -> None:
    assert fingerprint.kept(upgrade) is None
    assert fingerprint.take(upgrade, site) == BEFORE
    site.now = dataclasses.replace(BEFORE, images=("sha256:b",))
    assert fingerprint.take(upgrade, site) == BEFORE, "a later attempt returns what the first one saw"
    assert fingerprint.kept(upgrade) == BEFORE
    assert site.asked == [(None, True)]


def test_what_was_broken_off_before_the_journal_knew_is_taken_again(upgrade: Upgrade, site: FakeSite) -> None:
    upgrade.path("artifacts", "state", "before.json").write_text("{half")
    assert fingerprint.take(upgrade, site) == BEFORE
    assert fingerprint.kept(upgrade) == BEFORE


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"sha256:a"', '"sha256:b"'),
        lambda text: text + " ",
        lambda _text: "{half",
        lambda _text: "[]",
    ],
)
def test_an_altered_one_is_not_believed(upgrade: Upgrade, site: FakeSite, damage: Any) -> None:  # noqa: ANN401
    fingerprint.take(upgrade, site)
    path = upgrade.folder / "artifacts" / "state" / "before.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(ClauseFailed) as raised:
        fingerprint.compare(upgrade, site)
    assert raised.value.code == "state-altered"


def test_what_differs_is_in_the_record_and_in_the_journal(upgrade: Upgrade, site: FakeSite) -> None:
    fingerprint.take(upgrade, site)
    site.now = dataclasses.replace(
        BEFORE, replicas={"web": 1}, sequences={**BEFORE.sequences, "public.ids": 9}, evidence=None
    )
    found = fingerprint.compare(upgrade, site, with_evidence=False)
    assert found is not None
    assert [str(one) for one in forbidden(found)] == ["replicas web: 2 before, 1 now; blue is not what it was"]
    assert site.asked[-1] == (5, False), "the root is over the leaves of the time"
    line = upgrade.journal.last("state_compared")
    assert line is not None
    assert line.data["allowed"] == 1
    assert line.data["forbidden"] == ["replicas web: 2 before, 1 now; blue is not what it was"]
    written = json.loads((upgrade.folder / line.data["path"]).read_text())
    assert {one["name"] for one in written["differences"]} == {"web", "public.ids"}


def test_without_one_nothing_is_claimed(upgrade: Upgrade, site: FakeSite) -> None:
    assert fingerprint.compare(upgrade, site) is None
    line = upgrade.journal.last("state_compared")
    assert line is not None
    assert line.data["kept"] is False


TABLE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, []),
    "category A": ({"migrations": EXPANDED}, []),
    "category B": ({"migrations": {**EXPANDED, "0003": "B 2027.Q2 sha256:3"}}, ["migrations 0003"]),
    "an applied migration is gone": ({"migrations": {}}, ["migrations 0001"]),
    "another text": ({"migrations": {"0001": "A 2027.Q1 sha256:9"}}, ["migrations 0001"]),
    "a column by A": (
        {"migrations": EXPANDED, "schema": {**BEFORE.schema, "public.scans owner": "text"}},
        [],
    ),
    "a column by nobody": ({"schema": {**BEFORE.schema, "public.scans owner": "text"}}, ["schema public.scans owner"]),
    "a column that blue does not fill": (
        {"migrations": EXPANDED, "schema": {**BEFORE.schema, "public.scans owner": "text required"}},
        ["schema public.scans owner"],
    ),
    "a table by A": (
        {"migrations": EXPANDED, "schema": {**BEFORE.schema, "public.new id": "text required"}},
        [],
    ),
    "a column changed by A": (
        {"migrations": EXPANDED, "schema": {"public.scans id": "uuid required"}},
        ["schema public.scans id"],
    ),
    "a column gone": ({"schema": {}}, ["schema public.scans id"]),
    "a sequence went on": ({"sequences": {"public.ids": 8, "public.unused": 1}}, []),
    "a sequence went back": ({"sequences": {"public.ids": 6, "public.unused": None}}, ["sequences public.ids"]),
    "a sequence was reset": ({"sequences": {"public.ids": None, "public.unused": None}}, ["sequences public.ids"]),
    "a sequence is gone": ({"sequences": {"public.ids": 7}}, ["sequences public.unused"]),
    "a sequence by A": ({"migrations": EXPANDED, "sequences": {**BEFORE.sequences, "public.new": 1}}, []),
    "a sequence by nobody": ({"sequences": {**BEFORE.sequences, "public.new": 1}}, ["sequences public.new"]),
    "another route": ({"routes": {"names": "bridge", "split by": "nothing"}}, ["routes names"]),
    "a split": ({"routes": {"names": "stellaops-blue", "split by": "canary"}}, ["routes split by"]),
    "fewer replicas": ({"replicas": {"web": 1}}, ["replicas web"]),
    "more replicas": ({"replicas": {"web": 3}}, []),
    "a deployment gone": ({"replicas": {}}, ["replicas web"]),
    "another deployment": ({"replicas": {"web": 2, "extra": 1}}, ["replicas extra"]),
    "another image": ({"images": ("sha256:b",)}, ["images blue"]),
    "two images": ({"images": ("sha256:a", "sha256:b")}, ["images blue"]),
    "no pod": ({"images": ()}, ["images blue"]),
    "evidence grew": ({"evidence": EvidenceState(leaves=5, root="ab", items=6)}, []),
    "evidence is missing": ({"evidence": EvidenceState(leaves=5, root="ab", items=4)}, ["evidence items"]),
    "another root": ({"evidence": EvidenceState(leaves=5, root="cd", items=5)}, ["evidence root"]),
    "evidence was left out": ({"evidence": None}, []),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_may_differ_and_what_may_not(name: str) -> None:
    change, expected = TABLE[name]
    found = differences(BEFORE, dataclasses.replace(BEFORE, **change))
    assert [f"{one.part} {one.name}" for one in forbidden(found)] == expected
    is_seen = bool(change) and change != {"evidence": None}
    assert bool(found) is is_seen, "every change is at least said"
    assert all(one.why for one in found)
    assert (fingerprint.describe(found) == "nothing differs") is not is_seen


def test_it_survives_its_document() -> None:
    for state in (BEFORE, dataclasses.replace(BEFORE, evidence=None)):
        assert Fingerprint.of(json.loads(json.dumps(state.document()))) == state
