from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.protocol.datetimes import parse, reread, write
from tests.strategies import instants, offsets, spellings

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [UTC, BERLIN, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Etc/GMT+12")]


def microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


EARLIEST = microseconds(datetime(1999, 12, 31, tzinfo=UTC))
LATEST = microseconds(datetime(2101, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    [
        "2016-01-20 13:00:00 GMT",
        "2016-01-20 13:00:00 UTC",
        "2016-01-20 13:00:00 Z",
        "2016-01-20 13:00:00GMT",
        "2016-01-20 13:00:00Z",
        "2016-01-20T13:00:00Z",
        "2016-01-20t13:00:00z",
        "2016-01-20T13:00:00.000Z",
        "2016-01-20T13:00Z",
        "2016-01-20 14:00:00 +01:00",
        "2016-01-20 14:00:00+0100",
        "2016-01-20T14:00:00+01",
        "2016-01-20T12:30:00-00:30",
        "2016-01-20T13:00:00-00:00",
        "2016-01-21T12:59:00+23:59",
        "2016-01-19T13:01:00-23:59",
    ],
)
@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_a_zone_in_the_text_stands_above_the_interfaces(text: str, zone: tzinfo) -> None:
    assert write(parse(text, zone)) == "2016-01-20T13:00:00+00:00"


@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("2016-01-20 13:00:00", UTC, "2016-01-20T13:00:00+00:00"),
        ("2016-01-20 13:00:00", BERLIN, "2016-01-20T12:00:00+00:00"),
        ("2016-07-20T13:00:00", BERLIN, "2016-07-20T11:00:00+00:00"),
        ("2016-01-20T13:00", BERLIN, "2016-01-20T12:00:00+00:00"),
    ],
)
def test_without_a_zone_the_interfaces_counts(text: str, zone: tzinfo, utc: str) -> None:
    assert write(parse(text, zone)) == utc


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2016-10-30 01:59:59", "2016-10-29T23:59:59+00:00"),
        ("2016-10-30 02:00:00", "2016-10-30T00:00:00+00:00"),
        ("2016-10-30 02:59:59", "2016-10-30T00:59:59+00:00"),
        ("2016-10-30 03:00:00", "2016-10-30T02:00:00+00:00"),
    ],
)
def test_a_repeated_hour_means_the_first_of_the_two(text: str, utc: str) -> None:
    assert write(parse(text, BERLIN)) == utc


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2016-03-27 01:59:59", "2016-03-27T00:59:59+00:00"),
        ("2016-03-27 02:30:00", "2016-03-27T01:30:00+00:00"),
        ("2016-03-27 03:00:00", "2016-03-27T01:00:00+00:00"),
    ],
)
def test_a_skipped_hour_is_read_with_the_offset_before_the_change(text: str, utc: str) -> None:
    assert write(parse(text, BERLIN)) == utc


