"""`cutover rollback`: the way is shown first, forwards is refused, and nothing is done where nothing is to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cutover import project
from cutover.cli import going_on
from cutover.cli.group import cli
from cutover.clock import ManualClock
from cutover.policy import Policy
from cutover.procedures import rollback as going_back
from cutover.runbook.journal import Journal
from cutover.runbook.reverse import Observed
from cutover.target import Target
from tests.cli.test_cli import ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

TARGET = project.CONTRACT / "examples" / "target.toml"
ON_GREEN = Observed(serves="green", is_split=False, blue_installed=True, green_installed=True, breaking=())
WITH_BLUE = Observed(serves="blue", is_split=False, blue_installed=True, green_installed=True, breaking=())


class Console:
    """The command over one record, with what the site shows set by the test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.seen = ON_GREEN
        self.performed: list[dict[str, Any]] = []
        monkeypatch.setattr(going_back, "observe", lambda _site, _roles: self.seen)
        monkeypatch.setattr(going_on, "go_on", lambda name, **rest: self.performed.append({"procedure": name, **rest}))

    def __call__(self, *arguments: str) -> Result:
        return CliRunner(env=ENVIRONMENT).invoke(cli, ["rollback", str(self.folder), *arguments])


@pytest.fixture
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Console:
    """Return the command over the record of an upgrade whose cutover is done."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    target = Target.load(TARGET)
    folder = tmp_path / "2027-04-12-0930"
    folder.mkdir()
    journal = Journal(folder / "journal.jsonl", clock=ManualClock())
    journal.write(
        "run_started",
        upgrade_id=folder.name,
        target={"name": target.name, "kind": target.kind, "notice": "", "file": str(TARGET)},
        target_sha256=target.sha256,
        policy_sha256=Policy.read(target.policy_path).sha256,
        strategy="gradual",
        **{"from": "2027.Q1", "to": "2027.Q2"},
    )
    journal.write("observation", what="roles", blue="blue", green="green", serving="blue")
    for action in ("install green", "promote"):
        with journal.action(action):
            pass
    journal.close()
    return Console(folder, monkeypatch)


def test_the_way_is_shown_and_nothing_is_done(console: Console) -> None:
    before = sorted(path.read_bytes() for path in console.folder.iterdir())
    result = console("--dry-run")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "way back of 2027-04-12-0930   site staging-eu   2027.Q2 → 2027.Q1"
    assert lines[1] == "stands at   the public route names green; served by green"
    numbered = [line.split()[1] for line in lines if line.strip()[:1].isdigit()]
    assert numbered == ["R.2b", "R.1", "R.2a", "R.2c"]
    assert "           changes  the public route names blue alone" in lines
    assert "     R.2e  blue is installed" in lines
    assert lines[-1] == "afterwards  green stays, without requests"
    assert console.performed == []
    assert sorted(path.read_bytes() for path in console.folder.iterdir()) == before


def test_the_way_as_json(console: Console) -> None:
    result = console("--dry-run", "--json", "--remove-green")
    document = json.loads(result.stdout)
    assert (document["schema"], document["record"]) == ("cutover/reverse-plan/v1", "2027-04-12-0930")
    assert [step["clause"] for step in document["steps"] if step["needed"]] == ["R.2b", "R.1", "R.2a", "R.2c", "R.3"]
    assert document["nothing_to_send_back"] is False
    assert document["green_afterwards"] == "green is removed"


def test_it_is_performed_after_it_was_shown(console: Console) -> None:
    result = console("--reason", "one customer waits", "--remove-green")
    assert "R.1" in result.output
    (asked,) = console.performed
    assert asked["procedure"] == "rollback"
    assert asked["folder"] == str(console.folder)
    assert asked["more"] == ["--reason", "one customer waits", "--remove-green"]


def test_nothing_to_send_back_is_said_and_nothing_is_done(console: Console) -> None:
    journal = Journal(console.folder / "journal.jsonl")
    journal.write("rollback_finished", serves="blue")
    journal.close()
    console.seen = WITH_BLUE
    result = console("--dry-run")
    assert "R.2c" in result.output, "what green made is still to be verified"
    path = console.folder / "journal.jsonl"
    lines = path.read_text().splitlines()[:2]
    path.write_text("\n".join(lines) + "\n")
    result = console()
    assert result.exit_code == 0
    assert "nothing to send back: blue serves" in result.output
    assert console.performed == []


@pytest.mark.parametrize("colour", ["green", "red"])
def test_forwards_is_no_way_back(console: Console, colour: str) -> None:
    result = console("--to", colour)
    assert result.exit_code == 2
    assert f"--to {colour} is no way back: blue served before the upgrade" in result.output
    assert console.performed == []


def test_another_target_is_refused(console: Console, tmp_path: Path) -> None:
    other = tmp_path / "target.toml"
    text = TARGET.read_text().replace('name = "staging-eu"', 'name = "elsewhere"')
    other.write_text(text.replace('policy = "policy.toml"', f'policy = "{TARGET.parent / "policy.toml"}"'))
    result = console("--target", str(other))
    assert result.exit_code == 5, result.output
    assert "is not the one that the record" in result.output
    assert console.performed == []


def test_json_alone_is_wrong_input(console: Console) -> None:
    assert console("--json").exit_code == 2
    assert console.performed == []


def test_what_is_not_known_is_said(console: Console) -> None:
    console.seen = Observed(problems=("not known: the API server does not answer",))
    output = console("--dry-run").output
    assert "served by green?" in output
    assert "note        not known: the API server does not answer" in output
