"""What signals mean for an item: its state, its details, and what is odd about it.

An item is a pure function of the set of its signals (contract, section 5). Signals are merged one
by one, in any order and any number of times, and the result is the same: for every kind of fact the
item keeps an extreme (the latest datetime, the earliest datetime, a sorted set), and what people
see is derived from those extremes.

One thing cannot be so: the finding ``late`` tells of the order of arrival itself. It and the two
other findings about arrival (``ARRIVAL_FINDINGS``) depend on when a signal reached the server,
which the log keeps, so that folding the log again gives the same item to the last letter.
"""

from bisect import insort
from typing import Final, Literal

from msgspec import Struct, field

from cloudsignal.protocol.signals import CANCELLATION_CAUSES, ItemCanceled, ItemShipped, Signal
from cloudsignal.protocol.units import HOUR_US, MINUTE_US
from cloudsignal.protocol.wire import Report

State = Literal["unknown", "registered", "producing", "produced", "packed", "shipped", "canceled"]

PROGRESS: Final = ("registered", "producing", "produced", "packed")
"""The states on the way, lowest first."""
FINAL: Final = ("shipped", "canceled")
"""The states that end an item; on equal datetimes the first wins."""
STEPS: Final = (*PROGRESS, *FINAL, "delayed")
"""Everything an item keeps the datetime of."""

PARCELS_MAX: Final = 1000
"""How many parcels an item keeps: the earliest ones."""
FUTURE_US: Final = 5 * MINUTE_US
"""How far ahead of the server's clock a datetime may be before it is a finding."""
SLOW_US: Final = HOUR_US
"""How long after its datetime a signal may arrive before it is a finding."""

FINDINGS: Final[dict[str, str]] = {
    "late": "arrived after a later-dated signal of the item",
    "future_datetime": "dated more than 5 minutes ahead of the server's clock",
    "slow_report": "arrived more than an hour after its datetime",
    "after_final": "dated after the item was shipped or canceled",
    "shipped_and_canceled": "the item was both shipped and canceled",
    "unlisted_cause": "canceled for a cause that is none of the published ones",
    "cancel_without_cause": "canceled without a cause",
}
"""Every finding and what it says: something odd about a signal, for people."""
ARRIVAL_FINDINGS: Final = frozenset({"late", "future_datetime", "slow_report"})
"""The findings that tell when a signal arrived rather than what it says."""

_NONE: Final[frozenset[str]] = frozenset()


class Parcel(Struct, frozen=True, order=True, array_like=True):
    """One parcel the item left in; ``datetime`` is the earliest that names it."""

    datetime: int
    tracking: str
    shipping_option: str


class Telling(Struct, frozen=True, order=True, array_like=True):
    """What a signal tells in one field. The latest wins; the fingerprint decides between equals."""

    datetime: int
    fingerprint: str
    value: str


