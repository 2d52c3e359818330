"""How long the reports of a big record take to make, and its pages to open in a browser.

    .venv/bin/python bench/reports.py [--json] [--items 100000] [--samples 5000]

The record is one of the tests' (`tests/reports/sample_record.py`) with 5,000 measurements of ten gates and two
snapshots of 100,000 items without a site. A page is opened from its file by a browser without a window; `opens_s` is
what the page itself has measured from the start of its navigation until it is loaded and laid out, the middle of three
times.
Keys, each with `make_s`, `cpu_s` (the processor's time in it), `bytes` and `opens_s`: `report.html`,
`evidence/continuity.html`; without `opens_s`: `report.pdf`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
# Without bench/ itself, which has a platform.py.
sys.path[:1] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests" / "reports")]

import sample_record  # noqa: E402  # of the tests

from bench import generated  # noqa: E402
from reports import build  # noqa: E402

ROUNDS = 3
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_TIMER = """<script>addEventListener("load", () => {
  document.body.getBoundingClientRect();
  document.documentElement.dataset.opened = performance.now();
});</script>"""


def write(folder: Path, *, items: int, samples: int) -> Path:
    """Write the record and return its folder."""
    sample = sample_record.Sample(folder)
    sample.begin()
    sample.passes("1.1a")
    sample.weight(10)
    for number in range(samples):
        sample.clock.advance(0.5)
        sample.verdict(f"gate_{number % 10}", title=f"Gate {number % 10}")
    sample.decide()
    sample.load(seconds=600)
    (sample.folder / "evidence").mkdir()
    for name, end in (("before", items), ("after", items + items // 100)):
        generated.write(sample.folder / "evidence" / name, generated.Items(end=end).lines())
    facts = {"before": items, "after": items + items // 100, "missing": 0, "changed": 0, "added": items // 100}
    sample.journal.write("evidence", clause="E.1", **facts, unchanged=items)
    sample.passes("E.1")
    sample.end("PASSED", exit_code=0)
    return sample.folder


def opens_s(page: Path, scratch: Path) -> float | None:
    """Return how long a page takes until it is laid out; None without a browser."""
    if CHROMIUM is None:
        return None
    timed = page.with_name("timed.html")
    source = _POLICY.sub("", page.read_text("utf-8"), count=1)  # it would not let our timer run
    timed.write_text(source.replace("</body>", f"{_TIMER}</body>"), "utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    found = []
    for number in range(ROUNDS):
        ran = subprocess.run(
            [CHROMIUM, *options, f"--user-data-dir={scratch / str(number)}", "--dump-dom", timed.as_uri()],
            capture_output=True,
            timeout=120,
            check=True,
        )
        said = re.search(r'data-opened="([\d.]+)"', ran.stdout.decode("utf-8"))
        if said is not None:
            found.append(float(said[1]) / 1000)
    timed.unlink()
    return median(found) if found else None


def measure(*, items: int, samples: int) -> dict[str, dict[str, Any]]:
    """Make every report of a big record once, and open its pages."""
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = write(Path(scratch) / "records", items=items, samples=samples)
        for name in ("continuity.html", "report.html", "report.pdf"):
            started, cpu_started = time.perf_counter(), time.process_time()
            (made,) = build.build(folder, names=[name])
            if made.problem:
                raise SystemExit(f"{name}: {made.problem}")
            figures: dict[str, Any] = {"make_s": round(time.perf_counter() - started, 2)}
            figures["cpu_s"] = round(time.process_time() - cpu_started, 2)
            figures["bytes"] = made.path.stat().st_size
            if name.endswith(".html"):
                took_s = opens_s(made.path, Path(scratch) / name)
                figures["opens_s"] = round(took_s, 2) if took_s is not None else None
            found[str(made.path.relative_to(folder))] = figures
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=5000)
    given = parser.parse_args()
    found = measure(items=given.items, samples=given.samples)
    if given.json:
        print(json.dumps(found, indent=1))
        return
    for name, figures in found.items():
        opened = f", opens in {figures['opens_s']} s" if figures.get("opens_s") is not None else ""
        made = f"{figures['make_s']} s to make ({figures['cpu_s']} s of the processor)"
        print(f"{name}: {made}, {figures['bytes'] / 1e6:.1f} MB{opened}")


if __name__ == "__main__":
    main()
