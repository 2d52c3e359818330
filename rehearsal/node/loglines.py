"""Container log lines as they lie on disk, and the part of them that a reader asks for.

Pure. A line is `2026-11-23T08:04:00.123456789Z stdout F text`: when it was read, from which stream, whether the text
ends a line (F) or goes on (P), and the text.

Source: the CRI log format that kubelet reads; options as Kubernetes API PodLogOptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rehearsal.node.shapes import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST_CHUNK = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """What a reader wants of a log; None is no limit. `since` is an aware UTC time."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: datetime | None = None
    stream: str = "All"


def parse_query(query: Mapping[str, str], *, now: datetime) -> LogQuery:
    """Return the options of a containerLogs request.

    Raises:
        ValueError: a value is not a number, a truth or a time, or it is negative.
    """
    since = None
    if query.get("sinceTime"):
        since = parse_time(query["sinceTime"])
    elif query.get("sinceSeconds"):
        since = now - timedelta(seconds=_count(query["sinceSeconds"], "sinceSeconds"))
    stream = query.get("stream") or "All"
    if stream not in {"All", "Stdout", "Stderr"}:
        raise ValueError(f"invalid stream type {stream}")
    return LogQuery(
        follow=_truth(query.get("follow")),
        previous=_truth(query.get("previous")),
        timestamps=_truth(query.get("timestamps")),
        tail_lines=_count(query["tailLines"], "tailLines") if query.get("tailLines") else None,
        limit_bytes=_count(query["limitBytes"], "limitBytes") if query.get("limitBytes") else None,
        since=since,
        stream=stream,
    )


def format_lines(lines: Iterable[bytes], stream: str, stamp: str) -> bytes:
    """Return lines of output, without their newlines, as lines of the log, all of one instant."""
    head = f"{stamp} {stream} ".encode()
    out = []
    for line in lines:
        text = line
        while len(text) > LONGEST_CHUNK:
            out.append(head + b"P " + text[:LONGEST_CHUNK] + b"\n")
            text = text[LONGEST_CHUNK:]
        out.append(head + b"F " + text + b"\n")
    return b"".join(out)


def render(line: bytes, query: LogQuery) -> bytes:
    """Return one line of the file as the reader sees it; empty when the reader did not ask for it or it is damaged."""
    stamp, _, rest = line.partition(b" ")
    stream, _, rest = rest.partition(b" ")
    flag, _, text = rest.partition(b" ")
    if flag not in {b"F", b"F\n", b"P", b"P\n"}:
        return b""
    if query.stream != "All" and stream.decode().capitalize() != query.stream:
        return b""
    if query.since is not None and parse_time(stamp.decode()) < query.since:
        return b""
    if flag.startswith(b"P"):
        text = text.removesuffix(b"\n")
    return stamp + b" " + text if query.timestamps else text


def select(lines: Iterable[bytes], query: LogQuery) -> bytes:
    """Return what the reader sees of the lines that are there now, cut to `limit_bytes` by the caller.

    `tail_lines` counts lines of the log, not partial chunks of one.
    """
    shown = [(line, text) for line in lines if (text := render(line, query))]
    if query.tail_lines is None:
        return b"".join(text for _, text in shown)
    wanted: list[bytes] = []
    seen = 0
    for line, text in reversed(shown):
        if line.split(b" ", 3)[2] == b"F":
            if seen == query.tail_lines:
                break
            seen += 1
        wanted.append(text)
    return b"".join(reversed(wanted))


def _truth(text: str | None) -> bool:
    if text is None or text in {"", "false", "0"}:
        return False
    if text in {"true", "1"}:
        return True
    raise ValueError(f"not a truth value: {text}")


def _count(text: str, name: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(f"{name} must not be negative")
    return number
