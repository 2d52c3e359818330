"""The sandbox from outside: entering a real one, and machines that refuse it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rehearsal.environment import layout, lifecycle, sandbox
from rehearsal.environment.errors import NamespacesRefused, NotRunning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rehearsal.environment.layout import Place


def _says(program: Path, text: str) -> None:
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


@pytest.fixture
def holder(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """Hold a sandbox of nothing but namespaces."""
    try:
        flags = sandbox.namespace_flags()
    except NamespacesRefused as refusal:
        pytest.skip(refusal.message)
    process = subprocess.Popen(["unshare", *flags, "--", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    facts = {"pid": process.pid, "started_ticks": sandbox._started_ticks(process.pid)}
    place.sandbox.write_text(json.dumps(facts))
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def _enter(place: Place, *command: str, cwd: Path | None = None) -> subprocess.Popen[str]:
    code = (
        "import sys; from pathlib import Path; from rehearsal.environment import layout, sandbox; "
        "sys.exit(sandbox.run_inside(layout.Place.at(Path(sys.argv[1])), sys.argv[2:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(place.root), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(layout.PROJECT), "http_proxy": "http://proxy.invalid"},
        cwd=cwd,
    )


@pytest.mark.usefixtures("holder")
def test_a_command_runs_inside_with_the_same_folder_and_its_exit_code(place: Place, tmp_path: Path) -> None:
    inside = _enter(place, "sh", "-c", 'pwd; echo "$KUBECONFIG$http_proxy"; exit 7', cwd=tmp_path)
    output, _ = inside.communicate(timeout=20)
    assert inside.returncode == 7
    folder, variables = output.splitlines()
    assert folder == str(tmp_path)
    assert variables == str(place.kubeconfig)


@pytest.mark.usefixtures("holder")
def test_a_command_that_is_not_there_is_told_as_a_shell_would(place: Place) -> None:
    inside = _enter(place, "no-such-command")
    _, error = inside.communicate(timeout=20)
    assert (inside.returncode, error) == (127, "no-such-command: command not found\n")


@pytest.mark.usefixtures("holder")
def test_a_command_inside_dies_with_the_one_who_sent_it(place: Place) -> None:
    inside = _enter(place, "sh", "-c", "echo; exec sleep 61.25")
    assert inside.stdout is not None
    inside.stdout.readline()
    inside.kill()
    inside.communicate(timeout=20)
    deadline = time.monotonic() + 10
    while _commands("61.25") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _commands("61.25") == []


@pytest.mark.usefixtures("holder")
def test_a_request_to_end_reaches_the_command(place: Place) -> None:
    inside = _enter(place, "sh", "-c", "trap 'exit 9' TERM; echo; while :; do sleep 0.02; done")
    assert inside.stdout is not None
    inside.stdout.readline()
    inside.send_signal(signal.SIGTERM)
    inside.communicate(timeout=20)
    assert inside.returncode == 9


def _commands(word: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", word.encode()]:
            found.append(path.parent.name)
    return found


def test_ending_a_sandbox_ends_it_once(place: Place, holder: subprocess.Popen[bytes]) -> None:
    assert sandbox.pid_of(place) == holder.pid
    assert sandbox.end(place)
    holder.wait(timeout=10)
    assert sandbox.pid_of(place) is None
    assert not sandbox.end(place)


def test_a_reused_process_number_is_not_taken_for_the_sandbox(place: Place) -> None:
    place.sandbox.write_text(json.dumps({"pid": os.getpid(), "started_ticks": 1}))
    assert sandbox.pid_of(place) is None
    with pytest.raises(NotRunning, match="trial is not up") as caught:
        sandbox.require(place)
    assert caught.value.do == "./cutover env up --name trial"


def test_refused_namespaces_are_told_with_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _says(tmp_path / "unshare", "echo 'unshare: unshare failed: Operation not permitted' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NamespacesRefused) as caught:
        sandbox.namespace_flags()
    text = caught.value.render()
    assert "Operation not permitted" in text
    assert all(way in text for way in ("another machine", "privileged container", "live target"))
    assert caught.value.exit_code == 3


def test_root_without_user_namespaces_does_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _says(tmp_path / "unshare", 'case "$*" in *--user*) exit 1;; esac')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "--user" not in sandbox.namespace_flags()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NamespacesRefused):
        sandbox.namespace_flags()


def test_a_missing_unshare_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NamespacesRefused, match="unshare is missing") as caught:
        sandbox.namespace_flags()
    assert caught.value.do == "install util-linux"


def test_an_environment_whose_sandbox_is_gone_is_down_whatever_its_status_says(place: Place) -> None:
    place.status.write_text(json.dumps({"state": "up", "reason": "", "parts": {}}))
    assert lifecycle.status_of(place)["state"] == "down"
    assert lifecycle.status_of(layout.Place.named("never-made"))["state"] == "down"


def test_down_removes_everything_and_what_was_killed_is_cleared_later(place: Place) -> None:
    other = layout.Place.named("rehearse-1")
    other.root.mkdir()
    lifecycle.remove_dead("rehearse-")
    assert [each.name for each in lifecycle.every()] == ["trial"]
    assert lifecycle.down(place)
    assert not lifecycle.down(place)
    assert list(layout.environments_folder().iterdir()) == []


def test_one_that_is_being_made_is_not_cleared(place: Place) -> None:
    with lifecycle.held(place):
        lifecycle.remove_dead("trial")
        assert place.root.is_dir()
