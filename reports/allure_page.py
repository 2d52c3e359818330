"""allure-report/index.html: Allure's own page of a record's results, where Allure 3 is installed; one file.

Made by the `allure` of npm from the results alone, then stripped of what it would load from outside, and told to load
nothing by a policy of its own (CSP). `report.html` is complete without it.
Invariants: the page holds no reference to another host, else there is none; nothing but the page is written; the
results are not touched.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from cutover import project
from reports import allure_results as results
from reports import build

PLACE: Final = "allure-report/index.html"
_MAJOR = 3
_SLOWEST_S = 120.0
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; style-src 'unsafe-inline' data:; "
    "img-src data: blob:; font-src data:; media-src data: blob:; connect-src data: blob:; frame-src data: blob:; "
    "worker-src data: blob:; object-src 'none'; form-action 'none'"
)
_FROM_OUTSIDE = re.compile(
    r"""<script\b[^>]*?\bsrc=["']?(?:https?:)?//[^>]*>\s*</script>|<link\b[^>]*?\bhref=["']?(?:https?:)?//[^>]*>""",
    re.IGNORECASE,
)
_ANALYTICS = re.compile(r"<script>(?:(?!</script>).)*?\bgtag\((?:(?!</script>).)*</script>", re.DOTALL)
_LOADING = frozenset({"src", "srcset", "href", "data", "poster", "action"})


class NotMadeError(Exception):
    """There is no page, and why."""


def find() -> Path | None:
    """Return the `allure` of the PATH, or of the project's own node_modules; None when there is none."""
    here = project.ROOT / "node_modules" / ".bin" / "allure"
    found = shutil.which("allure") or (str(here) if here.is_file() else None)
    return Path(found) if found is not None else None


def make(folder: Path, command: Path) -> bytes:
    """Return the page of a record that has results. Raises NotMadeError, OSError.

    command: Allure's.
    """
    version = _run(command, "--version").strip()
    if not version.startswith(f"{_MAJOR}."):
        raise NotMadeError(f"{command} is version {version or 'unknown'}, and the page needs {_MAJOR}")
    with tempfile.TemporaryDirectory(prefix="allure-") as name:
        scratch = Path(name)
        settings = scratch / "allurerc.json"
        settings.write_text(json.dumps(_settings(folder)), "utf-8")
        said = _run(
            command,
            *("generate", "--config", str(settings), "--output", str(scratch / "out"), "--cwd", str(scratch)),
            str((folder / results.FOLDER).absolute()),
        )
        page = scratch / "out" / "index.html"
        if not page.is_file():
            raise NotMadeError(f"allure made no page: {said.strip()[-200:]}")
        return strip(page.read_text("utf-8"), of=_digest(folder / results.FOLDER)).encode()


def build_page(folder: Path) -> build.Built | None:
    """Write a record's page, and return what came of it; None without Allure, or without results. Raises nothing.

    A page of the very same results stays as it is; one of earlier results goes, whether or not there is a new one.
    """
    path = folder / PLACE
    try:
        has_results = (folder / results.FOLDER).is_dir()
        shown = f'content="{_digest(folder / results.FOLDER)}"' if has_results else ""
        if shown and path.is_file() and shown in path.read_text("utf-8"):
            return build.Built(name=PLACE, path=path)
        path.unlink(missing_ok=True)
        command = find()
        if command is None or not has_results:
            return None
        content = make(folder, command)
        path.parent.mkdir(exist_ok=True)
        build.write(path, content)
    except Exception as problem:  # noqa: BLE001  # a report must never take the verdict or another report with it
        return build.Built(name=PLACE, path=path, problem=f"{type(problem).__name__}: {problem}")
    return build.Built(name=PLACE, path=path)


def _digest(folder: Path) -> str:
    """Return one digest of the names and contents of all results."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        whole.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _settings(folder: Path) -> dict[str, object]:
    """Return Allure's configuration: one file, by phase, feature and rule, with the history of the results' folder."""
    read = folder / results.FOLDER
    history = read / "history.jsonl"
    executor = json.loads((read / "executor.json").read_bytes())
    return {
        "name": f"Upgrade {executor['reportName']}",
        **({"historyPath": str(history.absolute()), "appendHistory": False} if history.is_file() else {}),
        "categories": results.categories(),
        "hideLabels": ["parentSuite", "suite", "subSuite", "framework", "language", "host"],
        "plugins": {
            "awesome": {
                "options": {
                    "singleFile": True,
                    "reportLanguage": "en",
                    "groupBy": ["epic", "feature", "story"],
                    "appendTitlePath": False,
                }
            }
        },
    }


def _run(command: Path, *arguments: str) -> str:
    """Return what Allure said. Raises NotMadeError."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    try:
        done = subprocess.run(
            [str(command), *arguments],
            env=environment | {"NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=_SLOWEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired as problem:
        raise NotMadeError(f"allure took longer than {_SLOWEST_S:g} s") from problem
    if done.returncode != 0:
        raise NotMadeError(f"allure ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-200:]}")
    return done.stdout


# -- no call to the outside --------------------------------------------------------------------------------------------


def strip(page: str, *, of: str = "") -> str:
    """Return a page without what it would load from outside. Raises NotMadeError when something is left.

    of: the digest of the results that it shows.
    """
    page = _ANALYTICS.sub("", _FROM_OUTSIDE.sub("", page))
    head, found, rest = page.partition("<head>")
    if not found:
        raise NotMadeError("allure's page has no head")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    shown = f'<meta name="cutover-allure-results" content="{of}">'
    page = f"{head}<head>\n    {policy}\n    {shown}{rest}"
    left = references(page)
    if left:
        raise NotMadeError(f"allure's page names {left[0]}")
    return page


def references(page: str) -> list[str]:
    """Return the addresses on other hosts that a page would load by itself, or send to."""
    reader = _References()
    reader.feed(page)
    return reader.found


class _References(HTMLParser):
    """Collects addresses on other hosts; a link that a reader would have to follow is none of them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at an element's attributes."""
        if tag == "a":
            return
        for name, value in attrs:
            if name in _LOADING and re.match(r"\s*(?:https?:|wss?:)?//", value or "", re.IGNORECASE):
                self.found.append(str(value))
