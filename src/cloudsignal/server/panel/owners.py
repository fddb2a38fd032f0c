"""The pages of owners: whose orders there are, and the keys they read with."""

import asyncio
from typing import Any, Final

from litestar import Response, get, post

from cloudsignal.server.clock import now
from cloudsignal.server.key_desk import is_valid
from cloudsignal.server.panel import given as shown
from cloudsignal.server.panel.access import OPERATOR, READER
from cloudsignal.server.panel.forms import FORM_BYTES_MAX, form
from cloudsignal.server.panel.lists import Column, Listing, listed
from cloudsignal.server.panel.pages import After, Asked, Number, key_desk, page, store_for, to
from cloudsignal.server.rules import Unfit
from cloudsignal.server.store.errors import AlreadyThere
from cloudsignal.server.store.orders import Owner

OWNERS: Final = Listing[Owner](
    path="/owners",
    title="Owners",
    columns=(
        Column("Name", lambda each: each.name, to=lambda each: f"/owners/{each.id}"),
        Column("Gets what nobody registered", lambda each: each.unregistered or None),
        Column("Added, UTC", lambda each: each.created, "instant"),
    ),
    turn="after",
    place=lambda each: each.name,
)
KEYS_SHOWN: Final = 20


@get("/owners", guards=[READER])
async def list_owners(request: Asked, after: After = "") -> Response[Any]:
    """The owners in order of name."""
    return await _owners(request, after)


@post("/owners", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def create_owner(request: Asked) -> Response[Any]:
    """Add an owner."""
    given = await form(request, "name", "unregistered")
    try:
        made = await asyncio.to_thread(
            key_desk(request).create_owner,
            given["name"],
            unregistered=bool(given["unregistered"]),
        )
    except (Unfit, AlreadyThere) as error:
        return await _owners(request, given=given, error=str(error))
    return to(f"/owners/{made.id}")


@get("/owners/{number:int}", guards=[READER])
async def show_owner(request: Asked, number: Number) -> Response[Any]:
    """One owner, and its keys."""
    return await _owner(request, number)


@post("/owners/{number:int}/keys", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def add_owner_key(request: Asked, number: Number) -> Response[Any]:
    """Show a new key: this once. Those that are there expire after the overlap."""
    given = await form(request, "hours")
    owner = await asyncio.to_thread(store_for(request).orders.numbered_owner, number)
    try:
        made = await asyncio.to_thread(key_desk(request).add_owner_key, owner.name, given["hours"])
    except Unfit as error:
        return await _owner(request, number, str(error))
    return shown.owner_key(request, made)


async def _owners(
    request: Asked, after: str = "", given: dict[str, str] | None = None, error: str = ""
) -> Response[Any]:
    read = request.app.state.store.orders.owners
    told: dict[str, Any] = {"error": error, "form": given or {"name": "", "unregistered": ""}}
    return await listed(request, OWNERS, read, "owners.html", at=after, **told)


async def _owner(request: Asked, number: int, error: str = "") -> Response[Any]:
    orders = store_for(request).orders
    owner = await asyncio.to_thread(orders.numbered_owner, number)
    keys = await asyncio.to_thread(orders.newest_owner_keys, number, limit=KEYS_SHOWN)
    return page(
        request,
        "owner.html",
        status=400 if error else 200,
        owner=owner,
        keys=[(each, is_valid(each, now=now())) for each in keys],
        keys_shown=KEYS_SHOWN,
        error=error,
    )


ROUTES: Final = [list_owners, create_owner, show_owner, add_owner_key]
