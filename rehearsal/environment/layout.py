"""Where an environment keeps its things, and the addresses inside its sandbox.

Invariants: an environment is one folder, `$XDG_STATE_HOME/cutover/env/<name>/`; removing it removes every trace
except the caches. Every environment has a network namespace of its own, so all use the same addresses.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from rehearsal.environment.errors import EnvironmentFault

PROJECT = Path(__file__).resolve().parents[2]
"""The checkout: chart, contract and packages are found from here."""

CHART = PROJECT / "rehearsal" / "platform" / "chart"
MIGRATIONS = PROJECT / "rehearsal" / "platform" / "core" / "sql"
"""The releases' migrations, each with its way back where it ships one."""

POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
INFRASTRUCTURE_RANGE = "10.245.0.0/16"

API_SERVER = "10.245.0.1"
NODE = "10.245.0.2"
ETCD = "10.245.0.3"
POSTGRES = "10.245.0.10"
POSTGRES_GREEN = "10.245.0.11"
VALKEY_BLUE = "10.245.0.20"
VALKEY_GREEN = "10.245.0.21"
STORE = "10.245.0.30"
PROMETHEUS = "10.245.0.40"
TIMESTAMPS = "10.245.0.50"
TIMESTAMPS_PORT = 3161
INGRESS = "10.245.0.80"

PUBLIC_HOST = "stellaops.example"
CLUSTER_DOMAIN = "svc.cluster.local"
NODE_NAME = "node-1"

NAMES: dict[str, tuple[str, ...]] = {
    API_SERVER: ("api.stella.test",),
    NODE: (NODE_NAME,),
    ETCD: ("etcd.stella.test",),
    POSTGRES: ("postgres.stella.test",),
    POSTGRES_GREEN: ("postgres-green.stella.test",),
    VALKEY_BLUE: ("valkey-blue.stella.test",),
    VALKEY_GREEN: ("valkey-green.stella.test",),
    STORE: ("store.stella.test",),
    PROMETHEUS: ("prometheus.stella.test",),
    TIMESTAMPS: ("timestamps.stella.test",),
    INGRESS: (PUBLIC_HOST,),
}
"""Names of the infrastructure, as `/etc/hosts` inside the sandbox gives them."""

BLUE_NAMESPACE = "stellaops-prod"
GREEN_NAMESPACE = "stellaops-green"
RELEASE_FROM = "2027.Q1"
RELEASE_TO = "2027.Q2"

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def _xdg(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / fallback


def environments_folder() -> Path:
    """Return the folder that holds one folder an environment."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "cutover" / "env"


def cache_folder() -> Path:
    """Return the user cache of the project: tools, seeded data."""
    return _xdg("XDG_CACHE_HOME", ".cache") / "cutover"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The folder of one environment and the names in it."""

    name: str
    root: Path

    @classmethod
    def named(cls, name: str) -> Place:
        """Return the place of the environment called `name`.

        Raises: EnvironmentFault (exit 2) for a name that is not a short lower-case label.
        """
        if not _NAME.fullmatch(name):
            raise EnvironmentFault(
                f"{name!r} is no name for an environment",
                do="use 1 to 40 lower-case letters, digits and dashes, beginning and ending with a letter or digit",
                exit_code=2,
            )
        return cls(name=name, root=environments_folder() / name)

    @classmethod
    def at(cls, root: Path) -> Place:
        """Return the place whose folder is `root`."""
        return cls(name=root.name, root=root)

    @property
    def lock(self) -> Path:
        """Beside the folder, so that it outlives it."""
        return self.root.parent / f".{self.name}.lock"

    @property
    def sandbox(self) -> Path:
        """`{"pid", "started_ticks"}` of the process that holds the sandbox."""
        return self.root / "sandbox.json"

    @property
    def status(self) -> Path:
        """What the supervisor last said of every part."""
        return self.root / "status.json"

    @property
    def plan(self) -> Path:
        """What the supervisor is to start."""
        return self.root / "environment.json"

    @property
    def hosts(self) -> Path:
        """The sandbox's `/etc/hosts`."""
        return self.root / "hosts"

    @property
    def kubeconfig(self) -> Path:
        """The operator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def target(self) -> Path:
        """The target file that a run is given."""
        return self.root / "target.toml"

    def logs(self, part: str | None = None) -> Path:
        """Return the log of a part, or the folder of all."""
        return self.root / "logs" / f"{part}.log" if part else self.root / "logs"

    def data(self, part: str) -> Path:
        """Return the data folder of a part."""
        return self.root / "data" / part

    def pki(self, name: str) -> Path:
        """Return a certificate, key or kubeconfig of a component."""
        return self.root / "pki" / name

    @property
    def faults(self) -> Path:
        """The folder of fault switches: a file `NAME` in it (JSON parameters) means that the fault is on."""
        return self.root / "faults"

    @property
    def images(self) -> Path:
        """The registry: a local OCI image layout."""
        return self.root / "images"

    @property
    def bin(self) -> Path:
        """The operator's commands: kubectl, helm, stella, the PostgreSQL client programs."""
        return self.root / "bin"


def hosts_text(services: dict[str, str] | None = None) -> str:
    """Return the text of `/etc/hosts`: infrastructure first and unchanged, then cluster names.

    `services` maps `NAME.NAMESPACE` to a ClusterIP.
    """
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    lines += [f"{address} {' '.join(names)}" for address, names in NAMES.items()]
    for service, address in sorted((services or {}).items()):
        lines.append(f"{address} {service}.{CLUSTER_DOMAIN} {service}.svc")
    return "\n".join(lines) + "\n"
