"""Mutations of documents, from a seed: of their bytes, and of their JSON.

A mutation may leave the meaning as it was (whitespace, the order of names, a field that nothing reads): it is the
test that knows what was meant. The same seed makes the same mutations.
"""

from __future__ import annotations

import copy
import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random


class Raw(str):
    """Text that stands in a document as it is, JSON or not."""

    __slots__ = ()


DEEP = Raw("[" * 3000 + "]" * 3000)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    Raw("9" * 5000),
    Raw("1e999"),
    Raw("-0"),
    Raw("1.0"),
    Raw("NaN"),
    Raw("-Infinity"),
    DEEP,
    "",
    " ",
    "\x00",
    "\ud800",
    "é",
    "\u202e",
    "A" * 5000,
    "====",
    "AA==",
    "-_-_",
    "+/-_",
    "04",
    "4 ",
    "\u0664",
    "../../etc/passwd",
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"digest": {}},
)
SCRAPS = (
    b"\x00",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\x1b[2J",
    "—".encode(),
    b"\\u0000",
    b'"',
)


def written(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Return a document's text; `Raw` stands as it is."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {written(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value)


def places(value: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - any JSON
    """Yield every place in a document: the container and the name or position in it."""
    names = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for name in names:
        yield value, name
        yield from places(value[name])


def of_bytes(raw: bytes, random: Random) -> bytes:
    """Mutate bytes, once or a few times."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        raw = _once(raw, random)
    return raw


def _once(raw: bytes, random: Random) -> bytes:
    """Alter a bit, a byte, or a piece: taken out, put in, doubled, moved, overwritten, cut off."""
    start = random.randrange(len(raw) + 1)
    end = min(len(raw), start + random.choice((1, 1, 2, 5, 40)))
    head, piece, tail = raw[:start], raw[start:end], raw[end:]
    return random.choice(
        (
            head + bytes(one ^ (1 << random.randrange(8)) for one in piece[:1]) + piece[1:] + tail,
            head + random.randbytes(1) + piece[1:] + tail,
            head + random.randbytes(len(piece)) + tail,
            head + random.choice(SCRAPS) + tail,
            head + random.choice(SCRAPS) + piece + tail,
            head + piece + piece + tail,
            head + piece.swapcase() + tail,
            piece + head + tail,
            head + tail,
            head,
            piece + tail,
            raw + random.choice((b" ", b"\n", b"\x00", raw)),
        )
    )


def of_json(raw: bytes, random: Random) -> bytes:
    """Mutate a JSON document: fields retyped, renamed, doubled, exchanged, their text altered; or its spelling."""
    document = json.loads(raw)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        found = list(places(document))
        if not found:
            break
        holder, name = random.choice(found)
        _alter(holder, name, found, random)
    text = written(document)
    spelling = random.randrange(12)
    if spelling == 0:
        text = text.replace(", ", ",\n\t").replace(": ", ":")
    elif spelling == 1:
        text = random.choice(("\ufeff", " ", "\n")) + text + random.choice(("", " ", "\x00", "{}", ","))
    encoded = text.encode("utf-8", "surrogatepass")
    return of_bytes(encoded, random) if spelling == 2 else encoded


def _alter(holder: Any, name: Any, found: list[tuple[Any, Any]], random: Random) -> None:  # noqa: ANN401 - any JSON
    value = holder[name]
    way = random.randrange(9)
    if way == 0:
        del holder[name]
    elif way == 1 and isinstance(holder, dict):
        again = random.choice((value, random.choice(VALUES)))
        holder[name] = Raw(f"{written(value)}, {json.dumps(name)}: {written(again)}")
    elif way == 2 and isinstance(holder, dict):
        holder[random.choice((name.upper(), f"{name} ", _snake(name), "extra"))] = holder.pop(name)
    elif way == 3:
        other, key = random.choice(found)
        if not isinstance(other, dict) or key in other:
            holder[name] = copy.deepcopy(other[key]) if isinstance(other, dict) or key < len(other) else None
    elif way == 4 and isinstance(holder, list):
        holder.insert(random.randrange(len(holder) + 1), copy.deepcopy(value))
    elif way == 5 and isinstance(holder, dict):
        holder[name] = holder.pop(name)  # the order of names alone
    elif way < 8 and isinstance(value, str) and not isinstance(value, Raw):
        holder[name] = _text(value, random)
    elif way < 8 and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        holder[name] = random.choice((value + 1, value - 1, -value, str(value), value * 10**30, Raw(f"{value}.0")))
    else:
        holder[name] = copy.deepcopy(random.choice(VALUES))


def _text(text: str, random: Random) -> str:
    """Alter a text, and what is base64 in ways that a lax decoder does not see."""
    at = random.randrange(len(text) + 1)
    return random.choice(
        (
            text[:at] + random.choice("AZaz09+/-_=. \n\x00é") + text[at + 1 :],
            text[:at] + random.choice(("\n", " ", "=", "\x00", "—")) + text[at:],
            text[:at] + text[at + 1 :],
            text[:at],
            text.rstrip("="),
            f"{text}=",
            text.replace("+", "-").replace("/", "_"),
            text.swapcase(),
            text + text,
            text[::-1],
        )
    )


def _snake(name: str) -> str:
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in name)
