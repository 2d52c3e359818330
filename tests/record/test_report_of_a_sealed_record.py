"""`cutover report` and a seal: reports that are as they were are left alone, others need the record sealed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cutover.cli.group import cli
from cutover.model import ExitCode
from cutover.record import manifest, signer
from cutover.record.verify import verify
from reports import sealing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from cutover.record.keys import SigningKey


def complain(name: str, problem: str) -> None:
    pytest.fail(f"{name}: {problem}")


def ran(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["report", *map(str, arguments)])


@pytest.fixture
def whole(finished: Path, signing_key: SigningKey, copy_of: Callable[[Path], Path]) -> Path:
    """Return a record with its real reports, sealed as a run seals it."""
    folder = copy_of(finished)
    sealing.make_inputs(folder, complain)
    made = sealing.complete(folder, sealing.Means(signer=signer.KeySigner(key=signing_key)), complain)
    assert made is not None
    return folder


def test_a_run_s_own_way_of_sealing_gives_a_record_that_holds(whole: Path, signing_key: SigningKey) -> None:
    found = verify(whole, signing_key.trust_root())
    assert [str(reason) for check in found.checks for reason in check.reasons] == []
    assert found.holds
    digest = found.digest.removeprefix("sha256:")
    assert digest in (whole / "report.html").read_text("utf-8")
    assert digest in (whole / "summary.md").read_text("utf-8")


def test_reports_that_would_be_the_same_are_not_written(whole: Path, signing_key: SigningKey) -> None:
    before = manifest.everything(whole)
    done = ran(whole)
    assert done.exit_code == ExitCode.PASSED, done.output
    assert "nothing was written" in done.output
    assert manifest.everything(whole) == before
    assert verify(whole, signing_key.trust_root()).holds


def test_reports_that_would_be_otherwise_need_a_new_seal(whole: Path, signing_key: SigningKey, tmp_path: Path) -> None:
    (whole / "summary.md").write_text("made by an older release", "utf-8")
    before = manifest.everything(whole)
    refused = ran(whole)
    assert refused.exit_code == ExitCode.REFUSED
    assert "summary.md would be otherwise" in refused.output
    assert manifest.everything(whole) == before
    signing_key.save(tmp_path / "signing.key", tmp_path / "signing.crt")
    done = ran(whole, "--key", tmp_path / "signing.key")
    assert done.exit_code == ExitCode.PASSED, done.output
    assert "number 2" in done.output
    found = verify(whole, signing_key.trust_root())
    assert [str(reason) for check in found.checks for reason in check.reasons] == []
    assert found.holds


def test_a_record_without_a_signature_is_signed_afterwards(
    finished: Path, copy_of: Callable[[Path], Path], signing_key: SigningKey, tmp_path: Path
) -> None:
    folder = copy_of(finished)
    sealing.make_inputs(folder, complain)
    assert sealing.complete(folder, sealing.Means(), complain) is not None
    assert not verify(folder, signing_key.trust_root()).holds
    signing_key.save(tmp_path / "signing.key", tmp_path / "signing.crt")
    assert ran(folder, "--key", tmp_path / "signing.key").exit_code == ExitCode.PASSED
    found = verify(folder, signing_key.trust_root())
    assert [str(reason) for check in found.checks for reason in check.reasons] == []
    assert found.holds


def test_a_key_that_cannot_be_used_leaves_the_record_as_it_is(whole: Path, tmp_path: Path) -> None:
    before = manifest.everything(whole)
    (tmp_path / "signing.key").write_text("none", "utf-8")
    assert ran(whole, "--key", tmp_path / "signing.key").exit_code == ExitCode.WRONG_INPUT
    assert manifest.everything(whole) == before


def test_a_secret_in_the_record_keeps_it_from_being_sealed_and_attested(
    finished: Path, copy_of: Callable[[Path], Path], signing_key: SigningKey
) -> None:
    folder = copy_of(finished)
    (folder / "artifacts" / "note.txt").write_text("the password is hunter2-hunter2", "utf-8")
    means = sealing.Means(signer=signer.KeySigner(key=signing_key), secrets={"hunter2-hunter2": "database.dsn"})
    with pytest.raises(Exception, match="holds secrets"):
        sealing.complete(folder, means, complain)
    assert not (folder / manifest.SEAL).exists()
    assert not (folder / manifest.ATTESTATIONS).exists()
