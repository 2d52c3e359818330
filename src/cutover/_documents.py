"""Reading a TOML file against its JSON Schema, with one sentence for the first thing that is wrong.

Invariants: nothing is read but the file and the schema; a message names the key as the operator wrote it.
"""

from __future__ import annotations

import functools
import json
import tomllib
from typing import TYPE_CHECKING, Any

from cutover import project

if TYPE_CHECKING:
    from pathlib import Path

    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

    from cutover.errors import WrongInput


@functools.cache
def validator(schema_name: str) -> Validator:
    """Return the validator of `contract/<schema_name>.schema.json`, formats checked."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415  # 0.1 s that `--help` does not need

    schema = json.loads((project.CONTRACT / f"{schema_name}.schema.json").read_text("utf-8"))
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def first_problem(schema_name: str, document: Any) -> str:  # noqa: ANN401  # TOML or JSON
    """Return one sentence for the most relevant violation, or an empty string when there is none."""
    from jsonschema.exceptions import best_match  # noqa: PLC0415  # as above

    problem = best_match(validator(schema_name).iter_errors(document))
    return _sentence(problem) if problem is not None else ""


def _sentence(problem: ValidationError) -> str:
    where = ".".join(str(part) for part in problem.absolute_path)
    opening = f"{where}: " if where else ""
    unknown = _unknown_keys(problem)
    opening += _condition(problem)
    if problem.validator == "additionalProperties":
        return f"{opening}unknown key: {unknown}"
    return f"{opening}{problem.message}" + (f"; unknown key: {unknown}" if unknown else "")


def _condition(problem: ValidationError) -> str:
    """Return under which condition the violated part of the schema holds, as its title says it."""
    schema = problem.schema
    if "then" not in problem.absolute_schema_path or not isinstance(schema, dict) or "title" not in schema:
        return ""
    return f"with {schema['title']}, "


def _unknown_keys(problem: ValidationError) -> str:
    """Return the keys that the schema neither names nor allows: a missing key is often a misspelt one."""
    schema, instance = problem.schema, problem.instance
    if (
        not isinstance(instance, dict)
        or not isinstance(schema, dict)
        or schema.get("additionalProperties") is not False
    ):
        return ""
    return ", ".join(sorted(str(key) for key in instance if key not in schema.get("properties", {})))


def read(path: Path, schema_name: str, *, error: type[WrongInput], noun: str) -> tuple[str, dict[str, Any]]:
    """Return the text and the content of a TOML file that satisfies its schema.

    noun: "target file", "policy file". Raises `error` with one sentence and a remedy for everything that can be wrong.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise error(f"there is no {noun} at {path}", code=f"{schema_name}-absent", do="give its path") from None
    except IsADirectoryError:
        raise error(f"{path} is a folder, not a {noun}", code=f"{schema_name}-absent", do="give the file") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise error(
            f"the {noun} {path} cannot be read", code=f"{schema_name}-unreadable", seen=str(problem)
        ) from problem
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise error(
            f"the {noun} {path} is not TOML", code=f"{schema_name}-not-toml", seen=str(problem), do="correct that line"
        ) from problem
    sentence = first_problem(schema_name, _plain(content))
    if sentence:
        raise error(
            f"the {noun} {path} does not fit its schema",
            code=f"{schema_name}-invalid",
            seen=sentence,
            do=f"see contract/{schema_name}.schema.json and contract/examples/{schema_name}.toml",
        )
    return text, content


def _plain(value: object) -> object:
    """Return TOML content as JSON Schema sees it: TOML's own times become their text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if isoformat is not None else value
