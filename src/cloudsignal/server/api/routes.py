"""The routes of the API: who may ask what, and what they are answered."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC
from typing import Annotated, Any, Final
from urllib.parse import unquote

import msgspec
from litestar import Request, get
from litestar.connection import ASGIConnection
from litestar.exceptions import ClientException, NotFoundException, ServiceUnavailableException
from litestar.handlers import BaseRouteHandler
from litestar.params import Parameter
from litestar.response import Stream
from msgspec import Struct

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.items import State
from cloudsignal.server.events import Followers
from cloudsignal.server.store.access import Role
from cloudsignal.server.store.reading import ItemQuery
from cloudsignal.server.store.store import Store
from cloudsignal.server.tokens import Tokens
from cloudsignal.server.views import (
    Instant,
    ItemView,
    OrderView,
    SignalView,
    item_view,
    order_view,
    signal_view,
)

LIMIT_MAX: Final = 1000
"""How many items or signals a page holds at most."""
LIMIT: Final = 100
POSITION_MAX: Final = 2**63 - 1
ORDER_ITEMS_MAX: Final = 1000
"""How many items of an order are listed with it; the list of items pages through more."""

_CURSOR: Final = re.compile(r"[0-9a-f]{1,16}")

Limit = Annotated[int, Parameter(ge=1, le=LIMIT_MAX, description="how many at most")]
Position = Annotated[int, Parameter(ge=0, le=POSITION_MAX, description="a place in the log")]
Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


class ItemPage(Struct, frozen=True):
    """Items, the last changed first; ``next`` is the ``cursor`` of the page after this one."""

    items: list[ItemView]
    next: str | None


class SignalPage(Struct, frozen=True):
    """The log in its order; ``next`` is what to give as ``after`` to go on."""

    signals: list[SignalView]
    next: int


class PartnerView(Struct, frozen=True):
    """A print partner."""

    partner: str
    created: Instant


class InterfaceView(Struct, frozen=True):
    """A CloudSignal API interface; its keys are never shown."""

    interface: int
    partner: str
    state: str
    test: bool
    timezone: str
    allow: list[str]
    created: Instant


def role(needed: Role) -> Guard:
    """Who may see a route: holders of a token whose role includes this one."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        tokens: Tokens = connection.app.state.tokens
        header = connection.headers.get("authorization", "")
        await tokens.holder_of(header.encode("latin-1"), needed)

    return guard


READER: Final = role("reader")
OPERATOR: Final = role("operator")


@get("/items", guards=[READER], operation_id="listItems", summary="Search items")
async def list_items(
    request: Request[Any, Any, Any],
    order: str | None = None,
    item: str | None = None,
    tracking: str | None = None,
    item_state: Annotated[State | None, Parameter(query="state")] = None,
    partner: str | None = None,
    delayed: bool | None = None,
    test: bool | None = None,
    since: Annotated[str | None, Parameter(description="changed at this datetime or later")] = None,
    until: Annotated[str | None, Parameter(description="changed before this datetime")] = None,
    cursor: Annotated[str | None, Parameter(description="the next of the page before")] = None,
    limit: Limit = LIMIT,
) -> ItemPage:
    """Items that match everything that is given, the last changed first."""
    query = ItemQuery(
        order=order,
        item=item,
        tracking=tracking,
        state=item_state,
        partner=partner,
        delayed=delayed,
        test=test,
        since=_instant("since", since),
        until=_instant("until", until),
        before=_before(cursor),
        limit=limit,
    )
    found = await asyncio.to_thread(_store(request).reading.items, query)
    following = f"{found[-1].position:x}" if len(found) == limit else None
    return ItemPage([item_view(each) for each in found], following)


@get("/items/{order:str}/{item:str}", guards=[READER], operation_id="showItem", summary="One item")
async def show_item(request: Request[Any, Any, Any], order: str, item: str) -> ItemView:
    """An item with its signals; both ids percent-encoded."""
    order, item = unquote(order), unquote(item)
    reading = _store(request).reading
    stored = await asyncio.to_thread(reading.item, order, item)
    if stored is None:
        raise NotFoundException(f"no signal has come for item {item} of order {order}")
    return item_view(stored, await asyncio.to_thread(reading.signals_of, order, item))


