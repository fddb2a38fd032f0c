"""The figures of insight the plain way: from items and signals one by one, with no counts in between."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, tzinfo
from fractions import Fraction
from typing import NamedTuple

from cloudsignal.protocol.items import Item
from cloudsignal.server.insight import causes, promises, reporting
from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.reckoning import quarter_s
from cloudsignal.server.insight.steps import Step, spans

SECOND = 1_000_000
DAY = 86_400 * SECOND


class Known(NamedTuple):
    """An item, heard of or not, and when it is due."""

    due: int | None
    folded: Item


class Heard(NamedTuple):
    """A signal, and the zone of its interface."""

    when: int
    received: int
    zone: tzinfo


class Lasting(NamedTuple):
    duration_s: float
    ended: bool


def begin_of(now: int, days: int) -> int:
    """When the last so many days of UTC began."""
    return now // DAY * DAY - (days - 1) * DAY


def lasting(
    items: Iterable[Known], step: Step, now: int, days: int, calendar: Calendar
) -> list[Lasting]:
    """How long each took for a step that began in these days."""
    return [
        Lasting(calendar.working_s(span.begin, span.end), span.ended)
        for item in items
        if item.folded.live
        for span in spans(item.folded, now)
        if span.step == step and span.begin >= begin_of(now, days)
    ]


def quantile(observed: list[Lasting], share: Fraction) -> float | None:
    """The estimate of Kaplan and Meier, as the textbook has it."""
    left = Fraction(1)
    for time_s in sorted({each.duration_s for each in observed if each.ended}):
        at_risk = sum(each.duration_s >= time_s for each in observed)
        left *= 1 - Fraction(observed.count(Lasting(time_s, True)), at_risk)
        if left <= 1 - share:
            return time_s
    return None


def punctuality(
    items: Iterable[Known], now: int, days: int, zone: tzinfo = UTC
) -> promises.Punctuality:
    """What became of the promises of these days until the last quarter of an hour began."""
    begin, end = promises.days_until(now, days, zone)
    due = [promises.promise(each.folded, each.due) for each in items if _is_due(each, begin, end)]
    return promises.punctuality(due, quarter_s(now) * SECOND)


def honesty(items: Iterable[Known], now: int, days: int) -> promises.Honesty:
    """What the announced delays are worth of what was due in these days.

    Of what is open and was announced late, it counts in which days the announcement ran out.
    """
    begin, end = promises.days_until(now, days, UTC)
    counted = []
    for each in items:
        delay = promises.delay(each.folded, each.due) if each.due is not None else None
        if delay is None:
            continue
        when = delay.promise.due
        if each.folded.final is None and delay.announced_h is not None:
            when += round((delay.announced_h + promises.TOLERANCE_H) * 3600 * SECOND)
        if begin <= when < end:
            counted.append(delay)
    return promises.honesty(counted, quarter_s(now) * SECOND)


def score(items: Iterable[Known], signals: Iterable[Heard], now: int, days: int) -> reporting.Score:
    """The quality of reporting in these days."""
    begin = begin_of(now, days)
    heard = [each for each in signals if each.received >= begin]
    under_way = [
        each.folded
        for each in items
        if each.folded.live
        and reporting.is_under_way(each.folded)
        and (each.folded.latest or 0) >= begin
    ]
    tally = reporting.tally
    return reporting.score(
        {
            "slow": tally(reporting.is_slow(each.when, each.received) for each in heard),
            "future": tally(reporting.is_future(each.when, each.received) for each in heard),
            "day_end": tally(reporting.is_day_end(each.when, each.zone) for each in heard),
            "missing": tally(bool(reporting.missing_steps(each)) for each in under_way),
        }
    )


def pareto(items: Iterable[Known], now: int, days: int) -> list[causes.Share]:
    """The causes of what was canceled in these days."""
    begin = begin_of(now, days)
    return causes.pareto(
        Counter(
            each.folded.cause.value if each.folded.cause else ""
            for each in items
            if each.folded.live
            and each.folded.final == "canceled"
            and (each.folded.canceled or 0) >= begin
        )
    )


def lags_s(signals: Iterable[Heard], now: int, days: int) -> list[float]:
    """How long each signal of these days took to come, in order."""
    begin = begin_of(now, days)
    return sorted(
        reporting.lag_s(each.when, each.received) for each in signals if each.received >= begin
    )


def _is_due(each: Known, begin: int, end: int) -> bool:
    return each.due is not None and begin <= each.due < end
