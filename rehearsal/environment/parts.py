"""The parts of the site: what each runs, on which address, after which others, and how it shows that it is ready.

Invariants: a part is one process (and its children) with one log; a job is work done once inside the supervisor. Names
are unique. Nothing here starts anything: the supervisor does.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.environment import layout, pki, probes, routes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Where the programs are."""

    programs: Mapping[str, str]
    """Program name (`etcd`, `kube-apiserver`, `traefik`, `initdb`, …): absolute path."""

    def __getitem__(self, program: str) -> str:
        return self.programs[program]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A long-running process of the site."""

    name: str
    argv: tuple[str, ...]
    address: str = ""
    after: tuple[str, ...] = ()
    ready: Callable[[], bool] | None = None
    """Blocking probe, run in a thread; None means that starting is being ready."""
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    stop_signal: int = 15
    stop_bound_s: float = 15
    survives_kill: bool = False
    """Whether what it has acknowledged is on disk at any time, so that a late end may be cut short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work done once, in a thread of the supervisor."""

    name: str
    work: Callable[[], None]
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the parts are made from."""

    place: layout.Place
    tools: Tools
    uid_is_root: bool
    """Whether the sandbox's uid is 0 (it is, in a user namespace): PostgreSQL refuses it."""
    user_namespaces: bool = True
    """Whether nested user namespaces may be made."""
    routing: routes.Kind = routes.DEFAULT

    @classmethod
    def planned(cls, place: layout.Place) -> Scene:
        """Return what the plan of an environment says, in the sandbox."""
        plan = json.loads(place.plan.read_text(encoding="utf-8"))
        return cls(
            place=place,
            tools=Tools(programs=plan["tools"]),
            uid_is_root=os.getuid() == 0,
            user_namespaces=plan["user_namespaces"],
            routing=plan.get("routing", routes.DEFAULT),
        )


def control_plane(scene: Scene) -> list[Part]:
    """etcd, API server, controller manager, scheduler."""
    place, tools = scene.place, scene.tools
    etcd_url = f"http://{layout.ETCD}:2379"
    kubeconfig = {name: str(place.pki(f"{name}.kubeconfig")) for name in ("controller-manager", "scheduler")}
    return [
        Part(
            name="etcd",
            address=f"{layout.ETCD}:2379",
            argv=(
                tools["etcd"],
                f"--data-dir={place.data('etcd')}",
                f"--listen-client-urls={etcd_url}",
                f"--advertise-client-urls={etcd_url}",
                f"--listen-peer-urls=http://{layout.ETCD}:2380",
                f"--initial-advertise-peer-urls=http://{layout.ETCD}:2380",
                f"--initial-cluster=default=http://{layout.ETCD}:2380",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ),
            ready=probes.http_get(f"{etcd_url}/health"),
        ),
        Part(
            name="apiserver",
            address=f"{layout.API_SERVER}:6443",
            # The API server retries until etcd answers: it loads meanwhile.
            argv=(
                tools["kube-apiserver"],
                f"--etcd-servers={etcd_url}",
                f"--advertise-address={layout.API_SERVER}",
                f"--bind-address={layout.API_SERVER}",
                "--secure-port=6443",
                f"--service-cluster-ip-range={layout.SERVICE_RANGE}",
                f"--tls-cert-file={place.pki('apiserver.crt')}",
                f"--tls-private-key-file={place.pki('apiserver.key')}",
                f"--client-ca-file={place.pki('ca.crt')}",
                f"--service-account-key-file={place.pki('accounts.pub')}",
                f"--service-account-signing-key-file={place.pki('accounts.key')}",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                "--authorization-mode=Node,RBAC",
                "--kubelet-preferred-address-types=InternalIP",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=false",
                "--profiling=false",
            ),
            ready=probes.api_server(place),
        ),
        Part(
            name="controller-manager",
            after=("apiserver",),
            argv=(
                tools["kube-controller-manager"],
                f"--kubeconfig={kubeconfig['controller-manager']}",
                "--bind-address=127.0.0.1",
                "--leader-elect=false",
                f"--root-ca-file={place.pki('ca.crt')}",
                f"--cluster-signing-cert-file={place.pki('ca.crt')}",
                f"--cluster-signing-key-file={place.pki('ca.key')}",
                f"--service-account-private-key-file={place.pki('accounts.key')}",
                "--use-service-account-credentials=true",
                "--kube-api-qps=200",
                "--kube-api-burst=400",
                "--profiling=false",
            ),
            ready=probes.https_insecure("https://127.0.0.1:10257/healthz"),
        ),
        Part(
            name="scheduler",
            after=("apiserver",),
            argv=(
                tools["kube-scheduler"],
                f"--kubeconfig={kubeconfig['scheduler']}",
                "--bind-address=127.0.0.1",
                "--leader-elect=false",
                "--kube-api-qps=200",
                "--kube-api-burst=400",
                "--profiling=false",
            ),
            ready=probes.https_insecure("https://127.0.0.1:10259/healthz"),
        ),
    ]


