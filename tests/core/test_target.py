"""Target and policy files: what is read, and the one sentence for each thing that is wrong."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyrage
import pytest

from cutover import errors, project
from cutover.errors import PolicyInvalid, TargetInvalid
from cutover.policy import Policy
from cutover.target import GatewayRoutes, Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[..., Path]

EXAMPLES = project.CONTRACT / "examples"
VARIABLES = {
    "STELLA_BLUE_CACHE_URL": "redis://:blue-pass@cache:6379/0",
    "STELLA_GREEN_CACHE_URL": "redis://:gr%2Feen@cache:6380/0",
    "STELLA_DSN": "postgresql://stella:data-pass@db/stellaops",
    "STELLA_LOG_DSN": "postgresql://stella:data-pass@db/stella_log",
    "STELLA_ADMIN_DSN": "postgresql://admin:admin-pass@db/postgres",
    "STELLA_STORE_ACCESS_KEY": "access-key",
    "STELLA_STORE_SECRET_KEY": "secret-key",
}
PUBLIC = """\
url = "https://stellaops.staging.example"
host = "stellaops.staging.example"
namespace = "stellaops-prod"
"""
NGINX = f"""\
kind = "nginx"
{PUBLIC}primary = "stellaops-main"
canary = "stellaops-canary"
bridge = "stellaops-green"
ingress_class = "nginx"
"""
GATEWAY = f"""\
kind = "gateway"
{PUBLIC}gateway = "public"
route = "stellaops-main"
"""


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes an example with some text replaced, and returns its path."""

    def do(name: str, *replacements: tuple[str, str]) -> Path:
        text = (EXAMPLES / f"{name}.toml").read_text("utf-8")
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"{name}.toml"
        path.write_text(text, "utf-8")
        return path

    return do


def test_the_example_is_read(write: Write, tmp_path: Path) -> None:
    target = Target.load(write("target"))
    assert (target.upgrade.from_release, target.upgrade.to_release) == ("2027.Q1", "2027.Q2")
    assert target.colours["blue"].values == (tmp_path / "values-blue.yaml",)
    assert target.chart.path == tmp_path / "helm" / "stellaops"
    assert target.policy_path == tmp_path / "policy.toml"
    assert target.database.dsn == VARIABLES["STELLA_DSN"]
    assert target.database.admin_dsn == VARIABLES["STELLA_ADMIN_DSN"]
    assert target.database.migrations is None
    assert len(target.upgrade.image_digests) == 1
    assert target.sha256.startswith("sha256:")


def test_roles_come_from_who_serves(write: Write) -> None:
    target = Target.load(write("target"))
    assert target.default_roles().blue.name == "blue"
    swapped = target.roles_when_serving("green")
    assert (swapped.blue.name, swapped.green.name) == ("green", "blue")
    with pytest.raises(KeyError):
        target.roles_when_serving("purple")


def test_secrets_are_known_and_masked(write: Write) -> None:
    path = write("target", ('secret_key_env = "STELLA_STORE_SECRET_KEY"', 'secret_key = "written-here"'))
    target = Target.load(path)
    assert set(target.secrets()) == {
        "blue-pass",
        "gr%2Feen",
        "gr/een",
        "data-pass",
        "admin-pass",
        "access-key",
        "written-here",
    }
    assert "written-here" not in target.redacted_toml()
    assert 'secret_key = "[redacted]"' in target.redacted_toml()
    for secret in target.secrets():
        assert secret not in repr(target)


