"""The pages of print partners: who prints and reports, and through which interfaces."""

import asyncio
from typing import Any, Final

from litestar import Response, get, post

from cloudsignal.server import rules
from cloudsignal.server.panel import given as shown
from cloudsignal.server.panel.access import OPERATOR, READER_OR_PARTNER
from cloudsignal.server.panel.forms import FORM_BYTES_MAX, form, words
from cloudsignal.server.panel.pages import (
    After,
    Asked,
    Before,
    Number,
    check_partner,
    key_desk,
    page,
    scope,
    store_for,
    to,
)
from cloudsignal.server.rules import Unfit
from cloudsignal.server.store.access import Partner
from cloudsignal.server.store.errors import AlreadyThere
from cloudsignal.server.store.store import Store

PAGE: Final = 100


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
    own = scope(request).partner
    found, counts = await asyncio.to_thread(_listed, store_for(request), own, after)
    return page(
        request,
        "partners.html",
        status=400 if error else 200,
        partners=found,
        counts=counts,
        next=found[-1].name if len(found) == PAGE else None,
        name=name,
        error=error,
    )


def _listed(store: Store, own: str | None, after: str) -> tuple[list[Partner], dict[int, int]]:
    """The print partners of a page, or somebody's own, and how many interfaces each has."""
    access = store.access
    found = access.partners(after=after, limit=PAGE) if own is None else [access.partner(own)]
    return found, access.interface_counts([each.id for each in found])


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
    found = await asyncio.to_thread(
        access.newest_interfaces, partner=number, before=before, limit=PAGE
    )
    return page(
        request,
        "partner.html",
        status=400 if error else 200,
        partner=partner,
        interfaces=found,
        next=found[-1].id if len(found) == PAGE else None,
        zones=await asyncio.to_thread(rules.zones),
        given=given or {"timezone": "UTC", "allow": "", "test": ""},
        error=error,
    )


ROUTES: Final = [list_partners, create_partner, show_partner, create_interface]
