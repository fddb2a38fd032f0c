"""The life of an item as it really is: what happens to it, and when."""

from collections.abc import Iterator
from random import Random
from typing import Any, Final

from msgspec import Struct

from cloudsignal.protocol.signals import (
    CANCELLATION_CAUSES,
    ItemCanceled,
    ItemPacked,
    ItemProduce,
    ItemProduced,
    ItemRegistered,
    ItemShipped,
    Signal,
)
from cloudsignal.protocol.units import HOUR_US, SECOND_US
from cloudsignal.simulator.partners import PrintPartner
from cloudsignal.simulator.rates import Rates
from cloudsignal.simulator.standings import Parcel, Standing

ITEMS_WEIGHTS: Final = {1: 60, 2: 25, 3: 10, 4: 5}
"""How many orders of a hundred have so many items."""
STEP_HOURS_MIN: Final = 1 / 60
STEP_HOURS_MAX: Final = 200.0

_PRECISION_US: Final = {True: 1000, False: SECOND_US}
_SPREAD: Final = 0.7
_HOURS: Final[dict[type[Signal], float]] = {
    ItemRegistered: 0.3,
    ItemProduce: 4.0,
    ItemProduced: 3.0,
    ItemPacked: 1.5,
    ItemShipped: 2.0,
}
"""The way of an item, and how many hours of work half of all items need for each step."""
_MAY_BE_SKIPPED: Final = (ItemProduce, ItemProduced, ItemPacked)
_CANCEL_HOURS: Final = 3.0
_STUCK_BY_DELAY: Final = 0.5
"""The share of unfinished items of which a delay is the last that is heard."""

_DELAYS: Final[dict[str, tuple[str, ...]]] = {
    "Print error, reprint needed": ("24", "36", "48"),
    "Binding machine out of order": ("12", "24", "72"),
    "Paper out of stock": ("48", "72", "120"),
    "Cover lamination damaged": ("8", "24"),
    "Color deviation, under review": ("4", "8", "12"),
    "Power cut in the press room": ("2", "4.5", "8"),
    "Carrier did not collect": ("16", "24"),
    "Staff shortage": ("24", "48"),
    "Trimmed askew, one copy missing": ("6.5", "24"),
    "Public holiday": ("24", "48"),
}
_SHIPPING_OPTIONS: Final = ("DHL Paket", "GLS", "UPS Standard", "DPD Classic", "PostNL", "FedEx")
_TRACKING_CHARACTERS: Final = "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"
_TRACKING_LENGTH: Final = 12


class Step(Struct, frozen=True):
    """Something that happens to an item, and the signal that tells it, less its datetime."""

    type: type[Signal]
    instant: int
    fields: dict[str, str] = {}


class Life(Struct, frozen=True):
    """An item, what happens to it in order of time, and where it really stands after that."""

    order: str
    item: str
    steps: tuple[Step, ...]
    ending: Standing


class Order(Struct, frozen=True):
    """An order: when it comes, which of the print partners makes it, and its items."""

    arrives: int
    partner: int
    lives: tuple[Life, ...]


def items_per_order() -> float:
    """How many items an order has in the mean."""
    return sum(n * weight for n, weight in ITEMS_WEIGHTS.items()) / sum(ITEMS_WEIGHTS.values())


def life(
    order: str, item: str, arrives: int, partner: PrintPartner, rates: Rates, chance: Random
) -> Life:
    """The life of an item of an order that comes at this instant."""
    steps = tuple(_Making(arrives, partner, rates, chance).steps())
    return Life(order, item, steps, ending(steps))


