"""Working time, against a clock that is looked at minute by minute."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudsignal.server.insight import calendars
from cloudsignal.server.insight.calendars import (
    ALL_HOURS,
    DAY_MINUTES,
    HOLIDAYS_MAX,
    LAST_YEAR,
    Calendar,
    Shifts,
    UnfitCalendar,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE_US = 60_000_000
HOUR_S = 3600.0

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # half an hour of summer time
    "America/Havana",  # the clocks change at midnight
    "Pacific/Apia",  # 2011-12-30 never was
    "Africa/Casablanca",  # summer time but in Ramadan
)
CHANGES = (
    datetime(2011, 12, 30, 10, tzinfo=UTC),
    datetime(2026, 2, 15, 2, tzinfo=UTC),
    datetime(2026, 3, 8, 5, tzinfo=UTC),
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 11, 1, 5, tzinfo=UTC),
    datetime(2026, 12, 31, 23, tzinfo=UTC),
)
"""Moments around which clocks change, or years."""

OFFICE = calendars.read(
    """{"timezone": "Europe/Berlin", "holidays": ["2026-12-25"], "hours": {
        "mon": ["08:00-12:00", "13:00-17:00"], "tue": ["08:00-12:00", "13:00-17:00"],
        "wed": ["08:00-12:00", "13:00-17:00"], "thu": ["08:00-12:00", "13:00-17:00"],
        "fri": ["08:00-14:00"]}}"""
)
"""38 hours a week."""


def instant(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def berlin(text: str) -> int:
    return instant(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")))


def is_working(calendar: Calendar, when: int) -> bool:
    """Whether the partner's clock shows working time."""
    local = (EPOCH + timedelta(microseconds=when)).astimezone(ZoneInfo(calendar.timezone))
    minutes = local.hour * 60 + local.minute
    return local.date() not in calendar.holidays and any(
        begin <= minutes < end for begin, end in calendar.hours[local.weekday()]
    )


@st.composite
def shifts(draw: st.DrawFn) -> Shifts:
    times = sorted(draw(st.sets(st.integers(0, DAY_MINUTES), max_size=6)))
    return tuple(zip(times[::2], times[1::2], strict=False))


def made(draw: st.DrawFn, around: datetime) -> Calendar:
    hours = draw(st.tuples(*[shifts()] * 7).filter(any))
    days = st.integers(-3, 3).map(lambda days: (around + timedelta(days)).date())
    return Calendar(draw(st.sampled_from(ZONES)), hours, tuple(sorted(draw(st.sets(days)))))


@st.composite
def short_spans(draw: st.DrawFn) -> tuple[Calendar, int, int]:
    """A calendar, the start of a span of at most two days, and how many minutes it has."""
    around = draw(st.sampled_from(CHANGES))
    start = instant(around) + draw(st.integers(-2880, 1440)) * MINUTE_US
    return made(draw, around), start, draw(st.integers(0, 2880))


@settings(deadline=None)
@given(short_spans())
def test_working_time_is_what_the_clock_shows_minute_by_minute(
    span: tuple[Calendar, int, int],
) -> None:
    calendar, start, minutes = span
    expected = sum(is_working(calendar, start + n * MINUTE_US) for n in range(minutes))
    assert calendar.working_s(start, start + minutes * MINUTE_US) == expected * 60


@settings(deadline=None)
@given(short_spans())
def test_so_much_is_worked_at_the_end_of_the_minute_in_which_it_is(
    span: tuple[Calendar, int, int],
) -> None:
    calendar, start, minutes = span
    worked = 0
    for n in range(minutes):
        if is_working(calendar, start + n * MINUTE_US):
            worked += 1
            assert calendar.add(start, worked * 60.0) == start + (n + 1) * MINUTE_US


@settings(deadline=None)
@given(
    st.data(),
    st.sampled_from(CHANGES),
    st.integers(0, 40 * 366 * DAY_MINUTES * MINUTE_US),
    st.integers(0, 10**15),
)
def test_what_is_added_has_been_worked(
    data: st.DataObject, around: datetime, after: int, working_us: int
) -> None:
    calendar = made(data.draw, around)
    start = instant(around) + after
    end = calendar.add(start, working_us / 1e6)
    if end < instant(datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC)):
        assert calendar.working_s(start, end) == pytest.approx(working_us / 1e6, abs=1e-6)
        assert end == start or calendar.working_s(start, end - 1) < calendar.working_s(start, end)


