"""The files of a site, from the contract's examples, and what is planned and approved on it; no site behind them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from cutover import project
from cutover.evidence import bundle, signing
from cutover.policy import Policy
from cutover.runbook import approval, catalogue, inventory, plan
from cutover.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.model import Strategy
    from cutover.runbook.approval import Consent
    from cutover.runbook.plan import Plan

SECRETS = {
    "STELLA_DSN": "postgresql://stella:data-pass@db/stellaops",
    "STELLA_LOG_DSN": "postgresql://stella:data-pass@db/stella_log",
    "STELLA_BLUE_CACHE_URL": "redis://:blue-pass@cache:6379/0",
    "STELLA_GREEN_CACHE_URL": "redis://:green-pass@cache:6380/0",
    "STELLA_ADMIN_DSN": "postgresql://admin:admin-pass@db/postgres",
    "STELLA_STORE_ACCESS_KEY": "access-key",
    "STELLA_STORE_SECRET_KEY": "secret-key",
}
NOW = datetime(2026, 11, 23, 4, 30, tzinfo=UTC)
MEANING = "go, window agreed"
RUNNER = "ci-runner@build-7"


def private_key(number: int) -> ed25519.Ed25519PrivateKey:
    """Return one of the keys of the people here."""
    return ed25519.Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))


def public_pem(key: signing.PrivateKey) -> str:
    """Return the public half of a key."""
    encoded = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode()


def private_pem(key: signing.PrivateKey, passphrase: bytes | None = None) -> bytes:
    """Return a key as its owner keeps it."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@dataclass(kw_only=True)
class PlannedSite:
    """A target file with what it names, in a folder."""

    folder: Path
    keys: dict[str, signing.PrivateKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Write the files."""
        for name in ("target.toml", "policy.toml"):
            lines = (project.CONTRACT / "examples" / name).read_text("utf-8").splitlines(keepends=True)
            (self.folder / name).write_text("".join(line for line in lines if not line.startswith("#")), "utf-8")
        chart = self.folder / "helm" / "stellaops" / "templates"
        chart.mkdir(parents=True)
        (chart / "web.yaml").write_text("kind: Deployment\n", "utf-8")
        (self.folder / "values-green.yaml").write_text("replicas: 2\nsecretKey: green-canary\n", "utf-8")
        (self.folder / "trust.json").write_text("{}", "utf-8")

    def change(self, path: str, old: str, new: str) -> None:
        """Replace some text in one of the files, once."""
        text = (self.folder / path).read_text("utf-8")
        assert old in text
        (self.folder / path).write_text(text.replace(old, new, 1), "utf-8")

    def target(self) -> Target:
        """Return the target as it is now."""
        return Target.load(self.folder / "target.toml")

    def policy(self) -> Policy:
        """Return the policy as it is now."""
        return Policy.read(self.folder / "policy.toml")

    def plan(self, *, strategy: Strategy | None = None, scope: plan.Scope | None = None) -> Plan:
        """Return the plan of the files as they are now."""
        return plan.make(
            catalogue=catalogue.load_clauses(),
            scenarios=inventory.read_features(project.FEATURES),
            target=self.target(),
            policy=self.policy(),
            strategy=strategy,
            scope=scope,
        )

    # -- approvals -----------------------------------------------------------------------------------------------------

    def approvers(self, *names: str, more: str = "") -> None:
        """Let the target file name people, each with a key of their own. more: TOML of further ones."""
        lines = ["\n[approval]", 'trusted_root = "trusted_root.json"' if more else ""]
        for number, name in enumerate(names, 1):
            self.keys[name] = private_key(number)
            pem = public_pem(self.keys[name])
            lines += ["[[approval.approvers]]", f"name = {json.dumps(name)}", f"key = {json.dumps(pem)}"]
        self.change("target.toml", "\n[fixtures]\n", "\n".join([*lines, more]) + "\n[fixtures]\n")

    def require(self, **facts: object) -> None:
        """Let the policy demand signed approvals, with further facts of its table."""
        wanted = {"required": True, **facts}
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in wanted.items())
        self.change("policy.toml", "[approval]\n", f"[approval]\n{lines}")

    def sign(self, name: str, **facts: Any) -> bytes:  # noqa: ANN401  # those of `approval.statement`, and `by`, `plan`
        """Return an approval of the plan as it is now. by: the key's owner, where it is another than the name says."""
        by = facts.pop("by", name)
        document = facts.pop("plan", None) or self.plan().document()
        words = {"account": f"{by[0].lower()}@laptop", "meaning": MEANING, "at": NOW, "covers": (), **facts}
        return signing.sign(bundle.IN_TOTO, approval.statement(document, name=name, **words), self.keys[by])

    def approve(self, name: str, **facts: Any) -> Path:  # noqa: ANN401  # as above
        """Put an approval where a run looks for it."""
        return self.put(self.sign(name, **facts))

    def put(self, content: bytes, suffix: str = ".dsse.json") -> Path:
        """Put a file where a run looks for approvals."""
        place = self.folder / "approvals"
        place.mkdir(exist_ok=True)
        path = place / f"{len(list(place.iterdir()))}{suffix}"
        path.write_bytes(content)
        return path

    def consent(self, **facts: Any) -> Consent:  # noqa: ANN401  # those of `approval.examine`
        """Return how the plan stands as it is now."""
        words = {"performed_by": RUNNER, "now": NOW, "folders": [self.folder / "approvals"], **facts}
        document = words.pop("plan", None) or self.plan().document()
        return approval.examine(document, target=self.target(), policy=self.policy(), **words)
