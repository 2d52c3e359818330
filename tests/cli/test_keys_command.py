"""`cutover keys init`: a key of its owner alone, and the trust root that verifies what it signs."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding

from cutover.cli.group import cli
from cutover.model import ExitCode
from cutover.record.keys import CERTIFICATE_FILE, KEY_FILE, TRUST_ROOT_FILE, SigningKey, TrustRoot

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def ran(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["keys", "init", *arguments])


def test_a_key_a_certificate_and_a_trust_root_that_belong_together(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "signing"
    done = ran(str(folder), "--name", "Release engineering", "--notice", "for a test")
    assert done.exit_code == ExitCode.PASSED, done.output
    key = SigningKey.load(folder / KEY_FILE, folder / CERTIFICATE_FILE)
    root = TrustRoot.load(folder / TRUST_ROOT_FILE)
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert root.ring().verify(key.sign("application/vnd.in-toto+json", b"{}")).key_ids == (key.key_id,)
    assert (root.notice, root.name_of(key.key_id)) == ("for a test", "Release engineering")
    assert f'key = "{KEY_FILE}"' in done.output
    assert "PRIVATE" not in done.output


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    assert ran(str(tmp_path)).exit_code == ExitCode.PASSED
    before = (tmp_path / KEY_FILE).read_bytes()
    again = ran(str(tmp_path))
    assert again.exit_code == ExitCode.REFUSED
    assert KEY_FILE in again.output
    assert (tmp_path / KEY_FILE).read_bytes() == before


def test_a_passphrase_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_PASSPHRASE", raising=False)
    missing = ran(str(tmp_path), "--passphrase-env", "MY_PASSPHRASE")
    assert missing.exit_code == ExitCode.WRONG_INPUT
    assert "MY_PASSPHRASE is not set" in missing.output
    monkeypatch.setenv("MY_PASSPHRASE", "correct horse")
    assert ran(str(tmp_path), "--passphrase-env", "MY_PASSPHRASE").exit_code == ExitCode.PASSED
    assert b"ENCRYPTED" in (tmp_path / KEY_FILE).read_bytes()
    SigningKey.load(tmp_path / KEY_FILE, tmp_path / CERTIFICATE_FILE, passphrase="correct horse")


def test_the_next_key_s_trust_root_believes_the_earlier_one_too(tmp_path: Path) -> None:
    assert ran(str(tmp_path / "one"), "--name", "One").exit_code == ExitCode.PASSED
    earlier = str(tmp_path / "one" / TRUST_ROOT_FILE)
    assert ran(str(tmp_path / "two"), "--name", "Two", "--trust-root", earlier).exit_code == ExitCode.PASSED
    root = TrustRoot.load(tmp_path / "two" / TRUST_ROOT_FILE)
    assert [one.name for one in root.keys] == ["One", "Two"]
    assert len(root.certificates) == 2


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_timestamping_authority_is_named(tmp_path: Path, encoding: Encoding) -> None:
    clock = SigningKey.make("A clock").chain[0]
    (tmp_path / "clock").write_bytes(clock.public_bytes(encoding))
    done = ran(str(tmp_path / "signing"), "--timestamping", str(tmp_path / "clock"))
    assert done.exit_code == ExitCode.PASSED, done.output
    assert TrustRoot.load(tmp_path / "signing" / TRUST_ROOT_FILE).timestamping == (clock,)


def test_what_is_no_certificate_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("none", "utf-8")
    done = ran(str(tmp_path / "signing"), "--timestamping", str(tmp_path / "clock"))
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert not (tmp_path / "signing").exists()
