"""When a print partner works: arithmetic with working time. Instants are microseconds since 1970."""

from typing import Final

from msgspec import Struct

from cloudsignal.protocol.units import DAY_US, HOUR_US

WEEKDAY_OF_EPOCH: Final = 3
"""1970-01-01 was a Thursday; Monday is 0."""


class WorkingHours(Struct, frozen=True):
    """Hours of work on each weekday from Monday on, in local time; None for a day off.

    ``offset_hours`` is how far the local time is ahead of UTC.
    """

    shifts: tuple[tuple[int, int] | None, ...]
    offset_hours: float

    def day_of(self, instant: int) -> int:
        """The number of the local day."""
        return (instant + self._offset_us) // DAY_US

    def at_hour(self, day: int, hour: float) -> int:
        """The instant of an hour of a local day."""
        return day * DAY_US + round(hour * HOUR_US) - self._offset_us

    def is_open(self, instant: int) -> bool:
        """Whether there is work at that instant."""
        opens, closes = self._open(self.day_of(instant))
        return opens <= instant <= closes and opens < closes

    def after(self, instant: int, work_us: int) -> int:
        """The instant at which so much has been worked since that one."""
        day = self.day_of(instant)
        while True:
            opens, closes = self._open(day)
            begins = max(instant, opens)
            if begins < closes and work_us <= closes - begins:
                return begins + work_us
            work_us -= max(0, closes - begins)
            day += 1

    def closing(self, instant: int, days: int) -> int:
        """The end of work so many days with work later; the day of the instant does not count."""
        day = self.day_of(instant)
        while days:
            day += 1
            opens, closes = self._open(day)
            days -= opens < closes
        return self._open(day)[1]

    @property
    def _offset_us(self) -> int:
        return round(self.offset_hours * HOUR_US)

    def _open(self, day: int) -> tuple[int, int]:
        begin, end = self.shifts[(day + WEEKDAY_OF_EPOCH) % 7] or (0, 0)
        return self.at_hour(day, begin), self.at_hour(day, end)
