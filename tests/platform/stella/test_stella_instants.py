"""An instant is ISO 8601, aware and in UTC; anything relative is refused with an example."""

import datetime as dt

import click
import pytest

from rehearsal.platform.stella import instants


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2027-04-30", dt.datetime(2027, 4, 30, tzinfo=dt.UTC)),
        ("2027-04-30T21:15:00Z", dt.datetime(2027, 4, 30, 21, 15, tzinfo=dt.UTC)),
        ("2027-04-30T21:15:00.250000Z", dt.datetime(2027, 4, 30, 21, 15, 0, 250_000, tzinfo=dt.UTC)),
        ("2027-04-30T21:15:00", dt.datetime(2027, 4, 30, 21, 15, tzinfo=dt.UTC)),
        ("2027-04-30T21:15+02:00", dt.datetime(2027, 4, 30, 19, 15, tzinfo=dt.UTC)),
        ("20270430T211500Z", dt.datetime(2027, 4, 30, 21, 15, tzinfo=dt.UTC)),
    ],
)
def test_dates_and_timestamps_become_utc(text: str, expected: dt.datetime):
    seen = instants.parse_since(text)
    assert seen == expected
    assert seen.utcoffset() == dt.timedelta(0)


@pytest.mark.parametrize("text", ["1 hour ago", "", "yesterday", "2027-13-01", "1714500000"])
def test_anything_else_is_refused_with_an_example(text: str):
    with pytest.raises(click.BadParameter, match="such as 2027-04-30"):
        instants.Instant().convert(text, None, None)


def test_an_instant_is_written_with_microseconds_and_z():
    moment = dt.datetime(2027, 4, 30, 21, 15, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert instants.rfc3339(moment) == "2027-04-30T19:15:00.000000Z"
