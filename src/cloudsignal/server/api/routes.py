"""The routes of the API: who may ask what, and what they are answered."""

import asyncio
import re
from functools import partial
from typing import Annotated, Any, Final, cast

import msgspec
from litestar import Request, get, post
from litestar.exceptions import ClientException, NotFoundException
from litestar.params import FromPath, FromQuery, HeaderParameter, QueryParameter
from litestar.types import ASGIApp
from msgspec import Struct

from cloudsignal.protocol.items import State
from cloudsignal.server import clock, registrations
from cloudsignal.server.api.requests import (
    DATETIME,
    LIMIT,
    OPERATOR,
    POSITION_MAX,
    READER,
    Limit,
    Position,
    check,
    decoded,
    instant,
    store_of,
)
from cloudsignal.server.bodies import LINE
from cloudsignal.server.events import Followers
from cloudsignal.server.live import MEDIA_TYPE as LIVE_MEDIA_TYPE
from cloudsignal.server.live import Live, NoMore
from cloudsignal.server.registrations import BODY_BYTES_MAX
from cloudsignal.server.store.errors import NotFound, RegistrationRefused
from cloudsignal.server.store.orders import Registered, RegisteredOrder
from cloudsignal.server.store.reading import ItemQuery, LoggedSignal
from cloudsignal.server.store.search import LIMIT_MAX as HITS_MAX
from cloudsignal.server.store.store import Store
from cloudsignal.server.tokens import NotAllowed
from cloudsignal.server.views import (
    HitView,
    InterfaceView,
    ItemView,
    OrderView,
    OwnerView,
    PartnerView,
    RefusedPostView,
    RegisteredOrderView,
    SignalView,
    hit_view,
    interface_view,
    item_view,
    order_view,
    owner_view,
    partner_view,
    refused_post_view,
    registered_order_view,
    signal_view,
)

REFUSED_MAX: Final = 100
"""How many refused posts a page holds at most: each has every problem, and some of what was sent."""
HITS: Final = 20
"""How much a search finds unless it is said."""
_encode: Final = msgspec.json.Encoder().encode
_CURSOR: Final = re.compile(r"[0-9a-f]{1,14}")


class ItemPage(Struct, frozen=True):
    """Items, the last changed first; ``next`` is the ``cursor`` of the page after this one."""

    items: list[ItemView]
    next: str | None


class OrderPage(Struct, frozen=True):
    """Registered orders by their ids; ``next`` is what to give as ``after`` for the page after this one."""

    orders: list[RegisteredOrderView]
    next: str | None


class SignalPage(Struct, frozen=True):
    """The log in its order; ``next`` is what to give as ``after`` to go on."""

    signals: list[SignalView]
    next: int


class RefusedPage(Struct, frozen=True):
    """Refused posts, the newest first; ``next`` is what to give as ``before`` for the page after this one."""

    refused: list[RefusedPostView]
    next: int | None


class Found(Struct, frozen=True):
    """What a search found: first what is called so, then what begins so."""

    hits: list[HitView]


@get("/search", guards=[READER], operation_id="search", summary="Find by one text")
async def search(
    request: Request[Any, Any, Any],
    q: Annotated[
        str,
        QueryParameter(
            description="an order's or item's id, a tracking number, an owner's reference,"
            " or how one of them begins"
        ),
    ],
    limit: Annotated[int, QueryParameter(ge=1, le=HITS_MAX, description="how many at most")] = HITS,
) -> Found:
    """Orders, items and parcels that are called so, and then those that begin so; each once.

    White space around the text counts for nothing. Only if nothing is found, the text is tried in capitals, then
    in small letters.
    """
    hits = await asyncio.to_thread(store_of(request).search.find, q, limit=limit)
    return Found([hit_view(each) for each in hits])


