"""What a target file says of signing: a key with its certificate, or a Sigstore instance; neither is in a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cutover import project
from cutover.errors import TargetInvalid
from cutover.record.keys import SigningKey
from cutover.target import Target

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = (project.CONTRACT / "examples" / "target.toml").read_text("utf-8")
VARIABLES = (
    "STELLA_BLUE_CACHE_URL",
    "STELLA_GREEN_CACHE_URL",
    "STELLA_DSN",
    "STELLA_LOG_DSN",
    "STELLA_ADMIN_DSN",
)
KEY = '[signing]\nkey = "signing.key"\ncertificate = "signing.crt"\n'


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, f"postgresql://user:password-of-{name}@host/database")
    monkeypatch.setenv("STELLA_STORE_ACCESS_KEY", "an access key")
    monkeypatch.setenv("STELLA_STORE_SECRET_KEY", "a secret key")
    monkeypatch.setenv("PASSPHRASE", "correct horse")
    monkeypatch.setenv("TOKEN", "token of the instance")


def written(folder: Path, table: str) -> Path:
    """Write the example's target file with a table more."""
    path = folder / "target.toml"
    path.write_text(f"{EXAMPLE}\n{table}", "utf-8")
    return path


def test_a_target_without_the_table_names_nothing_to_sign_with(tmp_path: Path) -> None:
    assert Target.load(written(tmp_path, "")).signing is None


def test_key_certificate_and_timestamps_are_read_relative_to_the_file(tmp_path: Path) -> None:
    more = f'{KEY}passphrase_env = "PASSPHRASE"\ntimestamp_url = "http://tsa.example"\ntrust_root = "root.json"\n'
    signing = Target.load(written(tmp_path, more)).signing
    assert signing is not None
    assert (signing.key, signing.certificate) == (tmp_path / "signing.key", tmp_path / "signing.crt")
    assert (signing.passphrase, signing.timestamp_url) == ("correct horse", "http://tsa.example")
    assert signing.trust_root == tmp_path / "root.json"
    assert "correct horse" not in repr(signing)


def test_the_passphrase_and_the_key_itself_are_secrets_of_the_target(tmp_path: Path) -> None:
    target = Target.load(written(tmp_path, f'{KEY}passphrase_env = "PASSPHRASE"\n'))
    key = SigningKey.make("A site")
    key.save(tmp_path / "signing.key", tmp_path / "signing.crt")
    kinds = target.secret_kinds()
    assert kinds["correct horse"] == "signing.passphrase"
    lines = [line for line in (tmp_path / "signing.key").read_text("ascii").splitlines() if "-----" not in line]
    assert {kinds[line] for line in lines} == {"signing.key"}


def test_a_sigstore_instance_stands_for_a_key(tmp_path: Path) -> None:
    table = '[signing.sigstore]\ntrust_config = "instance.json"\nidentity_token_env = "TOKEN"\n'
    target = Target.load(written(tmp_path, table))
    assert target.signing is not None
    assert target.signing.key is None
    assert target.signing.sigstore is not None
    assert target.signing.sigstore.trust_config == tmp_path / "instance.json"
    assert target.secret_kinds()["token of the instance"] == "signing.sigstore.identity_token"


@pytest.mark.parametrize(
    ("table", "seen"),
    [
        ("[signing]\n", "signing"),
        ('[signing]\nkey = "signing.key"\n', "signing"),
        ('[signing]\ncertificate = "signing.crt"\n', "signing"),
        (f'{KEY}[signing.sigstore]\ntrust_config = "instance.json"\n', "signing"),
        (f'{KEY}timestamp_url = "tsa.example"\n', "signing.timestamp_url"),
        (f'{KEY}passphrase = "in the file"\n', "passphrase"),
        ("[signing.sigstore]\n", "trust_config"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, table: str, seen: str) -> None:
    with pytest.raises(TargetInvalid) as refusal:
        Target.load(written(tmp_path, table))
    assert seen in refusal.value.seen


@pytest.mark.parametrize(
    ("spoil", "seen"),
    [("", "kubeconfig"), ("key", "signing.key"), ("certificate", "another key"), ("passphrase", "signing.key")],
)
def test_a_key_that_cannot_sign_is_refused_before_a_run_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str, seen: str
) -> None:
    """What would otherwise show when the run ends, days later. Everything else that a run needs is taken as given."""
    target = Target.load(written(tmp_path, f'{KEY}passphrase_env = "PASSPHRASE"\n'))
    mine, other = SigningKey.make("Mine"), SigningKey.make("Other")
    mine.save(
        tmp_path / "signing.key",
        tmp_path / "signing.crt",
        passphrase="other" if spoil == "passphrase" else "correct horse",
    )
    if spoil == "key":
        (tmp_path / "signing.key").write_text("none", "utf-8")
    if spoil == "certificate":
        other.save(tmp_path / "other.key", tmp_path / "signing.crt")
    if spoil:
        monkeypatch.setattr(type(tmp_path), "exists", lambda _: True)
    with pytest.raises(TargetInvalid) as refusal:
        target.require_files()
    assert seen in refusal.value.seen
