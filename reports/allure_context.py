"""What belongs to all of a record's Allure results: environment, executor, categories, history, and the verdict itself.

`history.jsonl` is in Allure 3's own format, and made from the earlier records beside this one: so no upgrade is in it
twice, however often a record is sealed again, and the results stay complete when they are moved.
Invariants: nothing outside the folder of records is read; an earlier record that cannot be read is left out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any, Final

from cutover.clock import parse_rfc3339
from reports import allure_results as results
from reports import wording
from reports.build import write as write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from reports.views import Record

HISTORY: Final = "history.jsonl"
_MOST_UPGRADES = 20
"""So many earlier upgrades are in the history."""
_VERDICT = "verdict-attachment.json"
GLOBAL_ATTACHMENTS: Final = (_VERDICT,)


def write(record: Record, folder: Path) -> None:
    """Write them into the results' folder. Raises OSError."""
    results.write_json(folder / "categories.json", results.categories())
    results.write_json(folder / "executor.json", _executor(record))
    write_whole(folder / "environment.properties", _environment(record).encode())
    results.write_json(folder / "record-globals.json", _globals(record))
    if record.verdict:
        shutil.copyfile(record.folder / "verdict.json", folder / _VERDICT)
    lines = [json.dumps(point, ensure_ascii=False) for point in _history(record)]
    if lines:
        write_whole(folder / HISTORY, "\n".join([*lines, ""]).encode())
    else:
        (folder / HISTORY).unlink(missing_ok=True)


def _executor(record: Record) -> dict[str, Any]:
    earlier = sum(1 for _ in _earlier(record))
    return {
        "name": record.operator or "unknown",
        "type": "cutover",
        "buildName": f"{record.id}: {wording.title(record)}",
        "buildOrder": earlier + 1,
        "reportName": f"{record.id} {record.result}",
        "reportUrl": "../report.html",
    }


def environment(record: Record) -> dict[str, str]:
    """Return where and what the upgrade was, for QA; what is not known is left out."""
    pairs = {
        "upgrade": record.id,
        "from": record.from_release,
        "to": record.to_release,
        "target": f"{record.target_name} ({record.target_kind})",
        "notice": record.notice,
        "strategy": record.strategy,
        "scope": record.scope,
        "verdict": record.result,
        "exit_code": "" if record.exit_code is None else str(record.exit_code),
        "operator": record.operator,
        "attempts": " · ".join(wording.attempts(record)),
        "when": wording.span(record),
        **record.versions,
    }
    return {key: " ".join(value.split()) for key, value in pairs.items() if value}


def _environment(record: Record) -> str:
    return "".join(f"{key}={value}\n" for key, value in environment(record).items())


def _globals(record: Record) -> dict[str, Any]:
    """Return what belongs to no test: the verdict, and its reasons when it is not PASSED."""
    end = int(record.finished.timestamp() * 1000) if record.finished is not None else 0
    found: dict[str, Any] = {"attachments": [], "errors": []}
    if record.verdict:
        found["attachments"].append(
            {"name": "verdict.json", "source": _VERDICT, "type": "application/json", "timestamp": end}
        )
    if record.result != "PASSED":
        reasons = record.reasons or ("the record has no verdict",)
        found["errors"] = [{"message": f"{record.result}: {reason}", "timestamp": end} for reason in reasons]
    return found


# -- history -----------------------------------------------------------------------------------------------------------


def _earlier(record: Record) -> Iterator[tuple[int, Path, Mapping[str, Any]]]:
    """Yield the records beside this one that ended before it began: time in milliseconds, folder, verdict."""
    for folder in sorted(record.folder.absolute().parent.iterdir()):
        try:
            verdict = json.loads((folder / "verdict.json").read_bytes())
            finished = parse_rfc3339(verdict["finished"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        is_other = folder.name != record.folder.name
        if is_other and (record.started is None or finished <= record.started):
            yield int(finished.timestamp() * 1000), folder, verdict


def _history(record: Record) -> Iterator[dict[str, Any]]:
    """Yield a point for each earlier upgrade, the oldest first."""
    newest = sorted(_earlier(record), key=lambda one: (one[0], one[1].name))[-_MOST_UPGRADES:]
    for time_ms, folder, verdict in newest:
        tests: dict[str, dict[str, Any]] = {}
        try:
            found = sorted(
                results.read_results(folder / results.FOLDER).values(), key=lambda made: int(made.get("start") or 0)
            )
            for made in found:
                tests[_known_by(made)] = _point(made)
        except (OSError, KeyError, TypeError, ValueError):
            continue
        if tests:
            yield {
                "uuid": _md5(folder.name),
                "name": f"{folder.name} {verdict.get('result', '')}".strip(),
                "timestamp": time_ms,
                "knownTestCaseIds": sorted({key.partition(".")[0] for key in tests}),
                "testResults": tests,
                "metrics": {},
                "url": "",
            }


def _known_by(made: Mapping[str, Any]) -> str:
    """Return the name by which Allure 3 knows a test in its history: test case and parameters."""
    parameters = sorted((str(p["name"]), str(p["value"])) for p in made.get("parameters", ()))
    return f"{_md5(str(made['testCaseId']))}.{_md5(','.join(f'{name}:{value}' for name, value in parameters))}"


def _point(made: Mapping[str, Any]) -> dict[str, Any]:
    start, stop = int(made.get("start") or 0), int(made.get("stop") or 0)
    details = made.get("statusDetails", {})
    return {
        "id": made["uuid"],
        "name": made["name"],
        "fullName": made["fullName"],
        "environment": "default",
        "status": made["status"],
        **({"message": details["message"]} if details.get("message") else {}),
        "start": start,
        "stop": stop,
        "duration": stop - start,
        "labels": made.get("labels", []),
        "url": "",
        "historyId": _known_by(made),
        "reportLinks": [],
    }


def _md5(text: str) -> str:
    """Return the digest by which Allure 3 names things; nothing is protected by it."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
