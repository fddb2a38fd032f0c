"""The pages of users: who may sign in, and what they may see."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from litestar import Response, get, post

from cloudsignal.server import rules
from cloudsignal.server.clock import now
from cloudsignal.server.panel import pages
from cloudsignal.server.panel.access import ADMIN
from cloudsignal.server.panel.forms import FORM_BYTES_MAX, form
from cloudsignal.server.panel.lists import Column, Listing, exported, wants_csv
from cloudsignal.server.panel.pages import Asked, Number, page, store_for, to
from cloudsignal.server.panel.roles import ROLES, granted, state_of
from cloudsignal.server.panel.signing import entrance_of
from cloudsignal.server.rules import Unfit
from cloudsignal.server.store.errors import AlreadyThere, LastAdmin
from cloudsignal.server.store.store import Store
from cloudsignal.server.store.users import User

USERS: Final = Listing[User](
    path="/users",
    title="Users",
    columns=(
        Column("Name", lambda each: each.name),
        Column("Role", lambda each: each.role),
        Column("Of", lambda each: each.partner_name or each.owner_name),
        Column("Second factor", lambda each: each.totp is not None),
        Column("State", state_of),
    ),
)
"""As a file; on the page they are all there as well."""


@get("/users", guards=[ADMIN])
async def list_users(request: Asked) -> Response[Any]:
    """Everybody who may sign in."""
    if wants_csv(request):
        return await exported(request, USERS, lambda limit: request.app.state.store.users.users())
    return await _users(request)


@post("/users", guards=[ADMIN], request_max_body_size=FORM_BYTES_MAX)
async def create_user(request: Asked) -> Response[Any]:
    """Add somebody, and show the link by which they choose a password: this once."""
    given = await form(request, "name", "role", "whose")
    try:
        user = await asyncio.to_thread(_create, store_for(request), given)
    except (Unfit, AlreadyThere) as error:
        return await _users(request, given, str(error))
    return await _invited(request, user)


@get("/users/{number:int}", guards=[ADMIN])
async def show_user(request: Asked, number: Number) -> Response[Any]:
    """One user, and what can be changed of them."""
    return await _user(request, number)


@post("/users/{number:int}", guards=[ADMIN], request_max_body_size=FORM_BYTES_MAX)
async def change_user(request: Asked, number: Number) -> Response[Any]:
    """What somebody may do and see from now on."""
    given = await form(request, "role", "whose")

    def change(store: Store) -> None:
        store.users.set_role(number, **_granted(store, given))

    return await _change(request, number, change)


@post("/users/{number:int}/invite", guards=[ADMIN])
async def invite_user(request: Asked, number: Number) -> Response[Any]:
    """Show a new link by which somebody chooses a password: this once."""
    return await _invited(request, number)


@post("/users/{number:int}/disable", guards=[ADMIN])
async def disable_user(request: Asked, number: Number) -> Response[Any]:
    """Keep somebody out from now on."""
    return await _change(request, number, lambda store: store.users.set_disabled(number, True))


@post("/users/{number:int}/enable", guards=[ADMIN])
async def enable_user(request: Asked, number: Number) -> Response[Any]:
    """Let somebody in again."""
    return await _change(request, number, lambda store: store.users.set_disabled(number, False))


@post("/users/{number:int}/factor/remove", guards=[ADMIN])
async def drop_factor(request: Asked, number: Number) -> Response[Any]:
    """Ask somebody for codes no more, who has lost what makes them."""
    return await _change(request, number, lambda store: store.users.set_totp(number, None))


@post("/users/{number:int}/remove", guards=[ADMIN])
async def remove_user(request: Asked, number: Number) -> Response[Any]:
    """End somebody's access for good."""
    return await _change(request, number, lambda store: store.users.remove(number), "/users")


def _create(store: Store, given: dict[str, str]) -> int:
    return store.users.create(rules.name(given["name"]), **_granted(store, given), now=now()).id


def _granted(store: Store, given: dict[str, str]) -> dict[str, Any]:
    """The role that a form says, with whose things are to be seen. Raises Unfit."""
    return granted(store, given["role"], given["whose"].strip())


async def _change(
    request: Asked, number: int, change: Callable[[Store], object], then: str = ""
) -> Response[Any]:
    """Change a user, and go on to another page than theirs, if one is said; or say why that cannot be."""
    try:
        await asyncio.to_thread(change, store_for(request))
    except (Unfit, LastAdmin) as error:
        return await _user(request, number, str(error))
    return to(then or f"/users/{number}")


async def _invited(request: Asked, number: int) -> Response[Any]:
    path = await entrance_of(request).invite(number, pages.actor(request))
    user = await asyncio.to_thread(store_for(request).users.user, number)
    return page(request, "invited.html", user=user, url=pages.address(request) + path)


async def _users(
    request: Asked, given: dict[str, str] | None = None, error: str = ""
) -> Response[Any]:
    store = store_for(request)
    users = await asyncio.to_thread(store.users.users)
    told = given or {"name": "", "role": "reader", "whose": ""}
    status = 400 if error else 200
    choice = await asyncio.to_thread(_choice, store)
    return page(
        request, "users.html", status=status, users=users, given=told, error=error, **choice
    )


async def _user(request: Asked, number: int, error: str = "") -> Response[Any]:
    store = store_for(request)
    user = await asyncio.to_thread(store.users.user, number)
    status = 400 if error else 200
    choice = await asyncio.to_thread(_choice, store)
    return page(request, "user.html", status=status, user=user, error=error, **choice)


def _choice(store: Store) -> dict[str, Any]:
    """What can be chosen of: roles with what they mean, and names of those whose things may be seen."""
    partners = [each.name for each in store.access.partners()]
    owners = [each.name for each in store.orders.owners()]
    return {"roles": ROLES, "partners": partners, "owners": owners}


ROUTES: Final = [
    list_users,
    create_user,
    show_user,
    change_user,
    invite_user,
    disable_user,
    enable_user,
    drop_factor,
    remove_user,
]
