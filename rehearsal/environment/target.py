"""What a run is told about the site: the target file, the policy, values, documents and keys.

Invariants: written once when the environment is made; relative paths are relative to the target file; files that hold
a secret have mode 0600. The windows of the policy are scaled to a rehearsal; the target's notice says what the site is.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyrage
import yaml

from rehearsal.environment import approving, canaries, layout, parts, pki, routes, signing, sitedata
from rehearsal.node.catalogue import REPOSITORY
from rehearsal.node.images import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOTICE = "Rehearsal on an embedded site with a stand-in for the Stella platform, not a production system"
STRATEGIES = ("gradual", "instant")
Profile = Literal["usual", "fast"]
"""`fast` is for many runs in a row: the same upgrade with the shortest windows that its gates can judge by."""
PROFILES: tuple[Profile, ...] = ("usual", "fast")
_WEIGHTS = (10, 25, 50, 100)
_BAKE_S = 10
_OBSERVATION_S = 30
_RAISED_PER_S = 600
_RAISED_USERS = 160
_RESERVE = 1.1
"""A generator may stay a tenth below its rate before a gate says so."""
_WINDOW = dt.timedelta(hours=12)
_COMMAND_S = 45
_DRAIN: Mapping[Profile, Mapping[str, int]] = {
    "usual": {"delaySeconds": 4, "timeoutSeconds": 6},
    "fast": {"delaySeconds": 2, "timeoutSeconds": 3},
}
"""How long a pod that ends goes on serving, and how long it then finishes what it has."""
_END_RESERVE_S = 2
SCRAPE_MS: Mapping[Profile, int] = {"usual": 1000, "fast": 500}
"""How often Prometheus scrapes: a rate needs two scrapes, and the range of a gate several."""
_FAST: Mapping[str, Mapping[str, Any]] = {
    "traffic": {"bake_s": 2, "interval_s": 0.5, "min_requests": 100},
    "gates": {"range_s": 2},
    "gates.attestation_success": {"min_attempts": 1},
    "gates.compare": {"min_samples": 3},
    "load": {"users": 30, "requests_per_s": 150, "scan_share": 0.06, "validation_share": 0.3},
    # The site's own users make no scans: a step must span the seconds in which a run was killed and another goes on.
    "observation": {"window_s": 10, "interval_s": 10},
}
"""What the fast profile says otherwise. Limits stay as they are; fewer samples decide."""
_ITEMS_PER_COMMAND_S = 250
"""How many items a command of the platform that looks at every one gets through in a second, at the least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a site differs from the usual one, its history apart."""

    routing: routes.Kind = routes.DEFAULT
    requests: int = 0
    """The policy makes a run send at least so many to the public host; 0 leaves it as it is."""
    strategy: str = "gradual"
    """What the policy says of how traffic moves."""
    profile: Profile = "usual"


USUAL = Shape()


def write(place: layout.Place, known: sitedata.Secrets, history: sitedata.History, shape: Shape = USUAL) -> None:
    """Write everything the operator of this site holds.

    The seed's files (`trust.json`, `test-bundle.tar.gz`, signing keys) and the images are in the environment's folder
    already.
    """
    identity = pyrage.x25519.Identity.generate()
    pki.write_private(place.root / "backup.agekey", f"{identity}\n".encode("ascii"))
    approving.make_key(place)
    canaries.Canaries.fresh().write(place.root)
    signing.make_key(place)
    for colour in ("blue", "green"):
        text = values(place, known, colour, profile=shape.profile)
        pki.write_private(place.root / f"values-{colour}.yaml", text.encode("utf-8"))
    text = target_text(place, known, recipient=str(identity.to_public()), history=history, routing=shape.routing)
    pki.write_private(place.target, text.encode("utf-8"))
    text = policy_text(dt.datetime.now(dt.UTC), strategy=shape.strategy, requests=shape.requests, profile=shape.profile)
    (place.root / "policy.toml").write_text(text, encoding="utf-8")
    documents = place.root / "docs"
    documents.mkdir()
    (documents / "CURRENT_VERSION.md").write_text(f"# Current version\n\n{layout.RELEASE_FROM}\n", encoding="utf-8")
    (documents / "CHANGELOG.md").write_text(
        f"# Changelog of this site\n\n## {layout.RELEASE_FROM}\n\n- Installed.\n", encoding="utf-8"
    )


def values(place: layout.Place, known: sitedata.Secrets, colour: str, *, profile: Profile = "usual") -> str:
    """Return the values file of one colour: green reaches the same database by a path of its own."""
    drain = dict(_DRAIN[profile])
    host = "postgres.stella.test" if colour == "blue" else "postgres-green.stella.test"
    document: dict[str, Any] = {
        "colour": colour,
        "image": {"repository": REPOSITORY},
        "replicas": {"web": 2, "worker": 1},
        "migrations": {"mode": "init"},
        "migrationTimeoutSeconds": 60,
        "drain": drain,
        "terminationGracePeriodSeconds": sum(drain.values()) + _END_RESERVE_S,
        "database": {"url": known.dsn(sitedata.DATABASE, host=host)},
        "cache": {"url": f"redis://valkey-{colour}.stella.test:6379/0"},
        "store": {
            "endpoint": "http://store.stella.test:8333",
            "bucket": sitedata.EVIDENCE_BUCKET,
            "accessKey": known.access_key,
            "secretKey": known.secret_key,
        },
        "signing": {"key": _seeded(place, "signing-key.pem"), "logKey": _seeded(place, "log-signing-key.pem")},
        "log": {"origin": sitedata.LOG_ORIGIN},
    }
    return yaml.safe_dump(document, sort_keys=False)


def _seeded(place: layout.Place, name: str) -> str:
    return (place.root / name).read_text(encoding="utf-8")


def target_text(
    place: layout.Place,
    known: sitedata.Secrets,
    *,
    recipient: str,
    history: sitedata.History,
    routing: routes.Kind = routes.DEFAULT,
) -> str:
    """Return the target file's text."""
    planted = canaries.Canaries.read(place.root)
    wanted = resolve(place.images, f"{REPOSITORY}:{layout.RELEASE_TO}")
    tables: list[tuple[str, Mapping[str, Any]]] = [
        ("upgrade", {"from": layout.RELEASE_FROM, "to": layout.RELEASE_TO, "image_digests": [wanted.digest]}),
        (
            "operator",
            {
                "host": "local://",
                "path": [str(place.bin)],
                "environment": {**parts.operator_environment(place), **planted.variables},
                "default_timeout_s": max(_COMMAND_S, history.items // _ITEMS_PER_COMMAND_S),
            },
        ),
        (
            "kubernetes",
            {
                "kubeconfig": "kubeconfig",
                "context": pki.CONTEXT,
                "allowed_contexts": [pki.CONTEXT],
                "allowed_namespaces": [layout.BLUE_NAMESPACE, layout.GREEN_NAMESPACE],
            },
        ),
        ("colours.blue", _colour("blue", layout.BLUE_NAMESPACE)),
        ("colours.green", _colour("green", layout.GREEN_NAMESPACE)),
        (
            "chart",
            {"path": str(layout.CHART), "image_tag_key": "image.tag", "migrations": "init", "wait_timeout_s": 45},
        ),
        ("routing", routes.target_table(routing)),
        (
            "database",
            {
                "dsn": known.dsn(sitedata.DATABASE),
                "log_dsn": known.dsn(sitedata.LOG_DATABASE),
                "admin_dsn": known.dsn("postgres", admin=True),
                "migrations": str(layout.MIGRATIONS),
            },
        ),
        (
            "store",
            {
                "endpoint": "http://store.stella.test:8333",
                "bucket": sitedata.EVIDENCE_BUCKET,
                "archive_bucket": sitedata.ARCHIVE_BUCKET,
                "access_key": known.access_key,
                "secret_key": known.secret_key,
            },
        ),
        ("prometheus", {"url": "http://prometheus.stella.test:9090"}),
        ("evidence", {"trust_root": "trust.json"}),
        ("backup", {"age_recipient": recipient, "age_identity_file": "backup.agekey"}),
        ("documents", {"current_version": "docs/CURRENT_VERSION.md", "changelog": "docs/CHANGELOG.md"}),
        ("fixtures", {"scan_image": "test-image:latest", "attestation_bundle": "test-bundle.tar.gz"}),
        ("signing", signing.target_table()),
        ("[approval.approvers]", {"name": approving.APPROVER, "key_file": approving.PUBLIC_KEY}),
    ]
    head: dict[str, Any] = {
        "schema": "cutover/target/v1",
        "name": "embedded",
        "kind": "rehearsal",
        "disposable": True,
        "notice": NOTICE,
        "policy": "policy.toml",
    }
    return _toml(head, tables)


def _colour(colour: str, namespace: str) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "release": f"stellaops-{colour}",
        "service": f"stellaops-{colour}",
        "values": [f"values-{colour}.yaml"],
        "cache_url": f"redis://valkey-{colour}.stella.test:6379/0",
    }