@settings(deadline=None)
@given(
    st.data(), st.sampled_from(CHANGES), st.lists(st.integers(0, 10**16), min_size=3, max_size=3)
)
def test_spans_add_up_however_long(data: st.DataObject, around: datetime, after: list[int]) -> None:
    calendar = made(data.draw, around)
    one, two, three = (instant(around) + each for each in sorted(after))
    parts = calendar.working_s(one, two) + calendar.working_s(two, three)
    assert calendar.working_s(one, three) == pytest.approx(parts, rel=1e-12, abs=1e-5)
    assert calendar.working_s(three, one) == -calendar.working_s(one, three)


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("2026-11-30 08:00", "2026-11-30 17:00", 8),  # a Monday
        ("2026-11-30 00:00", "2026-12-07 00:00", 38),
        ("2026-11-30 11:30", "2026-11-30 13:15", 0.75),
        ("2026-12-04 13:00", "2026-12-07 09:00", 2),  # over a weekend
        ("2026-12-24 16:00", "2026-12-28 09:00", 2),  # over Christmas
        ("2026-12-25 00:00", "2026-12-28 00:00", 0),
        ("2026-12-07 09:00", "2026-12-04 13:00", -2),
        ("2026-03-27 13:00", "2026-03-30 09:00", 2),  # summer time begins in between
        ("2021-01-01 00:00", "2026-01-01 00:00", 38 * 260 + 6 + 24),
    ],
)
def test_office_hours(start: str, end: str, hours: float) -> None:
    assert OFFICE.working_s(berlin(start), berlin(end)) == hours * HOUR_S


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-11-30 08:00", 4, "2026-11-30 12:00"),
        ("2026-11-30 08:00", 4.5, "2026-11-30 13:30"),
        ("2026-12-04 13:00", 2, "2026-12-07 09:00"),
        ("2026-12-05 10:00", 0, "2026-12-05 10:00"),
        ("2026-12-24 16:00", 2, "2026-12-28 09:00"),
        ("2026-11-30 00:00", 38, "2026-12-04 14:00"),
        ("2026-01-05 00:00", 38 * 46, "2026-11-20 14:00"),
    ],
)
def test_adding_office_hours(start: str, hours: float, end: str) -> None:
    assert OFFICE.add(berlin(start), hours * HOUR_S) == berlin(end)


def test_a_repeated_hour_is_worked_twice_and_a_skipped_one_not_at_all() -> None:
    night = Calendar("Europe/Berlin", (((120, 180),),) * 7)
    day_us = DAY_MINUTES * MINUTE_US

    def worked_s(day: str) -> float:
        return night.working_s(berlin(day) - day_us // 4, berlin(day) + day_us // 2)

    assert [worked_s(day) for day in ("2026-03-28", "2026-03-29", "2026-10-25")] == [3600, 0, 7200]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2026-12-31", "2027-01-01"])
def test_a_holiday_is_one_on_the_day_on_which_clocks_or_years_change(day: str) -> None:
    off = date.fromisoformat(day)
    calendar = Calendar("Europe/Berlin", holidays=(off,))
    following = str(off + timedelta(1))
    assert calendar.working_s(berlin(day) - 3_000_000, berlin(following) + 4_000_000) == 7
    assert calendar.add(berlin(day) - 3_000_000, 7) == berlin(following) + 4_000_000


def test_by_default_there_is_always_work() -> None:
    start, end = instant(CHANGES[0]), instant(CHANGES[-1])
    assert Calendar().working_s(start, end) == (end - start) / 1e6
    assert Calendar().add(start, (end - start) / 1e6) == end
    assert Calendar("Europe/Berlin").working_s(start, end) == (end - start) / 1e6


def test_no_calendar_goes_on_for_ever() -> None:
    end = instant(datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC))
    rare = Calendar("Europe/Berlin", (((0, 1),), (), (), (), (), (), ()))
    assert rare.add(berlin("2026-01-01"), 1e9) == end
    assert Calendar().add(0, float("inf")) == end
    assert Calendar().add(end + 5, 10) == end + 5
    assert Calendar().working_s(end - 5_000_000, end + 5_000_000) == 5


@pytest.mark.parametrize("working_s", [-1.0, float("nan")])
def test_nothing_can_be_taken_back(working_s: float) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        Calendar().add(0, working_s)


# ---- as it is written ----------------------------------------------------------------------------


@given(st.data(), st.sampled_from(CHANGES))
def test_what_is_written_is_read_again(data: st.DataObject, around: datetime) -> None:
    calendar = made(data.draw, around)
    assert calendars.read(calendars.write(calendar)) == calendar
    assert calendars.read(calendars.shown(calendar)) == calendar


