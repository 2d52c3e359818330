"""A page as a browser has it: what it says on its console, what it asks the network for, how it is laid out.

The page is opened from a copy with a script of ours behind it, which writes what it measures into the document.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

_PROBE = r"""
<script>
addEventListener("load", () => {
  const ratio = (one, other) => {
    const light = (c) => {
      const [r, g, b] = c.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const parts = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(one).backgroundColor);
      if (a > 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const pale = new Set();
  for (const one of document.body.querySelectorAll("*")) {
    if (one.closest("svg, script, style, .sr, .skip") || !one.checkVisibility()) continue;
    if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const found = ratio(parts(getComputedStyle(one).color).slice(0, 3), ground(one));
    if (found < 4.5) pale.add(one.tagName + "." + one.className + " " + found.toFixed(2));
  }
  const named = (one) => one.getAttribute("aria-label") || one.textContent.trim() || one.getAttribute("placeholder");
  const facts = {
    width: innerWidth,
    needed: document.documentElement.scrollWidth,
    nodes: document.querySelectorAll("*").length,
    pale: [...pale],
    ground: getComputedStyle(document.body).backgroundColor,
    headings: [...document.querySelectorAll("h1, h2, h3")].map((one) => Number(one.tagName[1])),
    nameless: [...document.querySelectorAll("a, button, input, summary, [role=group]")].filter((one) => !named(one))
      .length,
    unreachable: [...document.querySelectorAll(".scroll")].filter(
      (one) => one.scrollWidth > one.clientWidth + 1 && one.tabIndex < 0).length,
    wide: [...document.querySelectorAll("body *")].filter(
      (one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll, pre, .skip, .sr"))
      .map((one) => one.tagName + "." + (one.getAttribute("class") || "") + " " + one.textContent.trim().slice(0, 40)),
  };
  parent.postMessage(JSON.stringify(facts), "*");
});
</script>
"""
_OF_THE_BROWSER = "not an origin"
"""The initiator of what the browser asks for by itself."""
_FRAME = """<!DOCTYPE html><title>frame</title>
<script>addEventListener("message", (event) => { document.documentElement.dataset.facts = event.data; });</script>
<iframe src="probed.html" style="border: 0; width: %dpx; height: 2000px"></iframe>
"""
"""No window can be narrower than 500 pixels, so that a page is opened in a frame of the width that is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What came of opening a page."""

    facts: dict[str, Any]
    console: list[str]
    requests: list[str]
    """URLs that the page asked for, itself left out."""


def open_page(page: Path, scratch: Path, *, width: int = 1600, dark: bool = False) -> Opened:
    """Open a page in a browser without a window."""
    assert CHROMIUM is not None
    scratch.mkdir(parents=True, exist_ok=True)
    copied = page.with_name("probed.html")
    copied.write_text(page.read_text("utf-8").replace("</body>", f"{_PROBE}</body>"), "utf-8")
    net = scratch / "net.json"
    frame = page.with_name("frame.html")
    frame.write_text(_FRAME % width, "utf-8")
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--virtual-time-budget=8000",
        "--disable-background-networking",
        f"--window-size={width + 100},2100",
        f"--user-data-dir={scratch / 'profile'}",
        f"--log-net-log={net}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
    ]
    try:
        ran = subprocess.run(  # a browser on a file of ours
            [CHROMIUM, *options, "--dump-dom", frame.as_uri()], capture_output=True, timeout=50, check=True
        )
    finally:
        copied.unlink()
        frame.unlink()
    found = re.search(r'data-facts="([^"]*)"', ran.stdout.decode("utf-8"))
    assert found is not None, "the page never ended loading"
    console = re.findall(r"CONSOLE.*", ran.stderr.decode("utf-8", "replace"))
    events = (event.get("params") or {} for event in json.loads(net.read_text("utf-8"))["events"])
    asked = {
        str(one["url"]) for one in events if "url" in one and one.get("initiator", _OF_THE_BROWSER) != _OF_THE_BROWSER
    }
    return Opened(
        facts=json.loads(html.unescape(found[1])),
        console=console,
        requests=sorted(asked - {copied.as_uri(), frame.as_uri()}),
    )
