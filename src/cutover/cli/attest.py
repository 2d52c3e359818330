"""`cutover attest`: attach a record's attestations to the images that they are about."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import click


@click.group()
def attest() -> None:
    """Hand a record's attestations to whoever asks the image for them.

    \b
    Examples:
      cutover attest push records/2026-11-23-0412 --registry registry.example.org/stellaops/web
    """  # noqa: D301 (click reads the escape)


@attest.command(
    epilog="Exit codes: 0, 2 for wrong input, 3 when the registry is not reached, 5 when it has no such image."
)
@click.argument("record", metavar="RECORD", type=click.Path(path_type=Path))
@click.option("--registry", "place", required=True, metavar="HOST/REPOSITORY", help="Where green's images are.")
@click.option("--username", metavar="NAME", default="", help="Of an account that may push there.")
@click.option("--password-env", metavar="NAME", help="The environment variable that has its password or token.")
@click.option("--plain-http", is_flag=True, help="The registry has no TLS.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def push(record: Path, *, place: str, username: str, password_env: str | None, plain_http: bool, as_json: bool) -> None:
    """Attach every attestation of RECORD to the images that green ran, which the repository must have.

    By the referrers API where the registry has it, else under the fallback tag. Pushing twice changes nothing. The
    record is not changed.

    \b
    Examples:
      cutover attest push records/2026-11-23-0412 --registry registry.example.org/stellaops/web
      cutover attest push records/2026-11-23-0412 --registry localhost:5000/stellaops --plain-http --json
    """  # noqa: D301 (click reads the escape)
    from cutover.errors import WrongInput  # noqa: PLC0415  # none of it is needed by --help
    from cutover.record.attested import of_record  # noqa: PLC0415
    from cutover.record.registry import Registry  # noqa: PLC0415

    password = os.environ.get(password_env, "") if password_env else ""
    if password_env and not password:
        raise WrongInput(f"the environment variable {password_env} is not set", code="registry-password")
    found = of_record(record)
    with contextlib.closing(Registry(place, username=username, password=password, plain_http=plain_http)) as registry:
        pushed = [one for image in found.images for one in registry.attach(found.artifacts, image)]
    if as_json:
        facts = [
            {"attestation": one.name, "image": one.image, "digest": one.digest, "listed_by": one.listed_by}
            for one in pushed
        ]
        click.echo(json.dumps({"schema": "cutover/attest-push/v1", "registry": place, "pushed": facts}, indent=2))
        return
    for one in pushed:
        click.echo(f"{one.name:<16} {one.digest}  at {one.image}, listed by {one.listed_by}")
