"""Call the platform's own command, `stella`, and hold it to its contract.

Responsibility: one call, one validated answer. Every answer is exactly one JSON document that satisfies its schema in
`contract/stella/`; anything else was not an answer.
Invariants: an exit code alone is never believed, nor the document alone: both must say the same; what the platform
says is never the only evidence of a clause (the steps compare it with what the harness observes).
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from cutover.errors import ClauseFailed, CouldNotMeasure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cutover.site.operator import CommandResult, Operator

_UNREACHABLE_EXIT = 3
_USAGE_EXIT = 2


class Stella:
    """The operator's `stella`."""

    def __init__(
        self,
        operator: Operator,
        *,
        contract: Path,
        environment: Mapping[str, str],
        default_timeout_s: float,
    ) -> None:
        """Take the folder of the answers' schemas and what points the command at the cluster (KUBECONFIG)."""
        self._operator = operator
        self._contract = contract
        self._environment = dict(environment)
        self._default_timeout_s = default_timeout_s

    def call(self, *args: str, namespace: str, timeout_s: float | None = None, check: bool = True) -> dict[str, Any]:
        """Run `stella ARGS --json` and return its answer.

        namespace: which environment is meant: who serves changes from upgrade to upgrade (F.17). check: whether an
        answer that says "not ok" raises.
        Raises: CouldNotMeasure `stella-unreadable`, `stella-unreachable`, `command-timeout`, `command-missing`;
        ClauseFailed `stella-not-ok`, `stella-contradicts-itself`.
        """
        words = ["stella", *args]
        environment = {**self._environment, "STELLA_NAMESPACE": namespace}
        words.append("--json")
        result = self._operator.run(
            words,
            timeout_s=self._default_timeout_s if timeout_s is None else timeout_s,
            env=environment,
            check=False,
        )
        shown = " ".join(["stella", *args])
        if result.exit_code == _USAGE_EXIT:
            raise CouldNotMeasure(
                f"`{shown}` was not understood",
                code="stella-usage",
                seen=_said(result),
                do="check the version of stella on the operator host against contract/platform.md",
            )
        if result.exit_code == _UNREACHABLE_EXIT and not result.stdout.strip():
            raise self._unreachable(shown, _said(result))
        answer = self._read(shown, args, result)
        if result.exit_code == _UNREACHABLE_EXIT:
            raise self._unreachable(shown, _detail(answer) or _said(result))
        ok = bool(answer["ok"])
        if ok != (result.exit_code == 0):
            raise ClauseFailed(
                f"`{shown}` contradicts itself: exit code {result.exit_code} and ok = {str(ok).lower()}",
                code="stella-contradicts-itself",
                seen=_detail(answer) or _said(result),
                do="do not trust this answer; check the state by hand and report it to the platform's support",
                exit_code=result.exit_code,
                ok=ok,
            )
        if check and not ok:
            raise ClauseFailed(
                f"`{shown}` says not ok",
                code="stella-not-ok",
                seen=_detail(answer) or _said(result),
                do=_remedy(answer) or "correct what it names, then run again",
                answer=answer,
            )
        return answer

    def _read(self, shown: str, args: tuple[str, ...], result: CommandResult) -> dict[str, Any]:
        """Return the validated document on standard output."""
        try:
            answer = json.loads(result.stdout)
        except ValueError as error:
            raise self._unreadable(shown, f"not one JSON document: {result.stdout[:200]!r}") from error
        if not isinstance(answer, dict) or not isinstance(answer.get("schema"), str):
            raise self._unreadable(shown, f"no schema named: {result.stdout[:200]!r}")
        expected = schema_name(args)
        if answer["schema"] != expected:
            raise self._unreadable(shown, f"answered {answer['schema']!r}, expected {expected!r}")
        validators = _validators(self._contract, expected)
        if validators is None:
            raise self._unreadable(shown, f"contract/stella has no schema for {expected!r}")
        validator = validators["error" if "error" in answer else "answer"]
        problem = next(iter(sorted(validator.iter_errors(answer), key=lambda error: list(map(str, error.path)))), None)
        if problem is not None:
            where = "/".join(str(part) for part in problem.path) or "the document"
            raise self._unreadable(shown, f"{where}: {problem.message[:300]}")
        return answer

    @staticmethod
    def _unreachable(shown: str, seen: str) -> CouldNotMeasure:
        return CouldNotMeasure(
            f"`{shown}` could not reach the platform",
            code="stella-unreachable",
            seen=seen,
            do="check that the platform's namespace, database and store answer",
        )

    @staticmethod
    def _unreadable(shown: str, why: str) -> CouldNotMeasure:
        return CouldNotMeasure(
            f"the answer of `{shown}` is not readable",
            code="stella-unreadable",
            seen=why,
            do="compare `stella version` with contract/stella, and read the transcript in the record",
        )


def schema_name(args: tuple[str, ...]) -> str:
    """Return the schema of a command's answer: `test smoke --namespace N` gives `stella/test-smoke/v1`."""
    words = []
    for word in args:
        if word.startswith("-"):
            break
        words.append(word)
    return f"stella/{'-'.join(words)}/v1"


@functools.cache
def _validators(folder: Path, name: str) -> dict[str, Any] | None:
    """Return what validates the answer and the error of a schema name, or None when the contract has none.

    Each file holds both under `$defs`; the one that applies is chosen first, so that a refusal names what is wrong.
    """
    import jsonschema  # noqa: PLC0415 (slow to import)

    path = folder / f"{name.split('/')[1]}.schema.json"
    if not path.is_file():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    found = {}
    for kind in ("answer", "error"):
        schema = {key: document[key] for key in ("$schema", "$defs")} | {"$ref": f"#/$defs/{kind}"}
        validator = jsonschema.validators.validator_for(schema)
        found[kind] = validator(schema, format_checker=validator.FORMAT_CHECKER)
    return found


def _remedy(answer: Mapping[str, Any]) -> str:
    error = answer.get("error")
    return str(error.get("remedy", "")) if isinstance(error, dict) else ""


def _said(result: CommandResult) -> str:
    text = result.stderr.strip() or result.stdout.strip()
    return "\n".join(text.splitlines()[-4:])[-800:] or f"exit code {result.exit_code} and no output"


def _detail(answer: Mapping[str, Any]) -> str:
    """Return what an answer says is wrong: its failed checks, tests, items, or its reason."""
    lines: list[str] = []
    for key in ("checks", "tests"):
        entries = answer.get(key) or []
        lines += [f"{e.get('name')}: {e.get('detail', '')}" for e in entries if not e.get("ok", True)]
    for entry in answer.get("failures") or []:
        lines.append(f"{entry.get('id')}: {entry.get('code')} {entry.get('detail', '')}".strip())
    for key in ("missing", "changed", "invalid", "mismatched"):
        if isinstance(answer.get(key), list) and answer[key]:
            lines.append(f"{key}: {', '.join(map(str, answer[key][:5]))}")
    if isinstance(answer.get("error"), dict):
        lines.append(f"{answer['error']['code']}: {answer['error']['message']}")
    for key in ("reason", "detail"):
        if answer.get(key):
            lines.append(str(answer[key]))
    shown = lines[:6]
    if len(lines) > len(shown):
        shown.append(f"and {len(lines) - len(shown)} more")
    return "\n".join(shown)