def test_how_people_are_shown_it() -> None:
    assert calendars.shown(OFFICE).splitlines()[:4] == [
        "{",
        '  "timezone": "Europe/Berlin",',
        '  "hours": {',
        '    "mon": ["08:00-12:00", "13:00-17:00"],',
    ]
    assert OFFICE.weekly_s == 38 * HOUR_S


def test_how_it_is_written() -> None:
    assert calendars.write(
        Calendar("Asia/Tokyo", (((0, 1440),), *[()] * 6), (date(2026, 5, 1),))
    ) == (b'{"timezone":"Asia/Tokyo","hours":{"mon":["00:00-24:00"]},"holidays":["2026-05-01"]}')


def test_without_hours_there_is_always_work() -> None:
    assert calendars.read('{"timezone": "Asia/Tokyo"}') == Calendar("Asia/Tokyo", ALL_HOURS)


def test_the_order_in_which_it_is_written_does_not_matter() -> None:
    text = """{"holidays": ["2026-12-26", "2026-12-25", "2026-12-26"],
               "hours": {"mon": ["13:00-17:00", "08:00-13:00"]}, "timezone": "UTC"}"""
    calendar = calendars.read(text)
    assert calendar.hours[0] == ((480, 780), (780, 1020))
    assert calendar.holidays == (date(2026, 12, 25), date(2026, 12, 26))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        (b"\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "a calendar is a JSON object"),
        ("{}", "timezone is missing"),
        ('{"timezone": "Berlin"}', "timezone is not known: 'Berlin'"),
        ('{"timezone": "../etc"}', "timezone is not known"),
        ('{"timezone": "Europe"}', "timezone is not known"),
        ('{"timezone": ""}', "timezone is not known"),
        ('{"timezone": 1}', "timezone is not known"),
        ('{"timezone": "UTC", "zone": 1}', "no field 'zone'"),
        ('{"timezone": "UTC", "hours": []}', "hours must be an object"),
        ('{"timezone": "UTC", "hours": null}', "hours must be an object"),
        ('{"timezone": "UTC", "hours": {}}', "no working time at all"),
        ('{"timezone": "UTC", "hours": {"mon": []}}', "no working time at all"),
        ('{"timezone": "UTC", "hours": {"monday": []}}', "no weekday 'monday'"),
        ('{"timezone": "UTC", "hours": {"mon": "08:00-12:00"}}', "hours.mon must be a list"),
        ('{"timezone": "UTC", "hours": {"mon": ["8-12"]}}', "hours.mon[0] must be two times"),
        ('{"timezone": "UTC", "hours": {"mon": [8]}}', "hours.mon[0] must be two times"),
        ('{"timezone": "UTC", "hours": {"sun": ["08:00-24:01"]}}', "hours.sun[0] ends after 24:00"),
        ('{"timezone": "UTC", "hours": {"sun": ["24:00-24:00"]}}', "must end after it begins"),
        ('{"timezone": "UTC", "hours": {"sun": ["22:00-06:00"]}}', "as two shifts"),
        (
            '{"timezone": "UTC", "hours": {"sun": ["08:00-12:00", "11:00-13:00"]}}',
            "begins at 11:00, before the one ends that ends at 12:00",
        ),
        ('{"timezone": "UTC", "holidays": "2026-12-25"}', "holidays must be a list"),
        ('{"timezone": "UTC", "holidays": ["2026-02-30"]}', "holidays[0] must be a real date"),
        ('{"timezone": "UTC", "holidays": ["20261225"]}', "holidays[0] must be a real date"),
        ('{"timezone": "UTC", "holidays": [1]}', "holidays[0] must be a real date"),
    ],
)
def test_what_is_no_calendar_is_told_in_a_sentence(text: str | bytes, said: str) -> None:
    with pytest.raises(UnfitCalendar) as told:
        calendars.read(text)
    assert len(told.value.wrong) == 1
    assert said in told.value.wrong[0]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(UnfitCalendar) as told:
        calendars.read('{"timezone": 1, "hours": {"mon": ["x", "08:00-07:00"]}, "holidays": ["x"]}')
    assert len(told.value.wrong) == 4


@pytest.mark.parametrize(
    "text",
    [
        '{"timezone": "UTC", "holidays": ['
        + ", ".join(['"2026-12-25"'] * (HOLIDAYS_MAX + 1))
        + "]}",
        '{"timezone": "UTC", "hours": {"mon": [' + ", ".join(['"08:00-12:00"'] * 11) + "]}}",
        '{"timezone": "' + "x" * 100_000 + '"}',
    ],
)
def test_there_are_limits(text: str) -> None:
    with pytest.raises(UnfitCalendar) as told:
        calendars.read(text)
    assert len(str(told.value)) < 300
