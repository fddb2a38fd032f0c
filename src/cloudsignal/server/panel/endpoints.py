"""The pages of endpoints: where order owners are told, how that goes, and what can be changed of it."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

from litestar import Response, get, post
from litestar.params import QueryParameter

from cloudsignal.protocol.webhooks import FORMATS, SENT
from cloudsignal.server.bodies import Unfit, converted
from cloudsignal.server.clock import now
from cloudsignal.server.delivery.desk import Made
from cloudsignal.server.delivery.views import (
    EndpointView,
    endpoint_view_of,
    endpoint_views,
    view_now,
)
from cloudsignal.server.delivery.wishes import (
    OVERLAP_HOURS,
    EndpointChange,
    EndpointCreation,
    Redelivery,
    Rotation,
)
from cloudsignal.server.panel import pages
from cloudsignal.server.panel.access import OPERATOR
from cloudsignal.server.panel.forms import FORM_BYTES_MAX, form, places, ticked
from cloudsignal.server.panel.lists import Column, Listing, exported, wants_csv
from cloudsignal.server.panel.pages import Asked, Number, page, store_for, to
from cloudsignal.server.panel.telling import (
    MENDS,
    PAGE,
    RESTS,
    SEES,
    BeforePlace,
    attempts_of,
    desk_of,
    endpoint_of,
    next_of,
    noted_of,
    path_of,
    rights,
)
from cloudsignal.server.store.deliveries import NotedState
from cloudsignal.server.store.endpoints import EndpointState

SHOWN: Final = 10
"""How many deliveries and attempts the page of an endpoint shows, before it refers to others."""
CHOICE: Final = {
    "formats": {each: each for each in FORMATS},
    "types": [each.__name__ for each in SENT],
}
"""What can be chosen of an endpoint, for the templates."""

WAITS: Final[tuple[NotedState, ...]] = ("asked", "waiting")
"""What is not told yet, and not given up."""

Form = Mapping[str, Any]
"""What a form says, or what is wrong with it, by its fields."""


ENDPOINTS: Final = Listing[EndpointView](
    path="/endpoints",
    title="Endpoints",
    columns=(
        Column("No.", lambda each: each.endpoint),
        Column("Owner", lambda each: each.owner),
        Column("URL", lambda each: each.url),
        Column("Format", lambda each: each.format),
        Column("Types", lambda each: each.types or "all"),
        Column("Test", lambda each: each.test or None),
        Column("State", lambda each: each.state),
        Column("Health", lambda each: each.health),
        Column("Waiting", lambda each: each.waiting + each.asked),
        Column("Dead", lambda each: each.dead),
    ),
    turn="after",
    place=lambda each: each.endpoint,
)
"""As a file: the page says it shorter."""


@get("/endpoints", guards=[SEES])
async def list_endpoints(
    request: Asked,
    owner: Annotated[str, QueryParameter(max_length=255)] = "",
    after: Annotated[int, QueryParameter(ge=0, le=2**53)] = 0,
) -> Response[Any]:
    """The endpoints, or those of an owner."""
    store = request.app.state.store

    def views(*, after: int = 0, limit: int) -> list[EndpointView]:
        chosen = pages.scope(request).owner or owner or None
        return endpoint_views(store, chosen, after=after, limit=limit, now=now())

    def read() -> dict[str, Any]:
        found = views(after=after, limit=PAGE)
        owners = [] if pages.scope(request).is_narrow else store.orders.owners()
        return {"endpoints": found, "owners": [each.name for each in owners]}

    if wants_csv(request):
        return await exported(request, ENDPOINTS, views)
    found = await asyncio.to_thread(read)
    last = found["endpoints"][-1].endpoint if len(found["endpoints"]) == PAGE else None
    return page(request, "endpoints.html", owner=owner, next=last, **found, **rights(request))


# ---- adding one ----

NEW: Final = ("owner", "url", "format", "test", "apikey", "secret")
"""The fields of a new endpoint that are texts."""


@get("/endpoints/new", guards=[OPERATOR])
async def show_new(request: Asked, owner: str = "") -> Response[Any]:
    """The page to add an endpoint on."""
    return await _new(request, dict.fromkeys(NEW, "") | {"owner": owner})


@post("/endpoints/new", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def create_endpoint(request: Asked) -> Response[Any]:
    """Add an endpoint, and show its key and its secret: this once."""
    given = await form(request, *NEW) | await _wanted(request)
    wish = _said(given) | {"test": bool(given["test"])}
    desk = desk_of(request)

    def create() -> Made:
        return desk.create(converted(wish, EndpointCreation), now=now())

    try:
        return await _made(request, await asyncio.to_thread(create))
    except Unfit as error:
        return await _new(request, given, places(error, given))


async def _wanted(request: Asked) -> dict[str, Any]:
    """What the check boxes of an endpoint say."""
    newest_only = bool(await ticked(request, "newest_only"))
    return {"types": await ticked(request, "types"), "newest_only": newest_only}


async def _new(request: Asked, given: Form, wrong: Form | None = None) -> Response[Any]:
    owners = await asyncio.to_thread(request.app.state.store.orders.owners)
    told = {"given": {"types": [], "newest_only": False, **given}, "wrong": wrong or {}}
    names = [each.name for each in owners]
    status = 400 if wrong else 200
    return page(request, "endpoint_new.html", status=status, owners=names, **told, **CHOICE)


async def _made(request: Asked, made: Made) -> Response[Any]:
    """What is new of an endpoint's key and secret."""
    view = await asyncio.to_thread(view_now, request.app.state.store, made.endpoint, now=now())
    return page(request, "endpoint_made.html", made=made, view=view)


