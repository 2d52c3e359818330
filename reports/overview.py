"""Every upgrade of a folder of records, failed ones too: a row for each, totals for each site, and `index.html`.

Invariants: a folder that holds anything of a record has a row, also when nothing in it can be read, and says so; what a
row says is the newest verdict's, or the journal's where a run went on after it or has none; an upgrade that did not end
never counts as one that did; nothing of a record is written, and no page that is not ours is written over.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cutover.clock import parse_rfc3339, rfc3339
from cutover.record import signer
from reports import shapes, wording

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from reports.shapes import Drawing

NAME: Final = "index.html"
SCHEMA: Final = "cutover/records/v1"
RUNNING, BROKEN_OFF, UNREADABLE = "RUNNING", "BROKEN OFF", "UNREADABLE"
"""Where an upgrade stands that has no verdict of its own end."""
_OURS = b'<meta name="generator" content="cutover records">'
_HEAD_BYTES = 4096
_JOURNAL, _VERDICT, _SEAL, _PAGE = "journal.jsonl", "verdict.json", "seal.json", "report.html"
_RECENT = 5
_MOST_DRAWN = 120
_TAIL_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One upgrade."""

    id: str
    folder: str
    """Its name in the folder of records."""
    state: str
    """The verdict's result, or RUNNING, BROKEN OFF or UNREADABLE."""
    site: str = ""
    kind: str = ""
    from_release: str = ""
    to_release: str = ""
    strategy: str = ""
    scope: str = ""
    drill: str = ""
    """The drill that it was; empty for an upgrade."""
    operator: str = ""
    started: datetime | None = None
    finished: datetime | None = None
    """The time of the last line that counts."""
    attempts: int = 1
    passed: int | None = None
    """Clauses; None without a verdict."""
    clauses: int | None = None
    attempted: int | None = None
    """Requests at the public host; None without a verdict."""
    failed: int | None = None
    went_back: bool = False
    back_s: float | None = None
    """Seconds until blue served again."""
    serves: str = ""
    """Who served after the way back; empty when it was not taken."""
    observation: str = ""
    reason: str = ""
    """Why it did not pass: the first of the verdict's reasons."""
    seal: str = "none"
    """signed, unsigned or none; whether it holds is `cutover verify`'s to say."""
    previous: str = ""
    """The upgrade before it on the same site, where it names one."""
    page: str = ""
    """Its report, relative to the folder of records; empty when there is none."""
    problem: str = ""
    """What could not be read."""

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to finish, of one that ended."""
        if self.started is None or self.finished is None or self.state in {RUNNING, BROKEN_OFF, UNREADABLE}:
            return None
        took_s = (self.finished - self.started).total_seconds()
        return took_s if took_s >= 0 else None

    @property
    def is_whole(self) -> bool:
        """Whether it is an upgrade from its beginning to its end, whose duration may be compared with another's."""
        return self.state == "PASSED" and self.scope == "all" and not self.drill and self.attempts == 1

    def document(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        found = {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in asdict(self).items()}
        return {**found, "duration_s": self.duration_s}


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the upgrades of one site came to together."""

    site: str
    upgrades: int
    by_state: Mapping[str, int]
    attempted: int
    failed: int
    ways_back: int
    slowest_back_s: float | None
    """None when no way back was taken, or its time is not known."""
    median_s: float | None
    """Of the upgrades that passed from beginning to end in one attempt; None without one."""
    recent_median_s: float | None
    """Of the newest five of them; None unless there are more than those."""

    @property
    def sentence(self) -> str:
        """All of it in words."""
        states = ", ".join(f"{number} {state.lower().replace('_', ' ')}" for state, number in self.by_state.items())
        parts = [
            f"{wording.many(self.upgrades, 'record')}: {states}",
            f"{wording.count(self.failed)} of {wording.many(self.attempted, 'request')} failed"
            if self.attempted
            else "",
            self._back(),
            self._took(),
        ]
        return "; ".join(part for part in parts if part)

    def _back(self) -> str:
        if not self.ways_back:
            return "no way back was taken"
        slowest = f", the slowest in {wording.duration(self.slowest_back_s)}" if self.slowest_back_s is not None else ""
        return f"{wording.many(self.ways_back, 'way', 'ways')} back taken{slowest}"

    def _took(self) -> str:
        if self.median_s is None:
            return ""
        whole = f"one that passed takes {wording.duration(self.median_s)} (median)"
        recent = f", the last {_RECENT} took {wording.duration(self.recent_median_s)}" if self.recent_median_s else ""
        return whole + recent


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A folder of records."""

    folder: Path
    rows: tuple[Row, ...]
    """The oldest first."""
    totals: tuple[Totals, ...] = field(default=())
    """One a site, in the order of their first records."""

    def document(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {
            "schema": SCHEMA,
            "folder": str(self.folder),
            "records": [row.document() for row in self.rows],
            "totals": [asdict(one) for one in self.totals],
        }


def read(folder: Path, *, site: str = "") -> Overview:
    """Return every record in a folder; site: those of one site alone. Raises OSError when the folder cannot be read."""
    found = [_row(path) for path in sorted(folder.iterdir()) if _is_record(path)]
    earliest = datetime.min.replace(tzinfo=UTC)
    rows = sorted(
        (row for row in found if site in {"", row.site}), key=lambda row: (row.started or earliest, row.folder)
    )
    sites = dict.fromkeys(row.site for row in rows)
    return Overview(
        folder=folder, rows=tuple(rows), totals=tuple(_totals([r for r in rows if r.site == one]) for one in sites)
    )


def _is_record(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in (_JOURNAL, _VERDICT))


def _row(path: Path) -> Row:
    problems: list[str] = []
    verdict = _json(path / _VERDICT, problems)
    first, last = _ends(path / _JOURNAL, problems)
    head = _object(first.get("data")) if first.get("event") == "run_started" else {}
    went_on = bool(verdict) and bool(last) and _went_on(verdict, last)
    target = _object(verdict.get("target")) or _object(head.get("target"))
    upgrade, load, back = (_object(verdict.get(name)) for name in ("upgrade", "load", "rollback"))
    counts, attempts = _object(verdict.get("counts")), verdict.get("attempts")
    reasons = verdict.get("reasons")
    state = _text(verdict.get("result"))
    if not state or went_on:
        state = _unended(path / _JOURNAL) if first else UNREADABLE
    return Row(
        id=_text(upgrade.get("id")) or _text(head.get("upgrade_id")) or path.name,
        folder=path.name,
        state=state,
        site=_text(target.get("name")),
        kind=_text(target.get("kind")),
        from_release=_text(upgrade.get("from")) or _text(head.get("from")),
        to_release=_text(upgrade.get("to")) or _text(head.get("to")),
        strategy=_text(verdict.get("strategy")) or _text(head.get("strategy")),
        scope=_text(verdict.get("scope")) or _text(head.get("scope")),
        drill=_text(head.get("drill")),
        operator=_text(verdict.get("operator")) or _text(head.get("operator")),
        started=_time(verdict.get("started")) or _time(first.get("time")),
        finished=_time(last.get("time")) if went_on or not verdict else _time(verdict.get("finished")),
        attempts=len(attempts) if isinstance(attempts, list) and attempts else 1,
        passed=_whole(counts.get("PASS")) if verdict else None,
        clauses=sum(_whole(number) or 0 for number in counts.values()) if verdict else None,
        attempted=_whole(load.get("attempted")) if verdict else None,
        failed=_whole(load.get("failed")) if verdict else None,
        went_back=back.get("performed") is True,
        back_s=_number(back.get("took_s")),
        serves=_text(back.get("serves")) if back.get("performed") is True else "",
        observation=_text(_object(verdict.get("observation")).get("state")),
        reason=_text(reasons[0]) if isinstance(reasons, list) and reasons else "",
        seal=_seal(path / _SEAL),
        previous=_text(_object(head.get("previous")).get("id")),
        page=f"{path.name}/{_PAGE}" if (path / _PAGE).is_file() else "",
        problem="; ".join(problems),
    )


def _unended(journal: Path) -> str:
    from cutover.runbook.journal import Journal  # noqa: PLC0415  # only for what has no end

    try:
        return RUNNING if Journal.is_held(journal) else BROKEN_OFF
    except OSError:
        return BROKEN_OFF


def _went_on(verdict: Mapping[str, Any], last: Mapping[str, Any]) -> bool:
    """Whether the journal has lines after the end that the verdict names."""
    sealed = _object(verdict.get("journal")).get("head")
    return bool(sealed) and last.get("digest") != sealed


def _seal(path: Path) -> str:
    if not path.is_file():
        return "none"
    kind = _text(_object(_json(path, []).get("signature")).get("kind"))
    return "unsigned" if kind in {"", signer.NONE} else "signed"


def _ends(path: Path, problems: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a journal's first and last line; a line that a killed process left half written is passed over."""
    try:
        with path.open("rb") as file:
            first = file.readline()
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            tail = file.read().splitlines()
    except OSError as problem:
        problems.append(f"{_JOURNAL}: {problem.strerror or problem}")
        return {}, {}
    begun, lines = _line(first), [line for raw in reversed(tail) if (line := _line(raw))]
    if not begun:
        problems.append(f"{_JOURNAL} begins with no line of a journal")
    return begun, lines[0] if lines else begun


def _line(raw: bytes) -> dict[str, Any]:
    try:
        return _object(json.loads(raw))
    except ValueError:
        return {}


def _json(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as problem:
        problems.append(f"{path.name}: {problem}")
        return {}
    if not isinstance(document, dict):
        problems.append(f"{path.name} is no JSON object")
    return _object(document)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    """Return a finite number that is not negative: nothing that is counted or measured here is."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return float(value)


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int) and _number(value) is not None else None


def _time(value: object) -> datetime | None:
    try:
        return parse_rfc3339(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _totals(rows: Sequence[Row]) -> Totals:
    whole = [row.duration_s for row in rows if row.is_whole and row.duration_s is not None]
    back = [row.back_s for row in rows if row.went_back and row.back_s is not None]
    return Totals(
        site=rows[0].site,
        upgrades=len(rows),
        by_state=dict(Counter(row.state for row in rows).most_common()),
        attempted=sum(row.attempted or 0 for row in rows),
        failed=sum(row.failed or 0 for row in rows),
        ways_back=sum(row.went_back for row in rows),
        slowest_back_s=max(back, default=None),
        median_s=statistics.median(whole) if whole else None,
        recent_median_s=statistics.median(whole[-_RECENT:]) if len(whole) > _RECENT else None,
    )


# -- the page ----------------------------------------------------------------------------------------------------------


def write(folder: Path) -> Path | None:
    """Write the folder's `index.html` anew, and return it; None when a page that is not ours is in its place.

    Raises OSError.
    """
    return keep(folder, build(read(folder)))


def keep(folder: Path, page: str) -> Path | None:
    """Write a page as the folder's `index.html`; returns and raises as `write`."""
    path = folder / NAME
    if path.exists() and not is_ours(path):
        return None
    content = page.encode()
    # Several runs may end at once in one folder: each writes under a name of its own, the last one stays.
    handle, name = tempfile.mkstemp(prefix=f".{NAME}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        usual = os.umask(0)
        os.umask(usual)
        Path(name).chmod(0o666 & ~usual)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    return path


def is_ours(path: Path) -> bool:
    """Whether a page was written here, or is nobody's yet: an empty file."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return not head or _OURS in head


def build(overview: Overview) -> str:
    """Return the page: the newest upgrade first."""
    from markupsafe import Markup  # noqa: PLC0415  # templates, only when a page is made

    from reports import html  # noqa: PLC0415

    picture = draw(overview.rows)
    return (
        html.environment()
        .get_template("records.html.j2")
        .render(
            overview=overview,
            rows=tuple(reversed(overview.rows)),
            words=wording,
            look=look,
            picture=Markup(shapes.svg(picture)) if picture is not None else None,  # noqa: S704  # svg() escapes
            drawn=min(len(overview.rows), _MOST_DRAWN),
            looks=Markup(shapes.css()),  # noqa: S704  # constants of ours
        )
    )


def look(state: str) -> str:
    """Return how a state looks: as a passed, a failed or an undecided clause does, or as one that was not run."""
    if state == "PASSED":
        return "pass"
    if state in {"FAILED", "ERROR", UNREADABLE}:
        return "fail"
    return "not_run" if state == RUNNING else "inconclusive"


_WIDTH, _LEFT, _LANE, _GAP = 1072.0, 118.0, 62.0, 26.0
_WIDEST = 34.0
_LEAST = 1.5
_BARS: Final[Mapping[str, str]] = {"pass": "good", "fail": "bad", "inconclusive": "undecided", "not_run": "other-area"}


def draw(rows: Sequence[Row]) -> Drawing | None:
    """Draw how long each upgrade took, how many requests failed and how long the way back took; None without any."""
    shown = rows[-_MOST_DRAWN:]
    if not shown:
        return None
    lanes: tuple[tuple[str, Sequence[float | None], Callable[[float | None], str]], ...] = (
        ("took", [row.duration_s or 0.0 for row in shown], wording.duration),
        ("failed requests", [None if row.failed is None else float(row.failed) for row in shown], wording.count),
        ("way back", [row.back_s if row.went_back else None for row in shown], wording.duration),
    )
    drawing = shapes.Drawing(
        name="trend",
        title="Upgrades over time",
        width=_WIDTH,
        height=len(lanes) * (_LANE + _GAP) + 22,
        description=f"For each of the last {len(shown)} upgrades, oldest first: how long it took, how many requests "
        "failed, and how long the way back took where it was taken. The table below has every number.",
    )
    step = (_WIDTH - _LEFT) / len(shown)
    for number, (title, values, words) in enumerate(lanes):
        bottom = number * (_LANE + _GAP) + _GAP + _LANE
        most = max((value for value in values if value is not None), default=0.0)
        drawing.label(0, bottom - _LANE / 2, title, "strong")
        drawing.label(0, bottom - _LANE / 2 + 15, f"at most {words(most)}" if most else "none", "soft")
        drawing.path(((_LEFT, bottom), (_WIDTH, bottom)), "rule")
        for place, (row, value) in enumerate(zip(shown, values, strict=True)):
            if value is None or (title == "failed requests" and not value):
                continue
            height = max(_LEAST, value / most * _LANE) if value else _LEAST
            width = min(_WIDEST, step * 0.7)
            left = _LEFT + place * step + (step - width) / 2
            painted = "bad" if title == "failed requests" else _BARS[look(row.state)]
            hint = f"{row.folder}: {row.state}" + (f", {title} {words(value)}" if value or title != "took" else "")
            drawing.box(left, bottom - height, width, height, look=painted, hint=hint)
    drawing.label(_LEFT, drawing.height - 4, shown[0].folder, "soft")
    if len(shown) > 1:
        drawing.label(_WIDTH, drawing.height - 4, shown[-1].folder, "soft", "end")
    return drawing
