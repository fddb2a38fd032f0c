"""What is going to be sent: it follows from a seed and a few numbers, to the last byte."""

from collections.abc import Iterator
from datetime import UTC
from hashlib import blake2b
from heapq import heappop, heappush
from itertools import count, takewhile
from random import Random
from typing import Final

import msgspec
from msgspec import Struct

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.units import DAY_US, SECOND_US
from cloudsignal.simulator.defaults import ITEMS_PER_DAY
from cloudsignal.simulator.disturbances import Disturber, PlannedPost
from cloudsignal.simulator.lives import ITEMS_WEIGHTS, Order, items_per_order, life
from cloudsignal.simulator.partners import PrintPartner, print_partners
from cloudsignal.simulator.rates import Rates

NAME_BYTES: Final = 4
TOLD_BEFORE_DAYS: Final = 7
"""So long before they come things can have been told of items: clocks and time zones are wrong, in life too."""
LIFE_DAYS_MAX: Final = 183
"""No item takes longer, from when its order comes until the last is told of it."""
SPREAD: Final = 1.1
"""How many times as long as planned it can take until all orders have come."""


class Plan(Struct, frozen=True, kw_only=True):
    """All that a simulation follows from. Without ``items`` it goes on for ever.

    ``start`` is the instant at which the first day begins, in microseconds since 1970.
    """

    seed: int
    partners: int
    items: int | None
    items_per_day: int = ITEMS_PER_DAY
    start: int
    rates: Rates = Rates()

    @property
    def name(self) -> str:
        """What its ids begin with. Those of another plan begin otherwise, so that no two ever meet."""
        return blake2b(msgspec.json.encode(self), digest_size=NAME_BYTES).hexdigest()

    def check_years(self) -> None:
        """Whether all of it happens in years that a server takes. Raises ValueError with a sentence."""
        years = f"signals are of the years {datetimes.YEAR_MIN} to {datetimes.YEAR_MAX}"
        first = instant(f"{datetimes.YEAR_MIN}-01-01") + TOLD_BEFORE_DAYS * DAY_US
        days = LIFE_DAYS_MAX + SPREAD * (self.items or 0) / self.items_per_day
        last = instant(f"{datetimes.YEAR_MAX}-12-31") - round(days * DAY_US)
        if last < first:
            raise ValueError(
                f"{years}, and so many items take longer: let more of them come in a day"
            )
        if not first <= self.start <= last:
            raise ValueError(
                f"{years}: begin between {_day(first)} and {_day(last)}, so that all fits in"
            )

    def print_partners(self) -> list[PrintPartner]:
        """The print partners, in the order of their numbers."""
        return print_partners(self.partners, Random(self.seed))

    def orders(self, *, until: int | None = None) -> Iterator[Order]:
        """Every order, in the order in which they come; with ``until`` those that have come at that instant."""
        chance = Random(self.seed)
        every = _orders(self, print_partners(self.partners, chance), chance)
        return every if until is None else takewhile(lambda order: order.arrives <= until, every)

    def posts(self, *, until: int | None = None) -> Iterator[PlannedPost]:
        """Every post, in the order in which they are sent; with ``until`` those due at that instant."""
        every = self._posts()
        return every if until is None else takewhile(lambda post: post.at <= until, every)

    def _posts(self) -> Iterator[PlannedPost]:
        # A chance of its own: what happens to the items is the same, however it is told.
        disturbing = Random(f"{self.seed}, told")
        disturber = Disturber(self.print_partners(), self.rates, disturbing)
        numbers = count()
        waiting: list[tuple[int, int, PlannedPost]] = []
        for order in self.orders():
            while waiting and waiting[0][0] < order.arrives:
                yield heappop(waiting)[2]
            for post in disturber.posts(order):
                heappush(waiting, (post.at, next(numbers), post))
        while waiting:
            yield heappop(waiting)[2]


def instant(text: str) -> int:
    """The instant that a datetime, or a date such as 2026-01-05, stands for. Raises ValueError."""
    return datetimes.parse(text if len(text) > len("2026-01-05") else f"{text} 00:00", UTC)


def _day(instant: int) -> str:
    return datetimes.write(instant)[: len("2026-01-05")]


def _orders(plan: Plan, partners: list[PrintPartner], chance: Random) -> Iterator[Order]:
    name = plan.name
    orders_per_us = plan.items_per_day / items_per_order() / DAY_US
    arrives = float(plan.start)
    left = plan.items
    for number in count(1):
        if left is not None and left <= 0:
            return
        arrives += chance.expovariate(orders_per_us)
        size = chance.choices(list(ITEMS_WEIGHTS), list(ITEMS_WEIGHTS.values()))[0]
        if left is not None:
            size = min(size, left)
            left -= size
        yield _order(f"{name}-{number:06}", size, arrives, partners, plan.rates, chance)


def _order(
    order: str,
    size: int,
    arrives: float,
    partners: list[PrintPartner],
    rates: Rates,
    chance: Random,
) -> Order:
    comes = round(arrives) // SECOND_US * SECOND_US
    maker = chance.randrange(len(partners))
    lives = tuple(
        life(order, f"{order}-{number}", comes, partners[maker], rates, chance)
        for number in range(1, size + 1)
    )
    return Order(comes, maker, lives)
