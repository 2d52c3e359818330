"""The tamper suite: evidence of a real site is altered in hundreds of ways; each comes out under its right name.

PostgreSQL, the object store, the log and the trees are real; what is altered is drawn from a seed; what must be found
stands in contract/faults.toml. A case passes only when verification finds exactly that: this guarantee, this code, this
item, and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from rehearsal.environment import faults, layout, sandbox, sitedata, tampering
from rehearsal.environment.errors import NamespacesRefused
from rehearsal.tools import ensure
from tests.evidence.tamper_site import BASELINE, UNTOUCHED_EVERY, Told

pytestmark = [pytest.mark.real_programs, pytest.mark.timeout(400)]

CASES, SEED = 320, 20270401
BOUND_S = 300


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[Told]:
    """Let the site be made and altered, once, in a sandbox of its own; return every case."""
    place = layout.Place.at(tmp_path_factory.mktemp("tamper") / "site")
    try:
        flags = sandbox.namespace_flags()
    except NamespacesRefused as refused:
        pytest.skip(str(refused))
    prepare(place)
    command = [sys.executable, "-m", "tests.evidence.tamper_site"]
    command += ["--state", str(place.root), "--cases", str(CASES), "--seed", str(SEED)]
    environment = {"TAMPER_USER_NAMESPACES": "1"} if "--user" in flags else {}
    done = subprocess.run(
        ["unshare", *flags, "--", "env", *(f"{name}={value}" for name, value in environment.items()), *command],
        cwd=layout.PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
        preexec_fn=sandbox.die_with_parent,
    )
    assert done.returncode == 0, f"{done.stderr[-3000:]}\nsee {place.logs()}"
    return [Told(**json.loads(line)) for line in done.stdout.splitlines()]


def prepare(place: layout.Place) -> None:
    """Write what the servers and the seeding read before they start."""
    place.logs().mkdir(parents=True)
    (place.root / "seed").mkdir()
    programs = ("postgres", "initdb", "weed")
    made = ensure(programs)
    (place.root / "programs.json").write_text(json.dumps({name: str(made.path(name)) for name in programs}))
    (place.root / "history.json").write_text(json.dumps({"items": BASELINE, "object_bytes": None}))
    known = sitedata.Secrets.fresh()
    known.write(place.root)
    sitedata.write_store_identities(place, known)


def test_the_untouched_site_holds_before_in_between_and_after(told: list[Told]) -> None:
    untouched = [one for one in told if not one.kind]
    assert len(untouched) >= 2 + CASES // UNTOUCHED_EVERY - 1
    assert [one for one in untouched if one.found or one.balance] == []
    assert (told[0].kind, told[-1].kind) == ("", "")


def test_every_case_is_found_under_its_guarantee_code_and_item_and_nothing_else_is(told: list[Told]) -> None:
    cases = [one for one in told if one.kind]
    assert len(cases) == CASES >= 300
    wrong = [one for one in cases if (one.found, one.balance) != (one.expected, one.expected_balance)]
    assert not wrong, table(wrong)


def test_every_kind_at_every_layer_was_tried(told: list[Told]) -> None:
    tried = Counter(one.kind for one in told if one.kind)
    assert set(tried) == set(faults.alterations()) == set(tampering.deeds())
    assert min(tried.values()) >= 5
    assert {one.layer for one in told if one.kind} == {"store", "database", "tree", "log", "checkpoint", "key"}


def test_different_items_of_every_sort_were_struck(told: list[Told]) -> None:
    """A suite that always strikes the same item would prove little."""
    struck = {finding.split(" ", 2)[2] for one in told for finding in one.expected}
    assert len([item for item in struck if item.startswith("ev-")]) > BASELINE * 3 // 4


def table(wrong: list[Told]) -> str:
    """Return what went wrong, a block a case."""
    lines = [f"{len(wrong)} cases are not found as they should be:"]
    for one in wrong[:20]:
        lines.append(f"  case {one.case}: {one.kind} ({one.layer})")
        expected, found = set(one.expected), set(one.found)
        lines += [f"      expected, not found: {finding}" for finding in sorted(expected - found)[:5]]
        lines += [f"      found, not expected: {finding}" for finding in sorted(found - expected)[:5]]
        if one.balance != one.expected_balance:
            lines.append(f"      balance: expected {one.expected_balance[:5]}, found {one.balance[:5]}")
    return "\n".join(lines)