class _Making:
    """An item while it is made."""

    def __init__(self, arrives: int, partner: PrintPartner, rates: Rates, chance: Random) -> None:
        self.now = arrives
        self.partner = partner
        self.rates = rates
        self.chance = chance

    def steps(self) -> Iterator[Step]:
        way = list(_HOURS)
        is_stuck = self._happens(self.rates.stuck)
        is_canceled = self._happens(self.rates.canceled)
        ends_before = self.chance.randrange(1, len(way)) if is_stuck or is_canceled else len(way)
        wrong_after = self._goes_wrong_after(ends_before, is_stuck)
        for number, type in enumerate(way[:ends_before], 1):
            yield from self._step(type)
            # What has left the house can no longer go wrong.
            if number == wrong_after and type is not ItemShipped:
                yield from self._delay(way[1:number], is_last=is_stuck and number == ends_before)
        if is_canceled and not is_stuck:
            yield self._cancel()

    def _goes_wrong_after(self, ends_before: int, is_stuck: bool) -> int:
        """The number of the step after which something goes wrong, 0 if nothing does."""
        if is_stuck and self._happens(_STUCK_BY_DELAY):
            return ends_before
        return self.chance.randrange(1, ends_before + 1) if self._happens(self.rates.delayed) else 0

    def _step(self, type: type[Signal]) -> Iterator[Step]:
        self._work(_HOURS[type])
        if type is ItemShipped:
            yield from self._ship()
        elif type not in _MAY_BE_SKIPPED or not self._happens(self.rates.skipped):
            yield Step(type, self.now)

    def _ship(self) -> Iterator[Step]:
        option = self.chance.choice(_SHIPPING_OPTIONS)
        yield self._parcel(option)
        if self._happens(self.rates.split):
            self._work(_HOURS[ItemShipped])
            yield self._parcel(option)

    def _parcel(self, option: str) -> Step:
        tracking = "".join(self.chance.choices(_TRACKING_CHARACTERS, k=_TRACKING_LENGTH))
        return Step(ItemShipped, self.now, {"tracking": tracking, "shipping_option": option})

    def _delay(self, done: list[type[Signal]], *, is_last: bool) -> Iterator[Step]:
        self._work(_HOURS[ItemPacked])
        cause = self.chance.choice(list(_DELAYS))
        hours = self.chance.choice(_DELAYS[cause])
        yield Step(self.partner.delay_type, self.now, {"cause": cause, "delay": hours})
        if is_last:
            return
        self.now += round(float(hours) * HOUR_US)
        for type in self.chance.choice(([], done)):
            yield from self._step(type)

    def _cancel(self) -> Step:
        self._work(_CANCEL_HOURS)
        cause = self.chance.choice(list(CANCELLATION_CAUSES))
        message = CANCELLATION_CAUSES[cause].capitalize()
        return Step(ItemCanceled, self.now, {"cause": cause, "message": message})

    def _work(self, usual_hours: float) -> None:
        """Let as much working time pass as this needs here, to what the partner's software knows."""
        drawn = usual_hours / self.partner.speed * self.chance.lognormvariate(0.0, _SPREAD)
        hours = min(max(drawn, STEP_HOURS_MIN), STEP_HOURS_MAX)
        done = self.partner.hours.after(self.now, round(hours * HOUR_US))
        self.now = done - done % _PRECISION_US[self.partner.is_precise]

    def _happens(self, rate: float) -> bool:
        return self.chance.random() < rate


def ending(steps: tuple[Step, ...]) -> Standing:
    """Where an item stands after these steps, told as a story: what came last is so.

    This knows nothing of the protocol's rules, so that the two can be held against each other.
    """
    state, delayed = "unknown", False
    parcels: list[Parcel] = []
    times: dict[str, int] = {}
    told: dict[str, str] = {}
    for step in steps:
        effect = step.type.effect
        times[effect] = step.instant
        delayed = effect == "delayed"
        if effect == "shipped":
            parcels.append(Parcel(datetime=step.instant, **step.fields))
        else:
            told |= step.fields
        if not delayed:
            state = effect
    return _standing(state, delayed, parcels, times, told)


def _standing(
    state: str, delayed: bool, parcels: list[Parcel], times: dict[str, int], told: dict[str, Any]
) -> Standing:
    return Standing(
        state=state,
        delayed=delayed,
        parcels=tuple(parcels),
        cause=told.get("cause"),
        message=told.get("message"),
        delay_hours=float(told["delay"]) if "delay" in told else None,
        times=times,
        findings=(),
    )
