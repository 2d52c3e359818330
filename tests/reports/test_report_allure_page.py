"""allure-report/index.html: Allure's own page, made where it is installed, and no call to the outside left in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import sample_record

from reports import allure_page, allure_record

if TYPE_CHECKING:
    from pathlib import Path

ALLURE = allure_page.find()
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGE = """<!DOCTYPE html><html><head><link rel="icon" href="data:image/svg+xml,x"></head><body>
<script src="data:text/javascript;base64,Ly8="></script>
<script async src="https://measure.example/gtag/js?id=G-1"></script>
<script>
  function gtag(){dataLayer.push(arguments);}
  gtag('config', 'G-1', {"reportUuid": "u"});
</script>
<script>window.data = "https://guide.example/";</script>
<a href="https://guide.example/">the guide</a>
</body></html>"""


def test_analytics_are_stripped_and_nothing_else() -> None:
    page = allure_page.strip(PAGE)
    assert "measure.example" not in page
    assert "gtag" not in page
    assert "reportUuid" not in page
    assert 'src="data:text/javascript;base64,Ly8="' in page
    assert 'window.data = "https://guide.example/"' in page
    assert page.count("<script") == 2
    assert page.index("Content-Security-Policy") < page.index("<script")
    assert "connect-src data: blob:" in page, "even what a script would ask for is not asked"


@pytest.mark.parametrize(
    "element",
    [
        '<img src="https://measure.example/dot.gif">',
        '<iframe src="//measure.example/"></iframe>',
        '<form action="https://measure.example/"></form>',
        '<video poster="HTTP://measure.example/x"></video>',
        "<script src='https://measure.example/a.js'>fallback()</script>",
    ],
)
def test_there_is_no_page_when_something_from_outside_is_left(element: str) -> None:
    with pytest.raises(allure_page.NotMadeError, match=r"(?i)measure\.example"):
        allure_page.strip(PAGE.replace("</body>", f"{element}</body>"))


def fake_allure(folder: Path, script: str) -> Path:
    command = folder / "allure"
    command.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    command.chmod(0o755)
    return command


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 2.30.0", "is version 2.30.0, and the page needs 3"),
        ('[ "$1" = --version ] && echo 3.1.0 || { echo "out of memory" >&2; exit 7; }', "ended with 7: out of memory"),
        ("[ \"$1\" = --version ] && echo 3.1.0 || echo 'nothing to show'", "made no page: nothing to show"),
    ],
)
def test_an_allure_that_does_not_do_it_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    folder = sample_record.passed(tmp_path / "records").folder
    allure_record.write(folder, ())
    command = fake_allure(tmp_path, script)
    monkeypatch.setattr(allure_page, "find", lambda: command)
    (folder / allure_page.PLACE).parent.mkdir()
    (folder / allure_page.PLACE).write_text("of an earlier attempt", "utf-8")
    made = allure_page.build_page(folder)
    assert made is not None
    assert said in made.problem
    assert not (folder / allure_page.PLACE).exists()


def test_a_page_is_made_once_of_the_same_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sample_record.passed(tmp_path / "records").folder
    allure_record.write(folder, ())
    script = '[ "$1" = --version ] && echo 3.1.0 || { mkdir -p "$5"; echo "<html><head></head>$$" > "$5/index.html"; }'
    command = fake_allure(tmp_path, script)
    monkeypatch.setattr(allure_page, "find", lambda: command)
    path = folder / allure_page.PLACE
    for _ in range(2):
        made = allure_page.build_page(folder)
        assert made is not None
        assert made.problem == ""
    first = path.read_text("utf-8")
    allure_page.build_page(folder)
    assert path.read_text("utf-8") == first, "a seal over it stays valid"
    (folder / "allure-results" / "environment.properties").write_text("verdict=FAILED\n", "utf-8")
    allure_page.build_page(folder)
    assert path.read_text("utf-8") != first
    monkeypatch.setattr(allure_page, "find", lambda: None)
    (folder / "allure-results" / "environment.properties").write_text("verdict=ERROR\n", "utf-8")
    assert allure_page.build_page(folder) is None
    assert not path.exists(), "a page of other results would tell another story"


def test_without_allure_there_is_no_page_and_no_complaint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(allure_page.project, "ROOT", tmp_path)
    folder = sample_record.passed(tmp_path / "records").folder
    assert allure_page.build_page(folder) is None


@pytest.mark.skipif(ALLURE is None, reason="no allure on the PATH (npm install allure)")
@pytest.mark.timeout(180)
def test_the_page_holds_the_record_and_calls_nobody(tmp_path: Path) -> None:
    sample = sample_record.failed(tmp_path)
    allure_record.write(sample.folder, ())
    before = {path.name: path.read_bytes() for path in (sample.folder / "allure-results").iterdir()}
    made = allure_page.build_page(sample.folder)
    assert made is not None
    assert made.problem == ""
    assert {path.name: path.read_bytes() for path in (sample.folder / "allure-results").iterdir()} == before
    page = (sample.folder / allure_page.PLACE).read_text("utf-8")
    assert allure_page.references(page) == []
    assert [path.name for path in (sample.folder / "allure-report").iterdir()] == ["index.html"]
    if CHROMIUM is None:
        pytest.skip("no chromium: the page was made, and not opened")
    seen = tmp_path / "net.json"
    shown = subprocess.run(
        [
            *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--virtual-time-budget=10000", f"--log-net-log={seen}", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--dump-dom", (sample.folder / allure_page.PLACE).as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    ).stdout
    assert "FAILED" in shown, "its title says what the upgrade came to"
    assert "3 Cutover" in shown
    asked = {
        event["params"]["url"]
        for event in json.loads(seen.read_text("utf-8"))["events"]
        if str(event.get("params", {}).get("url", "")).startswith(("http:", "https:", "ws:", "wss:"))
    }
    ours = {url for url in asked if not any(host in url for host in ("google.com", "googleapis.com", "gvt1.com"))}
    assert not ours, "the browser's own calls home apart"