# ---- one of them ----


@get("/endpoints/{number:int}", guards=[SEES])
async def show_endpoint(request: Asked, number: Number) -> Response[Any]:
    """An endpoint: how it is doing, what waits, what was tried last, and what can be done about it."""
    return await _endpoint(request, number)


@get("/endpoints/{number:int}/waiting", guards=[SEES])
async def list_waiting(request: Asked, number: Number, before: BeforePlace = "") -> Response[Any]:
    """What waits to be told at an endpoint, the newest first."""

    def read() -> dict[str, Any]:
        endpoint = endpoint_of(request, number)
        found = noted_of(request, number, *WAITS, before=before)
        return {"endpoint": endpoint, "waiting": found, "next": next_of(found)}

    return page(request, "waiting.html", **await asyncio.to_thread(read))


@post("/endpoints/{number:int}/test", guards=[MENDS])
async def test_endpoint(request: Asked, number: Number) -> Response[Any]:
    """Have a webhook posted that is about no real order, and go on to what becomes of it."""

    def ask() -> str | None:
        is_told = endpoint_of(request, number).state not in RESTS
        return desk_of(request).test(number, now=now()) if is_told else None

    message = await asyncio.to_thread(ask)
    if message is None:
        return await _endpoint(request, number, {"": "nothing is posted to it: resume it first"})
    return to(path_of(number, message, after=0))


@post("/endpoints/{number:int}/pause", guards=[MENDS])
async def pause_endpoint(request: Asked, number: Number) -> Response[Any]:
    """Post nothing to an endpoint, until it is resumed."""
    return await _set_state(request, number, "paused")


@post("/endpoints/{number:int}/resume", guards=[MENDS])
async def resume_endpoint(request: Asked, number: Number) -> Response[Any]:
    """Go on with an endpoint where it was."""
    return await _set_state(request, number, "active")


@post("/endpoints/{number:int}/recover", guards=[MENDS], request_max_body_size=FORM_BYTES_MAX)
async def recover_endpoint(request: Asked, number: Number) -> Response[Any]:
    """Have everything told once more that was given up since an instant."""
    given = await form(request, "since")

    def redeliver() -> int:
        endpoint_of(request, number)
        return desk_of(request).redeliver(number, converted(given, Redelivery), now=now())

    try:
        count = await asyncio.to_thread(redeliver)
    except Unfit as error:
        return await _endpoint(request, number, places(error, given), given["since"])
    return to(f"/dead-letters?endpoint={number}&redelivered={count}")