@pytest.mark.parametrize(
    ("variable", "value", "secret"),
    [
        ("STELLA_DSN", "host=db user=stella password='key word' dbname=stellaops", "key word"),
        ("STELLA_DSN", "host=db password=keyworded", "keyworded"),
        ("STELLA_DSN", "postgresql://db/stellaops?user=stella&password=in%2Fquery", "in/query"),
        ("STELLA_DSN", "postgresql://db/stellaops?user=stella&password=in%2Fquery", "in%2Fquery"),
        ("STELLA_BLUE_CACHE_URL", "redis://cache:6379/0?password=in%2Bquery", "in+query"),
        ("STELLA_BLUE_CACHE_URL", "redis://cache:6379/0?db=1&password=in%2Bquery", "in%2Bquery"),
    ],
)
def test_a_password_is_found_wherever_a_connection_string_has_it(
    write: Write, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, secret: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert secret in Target.load(write("target")).secrets()


def test_a_connection_string_that_is_none_is_refused_without_saying_it(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STELLA_DSN", "canary-password at the database")
    with pytest.raises(TargetInvalid) as raised:
        Target.load(write("target"))
    assert "database.dsn is no connection string" in raised.value.seen
    assert "canary" not in errors.render(raised.value)


def test_credentials_in_the_operators_environment_are_masked(write: Write) -> None:
    variables = {
        "PGPASSWORD": "pg-canary",
        "STELLA_API_TOKEN": "token-canary",
        "AWS_SECRET_ACCESS_KEY": 'key"canary',
        "CLIENT_SECRET": "secret-canary",
        "DATABASE": "postgresql://u:url-canary@db/d",
    }
    plain = {"STELLA_NAMESPACE": "stellaops-prod", "SSH_KEY_FILE": "/keys/one", "KEYBOARD": "german"}
    written = ", ".join(f"{name} = {json.dumps(value)}" for name, value in {**variables, **plain}.items())
    target = Target.load(write("target", ('{ STELLA_NAMESPACE = "stellaops-prod" }', f"{{ {written} }}")))
    assert {"pg-canary", "token-canary", 'key"canary', "secret-canary", "url-canary"} <= set(target.secrets())
    assert target.secret_kinds()["pg-canary"] == "operator.environment.PGPASSWORD"
    shown = target.redacted_toml()
    assert not any(
        secret in shown for secret in ("pg-canary", "token-canary", '"canary', "secret-canary", "url-canary")
    )
    assert all(value in shown for value in plain.values())


VALUES = """
image: {repository: registry.example/stellaops, pullSecretName: registry-login}
database: {url: "postgresql://stella:database-canary@db/stellaops", passwordFile: /run/password}
cache: {url: "redis://:cache-canary@cache/0"}
store: {accessKey: access-canary, secretKey: secret-canary}
signing:
  algorithm: ES256
  key: |
    -----BEGIN PRIVATE KEY-----
    Y2FuYXJ5LWxpbmUtb25lLWNhbmFyeQ
    Y2FuYXJ5LWxpbmUtdHdvLWNhbmFyeQ
    -----END PRIVATE KEY-----
  logKey: PRIVATE+KEY+log.example+canary
list: [{password: listed-canary}, {password: true}, {existingSecret: stellaops-secrets}]
"""


def test_secrets_in_the_colours_values_are_known(write: Write, tmp_path: Path) -> None:
    path = write("target")
    (tmp_path / "values-blue.yaml").write_text(VALUES, "utf-8")
    kinds = Target.load(path).secret_kinds()
    found = {secret: kind for secret, kind in kinds.items() if kind.startswith("colours.blue.values")}
    assert set(found) == {
        *("database-canary", "cache-canary", "access-canary", "secret-canary", "listed-canary"),
        *("Y2FuYXJ5LWxpbmUtb25lLWNhbmFyeQ", "Y2FuYXJ5LWxpbmUtdHdvLWNhbmFyeQ", "PRIVATE+KEY+log.example+canary"),
    }
    assert found["secret-canary"] == "colours.blue.values: store.secretKey"


def test_secrets_of_the_kubeconfig_and_the_backups_identity_are_known(write: Write, tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "backup.agekey").write_text(f"# mine\n{identity}\n", "utf-8")
    (tmp_path / "kubeconfig").write_text(
        "users: [{name: a, user: {token: kube-canary, client-key-data: a2V5}}]", "utf-8"
    )
    path = write("target")
    text = path.read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip("# ").startswith("age_identity_file")]
    at = next(number for number, line in enumerate(lines) if line.startswith("age_recipient"))
    path.write_text("\n".join([*lines[: at + 1], 'age_identity_file = "backup.agekey"', *lines[at + 1 :]]), "utf-8")
    assert {str(identity), "kube-canary", "a2V5"} <= set(Target.load(path).secrets())


def test_values_that_are_no_yaml_are_said_before_anything_is_masked(write: Write, tmp_path: Path) -> None:
    target = Target.load(write("target"))
    (tmp_path / "values-green.yaml").write_text("a: [", "utf-8")
    with pytest.raises(TargetInvalid, match=r"values-green\.yaml is not YAML"):
        target.secrets()


def test_a_secret_may_be_in_a_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("postgresql://a:from-file@h/d\n", "utf-8")
    target = Target.load(write("target", ('dsn_env = "STELLA_DSN"', 'dsn_file = "dsn"')))
    assert target.database.dsn == "postgresql://a:from-file@h/d"


def test_routes_of_a_gateway(write: Write) -> None:
    routing = Target.load(write("target", (NGINX, GATEWAY))).routing
    assert isinstance(routing, GatewayRoutes)
    assert (routing.gateway_namespace, routing.public_route) == ("stellaops-prod", "HTTPRoute stellaops-main")
    elsewhere = write("target", (NGINX, f'{GATEWAY}gateway_namespace = "stellaops-green"\n'))
    assert Target.load(elsewhere).routing.split_by == "HTTPRoute stellaops-main"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (NGINX, {"blue": "stellaops-blue", "green": "stellaops-green"}),
        (GATEWAY, {"blue": "stellaops-blue", "green": "stellaops-green/stellaops-green"}),
    ],
)
def test_how_the_public_route_names_a_colour(write: Write, kind: str, names: dict[str, str]) -> None:
    target = Target.load(write("target", (NGINX, kind)))
    assert {name: target.routing.name_of(colour) for name, colour in target.colours.items()} == names


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("[upgrade]", "[upgrade", "is not TOML"),
        ('schema = "cutover/target/v1"', 'schema = "cutover/target/v2"', "schema: 'cutover/target/v1' was expected"),
        ('name = "staging-eu"', 'nmae = "staging-eu"', "'name' is a required property; unknown key: nmae"),
        ('host = "ssh', 'hots = "x"\nhost = "ssh', "operator: unknown key: hots"),
        ('kind = "nginx"', 'kind = "pigeon"', "routing.kind: 'pigeon' is not one of ['nginx', 'gateway']"),
        ('canary = "stellaops-canary"', "", "routing: with kind = \"nginx\", 'canary' is a required property"),
        (NGINX, GATEWAY.replace("route =", "rout ="), "'route' is a required property; unknown key: rout"),
        (NGINX, f'{GATEWAY}canary = "c"\n', 'routing: with kind = "gateway", unknown key: canary'),
        (NGINX, f'{GATEWAY}gateway_namespace = "infra"\n', "routing.gateway_namespace: infra is not among"),
        ("default_timeout_s = 120", 'default_timeout_s = "soon"', "operator.default_timeout_s: 'soon' is not of type"),
        ('"stellaops-green"]', '"elsewhere"]', "colours.green.namespace: stellaops-green is not among"),
        ('allowed_contexts = ["staging-eu"]', 'allowed_contexts = ["x"]', "kubernetes.context: staging-eu is not"),
        ('namespace = "stellaops-prod"\nprimary', 'namespace = "default"\nprimary', "routing.namespace: default"),
        ('canary = "stellaops-canary"', 'canary = "stellaops-main"', "routing.canary: it is the public route"),
        ('to = "2027.Q2"', 'to = "2027.Q1"', "from and to are the same release"),
        ('dsn_env = "STELLA_DSN"', 'dsn_env = "NOWHERE"', "the environment variable NOWHERE is not set"),
        ('dsn_env = "STELLA_DSN"', 'dsn_file = "nowhere"', "nowhere cannot be read"),
        ('secret_key_env = "STELLA_STORE_SECRET_KEY"', 'secret_key = "abc"', "fewer than 4 characters"),
        ('secret_key_env = "STELLA_STORE_SECRET_KEY"', "", "store: "),
        ('age_recipient = "age1', 'age_recipient = "rsa1', "backup.age_recipient"),
        ('image_digests = ["sha256:', 'image_digests = ["md5:', "upgrade.image_digests"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(write: Write, old: str, new: str, part: str) -> None:
    with pytest.raises(TargetInvalid) as raised:
        Target.load(write("target", (old, new)))
    assert part in f"{raised.value}\n{raised.value.seen}"
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(("name", "part"), [("absent.toml", "there is no target file"), (".", "is a folder")])
def test_no_file(tmp_path: Path, name: str, part: str) -> None:
    with pytest.raises(TargetInvalid, match=part):
        Target.load(tmp_path / name)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "target.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TargetInvalid, match="cannot be read"):
        Target.load(tmp_path / "target.toml")


FILES = {"kubeconfig", "trust.json", "values-blue.yaml", "values-green.yaml", "test-bundle.tar.gz", "backup.agekey"}
WITH_IDENTITY = ("[documents]", 'age_identity_file = "backup.agekey"\n\n[documents]')


def _fill(folder: Path, *, without: str = "") -> None:
    for name in FILES - {without}:
        (folder / name).write_text("", "utf-8")
    if without != "helm":
        (folder / "helm" / "stellaops").mkdir(parents=True)


@pytest.mark.parametrize("absent", [*sorted(FILES), "helm"])
def test_the_files_that_a_run_reads_must_be_there(write: Write, tmp_path: Path, absent: str) -> None:
    _fill(tmp_path, without=absent)
    target = Target.load(write("target", WITH_IDENTITY))
    with pytest.raises(TargetInvalid) as raised:
        target.require_files()
    assert absent in raised.value.seen
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("yqs3290gq", "yqs3290gp", "age-recipient-invalid"),
        ('age_recipient = "age1', 'age_recipient = "age1abc', "age-recipient-invalid"),
        ('admin_dsn_env = "STELLA_ADMIN_DSN"\n', "", "admin-dsn-missing"),
    ],
)
def test_what_only_a_run_needs_is_refused_before_it(
    write: Write, tmp_path: Path, old: str, new: str, code: str
) -> None:
    _fill(tmp_path)
    Target.load(write("target", WITH_IDENTITY)).require_files()
    target = Target.load(write("target", (old, new)))
    with pytest.raises(TargetInvalid) as raised:
        target.require_files()
    assert (raised.value.code, raised.value.exit_code) == (code, 2)


