"""The steps of an item as a picture: what is drawn where. Pure; instants are microseconds since 1970."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Final

from msgspec import Struct

from cloudsignal.protocol.items import PROGRESS, Item
from cloudsignal.protocol.units import (
    DAY_S,
    DAY_US,
    HOUR_S,
    HOUR_US,
    MINUTE_S,
    MINUTE_US,
    SECOND_US,
)
from cloudsignal.server.insight.steps import STEPS, TO_SHIPPED, Span, Step, spans

TICKS_MAX: Final = 4
"""How many times stand at the axis: as many as fit a phone."""
DRAWN: Final = (TO_SHIPPED[0], *STEPS)
"""What is drawn, from above: the whole way, and its steps."""
WAY: Final = (*PROGRESS, "shipped")
_APART: Final = (
    *(each * MINUTE_US for each in (1, 2, 5, 10, 15, 30)),
    *(each * HOUR_US for each in (1, 2, 3, 6, 12)),
    *(each * DAY_US for each in (1, 2, 4, 7)),
)
"""How far apart they may be; beyond that, twice as far again and again."""
EDGE_PERCENT: Final = 12
"""How near to an edge a text is that must not be centered."""
THIN_PERCENT: Final = 0.5
"""How wide what took no time is drawn, so that it is seen."""


class Bar(Struct, frozen=True):
    """One step: how long it took, in words, and where it is drawn, in percent; without ``span`` it is not."""

    step: Step
    took: str
    span: Span | None = None
    left: float = 0.0
    width: float = 0.0

    @property
    def name(self) -> str:
        """What the step is called."""
        return " to ".join(self.step)


class Mark(Struct, frozen=True):
    """A moment, and what it is called: what was reported then, or the time at the axis."""

    name: str
    at: int
    left: float

    @property
    def anchor(self) -> str:
        """Where a text begins that stands at it and must not leave the picture."""
        if self.left < EDGE_PERCENT:
            return "start"
        return "end" if self.left > 100 - EDGE_PERCENT else "middle"


class Picture(Struct, frozen=True):
    """What is drawn: a bar for each step, a mark for each report, and the times at the axis."""

    bars: list[Bar]
    reports: list[Mark]
    ticks: list[Mark]


def picture(item: Item, now: int) -> Picture | None:
    """The steps of an item as they are at an instant; None if nothing was reported."""
    if not item.times:
        return None
    axis = _Axis(item, now)
    found = {each.step: each for each in spans(item, now)}
    return Picture(
        [_bar(item, step, found.get(step), axis) for step in DRAWN],
        [Mark(name, at, axis.left(at)) for name, at in item.times.items()],
        [Mark(_shown(at, axis.apart), at, axis.left(at)) for at in axis.ticks(axis.apart)],
    )


class _Axis:
    """Time from left to right: from what was reported first to what was last, or until now."""

    def __init__(self, item: Item, now: int) -> None:
        self.begin = min(item.times.values())
        last = max(item.times.values())
        self.end = max(last if item.final else max(last, now), self.begin + MINUTE_US)
        self.apart = next(each for each in _apart() if len(self.ticks(each)) <= TICKS_MAX)

    def left(self, at: int) -> float:
        """How far from the left an instant is, in percent."""
        return round(100 * (at - self.begin) / (self.end - self.begin), 2)

    def ticks(self, apart: int) -> range:
        """The instants so far apart."""
        return range(-(-self.begin // apart) * apart, self.end + 1, apart)


def _apart() -> Iterator[int]:
    yield from _APART
    for doubled in count(1):
        yield _APART[-1] << doubled


def _bar(item: Item, step: Step, span: Span | None, axis: _Axis) -> Bar:
    if span is None:
        return Bar(step, _why_not(item, step))
    took = lasting(span.end - span.begin)
    if not span.ended:
        took = f"{took} until it was {item.final}" if item.final else f"{took} so far"
    left = axis.left(span.begin)
    width = max(axis.left(span.end) - left, THIN_PERCENT)
    return Bar(step, took, span, min(left, 100 - width), width)


def _why_not(item: Item, step: Step) -> str:
    """Why it is not known how long a step took."""
    if any(state in item.times for state in WAY[WAY.index(step[0]) :]):
        return "not reported"
    return "not begun" if item.final else "not yet"


def _shown(at: int, apart: int) -> str:
    moment = datetime.fromtimestamp(at / SECOND_US, UTC)
    return f"{moment:%Y-%m-%d}" if apart >= DAY_US else f"{moment:%m-%d %H:%M}"


def lasting(us: int) -> str:
    """How long something takes, for people: its two largest units."""
    seconds = abs(us) // SECOND_US
    for unit, size, below, part in (("d", DAY_S, "h", HOUR_S), ("h", HOUR_S, "min", MINUTE_S)):
        if seconds >= size:
            whole, rest = seconds // size, seconds % size // part
            return f"{whole} {unit} {rest} {below}" if rest else f"{whole} {unit}"
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"
