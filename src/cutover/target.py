"""The target file: all the harness knows of a site.

Parsed once, at the edge, against `contract/target.schema.json`; relative paths in it are relative to the file. A secret
may stand in it as `dsn`, in another file as `dsn_file`, or in the environment as `dsn_env`.
Invariants: a `Target` is complete and consistent; `redacted_toml` holds no secret.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cutover import _documents, credentials
from cutover.clock import AHEAD, asked_ahead
from cutover.errors import Refused, TargetInvalid, WrongInput
from cutover.model import Environment, Roles
from cutover.redaction import SHORTEST_SECRET, Redactor

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence


_READERS = 8
_PRODUCTION = frozenset({"production", "prod", "live"})
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Releases:
    """`[upgrade]`: from which release to which."""

    from_release: str
    to_release: str
    image_digests: tuple[str, ...]
    """Digests (`sha256:<hex>`) that images of the new release may have; empty where nobody gave any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorHost:
    """`[operator]`: where commands run."""

    host: str
    """A testinfra host spec: `local://`, `ssh://...`."""
    path: tuple[str, ...]
    """Folders put before PATH there."""
    environment: Mapping[str, str]
    default_timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesAccess:
    """`[kubernetes]`: the cluster, and what may be touched in it."""

    kubeconfig: Path
    context: str
    allowed_contexts: tuple[str, ...]
    allowed_namespaces: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`[chart]`: what is installed."""

    path: Path
    image_tag_key: str
    migrations: str
    """`init`: the chart migrates in an init container; `external`: category A runs before the release (F.13)."""
    wait_timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """`[routing]`: the public host, however it is routed; `NginxRoutes` and `GatewayRoutes` say how."""

    kind: str
    url: str
    host: str
    namespace: str
    """Of the public route."""
    colour_header: str
    pod_header: str

    @property
    def public_route(self) -> str:
        """Kind and name of the object that routes the public host."""
        raise NotImplementedError

    @property
    def split_by(self) -> str:
        """Kind and name of the object that holds the weights."""
        raise NotImplementedError

    def name_of(self, environment: Environment) -> str:
        """Return the name under which the public route can name a colour's Service."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxRoutes(Routing):
    """`kind = "nginx"`: Ingress objects, and a canary beside the public one."""

    primary: str
    canary: str
    bridge: str
    """A Service in the route's namespace that leads to a colour in another one."""
    ingress_class: str

    @property
    def public_route(self) -> str:
        """The Ingress."""
        return f"Ingress {self.primary}"

    @property
    def split_by(self) -> str:
        """The canary."""
        return f"canary {self.canary}"

    def name_of(self, environment: Environment) -> str:
        """Return the colour's own Service, or the bridge to it: an Ingress names no other namespace's."""
        return environment.service if environment.namespace == self.namespace else self.bridge


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRoutes(Routing):
    """`kind = "gateway"`: an HTTPRoute of the Gateway API, whose backends have weights."""

    gateway: str
    gateway_namespace: str
    route: str
    """The HTTPRoute."""

    @property
    def public_route(self) -> str:
        """The HTTPRoute."""
        return f"HTTPRoute {self.route}"

    @property
    def split_by(self) -> str:
        """The HTTPRoute itself."""
        return self.public_route

    def name_of(self, environment: Environment) -> str:
        """Return the colour's own Service, with its namespace where that is another than the route's."""
        beside = environment.namespace == self.namespace
        return environment.service if beside else f"{environment.namespace}/{environment.service}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAccess:
    """`[database]`: PostgreSQL."""

    dsn: str = field(repr=False)
    log_dsn: str = field(repr=False)
    admin_dsn: str = field(repr=False)
    """May create scratch databases; empty where nobody gave one."""
    migrations: Path | None = None
    """The folder of the release's migrations, `<id>.sql` and `<id>.reverse.sql`; None where nobody ships one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAccess:
    """`[store]`: object storage."""

    endpoint: str
    bucket: str
    archive_bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusAccess:
    """`[prometheus]`."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSettings:
    """`[evidence]`: the trust root held before the upgrade, and who reads the evidence."""

    trust_root: Path
    executor: str
    """`local`: processes of this machine; else the address of a Dask scheduler, as `tcp://HOST:8786`."""
    workers: int
    """How many local processes; one a core where nobody says otherwise."""
    readers: int
    """How many contents each worker reads at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """`[backup]`: to whom Secrets are encrypted (F.11)."""

    age_recipient: str
    age_identity_file: Path | None
    """Lets the restore be proven here; None where the key is elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """`[documents]`: what 4.3a and 4.3b update."""

    current_version: Path
    changelog: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationInputs:
    """`[fixtures]`: what 4.2b scans and 4.2c verifies."""

    scan_image: str
    attestation_bundle: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """`[[approval.approvers]]`: a person, and by what a signature is known to be theirs: a key, or an identity."""

    name: str
    key: str
    """Public key, PEM; empty for an identity."""
    identity: str
    """As a Sigstore certificate names it; empty for a key."""
    issuer: str
    accounts: tuple[str, ...]
    """`USER` or `USER@HOST`, from which this person performs runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """`[approval]`: who may approve, and where their signed approvals are."""

    folder: Path
    trusted_root: Path | None
    """Of the Sigstore instance that vouches for identities."""
    approvers: tuple[Approver, ...]
    """Empty where the file names none: nobody can approve with a signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigstoreSigning:
    """`[signing.sigstore]`: the instance that vouches for whoever runs this, in place of a key."""

    trust_config: Path
    """Its ClientTrustConfig: where to sign, and the trusted root."""
    identity_token: str = field(repr=False)
    """OpenID Connect; empty where the CI system gives one of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """`[signing]`: what seals the record: a key with its certificate, or a Sigstore instance."""

    key: Path | None
    """PEM; None for a Sigstore instance."""
    certificate: Path | None
    passphrase: str = field(repr=False)
    """Of the key; empty where it has none."""
    timestamp_url: str
    """Of a timestamp authority (RFC 3161) for the PDF; empty where there is none."""
    trust_root: Path | None
    """With which readers verify the record; named for people, and read by nothing here."""
    sigstore: SigstoreSigning | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One site, and one upgrade of it."""

    path: Path
    text: str = field(repr=False)
    name: str
    kind: str
    notice: str
    disposable: bool
    policy_path: Path
    upgrade: Releases
    operator: OperatorHost
    kubernetes: KubernetesAccess
    colours: Mapping[str, Environment]
    """`blue` and `green`, by the colour's own name; which one serves is `Roles`."""
    chart: Chart
    routing: NginxRoutes | GatewayRoutes
    database: DatabaseAccess
    store: StoreAccess
    prometheus: PrometheusAccess
    evidence: EvidenceSettings
    backup: Backup
    documents: Documents
    fixtures: ValidationInputs
    approval: Approvals
    signing: Signing | None
    """None where nothing is named to sign with: the record is then sealed without a signature, and says so."""
    sha256: str
    """`sha256:<hex>` over the file's bytes."""

    @staticmethod
    def load(path: Path | str) -> Target:
        """Read and check a target file.

        Raises: TargetInvalid with one sentence; Refused, WrongInput: the clock was put ahead where it may not be.
        """
        target = _parse(Path(path).absolute())
        target.require_clock(os.environ)
        return target

    def require_clock(self, environment: Mapping[str, str]) -> None:
        """Demand that the wall clock was put ahead on a disposable site alone, and by a readable time.

        Raises: Refused `clock-ahead`, WrongInput `clock-unreadable`.
        """
        try:
            ahead = asked_ahead(environment)
        except ValueError as problem:
            raise WrongInput(
                f"the clock cannot be put ahead as {AHEAD} says",
                code="clock-unreadable",
                seen=str(problem),
                do=f"give seconds, as in {AHEAD}=86400, or unset it",
            ) from problem
        if ahead and (self.is_production or not self.disposable):
            is_disposable = str(self.disposable).lower()
            raise Refused(
                f"the clock may not be put ahead on the site {self.name}",
                code="clock-ahead",
                seen=f"{AHEAD} = {ahead.total_seconds():g}; kind {self.kind}, disposable = {is_disposable}",
                do=f"unset {AHEAD}: times are evidence, and only a disposable site may play with them",
                state="nothing was changed",
            )

    @property
    def is_production(self) -> bool:
        """Whether one of the words of `kind` says so; "pre-production" does, too: an approval too many harms nobody."""
        return not _PRODUCTION.isdisjoint(_WORD.findall(self.kind.lower()))

    def default_roles(self) -> Roles:
        """Return the roles as the colours' names say, for as long as nobody has looked at who serves."""
        return Roles(blue=self.colours["blue"], green=self.colours["green"])

    def roles_when_serving(self, colour: str) -> Roles:
        """Return the roles when `colour` serves now (F.17). Raises KeyError for an unknown colour."""
        other = {"blue": "green", "green": "blue"}[colour]
        return Roles(blue=self.colours[colour], green=self.colours[other])

    def require_files(self) -> None:
        """Check what only a run needs, before it does anything; a plan does without.

        The files that it reads are there, Secrets can be encrypted to the recipient, and a restore can be proven.
        Raises TargetInvalid.
        """
        for key, path in (
            ("kubernetes.kubeconfig", self.kubernetes.kubeconfig),
            ("chart.path", self.chart.path),
            ("evidence.trust_root", self.evidence.trust_root),
            ("fixtures.attestation_bundle", self.fixtures.attestation_bundle),
            *((("approval.trusted_root", root),) if (root := self.approval.trusted_root) else ()),
            *((("backup.age_identity_file", identity),) if (identity := self.backup.age_identity_file) else ()),
            *((("database.migrations", folder),) if (folder := self.database.migrations) else ()),
            *_files_of_signing(self.signing),
            *((f"colours.{colour.name}.values", path) for colour in self.colours.values() for path in colour.values),
        ):
            if not path.exists():
                raise TargetInvalid(
                    f"the target file {self.path} names a file that is not there",
                    code="target-file-absent",
                    seen=f"{key}: {path}",
                    do="correct the path; a relative one is relative to the target file",
                )
        self._require_recipient()
        self._require_signing()
        if not self.database.admin_dsn:
            raise TargetInvalid(
                f"the target file {self.path} names no connection that may create a scratch database",
                code="admin-dsn-missing",
                seen="database: neither admin_dsn nor admin_dsn_file nor admin_dsn_env",
                do="add admin_dsn to [database]: a backup is only proven by restoring it",
            )

    def _require_recipient(self) -> None:
        import pyrage  # noqa: PLC0415 (a plan does without)

        try:
            pyrage.x25519.Recipient.from_str(self.backup.age_recipient)
        except pyrage.RecipientError as problem:
            raise TargetInvalid(
                f"the target file {self.path} names an age recipient that is none",
                code="age-recipient-invalid",
                seen=f"backup.age_recipient: {self.backup.age_recipient}: {problem}",
                do="make one with age-keygen and put its public part into [backup] age_recipient",
            ) from problem

    def _require_signing(self) -> None:
        """Demand that the record can be signed when the run ends: days after its beginning is late to find out."""
        if self.signing is None or self.signing.key is None or self.signing.certificate is None:
            return
        from cryptography import x509  # noqa: PLC0415 (a plan does without)
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

        seen = "the certificate is another key's"
        try:
            passphrase = self.signing.passphrase.encode() or None
            key = serialization.load_pem_private_key(self.signing.key.read_bytes(), passphrase)
            certificate = x509.load_pem_x509_certificate(self.signing.certificate.read_bytes())
            if certificate.public_key() == key.public_key():
                return
        except (OSError, ValueError, TypeError) as problem:
            seen = str(problem)
        raise TargetInvalid(
            f"the target file {self.path} names a signing key that cannot be used",
            code="signing-key-invalid",
            seen=f"signing.key: {self.signing.key}: {seen}",
            do="give the key's passphrase and its own certificate, or make both: ./cutover keys init",
        )

    def secrets(self) -> tuple[str, ...]:
        """Return every secret the target gives access with, longest first, for redaction. Raises TargetInvalid."""
        return tuple(sorted(self.secret_kinds(), key=lambda secret: (-len(secret), secret)))

    def secret_kinds(self) -> Mapping[str, str]:
        """Return every secret with its place: in the target, or in a file that it names, where that is there already.

        Raises TargetInvalid when a connection string or a YAML file is none.
        """
        return {**self._secrets_in_files(), **self._secrets_in_target()}

    def _secrets_in_target(self) -> dict[str, str]:
        operator = credentials.of_environment(self.operator.environment)
        found = {secret: f"operator.environment.{name}" for secret, name in operator.items()}
        connections = {
            "database.dsn": self.database.dsn,
            "database.log_dsn": self.database.log_dsn,
            "database.admin_dsn": self.database.admin_dsn,
            **{f"colours.{colour.name}.cache_url": colour.cache_url for colour in self.colours.values()},
        }
        for name, text in connections.items():
            try:
                found |= dict.fromkeys(credentials.of_connection(text) if text else (), name)
            except ValueError:
                raise TargetInvalid(
                    f"the target file {self.path} cannot be used",
                    code="target-secret",
                    seen=f"{name} is no connection string",
                    do="write it as a URL; in a password, write special characters as %XX",
                ) from None
        found |= {self.store.secret_key: "store.secret_key", self.store.access_key: "store.access_key"}
        if self.signing is not None:
            found[self.signing.passphrase] = "signing.passphrase"
        if self.signing is not None and self.signing.sigstore is not None:
            found[self.signing.sigstore.identity_token] = "signing.sigstore.identity_token"
        return {secret: kind for secret, kind in found.items() if secret}

    def _secrets_in_files(self) -> dict[str, str]:
        """Read the colours' values, the kubeconfig and the age identity; too short a word in them is left alone."""
        values = [(f"colours.{colour.name}.values", path) for colour in self.colours.values() for path in colour.values]
        found: dict[str, str] = {}
        for name, path in (*values, ("kubernetes.kubeconfig", self.kubernetes.kubeconfig)):
            found |= {secret: f"{name}: {key}" for secret, key in _credentials_in_yaml(name, path).items()}
        identity = _text_if_there("backup.age_identity_file", self.backup.age_identity_file)
        lines = [line.strip() for line in identity.splitlines() if line.startswith("AGE-SECRET-KEY-")]
        found |= dict.fromkeys(lines, "backup.age_identity_file")
        key = _text_if_there("signing.key", self.signing.key) if self.signing else ""
        found |= dict.fromkeys((line.strip() for line in key.splitlines() if "-----" not in line), "signing.key")
        return {secret: kind for secret, kind in found.items() if len(secret) >= SHORTEST_SECRET}

    def redacted_toml(self) -> str:
        """Return the file's own text with every secret replaced. Raises TargetInvalid."""
        return Redactor(self.secrets()).redact(self.text)


