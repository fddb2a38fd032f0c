"""The page of dead letters: what was given up, to be told once more or forgotten."""

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from litestar import Response, get, post
from litestar.exceptions import ClientException

from cloudsignal.server.bodies import Unfit, Wrong, converted
from cloudsignal.server.clock import now
from cloudsignal.server.delivery.wishes import Discarding, Redelivery
from cloudsignal.server.panel.access import OPERATOR
from cloudsignal.server.panel.forms import FORM_BYTES_MAX, form, ticked
from cloudsignal.server.panel.lists import Column, Listing, exported, wants_csv
from cloudsignal.server.panel.pages import Asked, page, to
from cloudsignal.server.panel.telling import (
    CHOICE_MAX,
    MENDS,
    SEES,
    BeforePlace,
    Chosen,
    desk_of,
    endpoint_of,
    endpoints_of,
    next_of,
    noted_of,
    place_of,
    rights,
)
from cloudsignal.server.store.deliveries import Noted

Wish = dict[str, Any]
"""What is meant of an endpoint: certain messages, or all."""


DEAD: Final = Listing[Noted](
    path="/dead-letters",
    title="Dead letters",
    columns=(
        Column("Given up, UTC", lambda each: each.changed, "instant"),
        Column("Type", lambda each: each.type),
        Column("Order", lambda each: each.order),
        Column("Item", lambda each: each.item),
        Column("Endpoint", lambda each: each.endpoint),
        Column("Delivery", lambda each: each.message),
        Column("Tries", lambda each: each.attempts),
        Column("Why", lambda each: each.why),
    ),
    turn="before",
    place=place_of,
)
"""As a file: on the page rows can be ticked."""


@get("/dead-letters", guards=[SEES])
async def list_dead(
    request: Asked,
    endpoint: Chosen = "",
    before: BeforePlace = "",
    redelivered: int | None = None,
    discarded: int | None = None,
) -> Response[Any]:
    """What was given up, of all endpoints or of one; and how much has just been redelivered or discarded."""
    if wants_csv(request):
        return await exported(request, DEAD, partial(_read_dead, request, endpoint))
    return await _dead(request, endpoint, before, redelivered=redelivered, discarded=discarded)


@post("/dead-letters/redeliver", guards=[MENDS], request_max_body_size=FORM_BYTES_MAX)
async def redeliver_dead(request: Asked) -> Response[Any]:
    """Have told once more what was ticked, or all."""
    desk = desk_of(request)

    def redeliver(number: int, wish: Wish) -> int:
        return desk.redeliver(number, converted(wish, Redelivery), now=now())

    return await _act(request, redeliver, "redelivered")


@post("/dead-letters/discard", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def discard_dead(request: Asked) -> Response[Any]:
    """Forget what was ticked, or all."""
    desk = desk_of(request)

    def discard(number: int, wish: Wish) -> int:
        return desk.discard(number, converted(wish, Discarding))

    return await _act(request, discard, "discarded")


async def _act(request: Asked, act: Callable[[int, Wish], int], done: str) -> Response[Any]:
    """Do something with what a form means, and show what is left; or say why that cannot be."""
    given = await form(request, "endpoint", "all")
    chosen = await ticked(request, "chosen")
    endpoint = given["endpoint"]

    def do() -> int:
        wishes = _all(request, endpoint) if given["all"] else _ticked(request, chosen)
        return sum(act(number, wish) for number, wish in wishes.items())

    try:
        count = await asyncio.to_thread(do)
    except Unfit as error:
        return await _dead(request, endpoint, error=str(error))
    return to(f"/dead-letters?endpoint={endpoint}&{done}={count}")


def _all(request: Asked, endpoint: str) -> dict[int, Wish]:
    """All of one endpoint, or of each that is seen and has any, by their numbers. Raises NotFound."""
    if endpoint:
        return {endpoint_of(request, _number(endpoint)).id: {"all": True}}
    counts = request.app.state.store.delivery_log.counts()
    return {each: {"all": True} for each in endpoints_of(request) if "dead" in counts.get(each, ())}


def _ticked(request: Asked, chosen: list[str]) -> dict[int, Wish]:
    """What was ticked, by the numbers of its endpoints. Raises NotFound, and Unfit when it is nothing."""
    if not chosen:
        raise Unfit([Wrong("", "tick what is meant, or take all")])
    messages: dict[int, list[str]] = {}
    for each in chosen:
        number, _, message = each.partition(" ")
        messages.setdefault(_number(number), []).append(message)
    return {endpoint_of(request, each).id: {"messages": its} for each, its in messages.items()}


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,15}", text):
        raise ClientException("this is no number of an endpoint")
    return int(text)


def _read_dead(request: Asked, endpoint: str, *, before: str = "", limit: int) -> list[Noted]:
    number = _endpoint_or_all(request, endpoint)
    return noted_of(request, number, "dead", before=before, limit=limit)


def _endpoint_or_all(request: Asked, endpoint: str) -> int | None:
    """The number of the endpoint that is chosen, None for all. Raises NotFound."""
    return endpoint_of(request, _number(endpoint)).id if endpoint else None


async def _dead(
    request: Asked, endpoint: str, before: str = "", error: str = "", **done: int | None
) -> Response[Any]:
    def read() -> dict[str, Any]:
        number = _endpoint_or_all(request, endpoint)
        endpoints = endpoints_of(request)
        counts = request.app.state.store.delivery_log.counts()
        those = endpoints if number is None else [number]
        dead = noted_of(request, number, "dead", before=before)
        return {
            "endpoints": endpoints,
            "dead": dead,
            "count": sum(counts.get(each, {}).get("dead", 0) for each in those),
            "next": next_of(dead),
            "most": CHOICE_MAX,
        }

    found = await asyncio.to_thread(read)
    told = {"endpoint": endpoint, "error": error, "redelivered": None, "discarded": None, **done}
    status = 400 if error else 200
    return page(request, "dead_letters.html", status=status, **found, **told, **rights(request))


ROUTES: Final = [list_dead, redeliver_dead, discard_dead]