@get("/orders/{order:str}", guards=[READER], operation_id="showOrder", summary="One order")
async def show_order(request: Request[Any, Any, Any], order: str) -> OrderView:
    """An order with its items; its id percent-encoded."""
    order = unquote(order)
    query = ItemQuery(order=order, limit=ORDER_ITEMS_MAX)
    stored = await asyncio.to_thread(_store(request).reading.items, query)
    if not stored:
        raise NotFoundException(f"no signal has come for order {order}")
    return order_view(order, stored)


@get("/signals", guards=[READER], operation_id="readLog", summary="The log")
async def read_log(
    request: Request[Any, Any, Any], after: Position = 0, limit: Limit = LIMIT
) -> SignalPage:
    """The signals beyond a position, in the order of the log."""
    found = await asyncio.to_thread(_store(request).reading.signals, after=after, limit=limit)
    return SignalPage([signal_view(each) for each in found], found[-1].position if found else after)


@get(
    "/signals/live",
    guards=[READER],
    operation_id="followLog",
    summary="The log, live",
    media_type="text/event-stream",
)
async def follow_log(
    request: Request[Any, Any, Any],
    after: Annotated[int | None, Parameter(ge=0, le=POSITION_MAX)] = None,
    last_event_id: Annotated[
        int | None, Parameter(header="Last-Event-ID", ge=0, le=POSITION_MAX)
    ] = None,
) -> Stream:
    """Server-sent events: each signal beyond the position as it comes; without one, from now on."""
    followers: Followers = request.app.state.followers
    if followers.is_full:
        raise ServiceUnavailableException(
            "too many follow the log live: try again later, or read it page by page",
            headers={"Retry-After": "10"},
        )
    position = after if last_event_id is None else last_event_id
    if position is None:
        position = await asyncio.to_thread(_store(request).reading.last_position)
    return Stream(
        _events(followers, position),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@get("/partners", guards=[READER], operation_id="listPartners", summary="Print partners")
async def list_partners(request: Request[Any, Any, Any]) -> list[PartnerView]:
    """Every print partner."""
    found = await asyncio.to_thread(_store(request).access.partners)
    return [PartnerView(each.name, datetimes.write(each.created)) for each in found]


@get("/interfaces", guards=[OPERATOR], operation_id="listInterfaces", summary="Interfaces")
async def list_interfaces(request: Request[Any, Any, Any]) -> list[InterfaceView]:
    """Every interface, without its keys."""
    found = await asyncio.to_thread(_store(request).access.interfaces)
    return [
        InterfaceView(
            each.id,
            each.partner_name,
            each.state,
            each.test,
            each.timezone,
            list(each.allow),
            datetimes.write(each.created),
        )
        for each in found
    ]


ROUTES: Final = [
    list_items,
    show_item,
    show_order,
    read_log,
    follow_log,
    list_partners,
    list_interfaces,
]


async def _events(followers: Followers, after: int) -> AsyncIterator[bytes]:
    async for page in followers.follow(after):
        yield (
            b"".join(
                b"id: %d\nevent: signal\ndata: %b\n\n"
                % (each.position, msgspec.json.encode(signal_view(each)))
                for each in page
            )
            or b": still here\n\n"
        )


def _store(request: Request[Any, Any, Any]) -> Store:
    store: Store = request.app.state.store
    return store


def _instant(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return datetimes.parse(text, UTC)
    except ValueError as error:
        raise ClientException(f"{name}: {error} (a + is written %2B in a URL)") from None


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not _CURSOR.fullmatch(cursor) or int(cursor, 16) > POSITION_MAX:
        raise ClientException("cursor: give the next of the page before, as it was")
    return int(cursor, 16)
