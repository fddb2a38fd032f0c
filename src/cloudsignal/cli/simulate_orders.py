"""What a platform knows besides signals: whose orders they are, when they are due, and when print partners work."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from cloudsignal.cli.output import progress_bars

if TYPE_CHECKING:
    from cloudsignal.server.insight.calendars import Calendar
    from cloudsignal.server.store.orders import Registration
    from cloudsignal.server.store.store import Store
    from cloudsignal.simulator.partners import PrintPartner
    from cloudsignal.simulator.plan import Plan

OWNER: Final = "Simulated owner"
"""Whose the orders of all simulations are."""
HOUR_MINUTES: Final = 60


def set_calendars(store: "Store", plan: "Plan") -> None:
    """Have a store know when the print partners of a plan work. They have to be there."""
    known = store.calendars.calendars()
    for partner in plan.print_partners():
        calendar = _calendar(partner)
        if known.get(partner.name) != calendar:
            store.calendars.set(partner.name, calendar)


def register_orders(store: "Store", plan: "Plan", until: int) -> None:
    """Register the orders of a plan that come until an instant. The print partners have to be there."""
    from cloudsignal.server import clock
    from cloudsignal.server.store.orders import REGISTRATIONS_MAX

    if all(each.name != OWNER for each in store.orders.owners()):
        store.orders.create_owner(OWNER, now=clock.now())
    total = sum(1 for _ in plan.orders(until=until))
    every = _registrations(plan, until)
    done = 0
    with progress_bars() as progress:
        while page := list(islice(every, REGISTRATIONS_MAX)):
            store.orders.register(page, now=clock.now())
            done += len(page)
            progress("orders registered", done, total)


def _calendar(partner: "PrintPartner") -> "Calendar":
    from cloudsignal.server.insight.calendars import Calendar

    mon, tue, wed, thu, fri, sat, sun = (
        ((shift[0] * HOUR_MINUTES, shift[1] * HOUR_MINUTES),) if shift else ()
        for shift in partner.hours.shifts
    )
    return Calendar(partner.timezone, (mon, tue, wed, thu, fri, sat, sun))


def _registrations(plan: "Plan", until: int) -> "Iterator[Registration]":
    from cloudsignal.server.store.orders import Registration
    from cloudsignal.simulator.registrations import registrations

    for each in registrations(plan, until=until):
        yield Registration(
            each.order,
            OWNER,
            partner_name=each.partner_name,
            reference=each.reference,
            due=each.due,
            items={**each.items},
        )
