"""The command line: help, wrong input, plan, added commands."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from cutover import project
from cutover.cli import group
from cutover.cli.group import OWN, cli
from cutover.runbook.catalogue import load_clauses

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = {
    "STELLA_BLUE_CACHE_URL": "redis://:blue-pass@cache:6379/0",
    "STELLA_GREEN_CACHE_URL": "redis://:green-pass@cache:6380/0",
    "STELLA_DSN": "postgresql://stella:data-pass@db/stellaops",
    "STELLA_LOG_DSN": "postgresql://stella:data-pass@db/stella_log",
    "STELLA_ADMIN_DSN": "postgresql://admin:data-pass@db/postgres",
    "STELLA_STORE_ACCESS_KEY": "access-key",
    "STELLA_STORE_SECRET_KEY": "secret-key",
}
TARGET = str(project.CONTRACT / "examples" / "target.toml")


@pytest.fixture
def runner() -> CliRunner:
    """Return a runner with the secrets of the example target."""
    return CliRunner(env=ENVIRONMENT)


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=50, check=False)


def test_help_loads_neither_pytest_nor_a_driver() -> None:
    done = _python("-X", "importtime", "-m", "cutover.cli", "--help")
    assert done.returncode == 0
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert loaded & {"pytest", "rich", "kubernetes", "boto3", "jsonschema", "httpx", "cutover.cli.run"} == set()


def test_help_takes_less_than_half_a_second_of_the_processor() -> None:
    code = "import time; from cutover.cli.group import cli; cli(['--help'], standalone_mode=False)"
    code += "; print(time.process_time())"
    best = min(float(_python("-c", code).stdout.splitlines()[-1]) for _ in range(3))
    assert best < 0.5


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "resume",
        "observe",
        "decommission",
        "rollback",
        "status",
        "plan",
        "approve",
        "gates",
        "lint-routing",
        "test",
        "completion",
    ],
)
def test_every_command_explains_itself_with_an_example(runner: CliRunner, command: str) -> None:
    result = runner.invoke(cli, [command, "--help"])
    assert result.exit_code == 0
    assert f"  cutover {command}" in result.output or f"(cutover {command}" in result.output


def test_help_names_the_exit_codes(runner: CliRunner) -> None:
    output = runner.invoke(cli, ["run", "--help"]).output
    listed = output.partition("Exit codes:")[2].splitlines()
    assert [line.split()[0] for line in listed if line.strip()] == list("012345")


def test_version(runner: CliRunner) -> None:
    assert runner.invoke(cli, ["--version"]).output == f"cutover {importlib.metadata.version('cutover')}\n"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["plan"], "Missing option '--target'"),
        (["run"], "Missing option '--target'"),
        (["plan", "--target", "nowhere.toml"], "there is no target file at"),
        (["plan", "--target", TARGET, "--phase", "9"], "there is no phase 9"),
        (["plan", "--target", TARGET, "--phase", "1", "--until", "2"], "exclude each other"),
        (["plan", "--target", TARGET, "--strategy", "bold"], "'bold' is not one of"),
        (["fly"], "No such command 'fly'"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(runner: CliRunner, arguments: list[str], part: str) -> None:
    result = runner.invoke(cli, arguments)
    assert result.exit_code == 2
    assert part in result.output
    assert "Traceback" not in result.output


def test_a_run_with_a_wrong_target_says_so_once(tmp_path: Path) -> None:
    done = _python("-m", "cutover.cli", "run", "--target", str(tmp_path / "nowhere.toml"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        done.stderr == f"ERROR: there is no target file at {tmp_path / 'nowhere.toml'}\n     do        give its path\n"
    )


# -- plan --------------------------------------------------------------------------------------------------------------


def test_a_plan_as_json(runner: CliRunner) -> None:
    result = runner.invoke(cli, ["plan", "--target", TARGET, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["schema"] == "cutover/plan/v1"
    assert [clause["id"] for clause in document["clauses"]] == [clause.id for clause in load_clauses()]
    first = document["clauses"][0]
    assert (first["id"], first["not_run"]) == ("P.1", None)
    assert first["scenarios"], "each performed clause names its scenarios"
    assert [c["id"] for c in document["clauses"] if c["not_run"] is None and not c["scenarios"]] == []


def test_a_plan_in_words(runner: CliRunner) -> None:
    output = runner.invoke(cli, ["plan", "--target", TARGET, "--strategy", "instant", "--until", "3"]).output
    assert "strategy instant   scope until 3" in output
    assert "not performed         3.1a, 3.1b, 3.1c, 3.1d: instant strategy" in output
    assert "points of no return   none" in output
    for secret in ENVIRONMENT.values():
        assert secret not in output


def test_a_plan_is_the_same_twice(runner: CliRunner) -> None:
    digests = {
        json.loads(runner.invoke(cli, ["plan", "--target", TARGET, "--json"]).stdout)["digest"] for _ in range(2)
    }
    assert len(digests) == 1


# -- commands that entry points add ------------------------------------------------------------------------------------


@click.command(short_help="Say hello.")
def hello() -> None:
    """Say hello."""
    click.echo("hello")


class Point:
    """An entry point, as importlib.metadata gives it."""

    value = "somewhere:else"

    def __init__(self, name: str, found: object) -> None:
        self.name = name
        self._found = found

    def load(self) -> object:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


@pytest.fixture
def _added(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [Point("hello", hello), Point("broken", ImportError("no module named x\nmore")), Point("odd", object())]
    monkeypatch.setattr(group, "_added", lambda: {point.name: point for point in points})


@pytest.mark.usefixtures("_added")
def test_an_added_command_is_listed_and_works(runner: CliRunner) -> None:
    assert "Say hello." in runner.invoke(cli, ["--help"]).output
    assert runner.invoke(cli, ["hello"]).output == "hello\n"


@pytest.mark.usefixtures("_added")
@pytest.mark.parametrize(("name", "reason"), [("broken", "no module named x"), ("odd", "it is no command")])
def test_a_broken_one_says_so_in_one_line_and_breaks_nothing_else(runner: CliRunner, name: str, reason: str) -> None:
    result = runner.invoke(cli, [name, "--anything", "--help"])
    assert result.exit_code == 3
    assert result.output == f"ERROR: the command {name} cannot be loaded from somewhere:else: {reason}\n"
    listing = runner.invoke(cli, ["--help"])
    assert listing.exit_code == 0
    assert f"(cannot be loaded: {reason})" in " ".join(listing.output.split())


# -- test --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "last"),
    [
        ("def test_a(): pass\ndef test_b(): pass\n", 0, "2 tests ran: 2 passed"),
        ("def test_a(): assert 0\ndef test_b(): pass\n", 1, "2 tests ran: 1 failed, 1 passed"),
        ("import pytest\ndef test_a(): pytest.skip('x')\n", 0, "0 tests ran: 1 skipped"),
        ("", 3, "0 tests ran: none"),
    ],
)
def test_the_tests_are_counted(tmp_path: Path, body: str, code: int, last: str) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(body, "utf-8")
    done = _python("-m", "cutover.cli", "test", str(path), "-p", "no:cacheprovider")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (code, last), done.stdout + done.stderr


def test_completion_prints_a_script(runner: CliRunner) -> None:
    output = runner.invoke(cli, ["completion", "fish"]).output
    assert "_CUTOVER_COMPLETE=fish_complete" in output


def test_nothing_is_slow_to_import() -> None:
    began = time.process_time()
    own = list(OWN)
    assert own[:2] == ["run", "resume"]
    assert cli.list_commands(click.Context(cli))[: len(own)] == own
    assert time.process_time() - began < 0.5
