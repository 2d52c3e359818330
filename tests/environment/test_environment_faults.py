"""The list of faults, and the injector that strikes with them."""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
import time
import tomllib
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from cutover.evidence import verify
from cutover.evidence.errors import CODES
from cutover.policy import Policy
from rehearsal.environment import faults, injection, layout, overrides, sitedata, strikes, tampering, target
from rehearsal.environment.errors import EnvironmentFault

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal.environment.layout import Place

FIRST_FAULTS = {
    *("image-missing", "crash-loop", "init-stuck", "readiness-fails", "database-down", "database-lost"),
    *("selector-wrong", "green-errors", "green-slow", "queue-stuck", "evidence-altered"),
    *("stella-hangs", "stella-lies", "prometheus-down"),
}
COMPARED = {"green-errors-few", "green-slow-p99-only", "attestations-fail-some", "evidence-stalls-partly"}
ABSENT: dict[str, set[str]] = {"gradual": set(), "instant": COMPARED}
FOR_GATES = {
    *("green-errors-elsewhere", "green-errors-few", "green-slow-p99-only", "attestations-fail", "writes-lost"),
    *("attestations-fail-some", "evidence-stalls", "evidence-stalls-partly", "metric-missing", "metric-nan"),
    *("metric-stale", "low-traffic", "load-dead", "load-stalls", "server-freezes", "canary-edited"),
    *("route-shadowed", "sticky-sessions", "green-empty", "selector-wrong-late", "ingress-down"),
}
GATES = {
    *("error_ratio", "latency_p99", "evidence_operations", "attestation_success"),
    *("error_ratio_vs_blue", "latency_p99_vs_blue", "evidence_operations_vs_blue", "attestation_success_vs_blue"),
    *("failed_requests", "load_attempted", "probe_latency", "served_by", "write_markers"),
    *("route_topology", "route_unchanged", "green_ready"),
}
KINDS = {f"evidence-altered:{kind}" for kind in faults.alterations()}
GRADUAL_ONLY = {"3.1a", "3.1b", "3.1c", "3.1d"}


ALONE: dict[str, set[str]] = {"gradual": set(), "instant": {name for name in GATES if name.endswith("_vs_blue")}}
"""Gates that an instant cutover has not: at 100 percent there is no blue to compare with."""


def _clauses() -> list[str]:
    document = tomllib.loads((layout.PROJECT / "contract" / "clauses.toml").read_text())
    (entries,) = [value for value in document.values() if isinstance(value, list)]
    return [entry["id"] for entry in entries]


@pytest.mark.parametrize("strategy", ["gradual", "instant"])
def test_every_fault_says_how_a_run_ends_and_never_well(strategy: str) -> None:
    every = faults.load(strategy)
    assert {fault.name for fault in every} == (FIRST_FAULTS | FOR_GATES | KINDS) - ABSENT[strategy]
    known = _clauses()
    for fault in every:
        assert fault.exit_code in {1, 3, 4, 5}, fault.name
        assert fault.serves == ("nobody" if fault.name == "database-lost" else "blue")
        assert fault.clause in known, fault.name
        assert fault.cause, fault.name
        assert fault.strikes_at == faults.START or known.index(fault.strikes_at) <= known.index(fault.clause)


def test_an_instant_run_is_struck_only_at_clauses_that_it_performs() -> None:
    for fault in faults.load("instant"):
        assert not {fault.strikes_at, fault.clause} & GRADUAL_ONLY, fault.name


@pytest.mark.parametrize("strategy", ["gradual", "instant"])
def test_every_gate_has_a_fault_that_it_must_catch_and_every_fault_of_the_cutover_names_its_gates(
    strategy: str,
) -> None:
    every = faults.load(strategy)
    assert {fault.gates[0] for fault in every if fault.gates} == GATES - ALONE[strategy]
    for fault in every:
        assert bool(fault.gates) == (fault.phase == "3"), fault.name
        assert {*fault.gates, *fault.also} <= GATES, fault.name
        assert not {*fault.gates} & {*fault.also}, fault.name
        if fault.gates:
            assert fault.exit_code in {1, 3, 4}, fault.name


ONCE_MORE = [(fault, strategy) for strategy in ("gradual", "instant") for fault in faults.elsewhere(strategy)]


