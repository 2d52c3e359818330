"""Container logs: what a reader sees of the lines, and how it follows a writer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from rehearsal.node import logs
from rehearsal.node.loglines import LONGEST_CHUNK, LogQuery, format_lines, parse_query, select
from rehearsal.node.logs import ContainerLog, read_log, tail_of

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2027, 1, 4, 12, 0, 10, tzinfo=UTC)
LINES = [
    b"2027-01-04T12:00:00.000000000Z stdout F one\n",
    b"2027-01-04T12:00:05.500000000Z stderr F two words\n",
    b"2027-01-04T12:00:09.000000000Z stdout F three\n",
]


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        (LogQuery(), b"one\ntwo words\nthree\n"),
        (LogQuery(tail_lines=2), b"two words\nthree\n"),
        (LogQuery(tail_lines=0), b""),
        (LogQuery(tail_lines=9), b"one\ntwo words\nthree\n"),
        (LogQuery(stream="Stderr"), b"two words\n"),
        (LogQuery(since=NOW - timedelta(seconds=5)), b"two words\nthree\n"),
        (LogQuery(timestamps=True, tail_lines=1), b"2027-01-04T12:00:09.000000000Z three\n"),
    ],
)
def test_selection(query: LogQuery, seen: bytes) -> None:
    assert select(LINES, query) == seen


def test_damaged_lines_are_skipped() -> None:
    assert select([b"\n", b"nonsense\n", *LINES[:1]], LogQuery()) == b"one\n"


def test_a_long_line_is_kept_in_chunks_and_shown_whole() -> None:
    text = b"x" * (2 * LONGEST_CHUNK + 5)
    stored = format_lines([b"short", text], "stdout", "2027-01-04T12:00:00.000000000Z")
    lines = stored.splitlines(keepends=True)
    assert [line.split(b" ", 3)[2] for line in lines] == [b"F", b"P", b"P", b"F"]
    assert select(lines, LogQuery()) == b"short\n" + text + b"\n"
    assert select(lines, LogQuery(tail_lines=1)) == text + b"\n"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, LogQuery()),
        ({"follow": "true", "previous": "false"}, LogQuery(follow=True)),
        ({"tailLines": "5", "limitBytes": "10"}, LogQuery(tail_lines=5, limit_bytes=10)),
        ({"timestamps": "true"}, LogQuery(timestamps=True)),
        ({"sinceSeconds": "10"}, LogQuery(since=NOW - timedelta(seconds=10))),
        ({"sinceTime": "2027-01-04T12:00:00Z"}, LogQuery(since=NOW - timedelta(seconds=10))),
        ({"stream": "Stdout"}, LogQuery(stream="Stdout")),
    ],
)
def test_queries(query: dict[str, str], expected: LogQuery) -> None:
    assert parse_query(query, now=NOW) == expected


@pytest.mark.parametrize(
    "query", [{"tailLines": "-1"}, {"tailLines": "x"}, {"follow": "maybe"}, {"stream": "Both"}, {"sinceTime": "now"}]
)
def test_wrong_queries_are_refused(query: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_query(query, now=NOW)


async def collect(path: Path, live: ContainerLog | None, query: LogQuery) -> bytes:
    return b"".join([part async for part in read_log(path, live, query)])


def test_a_follower_sees_the_end_of_what_is_written(tmp_path: Path) -> None:
    async def run() -> bytes:
        log = ContainerLog(tmp_path / "0.log")
        log.write("stdout", [b"before"])
        reader = asyncio.create_task(collect(log.path, log, LogQuery(follow=True)))
        await asyncio.sleep(0)
        log.write("stdout", [b"during", b"again"])
        await asyncio.sleep(0)
        log.write("stderr", [b"last"])
        log.close()
        log.write("stderr", [b"lost"])
        return await asyncio.wait_for(reader, 5)

    assert asyncio.run(run()) == b"before\nduring\nagain\nlast\n"


def test_a_reader_that_does_not_follow_stops_at_the_end(tmp_path: Path) -> None:
    async def run() -> bytes:
        log = ContainerLog(tmp_path / "0.log")
        log.write("stdout", [b"one", b"two"])
        seen = await asyncio.wait_for(collect(log.path, log, LogQuery(limit_bytes=6)), 5)
        log.close()
        return seen

    assert asyncio.run(run()) == b"one\ntw"


def test_a_follower_passes_from_a_full_file_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LARGEST_BYTES", 200)

    async def run() -> bytes:
        log = ContainerLog(tmp_path / "0.log")
        reader = asyncio.create_task(collect(log.path, log, LogQuery(follow=True)))
        for number in range(20):
            log.write("stdout", [f"line {number}".encode()])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        log.close()
        return await asyncio.wait_for(reader, 5)

    assert asyncio.run(run()).splitlines() == [f"line {number}".encode() for number in range(20)]
    assert (tmp_path / "0.1").exists()


def test_the_tail_becomes_a_termination_message(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"".join(LINES))
    assert tail_of(path, lines=2, size_bytes=100) == "two words\nthree\n"
    assert tail_of(path, lines=2, size_bytes=6) == "three\n"
    assert tail_of(tmp_path / "absent", lines=2, size_bytes=6) == ""
