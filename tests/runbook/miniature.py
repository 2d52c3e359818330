"""A runbook in miniature: a handful of clauses whose scenarios do what a table says, run by the real plugin.

It lives in a folder of its own and is run in a process of its own, as an operator would run the real one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cutover import project

if TYPE_CHECKING:
    from pathlib import Path

_SLOWEST_S = 100.0
"""On a machine that does much else; alone, a run takes a second."""

CLAUSES = ("P.1", "1.1a", "2.1a", "3.1a", "3.2", "4.1a", "5.1", "5.2a", "R.1")
STAGE = {"P": 1, "1": 1, "2": 2, "3": 3, "4": 4, "5": 5}
PHASE = {"P": "prerequisites", "R": "rollback"}

CONFTEST = """
import json
import os
import sys
import types

pytest_plugins = ["fixtures.run", "fake_steps"]

rollback = types.ModuleType("cutover.runbook.rollback")


def restore_blue(upgrade, site, trigger):
    upgrade.journal.write("rollback_started", trigger=trigger)
    serves = json.loads(os.environ["MINIATURE"]).get("rescued-by", "blue")
    upgrade.journal.write("rollback_finished", took_s=0.1, serves=serves)
    return types.SimpleNamespace(serves=serves, detail=f"of 20 requests: {serves} 20")


def send_back(upgrade, site, trigger):
    upgrade.journal.write("observation", what="sent back", trigger=trigger)


def explain(site, environment, error):
    error.cause_text = "a stone hit it"


rollback.restore_blue = restore_blue
rollback.send_back = send_back
diagnosis = types.ModuleType("cutover.runbook.diagnosis")
diagnosis.explain = explain
sys.modules["cutover.runbook.rollback"] = rollback
sys.modules["cutover.runbook.diagnosis"] = diagnosis
import cutover.runbook

cutover.runbook.rollback = rollback
cutover.runbook.diagnosis = diagnosis

from cutover.runbook.ports import Served
from fixtures.session import Run


def who_serves(requests):
    serving = json.loads(os.environ["MINIATURE"]).get("serves", "blue")
    return Served(total=requests, by_colour={serving: requests}, failed=0, pods={}, problems=())


def connect(run):
    if run.site is None:
        restored = run.upgrade.folder / "restored"
        public = types.SimpleNamespace(who_serves=who_serves)
        run.site = types.SimpleNamespace(public=public, routing=types.SimpleNamespace(restore=restored.touch))
    return run.site


def take_lock(run, *, going_on=False):
    return None


def last_holder(run):
    held = json.loads(os.environ["MINIATURE"]).get("held-by")
    return types.SimpleNamespace(**held) if held else None


def pytest_cutover_record(config, folder):
    from cutover.runbook import leaks
    from fixtures.run import run_of

    said = json.loads(os.environ["MINIATURE"]).get("reported")
    if said:
        result = json.loads((folder / "verdict.json").read_text("utf-8"))["result"]
        (folder / "report.html").write_text(f"{result} {said}", "utf-8")
        leaks.require_none(folder, run_of(config).secrets)


Run.connect = connect
Run.take_lock = take_lock
Run.last_holder = last_holder
"""

STEPS = """
import json
import os
import signal
import time
import types

import pytest
from pytest_bdd import given, parsers, then, when

from cutover.errors import ClauseFailed, CouldNotMeasure, Refused, Undecided, WrongInput
from fixtures.run import run_of

DO = json.loads(os.environ["MINIATURE"])


@pytest.fixture(scope="session")
def upgrade(request):
    run = run_of(request.config)
    run.connect()
    return run.upgrade


@given("the site is there")
def there(upgrade):
    pass


def interrupt(name):
    os.kill(os.getpid(), getattr(signal, name))
    time.sleep(5)


