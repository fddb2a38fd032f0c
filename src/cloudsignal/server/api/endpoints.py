"""The routes of endpoints and deliveries: where owners are told, how that goes, and what is told once more."""

import asyncio
from functools import partial
from typing import Annotated, Any, Final, TypeVar

from litestar import Request, delete, get, patch, post
from litestar.exceptions import ClientException
from litestar.params import FromQuery, PathParameter, QueryParameter

from cloudsignal.server import bodies, clock
from cloudsignal.server.api.requests import (
    LIMIT,
    OPERATOR,
    POSITION_MAX,
    READER,
    Limit,
    actor_of,
    store_of,
)
from cloudsignal.server.delivery.desk import Desk, Made
from cloudsignal.server.delivery.views import (
    AttemptPage,
    Chosen,
    DeliveryPage,
    EndpointView,
    MadeView,
    MessageView,
    attempt_view,
    delivery_view,
    endpoint_view_of,
    endpoint_views,
    made_view,
    view_now,
)
from cloudsignal.server.delivery.wishes import (
    Discarding,
    EndpointChange,
    EndpointCreation,
    Redelivery,
    Rotation,
)
from cloudsignal.server.store.deliveries import NotedState
from cloudsignal.server.store.endpoints import EndpointState
from cloudsignal.server.store.store import Store

WISH_BYTES_MAX: Final = 1 << 18
"""The largest body that is read here."""
ATTEMPTS_MAX: Final = 100
"""How many attempts a page holds at most: each has what was sent and the beginning of the answer."""

T = TypeVar("T")
Asked = Request[Any, Any, Any]
Number = Annotated[
    int, PathParameter(ge=1, le=POSITION_MAX, description="the number of the endpoint")
]


@get("/endpoints", guards=[READER], operation_id="listEndpoints", summary="Endpoints")
async def list_endpoints(request: Asked, owner: FromQuery[str | None] = None) -> list[EndpointView]:
    """Every endpoint, or those of an owner, with how it is doing; without keys and secrets."""
    return await asyncio.to_thread(endpoint_views, store_of(request), owner, now=clock.now())


@post(
    "/endpoints",
    guards=[OPERATOR],
    operation_id="createEndpoint",
    summary="Add an endpoint",
    request_max_body_size=WISH_BYTES_MAX,
)
async def create_endpoint(request: Asked) -> MadeView:
    """An endpoint of an owner, who is told there what comes from now on.

    Its key and its secret are in this answer, and in no later one.
    """
    wish = await _told(request, EndpointCreation)
    return await asyncio.to_thread(_create, store_of(request), _desk(request), wish)


def _create(store: Store, desk: Desk, wish: EndpointCreation) -> MadeView:
    now = clock.now()
    return _made_view(store, desk.create(wish, now=now), now)


@get(
    "/endpoints/{endpoint:int}",
    guards=[READER],
    operation_id="showEndpoint",
    summary="One endpoint",
)
async def show_endpoint(request: Asked, endpoint: Number) -> EndpointView:
    """An endpoint with how it is doing; without its key and its secret."""
    return await _view(request, endpoint)


@patch(
    "/endpoints/{endpoint:int}",
    guards=[OPERATOR],
    operation_id="changeEndpoint",
    summary="Change an endpoint",
    request_max_body_size=WISH_BYTES_MAX,
)
async def change_endpoint(request: Asked, endpoint: Number) -> EndpointView:
    """What is given is another from now on; what is left out stays. What waits goes to another URL too, as it was."""
    wish = await _told(request, EndpointChange)
    await asyncio.to_thread(_desk(request).change, endpoint, wish)
    return await _view(request, endpoint)


@delete(
    "/endpoints/{endpoint:int}",
    guards=[OPERATOR],
    operation_id="removeEndpoint",
    summary="Remove an endpoint",
)
async def remove_endpoint(request: Asked, endpoint: Number) -> None:
    """Its owner is told nothing there any more: what waits for it is gone, its attempts stay."""
    await asyncio.to_thread(store_of(request).endpoints.remove, endpoint)


@post(
    "/endpoints/{endpoint:int}/pause",
    guards=[OPERATOR],
    operation_id="pauseEndpoint",
    summary="Pause an endpoint",
    status_code=200,
)
async def pause_endpoint(request: Asked, endpoint: Number) -> EndpointView:
    """Nothing is posted to it until it is resumed, and nothing that is due meanwhile is lost."""
    return await _set_state(request, endpoint, "paused")


@post(
    "/endpoints/{endpoint:int}/resume",
    guards=[OPERATOR],
    operation_id="resumeEndpoint",
    summary="Resume an endpoint",
    status_code=200,
)
async def resume_endpoint(request: Asked, endpoint: Number) -> EndpointView:
    """It goes on where it was. One that failed too often is probed first: with one webhook."""
    return await _set_state(request, endpoint, "active")


@post(
    "/endpoints/{endpoint:int}/test",
    guards=[OPERATOR],
    operation_id="testEndpoint",
    summary="Test an endpoint",
    status_code=200,
)
async def test_endpoint(request: Asked, endpoint: Number) -> MessageView:
    """A webhook about no real order is going to be posted, of the first type that it is sent.

    What became of it is in the attempts of its message. One that is paused or disabled gets it once it is resumed.
    """
    test = partial(_desk(request).test, endpoint, now=clock.now())
    return MessageView(await asyncio.to_thread(test))


