"""The lock of a site in a real API server: who gets it, who is refused, who takes over, who loses it.

Skipped without the built binaries or without namespaces. What happens is in `lock_world`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rehearsal.tools import ensure
from tests.sandboxed import world
from tests.site.lock_world import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Play = Callable[[str], str]

pytestmark = pytest.mark.real_programs

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "gateway-api-crds")


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Return what plays a scenario, and gives the traceback; empty when all went well."""
    tools = ensure(PROGRAMS)
    programs = json.dumps({name: str(tools.path(name)) for name in PROGRAMS})
    place = str(tmp_path_factory.mktemp("lock"))
    with world([sys.executable, str(Path(__file__).with_name("lock_world.py")), place, programs]) as do:
        yield do


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_real_lock(play: Play, scenario: str) -> None:
    assert play(scenario) == ""