class Item(Struct, array_like=True, kw_only=True):
    """All that is known of an item. Instants are microseconds since 1970.

    ``registered`` to ``delayed`` hold the latest datetime of the signals of that effect,
    ``first_registered`` the earliest ItemRegistered, ``latest`` the latest of all. ``live`` is true
    as soon as a signal came through an interface that is not a test interface.
    """

    registered: int | None = None
    producing: int | None = None
    produced: int | None = None
    packed: int | None = None
    shipped: int | None = None
    canceled: int | None = None
    delayed: int | None = None
    first_registered: int | None = None
    latest: int | None = None
    parcels: list[Parcel] = field(default_factory=list)
    cause: Telling | None = None
    message: Telling | None = None
    delay: Telling | None = None
    noted: set[str] = field(default_factory=set)
    live: bool = False

    def merge(self, report: Report, *, received: int, test: bool = False) -> None:
        """Take in one signal, which arrived at ``received``."""
        signal = report.signal
        when = report.datetime
        effect = signal.effect
        self.noted |= findings(signal, when, received, self.latest)
        self.live = self.live or not test
        setattr(self, effect, _later(getattr(self, effect), when))
        self.latest = _later(self.latest, when)
        if effect == "registered":
            first = self.first_registered
            self.first_registered = when if first is None else min(first, when)
        elif isinstance(signal, ItemShipped):
            self._add_parcel(Parcel(when, signal.tracking, signal.shipping_option))
        elif report.fingerprint:
            self._tell(report)

    def _add_parcel(self, parcel: Parcel) -> None:
        for index, known in enumerate(self.parcels):
            if (known.tracking, known.shipping_option) == (parcel.tracking, parcel.shipping_option):
                if known <= parcel:
                    return
                del self.parcels[index]
                break
        insort(self.parcels, parcel)
        del self.parcels[PARCELS_MAX:]

    def _tell(self, report: Report) -> None:
        for name in ("cause", "message", "delay"):
            value = getattr(report.signal, name, None)
            if value:
                telling = Telling(report.datetime, report.fingerprint, value)
                known = getattr(self, name)
                setattr(self, name, telling if known is None else max(known, telling))

    @property
    def final(self) -> Literal["shipped", "canceled"] | None:
        """How the item ended, if it did: the later of the two, shipped when they are equal."""
        if self.shipped is None and self.canceled is None:
            return None
        return "canceled" if _after(self.canceled, self.shipped) else "shipped"

    @property
    def state(self) -> State:
        """Where the item is (contract, section 5)."""
        if self.final:
            return self.final
        reached: State = "unknown"
        since_delay: State | None = None
        for step in PROGRESS:
            when = getattr(self, step)
            if when is not None:
                reached = step
                if self.delayed is not None and when >= self.delayed:
                    since_delay = step
        return since_delay or reached

    @property
    def is_delayed(self) -> bool:
        """Whether a delay is the last that was heard of an item that is not final."""
        return (
            self.delayed is not None
            and self.final is None
            and all(_after(self.delayed, getattr(self, step)) for step in PROGRESS)
        )

    @property
    def findings(self) -> list[str]:
        """Everything odd about the item, in alphabetical order."""
        found = set(self.noted)
        if self.shipped is not None and self.canceled is not None:
            found.add("shipped_and_canceled")
        if any(self.is_after_final(step, getattr(self, step)) for step in (*PROGRESS, "delayed")):
            found.add("after_final")
        return sorted(found)

    def is_after_final(self, effect: str, when: int | None) -> bool:
        """Whether a signal of that effect and datetime is dated after the item's end."""
        final = self.final
        return final is not None and effect not in FINAL and _after(when, getattr(self, final))

    @property
    def delay_hours(self) -> float | None:
        """By how many hours the item is announced to be late."""
        return None if self.delay is None else float(self.delay.value)

    @property
    def times(self) -> dict[str, int]:
        """The datetime of every step taken: the first registration, the latest of all others."""
        times = {step: getattr(self, step) for step in STEPS if getattr(self, step) is not None}
        if self.first_registered is not None:
            times["registered"] = self.first_registered
        return times


def findings(signal: Signal, when: int, received: int, latest: int | None) -> frozenset[str]:
    """What is odd about one signal; ``latest`` is the item's latest datetime before it."""
    found = _NONE
    if latest is not None and when < latest:
        found |= {"late"}
    if when - received > FUTURE_US:
        found |= {"future_datetime"}
    elif received - when > SLOW_US:
        found |= {"slow_report"}
    if isinstance(signal, ItemCanceled):
        if not signal.cause:
            found |= {"cancel_without_cause"}
        elif signal.cause not in CANCELLATION_CAUSES:
            found |= {"unlisted_cause"}
    return found


def _later(known: int | None, when: int) -> int:
    return when if known is None or when > known else known


def _after(when: int | None, other: int | None) -> bool:
    """Whether ``when`` is known and later than ``other``, which may be unknown."""
    return when is not None and (other is None or when > other)
