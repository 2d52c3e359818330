"""A process that performs a procedure is ended by SIGKILL; the record is gone on with, nothing left, nothing doubled.

PostgreSQL, object store, cluster and helm are real; what happens is in `reentry_site`. Skipped without namespaces.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from rehearsal.environment import layout, sitedata
from rehearsal.tools import ensure
from tests.sandboxed import flags_or_skip, world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Play = Callable[[str], str]

pytestmark = [pytest.mark.real_programs, pytest.mark.timeout(240)]

PROGRAMS = (
    *("postgres", "initdb", "weed", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"),
    *("helm", "pg_dump", "pg_restore"),
)
SCENARIOS = (
    "killed_while_it_dumps",
    "killed_while_it_restores",
    "killed_with_secrets_in_a_scratch_namespace",
    "killed_while_it_archives",
)


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Return what plays a scenario and gives the traceback; empty when all went well."""
    place = layout.Place.at(tmp_path_factory.mktemp("reentry") / "site")
    flags = flags_or_skip()
    prepare(place)
    environment = {"REENTRY_USER_NAMESPACES": "1"} if "--user" in flags else {}
    command = [sys.executable, "-m", "tests.procedures.reentry_site", str(place.root)]
    with world(command, flags=flags, environment=environment, where=f"see {place.logs()}") as do:
        yield do


def prepare(place: layout.Place) -> None:
    """Write what the servers and the seeding read before they start."""
    place.logs().mkdir(parents=True)
    for name in ("seed", "tmp"):
        (place.root / name).mkdir()
    made = ensure(PROGRAMS)
    (place.root / "programs.json").write_text(json.dumps({name: str(made.path(name)) for name in PROGRAMS}))
    (place.root / "history.json").write_text(json.dumps({"items": 40, "object_bytes": None}))
    known = sitedata.Secrets.fresh()
    known.write(place.root)
    sitedata.write_store_identities(place, known)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_killed_attempt_is_gone_on_with(play: Play, scenario: str) -> None:
    assert play(scenario) == ""


def test_a_killed_helm_is_gone_on_with(play: Play) -> None:
    """In this order: the release that one leaves is what the next begins with."""
    assert play("killed_while_helm_installs") == ""
    assert play("helm_is_killed_too") == ""
    assert play("other_values_are_installed") == ""
    assert play("somebody_elses_helm") == ""
