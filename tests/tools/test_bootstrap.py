"""`./cutover` before there is an environment: a stand-in for Python shows what it would install, and when.

The stand-in answers as a Python with venv and pip does, writes down each call, and makes the files those calls make.
"""

import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BARE_PATH = "/usr/bin:/bin"
COMMANDS = (
    *("sh", "env", "dirname", "readlink", "sed", "grep", "tail", "cat", "sha256sum", "uname"),
    *("mkdir", "rm", "mv", "cp", "sleep", "flock"),
)

FAKE_PYTHON = """#!/bin/sh
me=$0
case "$*" in
    "-V") echo "Python 3.11.99" ;;
    "-I -c "*) echo "${ANSWER:-good}" ;;
    "-I -m venv "*)
        echo "venv" >>"$CALLS"
        mkdir -p "$4/bin"
        cp "$me" "$4/bin/python" ;;
    "-I -m pip install "*"--editable"*)
        echo "project" >>"$CALLS"
        echo "$@" >"$(dirname "$me")/cutover" ;;
    "-I -m pip install "*)
        echo "packages" >>"$CALLS"
        case "$*" in *--require-hashes*) ;; *) exit 9 ;; esac
        [ -z "${PIP_SAYS:-}" ] || { echo "$PIP_SAYS"; exit 1; }
        sleep "${PIP_TAKES:-0}" ;;
    *) shift; echo "ran: $*" ;;
esac
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A checkout with just what the bootstrap needs, and a stand-in for Python."""

    folder: Path
    python: Path
    calls: Path

    def run(self, *arguments: str, script: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the bootstrap; the environment holds nothing but what is given and the stand-in as PYTHON."""
        return subprocess.run(
            [str(script or self.folder / "cutover"), *arguments],
            env={"PATH": BARE_PATH, "PYTHON": str(self.python), "CALLS": str(self.calls)} | environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def took(self) -> list[str]:
        """Return what was installed since the last time this was asked."""
        if not self.calls.exists():
            return []
        told = self.calls.read_text(encoding="utf-8").split()
        self.calls.unlink()
        return told


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Return a fresh checkout."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    shutil.copy(ROOT / "cutover", folder / "cutover")
    (folder / "requirements.lock").write_text("a==1\nb==2\n", encoding="utf-8")
    (folder / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    python = tmp_path / "fake-python"
    python.write_text(FAKE_PYTHON, encoding="utf-8")
    python.chmod(0o755)
    return Checkout(folder=folder, python=python, calls=tmp_path / "calls")


def test_the_first_call_installs_and_the_second_only_runs(checkout: Checkout) -> None:
    first = checkout.run("plan", "--target", "a b")
    assert first.returncode == 0, first.stderr
    assert first.stdout == "ran: plan --target a b\n"
    assert checkout.took() == ["venv", "packages", "project"]
    assert "first call: making .venv" in first.stderr
    assert "usually 1 to 2 minutes" in first.stderr
    second = checkout.run("plan")
    assert (second.stdout, second.stderr) == ("ran: plan\n", "")
    assert checkout.took() == []


def test_it_works_through_links_to_links(checkout: Checkout, tmp_path: Path) -> None:
    checkout.run()
    (tmp_path / "one").symlink_to(checkout.folder / "cutover")
    (tmp_path / "two").symlink_to("one")
    result = checkout.run("x", script=tmp_path / "two")
    assert (result.stdout, result.stderr) == ("ran: x\n", "")


def test_a_changed_lock_is_installed_over_what_is_there(checkout: Checkout) -> None:
    checkout.run()
    checkout.took()
    (checkout.folder / "requirements.lock").write_text("a==2\n", encoding="utf-8")
    assert checkout.run("x").stdout == "ran: x\n"
    assert checkout.took() == ["packages", "project"]


def test_a_changed_declaration_only_registers_the_project(checkout: Checkout) -> None:
    checkout.run()
    checkout.took()
    (checkout.folder / "pyproject.toml").write_text("[project]\nname = 'x'\n", encoding="utf-8")
    assert checkout.run("x").stdout == "ran: x\n"
    assert checkout.took() == ["project"]


def test_a_moved_checkout_is_installed_anew(checkout: Checkout, tmp_path: Path) -> None:
    checkout.run()
    checkout.took()
    (checkout.folder / ".venv" / "old").touch()
    checkout.folder.rename(tmp_path / "moved")
    result = checkout.run("x", script=tmp_path / "moved" / "cutover")
    assert result.stdout == "ran: x\n"
    assert checkout.took() == ["venv", "packages", "project"]
    assert not (tmp_path / "moved" / ".venv" / "old").exists()


def test_a_half_made_environment_is_removed_and_made_again(checkout: Checkout) -> None:
    failed = checkout.run(PIP_SAYS="boom")
    assert failed.returncode == 3
    (checkout.folder / ".venv" / "half").touch()
    checkout.took()
    assert checkout.run("x").stdout == "ran: x\n"
    assert checkout.took() == ["venv", "packages", "project"]
    assert not (checkout.folder / ".venv" / "half").exists()


def test_an_environment_whose_python_is_gone_is_made_again(checkout: Checkout) -> None:
    checkout.run()
    checkout.took()
    (checkout.folder / ".venv" / "bin" / "python").unlink()
    assert checkout.run("x").stdout == "ran: x\n"
    assert checkout.took() == ["venv", "packages", "project"]


def test_an_environment_made_by_hand_is_completed(checkout: Checkout) -> None:
    subprocess.run(
        [str(checkout.python), "-I", "-m", "venv", str(checkout.folder / ".venv")],
        env={"PATH": BARE_PATH, "CALLS": str(checkout.calls)},
        check=True,
    )
    checkout.took()
    (checkout.folder / ".venv" / "mine").touch()
    assert checkout.run("x").stdout == "ran: x\n"
    assert checkout.took() == ["packages", "project"]
    assert (checkout.folder / ".venv" / "mine").exists()


def test_two_at_once_install_once(checkout: Checkout) -> None:
    results: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: results.append(checkout.run("x", PIP_TAKES="1"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(result.returncode, result.stdout) for result in results] == [(0, "ran: x\n")] * 3
    assert checkout.took() == ["venv", "packages", "project"]
    assert sum("another process is installing" in result.stderr for result in results) == 2


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "a package is not the one that requirements.lock pins"),
        ("[Errno 28] No space left on device", "no space left"),
        ("NewConnectionError(...)", "the package index was not reached"),
        ("ERROR: No matching distribution found for a==1", "a package has no file for Python 3.11.99"),
        ("something else", "the packages could not be installed"),
    ],
)
def test_a_failed_installation_says_why_and_what_to_do(checkout: Checkout, says: str, message: str) -> None:
    result = checkout.run("x", PIP_SAYS=says)
    assert result.returncode == 3
    assert result.stdout == ""
    assert says in result.stderr
    assert f"cutover: error: {message}" in result.stderr
    assert "what to do: " in result.stderr


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("is Python 3.9", "is Python 3.9; Python 3.11 or newer"),
        ("is Python 3.12 without venv or ensurepip", "without venv"),
    ],
)
def test_a_named_python_that_will_not_do_is_refused(checkout: Checkout, answer: str, told: str) -> None:
    result = checkout.run(ANSWER=answer)
    assert result.returncode == 3
    assert told in result.stderr
    assert "set PYTHON to such a Python" in result.stderr
    assert not (checkout.folder / ".venv").exists()


def _tools(tmp_path: Path, *without: str) -> Path:
    """Return a folder with the commands the bootstrap uses, and no Python."""
    folder = tmp_path / "commands"
    folder.mkdir()
    for name in COMMANDS:
        found = shutil.which(name, path=BARE_PATH)
        if found is not None and name not in without:
            (folder / name).symlink_to(found)
    return folder


def test_without_any_python_the_error_says_what_to_install(checkout: Checkout, tmp_path: Path) -> None:
    result = checkout.run(PYTHON="", PATH=str(_tools(tmp_path)))
    assert result.returncode == 3
    assert "no Python 3.11 or newer with venv on PATH (no python3 at all)" in result.stderr
    assert "apt install" in result.stderr


def test_a_python_on_path_that_will_do_is_found_behind_one_that_will_not(checkout: Checkout, tmp_path: Path) -> None:
    folder = _tools(tmp_path)
    (folder / "python3.11").write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    (folder / "python3.11").chmod(0o755)
    shutil.copy(checkout.python, folder / "python3")
    result = checkout.run("x", PYTHON="", PATH=str(folder))
    assert (result.returncode, result.stdout) == (0, "ran: x\n"), result.stderr
    assert f"({folder / 'python3'})" in result.stderr


def test_without_flock_a_folder_is_the_lock_and_a_dead_holder_does_not_block(
    checkout: Checkout, tmp_path: Path
) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    alone = checkout.folder / ".venv.lock" / "alone"
    alone.mkdir(parents=True)
    (alone / "pid").write_text(f"{dead.pid}\n", encoding="utf-8")
    result = checkout.run("x", PATH=str(_tools(tmp_path, "flock")))
    assert (result.returncode, result.stdout) == (0, "ran: x\n"), result.stderr
    assert not alone.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_checkout_is_one_clear_error(checkout: Checkout) -> None:
    checkout.folder.chmod(0o555)
    try:
        result = checkout.run()
    finally:
        checkout.folder.chmod(0o755)
    assert result.returncode == 3
    assert "is read-only" in result.stderr
