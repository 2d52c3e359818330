"""What is done to a site under each kind of alteration: one function a kind, done through a `Hand`.

Invariants: the same random numbers on the same site do the same; what comes of a deed is written in
`contract/faults.toml`, not here. Where the platform would at once put something newer over the altered thing, a trigger
keeps later rows out: the table's title says so.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from psycopg import sql
from psycopg.types.json import Jsonb

from rehearsal.environment import faults
from rehearsal.environment.hand import LEAVES, read_all
from rehearsal.platform.core import canonical, checkpoint, dsse, keys, leaves, merkle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rehearsal.environment.hand import Connection, Hand, Names, Row

_TRUNCATED_SHARE = (0.1, 0.25)
"""How much of the baseline's log is cut off: far more than the platform appends before anybody looks."""


def _struck(*rows: Row) -> Names:
    """Name items of one kind."""
    return {"item": tuple(row.id for row in rows), "own": (faults.GUARANTEE_OF_KIND[rows[0].kind],)}


def _root_name(row: Mapping[str, Any]) -> str:
    return f"root of schema {row['schema_version']} at {row['size']}"


def _crossref_name(row: Mapping[str, Any]) -> str:
    return f"cross-reference {row['old_schema']} to {row['new_schema']} at {row['size']}"


def _flipped(data: bytes, rng: random.Random) -> bytes:
    changed, bit = bytearray(data), rng.randrange(8 * len(data))
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _stranger(rng: random.Random) -> ec.EllipticCurvePrivateKey:
    """Make a key that nobody trusts."""
    return ec.derive_private_key(rng.randrange(1, 1 << 255), ec.SECP256R1())


def _strange_log_key(rng: random.Random) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))


# -- contents ----------------------------------------------------------------------------------------------------------


def _bit(hand: Hand) -> Names:
    row = hand.item()
    hand.put(row.object_key, _flipped(hand.site.store.get(row.object_key), hand.rng))
    return _struck(row)


def _reserialised(hand: Hand) -> tuple[Row, bytes]:
    row = hand.item()
    content = hand.site.store.get(row.object_key)
    forms = [json.dumps(json.loads(content), indent=indent).encode() for indent in (None, 1, 4)]
    changed = hand.pick([form for form in forms if form != content], "other form of the SBOM")
    return row, changed


def _sbom_reserialised(hand: Hand) -> Names:
    row, changed = _reserialised(hand)
    hand.put(row.object_key, changed)
    return _struck(row)


def _sbom_reserialised_indexed(hand: Hand) -> Names:
    row, changed = _reserialised(hand)
    _replace(hand, row, changed)
    return _struck(row)


def _replace(hand: Hand, row: Row, content: bytes, **columns: object) -> Row:
    """Put other content for an item under its own digest, and let the row say so, as the platform would write it."""
    digest = leaves.digest(content)
    key = leaves.object_key(digest)
    hand.put(key, content)
    hand.change(
        hand.site.database,
        "evidence",
        row.id,
        sha256=digest,
        size_bytes=len(content),
        object_key=key,
        **columns,
    )
    return replace(row, sha256=digest, size_bytes=len(content), object_key=key)


def _envelope(hand: Hand, row: Row) -> tuple[dict[str, Any], bytes]:
    envelope = dict(canonical.decode(hand.site.store.get(row.object_key)))
    return envelope, base64.b64decode(envelope["payload"])


def _other_payload(payload: bytes, rng: random.Random) -> bytes:
    """Change what an attestation says: the digest of its first subject."""
    statement = dict(canonical.decode(payload))
    subject = dict(statement["subject"][0])
    subject["digest"] = {"sha256": rng.randbytes(32).hex()}
    return canonical.encode({**statement, "subject": [subject, *statement["subject"][1:]]})


def _attestation_payload(hand: Hand) -> Names:
    row = hand.item()
    envelope, payload = _envelope(hand, row)
    envelope["payload"] = base64.b64encode(_other_payload(payload, hand.rng)).decode()
    hand.put(row.object_key, canonical.encode(envelope))
    return _struck(row)


