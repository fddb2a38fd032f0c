"""What a platform knows of the orders of a plan, and would register: for whom, what they are called, when they are due."""

from collections.abc import Iterator
from random import Random
from typing import Final

from msgspec import Struct

from cloudsignal.simulator.lives import Order
from cloudsignal.simulator.partners import PrintPartner
from cloudsignal.simulator.plan import Plan

DAYS_WEIGHTS: Final = {1: 5, 2: 45, 3: 50}
"""How many orders of a hundred are due at the end of so many working days."""
NUMBERS: Final = 10**7


class PlannedRegistration(Struct, frozen=True):
    """What is registered of an order. ``items`` has a reference for each item; ``due`` is an instant."""

    order: str
    partner_name: str
    reference: str
    due: int
    items: dict[str, str]


def registrations(plan: Plan, *, until: int | None = None) -> Iterator[PlannedRegistration]:
    """Those of every order, in the order in which they come; with ``until`` of those that have come then."""
    # A chance of its own: what happens to the items is the same, registered or not.
    chance = Random(f"{plan.seed}, registered")
    partners = plan.print_partners()
    for order in plan.orders(until=until):
        yield _registration(order, partners[order.partner], chance)


def _registration(order: Order, partner: PrintPartner, chance: Random) -> PlannedRegistration:
    days = chance.choices(list(DAYS_WEIGHTS), list(DAYS_WEIGHTS.values()))[0]
    reference = f"SO-{chance.randrange(NUMBERS):07}"
    return PlannedRegistration(
        order=order.lives[0].order,
        partner_name=partner.name,
        reference=reference,
        due=partner.hours.closing(order.arrives, days),
        items={life.item: f"{reference}/{n}" for n, life in enumerate(order.lives, 1)},
    )