_AS_NOBODY = """\
mount -t tmpfs tmpfs /mnt && mkdir /mnt/data /mnt/programs &&
mount --bind "$1" /mnt/data && mount --bind "$2" /mnt/programs &&
chown -R 65534:65534 /mnt/data && shift 2 && exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
"""
"""A user that is nobody may pass neither root's home nor its cache, so data and programs are bound where it can."""


def postgres_program(scene: Scene, program: str, *arguments: str) -> tuple[str, ...]:
    """Return the command of a PostgreSQL program on the environment's data folder.

    PostgreSQL refuses uid 0. In one more user namespace it sees another uid while the files stay the operator's own;
    where there are no user namespaces it runs as nobody.
    """
    path, data = Path(scene.tools[program]).resolve(), str(scene.place.data("postgres"))
    if not scene.uid_is_root:
        return (str(path), "-D", data, *arguments)
    if scene.user_namespaces:
        return ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--", str(path), "-D", data, *arguments)
    unit = path.parents[3]
    inner = str(Path("/mnt/programs") / path.relative_to(unit))
    script = ("sh", "-c", _AS_NOBODY, "postgres", data, str(unit), inner, "-D", "/mnt/data")
    return ("unshare", "--mount", "--", *script, *arguments)


def postgres(scene: Scene) -> Part:
    """PostgreSQL on blue's and on green's path; the data folder exists."""
    return Part(
        name="postgres",
        address=f"{layout.POSTGRES}:5432",
        argv=postgres_program(
            scene,
            "postgres",
            *("-c", f"listen_addresses={layout.POSTGRES},{layout.POSTGRES_GREEN}"),
            *("-c", "unix_socket_directories="),
            *("-c", "max_connections=200"),
            *("-c", "fsync=off"),
            *("-c", "autovacuum_naptime=30s"),
            *("-c", "log_min_messages=warning"),
        ),
        ready=probes.tcp_postgres(layout.POSTGRES),
        stop_signal=2,
    )


def caches(scene: Scene) -> list[Part]:
    """One Valkey a colour."""
    return [
        Part(
            name=f"valkey-{colour}",
            address=f"{address}:6379",
            argv=(
                scene.tools["valkey-server"],
                "--bind",
                address,
                "--port",
                "6379",
                "--save",
                "",
                "--appendonly",
                "no",
                "--protected-mode",
                "no",
                "--dir",
                str(scene.place.data(f"valkey-{colour}")),
            ),
            ready=probes.valkey(address),
        )
        for colour, address in (("blue", layout.VALKEY_BLUE), ("green", layout.VALKEY_GREEN))
    ]


_STORE_SCRIPT = """\
exec 9<"$1" && mount --bind "$2" /mnt && mount -t tmpfs tmpfs /tmp && cd /mnt && shift 2 && exec /proc/self/fd/9 "$@"
"""
"""SeaweedFS keeps sockets of fixed names in /tmp, and dials them: each environment's gets a /tmp of its own.

The program and the data folder may lie under /tmp, so one is opened and the other bound before it is covered.
"""


def store(scene: Scene) -> Part:
    """SeaweedFS: master, volume server, filer and S3 in one process; `s3.json` lies in the data folder."""
    folder = scene.place.data("store")
    return Part(
        name="store",
        address=f"{layout.STORE}:8333",
        argv=(
            "unshare",
            "--mount",
            "--",
            "sh",
            "-c",
            _STORE_SCRIPT,
            "store",
            scene.tools["weed"],
            str(folder),
            "-logtostderr=true",
            "server",
            "-dir=/mnt",
            f"-ip={layout.STORE}",
            f"-ip.bind={layout.STORE}",
            "-filer",
            "-s3",
            "-s3.config=s3.json",
            "-s3.iam=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-volume.max=20",
            "-volume.index=memory",
            "-volume.preStopSeconds=0",
            "-master.volumeSizeLimitMB=1024",
            "-master.electionTimeout=1s",
            "-master.telemetry=false",
        ),
        ready=probes.http_get(f"http://{layout.STORE}:8333/", accepted=(200, 403)),
        stop_bound_s=1.5,
        survives_kill=True,  # its servers do end in order; the process then lingers
    )