def _credentials_in_yaml(name: str, path: Path) -> dict[str, str]:
    import yaml  # noqa: PLC0415  # a target is read more often than its secrets are

    try:
        documents = list(yaml.safe_load_all(_text_if_there(name, path)))
    except yaml.YAMLError:
        raise TargetInvalid(
            f"{name}: {path} is not YAML", code="target-secret", do="correct the file, or name another"
        ) from None
    return credentials.of_document(documents)


def _text_if_there(name: str, path: Path | None) -> str:
    """Return a file's text; of one that is not there yet, nothing: `require_files` asks for those that are needed."""
    try:
        return path.read_text("utf-8") if path and path.is_file() else ""
    except (OSError, UnicodeDecodeError) as problem:
        raise TargetInvalid(f"{name}: {path} cannot be read", code="target-secret", seen=str(problem)) from problem


class _Table:
    """One table of the file, with paths relative to it and secrets from where they are."""

    def __init__(self, content: Mapping[str, Any], folder: Path, name: str) -> None:
        self._content = content
        self._folder = folder
        self._name = name

    def path(self, key: str) -> Path:
        """Return a path, made absolute from the file's folder."""
        return self._folder / Path(self._content[key]).expanduser()

    def optional_path(self, key: str) -> Path | None:
        """Return a path, or None when it is not given."""
        return self.path(key) if key in self._content else None

    def secret(self, key: str) -> str:
        """Return a secret given as `key`, `key_file` or `key_env`; empty when it is given in none of them."""
        if key in self._content:
            return str(self._content[key])
        if f"{key}_file" in self._content:
            path = self.path(f"{key}_file")
            try:
                return path.read_text("utf-8").strip()
            except OSError as problem:
                raise TargetInvalid(
                    f"{self._name}.{key}_file: {path} cannot be read", code="target-secret", seen=str(problem)
                ) from problem
        variable = self._content.get(f"{key}_env")
        if variable is None:
            return ""
        if not os.environ.get(variable):
            raise TargetInvalid(
                f"{self._name}.{key}_env: the environment variable {variable} is not set",
                code="target-secret",
                do=f"set {variable}, or give {key} or {key}_file",
            )
        return os.environ[variable]