@get("/items", guards=[READER], operation_id="listItems", summary="Search items")
async def list_items(
    request: Request[Any, Any, Any],
    order: FromQuery[str | None] = None,
    item: FromQuery[str | None] = None,
    tracking: FromQuery[str | None] = None,
    item_state: Annotated[State | None, QueryParameter(name="state")] = None,
    partner: FromQuery[str | None] = None,
    delayed: FromQuery[bool | None] = None,
    test: FromQuery[bool | None] = None,
    since: Annotated[
        str | None, QueryParameter(description=f"last changed at this {DATETIME} or later")
    ] = None,
    until: Annotated[
        str | None, QueryParameter(description=f"last changed before this {DATETIME}")
    ] = None,
    cursor: Annotated[str | None, QueryParameter(description="the next of the page before")] = None,
    limit: Limit = LIMIT,
) -> ItemPage:
    """Items that match everything that is given, the last changed first.

    An item changes when a signal of it comes. Following ``next`` meets every item once, except those
    that change meanwhile: they move to the front, before the pages already seen.
    """
    query = ItemQuery(
        order=order,
        item=item,
        tracking=tracking,
        state=item_state,
        partner=partner,
        delayed=delayed,
        test=test,
        since=instant("since", since),
        until=instant("until", until),
        before=_before(cursor),
        limit=limit,
    )
    found = await asyncio.to_thread(store_of(request).reading.items, query)
    following = f"{found[-1].position:x}" if len(found) == limit else None
    return ItemPage([item_view(each) for each in found], following)


@get("/items/{order:str}/{item:str}", guards=[READER], operation_id="showItem", summary="One item")
async def show_item(
    request: Request[Any, Any, Any], order: FromPath[str], item: FromPath[str]
) -> ItemView:
    """An item with its signals; both ids percent-encoded."""
    order, item = decoded(order), decoded(item)
    reading = store_of(request).reading
    stored, signals = await asyncio.to_thread(reading.item_with_signals, order, item)
    if stored is None:
        raise NotFoundException(f"no signal has come for item {item} of order {order}")
    return item_view(stored, signals)


@get("/orders/{order:str}", guards=[READER], operation_id="showOrder", summary="One order")
async def show_order(request: Request[Any, Any, Any], order: FromPath[str]) -> OrderView:
    """An order with its items; its id percent-encoded."""
    order = decoded(order)
    stored = await asyncio.to_thread(store_of(request).reading.order, order)
    registered = await asyncio.to_thread(store_of(request).orders.order, order)
    if stored is None and registered is None:
        raise NotFoundException(f"order {order} is not registered, and no signal has come for it")
    return order_view(order, stored, registered)


@get("/orders", guards=[READER], operation_id="listOrders", summary="Orders of an owner")
async def list_orders(
    request: Request[Any, Any, Any],
    owner: Annotated[str, QueryParameter(pattern=LINE, description="whose orders")],
    after: Annotated[
        str, QueryParameter(pattern=LINE, description="an order's id: those beyond it")
    ] = "",
    limit: Limit = LIMIT,
) -> OrderPage:
    """What is registered of an owner's orders, by their ids, without their items."""
    found = await asyncio.to_thread(_orders, store_of(request), owner, after, limit)
    following = found[-1].order if len(found) == limit else None
    return OrderPage([registered_order_view(each) for each in found], following)


def _orders(store: Store, owner: str, after: str, limit: int) -> list[RegisteredOrder]:
    try:
        name = store.orders.owner(owner).name
    except NotFound as error:
        raise ClientException(f"owner: {error}") from None
    return store.orders.orders(name, after=after, limit=limit)


@post(
    "/orders",
    guards=[OPERATOR],
    operation_id="registerOrders",
    summary="Register orders",
    status_code=200,
    request_max_body_size=BODY_BYTES_MAX,
)
async def register_orders(request: Request[Any, Any, Any]) -> Registered:
    """One order, or several: all of them, or none. It answers how many are new, and how many changed.

    The same again changes nothing. What is left out stays as it was, and an order stays with its owner.
    """
    body = await request.body()
    return await asyncio.to_thread(_register, store_of(request), body)


def _register(store: Store, body: bytes) -> Registered:
    told = registrations.read(body)
    try:
        return store.orders.register(told.registrations, now=clock.now())
    except RegistrationRefused as error:
        raise told.unfit(error.faults) from None


@get("/owners", guards=[READER], operation_id="listOwners", summary="Owners")
async def list_owners(request: Request[Any, Any, Any]) -> list[OwnerView]:
    """Every owner of orders, without its keys."""
    found = await asyncio.to_thread(store_of(request).orders.owners)
    return [owner_view(each) for each in found]


@post(
    "/owners",
    guards=[OPERATOR],
    operation_id="createOwner",
    summary="Add an owner",
    request_max_body_size=BODY_BYTES_MAX,
)
async def create_owner(request: Request[Any, Any, Any]) -> OwnerView:
    """An owner of orders. Of several, one at most gets what nobody registered: the last added so."""
    told = registrations.read_owner(await request.body())
    make = partial(store_of(request).orders.create_owner, unregistered=told.unregistered)
    return owner_view(await asyncio.to_thread(make, told.owner, now=clock.now()))


