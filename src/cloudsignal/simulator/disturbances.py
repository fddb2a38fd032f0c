"""From what happens to what is told: how, when and how often print partners send their signals."""

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from random import Random
from typing import Final

from msgspec import Struct, structs

from cloudsignal.protocol.signals import Signal
from cloudsignal.protocol.units import HOUR_US, SECOND_US
from cloudsignal.simulator.lives import Life, Order, Step
from cloudsignal.simulator.partners import PrintPartner
from cloudsignal.simulator.rates import Rates
from cloudsignal.simulator.spellings import SPELLINGS, spelled

DAY_END_HOUR: Final = 17
BUNDLE_HOURS: Final = 4
"""Signals of an order that is told in bundles wait for those of the same so many hours."""

_LATE_HOURS: Final = (0.5, 48.0)
_BACK_DATED_HOURS: Final = (0.25, 30.0)
_REPEATED_HOURS: Final = (0.01, 12.0)
_REPORT_S: Final = (1, 90)


class Told(Struct, frozen=True):
    """One step of an item as it is told: by this signal, which means this instant.

    ``step`` is the number of the step in the life, ``is_redated`` whether the instant is not the true one.
    """

    life: Life
    step: int
    signal: Signal
    instant: int
    is_redated: bool


class PlannedPost(Struct, frozen=True):
    """What one print partner sends together, and the instant at which it is to be sent."""

    partner: int
    at: int
    told: tuple[Told, ...]

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The signals, in order."""
        return tuple(each.signal for each in self.told)


class _Telling(Struct):
    """A step on its way to being told."""

    life: Life
    number: int
    step: Step
    instant: int
    at: int


class Disturber:
    """Turns orders into posts. It remembers which days of which print partner are told at their end."""

    def __init__(self, partners: list[PrintPartner], rates: Rates, chance: Random) -> None:
        self._partners = partners
        self._rates = rates
        self._chance = chance
        self._told_at_end: dict[tuple[int, int], bool] = {}

    def posts(self, order: Order) -> Iterator[PlannedPost]:
        """Every post about an order. They are not sorted."""
        tellings = [telling for life in order.lives for telling in self._tellings(life, order)]
        for together in self._bundles(tellings):
            told = tuple(self._told(each, order.partner) for each in together)
            post = PlannedPost(order.partner, max(each.at for each in together), told)
            yield post
            if self._happens(self._rates.repeated):
                yield structs.replace(post, at=post.at + self._hours(_REPEATED_HOURS))

    def _tellings(self, life: Life, order: Order) -> list[_Telling]:
        tellings = [self._telling(life, number, order) for number in range(len(life.steps))]
        for one, next_one in pairwise(tellings):
            if self._happens(self._rates.reordered):
                # Nothing is told before it happens: the earlier one waits for the later one.
                one.at = next_one.at + SECOND_US
        return tellings

    def _telling(self, life: Life, number: int, order: Order) -> _Telling:
        step = life.steps[number]
        telling = _Telling(life, number, step, step.instant, step.instant)
        telling.at += self._chance.randint(*_REPORT_S) * SECOND_US
        if end := self._day_end(step.instant, order.partner):
            telling.instant = telling.at = end
        elif self._happens(self._rates.back_dated):
            back = self._hours(_BACK_DATED_HOURS)
            telling.instant -= back - back % SECOND_US
        if self._happens(self._rates.late):
            telling.at += self._hours(_LATE_HOURS)
        return telling

    def _day_end(self, instant: int, partner: int) -> int | None:
        """The end of the instant's day, if all that happens in that day is told then."""
        hours = self._partners[partner].hours
        day = hours.day_of(instant)
        if (partner, day) not in self._told_at_end:
            self._told_at_end[partner, day] = self._happens(self._rates.day_end)
        end = hours.at_hour(day, DAY_END_HOUR)
        return end if self._told_at_end[partner, day] and instant < end else None

    def _bundles(self, tellings: list[_Telling]) -> Iterable[list[_Telling]]:
        if not self._happens(self._rates.bundled):
            return ([each] for each in tellings)
        tellings.sort(key=lambda each: each.at)
        window_us = BUNDLE_HOURS * HOUR_US
        return (list(group) for _, group in groupby(tellings, lambda each: each.at // window_us))

    def _told(self, telling: _Telling, number: int) -> Told:
        partner = self._partners[number]
        is_odd = self._happens(self._rates.spelled)
        spelling = self._chance.choice(SPELLINGS) if is_odd else partner.spelling
        step = telling.step
        signal = step.type(
            order=telling.life.order,
            item=telling.life.item,
            datetime=spelled(telling.instant, spelling, partner.hours.offset_hours),
            **step.fields,
        )
        is_redated = telling.instant != step.instant
        return Told(telling.life, telling.number, signal, telling.instant, is_redated)

    def _hours(self, bounds: tuple[float, float]) -> int:
        return round(self._chance.uniform(*bounds) * HOUR_US)

    def _happens(self, rate: float) -> bool:
        return self._chance.random() < rate
