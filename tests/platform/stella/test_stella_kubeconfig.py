"""A kubeconfig is read as kubectl reads it, and one that cannot be used is one clear error with exit code 3."""

from __future__ import annotations

import base64
import datetime as dt
import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from rehearsal.platform.core import keys
from rehearsal.platform.stella import kubeconfig
from rehearsal.platform.stella.errors import UnreachableError
from tests.platform.stella.stella_world import CREATED, SIGNING_KEY

if TYPE_CHECKING:
    from pathlib import Path

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "site")])
CERTIFICATE = (
    x509.CertificateBuilder()
    .subject_name(NAME)
    .issuer_name(NAME)
    .public_key(SIGNING_KEY.public_key())
    .serial_number(1)
    .not_valid_before(CREATED)
    .not_valid_after(CREATED + dt.timedelta(days=1))
    .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    .sign(SIGNING_KEY, hashes.SHA256())
    .public_bytes(Encoding.PEM)
)
KEY = keys.private_pem(SIGNING_KEY).encode()


def write(path: Path, *, cluster: dict[str, Any], user: dict[str, Any]) -> str:
    body = {
        "current-context": "site",
        "contexts": [{"name": "site", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(json.dumps(body))
    return str(path)


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": "t"}, "Bearer t"),
        ({"tokenFile": "token"}, "Bearer from-file"),
        ({"username": "a", "password": "b"}, f"Basic {base64.b64encode(b'a:b').decode()}"),
        ({}, None),
    ],
)
def test_the_user_becomes_a_header(tmp_path: Path, user: dict[str, Any], header: str | None):
    (tmp_path / "token").write_text("from-file\n")
    access = kubeconfig.load(write(tmp_path / "config", cluster={"server": "http://127.0.0.1:1/"}, user=user))
    assert access.headers.get("Authorization") == header
    assert (access.server, access.tls) == ("http://127.0.0.1:1", None)


@pytest.mark.parametrize("is_inline", [True, False])
def test_certificates_are_taken_inline_or_from_files(tmp_path: Path, *, is_inline: bool):
    parts = {"certificate-authority": CERTIFICATE, "client-certificate": CERTIFICATE, "client-key": KEY}
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    given = {
        f"{name}-data" if is_inline else name: base64.b64encode(content).decode() if is_inline else name
        for name, content in parts.items()
    }
    cluster = {"server": "https://127.0.0.1:1", **{k: v for k, v in given.items() if k.startswith("certificate")}}
    user = {k: v for k, v in given.items() if k.startswith("client")}
    access = kubeconfig.load(write(tmp_path / "config", cluster=cluster, user=user))
    assert access.tls is not None
    assert access.tls.verify_mode == ssl.CERT_REQUIRED
    assert len(access.tls.get_ca_certs()) == 1


def test_verification_is_left_out_only_where_the_file_says_so(tmp_path: Path):
    cluster = {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}
    access = kubeconfig.load(write(tmp_path / "config", cluster=cluster, user={}))
    assert access.tls is not None
    assert access.tls.verify_mode == ssl.CERT_NONE


def test_earlier_files_win(tmp_path: Path):
    first = write(tmp_path / "first", cluster={"server": "http://first"}, user={})
    second = write(tmp_path / "second", cluster={"server": "http://second"}, user={})
    assert kubeconfig.load(f"{tmp_path / 'absent'}:{first}:{second}").server == "http://first"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no kubeconfig at"),
        ("[]", "is not a kubeconfig"),
        ("{", "cannot be read"),
        ("{}", "no current context"),
        ('{"current-context": "x"}', "no context named x"),
        (
            '{"current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c"}}]}',
            "no cluster named c",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | None, why: str):
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UnreachableError, match=why) as error:
        kubeconfig.load(str(path))
    assert (error.value.code, error.value.exit_code) == ("kubeconfig-unusable", 3)


@pytest.mark.parametrize(
    ("cluster", "user", "why"),
    [
        ({}, {}, "names no server"),
        ({"server": "http://c"}, {"exec": {"command": "login"}}, "plugin"),
        ({"server": "https://c", "certificate-authority-data": "!"}, {}, "cannot be loaded"),
        ({"server": "https://c", "certificate-authority": "absent.pem"}, {}, "cannot be loaded"),
    ],
)
def test_a_context_that_cannot_be_used_is_named(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], why: str
):
    with pytest.raises(UnreachableError, match=why):
        kubeconfig.load(write(tmp_path / "config", cluster=cluster, user=user))