def _attestation_unsigned(hand: Hand) -> Names:
    row = hand.item()
    envelope, _ = _envelope(hand, row)
    hand.put(row.object_key, canonical.encode({**envelope, "signatures": []}))
    return _struck(row)


def _attestation_resigned(hand: Hand) -> Names:
    row = hand.item()
    _, payload = _envelope(hand, row)
    hand.put(row.object_key, canonical.encode(dsse.sign(dsse.IN_TOTO, payload, _stranger(hand.rng))))
    return _struck(row)


def _attestation_resigned_indexed(hand: Hand) -> Names:
    row, stranger = hand.item(), _stranger(hand.rng)
    _, payload = _envelope(hand, row)
    signer = keys.key_id(stranger.public_key())
    _replace(hand, row, canonical.encode(dsse.sign(dsse.IN_TOTO, payload, stranger)), signer_keyid=signer)
    return _struck(row)


def _attestation_forged(hand: Hand) -> Names:
    row = hand.item()
    envelope, payload = _envelope(hand, row)
    (forged,) = dsse.sign(dsse.IN_TOTO, payload, _stranger(hand.rng))["signatures"]
    signatures = [{**forged, "keyid": envelope["signatures"][0]["keyid"]}]
    hand.put(row.object_key, canonical.encode({**envelope, "signatures": signatures}))
    return _struck(row)


def _attestation_reissued(hand: Hand) -> Names:
    row = hand.item()
    _, payload = _envelope(hand, row)
    envelope = dsse.sign(dsse.IN_TOTO, _other_payload(payload, hand.rng), hand.site.signing_key)
    _index_leaves(hand, _replace(hand, row, canonical.encode(envelope)))
    return _struck(row)


def _index_leaves(hand: Hand, row: Row) -> None:
    """Let every stored leaf of an item say what its row says."""
    covered = leaves.Covered(
        id=row.id, kind=row.kind, sha256=row.sha256, size_bytes=row.size_bytes, created=row.created
    )
    for schema in hand.schemas():
        value = leaves.leaf_hash(covered, schema)
        hand.change(hand.site.database, LEAVES[schema], row.leaf_index, leaf_hash=value)


def _object_removed(hand: Hand) -> Names:
    row = hand.item()
    hand.remove(row.object_key)
    return _struck(row)


def _object_truncated(hand: Hand) -> Names:
    row = hand.item()
    content = hand.site.store.get(row.object_key)
    hand.put(row.object_key, content[: hand.rng.randrange(1, len(content))])
    return _struck(row)


def _object_emptied(hand: Hand) -> Names:
    row = hand.item()
    hand.put(row.object_key, b"")
    return _struck(row)


def _objects_swapped(hand: Hand) -> Names:
    first, second = hand.two()
    contents = [hand.site.store.get(row.object_key) for row in (first, second)]
    hand.put(first.object_key, contents[1])
    hand.put(second.object_key, contents[0])
    return _struck(first, second)


# -- rows --------------------------------------------------------------------------------------------------------------


def _row_deleted(hand: Hand) -> Names:
    row = hand.item()
    hand.delete(hand.site.database, "evidence", [row.id])
    return _struck(row)


def _row_column(column: str, value: Callable[[Hand, Row], object]) -> Callable[[Hand], Names]:
    def deed(hand: Hand) -> Names:
        row = hand.item()
        hand.change(hand.site.database, "evidence", row.id, **{column: value(hand, row)})
        return _struck(row)

    return deed


def _row_leaf(hand: Hand) -> Names:
    first, second = hand.two()
    database = hand.site.database
    with database.transaction():  # the platform counts on from the highest index that it sees
        hand.change(database, "evidence", first.id, leaf_index=1 << 40)  # no two rows may have the same
        hand.change(database, "evidence", second.id, leaf_index=first.leaf_index)
        hand.change(database, "evidence", first.id, leaf_index=second.leaf_index)
    return _struck(first, second)


def _row_log(hand: Hand) -> Names:
    first, second = hand.two()
    hand.change(hand.site.database, "evidence", first.id, log_index=second.log_index)
    return _struck(first)


