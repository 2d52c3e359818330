"""The evidence benchmark: which figures it prints, and how it compares."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from bench import evidence, evidence_local, evidence_site

if TYPE_CHECKING:
    import pytest

KEYS = {
    "hash_local_per_core",
    "hash_local_two_cores",
    "hash_s3",
    "signature_per_core",
    "signature_two_cores",
    "merkle_root",
    "diff_1m_seconds",
    "diff_1m_mb",
    "diff_10x_time",
    "diff_10x_memory",
    "verify_100k_seconds",
    "executor",
}


def test_the_keys_are_those_that_were_asked_for() -> None:
    assert set(evidence.KEYS) == KEYS
    assert len(evidence.KEYS) == len(KEYS)
    assert set(evidence_site.KEYS) == set(evidence.SITE_KEYS)


def test_what_is_asked_for_is_printed_in_order_as_json_and_as_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = evidence_site.figure(1.23456, ours=41.02, anchor=34.0, ratio=1.2, unit="s", what="w", bar="b", met=True)
    other = evidence_site.figure(0.7, ours=7, anchor=10, unit="MB/s", what="w", bar="at least 0.8", met=False)
    asked: list[tuple[list[str], int, int]] = []

    def site(keys: list[str], items: int, rounds: int) -> evidence.Figures:
        asked.append((keys, items, rounds))
        return {"verify_100k_seconds": one, "hash_s3": other}

    monkeypatch.setattr(evidence, "measure_site", site)
    monkeypatch.setattr(evidence_local, "measure", lambda: dict.fromkeys(evidence.LOCAL_KEYS, one))
    arguments = ["evidence.py", "--items", "8", "--only", "verify_100k_seconds", "hash_s3", "merkle_root"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--json"])
    evidence.main()
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["hash_s3", "merkle_root", "verify_100k_seconds"]
    assert found["verify_100k_seconds"] | {"value": 1.235, "ours": 41.02, "anchor": 34.0, "met": True} == one
    assert asked == [(["hash_s3", "verify_100k_seconds"], 8, 3)]
    monkeypatch.setattr(sys, "argv", arguments)
    evidence.main()
    rows = capsys.readouterr().out.splitlines()
    assert "MISSED: at least 0.8" in rows[1]
    assert rows[1].split()[1:4] == ["0.7", "7", "10"]
    assert " met: b" in rows[2]


def test_a_ratio_is_the_middle_of_the_rounds_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    took_s = [1.0, 2.0, 10.0, 30.0, 1.0, 1.5]
    moments = itertools.chain.from_iterable((0.0, seconds) for seconds in took_s)
    monkeypatch.setattr(evidence_site.time, "perf_counter", lambda: next(moments))
    order: list[str] = []
    turns = evidence_site.taking_turns(3, anchor=lambda: order.append("anchor"), ours=lambda: order.append("ours"))
    assert order == ["anchor", "ours"] * 3
    assert turns == evidence_site.Turns(anchor_s=1.0, ours_s=2.0, ratio=2.0)


def test_it_runs_as_a_script_although_a_file_beside_it_has_a_standard_name() -> None:
    done = subprocess.run(
        [sys.executable, str(evidence.ROOT / "bench" / "evidence.py"), "--only", "nothing"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "verify_100k_seconds" in done.stderr