def _environment(name: str, content: Mapping[str, Any], folder: Path) -> Environment:
    return Environment(
        name=name,
        namespace=content["namespace"],
        release=content["release"],
        service=content["service"],
        values=tuple(folder / value for value in content.get("values", [])),
        cache_url=_Table(content, folder, f"colours.{name}").secret("cache_url"),
    )


def _routing(content: Mapping[str, Any]) -> NginxRoutes | GatewayRoutes:
    if content["kind"] == "nginx":
        return NginxRoutes(**content)
    return GatewayRoutes(**{"gateway_namespace": content["namespace"], **content})


def _approvals(content: Mapping[str, Any], folder: Path) -> Approvals:
    table = _Table({"folder": "approvals", **content}, folder, "approval")
    return Approvals(
        folder=table.path("folder"),
        trusted_root=table.optional_path("trusted_root"),
        approvers=tuple(
            Approver(
                name=approver["name"],
                key=_Table(approver, folder, f"approval.approvers.{number}").secret("key"),
                identity=approver.get("identity", ""),
                issuer=approver.get("issuer", ""),
                accounts=tuple(approver.get("accounts", ())),
            )
            for number, approver in enumerate(content.get("approvers", ()))
        ),
    )


def _signing(content: Mapping[str, Any] | None, folder: Path) -> Signing | None:
    if content is None:
        return None
    table, keyless = _Table(content, folder, "signing"), content.get("sigstore")
    instance = None
    if keyless is not None:
        inner = _Table(keyless, folder, "signing.sigstore")
        instance = SigstoreSigning(
            trust_config=inner.path("trust_config"), identity_token=inner.secret("identity_token")
        )
    return Signing(
        key=table.optional_path("key"),
        certificate=table.optional_path("certificate"),
        passphrase=table.secret("passphrase"),
        timestamp_url=content.get("timestamp_url", ""),
        trust_root=table.optional_path("trust_root"),
        sigstore=instance,
    )


