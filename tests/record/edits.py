"""Random edits of a record, each by a seeded generator: what somebody, or a bad disk, might do to a folder."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Edit = Callable[[Path, random.Random], str]
    """Changes a record and returns the name of a file that the change must be found in."""


def _files(folder: Path, *, at_least: int = 1) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size >= at_least)


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def flip_a_bit(folder: Path, chance: random.Random) -> str:
    """Change one bit of one file."""
    path = chance.choice(_files(folder))
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return _name(folder, path)


def change_a_field(folder: Path, chance: random.Random) -> str:
    """Change one value of one JSON document, and write it as it is written."""
    while True:
        path = chance.choice([path for path in _files(folder) if path.suffix == ".json"])
        document = json.loads(path.read_bytes())
        places = list(_leaves(document))
        if places:
            break
    owner, key = chance.choice(places)
    owner[key] = _other(owner[key], chance)
    indent = 1 if b'\n "' in path.read_bytes() else 2 if b"\n" in path.read_bytes()[:-1] else None
    path.write_text(json.dumps(document, ensure_ascii=False, indent=indent) + "\n", "utf-8")
    return _name(folder, path)


def _leaves(value: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401  # JSON
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        if isinstance(inner, dict | list):
            yield from _leaves(inner)
        else:
            yield value, key


def _other(value: object, chance: random.Random) -> object:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + chance.randint(1, 9)
        case str():
            return value[:-1] + ("0" if not value.endswith("0") else "1") if value else "x"
        case _:
            return "x"


def change_a_line(folder: Path, chance: random.Random) -> str:
    """Change, drop, double or move one line of a file of lines."""
    path = chance.choice([path for path in _files(folder, at_least=2) if path.suffix in {".jsonl", ".toml", ".md"}])
    lines = path.read_bytes().splitlines(keepends=True)
    at = chance.randrange(len(lines))
    match chance.randrange(4):
        case 0:
            lines[at] = lines[at].replace(b"e", b"E", 1) if b"e" in lines[at] else b"x" + lines[at]
        case 1:
            del lines[at]
        case 2:
            lines.insert(at, lines[at])
        case _:
            lines.insert(0, b"moved: " + lines.pop(at))
    path.write_bytes(b"".join(lines))
    return _name(folder, path)


def drop_a_file(folder: Path, chance: random.Random) -> str:
    """Delete one file."""
    path = chance.choice(_files(folder, at_least=0))
    path.unlink()
    return _name(folder, path)


def swap_two_files(folder: Path, chance: random.Random) -> str:
    """Put two files in each other's place; of a list of files and one that it lists, the list is named."""
    while True:
        one, other = chance.sample(_files(folder), 2)
        if one.read_bytes() != other.read_bytes():
            break
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return _name(folder, other if other in {folder / "manifest.json", folder / "seal.json"} else one)


def add_a_file(folder: Path, chance: random.Random) -> str:
    """Put one more file somewhere: new, a copy, or a link out of the record."""
    near = chance.choice(_files(folder))
    path = near.with_name(f"{chance.choice(['new', '.hidden', 'zz'])}-{chance.randrange(1000)}.{chance.choice('abc')}")
    match chance.randrange(3):
        case 0:
            path.write_bytes(chance.randbytes(chance.randrange(1, 99)))
        case 1:
            shutil.copyfile(near, path)
        case _:
            path.symlink_to("/etc/hostname")
    return _name(folder, path)


def truncate_a_file(folder: Path, chance: random.Random) -> str:
    """Cut a file short."""
    path = chance.choice(_files(folder))
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])
    return _name(folder, path)


def append_to_a_file(folder: Path, chance: random.Random) -> str:
    """Write something behind a file's end."""
    path = chance.choice(_files(folder))
    with path.open("ab") as stream:
        stream.write(chance.choice([b"\n", b" ", b"\0", b"{}\n", chance.randbytes(5)]))
    return _name(folder, path)


def rename_a_file(folder: Path, chance: random.Random) -> str:
    """Give a file another name."""
    path = chance.choice(_files(folder))
    path.rename(path.with_name(f"{path.name}.old"))
    return _name(folder, path)


EDITS: dict[str, Edit] = {
    edit.__name__: edit
    for edit in (
        flip_a_bit,
        change_a_field,
        change_a_line,
        drop_a_file,
        swap_two_files,
        add_a_file,
        truncate_a_file,
        append_to_a_file,
        rename_a_file,
    )
}