@when(parsers.parse("clause {clause} is performed"), target_fixture="did")
def performed(upgrade, clause):
    journal = upgrade.journal
    if clause == "3.1a":
        with journal.action("shift", percent=10):
            if DO.get(clause) == "break-while-shifting":
                raise ClauseFailed("the weight does not stay")
        journal.write("weight", percent=10, target="green")
        journal.write("gate_decision", percent=10, decision="advance")
        journal.write("load", attempted=100, failed=DO.get("failed", 0), by_colour={"blue": 90, "green": 10}, rps=50)
    if clause == "3.2":
        with journal.action("promote"):
            journal.write("weight", percent=100, target="green")
        journal.write("gate_decision", percent=100, decision="advance")
        journal.write("load", attempted=200, failed=DO.get("failed", 0), by_colour={"blue": 90, "green": 110}, rps=50)
    if clause == "4.1a":
        journal.write("evidence", before=5, after=6, missing=0, changed=0, added=1, unchanged=5)
    if clause == "5.2a":
        with journal.action("decommission"):
            pass
    if clause == "R.1":
        if "R.1 begins" in DO:
            interrupt(DO["R.1 begins"])
        journal.write("rollback_started", trigger="clause")
        journal.write("rollback_finished", took_s=0.2, serves="blue")
    match DO.get(clause):
        case "fail":
            raise ClauseFailed("it is broken", seen="a crack", do="mend it", secret="s3cret-value")
        case "leak":
            raise RuntimeError("password s3cret-value")
        case "plant":
            upgrade.path("artifacts", "canary.json").write_text(DO["planted"], "utf-8")
        case "error":
            raise CouldNotMeasure("nobody answered")
        case "pour":
            import leaky

            leaky.pour(upgrade)
        case "refuse":
            raise Refused("the window is closed")
        case "undecided":
            raise Undecided("too few samples")
        case "input":
            raise WrongInput("that is no number")
        case "crash":
            raise RuntimeError("a defect")
        case "assert":
            assert 1 == 2, "one is not two"
        case "skip":
            pytest.skip("not today")
        case "exit":
            pytest.exit("enough")
        case "disk-full":
            def refuse(*_, **__):
                raise OSError(28, "No space left on device")

            type(journal).write = refuse
            upgrade.path = refuse
            raise OSError(28, "No space left on device")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill-after-bad-gate":
            journal.write("gate", name="error_ratio", source="prometheus", result="FAIL", percent=10, reason="too many")
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill-half-way":
            with journal.path.open("ab") as file:
                file.write(b'{"seq":99,"time":')
            os.kill(os.getpid(), signal.SIGKILL)
        case "SIGINT" | "SIGTERM" | "SIGHUP" as name:
            interrupt(name)
        case "twice":
            try:
                interrupt("SIGINT")
            except KeyboardInterrupt:
                interrupt("SIGINT")
        case "warn":
            import warnings

            warnings.warn("old", DeprecationWarning)
    return clause


@then("it holds")
def holds(did):
    assert did
"""

FEATURE = """\
@phase_{stage} @reversible
Feature: {title}

  Background:
    Given the site is there

"""

SCENARIO = """\
  @clause_{tag}
  Scenario: Clause {clause} holds
    When clause {clause} is performed
    Then it holds

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one run left."""

    code: int
    out: str
    err: str
    verdict: dict[str, Any]
    journal: list[dict[str, Any]]
    folder: Path | None

    def results(self) -> dict[str, str]:
        """Return each clause's result."""
        return {clause["id"]: clause["result"] for clause in self.verdict["clauses"]}

    def reason(self, clause_id: str) -> str:
        """Return why a clause came to its result."""
        return next(clause["reason"] for clause in self.verdict["clauses"] if clause["id"] == clause_id)

    def performed(self) -> list[str]:
        """Return the clauses that were started, in order."""
        return [line["clause"] for line in self.journal if line["event"] == "clause_started"]