def prometheus(scene: Scene) -> Part:
    """Prometheus with the configuration in the environment's folder."""
    place = scene.place
    address = f"{layout.PROMETHEUS}:9090"
    return Part(
        name="prometheus",
        address=address,
        after=("apiserver",),
        argv=(
            scene.tools["prometheus"],
            f"--config.file={place.root / 'prometheus.yml'}",
            f"--storage.tsdb.path={place.data('prometheus')}",
            f"--web.listen-address={address}",
            "--scrape.discovery-reload-interval=1s",
            "--log.level=warn",
        ),
        ready=probes.http_get(f"http://{address}/-/ready"),
    )


def ingress(scene: Scene) -> Part:
    """Traefik as the controller of the public route, whichever kind that is."""
    address = layout.INGRESS
    return Part(
        name="ingress",
        address=f"{address}:80",
        # It gives up on kinds that the API server does not serve yet.
        after=("namespace",) if scene.routing == "gateway" else ("apiserver",),
        argv=(
            scene.tools["traefik"],
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
            f"--entrypoints.web.address={address}:80",
            f"--entrypoints.traefik.address={address}:8080",
            "--ping=true",
            "--api.insecure=true",
            "--metrics.prometheus=true",
            "--providers.providersthrottleduration=500ms",  # 2 s by default: each weight and each way back would wait
            *routes.controller_options(scene.routing),
            "--log.level=INFO",
        ),
        environment={"KUBECONFIG": str(scene.place.pki("ingress.kubeconfig"))},
        ready=probes.http_get(f"http://{address}:8080/ping"),
    )


def service_addresses(scene: Scene) -> Part:
    """Return what stands for kube-proxy and the cluster's DNS do elsewhere."""
    return Part(
        name="services",
        after=("apiserver",),
        argv=(
            sys.executable,
            "-m",
            "rehearsal.environment.services",
            "--state",
            str(scene.place.root),
            "--nginx",
            scene.tools["nginx"],
        ),
        ready=(scene.place.data("services") / "ready").exists,
    )


def node_agent(scene: Scene) -> Part:
    """Return the node that runs the pods."""
    place = scene.place
    return Part(
        name="node",
        address=f"{layout.NODE}:10250",
        after=("apiserver",),
        argv=(
            sys.executable,
            "-m",
            "rehearsal.node",
            "--kubeconfig",
            str(place.pki("node.kubeconfig")),
            "--state",
            str(place.data("node")),
            "--images",
            str(place.images),
            "--faults",
            str(place.faults),
        ),
        environment={"STELLA_FAULTS_DIR": str(place.faults)},
        ready=probes.tcp(layout.NODE, 10250),
    )


def visitors() -> Part:
    """Return the users that the site has of its own."""
    return Part(name="visitors", after=("serving",), argv=(sys.executable, "-m", "rehearsal.environment.visitors"))


def timestamps(scene: Scene) -> Part:
    """Return the authority that says when something was signed."""
    address = f"{layout.TIMESTAMPS}:{layout.TIMESTAMPS_PORT}"
    certificate, key = (str(scene.place.pki(name)) for name in pki.TIMESTAMPING)
    return Part(
        name="timestamps",
        address=address,
        argv=(
            *(sys.executable, "-m", "rehearsal.environment.timestamps"),
            *("--certificate", certificate, "--key", key),
        ),
        ready=probes.http_get(f"http://{address}/"),
    )


def path_variable(place: layout.Place) -> str:
    """`PATH` inside the environment: its own commands first."""
    return os.pathsep.join([str(place.bin), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def operator_environment(place: layout.Place) -> dict[str, str]:
    """Variables of the operator's commands, besides KUBECONFIG: caches of kubectl and helm stay in the environment."""
    return {
        "STELLA_NAMESPACE": layout.BLUE_NAMESPACE,
        "KUBECACHEDIR": str(place.root / "cache" / "kube"),
        "HELM_CACHE_HOME": str(place.root / "cache" / "helm"),
        "HELM_CONFIG_HOME": str(place.root / "cache" / "helm-config"),
        "HELM_DATA_HOME": str(place.root / "cache" / "helm-data"),
    }