async def _set_state(request: Asked, number: int, state: EndpointState) -> Response[Any]:
    def change() -> None:
        endpoint_of(request, number)
        store_for(request).endpoints.set_state(number, state)

    await asyncio.to_thread(change)
    return to(f"/endpoints/{number}")


async def _endpoint(
    request: Asked, number: int, wrong: Form | None = None, since: str = ""
) -> Response[Any]:
    def read() -> dict[str, Any]:
        endpoint = endpoint_of(request, number)
        return {
            "endpoint": endpoint,
            "view": view_now(request.app.state.store, endpoint, now=now()),
            "waiting": noted_of(request, number, *WAITS, limit=SHOWN),
            "attempts": attempts_of(request, number, limit=SHOWN),
        }

    told = {"since": since, "wrong": wrong or {}, "rests": RESTS, **rights(request)}
    status = 400 if wrong else 200
    return page(request, "endpoint.html", status=status, **await asyncio.to_thread(read), **told)


# ---- changing one ----

CHANGED: Final = ("url", "format")
ROTATED: Final = ("overlap_hours", "secret", "apikey")
"""The fields of the forms on that page that are texts."""


@get("/endpoints/{number:int}/change", guards=[OPERATOR])
async def show_change(request: Asked, number: Number) -> Response[Any]:
    """The page on which an endpoint is changed, its secret replaced, or all of it removed."""
    return await _change(request, number)


@post("/endpoints/{number:int}/change", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def change_endpoint(request: Asked, number: Number) -> Response[Any]:
    """Change an endpoint; a URL that is left empty stays."""
    given = await form(request, *CHANGED) | await _wanted(request)
    desk = desk_of(request)

    def change() -> None:
        desk.change(number, converted(_said(given), EndpointChange))

    try:
        await asyncio.to_thread(change)
    except Unfit as error:
        return await _change(request, number, given, places(error, given))
    return to(f"/endpoints/{number}")


@post("/endpoints/{number:int}/rotate", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def rotate_endpoint(request: Asked, number: Number) -> Response[Any]:
    """Give an endpoint another secret, and show it: this once."""
    given = await form(request, *ROTATED)
    wish = _said(given) | {"overlap_hours": _number(given["overlap_hours"])}
    desk = desk_of(request)

    def rotate() -> Made:
        return desk.rotate(number, converted(wish, Rotation), now=now())

    try:
        return await _made(request, await asyncio.to_thread(rotate))
    except Unfit as error:
        return await _change(request, number, given, places(error, given))


@post("/endpoints/{number:int}/remove", guards=[OPERATOR])
async def remove_endpoint(request: Asked, number: Number) -> Response[Any]:
    """End an endpoint for good, with all that waits for it."""
    await asyncio.to_thread(store_for(request).endpoints.remove, number)
    return to("/endpoints")


def _said(given: Form) -> dict[str, Any]:
    """What a form says, less what was left empty."""
    return {name: value for name, value in given.items() if value != ""}


def _number(text: str) -> float | str:
    """The number that is written so; what is none stays as it is, for whoever checks it."""
    try:
        return float(text)
    except ValueError:
        return text


async def _change(
    request: Asked, number: int, given: Form | None = None, wrong: Form | None = None
) -> Response[Any]:
    store = request.app.state.store
    view = await asyncio.to_thread(endpoint_view_of, store, number, now=now())
    known = {"url": "", "overlap_hours": f"{OVERLAP_HOURS:g}", "secret": "", "apikey": ""}
    known |= {name: getattr(view, name) for name in ("format", "types", "newest_only")}
    told = {"view": view, "given": {**known, **(given or {})}, "wrong": wrong or {}}
    return page(request, "endpoint_change.html", status=400 if wrong else 200, **told, **CHOICE)


ROUTES: Final = [
    list_endpoints,
    show_new,
    create_endpoint,
    show_endpoint,
    list_waiting,
    test_endpoint,
    pause_endpoint,
    resume_endpoint,
    recover_endpoint,
    show_change,
    change_endpoint,
    rotate_endpoint,
    remove_endpoint,
]