def load_for(requests: int, strategy: str) -> tuple[float, float]:
    """Return the requests a second and the bake time in seconds with which a run sends at least so many.

    Counted are the bakes and the observation alone; what is sent meanwhile else comes on top.
    """
    bakes = len(_WEIGHTS) + 1 if strategy == "gradual" else 1
    needed_s = _RESERVE * requests / _RAISED_PER_S - _OBSERVATION_S
    return _RAISED_PER_S, max(_BAKE_S, math.ceil(needed_s / bakes))


def policy_text(now: dt.datetime, *, strategy: str = "gradual", requests: int = 0, profile: Profile = "usual") -> str:
    """Return the policy, scaled so that a whole run fits: the record states the same numbers.

    requests, profile: as in `Shape`; writes and scans a second stay what they are, the added requests are reads.
    """

    def moment(at: dt.datetime) -> str:
        return at.astimezone(dt.UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")

    approval = {
        "requested_by": "release engineering",
        "approved_by": "rehearsal policy",
        "meaning": "This site is disposable: the upgrade may be performed on it at any time within the window.",
        "approved_at": moment(now),
        "channel": "written by the environment when it was made",
        "announced_to": "nobody: the site has no users",
        "window_start": moment(now - dt.timedelta(minutes=5)),
        "window_end": moment(now + _WINDOW),
        # One account of one machine signs and performs.
        "separate": False,
    }
    tables: list[tuple[str, Mapping[str, Any]]] = [
        ("approval", approval),
        (
            "traffic",
            {"weights": [*_WEIGHTS], "bake_s": _BAKE_S, "interval_s": 1, "confidence": 0.999, "min_requests": 200},
        ),
        ("gates", {"range_s": 5}),
        # Both colours share a machine of two cores with everything else: what is no green's fault is borne.
        ("gates.error_ratio", {"max": 0.01, "min_requests": 20, "max_increase": 0.01}),
        ("gates.latency_p99", {"max_s": 1.0, "max_increase_ratio": 1.0, "min_increase_s": 0.15}),
        ("gates.evidence_operations", {"min_per_s": 0.5, "max_decrease_ratio": 0.6}),
        ("gates.attestation_success", {"min_ratio": 0.99, "min_attempts": 3, "max_decrease": 0.2}),
        ("gates.compare", {"min_samples": 4}),
        (
            "load",
            {
                "users": 60,
                "requests_per_s": 250,
                "write_share": 0.1,
                "scan_share": 0.02,
                "max_failed": 0,
                "min_attempted_ratio": 0.7,
            },
        ),
        ("probe", {"requests_per_s": 20, "timeout_s": 5, "max_p99_s": 2.0}),
        ("limits", {"queue_drain_s": 20, "ready_s": 60, "backup_max_age_s": 3600, "rollback_s": 10}),
        ("observation", {"window_s": _OBSERVATION_S, "interval_s": 2, "in_run": True}),
        ("lock", {"duration_s": 4, "renew_s": 1}),
    ]
    document = dict(tables)
    if profile == "fast":
        document |= {name: {**document[name], **said} for name, said in _FAST.items()}
    if requests:
        rate, bake_s = load_for(requests, strategy)
        usual = document["load"]
        fewer = usual["requests_per_s"] / rate
        document["traffic"] = {**document["traffic"], "bake_s": bake_s}
        document["load"] = {
            **usual,
            "users": _RAISED_USERS,
            "requests_per_s": rate,
            "write_share": usual["write_share"] * fewer,
            "scan_share": usual["scan_share"] * fewer,
        }
    return _toml({"schema": "cutover/policy/v1", "strategy": strategy}, list(document.items()))


def _toml(head: Mapping[str, Any], tables: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    lines = [f"{key} = {_toml_value(value)}" for key, value in head.items()]
    for name, table in tables:
        lines += ["", f"[{name}]", *(f"{key} = {_toml_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    """Write a value in TOML. JSON strings, numbers, booleans and arrays are TOML too; an inline table differs."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml_value(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
