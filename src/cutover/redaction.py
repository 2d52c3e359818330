"""Keep secrets out of transcripts, journals and error messages: the one mechanism of the harness for it.

Responsibility: replace every known secret, in the forms in which it travels (plain, URL-encoded, escaped in JSON, TOML,
HTML, SQL or a shell's line, hexadecimal, base64 of it or of a text around it), and the shapes that are secret whatever
their value (private keys, passwords in connection strings).
Invariant: redacting twice gives the same text as redacting once.
"""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "[redacted]"

SHORTEST_SECRET = 4
"""Masking a shorter word would blank ordinary text."""

_SHORTEST_INSIDE_BASE64 = 8
"""Fewer characters of base64 occur by chance."""

_SHORTEST_IN_HEX = 8
"""Fewer bytes, as hexadecimal digits, occur in a digest by chance."""

_SHAPES = (
    (re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL), MASK),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)(?!\[redacted\]@)[^\s@/]+(?=@)", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"(\b(?:ssl)?password=)(?!\[redacted\])[^\s&'\"\\]+"), rf"\1{MASK}"),
    (re.compile(r"\bAGE-SECRET-KEY-1[A-Z0-9]+"), MASK),
)


def forms(secret: str) -> frozenset[str]:
    """Return a secret as it may stand in a text; of one that is too short to be masked, nothing."""
    if len(secret) < SHORTEST_SECRET:
        return frozenset()
    raw = secret.encode("utf-8", "surrogatepass")
    found = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    urls = {quote(raw, safe=""), quote(raw), quote_plus(raw)}
    found |= urls | {_ESCAPE.sub(lambda escape: escape[0].lower(), text) for text in urls}
    found |= {html.escape(secret), html.escape(secret, quote=False)}
    found |= {html.escape(secret).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")}
    found |= {secret.replace("'", written) for written in ("'\"'\"'", "''", "\\'", "&#39;")}
    found |= {repr(secret)[1:-1]}
    if len(raw) >= _SHORTEST_IN_HEX:
        found |= {raw.hex(), raw.hex().upper()}
    encoded = {base64.b64encode(raw).decode(), *_inside_base64(raw)}
    return frozenset(found | encoded | {text.translate(_URL_SAFE) for text in encoded})


_URL_SAFE = str.maketrans("+/", "-_")
_ESCAPE = re.compile("%[0-9A-F]{2}")


def _inside_base64(raw: bytes) -> set[str]:
    """Return what of a secret is the same in the base64 of every text that has it inside, by its place modulo 3."""
    found = set()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode()
        found.add(encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6])
    return {text for text in found if len(text) >= _SHORTEST_INSIDE_BASE64}


class Redactor:
    """Replace known secrets, and text shaped like one, by a mask."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Take the secrets; values shorter than `SHORTEST_SECRET` are left alone."""
        known = {form for secret in secrets for form in forms(secret)}
        self._forms = tuple(sorted(known, key=lambda form: (-len(form), form)))

    def redact(self, text: str) -> str:
        """Return the text with every secret masked."""
        for form in self._forms:
            text = text.replace(form, MASK)
        for shape, replacement in _SHAPES:
            text = shape.sub(replacement, text)
        return text

    def redact_all(self, value: Any) -> Any:  # noqa: ANN401  # JSON in, JSON out
        """Return a value of JSON's types with every text in it redacted."""
        match value:
            case str():
                return self.redact(value)
            case dict():
                return {self.redact(key): self.redact_all(item) for key, item in value.items()}
            case list():
                return [self.redact_all(item) for item in value]
            case _:
                return value
