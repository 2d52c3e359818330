"""Who signs a record's statements: a key, an identity that a Sigstore instance vouches for, or nobody.

Invariants: what is signed is an in-toto statement and nothing else; a signature that cannot be had is an error and
never left out; without anything to sign with a record says so, in the target's words, and no signature is made up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from cutover.errors import CouldNotMeasure, WrongInput
from cutover.record.keys import SigningKey
from cutover.record.statements import PAYLOAD_TYPE

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.target import Target

KEY: Final = "key"
SIGSTORE: Final = "sigstore"
NONE: Final = "none"
SUFFIXES: Final = {KEY: ".dsse.json", SIGSTORE: ".sigstore.json"}
"""Of a statement's file, by the kind of its signature."""
UNSIGNED: Final = "the target file names nothing to sign with: [signing] is missing"


class Signer(Protocol):
    """Signs statements."""

    @property
    def kind(self) -> str:
        """`key` or `sigstore`."""

    @property
    def name(self) -> str:
        """Who signs, as a person reads it."""

    def sign(self, statement: bytes) -> bytes:
        """Return a signed statement: a DSSE envelope, or a Sigstore bundle of one. Raises CouldNotMeasure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySigner:
    """Signs with a key."""

    key: SigningKey
    kind: str = KEY

    @property
    def name(self) -> str:
        """As the key's certificate says."""
        return self.key.name

    def sign(self, statement: bytes) -> bytes:
        """Return a DSSE envelope."""
        return self.key.sign(PAYLOAD_TYPE, statement)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigstoreSigner:
    """Signs under the identity of whoever runs this, by a certificate of ten minutes and a log entry."""

    trust_config: Path
    """The instance's ClientTrustConfig."""
    token: str = field(repr=False)
    """OpenID Connect; empty to ask the CI system for its own."""
    kind: str = SIGSTORE

    @property
    def name(self) -> str:
        """The identity is in each bundle's certificate; before there is one, only the instance is known."""
        return f"an identity vouched for by {self.trust_config.name}"

    def sign(self, statement: bytes) -> bytes:
        """Return a Sigstore bundle of a DSSE envelope.

        Raises CouldNotMeasure: no identity can be had, or the instance gives no certificate, timestamp or log entry.
        WrongInput: the trust configuration is none.
        """
        # Half a second to import, for those who sign this way.
        from sigstore.dsse import Statement  # noqa: PLC0415
        from sigstore.errors import Error  # noqa: PLC0415
        from sigstore.models import ClientTrustConfig  # noqa: PLC0415
        from sigstore.oidc import IdentityToken, detect_credential  # noqa: PLC0415
        from sigstore.sign import SigningContext  # noqa: PLC0415

        try:
            config = ClientTrustConfig.from_json(self.trust_config.read_text("utf-8"))
        except (OSError, ValueError, Error) as problem:
            raise WrongInput(
                f"{self.trust_config} is no trust configuration of a Sigstore instance",
                code="signing-sigstore",
                seen=str(problem),
                do="give the instance's ClientTrustConfig in [signing.sigstore] trust_config",
            ) from problem
        try:
            token = self.token or detect_credential()
            if not token:
                raise CouldNotMeasure(
                    "nobody says who signs the record",
                    code="signing-identity",
                    seen="no identity_token in the target file, and no CI system that gives one",
                    do="set [signing.sigstore] identity_token_env, or sign with a key",
                )
            with SigningContext.from_trust_config(config).signer(IdentityToken(token)) as instance:
                return json.dumps(json.loads(instance.sign_dsse(Statement(statement)).to_json())).encode()
        except (OSError, ValueError, Error) as problem:
            raise CouldNotMeasure(
                "the Sigstore instance did not sign the record",
                code="signing-sigstore",
                seen=f"{type(problem).__name__}: {problem}",
                do="look whether the instance is reached and the token still valid, then seal again: ./cutover report",
            ) from problem


def of_target(target: Target) -> Signer | None:
    """Return what the target file signs with; None where it names nothing. Raises WrongInput: its key is none."""
    signing = target.signing
    if signing is None:
        return None
    if signing.sigstore is not None:
        return SigstoreSigner(trust_config=signing.sigstore.trust_config, token=signing.sigstore.identity_token)
    if signing.key is None or signing.certificate is None:  # the schema asks for one of the two
        return None
    return KeySigner(key=SigningKey.load(signing.key, signing.certificate, passphrase=signing.passphrase or None))


def document_of(signed: bytes, kind: str) -> dict[str, Any]:
    """Return a signature as a seal has it."""
    return {"kind": kind, ("bundle" if kind == SIGSTORE else "envelope"): json.loads(signed)}
