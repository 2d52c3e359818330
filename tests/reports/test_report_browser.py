"""report.html in a browser: nothing on the console, nothing from outside, legible on a phone, a desk and at night."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import browser
import pytest
import sample_record

from reports import html, record

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason="no browser is installed")
LONG = "registry.example.test/stella/" + "a" * 180


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the page of a run that went back, with words that nothing can break in every table."""
    folder = sample_record.failed(tmp_path_factory.mktemp("records"), seen=LONG, cause=LONG, remedy=LONG).folder
    return write(folder)


def write(folder: Path) -> Path:
    page = folder / "report.html"
    page.write_text(html.build(record.read(folder)), "utf-8")
    return page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
def test_it_is_legible_and_silent(made: Path, tmp_path: Path, width: int, dark: bool) -> None:
    opened = browser.open_page(made, tmp_path, width=width, dark=dark)
    facts = opened.facts
    assert opened.console == []
    assert opened.requests == []
    assert facts["width"] == width
    assert facts["wide"] == [], "what is wider than the page scrolls by itself"
    assert facts["needed"] <= width
    assert facts["pale"] == [], "every text has a contrast of 4.5 to 1 at the least"
    assert facts["nameless"] == 0, "everything to click has a name"
    assert facts["unreachable"] == 0, "what scrolls can be reached with the keyboard"
    assert facts["ground"] == ("rgb(18, 23, 30)" if dark else "rgb(255, 255, 255)")


def test_headings_leave_no_level_out(made: Path, tmp_path: Path) -> None:
    levels = browser.open_page(made, tmp_path).facts["headings"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_the_browser_would_tell_of_a_request_and_of_an_error(made: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    source = made.read_text("utf-8").replace("default-src 'none'; ", "img-src http:; ").replace("img-src data:; ", "")
    page.write_text(source.replace("</main>", '<img alt="x" src="http://127.0.0.1:9/x.png"></main>'), "utf-8")
    opened = browser.open_page(page, tmp_path / "loads")
    assert opened.requests == ["http://127.0.0.1:9/x.png"]
    page.write_text(made.read_text("utf-8").replace("</body>", "<script>nothing.at.all</script></body>"), "utf-8")
    assert any("nothing is not defined" in line for line in browser.open_page(page, tmp_path / "breaks").console)


def test_five_thousand_measurements_stay_within_what_a_browser_opens_at_once(tmp_path: Path) -> None:
    sample = sample_record.Sample(tmp_path)
    sample.begin()
    sample.passes("1.1a")
    sample.weight(10)
    for number in range(5000):
        sample.clock.advance(0.5)
        result = "FAIL" if number == 4321 else "PASS"
        sample.verdict(f"gate_{number % 10}", title=f"Gate {number % 10}", result=result, reason="too slow")
    sample.clock.advance(timedelta(minutes=1).total_seconds())
    sample.end("FAILED", exit_code=1)
    page = write(sample.folder)
    opened = browser.open_page(page, tmp_path / "scratch")
    assert page.read_text("utf-8").count("<td>fail: too slow</td>") == 1, "every measurement is in the page"
    assert opened.facts["nodes"] < 60_000
    assert page.stat().st_size < 3_000_000
    assert opened.console == []