def _files_of_signing(signing: Signing | None) -> tuple[tuple[str, Path], ...]:
    """Return the files without which a record could not be signed, by their keys."""
    if signing is None:
        return ()
    named = {
        "signing.key": signing.key,
        "signing.certificate": signing.certificate,
        "signing.sigstore.trust_config": signing.sigstore.trust_config if signing.sigstore else None,
    }
    return tuple((key, path) for key, path in named.items() if path is not None)


def _parse(path: Path) -> Target:
    text, content = _documents.read(path, "target", error=TargetInvalid, noun="target file")
    folder = path.parent
    tables = {
        name: _Table(table, folder, name) for name, table in {"": content, **content}.items() if isinstance(table, dict)
    }
    operator, kubernetes, chart = content["operator"], content["kubernetes"], content["chart"]
    database, store, backup = tables["database"], tables["store"], tables["backup"]
    target = Target(
        path=path,
        text=text,
        name=content["name"],
        kind=content["kind"],
        notice=content.get("notice", ""),
        disposable=content.get("disposable", False),
        policy_path=tables[""].path("policy"),
        upgrade=Releases(
            from_release=content["upgrade"]["from"],
            to_release=content["upgrade"]["to"],
            image_digests=tuple(content["upgrade"].get("image_digests", ())),
        ),
        operator=OperatorHost(
            host=operator["host"],
            path=tuple(operator.get("path", [])),
            environment=MappingProxyType(dict(operator.get("environment", {}))),
            default_timeout_s=float(operator.get("default_timeout_s", 60)),
        ),
        kubernetes=KubernetesAccess(
            kubeconfig=tables["kubernetes"].path("kubeconfig"),
            context=kubernetes["context"],
            allowed_contexts=tuple(kubernetes["allowed_contexts"]),
            allowed_namespaces=tuple(kubernetes["allowed_namespaces"]),
        ),
        colours=MappingProxyType(
            {name: _environment(name, colour, folder) for name, colour in content["colours"].items()}
        ),
        chart=Chart(
            path=tables["chart"].path("path"),
            image_tag_key=chart.get("image_tag_key", "image.tag"),
            migrations=chart.get("migrations", "init"),
            wait_timeout_s=float(chart.get("wait_timeout_s", 300)),
        ),
        routing=_routing(content["routing"]),
        database=DatabaseAccess(
            dsn=database.secret("dsn"),
            log_dsn=database.secret("log_dsn"),
            admin_dsn=database.secret("admin_dsn"),
            migrations=database.optional_path("migrations"),
        ),
        store=StoreAccess(
            endpoint=content["store"]["endpoint"],
            bucket=content["store"]["bucket"],
            archive_bucket=content["store"]["archive_bucket"],
            access_key=store.secret("access_key"),
            secret_key=store.secret("secret_key"),
        ),
        prometheus=PrometheusAccess(url=content["prometheus"]["url"]),
        evidence=EvidenceSettings(
            trust_root=tables["evidence"].path("trust_root"),
            executor=content["evidence"].get("executor", "local"),
            workers=content["evidence"].get("workers", len(os.sched_getaffinity(0))),
            readers=content["evidence"].get("readers", _READERS),
        ),
        backup=Backup(
            age_recipient=content["backup"]["age_recipient"],
            age_identity_file=backup.optional_path("age_identity_file"),
        ),
        documents=Documents(
            current_version=tables["documents"].path("current_version"),
            changelog=tables["documents"].path("changelog"),
        ),
        fixtures=ValidationInputs(
            scan_image=content["fixtures"]["scan_image"],
            attestation_bundle=tables["fixtures"].path("attestation_bundle"),
        ),
        approval=_approvals(content.get("approval", {}), folder),
        signing=_signing(content.get("signing"), folder),
        sha256="sha256:" + hashlib.sha256(text.encode()).hexdigest(),
    )
    _check(target)
    return target


