"""`cutover tools`, as it is called."""

import json
from collections.abc import Callable
from typing import TypeAlias

import pytest
from click.testing import CliRunner

from rehearsal.tools.cache import Cache
from rehearsal.tools.catalogue import UNITS, Unit
from rehearsal.tools.command import tools

Publish: TypeAlias = Callable[..., None]


@pytest.fixture
def runner(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Return a runner whose environment names the temporary cache."""
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return CliRunner(env=environment)


def test_status_lists_every_unit_and_tells_by_its_exit_that_some_are_missing(
    runner: CliRunner, publish: Publish, nginx: Unit
) -> None:
    publish(nginx)
    result = runner.invoke(tools, ["status", "--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["schema"] == "cutover/tools/status/v1"
    assert document["complete"] is False
    assert [row["unit"] for row in document["tools"]] == [unit.name for unit in UNITS]
    assert [row["unit"] for row in document["tools"] if row["origin"]] == ["nginx"]
    plain = runner.invoke(tools, ["status"])
    assert plain.exit_code == 1
    assert "missing" in plain.stdout


def test_status_is_content_when_all_is_there(runner: CliRunner, publish: Publish) -> None:
    for unit in UNITS:
        publish(unit)
    result = runner.invoke(tools, ["status"])
    assert result.exit_code == 0
    assert "our own" in result.stdout
    assert json.loads(runner.invoke(tools, ["status", "--json"]).stdout)["complete"] is True


def test_build_has_nothing_to_do_when_all_is_there(runner: CliRunner, publish: Publish, nginx: Unit) -> None:
    publish(nginx)
    result = runner.invoke(tools, ["build", "nginx"])
    assert result.exit_code == 0
    assert result.stdout.startswith("nginx ")


def test_verify_finds_damage_and_lets_it_be_made_again(
    runner: CliRunner, cache: Cache, publish: Publish, nginx: Unit
) -> None:
    publish(nginx)
    assert runner.invoke(tools, ["verify", "nginx"]).exit_code == 0
    (cache.folder(nginx) / "share" / "data").write_text("else", encoding="utf-8")
    assert cache.is_complete(nginx)
    result = runner.invoke(tools, ["verify", "--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["ok"] is False
    (damaged,) = [row for row in document["tools"] if row["result"] == "damaged"]
    assert "share/data" in damaged["damage"][0]
    assert not cache.is_complete(nginx)


def test_an_unknown_name_is_wrong_input(runner: CliRunner) -> None:
    result = runner.invoke(tools, ["build", "nonsense"])
    assert result.exit_code == 2
    assert "what to do: use one of" in result.stderr