def test_every_fault_is_listed_for_every_phase_as_struck_or_as_one_that_cannot() -> None:
    """Whoever adds a fault says what becomes of it in each phase."""
    plain = [fault for fault in faults.load() if ":" not in fault.name]
    struck = [(fault.name, fault.struck_in) for fault in plain]
    struck += sorted({(fault.name.partition("@")[0].partition(":")[0], fault.struck_in) for fault, _ in ONCE_MORE})
    counted = {pair: struck.count(pair) for pair in {*struck, *faults.nowhere()}}
    for fault in plain:
        for phase in faults.PHASES:
            pair = (fault.name, phase)
            assert (counted.get(pair, 0) > 0) != (pair in faults.nowhere()), pair
    assert {name for name, _ in counted} == {fault.name for fault in plain}
    assert all(why and not why.endswith(".") for why in faults.nowhere().values())


@pytest.mark.parametrize(("fault", "strategy"), ONCE_MORE, ids=[f"{one.name}-{kind}" for one, kind in ONCE_MORE])
def test_a_fault_of_another_phase_says_how_the_run_ends(fault: faults.Fault, strategy: str) -> None:
    known = _clauses()
    at = fault.strikes_at
    assert at == faults.START or known.index(at) <= known.index(fault.clause)
    assert at == faults.START or fault.struck_in == ("4" if at[:1] == "E" else at[:1])
    assert fault.exit_code in {1, 3, 4, 5}
    assert fault.serves in {"blue", "green", "nobody"}
    assert fault.serves != "green" or fault.rollback == "NOT_RUN", "what went back is served by blue"
    assert fault.diagnosis
    assert {*fault.gates, *fault.also} <= GATES
    assert strategy == "gradual" or not {at, fault.clause} & GRADUAL_ONLY
    (first,) = faults.named([fault.base])
    assert (fault.title, fault.parameter) == (first.title, first.parameter)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("database-lost@7", "does not strike in phase 7"),
        ("init-stuck@4", "does not strike in phase 4: nobody asks for the migration lock any more"),
        ("crash-loop:3@4", "takes no number"),
        ("green-errors:200@4", "is a number from 1 to 100"),
        ("green-eror@4", "no fault called 'green-eror'"),
        ("green-errors@", "does not strike in phase"),
    ],
)
def test_a_phase_in_which_it_does_not_strike_is_wrong_input(name: str, told: str) -> None:
    with pytest.raises(EnvironmentFault, match=re.escape(told)) as caught:
        faults.named([name])
    assert caught.value.exit_code == 2
    assert "@" not in name or caught.value.do


def test_a_number_and_a_phase_go_together() -> None:
    given, plain, kind = faults.named(["green-errors:5@4", "green-errors@4", "evidence-altered:log-entry-changed@4"])
    assert (given.value, given.base, given.at, given.clause) == (5, "green-errors", "4", plain.clause)
    assert plain.value == 100
    assert (kind.kind, kind.base) == ("log-entry-changed", "evidence-altered:log-entry-changed")
    assert [fault.name for fault in faults.matching(["stella-hangs@*"])] == ["stella-hangs@1", "stella-hangs@4"]


def test_the_injector_knows_every_fault_of_every_phase(injector: strikes.Injector) -> None:
    assert {fault.base for fault, _ in ONCE_MORE} <= set(injector.actions())


def test_a_command_that_hangs_is_that_of_the_phase(injector: strikes.Injector) -> None:
    first, second = faults.named(["stella-hangs", "stella-hangs@1"])
    for fault, command in ((first, "test smoke"), (second, "system migrations-status")):
        injector.strike(fault)
        assert json.loads((injector.place.faults / "stella-hangs").read_text())["command"] == command


def test_what_a_fault_says_of_the_policy_makes_another_sound_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    plain = target.policy_text(dt.datetime.now(dt.UTC))
    for fault in (*faults.load(), *faults.elsewhere("gradual"), *faults.elsewhere("instant")):
        path.write_text(plain)
        overrides.write(path, fault.policy)
        Policy.read(path)
        told = tomllib.loads(path.read_text())
        for name, value in fault.policy.items():
            found: Any = told
            for key in name.split("."):
                found = found[key]
            assert found == value, name


def test_a_policy_is_changed_where_the_value_is_and_nowhere_else() -> None:
    text = "# why\nstrategy = 1\n\n[load]\nusers = 2 # many\n\n[gates.a]\nmax = 1\n"
    changed = overrides.applied(text, {"gates.a.max": 0.5, "load.rate": 9, "probe.p99": 2.5, "strategy": "x"})
    assert changed == (
        '# why\nstrategy = "x"\n\n[load]\nrate = 9\nusers = 2 # many\n\n[gates.a]\nmax = 0.5\n\n[probe]\np99 = 2.5\n'
    )


