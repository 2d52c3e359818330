"""Keys, certificates and kubeconfigs of one environment.

Invariants: everything is made afresh for each environment and never leaves its folder; private keys are written with
mode 0600. Elliptic keys throughout (P-256): they take a millisecond to make.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rehearsal.environment import layout

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = "embedded"
TIMESTAMPING = ("timestamps.der", "timestamps-key.der")
"""The certificate and the key of the authority that gives timestamps."""
_VALID = dt.timedelta(days=365)
_MASTERS = "system:masters"

_CLIENTS: dict[str, tuple[str, str | None]] = {
    "admin": ("operator", _MASTERS),
    "controller-manager": ("system:kube-controller-manager", None),
    "scheduler": ("system:kube-scheduler", None),
    "node": (f"system:node:{layout.NODE_NAME}", _MASTERS),
    "prometheus": ("prometheus", _MASTERS),
    "ingress": ("ingress-controller", _MASTERS),
    "services": ("service-addresses", _MASTERS),
}
"""Component: its user name and group in the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        return _key_pem(self.key)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(common_name: str, organisation: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(attributes)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + _VALID)
    )


def _authority() -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("embedded-ca")
    certificate = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    return _Pair(certificate=certificate, key=key)


def timestamping_authority() -> tuple[bytes, bytes]:
    """Return certificate and key of a timestamping authority that vouches for itself, in DER (RFC 3161 2.3).

    RSA, for what gives the timestamps signs with nothing else.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name, now = _name("embedded-timestamps, rehearsal only"), dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.DER), private


def _issue(authority: _Pair, subject: x509.Name, *, server_names: tuple[str, ...] = ()) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = ExtendedKeyUsageOID.SERVER_AUTH if server_names else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = _builder(subject, authority.certificate.subject, key).add_extension(
        x509.ExtendedKeyUsage([usage]), critical=False
    )
    if server_names:
        names: list[x509.GeneralName] = []
        for name in server_names:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                names.append(x509.DNSName(name))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
    )
    return _Pair(certificate=builder.sign(authority.key, hashes.SHA256()), key=key)


def write_private(path: Path, content: bytes) -> None:
    """Write `content` to a file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_bytes(content)


def _kubeconfig(authority: _Pair, client: _Pair, user: str) -> str:
    def encoded(content: bytes) -> str:
        return base64.b64encode(content).decode("ascii")

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [
            {
                "name": CONTEXT,
                "cluster": {
                    "server": f"https://{layout.API_SERVER}:6443",
                    "certificate-authority-data": encoded(authority.certificate_pem()),
                },
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": encoded(client.certificate_pem()),
                    "client-key-data": encoded(client.key_pem()),
                },
            }
        ],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
    }
    return json.dumps(document, indent=1)  # JSON is YAML


def write(place: layout.Place) -> None:
    """Make the authority, the API server's certificate, the service account key and one kubeconfig a component.

    Writes `ca.crt`, `ca.key`, `apiserver.{crt,key}`, `accounts.key`, `accounts.pub` and
    `<component>.{crt,key,kubeconfig}` to the environment's `pki/`, and the operator's kubeconfig to its root.
    """
    folder = place.root / "pki"
    folder.mkdir(mode=0o700, exist_ok=True)
    authority = _authority()
    write_private(place.pki("ca.crt"), authority.certificate_pem())
    write_private(place.pki("ca.key"), authority.key_pem())
    server = _issue(
        authority,
        _name("kube-apiserver"),
        server_names=(
            layout.API_SERVER,
            "10.96.0.1",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            *layout.NAMES[layout.API_SERVER],
        ),
    )
    write_private(place.pki("apiserver.crt"), server.certificate_pem())
    write_private(place.pki("apiserver.key"), server.key_pem())
    accounts = ec.generate_private_key(ec.SECP256R1())
    write_private(place.pki("accounts.key"), _key_pem(accounts))
    public = accounts.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_private(place.pki("accounts.pub"), public)
    for name, content in zip(TIMESTAMPING, timestamping_authority(), strict=True):
        write_private(place.pki(name), content)
    for component, (user, group) in _CLIENTS.items():
        client = _issue(authority, _name(user, group))
        write_private(place.pki(f"{component}.crt"), client.certificate_pem())
        write_private(place.pki(f"{component}.key"), client.key_pem())
        text = _kubeconfig(authority, client, user).encode("utf-8")
        write_private(place.kubeconfig if component == "admin" else place.pki(f"{component}.kubeconfig"), text)
