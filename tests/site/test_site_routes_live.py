"""Routes of both kinds in a real API server: what it accepts, what its versions refuse, what it fills in by itself.

Skipped without the built binaries or without namespaces. What happens is in `routes_world`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rehearsal.environment.errors import NamespacesRefused
from rehearsal.environment.sandbox import namespace_flags
from rehearsal.tools import ensure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Play = Callable[[str, str], str]

pytestmark = pytest.mark.real_programs

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "gateway-api-crds")
SCENARIOS = ("all_the_way", "at_once", "somebody_else", "a_label_in_between", "recreated", "gone_on_with")


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Return what plays a scenario with a kind of routes, and gives the traceback; empty when all went well."""
    tools = ensure(PROGRAMS)
    try:
        flags = namespace_flags()
    except NamespacesRefused as refusal:
        pytest.skip(str(refusal))
    programs = {name: str(tools.path(name)) for name in PROGRAMS}
    world = Path(__file__).with_name("routes_world.py")
    process = subprocess.Popen(
        [
            *("unshare", *flags, "--", sys.executable, str(world)),
            str(tmp_path_factory.mktemp("routes")),
            json.dumps(programs),
        ],
        cwd=world.parents[2],
        env={**os.environ, "PYTHONPATH": str(world.parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def do(scenario: str, kind: str) -> str:
        stdin.write(f"{scenario} {kind}\n")
        stdin.flush()
        return str(json.loads(stdout.readline()))

    try:
        assert stdout.readline() == "ready\n"
        assert do("undefined", "gateway") == ""
        assert do("define", "gateway") == ""
        yield do
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", ["nginx", "gateway"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_real_routes(play: Play, scenario: str, kind: str) -> None:
    assert play(scenario, kind) == ""
