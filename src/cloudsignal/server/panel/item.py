"""The page of one item: how it stands, its steps, and everything that was heard of it."""

import asyncio
from typing import Any, Final

from litestar import Response, get
from msgspec import Struct, structs

from cloudsignal.protocol.items import FINDINGS, Parcel
from cloudsignal.protocol.signals import Signal
from cloudsignal.server.clock import now
from cloudsignal.server.delivery.composing import tracking_url
from cloudsignal.server.panel.access import IN_SCOPE
from cloudsignal.server.panel.pages import Asked, Before, page, scope
from cloudsignal.server.panel.picture import lasting, picture
from cloudsignal.server.panel.places import item_path
from cloudsignal.server.panel.roles import Scope
from cloudsignal.server.panel.sight import SeenItem, see_item
from cloudsignal.server.store.forwarding import Forwarded
from cloudsignal.server.store.reading import LoggedSignal
from cloudsignal.server.store.store import Store

COMMON: Final = Signal.__struct_fields__
TIMELINE: Final = 50
"""How many signals a page shows."""


class Heard(Struct, frozen=True):
    """A signal on the timeline: what it says, how much later it came, what is odd about it, what was forwarded of it."""

    logged: LoggedSignal
    said: dict[str, str]
    lag: str
    findings: list[str]
    forwarded: list[Forwarded]


@get("/item", guards=[IN_SCOPE])
async def show_item(
    request: Asked, order: str = "", item: str = "", before: Before = None
) -> Response[Any]:
    """An item, and its newest signals, or those before one."""
    seen, store = scope(request), request.app.state.store
    found = await asyncio.to_thread(see_item, store, order, item, seen)
    listed = [each for each in found.signals if before is None or each[0].position < before]
    heard = await asyncio.to_thread(_heard, store, found, listed[:TIMELINE], seen)
    return page(
        request,
        "item.html",
        item=found,
        parcels=[(each, _url(request, found, each)) for each in found.folded.parcels],
        picture=picture(found.folded, now()),
        heard=heard,
        older=heard[-1].logged.position if len(listed) > len(heard) else None,
        here=item_path(order, item),
        scope=seen,
        findings=FINDINGS,
    )


def _url(request: Asked, found: SeenItem, parcel: Parcel) -> str:
    """Where a parcel can be followed; empty if it is not known."""
    own = found.registered.tracking_urls if found.registered else {}
    return tracking_url(parcel, own, request.app.state.templates)


def _heard(
    store: Store, found: SeenItem, signals: list[tuple[LoggedSignal, list[str]]], seen: Scope
) -> list[Heard]:
    """Signals as the timeline shows them to those who see so much."""
    positions = [each.position for each, _ in signals]
    forwarded = (
        store.forwarding.of(found.order, positions, owner=seen.owner) if seen.sees_owners else {}
    )
    return [
        Heard(each, _said(each), _lag(each), odd, forwarded.get(each.position, []))
        for each, odd in signals
    ]


def _said(logged: LoggedSignal) -> dict[str, str]:
    """What a signal says beside what all do, by the names of its fields."""
    said = structs.asdict(logged.report.signal)
    return {name: value for name, value in said.items() if name not in COMMON and value}


def _lag(logged: LoggedSignal) -> str:
    """How much later a signal was received than it happened, in words."""
    late_us = logged.received - logged.datetime
    if late_us < 0:
        return f"{lasting(late_us)} before it happened"
    return f"{lasting(late_us)} later"


ROUTES: Final = [show_item]
