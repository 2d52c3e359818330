"""continuity.html: true to the folder it is made of, whatever happened to the evidence, and safe to open."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import evidence_folder
import pytest
import sample_record
from click.testing import CliRunner
from test_report_page import HOSTILE, Page

from cutover.evidence import leaves, snapshot
from cutover.evidence.sources import LogEntry
from reports import build, command, continuity, evidence, record
from reports.columns import STATES, Items
from tests.evidence.world import START, STRANGER, World, item, sign

if TYPE_CHECKING:
    from collections.abc import Callable

BASELINE = 4 * evidence_folder.SCANS_BEFORE
ADDED = 4 * evidence_folder.SCANS_AFTER
MANIFEST, SBOM, ATTESTATION, BUNDLE = (item(index) for index in range(4))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


# -- what can happen to a site -----------------------------------------------------------------------------------------


def flip_content(world: World) -> None:
    row = world.rows[1]
    world.objects[row.object_key] = world.objects[row.object_key][:-1] + b" "


def lose_content(world: World) -> None:
    del world.objects[world.rows[3].object_key]


def lose_row(world: World) -> None:
    del world.rows[3]


def alter_row(world: World) -> None:
    world.rows[3] = replace(world.rows[3], media_type="text/html")


def alter_rows(world: World) -> None:
    world.rows = [replace(row, media_type="text/html") for row in world.rows]


def alter_both(world: World) -> None:
    content = b"{}"
    digest = sha256(content).hexdigest()
    world.objects["elsewhere"] = content
    world.rows[1] = replace(world.rows[1], sha256=digest, size_bytes=len(content), object_key="elsewhere")


def sign_by_a_stranger(world: World) -> None:
    content = json.dumps(sign("application/vnd.in-toto+json", b"{}", STRANGER)).encode()
    world.objects[world.rows[2].object_key] = content


def alter_leaf(world: World) -> None:
    leaf = world.stored_leaves[1][0]
    world.stored_leaves[1][0] = replace(leaf, leaf_hash=bytes(range(32)))


def alter_log(world: World) -> None:
    data = b'{"evidence_id":"other"}'
    world.log_entries[1] = LogEntry(index=1, data=data, leaf_hash=sha256(b"\0" + data).digest())


DAMAGES: dict[str, tuple[Callable[[World], None], str, str, str, set[str], str]] = {
    # tampered by: guarantee, code, item, layers, the explanation's beginning
    "content": (flip_content, "E.2", "content-changed", SBOM, {"content"}, "Only the bytes in the store were altered"),
    "lost content": (lose_content, "E.1", "content-missing", BUNDLE, {"content"}, "Only the bytes in the store"),
    "lost row": (lose_row, "E.1", "row-missing", BUNDLE, {"row"}, "The row is gone"),
    "row": (alter_row, "E.1", "row-changed", BUNDLE, {"row"}, "Only the database row was altered"),
    "both": (alter_both, "E.2", "content-changed", SBOM, {"content", "row"}, "Bytes and row were altered both"),
    "signer": (sign_by_a_stranger, "E.4", "signer-unknown", ATTESTATION, {"content", "signature"}, "Altered: content"),
    "leaf": (alter_leaf, "E.3", "leaf-changed", MANIFEST, {"leaf"}, "Content and row are what they were; the evidence"),
    "log": (alter_log, "E.5", "log-entry-changed", SBOM, {"log entry"}, "Content and row are what they were; the tran"),
}


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evidence_folder.write(tmp_path_factory.mktemp("evidence"), *evidence_folder.sites())


@pytest.fixture
def copied(intact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(intact, tmp_path / "evidence"))


def page_of(folder: Path) -> tuple[str, Page]:
    source = continuity.build(folder).decode("utf-8")
    return source, Page(source)


# -- what it says ------------------------------------------------------------------------------------------------------


def test_an_intact_site_holds_and_adds_up(intact: Path) -> None:
    found = evidence.read(intact)
    checks = sum(one.checked for one in found.guarantees)
    assert found.outcome == "HOLDS"
    assert found.problems == []
    assert continuity.verdict(found) == (
        f"Continuity holds: all {BASELINE} items of the baseline are there unchanged, {ADDED} were added since, and "
        f"the five guarantees stand over {checks} checks."
    )
    assert all(kind.adds_up and (kind.before, kind.added) == (3, 2) for kind in found.kinds)
    _, page = page_of(intact)
    assert page.text.count("adds up") == 2 + len(found.kinds)
    assert "does not add up" not in page.text
    for digest in (found.before.digest, found.after.digest, found.trust):
        assert digest in page.text
    assert found.before.watermark.last_id == item(BASELINE - 1)
    assert found.before.watermark.last_id in page.text


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_named_with_its_layer_and_item(tmp_path: Path, name: str) -> None:
    tamper, clause, code, wanted, altered, explanation = DAMAGES[name]
    folder = evidence_folder.write(tmp_path, *evidence_folder.sites(tamper))
    found = evidence.read(folder)
    assert found.outcome == "BROKEN"
    assert {one.clause for one in found.guarantees if one.outcome == "broken"} >= {clause}
    (damaged,) = (one for one in found.damaged if one.id == wanted)
    assert {layer.name for layer in damaged.layers if layer.state == "altered"} == altered
    assert damaged.explanation.startswith(explanation)
    assert (clause, code) in {(one.source, one.code) for one in damaged.findings}
    text = page_of(folder)[1].text
    assert "Continuity is broken: " in text
    assert f"{clause} “" in text
    for one in damaged.findings:
        assert {one.code, one.expected, one.actual, one.remedy} <= {part.strip() for part in page_of(folder)[1].words}


def test_a_changed_item_shows_both_lines_field_by_field(tmp_path: Path) -> None:
    before, after = evidence_folder.sites(alter_row)
    folder = evidence_folder.write(tmp_path, before, after)
    (damaged,) = evidence.read(folder).damaged
    assert [(name, old, new) for name, old, new, differs in damaged.fields if differs] == [
        ("media_type", "application/x-bundle", "text/html")
    ]
    _, page = page_of(folder)
    assert {"media_type", "application/x-bundle", "text/html", before.rows[3].sha256} <= {w.strip() for w in page.words}


def test_what_is_of_no_single_item_is_told_apart(tmp_path: Path) -> None:
    def roll_back(world: World) -> None:
        world.notes = world.notes[:2]

    found = evidence.read(evidence_folder.write(tmp_path, *evidence_folder.sites(roll_back)))
    assert found.damaged == ()
    assert [(one.source, one.code, one.item) for one in found.of_no_item] == [
        ("E.5", "checkpoint-rolled-back", "the log's checkpoint")
    ]
    assert continuity.verdict(found) == (
        "Continuity is broken: E.5 “Log entries immutable” has 1 finding, checkpoint-rolled-back on the log's "
        "checkpoint; of 12 items 0 changed, 0 missing."
    )
    text = page_of(tmp_path)[1].text
    assert "Refused, and of no single item" in text
    assert "No single item changed, is missing or was refused." in text


def test_a_refused_item_that_is_new_is_not_said_to_be_in_the_baseline(tmp_path: Path) -> None:
    def flip(world: World) -> None:
        row = world.rows[-1]
        world.objects[row.object_key] = b"other"

    (damaged,) = evidence.read(evidence_folder.write(tmp_path, *evidence_folder.sites(flip))).damaged
    assert damaged.state == "added"
    assert damaged.explanation.startswith(
        "In the second snapshot only, and refused for its content. What its row declares"
    )


def test_of_much_damage_the_first_is_shown_and_the_rest_folded_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "SHOW_DAMAGED", 8)
    monkeypatch.setattr(continuity, "OPEN_AT_FIRST", 5)
    folder = evidence_folder.write(tmp_path, *evidence_folder.sites(alter_rows))
    _, page = page_of(folder)
    shown = [a["data-item"] for tag, a in page.elements if tag == "a" and "data-item" in a]
    assert shown == [item(index) for index in range(8)]
    assert "The first 8 of 12 items" in page.text
    assert "3 more items" in page.text
    assert "1 more finding" in page.text, "E.1 has six"


def test_an_item_put_before_the_watermark_breaks_continuity(tmp_path: Path) -> None:
    before = World.of(2)
    late = before.rows.pop(3)
    after = World.of(2)
    assert late.id < before.rows[-1].id
    found = evidence.read(evidence_folder.write(tmp_path, before, after))
    assert (found.outcome, found.unaccounted, found.unaccounted_total) == ("BROKEN", (BUNDLE,), 1)
    assert "1 item appeared before the baseline's watermark" in continuity.verdict(found)


def test_a_guarantee_that_nobody_verified_is_not_proven_and_its_layer_unknown(tmp_path: Path) -> None:
    folder = evidence_folder.write(tmp_path / "passing", *evidence_folder.sites())
    for clause in ("E.3", "E.5"):
        (folder / f"{clause}.json").unlink()
    found = evidence.read(folder)
    assert found.outcome == "NOT PROVEN"
    assert continuity.verdict(found).startswith("Continuity is not proven: E.3 and E.5 were not verified. Of 12 items")
    assert "not verified" in page_of(folder)[1].text
    folder = evidence_folder.write(tmp_path / "damaged", *evidence_folder.sites(flip_content))
    (folder / "E.3.json").unlink()
    (damaged,) = evidence.read(folder).damaged
    assert {layer.name: layer.state for layer in damaged.layers}["leaf"] == "unknown"


def test_a_guarantee_over_nothing_is_not_proven(copied: Path) -> None:
    document = json.loads((copied / "E.4.json").read_text("utf-8"))
    (copied / "E.4.json").write_text(json.dumps({**document, "checked": 0}), "utf-8")
    assert evidence.read(copied).outcome == "NOT PROVEN"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("E.2.json", "[]", "E.2.json cannot be read"),
        ("E.2.json", '{"checked": "many"}', "E.2.json is not a guarantee's outcome"),
        ("diff.json", '{"before": 11}', "diff.json says another balance"),
        ("after/lines.jsonl", "", "the snapshots are not whole"),
        ("after/lines.jsonl", "{}\n", "the snapshots are not whole"),
        ("before/findings.jsonl", '{"kind": "sbom"}\n', "before/findings.jsonl is not what its manifest names"),
    ],
)
def test_files_that_are_not_whole_are_told_and_prove_nothing(copied: Path, name: str, content: str, said: str) -> None:
    (copied / name).write_text(content, "utf-8")
    found = evidence.read(copied)
    assert found.outcome != "HOLDS"
    assert any(problem.startswith(said) for problem in found.problems), found.problems
    assert said in page_of(copied)[1].text


def test_a_line_altered_afterwards_is_told(copied: Path) -> None:
    path = copied / "after" / "lines.jsonl"
    path.write_bytes(path.read_bytes().replace(b"application/x-sbom", b"application/x-sbon", 1))
    found = evidence.read(copied)
    assert "snapshot-altered" in found.problems[0]
    assert found.kinds == (), "no balance by kind over lines that are not what the manifest counts"


@pytest.mark.parametrize("code", ["checkpoint-missing", "trust-root-changed"])
def test_a_guarantee_whose_ground_was_refused_vouches_for_no_item(tmp_path: Path, code: str) -> None:
    clause, layer, wanted = (
        ("E.4", "signature", ATTESTATION) if code.startswith("trust") else ("E.5", "log entry", SBOM)
    )
    folder = evidence_folder.write(tmp_path, *evidence_folder.sites(alter_rows))
    document = json.loads((folder / f"{clause}.json").read_text("utf-8"))
    document["findings"].append({"code": code, "item": "x", "expected": "", "actual": "", "remedy": ""})
    document["findings_total"] += 1
    (folder / f"{clause}.json").write_text(json.dumps(document), "utf-8")
    (damaged,) = (one for one in evidence.read(folder).damaged if one.id == wanted)
    (found,) = (one for one in damaged.layers if one.name == layer)
    assert (found.state, found.words) == ("unknown", f"{clause} refused what it rests on: {code}")


def test_guarantees_over_other_snapshots_prove_nothing_of_these(tmp_path: Path) -> None:
    """The outcome of a whole site beside the snapshots of an altered one, whose lines are all the same."""
    folder = evidence_folder.write(tmp_path / "altered", *evidence_folder.sites(alter_leaf))
    assert evidence.read(folder).outcome == "BROKEN"
    other = evidence_folder.write(tmp_path / "whole", *evidence_folder.sites(lambda world: world.scan()))
    (folder / "E.3.json").write_bytes((other / "E.3.json").read_bytes())
    found = evidence.read(folder)
    assert found.outcome == "NOT PROVEN"
    assert found.problems == ["E.3.json is about other snapshots than these"]


def test_a_checkpoint_that_is_not_the_manifests_is_a_problem(tmp_path: Path) -> None:
    folder = evidence_folder.write(tmp_path, *evidence_folder.sites(lambda world: world.scan()))
    assert evidence.read(folder).outcome == "HOLDS"
    (folder / "before" / "checkpoint.txt").unlink()
    found = evidence.read(folder)
    assert found.outcome == "NOT PROVEN"
    assert found.problems[0].startswith("before/checkpoint.txt is not what its manifest names")


def test_findings_that_are_counted_and_not_named_leave_items_in_doubt(tmp_path: Path) -> None:
    folder = evidence_folder.write(tmp_path, *evidence_folder.sites(flip_content))
    document = json.loads((folder / "E.3.json").read_text("utf-8"))
    (folder / "E.3.json").write_text(json.dumps({**document, "findings_total": 20_000}), "utf-8")
    (damaged,) = evidence.read(folder).damaged
    assert {layer.name: layer.state for layer in damaged.layers}["leaf"] == "unknown"


# -- the list ----------------------------------------------------------------------------------------------------------


def line(index: int, **changes: object) -> snapshot.Line:
    digest = sha256(str(index).encode()).hexdigest()
    kind = ("oci-manifest", "sbom", "attestation", "bundle")[index % 4]
    signers = ("ab" * 32,) if kind == "attestation" else ()
    facts: dict[str, Any] = {
        "id": item(index),
        "kind": kind,
        "media_type": f"application/x-{kind}",
        "size_bytes": 300 + index * 7919 % 9000,
        "sha256": digest,
        "declared_size_bytes": 300 + index * 7919 % 9000,
        "declared_sha256": digest,
        "declared_signer_key_id": signers[0] if signers else None,
        "signer_key_ids": signers,
        "leaf_index": index,
        "log_index": index,
        "created": leaves.timestamp(START + timedelta(microseconds=index * 37_123_457)),
    }
    return snapshot.Line(**facts | changes)


ODD = (
    line(0),
    line(1, id="ev-000000000001</script><script>alert(1)</script>"),
    line(2, id="ev-\N{GRINNING FACE}", sha256=None, size_bytes=None, signer_key_ids=()),
    line(3, id="ev-\N{GRINNING FACE}\N{WINKING FACE}", declared_size_bytes=2**63 - 1),
    line(4, id="ev-\N{GRINNING FACE}\n\0'", size_bytes=2**63 - 1, declared_size_bytes=2**63 - 1),
    line(5, id="zz", created="yesterday", leaf_index=-4),
    line(6, id="zzz", kind=HOSTILE, log_index=2**52 - 1),
    line(7, id="zzzz", leaf_index=0, size_bytes=0, declared_size_bytes=0, created="1970-01-01T00:00:00.000001Z"),
)


def test_every_line_survives_the_columns_exactly() -> None:
    made = Items()
    expected = []
    for index, one in enumerate(ODD):
        state = ("unchanged", "changed", "missing", "added")[index % 4]
        later = replace(one, media_type="text/html", leaf_index=2**40 + index) if state == "changed" else None
        made.add(state, one, later)
        expected.append((state, evidence_folder.as_text(one), evidence_folder.as_text(later) if later else None))
    assert evidence_folder.items(made.pack({"states": STATES})) == expected


def test_the_page_carries_every_item_with_its_state_lines_and_findings(tmp_path: Path) -> None:
    before, after = evidence_folder.sites(flip_content)
    folder = evidence_folder.write(tmp_path, before, after)
    packed = evidence_folder.carried(page_of(folder)[0])
    carried = evidence_folder.items(packed)
    assert [one["id"] for _, one, _ in carried] == [item(index) for index in range(BASELINE + ADDED)]
    assert [state for state, _, _ in carried] == ["unchanged", "changed"] + ["unchanged"] * 10 + ["added"] * 8
    old, new = (list(snapshot.load(folder / name).lines())[1] for name in ("before", "after"))
    assert carried[1][1:] == (evidence_folder.as_text(old), evidence_folder.as_text(new))
    head, _ = evidence_folder.unpack(packed)
    assert [one[:3] for one in head["findings"]] == [
        [1, "E.2", "content-changed"],
        [1, "after", "content-mismatch"],
    ]


def test_a_hundred_thousand_items_take_little_more_than_their_digests() -> None:
    made = Items()
    for index in range(100_000):
        made.add("unchanged", line(index))
    digests = 100_000 * 32 * 4 / 3
    assert len(made.pack({})) < 1.05 * digests


def test_of_a_large_site_the_unchanged_items_are_left_out_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "KEEP_ITEMS", 10)
    folder = evidence_folder.write(tmp_path, *evidence_folder.sites(flip_content))
    found = evidence.read(folder)
    assert dict(found.left_out) == {"unchanged": BASELINE - 1}
    assert (found.balance.unchanged, found.balance.changed) == (BASELINE - 1, 1)
    source, page = page_of(folder)
    assert "Left out of this list: 11 unchanged" in page.text
    carried = evidence_folder.items(evidence_folder.carried(source))
    assert [state for state, _, _ in carried] == ["changed"] + ["added"] * ADDED


# -- the page as a file ------------------------------------------------------------------------------------------------


def test_the_same_folder_gives_the_same_bytes(intact: Path) -> None:
    assert continuity.build(intact) == continuity.build(intact)


def test_nothing_is_loaded_from_outside_and_only_the_pages_own_script_may_run(intact: Path) -> None:
    source, page = page_of(intact)
    assert not page.open, "every element is closed"
    assert all(not re.match(r"[a-z]+:|//|/", url) for url in page.urls())
    assert not re.search(r"@import|url\(|https?://", source)
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    script = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(sha256(script[0].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}';" in policy


def test_links_lead_to_something(intact: Path) -> None:
    _, page = page_of(intact)
    ids = page.ids()
    assert len(ids) == len(set(ids))
    for url in page.urls():
        assert url[1:] in ids if url.startswith("#") else (intact / url).is_file(), url


def test_text_of_the_evidence_is_never_markup(tmp_path: Path) -> None:
    hostile = "ev-" + HOSTILE

    def tamper(world: World) -> None:
        world.rows[-1] = replace(world.rows[-1], id=hostile, kind=HOSTILE, media_type=HOSTILE)

    before, after = World.of(1), World.of(1)
    tamper(before)
    tamper(after)
    after.objects.clear()
    folder = evidence_folder.write(tmp_path, before, after)
    source, page = page_of(folder)
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert "img" not in [tag for tag, _ in page.elements]
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert hostile in {word.strip() for word in page.words}
    assert hostile in {one["id"] for _, one, _ in evidence_folder.items(evidence_folder.carried(source))}


def test_without_scripts_the_page_says_where_the_items_are(intact: Path) -> None:
    _, page = page_of(intact)
    assert "The full list needs scripts" in page.text
    assert "hidden" in next(a for _, a in page.elements if a.get("id") == "browser")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_unpacks_the_list_and_computes_what_the_harness_computes(tmp_path: Path) -> None:
    """The script runs under the page's own policy; its leaf hashes are those of `cutover.evidence`."""
    name = "ev-</script>\N{GRINNING FACE}'\""

    def rename(world: World) -> None:
        world.rows[-1] = replace(world.rows[-1], id=name)

    before, after = World.of(1), World.of(1)
    rename(before)
    rename(after)
    del after.objects[after.rows[-1].object_key]
    folder = evidence_folder.write(tmp_path / "evidence", before, after)
    (folder / "continuity.html").write_bytes(continuity.build(folder))
    assert CHROMIUM is not None
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000")
    ran = subprocess.run(  # a browser on a file of ours
        [CHROMIUM, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", str(folder / "continuity.html")],
        capture_output=True,
        timeout=50,
        check=True,
    )
    dom = ran.stdout.decode("utf-8")
    assert 'data-ready="yes"' in dom
    assert "4 of 4 items" in Page(dom).text.replace("\u00a0", " ")
    old = list(snapshot.load(folder / "before").lines())[-1]
    assert old.id == name
    facts = {"id": old.id, "kind": old.kind, "sha256": old.declared_sha256}
    for schema in leaves.SCHEMAS:
        computed = leaves.leaf_hash(schema, **facts, size_bytes=old.declared_size_bytes, created=old.created)
        assert computed.hex() in dom, f"schema {schema}"
    entry = leaves.log_entry(id=old.id, kind=old.kind, sha256=old.declared_sha256)
    assert sha256(b"\0" + entry).hexdigest() in dom


# -- in a record -------------------------------------------------------------------------------------------------------


def recorded(tmp_path: Path, tamper: Callable[[World], None] = lambda _: None) -> Path:
    """Write a record that compared evidence, with the platform's reports beside it."""
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    before, after = evidence_folder.sites(tamper)
    folder = evidence_folder.write(sample.folder / "evidence", before, after)
    results = [{"id": row.id, "sha256": row.sha256, "ok": True, "code": None} for row in before.rows]
    report = {"items": BASELINE, "size": BASELINE, "schema_version": 1, "root": before.root(1, BASELINE).hex()}
    sample.write_json("artifacts/platform/pre-upgrade-baseline.json", {**report, "results": results})
    sample.passes("1.1a")
    balance = evidence.read(folder).balance
    names = ("before", "after", "missing", "changed", "added", "unchanged")
    sample.journal.write("evidence", clause="E.1", **{name: getattr(balance, name) for name in names})
    digest = snapshot.load(folder / "before").manifest.digest
    sample.journal.write("fact", clause="E.1", name="baseline", facts={"digest": digest})
    sample.journal.write("done", clause="E.1", action="snapshot", folder="evidence/before")
    sample.command("E.1", "stella", "evidence", "verify-continuity", "--json")
    path = record.read(sample.folder).commands[-1].transcript
    answer = {"ok": True, "before": BASELINE, "after": BASELINE + ADDED, "missing": 0, "changed": 0, "added": ADDED}
    sample.write(path, f"$ stella\n# ---- standard output\n{json.dumps(answer)}\n# ---- standard error\n")
    sample.passes("E.1")
    sample.load()
    sample.end("PASSED", exit_code=0)
    return sample.folder


def test_a_record_gets_it_and_its_page_leads_there(tmp_path: Path) -> None:
    folder = recorded(tmp_path)
    made = {one.name: one.problem for one in build.build(folder)}
    assert made == dict.fromkeys(["continuity.html", "junit.xml", "summary.md", "report.html", "report.pdf"], "")
    assert "evidence/continuity.html" in Page((folder / "report.html").read_text("utf-8")).urls()
    read = record.read(folder).clause("E.1")
    assert read is not None
    assert "evidence/continuity.html" in read.links
    page = Page((folder / "evidence" / "continuity.html").read_text("utf-8"))
    for url in page.urls():
        assert url.startswith("#") or (folder / "evidence" / url).resolve().is_file(), url
    assert sample_record.ID in page.text
    assert sample_record.NOTICE in page.text


def test_the_platforms_reports_are_compared_and_absent_ones_are_said_to_be(tmp_path: Path) -> None:
    folder = recorded(tmp_path)
    found = evidence.read(folder / "evidence", record.read(folder))
    assert {one.clause: (one.agrees, one.problem) for one in found.agreements} == {
        "1.1c": (True, ""),
        "4.1a": (True, ""),
        "E.6": (False, "its report is not in the record"),
        "E.7": (False, "the platform was not asked in this run"),
    }
    assert found.problems == []


def test_a_platform_that_says_otherwise_is_named_with_the_item(tmp_path: Path) -> None:
    folder = recorded(tmp_path, flip_content)
    path = folder / "artifacts" / "platform" / "pre-upgrade-baseline.json"
    report = json.loads(path.read_text("utf-8"))
    report["results"][3]["ok"] = False
    path.write_text(json.dumps(report), "utf-8")
    found = evidence.read(folder / "evidence", record.read(folder))
    named = {one.clause: [(f.code, f.item) for f in one.findings] for one in found.agreements if one.findings}
    assert named == {"1.1c": [("agreement-verdict", BUNDLE)], "4.1a": [("agreement-count", "changed")]}
    page = Page(continuity.build(folder / "evidence", record.read(folder)).decode("utf-8"))
    assert "the platform disagrees, 1 time" in page.text


def test_a_manifest_that_is_not_the_sealed_one_proves_nothing(tmp_path: Path) -> None:
    folder = recorded(tmp_path)
    path = folder / "evidence" / "before" / "manifest.json"
    path.write_bytes(path.read_bytes() + b"\n")
    found = evidence.read(folder / "evidence", record.read(folder))
    assert found.outcome == "NOT PROVEN"
    assert any(problem.startswith("the journal sealed the baseline as sha256:") for problem in found.problems)


def test_the_command_makes_it_of_an_evidence_folder_alone(copied: Path) -> None:
    ran = CliRunner().invoke(command.report, [str(copied)])
    assert (ran.exit_code, ran.output.split()) == (0, [str(copied / "continuity.html")])
    refused = CliRunner().invoke(command.report, [str(copied), "--only", "report.pdf"])
    assert "gives continuity.html alone" in str(refused.exception)


def test_the_command_says_when_a_record_compared_nothing(tmp_path: Path) -> None:
    folder = sample_record.passed(tmp_path).folder
    refused = CliRunner().invoke(command.report, [str(folder), "--only", "continuity.html"])
    assert "holds no two snapshots to compare" in str(refused.exception)
