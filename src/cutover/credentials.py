"""Find the credentials in what a site is described with: connection strings, environments, YAML documents.

Pure functions from text to `{secret: where it stands}`. They find too much rather than too little: what is found is
masked. Invariant: nothing here says a secret in an error.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PASSWORD_KEYS = frozenset({"password", "sslpassword", "auth", "token"})
"""Parameters of a connection string that give access."""

_CREDENTIAL = re.compile(
    r"pass(word|wd|phrase)|secret|token|credential|(access|secret|private|api|signing)[-_]?key|key-data", re.IGNORECASE
)
_CREDENTIAL_VARIABLE = re.compile(r"PASS(WORD|WD|PHRASE)|SECRET|TOKEN|CREDENTIAL|(^|_)KEY(_|$)|APIKEY", re.IGNORECASE)
_REFERENCE = re.compile(r"^existing|(name|ref|file|path|dir|url|enabled|expir\w*)$", re.IGNORECASE)
"""A name that tells where a credential is, not what it is."""

_KEY_FOLDER = "signing"
"""A long text below a key of this name counts as a key."""

_ORDINARY = frozenset({"true", "false", "none", "null"})
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(.*?)-----END", re.DOTALL)
_SHORTEST_KEY_LINE = 16
"""A shorter word below `signing`, or last line of a PEM body, is not worth masking."""


def of_connection(text: str) -> set[str]:
    """Return the passwords of a URL or of PostgreSQL's `key=value` form, as written and as decoded.

    Raises ValueError when it is neither.
    """
    found: set[str] = set()
    scheme = text.partition("://")[0] if "://" in text else ""
    if scheme:
        parts = urlsplit(text)
        written = [parts.password or ""]
        for parameter in parts.query.split("&"):
            key, _, value = parameter.partition("=")
            written += [value] if key.lower() in _PASSWORD_KEYS else []
        found |= {form for value in written for form in (value, unquote(value))}
    if not scheme or scheme in {"postgresql", "postgres"}:
        found |= _of_conninfo(text)
    return found - {""}


def _of_conninfo(text: str) -> set[str]:
    from psycopg import ProgrammingError  # noqa: PLC0415  # slow to import, and a target without a DSN needs none
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        settings = conninfo_to_dict(text)
    except ProgrammingError:
        raise ValueError("not a connection string of PostgreSQL") from None
    return {str(value) for key, value in settings.items() if key in _PASSWORD_KEYS}


def of_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the credentials among variables: by their names, and the passwords of the connection strings."""
    found: dict[str, str] = {}
    for name, value in variables.items():
        secrets = _inside(value)
        if _CREDENTIAL_VARIABLE.search(name) and not _REFERENCE.search(name) and value.lower() not in _ORDINARY:
            secrets.add(value)
        found |= dict.fromkeys(secrets - {""}, name)
    return found


def of_document(document: object) -> dict[str, str]:
    """Return the credentials of a parsed YAML document: Helm values, a kubeconfig."""
    found: dict[str, str] = {}
    for keys, text in _texts(document, ()):
        secrets = _inside(text) | set(private_key_lines(text))
        key = keys[-1] if keys else ""
        if key.endswith("key-data"):
            secrets |= set(private_key_lines(_decoded(text)))
        named = _CREDENTIAL.search(key) or (_KEY_FOLDER in keys and len(text) >= _SHORTEST_KEY_LINE)
        if named and not _REFERENCE.search(key) and "\n" not in text and text.lower() not in _ORDINARY:
            secrets.add(text)
        found |= dict.fromkeys(secrets - {""}, ".".join(keys))
    return found


def private_key_lines(text: str) -> list[str]:
    """Return the lines of every private key's body in a text."""
    lines = (line.strip() for body in _PRIVATE_KEY.findall(text) for line in body.splitlines())
    return [line for line in lines if len(line) >= _SHORTEST_KEY_LINE]


def _inside(text: str) -> set[str]:
    """Return the passwords of a text that may be a connection string."""
    if "\n" in text or ("://" not in text and "password" not in text):
        return set()
    try:
        return of_connection(text)
    except ValueError:
        return set()


def _texts(value: object, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    match value:
        case str():
            yield keys, value
        case dict():
            for key, item in value.items():
                yield from _texts(item, (*keys, str(key)))
        case list():
            for item in value:
                yield from _texts(item, keys)


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("ascii", "replace")
    except binascii.Error:
        return ""
