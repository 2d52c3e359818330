"""Worlds of a test in a sandbox of their own: a process that stands by, is told what to do, and answers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal.environment import layout, sandbox
from rehearsal.environment.errors import NamespacesRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Ask = Callable[[str], Any]


def flags_or_skip() -> Sequence[str]:
    """Return what `unshare` is told to make a sandbox; skip the test where this machine refuses one."""
    try:
        return sandbox.namespace_flags()
    except NamespacesRefused as refusal:
        pytest.skip(str(refusal))


@contextlib.contextmanager
def world(
    command: Sequence[str], *, flags: Sequence[str] = (), environment: Mapping[str, str] | None = None, where: str = ""
) -> Iterator[Ask]:
    """Start a world, wait until it stands, and return what gives it one line and returns the JSON of its answer.

    flags: of `unshare`, where they are known already. where: what to look at when it does not come up.
    """
    process = subprocess.Popen(
        ["unshare", *(flags or flags_or_skip()), "--", *command],
        cwd=layout.PROJECT,
        env={**os.environ, "PYTHONPATH": str(layout.PROJECT), **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def ask(line: str) -> Any:  # noqa: ANN401 -- any JSON
        stdin.write(f"{line}\n")
        stdin.flush()
        return json.loads(stdout.readline())

    try:
        assert stdout.readline() == "ready\n", where
        yield ask
    finally:
        process.kill()
        process.communicate()
