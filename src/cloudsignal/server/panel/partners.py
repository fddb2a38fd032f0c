"""The pages of print partners: who prints and reports, and through which interfaces."""

import asyncio
from functools import partial
from typing import Any, Final

from litestar import Response, get, post
from msgspec import Struct

from cloudsignal.server import rules
from cloudsignal.server.panel import given as shown
from cloudsignal.server.panel.access import OPERATOR, READER_OR_PARTNER
from cloudsignal.server.panel.forms import FORM_BYTES_MAX, form, words
from cloudsignal.server.panel.interfaces import OF_PARTNER
from cloudsignal.server.panel.lists import Column, Listing, listed
from cloudsignal.server.panel.pages import (
    After,
    Asked,
    Before,
    Number,
    check_partner,
    key_desk,
    scope,
    store_for,
    to,
)
from cloudsignal.server.rules import Unfit
from cloudsignal.server.store.access import Partner
from cloudsignal.server.store.errors import AlreadyThere
from cloudsignal.server.store.store import Store


class Listed(Struct, frozen=True):
    """A print partner, and how many interfaces it has that are not revoked."""

    partner: Partner
    interfaces: int


PARTNERS: Final = Listing[Listed](
    path="/partners",
    title="Print partners",
    columns=(
        Column(
            "Name", lambda each: each.partner.name, to=lambda each: f"/partners/{each.partner.id}"
        ),
        Column("Interfaces", lambda each: each.interfaces),
        Column("Added, UTC", lambda each: each.partner.created, "instant"),
    ),
    turn="after",
    place=lambda each: each.partner.name,
)


@get("/partners", guards=[READER_OR_PARTNER])
async def list_partners(request: Asked, after: After = "") -> Response[Any]:
    """The print partners that somebody may see, in order of name."""
    return await _partners(request, after)


@post("/partners", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def create_partner(request: Asked) -> Response[Any]:
    """Add a print partner."""
    given = await form(request, "name")
    try:
        made = await asyncio.to_thread(key_desk(request).create_partner, given["name"])
    except (Unfit, AlreadyThere) as error:
        return await _partners(request, name=given["name"], error=str(error))
    return to(f"/partners/{made.id}")


@get("/partners/{number:int}", guards=[READER_OR_PARTNER])
async def show_partner(request: Asked, number: Number, before: Before = None) -> Response[Any]:
    """One print partner with its interfaces, the newest first."""
    return await _partner(request, number, before)


@post("/partners/{number:int}/interfaces", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def create_interface(request: Asked, number: Number) -> Response[Any]:
    """Add an interface, and show its key: this once."""
    given = await form(request, "timezone", "allow", "test", "apikey")
    partner = await asyncio.to_thread(store_for(request).access.numbered_partner, number)
    try:
        made = await asyncio.to_thread(
            key_desk(request).create_interface,
            partner.name,
            timezone=given["timezone"].strip(),
            allow=words(given["allow"]),
            test=bool(given["test"]),
            apikey=given["apikey"].strip() or None,
        )
    except (Unfit, AlreadyThere) as error:
        return await _partner(request, number, given=given, error=str(error))
    return shown.interface_key(request, made)


async def _partners(
    request: Asked, after: str = "", name: str = "", error: str = ""
) -> Response[Any]:
    read = partial(_listed, request.app.state.store, scope(request).partner)
    told = {"error": error, "name": name}
    return await listed(request, PARTNERS, read, "partners.html", at=after, **told)


def _listed(store: Store, own: str | None, *, after: str = "", limit: int) -> list[Listed]:
    """The print partners after a name, or somebody's own."""
    access = store.access
    found = access.partners(after=after, limit=limit) if own is None else [access.partner(own)]
    counts = access.interface_counts([each.id for each in found])
    return [Listed(each, counts.get(each.id, 0)) for each in found]


async def _partner(
    request: Asked,
    number: int,
    before: int | None = None,
    given: dict[str, str] | None = None,
    error: str = "",
) -> Response[Any]:
    access = store_for(request).access
    partner = await asyncio.to_thread(access.numbered_partner, number)
    check_partner(request, partner.name)
    return await listed(
        request,
        OF_PARTNER,
        partial(access.newest_interfaces, partner=number),
        "partner.html",
        at=before,
        partner=partner,
        zones=await asyncio.to_thread(rules.zones),
        given=given or {"timezone": "UTC", "allow": "", "test": ""},
        error=error,
    )


ROUTES: Final = [list_partners, create_partner, show_partner, create_interface]
