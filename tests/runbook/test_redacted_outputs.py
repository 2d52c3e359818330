"""Every kind of output that a run makes is redacted: the same run, with redaction switched off, leaks in each of them.

A clause of the miniature passes a secret to everything that writes: a command, the journal, a gate, an archive for
support, an error with all of its words. The second run differs in one thing: `Redactor` gives texts back as they are.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from miniature import Miniature

from cutover.runbook import leaks

if TYPE_CHECKING:
    from pathlib import Path

    from cutover.runbook.leaks import Leak

pytestmark = pytest.mark.timeout(240)

SECRET = "s3cret-value"
LEAKY = '''
"""Passes a secret to whatever writes, and can switch redaction off."""

import os

from cutover.clock import SYSTEM_CLOCK
from cutover.errors import ClauseFailed
from cutover.redaction import Redactor
from cutover.runbook.support_archive import SupportArchive
from cutover.site.operator import Operator

SECRET = "s3cret-value"
if os.environ.get("REDACTION") == "off":
    Redactor.redact = lambda self, text: text
    Redactor.redact_all = lambda self, value: value


def pour(upgrade):
    redactor = Redactor(upgrade.target.secrets())
    operator = Operator(
        "local://", redactor=redactor, folder=upgrade.folder / "artifacts", journal=upgrade.journal
    )
    operator.run(["sh", "-c", "echo token $1", "sh", SECRET])
    operator.close()
    gate = {"name": "error_ratio", "title": f"errors of {SECRET}", "result": "PASS", "value": 0.0, "limit": 0.1}
    upgrade.journal.write("gate", **gate, unit="ratio", percent=10, samples=3, query=f"up{{token={SECRET!r}}}")
    archive = SupportArchive(redactor)
    archive.add("logs/web.txt", f"token {SECRET}", what="a log")
    archive.write(upgrade.path("artifacts", "support", "support.tar.gz"), now=SYSTEM_CLOCK.now(), about={"is": SECRET})
    raise ClauseFailed(
        f"the token {SECRET} was refused", seen=f"401 for {SECRET}", do=f"renew {SECRET}", cause_text=f"{SECRET} is old"
    )
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Poured:
    """What a search of everything that a run left found."""

    leaks: tuple[Leak, ...]
    files: tuple[str, ...]
    unread: tuple[str, ...]

    def of(self, kind: str) -> list[Leak]:
        """Return the leaks in one kind of output."""
        return [leak for leak in self.leaks if fnmatch.fnmatch(leak.path, kind)]


def run(folder: Path, redaction: str) -> Poured:
    folder.mkdir()
    (folder / "leaky.py").write_text(LEAKY, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDACTION", redaction)
        made = Miniature(folder)
        plugins = ("leaky", "allure_pytest.plugin", "reports.plugin", "reports.overview_plugin")
        ran = made.run(*(word for name in plugins for word in ("-p", name)), do={"3.2": "pour", "R.1": "leak"})
    assert ran.folder is not None, ran.out + ran.err
    outputs = folder / "outputs"
    ran.folder.rename(outputs)
    if (folder / "records" / "index.html").exists():
        (folder / "records" / "index.html").rename(outputs / "index.html")
    (outputs / "stdout").write_text(ran.out, "utf-8")
    (outputs / "stderr").write_text(ran.err, "utf-8")
    found = leaks.search(outputs, {SECRET: "store.secret_key"})
    files = tuple(str(path.relative_to(outputs)) for path in sorted(outputs.rglob("*")) if path.is_file())
    return Poured(leaks=found.leaks, files=files, unread=found.unread)


@pytest.fixture(scope="module")
def redacted(tmp_path_factory: pytest.TempPathFactory) -> Poured:
    """Return what a run leaves."""
    return run(tmp_path_factory.mktemp("redacted") / "site", "on")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Poured:
    """Return what the same run leaves without redaction."""
    return run(tmp_path_factory.mktemp("bare") / "site", "off")


KINDS = (
    "journal.jsonl",
    "verdict.json",
    "target.redacted.toml",
    "artifacts/commands/*.txt",
    "artifacts/faults/*",
    "artifacts/support/support.tar.gz!logs/web.txt",
    "artifacts/support/support.tar.gz!index.json",
    "junit.xml",
    "summary.md",
    "report.html",
    "report.pdf!page *",
    "allure-results/*",
    "stdout",
)


def test_nothing_that_a_run_writes_holds_a_secret(redacted: Poured) -> None:
    assert redacted.leaks == ()
    assert redacted.unread == ()
    assert {"index.html", "manifest.json"} <= set(redacted.files)


def test_a_record_that_shows_a_secret_is_neither_sealed_nor_listed(bare: Poured, redacted: Poured) -> None:
    assert "seal.json" in redacted.files
    assert not {"seal.json", "index.html"} & set(bare.files)


@pytest.mark.parametrize("kind", KINDS)
def test_without_redaction_this_kind_of_output_would_leak(bare: Poured, redacted: Poured, kind: str) -> None:
    assert bare.of(kind), f"the secret never came past {kind}: nothing is proven of it"
    place = kind.partition("!")[0]
    assert fnmatch.filter(redacted.files, place), f"{place} was not made"


CARELESS = """
from reports import html

made = html.build
html.build = lambda record: made(record) + "<!-- s3cret-value -->"
"""


def test_a_secret_that_only_a_report_shows_spoils_a_run_that_passed(tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(CARELESS, "utf-8")
    plugins = ("careless", "allure_pytest.plugin", "reports.plugin", "reports.overview_plugin")
    ran = Miniature(tmp_path).run(*(word for name in plugins for word in ("-p", name)))
    assert ran.folder is not None
    assert ran.verdict["result"] == "ERROR", "it was computed once more after the report was made"
    assert (ran.folder / "report.html").read_text("utf-8").count("PASSED") == 0
    assert ran.code == 3, ran.out + ran.err
    assert not (ran.folder / "seal.json").exists()
    assert "in report.html" in ran.out + ran.err
    assert SECRET not in ran.out + ran.err
    assert "ERROR" in (tmp_path / "records" / "index.html").read_text("utf-8"), "it is listed all the same"