def test_a_number_behind_the_colon_is_the_faults_own() -> None:
    given, plain = faults.named(["green-errors:12.5", "green-errors"])
    assert (given.name, given.base, given.value) == ("green-errors:12.5", "green-errors", 12.5)
    assert (plain.name, plain.base, plain.value) == ("green-errors", "green-errors", 33)
    assert plain.usage == "green-errors[:PERCENT]"
    assert given.gates == plain.gates


@pytest.mark.parametrize(
    "name", ["green-errors:0", "green-errors:101", "green-errors:a", "green-slow:", "server-freezes:1"]
)
def test_a_wrong_number_is_told_with_its_bounds(name: str) -> None:
    with pytest.raises(EnvironmentFault, match=r"is a number from [0-9]+ to [0-9]+, not") as caught:
        faults.named([name])
    assert caught.value.exit_code == 2
    assert f"--fault {name.partition(':')[0]}:" in caught.value.do


def test_a_number_for_a_fault_that_takes_none_is_refused() -> None:
    with pytest.raises(EnvironmentFault, match="takes no number") as caught:
        faults.named(["crash-loop:3"])
    assert caught.value.exit_code == 2


def test_a_fault_that_only_a_comparison_with_blue_shows_is_refused_for_an_instant_cutover() -> None:
    with pytest.raises(EnvironmentFault, match="not for this strategy") as caught:
        faults.named(["green-errors-few:5"], "instant")
    assert caught.value.exit_code == 2
    assert "--strategy gradual" in caught.value.do


def test_an_unknown_fault_is_wrong_input_and_told_with_the_list() -> None:
    with pytest.raises(EnvironmentFault, match="no fault called 'green-eror'") as caught:
        faults.named(["green-slow", "green-eror"])
    assert caught.value.exit_code == 2
    assert "green-errors" in caught.value.do


def test_an_unknown_kind_of_altered_evidence_is_told_with_the_kinds() -> None:
    with pytest.raises(EnvironmentFault, match="'bundle-bat' is none of them") as caught:
        faults.named(["evidence-altered:bundle-bat"])
    assert caught.value.exit_code == 2
    assert "bundle-bit" in caught.value.do


def test_names_are_matched_as_a_shell_does() -> None:
    found = [fault.name for fault in faults.matching(["stella-*", "evidence-altered:sbom-b?t", "stella-lies"])]
    assert found == ["stella-hangs", "stella-lies", "evidence-altered:sbom-bit"]
    with pytest.raises(EnvironmentFault):
        faults.matching(["nothing-*"])


def test_every_kind_of_altered_evidence_can_be_struck_and_names_what_verification_knows() -> None:
    """The table, the deeds and the library cannot drift apart."""
    assert faults.guarantees() == verify.TITLES
    assert set(faults.alterations()) == set(tampering.deeds())
    assert len(faults.alterations()) >= 40
    for one in faults.alterations().values():
        assert one.layer in {"store", "database", "tree", "log", "checkpoint", "key"}, one.kind
        assert one.balance in {"changed", "missing", "unaccounted", "unchanged"}, one.kind
        assert {finding.guarantee for finding in one.findings} <= {faults.OWN, *verify.TITLES}, one.kind
        assert {finding.code for finding in one.findings} <= set(CODES), one.kind
        assert one.items or "{item}" not in "".join(finding.item for finding in one.findings), one.kind


def test_a_finding_is_expected_of_every_name_that_was_struck() -> None:
    pattern = faults.Expected.parse("{own} content-changed {item}")
    found = pattern.named({"own": ("E.2",), "item": ("ev-1", "ev-2"), "root": ("unused",)})
    assert [str(one) for one in found] == ["E.2 content-changed ev-1", "E.2 content-changed ev-2"]
    fixed = faults.Expected.parse("E.5 checkpoint-missing the log's checkpoint")
    assert fixed.named({}) == (fixed,)


def test_evidence_altered_without_a_kind_is_one_of_the_kinds() -> None:
    plain, kind = faults.named(["evidence-altered", "evidence-altered:bundle-bit"])
    assert (plain.kind, plain.cause, plain.title) == (kind.kind, kind.cause, kind.title)
    assert (plain.guarantees, plain.code, plain.layer) == (("E.1",), "content-changed", "store")