def _row_object(hand: Hand) -> Names:
    first, second = hand.two()
    hand.change(hand.site.database, "evidence", first.id, object_key=second.object_key)
    return _struck(first)


def _row_inserted(hand: Hand) -> Names:
    """Make an item with everything but an entry of the log: it claims that of the item which it follows."""
    database = hand.site.database
    row = hand.item()
    with database.transaction():
        database.execute("SELECT pg_advisory_xact_lock(%s)", (leaves.TREE_LOCK_KEY,))
        found = database.execute("SELECT max(leaf_index) + 1 FROM evidence").fetchone()
        index = int(found[0]) if found else 0
        content = hand.site.store.get(row.object_key)
        scan = database.execute("SELECT scan_id, signer_keyid FROM evidence WHERE id = %s", (row.id,)).fetchone()
        if scan is None:
            raise LookupError(f"{row.id} is gone")
        past = replace(row, id=f"{row.id}a", leaf_index=index)
        hand.insert(
            database,
            "evidence",
            id=past.id,
            scan_id=scan[0],
            kind=past.kind,
            media_type=past.media_type,
            size_bytes=len(content),
            sha256=past.sha256,
            object_key=past.object_key,
            leaf_index=index,
            log_index=past.log_index,
            signer_keyid=scan[1],
            created=past.created,
        )
        covered = leaves.Covered(
            id=past.id, kind=past.kind, sha256=past.sha256, size_bytes=len(content), created=past.created
        )
        hand.insert(
            database,
            LEAVES[1],
            leaf_index=index,
            evidence_id=past.id,
            leaf_hash=leaves.leaf_hash(covered, 1),
        )
    return _struck(past)


# -- the tree ----------------------------------------------------------------------------------------------------------


def _leaf_dropped(hand: Hand) -> Names:
    row = hand.item()
    hand.delete(hand.site.database, hand.leaf_table(), [row.leaf_index])
    return _struck(row)


def _leaf(hand: Hand, table: str, row: Row) -> bytes:
    query = sql.SQL("SELECT leaf_hash FROM {} WHERE leaf_index = %s").format(sql.Identifier(table))
    found = hand.site.database.execute(query, (row.leaf_index,)).fetchone()
    if found is None:
        raise LookupError(f"{table} has no leaf {row.leaf_index}")
    return bytes(found[0])


def _leaf_changed(hand: Hand) -> Names:
    row, table = hand.item(), hand.leaf_table()
    value = _flipped(_leaf(hand, table, row), hand.rng)
    hand.change(hand.site.database, table, row.leaf_index, leaf_hash=value)
    return _struck(row)


def _leaf_reassigned(hand: Hand) -> Names:
    first, second = hand.two()
    hand.change(hand.site.database, hand.leaf_table(), first.leaf_index, evidence_id=second.id)
    return _struck(first)


def _leaves_swapped(hand: Hand) -> Names:
    (first, second), table = hand.two(), hand.leaf_table()
    hashes = [_leaf(hand, table, row) for row in (first, second)]
    hand.change(hand.site.database, table, first.leaf_index, leaf_hash=hashes[1])
    hand.change(hand.site.database, table, second.leaf_index, leaf_hash=hashes[0])
    return _struck(first, second)


def _root_removed(hand: Hand) -> Names:
    hand.freeze(hand.site.database, "merkle_roots")
    found = [row["id"] for row in hand.roots() if row["size"] >= hand.site.baseline]
    hand.delete(hand.site.database, "merkle_roots", found)
    return {}


def _root_changed(hand: Hand) -> Names:
    row = hand.root()
    hand.change(hand.site.database, "merkle_roots", row["id"], root=_flipped(row["root"], hand.rng))
    return {"root": (_root_name(row),)}


def _signed_again(envelope: Mapping[str, Any], key: ec.EllipticCurvePrivateKey) -> Jsonb:
    return Jsonb(dsse.sign(envelope["payloadType"], base64.b64decode(envelope["payload"]), key))


