"""The gates of a policy: what is read of them, their defaults, and everything that is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from cutover import project
from cutover.errors import PolicyInvalid
from cutover.policy import GATE_NAMES, Compare, LoadMetric, Policy, Source

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = sorted((project.CONTRACT / "examples").glob("policy*.toml"))
EXAMPLE = (project.CONTRACT / "examples" / "policy.toml").read_text(encoding="utf-8")

GOOD = {
    "prometheus": """
name = "one"
title = "one"
unit = "s"
source = "prometheus"
query = "max(a{{where}})"
count_query = "count(a{{where}})"
success_condition = { max = 2 }
failure_condition = { above = 3 }
min_samples = 4
""",
    "postgresql": """
name = "one"
title = "one"
unit = "s"
source = "postgresql"
query = "SELECT 1, 1"
success_condition = { min = 1, max = 2 }
failure_condition = { below = 0 }
""",
    "platform": """
name = "one"
title = "one"
unit = "s"
source = "platform"
path = "/status"
field = "queue.0.depth"
success_condition = { max = 2 }
""",
    "load": """
name = "one"
title = "one"
unit = "s"
source = "load"
metric = "probe_p99_s"
success_condition = { max = 2 }
""",
}


def read(folder: Path, custom: str) -> Policy:
    path = folder / "policy.toml"
    plain = re.sub(r"\[\[gates\.custom\]\].*?(?=\n\[load\])", "", EXAMPLE, flags=re.DOTALL)
    path.write_text(plain.replace("\n[load]", f"\n[[gates.custom]]\n{custom}\n[load]"), encoding="utf-8")
    return Policy.read(path)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_loads(path: Path) -> None:
    gates = Policy.read(path).gates
    assert gates.custom
    assert gates.failure_limit == 0, "no example bears a failed sample"


def test_there_are_three_examples() -> None:
    assert {path.stem for path in EXAMPLES} == {"policy", "policy-strict", "policy-low-traffic"}


def test_what_an_older_file_does_not_say_is_strict() -> None:
    gates = Policy.read(project.CONTRACT / "examples" / "policy.toml").gates
    assert (gates.initial_delay_s, gates.failure_limit, gates.inconclusive_limit) == (0, 0, 0)
    assert gates.consecutive_error_limit == 4
    assert gates.compare == Compare(enabled=True, significance=0.01, min_samples=5, min_effect_size=0.7, min_events=10)
    assert (gates.error_ratio.max_increase, gates.attestation_success.max_decrease) == (0.005, 0.05)


@pytest.mark.parametrize("source", list(Source))
def test_a_gate_of_each_source(tmp_path: Path, source: Source) -> None:
    (gate,) = read(tmp_path, GOOD[source]).gates.custom
    assert gate.source is source
    assert gate.success_max == 2
    assert gate.metric is (LoadMetric.PROBE_P99_S if source is Source.LOAD else None)


def test_the_commented_defaults_of_the_example_are_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(re.sub(r"^# ([a-z_0-9]+ = )", r"\1", EXAMPLE, flags=re.MULTILINE), encoding="utf-8")
    said, unsaid = Policy.read(path), Policy.read(project.CONTRACT / "examples" / "policy.toml")
    assert (said.gates, said.load, said.probe) == (unsaid.gates, unsaid.load, unsaid.probe)
    assert (said.limits, said.lock) == (unsaid.limits, unsaid.lock)


WRONG = [
    # source, what is replaced, by what, what is said
    ("prometheus", 'count_query = "count(a{{where}})"\n', "", "count_query"),
    ("prometheus", 'query = "max(a{{where}})"\n', "", "'query' is a required property"),
    ("prometheus", "success_condition = { max = 2 }\n", "", "success_condition"),
    ("prometheus", "{ max = 2 }", "{ }", "success_condition"),
    ("prometheus", "{ max = 2 }", "{ least = 2 }", "least"),
    ("prometheus", "{ above = 3 }", "{ above = 1 }", "not greater"),
    ("prometheus", "{ above = 3 }", "{ below = 1 }", "not less"),
    ("prometheus", "min_samples = 4", "min_samples = 0", "min_samples"),
    ("prometheus", 'source = "prometheus"', 'source = "guess"', "guess"),
    ("postgresql", "min = 1, max = 2", "min = 3, max = 2", "no number satisfies"),
    ("postgresql", 'query = "SELECT 1, 1"', 'path = "/"\nfield = "x"', "query"),
    ("platform", 'path = "/status"', 'path = "status"', "path"),
    ("platform", 'field = "queue.0.depth"\n', "", "field"),
    ("load", 'metric = "probe_p99_s"', 'metric = "mood"', "mood"),
    ("load", 'name = "one"', 'name = "One two"', "name"),
    *(("load", 'name = "one"', f'name = "{name}"', f"two gates {name}") for name in GATE_NAMES),
]


@pytest.mark.parametrize(("source", "old", "new", "said"), WRONG)
def test_a_gate_that_says_nothing_or_nonsense_is_refused(
    tmp_path: Path, source: str, old: str, new: str, said: str
) -> None:
    assert old in GOOD[source]
    with pytest.raises(PolicyInvalid) as caught:
        read(tmp_path, GOOD[source].replace(old, new))
    assert said in caught.value.seen


def test_two_gates_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        read(tmp_path, GOOD["load"] + "[[gates.custom]]" + GOOD["load"])
    assert "two gates one" in caught.value.seen


@pytest.mark.parametrize("line", ["failure_limit = -1", "inconclusive_limit = 1.5", "initial_delay_s = -1"])
def test_limits_that_are_none_are_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(EXAMPLE.replace("\n[gates]\n", f"\n[gates]\n{line}\n"), encoding="utf-8")
    with pytest.raises(PolicyInvalid):
        Policy.read(path)
