"""Approvals: who agreed beforehand, to exactly which plan, in which words, and past which points of no return.

An approval is an in-toto statement whose subject is the digest of one plan, signed with a key of the target file (DSSE,
bare or in a Sigstore bundle) or under an identity of it (Sigstore). It carries the plan's outline, so that a plan that
changed since can be told from the one that was approved, fact by fact.
Invariants: an approval counts for the very plan it signs and for no other; each person counts once; neither who asks
nor who performs the run counts where the policy keeps them apart; what a run relied on is in its record, verified again
whenever it is read.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import socket
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import rfc8785

from cutover import files
from cutover.clock import parse_rfc3339, rfc3339
from cutover.errors import Refused, WrongInput
from cutover.evidence import bundle, dsse
from cutover.evidence.errors import EvidenceError
from cutover.runbook import materials
from cutover.runbook import plan as plans
from cutover.target import Approvals, Approver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from cutover.policy import Policy
    from cutover.runbook.upgrade import Upgrade
    from cutover.target import Target

PREDICATE_TYPE = "https://cutover.stellaops.io/approval/v1"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
FOLDER = "approvals"
"""In a record."""
_PLAN = "plan"
_PEOPLE, _TRUSTED_ROOT = "approvers.json", "trusted_root.json"
"""Beside the approvals of a record: who could approve, and the root that vouches for identities."""
SUFFIXES = (".dsse.json", ".sigstore.json")
"""Of the files that are looked at; all else in a folder of approvals is left alone."""
GUIDE = "1.3, maintenance window communicated"

_CODE = "statement-malformed"
_AHEAD = timedelta(minutes=5)
"""So far may another machine's clock be ahead of this one's."""
_LARGEST_BYTES = 1 << 20
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")
_NAMED = 3
"""So many files are named in a refusal; of more, how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """One approval whose signature holds."""

    name: str
    """Of the approver, as the target file has it."""
    account: str
    """From which it was made, as `USER@HOST`; the approver's own word."""
    meaning: str
    approved_at: datetime
    covers: tuple[str, ...]
    """The points of no return that it allows, by their clauses' ids."""
    plan_digest: str
    outline: Mapping[str, str] = field(repr=False)
    """Of the plan that was approved; see `plan.outline`."""
    signed_with: str
    """The key's or the identity's name, in words."""
    file: str
    """Where it was read."""
    content: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """`sha256:<hex>` over the file's bytes."""
        return "sha256:" + hashlib.sha256(self.content).hexdigest()

    def facts(self) -> dict[str, Any]:
        """Return what the record says of it."""
        return {
            "name": self.name,
            "account": self.account,
            "meaning": self.meaning,
            "approved_at": rfc3339(self.approved_at),
            "covers": list(self.covers),
            "signed_with": self.signed_with,
            "file": f"{FOLDER}/{file_name(self)}",
            "sha256": self.sha256,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """How a plan stands with its approvals."""

    plan: Mapping[str, Any] = field(repr=False)
    """Its document."""
    needed: bool
    """Signed approvals are needed: by the policy, or because the site is a production site."""
    minimum: int
    approvers: tuple[str, ...]
    """Everyone who could approve."""
    approvals: tuple[Signed, ...]
    """Those that count, in the order of their times."""
    drifted: tuple[Signed, ...]
    """Signed for another plan of the same upgrade of the same site: void for this one."""
    unusable: tuple[str, ...]
    """Why a file beside them counts for nothing, a sentence each."""

    @property
    def people(self) -> tuple[str, ...]:
        """Who approved, each once."""
        return tuple(dict.fromkeys(approval.name for approval in self.approvals))

    @property
    def binding(self) -> bool:
        """Whether signed approvals decide: they are needed, or there are some."""
        return self.needed or bool(self.approvals)

    def covering(self, clause_id: str) -> tuple[str, ...]:
        """Return who allows a point of no return, each once."""
        return tuple(dict.fromkeys(approval.name for approval in self.approvals if clause_id in approval.covers))

    def require(self) -> None:
        """Refuse to begin what was not approved.

        Raises:
            Refused: too few people signed this very plan, or a point of no return that it passes is not covered.
        """
        if self.needed and len(self.people) < self.minimum:
            raise self._too_few()
        if self.binding:
            for clause_id in self.plan["points_of_no_return"]:
                self.require_cover(clause_id)

    def require_cover(self, clause_id: str) -> None:
        """Refuse a point of no return that too few people allowed; where nobody needs to sign, none is refused.

        Raises:
            Refused: `approval-not-covering`.
        """
        covering = self.covering(clause_id)
        if not self.binding or len(covering) >= self.minimum:
            return
        raise Refused(
            f"no approval covers {clause_id}, which cannot be undone"
            if not covering
            else f"{len(covering)} of {self.minimum} people allowed {clause_id}, which cannot be undone",
            code="approval-not-covering",
            seen="\n".join(self._told()),
            guide=GUIDE,
            do=f"have it approved with ./cutover approve --plan {self.plan['digest']} --covers {clause_id}",
            state="nothing irreversible was done",
            clause=clause_id,
        )

    def _too_few(self) -> Refused:
        state = "nothing was changed"
        if not self.approvers:
            return Refused(
                "this upgrade needs a signed approval, and the target file names nobody who could sign one",
                code="approvers-missing",
                guide=GUIDE,
                do="name who may approve in [[approval.approvers]] of the target file, with their public keys",
                state=state,
            )
        again = f"./cutover approve --plan {self.plan['digest']}"
        if self.drifted:
            latest = self.drifted[-1]
            return Refused(
                "the plan is not the one that was approved any more",
                code="approval-void",
                seen="\n".join([*_drift(latest, self.plan), *self._told()]),
                guide=GUIDE,
                do=f"take that back, or have the plan as it is now approved: {again}",
                state=state,
                approved=latest.plan_digest,
                now=self.plan["digest"],
            )
        some = f"{len(self.people)} of {self.minimum} needed people have" if self.people else "nobody has"
        return Refused(
            f"{some} approved this plan with a signature",
            code="approval-missing",
            seen="\n".join([f"plan {self.plan['digest']}", *self._told()]),
            guide=GUIDE,
            do=f"have it approved by {', '.join(self.approvers)}: {again}",
            state=state,
        )

    def _told(self) -> list[str]:
        """Return a line for each approval, and for some of what counts for nothing."""
        told = [
            f"{approval.name} approved it {approval.approved_at:%Y-%m-%d %H:%M} UTC"
            f" ({', '.join(approval.covers) or 'no point of no return'} covered)"
            for approval in self.approvals
        ]
        more = len(self.unusable) - _NAMED
        return [*told, *self.unusable[:_NAMED], *([f"and {more} more files that count for nothing"] * (more > 0))]

    def facts(self, policy: Policy) -> dict[str, Any]:
        """Return what the record's head says: the policy's facts, and of the approvals whether they are signed."""
        asked = policy.approval
        facts: dict[str, Any] = {}
        if asked is not None:
            facts = {
                "requested_by": asked.requested_by,
                "approved_by": asked.approved_by,
                "meaning": asked.meaning,
                "approved_at": asked.approved_at,
                "channel": asked.channel,
                "announced_to": asked.announced_to,
                "window_start": asked.window_start,
                "window_end": asked.window_end,
            }
        facts |= {"signed": bool(self.approvals), "needed": self.needed, "minimum": self.minimum}
        if not self.approvals:
            return {**facts, "signature": UNSIGNED, "approvals": []}
        signed_with = [f"{approval.name} with {approval.signed_with}" for approval in self.approvals]
        return {
            **facts,
            "approved_by": ", ".join(self.people),
            "meaning": " · ".join(dict.fromkeys(approval.meaning for approval in self.approvals)),
            "approved_at": self.approvals[-1].approved_at,
            "signature": "signed: " + ", ".join(dict.fromkeys(signed_with)),
            "approvals": [approval.facts() for approval in self.approvals],
        }


UNSIGNED = "not signed: a name in the policy file, which nothing proves"


# -- making one --------------------------------------------------------------------------------------------------------


def executor() -> str:
    """Return who performs this process, as `USER@HOST`."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def statement(
    document: Mapping[str, Any], *, name: str, account: str, meaning: str, at: datetime, covers: Iterable[str]
) -> bytes:
    """Return what an approver signs: RFC 8785 bytes of an in-toto Statement v1 about a plan's document.

    Raises WrongInput when the words say nothing, or a point of no return is none of the plan's.
    """
    if not name.strip() or not meaning.strip() or not (name + meaning).isprintable():
        raise WrongInput("an approval needs a name and a meaning, a line each", code="approval-words", do="say both")
    return rfc8785.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [
                {
                    "name": f"plan of {document['target']['name']}, "
                    f"{document['upgrade']['from']} to {document['upgrade']['to']}",
                    "digest": {"sha256": _hex(document["digest"])},
                }
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "approver": name,
                "account": account,
                "meaning": meaning,
                "approvedAt": rfc3339(at),
                "covers": _points(document, covers),
                "plan": plans.outline(document),
            },
        }
    )


ALL = "all"


def _points(document: Mapping[str, Any], covers: Iterable[str]) -> list[str]:
    """Return the points of no return by their ids, in the plan's order, `all` as each of them."""
    there = [clause["id"] for clause in document["clauses"] if clause["risk"] == "irreversible"]
    wanted = set(covers)
    if ALL in wanted:
        return there
    unknown = wanted - set(there)
    if unknown:
        raise WrongInput(
            f"{', '.join(sorted(unknown))} is no point of no return of this plan",
            code="approval-covers",
            seen=f"points of no return: {', '.join(there) or 'none'}",
            do="give --covers with some of them, or all",
        )
    return [clause_id for clause_id in there if clause_id in wanted]


def read_document(path: Path) -> dict[str, Any]:
    """Return a plan's document from a file, whose digest is that of its contents. Raises WrongInput."""
    try:
        document = json.loads(path.read_text("utf-8"))
        digest, found = document["digest"], plans.digest_of(document)
        plans.outline(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise WrongInput(
            f"{path} holds no plan", code="plan-unreadable", seen=str(problem), do="make one: ./cutover plan --json"
        ) from problem
    if digest != found:
        raise WrongInput(
            f"the plan in {path} was changed",
            code="plan-changed",
            seen=f"digest {found} (it says {digest})",
            do="make it again: ./cutover plan --json",
        )
    return dict(document)


def file_name(approval: Signed) -> str:
    """Return under which name an approval is kept: of the plan, the person and the contents."""
    person = _NOT_IN_A_NAME.sub("-", approval.name.lower()).strip("-") or "approver"
    suffix = SUFFIXES[1] if _is_bundle(approval.content) else SUFFIXES[0]
    return f"{_hex(approval.plan_digest)[:12]}-{person}-{_hex(approval.sha256)[:8]}{suffix}"


# -- verifying ---------------------------------------------------------------------------------------------------------


def verify(content: bytes, people: Approvals, *, file: str) -> Signed:
    """Return an approval whose signature is by the approver whom it names; the plan may be any.

    people: who may approve, as a target file or a record has it.

    Raises:
        EvidenceError: it is none, nobody of them signed it, or somebody else than it says.
    """
    if len(content) > _LARGEST_BYTES:
        raise EvidenceError(_CODE, file, expected=f"at most {_LARGEST_BYTES} bytes", actual=len(content))
    payload, signers = (_by_identity if _has_certificate(content) else _by_key)(content, people, file)
    fields = json.loads(payload)
    predicate = fields.get("predicate")
    if fields.get("predicateType") != PREDICATE_TYPE or not isinstance(predicate, dict):
        raise EvidenceError(_CODE, file, expected=PREDICATE_TYPE, actual=fields.get("predicateType"))
    try:
        approval = Signed(
            name=_text(predicate["approver"]),
            account=_text(predicate["account"]),
            meaning=_text(predicate["meaning"]),
            approved_at=parse_rfc3339(predicate["approvedAt"]),
            covers=tuple(_text(clause_id) for clause_id in predicate["covers"]),
            plan_digest=f"sha256:{_subject(payload)}",
            outline={_text(key): _text(value) for key, value in predicate["plan"].items()},
            signed_with=signers.get(predicate["approver"], ""),
            file=file,
            content=content,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise EvidenceError(_CODE, file, expected="an approval's predicate", actual=problem) from problem
    if not approval.signed_with:
        raise EvidenceError("signer-unknown", file, expected=f"the signature of {approval.name}", actual=[*signers])
    return approval


def _by_key(content: bytes, people: Approvals, file: str) -> tuple[bytes, dict[str, str]]:
    """Return the payload of an envelope, bare or in a bundle, and the approvers who signed it with a key."""
    keys = {approver.name: _key_of(approver) for approver in people.approvers if approver.key}
    ids = {name: dsse.key_id(key) for name, key in keys.items()}
    if _is_bundle(content):
        claimed = _claimed(_payload_of(content, file), file)
        bundled = bundle.verify_with_key(content, keys.values(), digest=claimed, item=file)
        payload, signed = bundled.payload or b"", bundled.key_ids
    else:
        verified = dsse.KeyRing(keys.values()).verify(content, item=file)
        payload, signed = verified.payload, verified.key_ids
        bundle.demand_subject(verified.payload_type, payload, _claimed(payload, file), item=file)
    return payload, {name: f"key {ids[name][:16]}" for name in keys if ids[name] in signed}


def _by_identity(content: bytes, people: Approvals, file: str) -> tuple[bytes, dict[str, str]]:
    """Return the payload of a bundle with a certificate, and the approver whose identity signed it."""
    vouched_for = [approver for approver in people.approvers if approver.identity]
    root = people.trusted_root
    if not vouched_for or root is None:
        raise EvidenceError("signer-unknown", file, expected="a key of the target file", actual="a Sigstore bundle")
    claimed = _claimed(_payload_of(content, file), file)
    policies = [bundle.Policy(identity=one.identity, issuer=one.issuer, digest=claimed) for one in vouched_for]
    policy, verified = bundle.verify_any(content, root, policies, item=file)
    approver = vouched_for[policies.index(policy)]
    return verified.payload or b"", {approver.name: f"identity {verified.identity} ({verified.issuer})"}


def _key_of(approver: Approver) -> dsse.PublicKey:
    return dsse.load_key(approver.key, item=f"the key of {approver.name}")


def _is_bundle(content: bytes) -> bool:
    return b'"verificationMaterial"' in content


def _has_certificate(content: bytes) -> bool:
    return _is_bundle(content) and b'"publicKey"' not in content


def _payload_of(content: bytes, file: str) -> bytes:
    """Return what a bundle's envelope holds, before anything of it is believed."""
    import base64  # noqa: PLC0415  # only for a bundle

    try:
        return base64.b64decode(json.loads(content)["dsseEnvelope"]["payload"], validate=True)
    except (ValueError, KeyError, TypeError) as problem:
        raise EvidenceError("bundle-malformed", file, expected="a bundle of a statement", actual=problem) from problem


def _claimed(payload: bytes, file: str) -> str:
    """Return the digest of the one plan that a statement says it is about, `sha256:` and hex."""
    try:
        return f"sha256:{_subject(payload)}"
    except (ValueError, KeyError, TypeError) as problem:
        raise EvidenceError(_CODE, file, expected="one subject, by its sha256", actual=problem) from problem


def _subject(payload: bytes) -> str:
    (subject,) = json.loads(payload)["subject"]
    return _text(subject["digest"]["sha256"])


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError(f"{value!r} is no line of text")
    return value


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


# -- judging -----------------------------------------------------------------------------------------------------------


def examine(
    document: Mapping[str, Any],
    *,
    target: Target,
    policy: Policy,
    performed_by: str,
    now: datetime,
    folders: Sequence[Path],
) -> Consent:
    """Return how a plan's document stands with the approvals in some folders. A folder may be missing.

    Raises WrongInput when a key of the target file is none.
    """
    for approver in target.approval.approvers:
        _demand_key(approver)
    asked = policy.approval
    approvals: dict[str, Signed] = {}
    drifted: dict[str, Signed] = {}
    unusable: list[str] = []
    for path in _files(folders):
        try:
            approval = verify(path.read_bytes(), target.approval, file=path.name)
        except EvidenceError as problem:
            unusable.append(f"{path.name}: {problem.code}: expected {problem.expected}, found {problem.actual}")
            continue
        except OSError as problem:
            unusable.append(f"{path.name} cannot be read: {problem}")
            continue
        if approval.plan_digest != document["digest"]:
            if _is_of_the_same_upgrade(approval, document):
                drifted[approval.sha256] = approval
            continue
        person = next(one for one in target.approval.approvers if one.name == approval.name)
        why_not = _why_not(approval, person, policy=policy, performed_by=performed_by)
        if why_not:
            unusable.append(f"{path.name}: {why_not}")
        elif approval.approved_at > now + _AHEAD:
            unusable.append(f"{path.name}: it is dated {rfc3339(approval.approved_at)}, which is still to come")
        else:
            approvals[approval.sha256] = approval
    return Consent(
        plan=document,
        needed=target.is_production or (asked is not None and asked.required),
        minimum=asked.min_approvals if asked else 1,
        approvers=tuple(approver.name for approver in target.approval.approvers),
        approvals=tuple(sorted(approvals.values(), key=lambda approval: (approval.approved_at, approval.name))),
        drifted=tuple(sorted(drifted.values(), key=lambda approval: approval.approved_at)),
        unusable=tuple(unusable),
    )


def _demand_key(approver: Approver) -> None:
    if not approver.key:
        return
    try:
        _key_of(approver)
    except EvidenceError as problem:
        raise WrongInput(
            f"the target file names a key of {approver.name} that is none",
            code="approver-key",
            seen=str(problem),
            do="give a public key in PEM: Ed25519, ECDSA P-256, or RSA of 2048 bits or more",
        ) from problem


def _files(folders: Sequence[Path]) -> list[Path]:
    return [
        path
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.name.endswith(SUFFIXES) and not path.name.startswith(".")
    ]


def _is_of_the_same_upgrade(approval: Signed, document: Mapping[str, Any]) -> bool:
    outline = plans.outline(document)
    return all(approval.outline.get(fact) == outline[fact] for fact in ("target", "from", "to"))


def _drift(approved: Signed, document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is otherwise than it was approved, a line each."""
    lines = plans.changes(approved.outline, plans.outline(document))
    return (f"{approved.name} approved {approved.plan_digest}, now it is {document['digest']}", *lines)


def asks_for_it(approval: Signed, policy: Policy) -> bool:
    """Whether somebody approved what they asked for themselves, and the policy keeps the two apart."""
    asked = policy.approval
    if asked is None or not asked.separate:
        return False
    return asked.requested_by.partition("(")[0].strip().casefold() == approval.name.casefold()


def _why_not(approval: Signed, person: Approver, *, policy: Policy, performed_by: str) -> str:
    """Return why an approval is not somebody else's; empty when it is, or when it need not be."""
    if asks_for_it(approval, policy):
        return f"{approval.name} asks for this upgrade and may not approve it"
    if policy.approval is not None and not policy.approval.separate:
        return ""
    user = performed_by.partition("@")[0]
    if performed_by in {approval.account, *person.accounts} or user in person.accounts:
        return f"{approval.name} approved it, and {performed_by} performs it: the policy wants two people"
    return ""


# -- in a record -------------------------------------------------------------------------------------------------------


def before_run(document: Mapping[str, Any], *, target: Target, policy: Policy, now: datetime) -> Consent:
    """Return how the plan of a run that is about to begin stands.

    Raises:
        Refused: it may not begin.
        WrongInput: a key of the target file is none.
    """
    consent = examine(
        document,
        target=target,
        policy=policy,
        performed_by=executor(),
        now=now,
        folders=[target.approval.folder],
    )
    consent.require()
    return consent


def keep(consent: Consent, folder: Path, target: Target) -> tuple[Signed, ...]:
    """Copy the approvals that count into a record, with what they can be verified by; return those that are new there.

    Repeatable. Raises OSError.
    """
    if not consent.approvals:
        return ()
    place = folder / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    known = {hashlib.sha256(path.read_bytes()).hexdigest() for path in _files([place])}
    new = tuple(approval for approval in consent.approvals if _hex(approval.sha256) not in known)
    for approval in new:
        files.write_whole(place / file_name(approval), approval.content)
    people = [
        {"name": one.name, **({"key": one.key} if one.key else {"identity": one.identity, "issuer": one.issuer})}
        for one in target.approval.approvers
    ]
    files.write_whole(place / _PEOPLE, json.dumps(people, indent=2, ensure_ascii=False) + "\n")
    root = target.approval.trusted_root
    if root is not None:
        files.write_whole(place / _TRUSTED_ROOT, root.read_bytes())
    return new


def people_of_record(folder: Path) -> Approvals:
    """Return who could approve the upgrade of a record, as the record keeps it.

    Raises OSError, ValueError, KeyError, TypeError: it cannot be read.
    """
    place = folder / FOLDER
    root = place / _TRUSTED_ROOT
    return Approvals(
        folder=place,
        trusted_root=root if root.is_file() else None,
        approvers=tuple(
            Approver(**{"key": "", "identity": "", "issuer": "", "accounts": (), **one})
            for one in json.loads((place / _PEOPLE).read_bytes())
        ),
    )


def of_record(upgrade: Upgrade) -> Consent:
    """Return how the plan in a record stands now, with approvals that were made since it began; these are copied in.

    The plan is the one that the journal named last.
    Raises:
        Refused: the record does not hold it.
        WrongInput: a key of the target file is none.
    """
    document, target = _plan_of(upgrade), upgrade.target
    consent = examine(
        document,
        target=target,
        policy=upgrade.policy,
        performed_by=executor(),
        now=upgrade.clock.now(),
        folders=[upgrade.folder / FOLDER, target.approval.folder],
    )
    for approval in keep(consent, upgrade.folder, target):
        upgrade.journal.write("approval", **approval.facts())
    return consent


def _plan_of(upgrade: Upgrade) -> dict[str, Any]:
    """Return the document of the plan that the journal named last, from the record. Raises Refused: it is not there."""
    named = upgrade.journal.last("plan")
    digest = named.data.get("digest") if named is not None else None
    seen = []
    for path in sorted(upgrade.folder.glob(f"{_PLAN}*.json")):
        try:
            document = read_document(path)
        except WrongInput as problem:
            seen.append(f"{problem.message}: {problem.seen}")
            continue
        if document["digest"] == digest:
            return document
        seen.append(f"{path.name}: {document['digest']}")
    raise Refused(
        "the plan in the record is not the one that was begun with",
        code="plan-changed",
        seen="\n".join([f"journal: {digest or 'no plan'}", *seen]),
        do="put plan.json back as it was",
    )


def beyond(upgrade: Upgrade, document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the clauses that a plan performs and the record's does not: what was agreed to does not hold for them.

    Every clause, when the record was broken off before it had a plan.
    Raises:
        Refused: the record's plan is not the one that was begun with.
    """
    wanted = [clause["id"] for clause in document["clauses"] if clause["not_run"] is None]
    if upgrade.journal.last("plan") is None:
        return tuple(wanted)
    before = {clause["id"] for clause in _plan_of(upgrade)["clauses"] if clause["not_run"] is None}
    return tuple(clause_id for clause_id in wanted if clause_id not in before)


def plan_name(attempt: int) -> str:
    """Return under which name a record keeps the plan of an attempt; 1 is the first."""
    return f"{_PLAN}.json" if attempt == 1 else f"{_PLAN}-{attempt}.json"


def require_same_inputs(upgrade: Upgrade) -> None:
    """Refuse to go on with a plan when what it installs, or judges by, is not what it began with.

    Raises:
        Refused: a file that the target names was changed, or the record's plan was.
    """
    drift = plans.changes(_plan_of(upgrade).get("inputs", {}), materials.of_target(upgrade.target))
    if drift:
        raise Refused(
            f"what the upgrade {upgrade.id} was begun with has changed since",
            code="inputs-changed",
            seen="\n".join(drift),
            guide=GUIDE,
            do="put it back as it was, or give this upgrade up (./cutover rollback) and begin another",
            state="nothing was changed",
        )


def require_cover(upgrade: Upgrade, clause_id: str) -> None:
    """Refuse a point of no return that was not approved, and write down who allowed it.

    Raises:
        Refused: too few people allowed it.
    """
    consent = of_record(upgrade)
    consent.require_cover(clause_id)
    upgrade.journal.write(
        "observation",
        what="point of no return",
        point=clause_id,
        allowed_by=consent.covering(clause_id),
        signed=consent.binding,
    )