def _root_resigned(hand: Hand) -> Names:
    row = hand.root()
    envelope = _signed_again(row["envelope"], _stranger(hand.rng))
    hand.change(hand.site.database, "merkle_roots", row["id"], envelope=envelope)
    return {"root": (_root_name(row),)}


def _root_restated(hand: Hand) -> Names:
    row = hand.root()
    other = hand.pick([one for one in hand.roots() if one["id"] != row["id"]], "second signed root")
    hand.change(hand.site.database, "merkle_roots", row["id"], envelope=Jsonb(other["envelope"]))
    return {"root": (_root_name(row),)}


def _crossref_removed(hand: Hand) -> Names:
    hand.freeze(hand.site.database, "merkle_crossrefs")
    found = [row["id"] for row in hand.crossrefs()]
    if not found:
        raise LookupError("the site has no cross-reference to remove")
    hand.delete(hand.site.database, "merkle_crossrefs", found)
    return {}


def _crossref_changed(hand: Hand) -> Names:
    row = hand.crossref()
    column = hand.rng.choice(("old_root", "new_root"))
    hand.change(hand.site.database, "merkle_crossrefs", row["id"], **{column: _flipped(row[column], hand.rng)})
    return {"crossref": (_crossref_name(row),)}


def _crossref_resigned(hand: Hand) -> Names:
    row = hand.crossref()
    envelope = _signed_again(row["envelope"], _stranger(hand.rng))
    hand.change(hand.site.database, "merkle_crossrefs", row["id"], envelope=envelope)
    return {"crossref": (_crossref_name(row),)}


def _crossref_restated(hand: Hand) -> Names:
    row = hand.crossref()
    other = hand.pick([one for one in hand.crossrefs() if one["id"] != row["id"]], "second cross-reference")
    hand.change(hand.site.database, "merkle_crossrefs", row["id"], envelope=Jsonb(other["envelope"]))
    return {"crossref": (_crossref_name(row),)}


def _tree_rebuilt(hand: Hand) -> Names:
    """Replace an SBOM; then leaves, roots and cross-references as if it had always been so, by the right key."""
    row = hand.item()
    sbom = dict(json.loads(hand.site.store.get(row.object_key)))
    changed = json.dumps({**sbom, "components": sbom["components"][1:]}, indent=2).encode()
    database = hand.site.database
    with database.transaction():
        database.execute("SELECT pg_advisory_xact_lock(%s)", (leaves.TREE_LOCK_KEY,))  # nobody signs a root meanwhile
        _index_leaves(hand, _replace(hand, row, changed))
        roots = [one for one in hand.roots() if one["size"] > row.leaf_index]
        crossrefs = hand.crossrefs()
        trees = {schema: _tree(database, LEAVES[schema]) for schema in hand.schemas()}  # as long as any root of them
        _sign_again(hand, roots, crossrefs, trees)
    return {
        **_struck(row),
        "root": tuple(map(_root_name, roots)),
        "crossref": tuple(map(_crossref_name, crossrefs)),
    }


def _sign_again(
    hand: Hand,
    roots: list[dict[str, Any]],
    crossrefs: list[dict[str, Any]],
    trees: Mapping[int, merkle.Tree],
) -> None:
    """Let the platform's own key sign roots and cross-references over other leaves."""
    database, key = hand.site.database, hand.site.signing_key
    for one in roots:
        root = trees[one["schema_version"]].root(one["size"])
        statement = dict(canonical.decode(base64.b64decode(one["envelope"]["payload"])))
        envelope = dsse.sign_statement(dsse.MERKLE_ROOT, {**statement, "root": root.hex()}, key)
        hand.change(database, "merkle_roots", one["id"], root=root, envelope=Jsonb(envelope))
    for one in crossrefs:
        old, new = (trees[one[name]].root(one["size"]) for name in ("old_schema", "new_schema"))
        statement = leaves.crossref_statement(
            size=one["size"],
            old_schema=one["old_schema"],
            new_schema=one["new_schema"],
            old_root=old,
            new_root=new,
        )
        envelope = dsse.sign_statement(dsse.MERKLE_CROSSREF, statement, key)
        hand.change(database, "merkle_crossrefs", one["id"], old_root=old, new_root=new, envelope=Jsonb(envelope))


