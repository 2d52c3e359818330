"""The guide's table of alterations is the one that the injector and the tamper suite work from."""

from __future__ import annotations

from pathlib import Path

from rehearsal.environment import faults
from tests.evidence.test_tamper_site import CASES

GUIDE = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text(encoding="utf-8")


def rows() -> list[str]:
    """Return the table's rows as the data give them."""
    return [
        f"| `{one.kind}` | {one.title} | {one.layer} | {_first(one)} | {one.balance} |"
        for one in faults.alterations().values()
    ]


def _first(one: faults.Alteration) -> str:
    finding = one.findings[0]
    broken = " or ".join(next(fault for fault in faults.load() if fault.kind == one.kind).guarantees)
    item = finding.item.replace("{item}", "the item").replace("{root}", "the root")
    return f"{broken} `{finding.code}`, {item.replace('{crossref}', 'the cross-reference')}"


def test_the_table_of_alterations_is_the_datas_own() -> None:
    section = GUIDE.partition("## What was tried to break it")[2].partition("\n## ")[0]
    found = [line for line in section.splitlines() if line.startswith("| `")]
    assert found == rows(), "docs/evidence.md should hold:\n" + "\n".join(rows())


def test_the_numbers_told_are_the_suites_own() -> None:
    assert f"{len(faults.alterations())} kinds" in GUIDE
    assert f"{CASES} cases" in GUIDE
