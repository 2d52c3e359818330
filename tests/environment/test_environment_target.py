"""What a run is told: files that its own schemas accept."""

from __future__ import annotations

import base64
import datetime as dt
import json
import tomllib
from typing import TYPE_CHECKING, Any

import jsonschema
import pyrage
import pytest
import yaml

from rehearsal.environment import approving, layout, prometheus, routes, signing, sitedata, target
from rehearsal.environment.errors import PartFailed
from rehearsal.node.catalogue import REPOSITORY, platform_images
from rehearsal.node.images import build_layout

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal.environment.layout import Place

NOW = dt.datetime(2027, 4, 1, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def known() -> sitedata.Secrets:
    return sitedata.Secrets.fresh()


@pytest.fixture
def written(place: Place, known: sitedata.Secrets) -> Place:
    """Return a place in which the operator's files are written; the seed's keys and the images were before."""
    for name in ("signing-key.pem", "log-signing-key.pem"):
        (place.root / name).write_text("PEM\n")
    build_layout(place.images, platform_images())
    target.write(place, known, sitedata.History())
    return place


def _valid(schema: str, document: dict[str, Any]) -> None:
    text = (layout.PROJECT / "contract" / schema).read_text()
    jsonschema.validate(document, json.loads(text))


def test_the_target_is_what_the_contract_says(written: Place) -> None:
    document = tomllib.loads(written.target.read_text())
    _valid("target.schema.json", document)
    assert document["disposable"] is True
    assert "not a production system" in document["notice"]


@pytest.mark.parametrize("kind", routes.KINDS)
def test_the_target_says_how_the_public_host_is_routed(
    written: Place, known: sitedata.Secrets, kind: routes.Kind
) -> None:
    history = sitedata.History()
    document = tomllib.loads(target.target_text(written, known, recipient="age1x", history=history, routing=kind))
    _valid("target.schema.json", document)
    assert document["routing"]["kind"] == kind
    assert document["routing"]["primary" if kind == "nginx" else "route"] == routes.ROUTE


@pytest.mark.parametrize("requests", [1, 20_000, 100_000, 1_000_000])
@pytest.mark.parametrize("strategy", target.STRATEGIES)
def test_the_policy_lets_a_run_send_as_many_requests_as_asked(strategy: str, requests: int) -> None:
    usual = tomllib.loads(target.policy_text(NOW, strategy=strategy))
    raised = tomllib.loads(target.policy_text(NOW, strategy=strategy, requests=requests))
    _valid("policy.schema.json", raised)
    bakes = 5 if strategy == "gradual" else 1
    watched_s = bakes * raised["traffic"]["bake_s"] + raised["observation"]["window_s"]
    assert watched_s * raised["load"]["requests_per_s"] * 0.9 >= requests * 0.98
    assert raised["traffic"]["bake_s"] >= usual["traffic"]["bake_s"]
    for share in ("write_share", "scan_share"):
        before, after = (each["load"][share] * each["load"]["requests_per_s"] for each in (usual, raised))
        assert after == pytest.approx(before)
    assert target.load_for(requests, strategy) == (raised["load"]["requests_per_s"], raised["traffic"]["bake_s"])


@pytest.mark.parametrize("strategy", target.STRATEGIES)
def test_the_fast_profile_has_shorter_windows_and_the_same_limits(strategy: str) -> None:
    usual, fast = (
        tomllib.loads(target.policy_text(NOW, profile=profile, strategy=strategy)) for profile in target.PROFILES
    )
    _valid("policy.schema.json", fast)
    windows = [("traffic", "bake_s"), ("traffic", "interval_s"), ("gates", "range_s"), ("observation", "window_s")]
    assert all(fast[table][name] < usual[table][name] for table, name in windows)
    # A rate needs at least two scrapes of its range; a gate that fires in the usual profile fires in the fast one.
    assert fast["gates"]["range_s"] * 1000 >= 4 * target.SCRAPE_MS["fast"]
    limits = [("load", "max_failed"), ("load", "min_attempted_ratio"), ("traffic", "confidence")]
    limits += [("probe", "max_p99_s"), ("limits", "rollback_s"), ("limits", "queue_drain_s")]
    assert all(fast[table][name] == usual[table][name] for table, name in limits)
    for gate, names in (("error_ratio", ("max", "max_increase")), ("latency_p99", ("max_s", "max_increase_ratio"))):
        assert all(fast["gates"][gate][name] == usual["gates"][gate][name] for name in names)


@pytest.mark.parametrize("profile", target.PROFILES)
def test_a_pod_has_time_for_its_whole_drain(written: Place, known: sitedata.Secrets, profile: target.Profile) -> None:
    document = yaml.safe_load(target.values(written, known, "blue", profile=profile))
    assert document["terminationGracePeriodSeconds"] > sum(document["drain"].values())


def test_the_target_names_the_digest_of_the_new_release(written: Place) -> None:
    digests = build_layout(written.images, platform_images())
    document = tomllib.loads(written.target.read_text())
    assert document["upgrade"]["image_digests"] == [digests[f"{REPOSITORY}:{layout.RELEASE_TO}"]]
    assert digests[f"{REPOSITORY}:{layout.RELEASE_FROM}"] not in document["upgrade"]["image_digests"]


@pytest.mark.parametrize("strategy", target.STRATEGIES)
def test_the_policy_is_what_the_contract_says(strategy: str) -> None:
    document = tomllib.loads(target.policy_text(NOW, strategy=strategy))
    _valid("policy.schema.json", document)
    assert document["strategy"] == strategy
    assert document["approval"]["window_start"] < "2027-04-01T12:00:00Z" < document["approval"]["window_end"]


def test_a_rehearsal_is_approved_with_a_key_of_the_environments_own(written: Place) -> None:
    (approver,) = tomllib.loads(written.target.read_text())["approval"]["approvers"]
    assert "its own environment made" in approver["name"]
    assert (written.root / "approver.key").stat().st_mode & 0o077 == 0
    approving.approve(written, ["--until", "2"])
    (kept,) = (written.root / "approvals").iterdir()
    envelope = json.loads(kept.read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    plan = json.loads((written.root / "plan.json").read_text())
    assert statement["subject"][0]["digest"]["sha256"] == plan["digest"].removeprefix("sha256:")
    assert {"5.2a", "5.2b", "R.2d"} <= set(statement["predicate"]["covers"])
    assert plan["scope"] == "until 2"


def test_an_approval_that_cannot_be_made_says_why(written: Place) -> None:
    (written.root / "approver.pub").write_bytes(b"PEM")
    with pytest.raises(PartFailed, match="could not be approved") as caught:
        approving.approve(written, [])
    assert "key of rehearsal" in caught.value.seen


def test_what_the_target_names_is_there_or_is_the_seeds(written: Place) -> None:
    document = tomllib.loads(written.target.read_text())
    named = [document["policy"], document["backup"]["age_identity_file"], *document["documents"].values()]
    named += [value for colour in document["colours"].values() for value in colour["values"]]
    assert [name for name in named if not (written.root / name).is_file()] == []


def test_the_backup_recipient_can_be_read_with_its_identity_file(written: Place) -> None:
    document = tomllib.loads(written.target.read_text())
    recipient = pyrage.x25519.Recipient.from_str(document["backup"]["age_recipient"])
    identity = pyrage.x25519.Identity.from_str((written.root / "backup.agekey").read_text().strip())
    assert pyrage.decrypt(pyrage.encrypt(b"x", [recipient]), [identity]) == b"x"


def test_the_colours_share_database_and_store_and_not_the_cache(place: Place, written: Place) -> None:
    blue, green = (yaml.safe_load((written.root / f"values-{each}.yaml").read_text()) for each in ("blue", "green"))
    assert blue["store"] == green["store"]
    assert blue["cache"] != green["cache"]
    assert blue["database"]["url"].replace("postgres.", "postgres-green.") == green["database"]["url"]
    assert place.target.stat().st_mode & 0o077 == 0


def test_toml_is_written_so_that_it_is_read_back() -> None:
    head = {"text": 'with "quotes" and \\ and ü', "number": 1.5, "flag": True}
    tables: list[tuple[str, dict[str, Any]]] = [("a.b", {"list": [1, 2], "inline": {"x": "y"}})]
    assert tomllib.loads(target._toml(head, tables)) == {**head, "a": {"b": tables[0][1]}}


def test_prometheus_adds_the_labels_that_the_gates_ask_for(place: Place) -> None:
    config = yaml.safe_load(prometheus.configuration(place.pki("prometheus.kubeconfig")))
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "stella-pods"
    labels = {rule.get("target_label") for rule in job["relabel_configs"]}
    assert {"namespace", "pod", "colour", "component"} <= labels
    assert job["kubernetes_sd_configs"][0]["namespaces"]["names"] == ["stellaops-prod", "stellaops-green"]


@pytest.mark.parametrize(("items", "timeout_s"), [(4, 45), (2000, 45), (100_000, 400)])
def test_commands_have_time_for_as_many_items_as_there_are(
    written: Place, known: sitedata.Secrets, items: int, timeout_s: int
) -> None:
    text = target.target_text(written, known, recipient="age1x", history=sitedata.History(items=items))
    assert tomllib.loads(text)["operator"]["default_timeout_s"] == timeout_s


def test_a_rehearsal_has_a_key_of_its_own_for_its_records_and_says_what_that_is_worth(written: Place) -> None:
    """What signs the records is beside the target, and the trust root says that it proves nothing about a site."""
    table = tomllib.loads(written.target.read_text())["signing"]
    assert (written.root / table["key"]).stat().st_mode & 0o777 == 0o600
    assert table["timestamp_url"].startswith("http://timestamps.stella.test:")
    root = json.loads((written.root / table["trust_root"]).read_text())
    assert root["notice"].startswith("rehearsal only")
    assert [one["name"] for one in root["keys"]] == ["rehearsal (a key that its own environment made)"]


def test_the_trust_root_outlives_the_environment_beside_the_records(written: Place, tmp_path: Path) -> None:
    """A second rehearsal's key is believed beside the first one's, by the one file in the folder of the records."""
    kept = signing.keep_trust_root(written, tmp_path)
    assert kept is not None
    assert signing.keep_trust_root(written, tmp_path) == kept
    assert len(json.loads(kept.read_text())["keys"]) == 1
    for name in (signing.KEY, signing.CERTIFICATE, signing.TRUST_ROOT):
        (written.root / name).unlink()
    signing.make_key(written)
    signing.keep_trust_root(written, tmp_path)
    root = json.loads(kept.read_text())
    assert [len(root[name]) for name in ("keys", "certificates", "timestamping")] == [2, 2, 0]