def _tree(database: Connection, table: str) -> merkle.Tree:
    query = sql.SQL("SELECT leaf_hash FROM {} ORDER BY leaf_index").format(sql.Identifier(table))
    return merkle.Tree(bytes(row[0]) for row in database.execute(query))


# -- the log -----------------------------------------------------------------------------------------------------------


def _other_entry(hand: Hand, index: int) -> bytes:
    """Return an entry that names another digest for its item."""
    return canonical.encode({**canonical.decode(hand.entry(index)), "sha256": hand.rng.randbytes(32).hex()})


def _log_entry_changed(hand: Hand) -> Names:
    row = hand.item()
    hand.change(hand.site.log, "log_entries", row.log_index, leaf=_other_entry(hand, row.log_index))
    return _struck(row)


def _log_entry_rehashed(hand: Hand) -> Names:
    row = hand.item()
    entry = _other_entry(hand, row.log_index)
    hand.change(hand.site.log, "log_entries", row.log_index, leaf=entry, leaf_hash=merkle.leaf_hash(entry))
    return _struck(row)


def _log_hash_changed(hand: Hand) -> Names:
    row = hand.item()
    value = _flipped(merkle.leaf_hash(hand.entry(row.log_index)), hand.rng)
    hand.change(hand.site.log, "log_entries", row.log_index, leaf_hash=value)
    return _struck(row)


def _log_entry_removed(hand: Hand) -> Names:
    row = hand.item()
    hand.delete(hand.site.log, "log_entries", [row.log_index])
    return _struck(row)


def _log_entries_swapped(hand: Hand) -> Names:
    first, second = hand.two()
    entries = [hand.entry(row.log_index) for row in (first, second)]
    for row, entry in zip((first, second), reversed(entries), strict=True):
        hand.change(hand.site.log, "log_entries", row.log_index, leaf=entry, leaf_hash=merkle.leaf_hash(entry))
    return _struck(first, second)


def _log_truncated(hand: Hand) -> Names:
    """Cut entries of the baseline off the end, and the checkpoints that cover them."""
    rows = sorted(hand.rows(), key=lambda row: row.log_index)
    if len(rows) < 1 / _TRUNCATED_SHARE[0]:
        raise LookupError("the log is too short to be cut")
    size = rows[-round(len(rows) * hand.rng.uniform(*_TRUNCATED_SHARE))].log_index
    log = hand.site.log
    with log.transaction():
        log.execute("SELECT pg_advisory_xact_lock(%s)", (leaves.LOG_LOCK_KEY,))  # nobody appends meanwhile
        entries = [row[0] for row in log.execute("SELECT log_index FROM log_entries WHERE log_index >= %s", (size,))]
        hand.delete(log, "log_checkpoints", [row["size"] for row in hand.checkpoints() if row["size"] > size])
        hand.delete(log, "log_entries", entries)
    return {"item": tuple(row.id for row in rows if row.log_index >= size)}


def _log_rewritten(hand: Hand) -> Names:
    """Rewrite an entry, and sign every checkpoint after it again with the log's own key."""
    row = hand.item()
    log = hand.site.log
    entry = _other_entry(hand, row.log_index)
    with log.transaction():
        log.execute("SELECT pg_advisory_xact_lock(%s)", (leaves.LOG_LOCK_KEY,))
        hand.change(log, "log_entries", row.log_index, leaf=entry, leaf_hash=merkle.leaf_hash(entry))
        hashes = log.execute("SELECT leaf_hash FROM log_entries ORDER BY log_index").fetchall()
        tree = merkle.Tree(bytes(one[0]) for one in hashes)
        for one in hand.checkpoints():
            if one["size"] > row.log_index:
                state = replace(checkpoint.read(one["note"]), root=tree.root(one["size"]))
                note = checkpoint.sign(state, hand.site.log_key)
                hand.change(log, "log_checkpoints", one["size"], root=state.root, note=note)
    return _struck(row)


# -- checkpoints -------------------------------------------------------------------------------------------------------


