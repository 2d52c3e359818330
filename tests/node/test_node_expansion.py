"""Environment, command and downward API, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rehearsal.node.errors import ConfigError
from rehearsal.node.expansion import (
    Lookup,
    Needs,
    command_line,
    decode_secret,
    environment,
    expand,
    field_value,
    needs_of_container,
    parse_quantity,
    resource_value,
    service_variables,
)

if TYPE_CHECKING:
    from rehearsal.node.shapes import Json

POD: Json = {
    "metadata": {
        "name": "web-1",
        "namespace": "prod",
        "uid": "u-1",
        "labels": {"app": "web", "colour": "blue"},
        "annotations": {"note": 'say "hi"'},
    },
    "spec": {"nodeName": "node-1", "serviceAccountName": "default"},
}
FACTS = {"status.podIP": "10.244.0.7", "status.hostIP": "10.245.0.2"}
LOOKUP = Lookup(
    config_maps={"cfg": {"MODE": "fast", "not a name": "x", "1bad": "y"}, "gone": None},
    secrets={"sec": {"PW": "hush"}},
)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$(A)/$(B)", "1/2"),
        ("$(NOPE)", "$(NOPE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A}", "$A ${A}"),
        ("$(A", "$(A"),
        ("$()", "$()"),
    ],
)
def test_expansion(text: str, result: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == result


def variables(*env: Json, env_from: list[Json] | None = None, links: dict[str, str] | None = None) -> dict[str, str]:
    container = {"name": "c", "env": list(env), "envFrom": env_from or []}
    return environment(container, POD, LOOKUP, links=links or {}, facts=FACTS)


def test_later_wins_and_sees_what_came_before() -> None:
    found = variables(
        {"name": "A", "value": "one"},
        {"name": "B", "value": "$(A) $(MODE) $(LINK) $(LATER)"},
        {"name": "LATER", "value": "x"},
        {"name": "MODE", "value": "slow"},
        env_from=[{"configMapRef": {"name": "cfg"}}, {"prefix": "S_", "secretRef": {"name": "sec"}}],
        links={"LINK": "i", "A": "zero"},
    )
    assert found == {
        "LINK": "i", "A": "one", "B": "one fast i $(LATER)", "LATER": "x", "MODE": "slow", "S_PW": "hush"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value_from", "result"),
    [
        ({"fieldRef": {"fieldPath": "status.podIP"}}, "10.244.0.7"),
        ({"fieldRef": {"fieldPath": "metadata.name"}}, "web-1"),
        ({"fieldRef": {"fieldPath": "metadata.namespace"}}, "prod"),
        ({"fieldRef": {"fieldPath": "spec.nodeName"}}, "node-1"),
        ({"fieldRef": {"fieldPath": "metadata.labels['colour']"}}, "blue"),
        ({"fieldRef": {"fieldPath": "metadata.annotations['absent']"}}, ""),
        ({"configMapKeyRef": {"name": "cfg", "key": "MODE"}}, "fast"),
        ({"secretKeyRef": {"name": "sec", "key": "PW"}}, "hush"),
    ],
)
def test_value_from(value_from: Json, result: str) -> None:
    assert variables({"name": "X", "valueFrom": value_from}) == {"X": result}


@pytest.mark.parametrize(
    "value_from",
    [
        {"configMapKeyRef": {"name": "gone", "key": "k", "optional": True}},
        {"secretKeyRef": {"name": "sec", "key": "absent", "optional": True}},
    ],
)
def test_what_is_optional_may_be_absent(value_from: Json) -> None:
    assert variables({"name": "X", "valueFrom": value_from}) == {}
    assert variables(env_from=[{"configMapRef": {"name": "gone", "optional": True}}]) == {}


@pytest.mark.parametrize(
    ("env", "env_from", "message"),
    [
        ([], [{"configMapRef": {"name": "gone"}}], 'configmap "gone" not found'),
        ([], [{"secretRef": {"name": "never-seen"}}], 'secret "never-seen" not found'),
        (
            [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "k"}}}],
            [],
            "couldn't find key k in Secret prod/sec",
        ),
        ([{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "k"}}}], [], 'configmap "gone" not'),
        (
            [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.moon"}}}],
            [],
            "unsupported fieldPath: spec.moon",
        ),
    ],
)
def test_what_does_not_exist_is_named(env: list[Json], env_from: list[Json], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        variables(*env, env_from=env_from)
    assert message in refusal.value.message


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, ("app", "serve")),
        ({"args": ["work", "$(N)"]}, ("app", "work", "7")),
        ({"command": ["sh"]}, ("sh",)),
        ({"command": ["sh", "-c"], "args": ["echo $(N) $N"]}, ("sh", "-c", "echo 7 $N")),
    ],
)
def test_command_and_args_over_entrypoint_and_cmd(spec: Json, words: tuple[str, ...]) -> None:
    assert command_line(spec, ("app",), ("serve",), {"N": "7"}) == words


def test_nothing_to_run_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no command specified"):
        command_line({}, (), (), {})


def test_downward_files_list_labels_and_annotations() -> None:
    assert field_value("metadata.labels", POD, {}) == 'app="web"\ncolour="blue"'
    assert field_value("metadata.annotations", POD, {}) == 'note="say \\"hi\\""'


def test_needs_name_every_source_once() -> None:
    needs = needs_of_container(
        {
            "envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "s"}}],
            "env": [
                {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "b", "key": "k"}}},
                {"name": "Y", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "Z", "value": "plain"},
            ],
        }
    )
    assert needs == Needs(config_maps=frozenset({"a", "b"}), secrets=frozenset({"s"}))


def test_secrets_are_decoded() -> None:
    assert decode_secret({"data": {"PW": "aHVzaA=="}}) == {"PW": "hush"}


@pytest.mark.parametrize(
    ("text", "number"),
    [("250m", 0.25), ("2", 2), ("1.5", 1.5), ("64Mi", 64 * 2**20), ("1k", 1000), ("1Ki", 1024), ("3G", 3e9)],
)
def test_quantities(text: str, number: float) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "fast", "1 Mi", "Mi", "1K"])
def test_what_is_not_a_quantity(text: str) -> None:
    with pytest.raises(ConfigError, match="not a quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("reference", "result"),
    [
        ({"resource": "limits.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "requests.cpu"}, "1"),
        ({"resource": "requests.cpu", "divisor": "1m"}, "250"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "250"),
    ],
)
def test_resources_round_up_in_units_of_the_divisor(reference: Json, result: str) -> None:
    container = {"resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}}}
    assert resource_value(reference, container) == result


def test_services_are_named_by_variables() -> None:
    services: list[Json] = [
        {
            "metadata": {"name": "stellaops-blue"},
            "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80, "name": "http"}]},
        },
        {"metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}},
        {"metadata": {"name": "external"}, "spec": {"type": "ExternalName", "externalName": "x"}},
    ]
    assert service_variables(services) == {
        "STELLAOPS_BLUE_SERVICE_HOST": "10.96.0.9",
        "STELLAOPS_BLUE_SERVICE_PORT": "80",
        "STELLAOPS_BLUE_SERVICE_PORT_HTTP": "80",
        "STELLAOPS_BLUE_PORT": "tcp://10.96.0.9:80",
        "STELLAOPS_BLUE_PORT_80_TCP": "tcp://10.96.0.9:80",
        "STELLAOPS_BLUE_PORT_80_TCP_PROTO": "tcp",
        "STELLAOPS_BLUE_PORT_80_TCP_PORT": "80",
        "STELLAOPS_BLUE_PORT_80_TCP_ADDR": "10.96.0.9",
    }