def test_a_fault_named_twice_is_armed_once() -> None:
    assert [fault.name for fault in faults.named(["stella-lies", "crash-loop", "stella-lies"])] == [
        "stella-lies",
        "crash-loop",
    ]


@pytest.fixture
def injector(place: Place) -> strikes.Injector:
    place.faults.mkdir()
    return strikes.Injector(place=place, known=sitedata.Secrets.fresh())


def test_the_injector_knows_every_listed_fault(injector: strikes.Injector) -> None:
    assert set(injector.actions()) == FIRST_FAULTS | FOR_GATES | KINDS


def test_nothing_is_altered_before_there_is_a_baseline(injector: strikes.Injector, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text(_line("clause_started", "1.1c"))
    injector.journal = journal
    with pytest.raises(LookupError, match="no baseline"):
        injector._sealed_items()
    sealed = {"event": "fact", "clause": "1.1c", "data": {"name": "baseline", "facts": {"items": 2012}}}
    journal.write_text(journal.read_text() + json.dumps(sealed) + "\n")
    assert injector._sealed_items() == 2012


def test_a_switch_is_a_json_file_that_appears_whole(injector: strikes.Injector) -> None:
    (fault,) = faults.named(["green-errors:7"])
    injector.strike(fault)
    assert json.loads((injector.place.faults / "green-errors").read_text()) == {"percent": 7, "colour": "green"}
    assert [path.name for path in injector.place.faults.iterdir()] == ["green-errors"]


def _line(event: str, clause: str | None) -> str:
    return json.dumps({"event": event, "clause": clause}) + "\n"


def test_events_are_told_as_a_new_journal_grows_and_an_old_one_is_not_read(tmp_path: Path) -> None:
    old = tmp_path / "2027-01-01" / "journal.jsonl"
    old.parent.mkdir()
    old.write_text(_line("clause_started", "9.9"))
    fresh = tmp_path / "2027-01-02" / "journal.jsonl"

    def write() -> None:
        time.sleep(0.05)
        fresh.parent.mkdir()
        with fresh.open("w") as file:
            for piece in (_line("run_started", None), _line("clause_started", "P.1")[:9]):
                file.write(piece)
                file.flush()
                time.sleep(0.05)
            file.write(_line("clause_started", "P.1")[9:] + _line("clause_finished", "P.1"))
            file.write(_line("clause_started", "1.1a"))

    writer = threading.Thread(target=write)
    writer.start()
    assert injection.fresh_journal(tmp_path, {old}) == fresh
    assert list(islice(injection.events(fresh), 3)) == [
        ("P.1", "clause_started"),
        ("P.1", "clause_finished"),
        ("1.1a", "clause_started"),
    ]
    writer.join()


def test_a_bake_begins_with_the_first_sample_after_a_weight(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    told = [
        ("gate", "3.1b"),
        ("weight", "3.1b"),
        ("load", "3.1b"),
        ("gate", "3.1b"),
        ("gate", "3.1b"),
        ("gate", "3.1c"),
    ]
    journal.write_text("".join(_line(event, clause) for event, clause in told))
    seen = list(islice(injection.events(journal), len(told) + 1))
    assert seen.count(("3.1b", injection.BAKE)) == 1
    assert seen.index(("3.1b", injection.BAKE)) == 4


def test_faults_strike_at_the_start_or_at_their_clause(
    injector: strikes.Injector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "records"
    record.mkdir()
    struck: list[str] = []
    monkeypatch.setattr(strikes.Injector, "strike", lambda _self, fault: struck.append(fault.name))
    armed = faults.named(["green-slow", "stella-lies", "prometheus-down"])
    assert [fault.strikes_on for fault in armed] == ["weight", "clause_started", "clause_started"]

    def run() -> None:
        while not (injector.place.root / injection.READY).exists():
            time.sleep(0.01)
        struck.append("run")
        lines = [("clause_started", "3.1a"), ("weight", None), ("clause_started", "3.1b"), ("weight", "3.1a")]
        (record / "journal.jsonl").write_text("".join(_line(event, clause) for event, clause in lines))

    runner = threading.Thread(target=run)
    runner.start()
    injection.inject(injector, armed, record)
    runner.join()
    assert struck == ["stella-lies", "run", "prometheus-down", "green-slow"]
