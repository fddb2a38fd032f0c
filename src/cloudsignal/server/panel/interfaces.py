"""The pages of interfaces: what each is like, its keys, and whether they open it."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from litestar import Response, get, post
from msgspec.structs import replace

from cloudsignal.protocol.units import DAY_US
from cloudsignal.server import rules
from cloudsignal.server.clock import now
from cloudsignal.server.key_desk import KeyDesk, is_valid
from cloudsignal.server.panel import given as shown
from cloudsignal.server.panel.access import OPERATOR, READER_OR_PARTNER
from cloudsignal.server.panel.forms import FORM_BYTES_MAX, form, words
from cloudsignal.server.panel.lists import Column, Listing, listed
from cloudsignal.server.panel.pages import (
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
from cloudsignal.server.store.access import Interface
from cloudsignal.server.store.store import Store

FEW: Final = 4
"""How many addresses are listed of an interface; its own page has all."""


def _few(addresses: tuple[str, ...]) -> tuple[str, ...]:
    more = len(addresses) - FEW
    return addresses if more <= 0 else (*addresses[:FEW], f"{more} more")


NUMBER: Final = Column[Interface](
    "Interface", lambda each: each.id, to=lambda each: f"/interfaces/{each.id}"
)
ABOUT: Final[tuple[Column[Interface], ...]] = (
    Column("State", lambda each: each.state),
    Column("Time zone", lambda each: each.timezone),
    Column("Allowed from", lambda each: _few(each.allow) or "everywhere"),
    Column("Test", lambda each: each.test or None),
    Column("Added, UTC", lambda each: each.created, "instant"),
)
INTERFACES: Final = Listing[Interface](
    path="/interfaces",
    title="Interfaces",
    columns=(
        NUMBER,
        Column(
            "Print partner",
            lambda each: each.partner_name,
            to=lambda each: f"/partners/{each.partner}",
        ),
        *ABOUT,
    ),
    turn="before",
    place=lambda each: each.id,
)
OF_PARTNER: Final = replace(INTERFACES, columns=(NUMBER, *ABOUT))
"""The same of one print partner, on its page."""
KEYS_SHOWN: Final = 20


@get("/interfaces", guards=[READER_OR_PARTNER])
async def list_interfaces(request: Asked, before: Before = None) -> Response[Any]:
    """The interfaces that somebody may see, the newest first."""
    read = partial(_listed, request.app.state.store, scope(request).partner)
    return await listed(request, INTERFACES, read, "interfaces.html", at=before)


@get("/interfaces/{number:int}", guards=[READER_OR_PARTNER])
async def show_interface(request: Asked, number: Number) -> Response[Any]:
    """One interface, and what can be changed of it."""
    return await _interface(request, number)


@post("/interfaces/{number:int}", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def change_interface(request: Asked, number: Number) -> Response[Any]:
    """Have an interface be otherwise, for what comes in from now on."""
    given = await form(request, "timezone", "allow", "test")

    def change(desk: KeyDesk) -> None:
        desk.change_interface(
            number,
            timezone=given["timezone"].strip(),
            allow=words(given["allow"]),
            test=bool(given["test"]),
        )

    return await _change(request, number, change, given)


@post("/interfaces/{number:int}/rotate", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def rotate_key(request: Asked, number: Number) -> Response[Any]:
    """Show a new key: this once. The old ones expire after the overlap."""
    given = await form(request, "hours")
    try:
        made = await asyncio.to_thread(key_desk(request).rotate_key, number, given["hours"])
    except Unfit as error:
        return await _interface(request, number, error=str(error))
    return shown.interface_key(request, made)


@post("/interfaces/{number:int}/disable", guards=[OPERATOR])
async def disable_interface(request: Asked, number: Number) -> Response[Any]:
    """Close an interface."""
    return await _change(request, number, lambda desk: desk.set_disabled(number, True))


@post("/interfaces/{number:int}/enable", guards=[OPERATOR])
async def enable_interface(request: Asked, number: Number) -> Response[Any]:
    """Open an interface again."""
    return await _change(request, number, lambda desk: desk.set_disabled(number, False))


@post("/interfaces/{number:int}/revoke", guards=[OPERATOR])
async def revoke_interface(request: Asked, number: Number) -> Response[Any]:
    """Close an interface for good."""
    return await _change(request, number, lambda desk: desk.revoke(number))


def _listed(
    store: Store, own: str | None, *, before: int | None = None, limit: int
) -> list[Interface]:
    """The interfaces before one: of one print partner, by name, or of all."""
    partner = None if own is None else store.access.partner(own).id
    return store.access.newest_interfaces(partner=partner, before=before, limit=limit)


async def _change(
    request: Asked,
    number: int,
    change: Callable[[KeyDesk], object],
    given: dict[str, str] | None = None,
) -> Response[Any]:
    """Change an interface, or say why that cannot be."""
    try:
        await asyncio.to_thread(change, key_desk(request))
    except Unfit as error:
        return await _interface(request, number, given, str(error))
    return to(f"/interfaces/{number}")


async def _interface(
    request: Asked, number: int, given: dict[str, str] | None = None, error: str = ""
) -> Response[Any]:
    access = store_for(request).access
    interface = await asyncio.to_thread(access.interface, number)
    check_partner(request, interface.partner_name)
    keys = await asyncio.to_thread(access.newest_keys, number, limit=KEYS_SHOWN)
    came = await asyncio.to_thread(store_for(request).posts.of_interfaces, now() - DAY_US)
    return page(
        request,
        "interface.html",
        status=400 if error else 200,
        interface=interface,
        keys=[(each, is_valid(each, now=now())) for each in keys],
        keys_shown=KEYS_SHOWN,
        traffic=came[number],
        zones=await asyncio.to_thread(rules.zones),
        given=given or _as_form(interface),
        error=error,
    )


def _as_form(interface: Interface) -> dict[str, str]:
    """What a form says that changes nothing."""
    return {
        "timezone": interface.timezone,
        "allow": "\n".join(interface.allow),
        "test": "on" if interface.test else "",
    }


ROUTES: Final = [
    list_interfaces,
    show_interface,
    change_interface,
    rotate_key,
    disable_interface,
    enable_interface,
    revoke_interface,
]
