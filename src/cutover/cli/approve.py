"""`cutover approve`: a person signs a plan, in their own words, and says which points of no return that covers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from cutover.cli import options
from cutover.errors import Refused, WrongInput
from cutover.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cutover.runbook.approval import Signed
    from cutover.target import Target

_file = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog="Exit codes: 0, 2 for wrong input, 5 when the plan is another or the signature is not theirs.")
@click.option(
    "--plan",
    "plan",
    required=True,
    metavar="DIGEST|FILE",
    help="The plan: its digest, as `cutover plan` shows it, or a file with it (plan --json, or a record's plan.json).",
)
@click.option("--target", metavar="FILE", type=click.Path(), help="The target file; a plan's file can do without.")
@options.phase
@options.until
@options.strategy
@click.option("--as", "name", metavar="NAME", help="Who approves, as the target file names them.")
@click.option("--meaning", metavar="TEXT", help="What is agreed to, in the approver's words; the record prints it.")
@click.option(
    "--covers",
    "covers",
    multiple=True,
    metavar="CLAUSES",
    help="The points of no return that this allows: 5.2a,R.2d, or all. None unless given.",
)
@click.option("--key", metavar="FILE", type=_file, help="The approver's private key, PEM; asks for its passphrase.")
@click.option("--passphrase-file", metavar="FILE", type=_file, help="The passphrase, instead of asking for it.")
@click.option("--statement", metavar="FILE", type=_file, help="Sign nothing: write what is to be signed elsewhere.")
@click.option(
    "--signed", metavar="FILE", type=_file, help="Take in what was signed elsewhere: DSSE or Sigstore bundle."
)
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the approval goes. Default: the target's folder of approvals.",
)
def approve(
    *,
    plan: str,
    target: str | None,
    phases: tuple[int, ...],
    until: int | None,
    strategy: str | None,
    name: str | None,
    meaning: str | None,
    covers: tuple[str, ...],
    key: Path | None,
    passphrase_file: Path | None,
    statement: Path | None,
    signed: Path | None,
    output: Path | None,
) -> None:
    """Approve a plan: sign its digest, with who, when, in which words, and for which points of no return.

    A run of exactly this plan, and of no other, may then be performed: whatever changes in the meantime (target,
    policy, chart, values, the harness itself) voids the approval. It is signed here, with --key; or elsewhere, from
    what --statement writes, by any tool that signs in-toto statements, and taken in with --signed.

    \b
    Examples:
      cutover approve --plan sha256:3f9c… --target target.toml --as "B. Person" --meaning "go" --key b-person.key
      cutover approve --plan plan.json --as "B. Person" --meaning "go" --covers all --key b.key --output approvals
      cutover approve --plan sha256:3f9c… --target target.toml --signed approval.sigstore.json
    """  # noqa: D301 (click reads the escape)
    from cutover.target import Target  # noqa: PLC0415  # none of it is needed by --help

    _demand_one(key=key, statement=statement, signed=signed)
    document = _document(plan, target, phases=phases, until=until, strategy=strategy)
    described = Target.load(target) if target else None
    place = output or (described.approval.folder if described else None)
    if statement is not None:
        _write(statement, _statement(document, name, meaning, covers))
        click.echo(f"to be signed          {statement}, as application/vnd.in-toto+json")
        return
    if signed is not None and described is None:
        raise WrongInput("nothing says who may sign", code="target-missing", do="give --target FILE")
    if place is None:
        raise WrongInput("it is not said where the approval goes", code="approval-output", do="give --output DIR")
    content = (
        _read(signed, "a signed approval")
        if signed is not None
        else _signed(document, name, meaning, covers, key=key or Path(), passphrase_file=passphrase_file)
    )
    _say(document, *_kept(document, content, described, place))


def _demand_one(**ways: Path | None) -> None:
    given = [f"--{way}" for way, path in ways.items() if path is not None]
    if len(given) != 1:
        raise WrongInput(
            f"{' and '.join(given)} exclude each other" if given else "it is not said how the approval is signed",
            code="approval-way",
            do="give one of --key, --statement and --signed",
        )


def _document(
    plan: str, target: str | None, *, phases: tuple[int, ...], until: int | None, strategy: str | None
) -> Mapping[str, Any]:
    """Return the document of the plan that is meant. Raises WrongInput, Refused when it is not that plan any more."""
    from cutover.cli.plan import planned  # noqa: PLC0415
    from cutover.runbook import approval  # noqa: PLC0415

    if Path(plan).is_file():
        return approval.read_document(Path(plan))
    digest = plan if plan.startswith("sha256:") else f"sha256:{plan}"
    if target is None:
        raise WrongInput(
            f"nothing says what the plan {plan} is", code="target-missing", do="give --target FILE, or the plan's file"
        )
    document = planned(target, phases=phases, until=until, strategy=strategy).plan.document()
    if document["digest"] != digest:
        raise Refused(
            "the plan of this target is not the one that is to be approved",
            code="plan-differs",
            seen=f"plan {document['digest']} (to be approved: {digest})",
            do="look at it again with ./cutover plan; --phase, --until and --strategy must be the run's own",
            state="nothing was signed",
        )
    return document


def _statement(document: Mapping[str, Any], name: str | None, meaning: str | None, covers: tuple[str, ...]) -> bytes:
    from cutover.clock import SYSTEM_CLOCK  # noqa: PLC0415
    from cutover.runbook import approval  # noqa: PLC0415

    if name is None or meaning is None:
        raise WrongInput(
            "an approval says who approves what", code="approval-words", do='give --as NAME and --meaning "…"'
        )
    return approval.statement(
        document,
        name=name,
        account=approval.executor(),
        meaning=meaning,
        at=SYSTEM_CLOCK.now(),
        covers=[clause.strip() for listed in covers for clause in listed.split(",") if clause.strip()],
    )


def _signed(
    document: Mapping[str, Any],
    name: str | None,
    meaning: str | None,
    covers: tuple[str, ...],
    *,
    key: Path,
    passphrase_file: Path | None,
) -> bytes:
    """Return an envelope over what is approved. Raises WrongInput."""
    from cutover.evidence import bundle, signing  # noqa: PLC0415

    payload = _statement(document, name, meaning, covers)
    pem = _read(key, "a private key")
    passphrase = _read(passphrase_file, "a passphrase").decode().rstrip("\r\n") if passphrase_file else None
    if passphrase is None and signing.is_encrypted(pem):
        passphrase = click.prompt(f"Passphrase of {key}", hide_input=True, err=True)
    try:
        return signing.sign(bundle.IN_TOTO, payload, signing.load_key(pem, passphrase, item=key.name))
    except EvidenceError as problem:
        raise WrongInput(
            f"{key} cannot be signed with",
            code=problem.code,
            seen=f"{problem.actual} (expected {problem.expected})",
            do="give a private key in PEM: Ed25519, ECDSA P-256, or RSA of 2048 bits or more",
        ) from problem


def _kept(
    document: Mapping[str, Any], content: bytes, target: Target | None, place: Path
) -> tuple[Signed | None, Path]:
    """Verify an approval as a run will, write it, and return it with its path.

    Without a target nobody's keys are known: what was just signed is written as it is.
    Raises Refused when the run would not count it, WrongInput.
    """
    import hashlib  # noqa: PLC0415

    from cutover.policy import Policy  # noqa: PLC0415
    from cutover.runbook import approval  # noqa: PLC0415

    if target is None:
        path = place / f"{document['digest'][7:19]}-{hashlib.sha256(content).hexdigest()[:8]}{approval.SUFFIXES[0]}"
        _write(path, content)
        return None, path
    try:
        checked = approval.verify(content, target.approval, file="the approval")
    except EvidenceError as problem:
        _refuse(target, problem)
    if checked.plan_digest != document["digest"]:
        raise Refused(
            "what was signed is another plan",
            code="plan-differs",
            seen=f"signed: {checked.plan_digest} (to be approved: {document['digest']})",
            do="have the plan as it is now signed",
            state="nothing was kept",
        )
    if approval.asks_for_it(checked, Policy.read(target.policy_path)):
        raise Refused(
            f"{checked.name} asks for this upgrade and may not approve it",
            code="approval-own",
            seen="the policy keeps the two apart: approval.separate",
            do="have somebody else approve it",
            state="nothing was kept",
        )
    path = place / approval.file_name(checked)
    _write(path, content)
    return checked, path


def _refuse(target: Target, problem: EvidenceError) -> NoReturn:
    people = ", ".join(approver.name for approver in target.approval.approvers) or "nobody"
    raise Refused(
        "nobody whom the target file names has signed this as themselves",
        code="approval-signature",
        seen=f"{problem.code}: expected {problem.expected}, found {problem.actual}\nwho may approve: {people}",
        do="give --as with the name, and the key, that [[approval.approvers]] of the target file has",
        state="nothing was kept",
    ) from problem


def _say(document: Mapping[str, Any], approval: Signed | None, path: Path) -> None:
    lines = [("approved", f"plan {document['digest']}")]
    if approval is not None:
        points = [clause["id"] for clause in document["clauses"] if clause["risk"] == "irreversible"]
        left = [clause_id for clause_id in points if clause_id not in approval.covers]
        lines += [
            ("by", f"{approval.name} ({approval.account}), {approval.approved_at:%Y-%m-%d %H:%M} UTC"),
            ("meaning", f"“{approval.meaning}”"),
            ("covers", ", ".join(approval.covers) or "no point of no return"),
            *([("does not cover", ", ".join(left))] if left else []),
            ("signed with", approval.signed_with),
        ]
    else:
        lines.append(("not verified", "no target file was given: nobody's key is known"))
    for label, text in [*lines, ("kept as", str(path))]:
        click.echo(f"{label:<22}{text}")


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise WrongInput(
            f"there is no {what.removeprefix('a ')} in {path}", code="approval-file", seen=str(problem)
        ) from problem


def _write(path: Path, content: bytes) -> None:
    from cutover import files  # noqa: PLC0415

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, content)
    except OSError as problem:
        raise WrongInput(f"{path} cannot be written", code="approval-output", seen=str(problem)) from problem
