"""Keep secrets out of transcripts, journals and error messages.

Responsibility: replace every known secret, in the forms in which it travels (plain, URL-encoded, base64), and the
shapes that are secret whatever their value (private keys, passwords in URLs).
Invariant: redacting twice gives the same text as redacting once.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "[redacted]"
_SHORTEST_SECRET = 4  # shorter words would blank ordinary text

_SHAPES = (
    (re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL), MASK),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)(?!\[redacted\]@)[^\s@/]+(?=@)", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\bAGE-SECRET-KEY-1[A-Z0-9]+"), MASK),
)


class Redactor:
    """Replace known secrets, and text shaped like one, by a mask."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        """Redact these from now on as well; values shorter than four characters are left alone."""
        forms = set(self._forms)
        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET:
                forms |= {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))

    def redact(self, text: str) -> str:
        """Return the text with every secret masked."""
        for form in self._forms:
            text = text.replace(form, MASK)
        for shape, replacement in _SHAPES:
            text = shape.sub(replacement, text)
        return text
