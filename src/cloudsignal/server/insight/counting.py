"""What items, orders and signals are counted as: everything that roll-ups are sums of.

A count is known by what is counted, the time that is counted together, and a key. What an item counts as
follows from the item, its due date and the calendar of its print partner, and from nothing else: that is
why roll-ups can be kept from the log by taking back what an item counted as and adding what it counts as
now, and why they equal a full scan. Test signals count nowhere. Instants are microseconds since 1970; times
of counts are seconds since 1970.

============  =====================  =============================================================
what          time                   key
============  =====================  =============================================================
state         0                      the state of a live item
delayed       0                      the state of a live item that is delayed
shipped       quarter, when shipped
canceled      quarter, when canceled
cause         day, when canceled     the cause, ``""`` for none
took:STEP     day, when it began     the bucket of how long the step took; ``+`` where it did not
                                     end, for the item did
worked:STEP   day, when it began     the same in working time, where the print partner has a calendar
open:STEP     hour, when it began    ``""``, of a step that goes on
due           quarter, when due      a fate that is decided; ``waiting`` where it is not; where a
                                     delay was told ``told``, in hours ``announced``
announced     quarter, until when    those ``announced``: when the announcement is broken
delay         day, when due          the verdict on an announced delay
announced_h   day, when due          announced delay of a shipped item in whole hours
real_h        day, when due          its real delay
error_h       day, when due          by how much more that is than announced
steps         day, of the latest     ``missing`` or ``whole``, of items that got further than registered
minute        minute, when received  the type of a signal
quarter       quarter, the same      the type of a signal
day           day, the same          the type of a signal
fault         day, the same          what a signal offends against: ``slow``, ``future``, ``day_end``
lag           day, the same          the bucket of how long a signal took to come
============  =====================  =============================================================
"""

from collections import Counter
from collections.abc import Iterator
from datetime import tzinfo
from functools import cache
from typing import Final

from msgspec import Struct

from cloudsignal.protocol.items import Item
from cloudsignal.protocol.units import DAY_S, HOUR_S, MINUTE_S, SECOND_US
from cloudsignal.server.insight import promises, reporting
from cloudsignal.server.insight.buckets import bucket
from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.steps import ALL_STEPS, WAY, Span, Step, spans

QUARTER_S: Final = 15 * MINUTE_S
"""The coarsest time of which every zone's days are made."""
KEY_CHARS: Final = 64
"""How much of a key tells it from others: print partners write what they like into a cause."""
HOURS_MAX: Final = 10_000
"""Delays of more hours are counted as so many."""
OF_STEPS: Final = ("took", "worked", "open")
"""What steps of items are counted as; each step by itself, so that who wants one need not read all."""


@cache
def of_step(about: str, step: Step) -> str:
    """What a step is counted as: the places of where it begins and ends on the way of an item tell which."""
    begun, done = step
    return f"{about}:{WAY.index(begun)}{WAY.index(done)}"


OF_ITEMS: Final = (
    "state",
    "delayed",
    "shipped",
    "canceled",
    "cause",
    *(of_step(about, step) for about in OF_STEPS for step in ALL_STEPS),
    "due",
    "announced",
    "delay",
    "announced_h",
    "real_h",
    "error_h",
    "steps",
)
"""What items are counted as."""
OF_SIGNALS: Final = {
    "minute": MINUTE_S,
    "quarter": QUARTER_S,
    "day": DAY_S,
    "lag": DAY_S,
    "fault": DAY_S,
}
"""What signals are counted as, and how much time together, in seconds."""
WHAT: Final = (*OF_ITEMS, *OF_SIGNALS)
"""Everything that is counted."""
WAITING: Final = ("waiting", "told", "announced")
"""The keys of items that are due and not decided yet."""

Count = tuple[str, int, str]
"""What is counted, when the time begins that is counted together, and the key."""
Counts = Counter[Count]


class Counted(Struct, frozen=True):
    """What a live item counts as, and what it is looked for by.

    ``since`` is when the last was heard of it: that it came into its state, or that it is delayed.
    ``announced`` is until when it will be shipped as was announced, None where nothing holds; ``odd``
    whether it was both shipped and canceled.
    """

    state: str
    since: int
    announced: int | None
    odd: bool
    counts: Counts


def of_item(item: Item, due: int | None, calendar: Calendar | None) -> Counted | None:
    """What an item counts as; None if it is none but of tests, which count nowhere.

    ``calendar`` is None where no working time is to be counted.
    """
    if not item.live:
        return None
    announced = _announced_until(item, due)
    return Counted(
        state=item.state,
        since=_since(item),
        announced=announced,
        odd=item.shipped is not None and item.canceled is not None,
        counts=Counter(_of_item(item, due, announced, calendar)),
    )