def _newest_note(write: Callable[[Hand, str], str]) -> Callable[[Hand], Names]:
    """Make a deed that writes the newest checkpoint anew and lets no later one take its place."""

    def deed(hand: Hand) -> Names:
        hand.freeze(hand.site.log, "log_checkpoints")
        newest = hand.checkpoints()[-1]
        hand.change(hand.site.log, "log_checkpoints", newest["size"], note=write(hand, newest["note"]))
        return {}

    return deed


def _forged(hand: Hand, note: str) -> str:
    return checkpoint.sign(checkpoint.read(note), _strange_log_key(hand.rng))


def _imitated(hand: Hand, note: str) -> str:
    """Sign with a strange key under the key id of the log's own."""
    state = checkpoint.read(note)
    raw = b"\x01" + hand.site.log_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    blob = keys.note_key_id(state.origin, raw) + _strange_log_key(hand.rng).sign(state.text().encode())
    head, _, _ = checkpoint.sign(state, hand.site.log_key).rpartition(" ")
    return f"{head} {base64.b64encode(blob).decode()}\n"


def _other_text(change: Callable[[checkpoint.Checkpoint, random.Random], checkpoint.Checkpoint]) -> Callable[..., str]:
    """Change what a note says and keep its signature lines."""

    def write(hand: Hand, note: str) -> str:
        _, _, signatures = note.partition("\n\n")
        return f"{change(checkpoint.read(note), hand.rng).text()}\n{signatures}"

    return write


def _other_origin(hand: Hand, note: str) -> str:
    """Sign, by the log's key and under the log's name, a checkpoint of another log."""
    state = checkpoint.read(note)
    other = replace(state, origin=f"other.{state.origin}")
    raw = b"\x01" + hand.site.log_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    blob = keys.note_key_id(state.origin, raw) + hand.site.log_key.sign(other.text().encode())
    head, _, _ = checkpoint.sign(state, hand.site.log_key).partition("\n\n")[2].rpartition(" ")
    return f"{other.text()}\n{head} {base64.b64encode(blob).decode()}\n"


def _forked(hand: Hand, note: str) -> str:
    return checkpoint.sign(replace(checkpoint.read(note), root=hand.rng.randbytes(32)), hand.site.log_key)


def _rolled_back(hand: Hand) -> Names:
    """Take every checkpoint over the baseline's entries away, and keep later ones out."""
    hand.freeze(hand.site.log, "log_checkpoints")
    newest = [row for row in hand.checkpoints() if row["size"] >= hand.site.baseline]
    if len(newest) == len(hand.checkpoints()):
        raise LookupError("the log has no older checkpoint to show")
    hand.delete(hand.site.log, "log_checkpoints", [row["size"] for row in newest])
    return {}


def _checkpoint_removed(hand: Hand) -> Names:
    hand.freeze(hand.site.log, "log_checkpoints")
    hand.delete(hand.site.log, "log_checkpoints", [row["size"] for row in hand.checkpoints()])
    return {}


# -- the trust root ----------------------------------------------------------------------------------------------------


