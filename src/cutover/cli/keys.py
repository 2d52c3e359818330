"""`cutover keys`: make what a site's records are signed with, and what their readers verify them by."""

from __future__ import annotations

import os
from pathlib import Path

import click

_PASSPHRASE = "CUTOVER_SIGNING_PASSPHRASE"  # noqa: S105  # a variable's name


@click.group()
def keys() -> None:
    """Make a signing key and a trust root for a site's records.

    \b
    Examples:
      cutover keys init
      cutover keys init signing --name "Release engineering"
    """  # noqa: D301 (click reads the escape)


@keys.command(epilog="Exit codes: 0, 2 for wrong input, 5 when a key is there already.")
@click.argument("folder", required=False, default=".", metavar="[DIR]", type=click.Path(path_type=Path))
@click.option("--name", metavar="TEXT", help="Who signs, as readers will see it. Default: USER@HOST.")
@click.option("--notice", metavar="TEXT", default="", help="What verifying shows beside every result.")
@click.option(
    "--passphrase-env",
    metavar="NAME",
    help=f"The environment variable that has the key's passphrase, such as {_PASSPHRASE}. Without: not encrypted.",
)
@click.option(
    "--trust-root",
    "earlier",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="An earlier trust root: the new one believes its keys too, so that its records stay verifiable.",
)
@click.option(
    "--timestamping",
    "authorities",
    multiple=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A certificate (PEM or DER) of the timestamping authority whose times readers believe; repeatable.",
)
def init(
    *,
    folder: Path,
    name: str | None,
    notice: str,
    passphrase_env: str | None,
    earlier: Path | None,
    authorities: tuple[Path, ...],
) -> None:
    """Make a signing key with its certificate in DIR, and the trust root that readers verify with.

    The key (mode 0600) stays where upgrades are performed; the trust root goes to whoever reads records, by another way
    than the records. The certificate's authority signs this one certificate and is forgotten.

    \b
    Examples:
      cutover keys init
      cutover keys init signing --name "Release engineering" --passphrase-env CUTOVER_SIGNING_PASSPHRASE
      cutover keys init signing-2028 --trust-root signing/record-trust-root.json
    """  # noqa: D301 (click reads the escape)
    from cutover.errors import Refused, WrongInput  # noqa: PLC0415  # none of it is needed by --help
    from cutover.record.keys import (  # noqa: PLC0415
        CERTIFICATE_FILE,
        KEY_FILE,
        TRUST_ROOT_FILE,
        SigningKey,
        TrustRoot,
        read_certificates,
    )
    from cutover.runbook import approval  # noqa: PLC0415

    passphrase = os.environ.get(passphrase_env) if passphrase_env else None
    if passphrase_env and not passphrase:
        raise WrongInput(
            f"the environment variable {passphrase_env} is not set",
            code="key-passphrase",
            do="set it to the passphrase, or leave --passphrase-env out",
        )
    key, certificate, root = (folder / file for file in (KEY_FILE, CERTIFICATE_FILE, TRUST_ROOT_FILE))
    there = [path for path in (key, certificate, root) if path.exists()]
    if there:
        raise Refused(
            f"{folder} holds a signing key already",
            code="key-exists",
            seen=", ".join(path.name for path in there),
            do="give another folder; a key that signed records is not written over",
            state="nothing was changed",
        )
    made = SigningKey.make(name if name is not None else approval.executor())
    times = [one for path in authorities for one in read_certificates(path)]
    trusted = made.trust_root(notice=notice).with_timestamping(*times)
    if earlier is not None:
        trusted = TrustRoot.load(earlier).joined(trusted)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made.save(key, certificate, passphrase=passphrase)
        trusted.save(root)
    except OSError as problem:
        raise WrongInput(f"{folder} cannot be written", code="key-output", seen=str(problem)) from problem
    lines = [
        ("signing key", f"{key} ({'encrypted' if passphrase else 'not encrypted'}, readable by its owner alone)"),
        ("certificate", str(certificate)),
        ("trust root", f"{root} ({trusted.digest})"),
        ("name", made.name),
        ("key id", made.key_id),
    ]
    for label, text in lines:
        click.echo(f"{label:<14}{text}")
    click.echo("\nIn the target file, relative to it:\n")
    click.echo(f'  [signing]\n  key = "{KEY_FILE}"\n  certificate = "{CERTIFICATE_FILE}"')
    if passphrase_env:
        click.echo(f'  passphrase_env = "{passphrase_env}"')