def of_unheard(count: int, due: int) -> Counts:
    """What so many items of a registered order count as of which no signal has come."""
    return Counter({("due", _floor(due, QUARTER_S), "waiting"): count} if count else {})


def of_signal(type: str, when: int, received: int, zone: tzinfo) -> Iterator[Count]:
    """What a signal counts as, dated ``when``; ``zone`` is that of its interface. It must not be a test."""
    day = _floor(received, DAY_S)
    yield "minute", _floor(received, MINUTE_S), type
    yield "quarter", _floor(received, QUARTER_S), type
    yield "day", day, type
    yield "lag", day, str(bucket(reporting.lag_s(when, received)))
    for fault in reporting.faults(when, received, zone):
        yield "fault", day, fault


def lasted(key: str) -> tuple[int, bool]:
    """What a key of a step that is over says: the bucket of how long it took, and whether it ended."""
    return int(key.removesuffix("+")), not key.endswith("+")


# ---- items ----


def _of_item(
    item: Item, due: int | None, announced: int | None, calendar: Calendar | None
) -> Iterator[Count]:
    yield "state", 0, item.state
    if item.is_delayed:
        yield "delayed", 0, item.state
    yield from _of_end(item)
    for span in spans(item, item.latest or 0):
        yield from _of_span(item, span, calendar)
    if due is not None:
        yield from _of_promise(item, due, announced)
    if reporting.is_under_way(item):
        missing = "missing" if reporting.missing_steps(item) else "whole"
        yield "steps", _floor(item.latest or 0, DAY_S), missing


def _of_end(item: Item) -> Iterator[Count]:
    if item.final == "shipped" and item.shipped is not None:
        yield "shipped", _floor(item.shipped, QUARTER_S), ""
    elif item.final == "canceled" and item.canceled is not None:
        yield "canceled", _floor(item.canceled, QUARTER_S), ""
        cause = "" if item.cause is None else item.cause.value
        yield "cause", _floor(item.canceled, DAY_S), cause[:KEY_CHARS]


def _of_span(item: Item, span: Span, calendar: Calendar | None) -> Iterator[Count]:
    if not span.ended and item.final is None:
        yield of_step("open", span.step), _floor(span.begin, HOUR_S), ""
        return
    # By its begin, as those that go on: so it is known of which days all of them are, however long they take.
    day, mark = _floor(span.begin, DAY_S), "" if span.ended else "+"
    took_s = (span.end - span.begin) / SECOND_US
    yield of_step("took", span.step), day, f"{bucket(took_s)}{mark}"
    if calendar is not None:
        worked_s = calendar.working_s(span.begin, span.end)
        yield of_step("worked", span.step), day, f"{bucket(worked_s)}{mark}"


def _of_promise(item: Item, due: int, announced: int | None) -> Iterator[Count]:
    delay = promises.delay(item, due)
    quarter, day = _floor(due, QUARTER_S), _floor(due, DAY_S)
    if item.final is None:
        yield "due", quarter, _waiting(delay)
        if announced is not None:
            yield "announced", _floor(announced, QUARTER_S), ""
        return
    # What is final is decided: its fate and verdict are the same at any time.
    yield "due", quarter, delay.promise.fate(due)
    verdict = delay.verdict(due)
    if verdict != "none":
        yield "delay", day, verdict
    if delay.announced_h is not None and delay.promise.shipped is not None:
        real_h = delay.real_h(due)
        yield "announced_h", day, _hours(delay.announced_h)
        yield "real_h", day, _hours(real_h)
        yield "error_h", day, _hours(real_h - delay.announced_h)


def _waiting(delay: promises.Delay) -> str:
    if delay.announced_h is not None:
        return "announced"
    return "told" if delay.is_told else "waiting"


def _announced_until(item: Item, due: int | None) -> int | None:
    """Until when an open item will be shipped as was announced: from when it is due, or else was delayed."""
    since = item.delayed if due is None else due
    if item.final is not None or item.delay_hours is None or since is None:
        return None
    return since + round((item.delay_hours + promises.TOLERANCE_H) * HOUR_S * SECOND_US)


def _since(item: Item) -> int:
    reached = item.times.get(item.state)
    heard = [reached, item.delayed if item.is_delayed or reached is None else None]
    return max((each for each in heard if each is not None), default=item.latest or 0)


def _hours(hours: float) -> str:
    return str(max(-HOURS_MAX, min(HOURS_MAX, round(hours))))


def _floor(us: int, unit_s: int) -> int:
    return us // (unit_s * SECOND_US) * unit_s