def test_the_digests_of_the_new_release_may_be_left_out(write: Write) -> None:
    text = (EXAMPLES / "target.toml").read_text("utf-8")
    line = next(line for line in text.splitlines() if line.startswith("image_digests"))
    assert Target.load(write("target", (line, ""))).upgrade.image_digests == ()


def test_the_example_policy_is_read(write: Write) -> None:
    policy = Policy.read(write("policy"))
    assert policy.traffic.weights == (10, 25, 50, 100)
    assert policy.load.max_failed == 0
    assert policy.observation.window_s == 72 * 3600
    assert policy.approval is not None
    assert policy.approval.window_start == datetime(2026, 11, 23, 4, tzinfo=UTC)


def test_an_approval_may_be_absent_and_its_times_text(write: Write) -> None:
    text = (EXAMPLES / "policy.toml").read_text("utf-8")
    without = re.sub(r"\[approval\].*?\n\n", "", text, flags=re.DOTALL)
    path = write("policy", (text, without))
    assert Policy.read(path).approval is None
    path = write("policy", ("2026-11-22T16:10:00Z", '"2026-11-22T17:10:00+01:00"'))
    approval = Policy.read(path).approval
    assert approval is not None
    assert approval.approved_at == datetime(2026, 11, 22, 16, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("[10, 25, 50, 100]", "[25, 10, 50, 100]", "traffic.weights: [25, 10, 50, 100], the guide's 3.1"),
        ("[10, 25, 50, 100]", "[10, 25, 50, 90]", "traffic.weights"),
        ("[10, 25, 50, 100]", "[10, 100]", "traffic.weights"),
        ("max = 0.001", "max = 2", "gates.error_ratio.max: 2 is greater than the maximum of 1"),
        ("bake_s = 600", "bake_s = 0", "traffic.bake_s"),
        ("bake_s = 600", "bake_s = 600\nbkae = 1", "traffic: unknown key: bkae"),
        ('strategy = "gradual"', 'strategy = "bold"', "strategy: 'bold' is not one of"),
        (
            "2026-11-23T04:00:00Z",
            "2026-11-23T04:00:00",
            "approval.window_start: 2026-11-23 04:00:00 names no time zone",
        ),
        ("2026-11-23T04:00:00Z", '"tomorrow"', "approval.window_start"),
        ("2026-11-23T06:00:00Z", "2026-11-23T03:00:00Z", "the window ends before it starts"),
    ],
)
def test_what_is_wrong_in_a_policy(write: Write, old: str, new: str, part: str) -> None:
    with pytest.raises(PolicyInvalid) as raised:
        Policy.read(write("policy", (old, new)))
    assert part in raised.value.seen


