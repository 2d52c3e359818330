"""A seeded history follows from its number and count, ascends in time, and signs at whole scans up to its end."""

import json
from pathlib import Path

import pytest

from rehearsal.platform.app import seed
from rehearsal.platform.core import checkpoint, dsse, keys, makers


def test_the_same_number_gives_the_same_history() -> None:
    history = seed.History(scans=500)
    assert seed.make_scan(7, history) == seed.make_scan(7, seed.History(scans=500, seed=1))
    other = {row.sha256 for row, _ in seed.make_scan(7, seed.History(scans=500, seed=2))}
    assert not other & {row.sha256 for row, _ in seed.make_scan(7, history)}


def test_scans_ascend_and_share_nothing() -> None:
    rows = [row for number in range(60) for row, _ in seed.make_scan(number, seed.History(scans=60))]
    times = [row.created for row in rows]
    assert times == sorted(set(times))
    assert [row.id for row in rows] == [f"ev-{number:012d}" for number in range(240)]
    assert len({row.sha256 for row in rows}) == len(rows)


@pytest.mark.parametrize(("items", "count"), [(4, 1), (400, 50), (2000, 50), (404, 51)])
def test_a_history_signs_at_whole_scans_and_at_its_end(items: int, count: int) -> None:
    points = seed.signing_points(items)
    assert (len(points), max(points)) == (count, items)
    assert not [point for point in points if point % len(makers.KINDS)]


def test_the_operators_files_fit_the_keys(tmp_path: Path) -> None:
    seed.write_operator_files(tmp_path, origin="log.stella.test", seed=3)
    trust = json.loads((tmp_path / "trust.json").read_text())
    key = keys.load_signing_key((tmp_path / "signing-key.pem").read_text())
    trusted = [keys.load_public_key(pem) for pem in trust["attestation_keys"]]
    dsse.verify(dsse.sign(dsse.IN_TOTO, b"x", key), dsse.IN_TOTO, trusted)
    log_key = keys.load_log_key((tmp_path / "log-signing-key.pem").read_text())
    state = checkpoint.Checkpoint(origin=trust["log"]["origin"], size=0, root=bytes(32))
    assert checkpoint.verify(checkpoint.sign(state, log_key), trust["log"]["key"]) == state
    assert (tmp_path / "signing-key.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("items", ["0", "6", "-4", "many"])
def test_a_count_that_is_no_multiple_of_four_is_wrong_input(items: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        seed.main(["--items", items])
    assert caught.value.code == 2
    assert "--items" in capsys.readouterr().err
