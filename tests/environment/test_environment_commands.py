"""The commands: wrong input told once, clearly, without a traceback."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from rehearsal.cli import env, faults, rehearse
from rehearsal.environment import layout
from rehearsal.environment.errors import EnvironmentFault


def _run(command: object, *arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("status",), 3, "default  down"),
        (("status", "--name", "Bad"), 2, "no name for an environment"),
        (("exec", "--", "true"), 2, "the environment default is not up"),
        (("shell",), 2, "the environment default is not up"),
        (("kubectl", "get", "pods"), 2, "the environment default is not up"),
        (("logs",), 2, "default has no logs"),
        (("logs", "etcd"), 2, "no part 'etcd' with a log"),
        (("down",), 0, "default was not up"),
        (("list",), 0, "no environment"),
    ],
)
def test_what_there_is_not_is_said(arguments: tuple[str, ...], code: int, said: str) -> None:
    result = _run(env, *arguments)
    assert result.exit_code == code
    assert said in result.output


def test_status_and_list_are_one_json_document_each() -> None:
    assert json.loads(_run(env, "status", "--json").stdout)["state"] == "down"
    layout.Place.named("other").root.mkdir(parents=True)
    assert json.loads(_run(env, "list", "--json").stdout) == [{"name": "other", "state": "down"}]


@pytest.mark.parametrize("command", [(env, "up"), (rehearse,)])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--items", "6"), "a multiple of 4"),
        (("--items", "0"), "a multiple of 4"),
        (("--object-bytes", "100"), "4096 to 65536"),
        (("--items", "many"), "--items"),
    ],
)
def test_a_history_that_cannot_be_made_is_refused_before_anything_is(
    command: tuple[object, ...], options: tuple[str, ...], said: str
) -> None:
    head, *rest = command
    result = _run(head, *rest, *options)  # type: ignore[arg-type]
    assert result.exit_code == 2
    assert said in result.output
    assert not layout.environments_folder().exists()


def test_the_status_tells_how_many_items_the_site_was_made_with(place: layout.Place) -> None:
    place.plan.write_text(json.dumps({"history": {"items": 100_000, "object_bytes": 4096}}))
    document = json.loads(_run(env, "status", "--name", "trial", "--json").stdout)
    assert (document["items"], document["object_bytes"], document["state"]) == (100_000, 4096, "down")


def test_an_environment_that_is_up_keeps_its_history(place: layout.Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from rehearsal.environment import assembly, sitedata  # noqa: PLC0415 - brings much along

    place.plan.write_text(json.dumps({"history": {"items": 8, "object_bytes": None}}))
    monkeypatch.setattr(assembly, "status_of", lambda _place: {"state": "up"})
    for same in (None, sitedata.History(items=8)):
        assert assembly.up(place, [].append, history=same) == 0.0
    with pytest.raises(EnvironmentFault, match="trial is up already, with 8 items") as caught:
        assembly.up(place, [].append, history=sitedata.History(items=12))
    assert caught.value.exit_code == 2


def test_an_environment_that_is_up_keeps_its_routing(place: layout.Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from rehearsal.environment import assembly, target  # noqa: PLC0415 - bring much along

    place.plan.write_text(json.dumps({"routing": "gateway", "requests": 0, "strategy": "gradual"}))
    monkeypatch.setattr(assembly, "status_of", lambda _place: {"state": "up"})
    for same in (None, target.Shape(routing="gateway")):
        assert assembly.up(place, [].append, shape=same) == 0.0
    with pytest.raises(EnvironmentFault, match="trial is up already, with routing gateway") as caught:
        assembly.up(place, [].append, shape=target.Shape(routing="nginx"))
    assert caught.value.exit_code == 2
    assert json.loads(_run(env, "status", "--name", "trial", "--json").stdout)["routing"] == "gateway"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), ("routed by an Ingress and its canary",)),
        (("--routing", "gateway"), ("routed by an HTTPRoute of the Gateway API",)),
        (("--requests", "100000"), ("600 requests/s and bakes of 31 s, for at least 100,000 requests",)),
        (
            ("--requests", "100000", "--strategy", "instant"),
            ("600 requests/s and bakes of 154 s", "--strategy instant"),
        ),
    ],
)
def test_a_dry_run_says_how_the_site_is_routed_and_loaded(options: tuple[str, ...], said: tuple[str, ...]) -> None:
    output = _run(rehearse, "--dry-run", *options).output
    assert all(words in output for words in said), output


@pytest.mark.parametrize("options", [("--routing", "pigeon"), ("--requests", "0"), ("--requests", "many")])
def test_no_such_routing_and_no_such_number(options: tuple[str, ...]) -> None:
    assert _run(rehearse, "--dry-run", *options).exit_code == 2


def test_a_dry_run_says_of_which_size_the_site_would_be() -> None:
    assert (
        "of 100000 items of 4096 bytes"
        in _run(rehearse, "--dry-run", "--items", "100000", "--object-bytes", "4096").output
    )


def test_a_log_is_shown_whole(place: layout.Place, capfd: pytest.CaptureFixture[str]) -> None:
    place.logs().mkdir()
    place.logs("etcd").write_text("one\ntwo\n")
    assert "etcd" in _run(env, "logs", "--name", "trial").output
    assert _run(env, "logs", "--name", "trial", "etcd").exit_code == 0
    assert capfd.readouterr().out.endswith("one\ntwo\n")


def test_an_unknown_fault_is_refused_before_anything_is_made() -> None:
    result = _run(rehearse, "--fault", "nothing")
    assert result.exit_code == 2
    assert "image-missing" in result.output
    assert not layout.environments_folder().exists()


def test_a_dry_run_says_what_it_would_do_and_does_nothing() -> None:
    result = _run(rehearse, "--dry-run", "--fault", "green-slow", "--strategy", "instant", "--record", "here")
    assert result.exit_code == 0
    assert "fault green-slow at 3.2" in result.output
    assert "--strategy instant" in result.output
    assert not layout.environments_folder().exists()


def test_the_faults_are_listed_for_people_and_for_programs() -> None:
    text = _run(faults).output
    documents = json.loads(_run(faults, "--json").stdout)
    plain = [document for document in documents if not {":", "@"} & set(document["name"])]
    assert len(plain) == 35
    assert len(documents) > 60
    for document in documents:
        name, _, phase = document["name"].partition("@")
        assert name in text
        if phase:
            assert f"@{phase} (" in text
            continue
        assert document["title"][:40] in text
        assert document["code"] in text
    altered = next(document for document in documents if document["name"] == "evidence-altered:log-rewritten")
    assert (altered["layer"], altered["guarantees"], altered["code"]) == ("log", ["E.5"], "log-entry-changed")