@post(
    "/endpoints/{endpoint:int}/rotate",
    guards=[OPERATOR],
    operation_id="rotateEndpoint",
    summary="Replace an endpoint's secret",
    status_code=200,
    request_max_body_size=WISH_BYTES_MAX,
)
async def rotate_endpoint(request: Asked, endpoint: Number) -> MadeView:
    """A new secret, shown in this answer only, and the key that is given. Both secrets sign for a while."""
    wish = await _told(request, Rotation)
    return await asyncio.to_thread(_rotate, store_of(request), _desk(request), endpoint, wish)


def _rotate(store: Store, desk: Desk, number: int, wish: Rotation) -> MadeView:
    now = clock.now()
    return _made_view(store, desk.rotate(number, wish, now=now), now)


@get(
    "/endpoints/{endpoint:int}/deliveries",
    guards=[READER],
    operation_id="listDeliveries",
    summary="What waits for an endpoint",
)
async def list_deliveries(
    request: Asked,
    endpoint: Number,
    delivery_state: Annotated[NotedState | None, QueryParameter(name="state")] = None,
    after: Annotated[str | None, QueryParameter(description="the next of the page before")] = None,
    limit: Limit = LIMIT,
) -> DeliveryPage:
    """Deliveries that were asked for, wait for another attempt, or were given up.

    What is to be told for the first time follows from the log, and is in no list; ``behind`` of the endpoint says
    how much of the log that is.
    """

    def read() -> DeliveryPage:
        store = store_of(request)
        store.endpoints.endpoint(endpoint)
        noted = store.delivery_log.noted
        found = noted(endpoint, delivery_state, after=after or "", limit=limit)
        following = found[-1].message if len(found) == limit else None
        return DeliveryPage([delivery_view(each) for each in found], following)

    return await asyncio.to_thread(read)


@post(
    "/endpoints/{endpoint:int}/redeliver",
    guards=[OPERATOR],
    operation_id="redeliver",
    summary="Tell something once more",
    status_code=200,
    request_max_body_size=WISH_BYTES_MAX,
)
async def redeliver(request: Asked, endpoint: Number) -> Chosen:
    """Deliveries that wait or were given up by their ``messages``, or signals by their ``positions`` in the log.

    Or what was given up ``since`` a datetime, or ``all`` that was. It is posted with the content and the id that it had, and as often as if it had never been tried.
    """
    wish = await _told(request, Redelivery)
    asked = partial(_desk(request).redeliver, endpoint, wish, now=clock.now())
    return Chosen(await asyncio.to_thread(asked))


@post(
    "/endpoints/{endpoint:int}/discard",
    guards=[OPERATOR],
    operation_id="discard",
    summary="Forget what was given up",
    status_code=200,
    request_max_body_size=WISH_BYTES_MAX,
)
async def discard(request: Asked, endpoint: Number) -> Chosen:
    """Deliveries that were given up: certain ``messages``, or ``all``."""
    wish = await _told(request, Discarding)
    return Chosen(await asyncio.to_thread(_desk(request).discard, endpoint, wish))


@get("/attempts", guards=[READER], operation_id="listAttempts", summary="Attempts to tell owners")
async def list_attempts(
    request: Asked,
    endpoint: Annotated[int | None, QueryParameter(ge=1, le=POSITION_MAX)] = None,
    message: FromQuery[str | None] = None,
    order: FromQuery[str | None] = None,
    item: Annotated[str | None, QueryParameter(description="an item of the order")] = None,
    failed: FromQuery[bool | None] = None,
    before: Annotated[
        int | None,
        QueryParameter(ge=1, le=POSITION_MAX, description="the next of the page before"),
    ] = None,
    limit: Annotated[
        int, QueryParameter(ge=1, le=ATTEMPTS_MAX, description="how many at most")
    ] = ATTEMPTS_MAX // 2,
) -> AttemptPage:
    """Attempts that match everything that is given, the newest first.

    Those of an order, or of an item of it, are found by its signals in the log, the newest 1,000.
    """
    if item is not None and order is None:
        raise ClientException("item: name its order as well, an item is known by both")
    read = partial(
        store_of(request).delivery_log.attempts,
        endpoint=endpoint,
        message=message,
        order=order,
        item=item,
        failed=failed,
        before=before,
        limit=limit,
    )
    found = await asyncio.to_thread(read)
    following = found[-1].id if len(found) == limit else None
    return AttemptPage([attempt_view(each) for each in found], following)


ROUTES: Final = [
    list_endpoints,
    create_endpoint,
    show_endpoint,
    change_endpoint,
    remove_endpoint,
    pause_endpoint,
    resume_endpoint,
    test_endpoint,
    rotate_endpoint,
    list_deliveries,
    redeliver,
    discard,
    list_attempts,
]


def _desk(request: Asked) -> Desk:
    desk: Desk = request.app.state.desk
    return desk.by(actor_of(request))


async def _told(request: Asked, type: type[T]) -> T:
    """What the body says. Raises Unfit."""
    return bodies.converted(bodies.decoded(await request.body()), type)


async def _view(request: Asked, number: int) -> EndpointView:
    return await asyncio.to_thread(endpoint_view_of, store_of(request), number, now=clock.now())


async def _set_state(request: Asked, number: int, state: EndpointState) -> EndpointView:
    await asyncio.to_thread(store_of(request).endpoints.set_state, number, state)
    return await _view(request, number)


def _made_view(store: Store, made: Made, now: int) -> MadeView:
    view = view_now(store, made.endpoint, now=now)
    return made_view(view, made.apikey, made.secret)
