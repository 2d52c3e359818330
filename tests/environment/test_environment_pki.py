"""Keys, certificates and kubeconfigs."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from rehearsal.environment import pki

if TYPE_CHECKING:
    from rehearsal.environment.layout import Place


def _certificate(place: Place, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(place.pki(name).read_bytes())


def test_every_certificate_is_the_authoritys_and_every_secret_its_owners_alone(place: Place) -> None:
    pki.write(place)
    authority = _certificate(place, "ca.crt")
    issued = [path for path in (place.root / "pki").glob("*.crt") if path.name != "ca.crt"]
    assert len(issued) >= 6
    for path in issued:
        _certificate(place, path.name).verify_directly_issued_by(authority)
    for path in [place.kubeconfig, *(place.root / "pki").iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_the_api_server_is_known_by_its_address_and_its_cluster_names(place: Place) -> None:
    pki.write(place)
    names = _certificate(place, "apiserver.crt").extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    assert isinstance(names.value, x509.SubjectAlternativeName)
    addresses = {str(address) for address in names.value.get_values_for_type(x509.IPAddress)}
    assert addresses == {"10.245.0.1", "10.96.0.1"}
    assert "kubernetes.default.svc" in names.value.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize(
    ("component", "user"),
    [
        ("controller-manager", "system:kube-controller-manager"),
        ("scheduler", "system:kube-scheduler"),
        ("node", "system:node:node-1"),
    ],
)
def test_a_component_is_the_user_that_the_clusters_own_rules_name(place: Place, component: str, user: str) -> None:
    pki.write(place)
    certificate = _certificate(place, f"{component}.crt")
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == user
    usage = certificate.extensions.get_extension_for_oid(ExtensionOID.EXTENDED_KEY_USAGE).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]  # type: ignore[call-overload]


def test_the_operators_kubeconfig_is_whole(place: Place) -> None:
    pki.write(place)
    config = json.loads(place.kubeconfig.read_text())
    assert config["current-context"] == pki.CONTEXT
    assert config["clusters"][0]["cluster"]["server"] == "https://10.245.0.1:6443"
    authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"])
    assert authority == place.pki("ca.crt").read_bytes()


def test_two_environments_share_no_key(place: Place) -> None:
    pki.write(place)
    first = place.pki("ca.key").read_bytes()
    pki.write(place)
    assert place.pki("ca.key").read_bytes() != first
