"""What roll-ups say of a print partner, or of all of them: the figures, from counts.

What is counted, and as what, is told by ``counting.py``. Counts come here as sums by key over the days that are
looked at, or by time and key. ``now`` is in microseconds since 1970, times of counts in seconds.
"""

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Final

from msgspec import Struct

from cloudsignal.protocol.units import DAY_S, HOUR_S, MINUTE_S, SECOND_US
from cloudsignal.server.insight import counting, promises, reporting, survival
from cloudsignal.server.insight.buckets import middle_s
from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.promises import Honesty, Punctuality
from cloudsignal.server.insight.reporting import Score, Tally
from cloudsignal.server.insight.survival import Curve, Observation, curve_of_buckets

Sums = Mapping[str, int]
"""How many by key."""
Counted = Mapping[tuple[int, str], int]
"""How many by time and key."""

NONE: Final[Sums] = {}
NO_POSTS: Final = Tally()


def days_s(now: int, days: int, zone: tzinfo = UTC) -> tuple[int, int]:
    """The last so many days of a zone, the whole of today among them: when they begin, and when they end.

    Raises ValueError when there is not at least one day.
    """
    begin, end = promises.days_until(now, days, zone)
    return begin // SECOND_US, end // SECOND_US


def quarter_s(now: int) -> int:
    """When the quarter of an hour began that it is: what was due before is over, what is due from then on is not."""
    return now // SECOND_US // counting.QUARTER_S * counting.QUARTER_S


# ---- how long steps take ----


def curve(lasted: Sums, going: Counted, now: int, calendar: Calendar | None = None) -> Curve:
    """The curve of a step, of those that began in the days that are looked at.

    ``lasted`` are sums of what the step ``took``, or of what was ``worked`` if there is a calendar; ``going`` is
    what is ``open``. What began in an hour is taken to have begun in the middle of it.
    """
    over = (
        Observation(middle_s(bucket), ended, count)
        for key, count in lasted.items()
        for bucket, ended in [counting.lasted(key)]
    )
    unfinished = (
        Observation(_age_s(hour, now, calendar), False, count) for (hour, _), count in going.items()
    )
    return survival.curve([*over, *unfinished])


def _age_s(hour: int, now: int, calendar: Calendar | None) -> float:
    begin = (hour + HOUR_S // 2) * SECOND_US
    if calendar is None:
        return (now - begin) / SECOND_US
    return calendar.working_s(begin, now)


# ---- what was promised ----


def punctuality(past: Sums, coming: Sums) -> Punctuality:
    """What became of promises: sums of ``due`` of those that were due before ``quarter_s``, and of the others."""
    decided = {
        fate: past.get(fate, 0) + coming.get(fate, 0) for fate in Punctuality.__struct_fields__
    }
    return Punctuality(**decided | {"overdue": _waiting(past), "open": _waiting(coming)})


def _waiting(due: Sums) -> int:
    return sum(due.get(key, 0) for key in counting.WAITING)


def honesty(
    verdicts: Sums,
    past: Sums,
    broken: Sums,
    *,
    announced_h: Sums = NONE,
    real_h: Sums = NONE,
    error_h: Sums = NONE,
) -> Honesty:
    """What announced delays are worth.

    ``verdicts`` are sums of ``delay``, ``past`` those of ``due`` before ``quarter_s``, and ``broken`` those of
    ``announced`` before it; the others are called as what they are sums of.
    """
    return Honesty(
        kept=verdicts.get("kept", 0),
        exceeded=verdicts.get("exceeded", 0) + sum(broken.values()),
        unannounced=verdicts.get("unannounced", 0) + past.get("waiting", 0),
        unspecified=verdicts.get("unspecified", 0) + past.get("told", 0),
        announced_h=_median(announced_h),
        real_h=_median(real_h),
        error_h=_median(error_h),
    )


def _median(hours: Sums) -> float | None:
    """The median of hours; between the two in the middle if their number is even."""
    ordered = sorted((int(hour), count) for hour, count in hours.items())
    total = sum(count for _, count in ordered)
    if not total:
        return None
    return (_at(ordered, (total - 1) // 2) + _at(ordered, total // 2)) / 2


def _at(ordered: list[tuple[int, int]], place: int) -> int:
    for hour, count in ordered:
        place -= count
        if place < 0:
            return hour
    raise IndexError("there are not so many")


# ---- how it is reported ----


def score(types: Sums, faults: Sums, steps: Sums, posts: Tally = NO_POSTS) -> Score:
    """The quality of reporting.

    ``types`` are sums of ``day``, the others are called as what they are sums of. ``posts`` are in no roll-up:
    they are noted whether or not there is a signal in them.
    """
    signals = sum(types.values())
    return reporting.score(
        {
            "slow": Tally(faults.get("slow", 0), signals),
            "missing": Tally(steps.get("missing", 0), sum(steps.values())),
            "future": Tally(faults.get("future", 0), signals),
            "day_end": Tally(faults.get("day_end", 0), signals),
            "refused": posts,
        }
    )


class Band(Struct, frozen=True):
    """How many signals came within so many seconds, but not within those of the band before; None for the rest."""

    within_s: int | None
    count: int
    share: float


class Lags(Struct, frozen=True):
    """How long signals took to come after what they tell of had happened."""

    curve: Curve
    bands: tuple[Band, ...]


BANDS_S: Final = (MINUTE_S, 5 * MINUTE_S, HOUR_S, 6 * HOUR_S, DAY_S)
"""Where the bands of lags end: a minute, five, an hour, a quarter of a day, a day."""


def lags(lag: Sums) -> Lags:
    """The distribution of lags, from sums of ``lag``: each stands for the middle of its bucket."""
    counts = {int(bucket): count for bucket, count in lag.items()}
    ends: tuple[int | None, ...] = (*BANDS_S, None)
    total = sum(counts.values())
    within = dict.fromkeys(ends, 0)
    for bucket, count in counts.items():
        within[next((end for end in BANDS_S if middle_s(bucket) <= end), None)] += count
    bands = tuple(Band(end, within[end], within[end] / total if total else 0.0) for end in ends)
    return Lags(curve_of_buckets(counts, {}), bands)