def _check(target: Target) -> None:
    """Refuse what the schema cannot see."""
    blue, green = target.colours["blue"], target.colours["green"]
    allowed = target.kubernetes.allowed_namespaces
    faults = [
        (
            f"colours.{colour.name}.namespace: {colour.namespace} is not among kubernetes.allowed_namespaces",
            "add it there",
        )
        for colour in (blue, green)
        if colour.namespace not in allowed
    ]
    routing, context = target.routing, target.kubernetes.context
    routed = {"namespace": routing.namespace}
    if isinstance(routing, GatewayRoutes):
        routed["gateway_namespace"] = routing.gateway_namespace
    faults += [
        (f"routing.{key}: {namespace} is not among kubernetes.allowed_namespaces", "add it there")
        for key, namespace in routed.items()
        if namespace not in allowed
    ]
    if context not in target.kubernetes.allowed_contexts:
        faults.append((f"kubernetes.context: {context} is not among kubernetes.allowed_contexts", "add it there"))
    if (blue.namespace, blue.release) == (green.namespace, green.release):
        faults.append(("colours: blue and green are the same release", "name two releases"))
    if isinstance(routing, NginxRoutes) and routing.canary == routing.primary:
        faults.append(("routing.canary: it is the public route, and canaries are deleted", "name another Ingress"))
    if target.upgrade.from_release == target.upgrade.to_release:
        faults.append(("upgrade: from and to are the same release", "name two releases"))
    if any(len(secret) < SHORTEST_SECRET for secret in target._secrets_in_target()):  # noqa: SLF001  # its own module
        faults.append(
            (f"a password has fewer than {SHORTEST_SECRET} characters and cannot be masked", "use a longer one")
        )
    faults += _faults_of_approvers(target.approval)
    for message, remedy in faults[:1]:
        raise TargetInvalid(f"the target file {target.path} cannot be used", seen=message, do=remedy)


def _faults_of_approvers(approval: Approvals) -> list[tuple[str, str]]:
    names = [approver.name for approver in approval.approvers]
    known_by = [approver.key or (approver.identity, approver.issuer) for approver in approval.approvers]
    faults = [(f"approval.approvers: {name} is named twice", "name each once") for name in _twice(names)]
    if _twice(known_by):
        faults.append(("approval.approvers: two of them have one key, or one identity", "give each their own"))
    if approval.trusted_root is None and any(approver.identity for approver in approval.approvers):
        faults.append(
            ("approval.approvers: an identity, and no approval.trusted_root that could vouch for it", "name the file")
        )
    return faults


def _twice(items: Sequence[Hashable]) -> list[Hashable]:
    """Return what occurs more than once, each once."""
    return [item for item, count in Counter(items).items() if count > 1]