@pytest.mark.parametrize(
    ("fraction", "micros"),
    [
        ("", 0),
        (".5", 500_000),
        (",5", 500_000),
        (".123", 123_000),
        (".000001", 1),
        (".1234567", 123_456),
        (".999999999", 999_999),
    ],
)
def test_fractions_are_kept_to_the_microsecond(fraction: str, micros: int) -> None:
    whole = parse("2016-01-20T13:00:00Z", UTC)
    assert parse(f"2016-01-20T13:00:00{fraction}Z", UTC) == whole + micros


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1453294800",
        "2016-01-20",
        "13:00:00",
        "20160120T130000Z",
        "2016-W03-3T13:00:00Z",
        "2016-020T13:00:00Z",
        "2016-1-20 13:00:00 GMT",
        "16-01-20 13:00:00 GMT",
        "20.01.2016 13:00:00",
        "2016/01/20 13:00:00",
        "Wed, 20 Jan 2016 13:00:00 GMT",
        "2016-01-20 1:00:00 PM",
        "2016-01-20_13:00:00Z",
        "2016-01-20  13:00:00 GMT",
        " 2016-01-20 13:00:00 GMT",
        "2016-01-20 13:00:00 GMT ",
        "2016-01-20 13:00:00 GMT\n",
        "2016-01-20 13:00:00  GMT",
        "2016-01-20 13:00:00 gmt",
        "2016-01-20 13:00:00 CET",
        "2016-01-20 13:00:00 EST",
        "2016-01-20 13:00:00 Europe/Berlin",
        "2016-01-20 13:00:00 GMT+1",
        "2016-01-20 13:00:00 +1",
        "2016-01-20 13:00:00 +01:0",
        "2016-01-20 13:00:00 +01:60",
        "2016-01-20 13:00:00 +24:00",
        "2016-01-20 13:00:00 +01:00:00",
        "2016-01-20 13:00:00 −01:00",
        "2016-01-20 13:00:00.Z",
        "2016-01-20 13:00:00.1234567890Z",
        "2016-01-20 13:00.5Z",
        "２０１６-01-20 13:00:00 GMT",
        "2016-01-20 13:00:0٣ GMT",
        "+2016-01-20 13:00:00",
        "-2016-01-20 13:00:00",
        "12016-01-20 13:00:00",
    ],
)
def test_other_spellings_are_refused_with_one_to_copy(text: str) -> None:
    with pytest.raises(ValueError, match="2016-01-20 13:00:00 GMT"):
        parse(text, UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2016-02-30 13:00:00 GMT",
        "2015-02-29 13:00:00 GMT",
        "2100-02-29 13:00:00 GMT",
        "2016-04-31 13:00:00 GMT",
        "2016-00-20 13:00:00 GMT",
        "2016-13-20 13:00:00 GMT",
        "2016-01-00 13:00:00 GMT",
        "2016-01-32 13:00:00 GMT",
        "2016-01-20 24:00:00 GMT",
        "2016-01-20 13:60:00 GMT",
        "2016-12-31 23:59:60 GMT",
    ],
)
def test_what_no_calendar_or_clock_shows_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"day|month|hour|minute|second"):
        parse(text, UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2000-01-01 00:00:00 GMT",
        "2000-02-29 00:00:00 GMT",
        "2100-12-31 23:59:59.999999 GMT",
        "2000-01-01 00:00:00 +23:59",
        "2100-12-31 23:59:59 -23:59",
    ],
)
def test_the_years_2000_to_2100_are_taken_as_written(text: str) -> None:
    parse(text, UTC)


@pytest.mark.parametrize(
    "text",
    [
        "1999-12-31 23:59:59 GMT",
        "1999-12-31 23:59:59 -01:00",
        "2101-01-01 00:00:00 GMT",
        "2101-01-01 00:00:00 +01:00",
        "1970-01-01 00:00:00 GMT",
        "0001-01-01 00:00:00 +23:59",
        "0001-01-01 00:00:00",
        "0000-01-01 00:00:00 GMT",
        "9999-12-31 23:59:59.999999999 -23:59",
        "9999-12-31 23:59:59",
    ],
)
@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_other_years_are_refused_in_every_zone(text: str, zone: tzinfo) -> None:
    with pytest.raises(ValueError, match="year"):
        parse(text, zone)


@given(instants, st.sampled_from(ZONES))
def test_an_instant_reads_back_as_it_was_written(moment: datetime, zone: tzinfo) -> None:
    instant = microseconds(moment)
    assert parse(write(instant), zone) == instant


@given(instants, offsets, st.sampled_from(ZONES))
def test_every_spelling_of_a_moment_is_the_same_instant(
    moment: datetime, offset: tzinfo, zone: tzinfo
) -> None:
    assert parse(moment.astimezone(offset).isoformat(), zone) == microseconds(moment)


@given(st.data())
def test_documented_spellings_mean_their_moment(data: st.DataObject) -> None:
    moment = data.draw(instants)
    assert parse(data.draw(spellings(st.just(moment))), BERLIN) == microseconds(moment)


@given(
    st.text()
    | st.text("0123456789-:+., TtZzGMUC", max_size=40)
    | st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([+-][0-9]{4})?\Z"),
    st.sampled_from(ZONES),
)
def test_no_text_does_worse_than_a_value_error(text: str, zone: tzinfo) -> None:
    with suppress(ValueError):
        assert EARLIEST <= parse(text, zone) <= LATEST


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("2000-01-01T00:00:00.000001+14:00", UTC),
        ("2100-12-31T23:59:59-12:00", UTC),
        ("2016-01-20 13:00:00", BERLIN),
    ],
)
def test_what_was_written_is_read_again_though_its_year_is_another_in_utc(
    text: str, zone: tzinfo
) -> None:
    instant = parse(text, zone)
    assert reread(write(instant)) == instant