def _write_trust(hand: Hand, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path = hand.site.trust
    before = path.read_bytes()
    hand.undoing.append(lambda: _overwrite(path, before))
    path.write_text(json.dumps(change(dict(json.loads(before))), indent=2) + "\n", encoding="utf-8")


def _overwrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _trust_extended(hand: Hand) -> Names:
    pem = keys.public_pem(_stranger(hand.rng).public_key())
    _write_trust(hand, lambda trust: {**trust, "attestation_keys": [*trust["attestation_keys"], pem]})
    return {}


def _trust_replaced(hand: Hand) -> Names:
    pem = keys.public_pem(_stranger(hand.rng).public_key())
    _write_trust(hand, lambda trust: {**trust, "attestation_keys": [pem]})
    attested = read_all(
        hand.site.database, "SELECT id, leaf_index FROM evidence WHERE kind = 'attestation' ORDER BY leaf_index"
    )
    return {
        "item": tuple(row["id"] for row in attested if row["leaf_index"] < hand.site.baseline),
        "later": tuple(row["id"] for row in attested if row["leaf_index"] >= hand.site.baseline),
        "root": tuple(map(_root_name, hand.roots())),
        "crossref": tuple(map(_crossref_name, hand.crossrefs())),
    }


def _trust_log_replaced(hand: Hand) -> Names:
    public = _strange_log_key(hand.rng).public_key()
    _write_trust(
        hand,
        lambda trust: {
            **trust,
            "log": {**trust["log"], "key": keys.verifier_key(trust["log"]["origin"], public)},
        },
    )
    return {}


def _other_kind(_hand: Hand, row: Row) -> str:
    """Choose a kind whose content is not parsed: what the row says is then all that is wrong."""
    return "sbom" if row.kind == "bundle" else "bundle"


DEEDS: Mapping[str, Callable[[Hand], Names]] = {
    "bundle-bit": _bit,
    "manifest-bit": _bit,
    "sbom-bit": _bit,
    "sbom-reserialised": _sbom_reserialised,
    "sbom-reserialised-indexed": _sbom_reserialised_indexed,
    "attestation-payload": _attestation_payload,
    "attestation-unsigned": _attestation_unsigned,
    "attestation-resigned": _attestation_resigned,
    "attestation-resigned-indexed": _attestation_resigned_indexed,
    "attestation-forged": _attestation_forged,
    "object-removed": _object_removed,
    "object-truncated": _object_truncated,
    "object-emptied": _object_emptied,
    "objects-swapped": _objects_swapped,
    "row-deleted": _row_deleted,
    "row-digest": _row_column("sha256", lambda hand, _row: hand.rng.randbytes(32).hex()),
    "row-size": _row_column("size_bytes", lambda hand, row: row.size_bytes + hand.rng.randrange(1, 1000)),
    "row-created": _row_column("created", lambda hand, row: row.created.replace(year=2020 + hand.rng.randrange(5))),
    "row-kind": _row_column("kind", _other_kind),
    "row-media-type": _row_column("media_type", lambda _hand, row: f"{row.media_type}; version=2"),
    "row-signer": _row_column("signer_keyid", lambda hand, _row: keys.key_id(_stranger(hand.rng).public_key())),
    "row-leaf": _row_leaf,
    "row-log": _row_log,
    "row-object": _row_object,
    "row-inserted": _row_inserted,
    "leaf-dropped": _leaf_dropped,
    "leaf-changed": _leaf_changed,
    "leaf-reassigned": _leaf_reassigned,
    "leaves-swapped": _leaves_swapped,
    "root-removed": _root_removed,
    "root-changed": _root_changed,
    "root-resigned": _root_resigned,
    "root-restated": _root_restated,
    "crossref-removed": _crossref_removed,
    "crossref-changed": _crossref_changed,
    "crossref-resigned": _crossref_resigned,
    "crossref-restated": _crossref_restated,
    "log-entry-changed": _log_entry_changed,
    "log-entry-rehashed": _log_entry_rehashed,
    "log-hash-changed": _log_hash_changed,
    "log-entry-removed": _log_entry_removed,
    "log-entries-swapped": _log_entries_swapped,
    "log-truncated": _log_truncated,
    "log-rewritten": _log_rewritten,
    "checkpoint-rolled-back": _rolled_back,
    "checkpoint-removed": _checkpoint_removed,
    "checkpoint-forged": _newest_note(_forged),
    "checkpoint-imitated": _newest_note(_imitated),
    "checkpoint-root": _newest_note(_other_text(lambda state, rng: replace(state, root=rng.randbytes(32)))),
    "checkpoint-size": _newest_note(
        _other_text(lambda state, rng: replace(state, size=state.size + rng.randint(1, 9)))
    ),
    "checkpoint-origin": _newest_note(_other_origin),
    "checkpoint-forked": _newest_note(_forked),
    "attestation-reissued": _attestation_reissued,
    "tree-rebuilt": _tree_rebuilt,
    "trust-extended": _trust_extended,
    "trust-replaced": _trust_replaced,
    "trust-log-replaced": _trust_log_replaced,
}
