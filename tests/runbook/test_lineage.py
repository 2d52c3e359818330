"""An upgrade follows another on the same site: linked by digest, and refused while the one before is not at its end."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from cutover import project

if TYPE_CHECKING:
    from miniature import Miniature, Ran

pytestmark = pytest.mark.timeout(120)


def held_by(ran: Ran, **other: object) -> dict[str, Any]:
    """Return what the site's Lease says after a run: its record, and the length and head of its journal."""
    assert ran.folder is not None
    last = ran.journal[-1]
    return {
        "record": str(ran.folder),
        "journal_length": len(ran.journal),
        "journal_head": last["digest"],
    } | other


def follow(miniature: Miniature, held: dict[str, Any], **do: object) -> Ran:
    return miniature.run(do={"held-by": held, **do})


def test_the_first_upgrade_of_a_site_follows_none(miniature: Miniature) -> None:
    ran = miniature.run()
    assert (ran.code, ran.verdict["previous"], ran.journal[0]["data"]["previous"]) == (0, None, None)


def test_an_upgrade_names_the_record_before_it_by_digest(miniature: Miniature) -> None:
    first = miniature.run()
    ran = follow(miniature, held_by(first))
    assert ran.code == 0, ran.out + ran.err
    assert first.folder is not None
    verdict = (first.folder / "verdict.json").read_bytes()
    assert ran.verdict["previous"] == {
        "id": first.folder.name,
        "record": str(first.folder),
        "from": first.verdict["upgrade"]["from"],
        "to": first.verdict["upgrade"]["to"],
        "result": "PASSED",
        "journal": {"entries": len(first.journal), "head": first.journal[-1]["digest"]},
        "verdict_sha256": f"sha256:{hashlib.sha256(verdict).hexdigest()}",
        "contracted": False,
        "problem": "",
    }
    assert ran.journal[0]["data"]["previous"] == ran.verdict["previous"]
    schema = json.loads((project.CONTRACT / "verdict.schema.json").read_bytes())
    jsonschema.validate(ran.verdict, schema)
    assert f"follows {first.folder.name}" in ran.out
    assert "did not apply category B" in ran.out


def test_a_record_that_was_moved_is_found_beside_the_new_one(miniature: Miniature) -> None:
    first = miniature.run()
    assert first.folder is not None
    ran = follow(miniature, held_by(first, record=f"/somewhere/else/{first.folder.name}"))
    assert ran.verdict["previous"]["record"] == str(first.folder)
    assert ran.verdict["previous"]["problem"] == ""


def test_a_record_that_is_not_here_is_told_and_hinders_nobody(miniature: Miniature) -> None:
    held = {"record": "/archive/2026-01-01-0000", "journal_length": 7, "journal_head": "sha256:aa"}
    ran = follow(miniature, held)
    assert ran.code == 0
    previous = ran.verdict["previous"]
    assert (previous["id"], previous["journal"]) == ("2026-01-01-0000", {"entries": 7, "head": "sha256:aa"})
    assert "is no record" in previous["problem"]
    assert "is not linked whole" in ran.out


@pytest.mark.parametrize("change", ["exchanged", "bit"])
def test_a_record_that_is_not_the_one_the_site_knows_is_told(miniature: Miniature, change: str) -> None:
    first = miniature.run()
    assert first.folder is not None
    held = held_by(first)
    path = first.folder / "journal.jsonl"
    if change == "exchanged":
        held["journal_head"] = "sha256:" + "0" * 64
    else:
        path.write_bytes(path.read_bytes().replace(b"PASSED", b"FAILED", 1))
    ran = follow(miniature, held)
    assert ran.code == 0
    assert ran.verdict["previous"]["problem"]
    assert "is not linked whole" in ran.out


def test_a_record_that_lost_its_end_may_be_an_unfinished_one(miniature: Miniature) -> None:
    first = miniature.run()
    assert first.folder is not None
    path = first.folder / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    ran = follow(miniature, held_by(first))
    assert ran.code == 5
    assert f"its journal lost its end: {len(first.journal) - 1} lines" in ran.out + ran.err


@pytest.mark.parametrize(
    ("do", "seen"),
    [
        ({"5.1": "kill"}, "it is broken off"),
        ({"5.2a": "fail"}, "it is FAILED"),
    ],
)
def test_an_upgrade_that_is_not_at_its_end_is_not_built_upon(
    miniature: Miniature, do: dict[str, object], seen: str
) -> None:
    first = miniature.run(do=do)
    ran = follow(miniature, held_by(first), serves="green")
    assert ran.code == 5, ran.out + ran.err
    assert ran.folder == first.folder, "a run that is refused leaves no record"
    said = ran.out + ran.err
    assert "is not finished" in said
    assert seen in said


def test_an_upgrade_that_ends_before_blue_is_gone_is_not_built_upon(miniature: Miniature) -> None:
    first = miniature.run("--until", "4")
    ran = follow(miniature, held_by(first), serves="green")
    assert (ran.code, ran.folder) == (5, first.folder)


def test_one_that_went_back_is_followed_by_the_next_try(miniature: Miniature) -> None:
    first = miniature.run(do={"4.1a": "fail"})
    assert first.verdict["rollback"]["serves"] == "blue"
    ran = follow(miniature, held_by(first))
    assert (ran.code, ran.verdict["previous"]["result"]) == (0, first.verdict["result"])


def test_one_that_was_broken_off_before_traffic_moved_may_be_left(miniature: Miniature) -> None:
    first = miniature.run(do={"2.1a": "kill"})
    ran = follow(miniature, held_by(first))
    assert (ran.code, ran.verdict["previous"]["result"]) == (0, "")
