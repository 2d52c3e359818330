"""Routes of both kinds in a real API server: what it accepts, what its versions refuse, what it fills in by itself.

Skipped without the built binaries or without namespaces. What happens is in `routes_world`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rehearsal.tools import ensure
from tests.sandboxed import world

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
    programs = json.dumps({name: str(tools.path(name)) for name in PROGRAMS})
    place = str(tmp_path_factory.mktemp("routes"))
    with world([sys.executable, str(Path(__file__).with_name("routes_world.py")), place, programs]) as ask:

        def do(scenario: str, kind: str) -> str:
            return str(ask(f"{scenario} {kind}"))

        assert do("undefined", "gateway") == ""
        assert do("define", "gateway") == ""
        yield do


@pytest.mark.parametrize("kind", ["nginx", "gateway"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_real_routes(play: Play, scenario: str, kind: str) -> None:
    assert play(scenario, kind) == ""