# -- approvers ---------------------------------------------------------------------------------------------------------

APPROVERS = """
[approval]
trusted_root = "trusted_root.json"

[[approval.approvers]]
name = "B. Person"
key_file = "b-person.pub"
accounts = ["bperson"]

[[approval.approvers]]
name = "C. Person"
identity = "c.person@example.org"
issuer = "https://accounts.example.org"

[fixtures]
"""


def test_approvers_are_read_with_their_keys(write: Write, tmp_path: Path) -> None:
    (tmp_path / "b-person.pub").write_text("PEM\n", "utf-8")
    approval = Target.load(write("target", ("\n[fixtures]\n", APPROVERS))).approval
    assert [(one.name, one.key, one.identity) for one in approval.approvers] == [
        ("B. Person", "PEM", ""),
        ("C. Person", "", "c.person@example.org"),
    ]
    assert approval.approvers[0].accounts == ("bperson",)
    assert (approval.folder, approval.trusted_root) == (tmp_path / "approvals", tmp_path / "trusted_root.json")


def test_a_target_without_approvers_has_a_folder_for_approvals_all_the_same(write: Write, tmp_path: Path) -> None:
    approval = Target.load(write("target")).approval
    assert (approval.approvers, approval.folder) == ((), tmp_path / "approvals")


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ('name = "C. Person"', 'name = "B. Person"', "B. Person is named twice"),
        ('identity = "c.person@example.org"', "", "'identity' is a dependency of 'issuer'"),
        ('key_file = "b-person.pub"', "", "is not valid under any of the given schemas"),
        ('key_file = "b-person.pub"', 'key = "k"\nidentity = "b"\nissuer = "i"', "is valid under each of"),
        ('trusted_root = "trusted_root.json"', "", "no approval.trusted_root"),
        (
            'identity = "c.person@example.org"\nissuer = "https://accounts.example.org"',
            'key = "PEM"',
            "two of them have one key",
        ),
        ('accounts = ["bperson"]', 'account = "bperson"', "unknown key: account"),
    ],
)
def test_approvers_that_cannot_be_are_refused(write: Write, tmp_path: Path, old: str, new: str, part: str) -> None:
    (tmp_path / "b-person.pub").write_text("PEM\n", "utf-8")
    assert old in APPROVERS
    with pytest.raises(TargetInvalid) as raised:
        Target.load(write("target", ("\n[fixtures]\n", APPROVERS.replace(old, new))))
    assert part in raised.value.seen


