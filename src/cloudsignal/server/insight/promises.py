"""Whether what was promised came true: due dates, and announced delays.

Instants are microseconds since 1970.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta, tzinfo
from statistics import median
from typing import Final, Literal

from msgspec import Struct

from cloudsignal.protocol.items import Item
from cloudsignal.protocol.units import HOUR_US

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

# ---- due dates ---------------------------------------------------------------------------------

Fate = Literal["on_time", "late", "overdue", "given_up", "withdrawn", "open"]
"""What became of a promise.

==========  =========================================================  ==================
fate        it was                                                     in the on-time rate
==========  =========================================================  ==================
on_time     shipped when it was due, or before                         kept
late        shipped afterwards                                         broken
overdue     not shipped yet, though it was due before now              broken
given_up    canceled after it was due: it was overdue by then          broken
withdrawn   canceled when it was due, or before                        left out
open        not shipped yet, and not due before now                    left out
==========  =========================================================  ==================
"""
BROKEN: Final = frozenset({"late", "overdue", "given_up"})
DAYS: Final = (1, 7, 30)
"""The numbers of days that on-time rates are shown of: today, a week, a month."""


class Promise(Struct, frozen=True):
    """When an item is due, and how it ended, if it did. Instants; at most one of the ends is known."""

    due: int
    shipped: int | None = None
    canceled: int | None = None

    def fate(self, now: int) -> Fate:
        """What became of it until now."""
        if self.shipped is not None:
            return "on_time" if self.shipped <= self.due else "late"
        if self.canceled is not None:
            return "withdrawn" if self.canceled <= self.due else "given_up"
        return "open" if now <= self.due else "overdue"


def promise(item: Item, due: int) -> Promise:
    """The promise of an item that is due. Of an item shipped and canceled the later counts."""
    if item.final == "canceled":
        return Promise(due, canceled=item.canceled)
    return Promise(due, shipped=item.shipped)


class Punctuality(Struct, frozen=True):
    """How many promises met with which fate; those of several days or partners can be added."""

    on_time: int = 0
    late: int = 0
    overdue: int = 0
    given_up: int = 0
    withdrawn: int = 0
    open: int = 0

    def __add__(self, other: "Punctuality") -> "Punctuality":
        mine, others = self.counts(), other.counts()
        return Punctuality(**{fate: mine[fate] + others[fate] for fate in mine})

    def counts(self) -> dict[str, int]:
        """How many by fate."""
        return {fate: getattr(self, fate) for fate in self.__struct_fields__}

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts().values())

    @property
    def decided(self) -> int:
        """How many were kept or broken."""
        return self.on_time + self.late + self.overdue + self.given_up

    @property
    def rate(self) -> float | None:
        """The on-time rate, from 0 to 1: the share of kept ones. None where nothing is decided."""
        return self.on_time / self.decided if self.decided else None


def punctuality(promises: Iterable[Promise], now: int) -> Punctuality:
    """What became of promises until now. Which to ask about is told by ``days_until``."""
    fates = Counter[str](each.fate(now) for each in promises)
    return Punctuality(**fates)


def days_until(now: int, days: int, zone: tzinfo) -> tuple[int, int]:
    """The last so many days of a zone, the whole of today among them, as instants.

    To be asked about are promises that are due at the first instant or later, and before the second.
    Raises ValueError when there is not at least one day.
    """
    if days < 1:
        raise ValueError(f"there must be at least one day, not {days}")
    today = (_EPOCH + now * _MICROSECOND).astimezone(zone).date()
    return _midnight(today.toordinal() - days + 1, zone), _midnight(today.toordinal() + 1, zone)


def _midnight(day: int, zone: tzinfo) -> int:
    moment = datetime.combine(datetime.fromordinal(day), time(), zone)
    return (moment - _EPOCH) // _MICROSECOND


# ---- announced delays --------------------------------------------------------------------------

Verdict = Literal["kept", "exceeded", "unannounced", "unspecified", "none"]
"""What an announced delay is worth.

===========  ===================================================================
verdict      the item
===========  ===================================================================
kept         was shipped by the time that was announced
exceeded     was shipped later than that, or is not shipped though that is over
unannounced  is late, and no delay was told
unspecified  is late, and a delay was told without saying of how many hours
none         tells nothing of honesty: it is not late and nothing was announced,
             it was canceled, or what was announced is not over yet
===========  ===================================================================
"""
TOLERANCE_H: Final = 1.0
"""By how many hours an announcement may be exceeded and still be kept."""


class Delay(Struct, frozen=True):
    """What was promised of an item, and what was told of its delay.

    ``announced_h`` is the last delay in hours, as on the wire and meant from the due date on; None when
    none was told in hours. ``is_told`` is whether a delay was told at all.
    """

    promise: Promise
    announced_h: float | None = None
    is_told: bool = False

    def real_h(self, now: int) -> float:
        """By how many hours the item is late, until now if it is not shipped; negative if early."""
        end = now if self.promise.shipped is None else self.promise.shipped
        return (end - self.promise.due) / HOUR_US

    def verdict(self, now: int) -> Verdict:
        """What the announcement is worth."""
        fate = self.promise.fate(now)
        if self.promise.canceled is not None:
            return "none"
        if self.announced_h is not None:
            if self.real_h(now) > self.announced_h + TOLERANCE_H:
                return "exceeded"
            return "none" if self.promise.shipped is None else "kept"
        if fate not in BROKEN:
            return "none"
        return "unspecified" if self.is_told else "unannounced"


def delay(item: Item, due: int) -> Delay:
    """What was promised and told of an item that is due."""
    return Delay(promise(item, due), item.delay_hours, item.delayed is not None)


class Honesty(Struct, frozen=True):
    """What announced delays are worth, over many items.

    ``announced_h``, ``real_h`` and ``error_h`` are medians over shipped items with an announced delay: what
    was announced, what it really was, and by how much more that is than announced (negative: less).
    None without such items.
    """

    kept: int
    exceeded: int
    unannounced: int
    unspecified: int
    announced_h: float | None
    real_h: float | None
    error_h: float | None

    @property
    def rate(self) -> float | None:
        """The share of delays that were announced and kept, from 0 to 1; None where there are none."""
        delays = self.kept + self.exceeded + self.unannounced + self.unspecified
        return self.kept / delays if delays else None


def honesty(delays: Iterable[Delay], now: int) -> Honesty:
    """What the announced delays of many items are worth until now."""
    every = list(delays)
    verdicts = Counter(each.verdict(now) for each in every)
    pairs = [
        (each.announced_h, each.real_h(now))
        for each in every
        if each.announced_h is not None and each.promise.shipped is not None
    ]
    return Honesty(
        kept=verdicts["kept"],
        exceeded=verdicts["exceeded"],
        unannounced=verdicts["unannounced"],
        unspecified=verdicts["unspecified"],
        announced_h=_median([announced for announced, _ in pairs]),
        real_h=_median([real for _, real in pairs]),
        error_h=_median([real - announced for announced, real in pairs]),
    )


def _median(values: list[float]) -> float | None:
    return median(values) if values else None