@get("/signals", guards=[READER], operation_id="readLog", summary="The log")
async def read_log(
    request: Request[Any, Any, Any], after: Position = 0, limit: Limit = LIMIT
) -> SignalPage:
    """The signals beyond a position, in the order of the log.

    Large ones make a page shorter: the end of the log is where a page is empty.
    """
    found = await asyncio.to_thread(store_of(request).reading.signals, after=after, limit=limit)
    return SignalPage([signal_view(each) for each in found], found[-1].position if found else after)


@get(
    "/signals/live",
    guards=[READER],
    operation_id="followLog",
    summary="The log, live",
    media_type=LIVE_MEDIA_TYPE,
)
async def follow_log(
    request: Request[Any, Any, Any],
    after: Annotated[
        int | None,
        QueryParameter(
            ge=0, le=POSITION_MAX, description="a place in the log", schema_extra={"minimum": 0}
        ),
    ] = None,
    last_event_id: Annotated[
        int | None,
        HeaderParameter(
            name="Last-Event-ID",
            ge=0,
            le=POSITION_MAX,
            description="the id of the last event that came; it counts more than after",
            schema_extra={"minimum": 0},
        ),
    ] = None,
) -> ASGIApp:
    """Server-sent events: each signal beyond the position as it comes; without one, from now on.

    Every event is called ``signal``, its id is the position, its data a SignalView as JSON.
    """
    position = after if last_event_id is None else last_event_id
    if position is None:
        position = await asyncio.to_thread(store_of(request).reading.position_before, 0)
    followers: Followers = request.app.state.followers

    async def check_still() -> None:
        try:
            await check(request, "reader")
        except NotAllowed as error:
            raise NoMore from error

    live: Any = Live(followers, lambda: followers.follow(position, event), check_still)
    return cast(ASGIApp, live)


def event(logged: LoggedSignal) -> bytes:
    """A signal as one server-sent event, whose id is its position."""
    return b"id: %d\nevent: signal\ndata: %b\n\n" % (
        logged.position,
        _encode(signal_view(logged)),
    )


@get("/partners", guards=[READER], operation_id="listPartners", summary="Print partners")
async def list_partners(request: Request[Any, Any, Any]) -> list[PartnerView]:
    """Every print partner."""
    found = await asyncio.to_thread(store_of(request).access.partners)
    return [partner_view(each) for each in found]


@get("/interfaces", guards=[OPERATOR], operation_id="listInterfaces", summary="Interfaces")
async def list_interfaces(request: Request[Any, Any, Any]) -> list[InterfaceView]:
    """Every interface, without its keys."""
    found = await asyncio.to_thread(store_of(request).access.interfaces)
    return [interface_view(each) for each in found]


@get("/refusals", guards=[OPERATOR], operation_id="listRefusals", summary="Refused posts")
async def list_refusals(
    request: Request[Any, Any, Any],
    partner: FromQuery[str | None] = None,
    interface: Annotated[int | None, QueryParameter(ge=1, le=POSITION_MAX)] = None,
    error_type: Annotated[
        str | None,
        QueryParameter(name="type", description="of the error, such as invalid_datetime"),
    ] = None,
    before: Annotated[
        int | None,
        QueryParameter(ge=1, le=POSITION_MAX, description="the next of the page before"),
    ] = None,
    limit: Annotated[
        int, QueryParameter(ge=1, le=REFUSED_MAX, description="how many at most")
    ] = REFUSED_MAX // 2,
) -> RefusedPage:
    """Refused posts of known interfaces that match everything that is given, the newest first.

    Of each interface and error type the newest 20 are kept.
    """
    read = partial(
        store_of(request).posts.refused,
        partner=partner,
        interface=interface,
        type=error_type,
        before=before,
        limit=limit,
    )
    found = await asyncio.to_thread(read)
    following = found[-1].id if len(found) == limit else None
    return RefusedPage([refused_post_view(each) for each in found], following)


ROUTES: Final = [
    search,
    list_items,
    show_item,
    show_order,
    list_orders,
    register_orders,
    list_owners,
    create_owner,
    read_log,
    follow_log,
    list_partners,
    list_interfaces,
    list_refusals,
]


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not _CURSOR.fullmatch(cursor) or int(cursor, 16) > POSITION_MAX:
        raise ClientException("cursor: give the next of the page before, as it was")
    return int(cursor, 16)
