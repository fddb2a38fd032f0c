"""How posts are sent: when each is due, and how many at once."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from math import cbrt
from typing import Final, Protocol

from msgspec import Struct

from cloudsignal.protocol.units import SECOND_US
from cloudsignal.simulator.defaults import CONNECTIONS
from cloudsignal.simulator.disturbances import PlannedPost

Sleep = Callable[[float], Awaitable[None]]

_SPEED: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)x?")
_SPAN: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smh]?)")
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}


class Pace(Protocol):
    """Tells when posts are due. Each post is asked about once, in order."""

    def due_s(self, post: PlannedPost) -> float:
        """Seconds since the first post at which this one is due."""
        ...


class AtOnce:
    """Every post is due at once."""

    def due_s(self, post: PlannedPost) -> float:
        return 0.0


class AsPlanned(Struct):
    """As the plan says, so many times as fast."""

    speed: float
    _first: int | None = None

    def due_s(self, post: PlannedPost) -> float:
        if self._first is None:
            self._first = post.at
        return (post.at - self._first) / SECOND_US / self.speed


class Braking(Struct):
    """All of a plan from its start until an instant, in so many seconds: at first days pass in seconds, then ever less.

    After half of the time an eighth of the plan is left. Where its end is so many seconds ahead of now, nothing is sent
    before it happens.
    """

    start: int
    until: int
    duration_s: float

    def due_s(self, post: PlannedPost) -> float:
        left = (self.until - post.at) / (self.until - self.start)
        as_in_life_s = self.duration_s - (self.until - post.at) / SECOND_US
        return max(self.duration_s * (1 - cbrt(left)), as_in_life_s)


class Steady(Struct):
    """So many signals per second, whatever the plan's times."""

    signals_per_s: float
    _signals: int = 0

    def due_s(self, post: PlannedPost) -> float:
        due = self._signals / self.signals_per_s
        self._signals += len(post.told)
        return due


class Driving(Struct, frozen=True, kw_only=True):
    """How a plan is sent: how fast, how many at once, for how long, up to which instant of it, and by which clock."""

    pace: Pace
    connections: int = CONNECTIONS
    duration_s: float | None = None
    until: int | None = None
    now: Callable[[], float]
    sleep: Sleep = asyncio.sleep


def pace_of(speed: str, signals_per_s: float | None = None) -> Pace:
    """The pace that ``max`` or ``3600x`` stands for; a rate counts more. Raises ValueError."""
    if signals_per_s is not None:
        return Steady(signals_per_s)
    if speed == "max":
        return AtOnce()
    found = _SPEED.fullmatch(speed)
    if found is None or not float(found[1]):
        raise ValueError("write max, or how many times as fast as in life: 3600x")
    return AsPlanned(float(found[1]))


def span_s(text: str) -> float:
    """Seconds that ``90s``, ``5m`` or ``2h`` stand for. Raises ValueError."""
    found = _SPAN.fullmatch(text)
    if found is None or not float(found[1]):
        raise ValueError("write how long: 90s, 5m or 2h")
    return float(found[1]) * _SECONDS[found[2]]
