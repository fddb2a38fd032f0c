"""When a print partner works, and arithmetic with its working time.

It is working time while the partner's own clock shows a time within the working hours of that weekday
and the date is no holiday. So an hour that a change of the clocks repeats is worked twice, and one that
it skips is not worked. Instants are microseconds since 1970.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from cloudsignal.protocol.refusals import DETAILS_MAX
from cloudsignal.protocol.units import DAY_US, MINUTE_US, SECOND_US

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SHIFTS_MAX: Final = 10
"""How many times a day may have at which work begins."""
HOLIDAYS_MAX: Final = 1000
ZONE_CHARACTERS_MAX: Final = 64
LAST_YEAR: Final = 2199
"""The year at whose end, in UTC, all calendars end."""

Shift = tuple[int, int]
"""From which minute of a day until which one there is work."""
Shifts = tuple[Shift, ...]
Hours = tuple[Shifts, Shifts, Shifts, Shifts, Shifts, Shifts, Shifts]
"""The shifts of each weekday from Monday on, in their order."""

DAY_MINUTES: Final = 24 * 60
_WHOLE_DAY: Final[Shifts] = ((0, DAY_MINUTES),)
ALL_HOURS: Final[Hours] = (_WHOLE_DAY,) * 7

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = _EPOCH.date().toordinal()
_MICROSECOND: Final = timedelta(microseconds=1)
_WEEK_US: Final = 7 * DAY_US
_SINCE_MONDAY_US: Final = 3 * DAY_US
"""1970-01-01 was a Thursday."""

_SHIFT: Final = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FIELDS: Final = ("timezone", "hours", "holidays")


class UnfitCalendar(ValueError):
    """What was written is no calendar; ``wrong`` says everything that is wrong, one sentence each."""

    def __init__(self, wrong: list[str]) -> None:
        self.wrong = wrong[:DETAILS_MAX]
        super().__init__("; ".join(self.wrong))


class Calendar(Struct, frozen=True, dict=True):
    """When a print partner works. Without arguments: always.

    ``timezone`` is a name of the IANA database. ``holidays`` are days on which there is no work, in
    their order. What is written by people is read by ``read``, which checks it.
    """

    timezone: str = "UTC"
    hours: Hours = ALL_HOURS
    holidays: tuple[date, ...] = ()

    def working_s(self, start: int, end: int) -> float:
        """The seconds of work between two instants; negative when the end is before the start."""
        if end < start:
            return -self.working_s(end, start)
        worked_us = 0
        for begin, until, offset in self._stretches(start):
            if begin - offset >= end:
                break
            last = min(until, end + offset)
            worked_us += self._week.worked(last) - self._week.worked(begin)
        return worked_us / SECOND_US

    @property
    def weekly_s(self) -> int:
        """The seconds of work in a week without holidays."""
        return 60 * sum(end - begin for shifts in self.hours for begin, end in shifts)

    def add(self, start: int, working_s: float) -> int:
        """The first instant at which so many seconds have been worked since another.

        That is the end of a shift rather than the begin of the next, and the start itself for 0.
        Never later than the end of ``LAST_YEAR``. Raises ValueError when ``working_s`` is negative.
        """
        if not working_s >= 0:
            raise ValueError(f"working_s must be 0 or more, not {working_s}")
        left_us = round(min(working_s * SECOND_US, _END))
        if not left_us:
            return start
        for begin, until, offset in self._stretches(start):
            before = self._week.worked(begin)
            available_us = self._week.worked(until) - before
            if left_us <= available_us:
                return self._week.reached(before + left_us) - offset
            left_us -= available_us
        return max(start, _END)

    @cached_property
    def _week(self) -> "_Week":
        return _Week(self.hours)

    @cached_property
    def _days_off(self) -> list[int]:
        return [day.toordinal() - _EPOCH_DAY for day in self.holidays]

    def _stretches(self, start: int) -> Iterator[tuple[int, int, int]]:
        """Local time from an instant on, cut where the clocks change and where holidays are.

        Each is told by its begin and end in local time, and by how far that is ahead of UTC.
        """
        for since, until, offset in _even(self.timezone, start):
            begin, end = since + offset, until + offset
            first = bisect_left(self._days_off, begin // DAY_US)
            for day in self._days_off[first : bisect_left(self._days_off, -(-end // DAY_US))]:
                if begin < day * DAY_US:
                    yield begin, day * DAY_US, offset
                begin = (day + 1) * DAY_US
            if begin < end:
                yield begin, end, offset


class _Week:
    """The shifts of a week as a table, for weeks that follow each other without end."""

    def __init__(self, hours: Hours) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._before: list[int] = []
        self._after: list[int] = []
        self._total = 0
        for weekday, shifts in enumerate(hours):
            for begin, end in shifts:
                self._begins.append(weekday * DAY_US + begin * MINUTE_US)
                self._ends.append(weekday * DAY_US + end * MINUTE_US)
                self._before.append(self._total)
                self._total += (end - begin) * MINUTE_US
                self._after.append(self._total)

    def worked(self, local: int) -> int:
        """What is worked until a local time, since some Monday."""
        weeks, within = divmod(local + _SINCE_MONDAY_US, _WEEK_US)
        shift = bisect_right(self._begins, within) - 1
        worked_us = weeks * self._total
        if shift >= 0:
            worked_us += self._before[shift] + min(within, self._ends[shift]) - self._begins[shift]
        return worked_us

    def reached(self, worked_us: int) -> int:
        """The first local time until which so much is worked."""
        weeks, within = divmod(worked_us - 1, self._total)
        shift = bisect_left(self._after, within + 1)
        into_us = within + 1 - self._before[shift]
        return weeks * _WEEK_US + self._begins[shift] + into_us - _SINCE_MONDAY_US


# ---- clocks that change ------------------------------------------------------------------------


def _instant(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


_END: Final = _instant(datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC))


def _even(timezone: str, start: int) -> Iterator[tuple[int, int, int]]:
    """The time from an instant on, cut where the clocks change: begin, end and offset of each."""
    if start >= _END:
        return
    for year in range((_EPOCH + start * _MICROSECOND).year, LAST_YEAR + 1):
        for begin, end, offset in _year(timezone, year):
            if end > start:
                yield max(begin, start), end, offset


@lru_cache(maxsize=4096)
def _year(timezone: str, year: int) -> tuple[tuple[int, int, int], ...]:
    """A year of UTC, cut where the clocks of a zone change."""
    zone = ZoneInfo(timezone)
    begin = _instant(datetime(year, 1, 1, tzinfo=UTC))
    end = _instant(datetime(year + 1, 1, 1, tzinfo=UTC))
    # Between two looks the clocks change once at most: since 2000 no zone did so twice in a week.
    looks = [*range(begin, end, _WEEK_US), end]
    changes = [
        _change(zone, look, following)
        for look, following in pairwise(looks)
        if _offset(zone, look) != _offset(zone, following)
    ]
    cuts = sorted({begin, *changes, end})
    return tuple((since, until, _offset(zone, since)) for since, until in pairwise(cuts))


def _change(zone: tzinfo, before: int, after: int) -> int:
    """When the clocks change between two instants: at a whole second."""
    while after - before > SECOND_US:
        middle = before + (after - before) // (2 * SECOND_US) * SECOND_US
        if _offset(zone, middle) == _offset(zone, before):
            before = middle
        else:
            after = middle
    return after


def _offset(zone: tzinfo, instant: int) -> int:
    """How far a zone is ahead of UTC, in microseconds."""
    ahead = (_EPOCH + instant * _MICROSECOND).astimezone(zone).utcoffset()
    return (ahead or timedelta()) // _MICROSECOND


# ---- as people write it ------------------------------------------------------------------------


def read(text: bytes | str) -> Calendar:
    """A calendar from JSON, such as ``write`` makes. Raises UnfitCalendar.

    ``timezone`` is required. ``hours`` names the shifts of each weekday on which there is work; without
    it there always is. ``holidays`` are dates.
    """
    try:
        written = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UnfitCalendar([f"this is not JSON: {error}"]) from None
    if not isinstance(written, dict):
        raise UnfitCalendar(['a calendar is a JSON object such as {"timezone": "Europe/Berlin"}'])
    wrong = [
        f"there is no field {name[:40]!r} in a calendar: there are {', '.join(_FIELDS)}"
        for name in written
        if name not in _FIELDS
    ]
    calendar = Calendar(
        timezone=_read_zone(written.get("timezone"), wrong),
        hours=_read_hours(written["hours"], wrong) if "hours" in written else ALL_HOURS,
        holidays=_read_holidays(written.get("holidays", []), wrong),
    )
    if wrong:
        raise UnfitCalendar(wrong)
    return calendar


def write(calendar: Calendar) -> bytes:
    """A calendar as JSON, each thing at its place, so that equal ones are written alike."""
    hours = {
        weekday: [f"{_clock(begin)}-{_clock(end)}" for begin, end in shifts]
        for weekday, shifts in zip(WEEKDAYS, calendar.hours, strict=True)
        if shifts
    }
    written = {"timezone": calendar.timezone, "hours": hours, "holidays": calendar.holidays}
    return msgspec.json.encode(written)


def shown(calendar: Calendar) -> str:
    """The same for people: a line for each weekday, and one for the holidays."""
    written = msgspec.json.decode(write(calendar))
    days = [f'    "{day}": {_line(shifts)}' for day, shifts in written["hours"].items()]
    fields = {
        "timezone": _line(written["timezone"]),
        "hours": "{\n" + ",\n".join(days) + "\n  }",
        "holidays": _line(written["holidays"]),
    }
    return "{\n" + ",\n".join(f'  "{name}": {value}' for name, value in fields.items()) + "\n}\n"


def _line(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _read_zone(name: Any, wrong: list[str]) -> str:
    if isinstance(name, str) and len(name) <= ZONE_CHARACTERS_MAX:
        try:
            return ZoneInfo(name).key
        except (KeyError, ValueError, OSError):
            pass
    said = "is missing" if name is None else f"is not known: {str(name)[:ZONE_CHARACTERS_MAX]!r}"
    wrong.append(f"timezone {said}: write a name of the IANA database, such as Europe/Berlin")
    return ""


def _read_hours(written: Any, wrong: list[str]) -> Hours:
    if not isinstance(written, dict):
        wrong.append('hours must be an object such as {"mon": ["08:00-12:00", "13:00-17:00"]}')
        return ALL_HOURS
    wrong += [
        f"hours has no weekday {name[:40]!r}: the weekdays are {', '.join(WEEKDAYS)}"
        for name in written
        if name not in WEEKDAYS
    ]
    mon, tue, wed, thu, fri, sat, sun = (
        _read_shifts(weekday, written.get(weekday, []), wrong) for weekday in WEEKDAYS
    )
    hours = (mon, tue, wed, thu, fri, sat, sun)
    if not any(hours) and not wrong:
        wrong.append("hours has no working time at all: name the shifts of at least one weekday")
    return hours


def _read_shifts(weekday: str, written: Any, wrong: list[str]) -> Shifts:
    if not isinstance(written, list) or len(written) > SHIFTS_MAX:
        wrong.append(
            f"hours.{weekday} must be a list of at most {SHIFTS_MAX} shifts such as 08:00-12:00"
        )
        return ()
    shifts = sorted(
        shift
        for index, each in enumerate(written)
        if (shift := _read_shift(f"hours.{weekday}[{index}]", each, wrong))
    )
    wrong += [
        f"hours.{weekday}: a shift begins at {_clock(begin)}, before the one ends that ends at"
        f" {_clock(end)}: let no two overlap"
        for (_, end), (begin, _) in pairwise(shifts)
        if begin < end
    ]
    return tuple(shifts)


def _read_shift(at: str, written: Any, wrong: list[str]) -> Shift | None:
    match = _SHIFT.fullmatch(written) if isinstance(written, str) else None
    if match is None:
        wrong.append(f"{at} must be two times of day such as 08:00-12:00, from 00:00 to 24:00")
        return None
    hour, minute, to_hour, to_minute = map(int, match.groups())
    begin, end = hour * 60 + minute, to_hour * 60 + to_minute
    if end > DAY_MINUTES:
        wrong.append(f"{at} ends after 24:00, the end of the day")
    elif begin >= end:
        wrong.append(
            f"{at} must end after it begins: write work past midnight as two shifts,"
            f" until 24:00 and on the next day from 00:00"
        )
    else:
        return begin, end
    return None


def _read_holidays(written: Any, wrong: list[str]) -> tuple[date, ...]:
    if not isinstance(written, list) or len(written) > HOLIDAYS_MAX:
        wrong.append(f"holidays must be a list of at most {HOLIDAYS_MAX} dates such as 2026-12-25")
        return ()
    days = {
        day
        for index, each in enumerate(written)
        if (day := _read_day(f"holidays[{index}]", each, wrong))
    }
    return tuple(sorted(days))


def _read_day(at: str, written: Any, wrong: list[str]) -> date | None:
    if isinstance(written, str) and _DATE.fullmatch(written):
        try:
            return date.fromisoformat(written)
        except ValueError:
            pass
    wrong.append(f"{at} must be a real date such as 2026-12-25")
    return None