class Miniature:
    """The project in miniature, in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "contract").mkdir()
        (root / "features").mkdir()
        (root / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n", "utf-8")
        (root / "conftest.py").write_text(CONFTEST, "utf-8")
        (root / "fake_steps.py").write_text(STEPS, "utf-8")
        (root / "features" / "test_runbook.py").write_text(
            "from pytest_bdd import scenarios\n\nscenarios('.')\n", "utf-8"
        )
        self.write_catalogue()
        self.write_features()
        self.write_target()

    def write_catalogue(self, *, clauses: tuple[str, ...] = CLAUSES) -> None:
        """Write contract/clauses.toml; T.1 is in it and not built."""
        lines = ["[phases]", *(f'"{key}" = "Phase {key}"' for key in ("prerequisites", *"12345", "rollback", "T"))]
        for clause in clauses:
            letter = clause[0]
            lines += ["[[clause]]", f'id = "{clause}"', f'title = "Clause {clause}"']
            lines += [f'phase = "{PHASE.get(letter, letter)}"', 'guide = "g"', 'performed_by = "h"', 'check = "c"']
            lines += [f'risk = "{"irreversible" if clause == "5.2a" else "reversible"}"']
            lines += [f"stage = {STAGE[letter]}"] if letter in STAGE else []
        lines += ["[[clause]]", 'id = "T.1"', 'title = "T"', 'phase = "T"', 'guide = "g"', 'performed_by = "h"']
        lines += ['check = "c"', 'risk = "reversible"', 'not_built = "not yet"']
        (self.root / "contract" / "clauses.toml").write_text("\n".join(lines), "utf-8")

    def write_features(self) -> None:
        """Write one feature a phase; their titles sort backwards, so that only the plugin can put them in order."""
        by_stage: dict[str, list[str]] = {}
        for clause in CLAUSES:
            by_stage.setdefault(str(STAGE.get(clause[0], "rollback")), []).append(clause)
        for number, (stage, clauses) in enumerate(by_stage.items()):
            text = FEATURE.format(stage=stage, title=f"{chr(ord('Z') - number)} comes {number}th")
            text += "".join(SCENARIO.format(clause=c, tag=c.replace(".", "_")) for c in reversed(clauses))
            (self.root / "features" / f"{stage}.feature").write_text(text, "utf-8")

    def write_target(self, *, strategy: str = "gradual", in_run: bool = True) -> None:
        """Write target.toml and policy.toml from the contract's examples."""
        text = (project.CONTRACT / "examples" / "target.toml").read_text("utf-8")
        for key, value in (
            ("cache_url_env", "redis://:s3cret-value@cache:6379/0"),
            ("dsn_env", "postgresql://stella:s3cret-value@db/stellaops"),
            ("log_dsn_env", "postgresql://stella:s3cret-value@db/stella_log"),
            ("admin_dsn_env", "postgresql://admin:s3cret-value@db/postgres"),
            ("access_key_env", "s3cret-value"),
            ("secret_key_env", "s3cret-value"),
        ):
            lines = []
            for line in text.splitlines():
                if line.startswith(f"{key} "):
                    lines.append(f'{key.removesuffix("_env")} = "{value}"')
                else:
                    lines.append(line)
            text = "\n".join(lines) + "\n"
        (self.root / "target.toml").write_text(text, "utf-8")
        policy = (project.CONTRACT / "examples" / "policy.toml").read_text("utf-8")
        policy = policy.replace('strategy = "gradual"', f'strategy = "{strategy}"')
        policy = policy.replace("in_run = false", f"in_run = {str(in_run).lower()}")
        (self.root / "policy.toml").write_text(policy, "utf-8")
        for name in ("kubeconfig", "trust.json", "values-blue.yaml", "values-green.yaml", "test-bundle.tar.gz"):
            (self.root / name).write_text("", "utf-8")
        (self.root / "helm" / "stellaops").mkdir(parents=True, exist_ok=True)

    def run(self, *arguments: str, do: dict[str, object] | None = None, target: bool = True) -> Ran:
        """Run pytest over the features; `do`: what each clause's scenario does instead of passing."""
        command = [sys.executable, "-m", "pytest", "features", "-p", "no:cacheprovider", "--record", "records"]
        command += ["--target", "target.toml"] if target else []
        command += ["-p", "pytest_bdd.plugin", "-p", "pytest_timeout"]
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PYTEST")},
            "PYTHONPATH": os.pathsep.join(map(str, (project.ROOT, project.ROOT / "src", self.root))),
            "MINIATURE": json.dumps(do or {}),
            "NO_COLOR": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        done = subprocess.run(
            [*command, *arguments],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SLOWEST_S,
            check=False,
        )
        folders = sorted(path for path in (self.root / "records").glob("*") if path.is_dir())
        folder = folders[-1] if folders else None
        written = folder / "verdict.json" if folder else None
        # A last line that was left half written is none.
        lines = (folder / "journal.jsonl").read_text("utf-8").split("\n")[:-1] if folder else []
        return Ran(
            code=done.returncode,
            out=done.stdout,
            err=done.stderr,
            verdict=json.loads(written.read_text("utf-8")) if written and written.is_file() else {},
            journal=[json.loads(line) for line in lines],
            folder=folder,
        )