@pytest.mark.parametrize(
    ("kind", "production"),
    [
        ("production", True),
        ("Production EU", True),
        ("prod", True),
        ("pre-production", True),
        ("live_2", True),
        ("staging", False),
        ("product demo", False),
        ("rehearsal", False),
    ],
)
def test_a_production_site_is_known_by_the_words_of_its_kind(write: Write, kind: str, production: bool) -> None:
    target = Target.load(write("target", ('kind = "staging"', f'kind = "{kind}"')))
    assert target.is_production is production


def test_what_a_policy_says_of_signed_approvals(write: Write) -> None:
    plain = Policy.read(write("policy")).approval
    assert plain is not None
    assert (plain.required, plain.min_approvals, plain.separate, plain.approved_by) == (False, 1, True, "B. Person")
    strict = Policy.read(write("policy-strict")).approval
    assert strict is not None
    assert (strict.required, strict.min_approvals, strict.separate, strict.approved_by) == (True, 2, True, "")
    assert strict.approved_at is None


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ('approved_by = "B. Person"\n', "", "'approved_by' is a dependency of"),
        ('meaning = "go, window agreed"', 'meaning = "go, window agreed"\nmin_approvals = 0', "approval.min_approvals"),
        ('meaning = "go, window agreed"', 'meaning = "go, window agreed"\nrequired = "yes"', "approval.required"),
    ],
)
def test_an_approval_that_cannot_be_is_refused(write: Write, old: str, new: str, part: str) -> None:
    with pytest.raises(PolicyInvalid) as raised:
        Policy.read(write("policy", (old, new)))
    assert part in raised.value.seen
