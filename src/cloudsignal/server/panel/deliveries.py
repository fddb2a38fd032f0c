"""The pages of deliveries: every attempt to tell an owner, what was sent, how it was answered, and once more."""

import asyncio
import time
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get, post
from litestar.params import QueryParameter

from cloudsignal.server.bodies import Unfit
from cloudsignal.server.clock import now
from cloudsignal.server.delivery.composing import keyed
from cloudsignal.server.delivery.desk import instant
from cloudsignal.server.delivery.views import attempt_view, sent_headers
from cloudsignal.server.panel.forms import places
from cloudsignal.server.panel.lists import Column, Listing, exported, wants_csv
from cloudsignal.server.panel.pages import Asked, Before, Number, page, store_for, to
from cloudsignal.server.panel.telling import (
    CHOICE_MAX,
    MENDS,
    PAGE,
    RESTS,
    SEES,
    Chosen,
    attempts_of,
    endpoint_of,
    endpoint_then,
    endpoints_of,
    path_of,
    rights,
)
from cloudsignal.server.store.deliveries import Attempted, Noted
from cloudsignal.server.store.errors import NotFound

WAIT_S: Final = 10.0
"""How long a page waits for an attempt that was asked for."""
POLL_S: Final = 0.2

Text = Annotated[str, QueryParameter(max_length=128)]


ATTEMPTS: Final = Listing[Attempted](
    path="/deliveries",
    title="Attempts",
    columns=(
        Column("Begun, UTC", lambda each: each.at, "instant"),
        Column("What became of it", lambda each: each.error or "delivered"),
        Column("Status", lambda each: each.status),
        Column("Type", lambda each: each.type),
        Column("Order", lambda each: each.order),
        Column("Item", lambda each: each.item),
        Column("Endpoint", lambda each: each.endpoint),
        Column("Delivery", lambda each: each.message),
        Column("Try", lambda each: each.attempt),
        Column("Took, ms", lambda each: each.took // 1000),
    ),
    turn="before",
    place=lambda each: each.id,
)
"""As a file: on the page each row has links of its own."""


@get("/deliveries", guards=[SEES])
async def list_attempts(
    request: Asked,
    endpoint: Chosen = "",
    order: Text = "",
    since: Text = "",
    failed: bool = False,
    before: Before = None,
) -> Response[Any]:
    """The newest attempts to tell owners, those of an endpoint or of an order, those that failed, those since."""
    given = {"endpoint": endpoint, "order": order, "since": since}
    given |= {"failed": "true"} if failed else {}
    try:
        chosen = {
            "order": order.strip() or None,
            "since": instant(since) if since else None,
            "failed": failed or None,
        }
    except Unfit as error:
        return await _attempts(request, given, None, before, places(error, given))
    return await _attempts(request, given, chosen, before)


async def _attempts(
    request: Asked,
    given: dict[str, str],
    chosen: dict[str, Any] | None,
    before: int | None,
    wrong: dict[str, str] | None = None,
) -> Response[Any]:
    """Attempts that are ``chosen``, none if what was given makes no sense."""

    def attempts(*, before: int | None = before, limit: int = PAGE) -> list[Attempted]:
        number = int(given["endpoint"]) if given["endpoint"] else None
        if number is not None:
            endpoint_then(request, number)
        if chosen is None:
            return []
        return attempts_of(request, number, before=before, limit=limit, **chosen)

    def read() -> dict[str, Any]:
        return {"attempts": attempts(), "endpoints": endpoints_of(request)}

    if wants_csv(request) and not wrong:
        return await exported(request, ATTEMPTS, attempts)
    found = await asyncio.to_thread(read)
    next = found["attempts"][-1].id if len(found["attempts"]) == PAGE else None
    told = {"given": given, "wrong": wrong or {}, "next": next, "most": CHOICE_MAX}
    return page(request, "deliveries.html", status=400 if wrong else 200, **found, **told)


@get("/deliveries/{number:int}", guards=[SEES])
async def show_attempt(request: Asked, number: Number) -> Response[Any]:
    """One attempt: what was sent, how it was answered, and the others of the same delivery."""

    def read() -> dict[str, Any]:
        attempt = request.app.state.store.delivery_log.attempt(number)
        endpoint = endpoint_then(request, attempt.endpoint)
        others = attempts_of(request, attempt.endpoint, message=attempt.message)
        return {"attempt": attempt, "endpoint": endpoint, "attempts": others}

    found = await asyncio.to_thread(read)
    attempt = found["attempt"]
    told: dict[str, Any] = {
        "view": attempt_view(attempt),
        "headers": sent_headers(attempt),
        "body": _readable(keyed(attempt.webhook, "…")),
    }
    return page(request, "attempt.html", **found, **told, **rights(request))


@get("/endpoints/{number:int}/deliveries/{message:str}", guards=[SEES])
async def show_delivery(
    request: Asked, number: Number, message: str, after: int | None = None, before: Before = None
) -> Response[Any]:
    """A delivery with its attempts; or the first one ``after`` another, if it is made soon."""
    if after is not None and (made := await _awaited(request, number, message, after)):
        return to(f"/deliveries/{made}")

    def read() -> dict[str, Any]:
        endpoint = endpoint_then(request, number)
        noted = request.app.state.store.delivery_log.find(number, message)
        attempts = attempts_of(request, number, message=message, before=before)
        if noted is None and not attempts:
            raise NotFound(f"there is no delivery {message} of endpoint {number}")
        return {"endpoint": endpoint, "noted": noted, "attempts": attempts}

    found = await asyncio.to_thread(read)
    next = found["attempts"][-1].id if len(found["attempts"]) == PAGE else None
    about: Noted | Attempted = found["noted"] or found["attempts"][0]
    told: dict[str, Any] = {"about": about, "after": after, "next": next}
    return page(request, "delivery.html", **found, **told, **rights(request))


@post("/endpoints/{number:int}/deliveries/{message:str}/redeliver", guards=[MENDS])
async def redeliver(request: Asked, number: Number, message: str) -> Response[Any]:
    """Have a delivery told once more, whatever became of it, and go on to what becomes of it now."""

    def ask() -> int:
        endpoint_of(request, number)
        newest = _newest(request, number, message)
        store_for(request).delivery_log.tell_again(number, message, now=now())
        return newest

    return to(path_of(number, message, after=await asyncio.to_thread(ask)))


def _newest(request: Asked, number: int, message: str) -> int:
    """The number of the newest attempt of a delivery, 0 if there is none."""
    found = attempts_of(request, number, message=message, limit=1)
    return found[0].id if found else 0


async def _awaited(request: Asked, number: int, message: str, after: int) -> int | None:
    """The number of an attempt of a delivery that is newer than another, once there is one, if that is soon."""
    endpoint = await asyncio.to_thread(endpoint_of, request, number)
    end = time.monotonic() + (0 if endpoint.state in RESTS else WAIT_S)
    while (newest := await asyncio.to_thread(_newest, request, number, message)) <= after:
        if time.monotonic() > end:
            return None
        await asyncio.sleep(POLL_S)
    return newest


def _readable(body: bytes) -> str:
    """JSON, a member a line."""
    return msgspec.json.format(body, indent=2).decode()


ROUTES: Final = [list_attempts, show_attempt, show_delivery, redeliver]
