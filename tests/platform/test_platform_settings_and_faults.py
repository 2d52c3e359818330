"""Settings name what is missing and hide secrets; faults strike one colour, soon, while their file is there."""

import json
from pathlib import Path

import pytest

from rehearsal.platform.core import faults as faults_module
from rehearsal.platform.core.faults import Faults
from rehearsal.platform.core.settings import SettingsError, from_environment

COMPLETE = {
    "STELLA_RELEASE": "2027.Q1",
    "STELLA_COLOUR": "blue",
    "DATABASE_URL": "postgresql://stellaops:pass@db.test:5432/stellaops?sslmode=disable",
    "CACHE_URL": "redis://cache.test:6379/0",
    "STORE_ENDPOINT": "http://store.test:8333/",
    "STORE_BUCKET": "evidence",
    "STORE_ACCESS_KEY": "access",
    "STORE_SECRET_KEY": "store-secret",
    "SIGNING_KEY": "signing-pem",
    "LOG_SIGNING_KEY": "log-pem",
    "LOG_ORIGIN": "log.stella.test",
}


def test_the_log_is_beside_the_evidence_unless_told() -> None:
    assert from_environment(COMPLETE).log_database_url == (
        "postgresql://stellaops:pass@db.test:5432/stella_log?sslmode=disable"
    )
    told = {**COMPLETE, "LOG_DATABASE_URL": "postgresql://log.test/other"}
    assert from_environment(told).log_database_url == "postgresql://log.test/other"


@pytest.mark.parametrize("name", COMPLETE)
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is not set$"):
        from_environment({**COMPLETE, name: ""})


@pytest.mark.parametrize(("name", "value"), [("PORT", "http"), ("MIGRATIONS_MODE", "maybe")])
def test_an_unreadable_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        from_environment({**COMPLETE, name: value})


def test_secrets_are_not_shown() -> None:
    shown = repr(from_environment(COMPLETE))
    assert not [word for word in ("pass@", "store-secret", "signing-pem", "log-pem") if word in shown]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(faults_module.time, "monotonic", lambda: now[0])
    return now


def test_a_fault_strikes_its_colour_while_its_file_is_there(tmp_path: Path, clock: list[float]) -> None:
    green, blue = Faults(tmp_path, "green"), Faults(tmp_path, "blue")
    assert green.get("green-slow") is None
    (tmp_path / "green-slow").write_text(json.dumps({"ms": 200}))
    (tmp_path / "queue-stuck").write_text(json.dumps({"colour": "blue"}))
    (tmp_path / "rubbish").write_text("{")
    assert green.get("green-slow") is None  # looked a moment ago
    clock[0] += 0.6
    assert green.active() == {"green-slow": {"ms": 200}}
    assert blue.active() == {"queue-stuck": {"colour": "blue"}}
    (tmp_path / "green-slow").unlink()
    clock[0] += 0.6
    assert green.active() == {}


@pytest.mark.parametrize("directory", [None, Path("/nonexistent")])
def test_a_site_without_a_folder_has_no_faults(directory: Path | None) -> None:
    assert Faults(directory, "green").active() == {}
