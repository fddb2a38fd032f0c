"""The pages on which people come in and go out."""

import asyncio
from typing import Any, Final

from litestar import Response, get, post

from cloudsignal.server import rules
from cloudsignal.server.panel import pages
from cloudsignal.server.panel.access import ANYBODY, SIGNED_IN
from cloudsignal.server.panel.entrance import Entrance, NotLetIn
from cloudsignal.server.panel.forms import FORM_BYTES_MAX, form
from cloudsignal.server.panel.pages import Asked, page, to
from cloudsignal.server.store.errors import AlreadyThere
from cloudsignal.server.store.users import Invitation, User


def entrance_of(request: Asked) -> Entrance:
    """The entrance of the panel."""
    entrance: Entrance = request.app.state.entrance
    return entrance


@get("/login", guards=[ANYBODY])
async def show_login(request: Asked, next: str = "") -> Response[Any]:
    """The page to sign in on."""
    if request.scope["user"] is not None:
        return to(pages.own_path(next))
    is_new = not await asyncio.to_thread(request.app.state.store.users.any)
    return page(request, "login.html", next=next, name="", error="", is_new=is_new)


@post("/login", guards=[ANYBODY], request_max_body_size=FORM_BYTES_MAX)
async def sign_in(request: Asked) -> Response[Any]:
    """Sign in, and go on to where somebody was on the way to."""
    given = await form(request, "name", "password", "code", "next")
    try:
        token = await entrance_of(request).sign_in(
            given["name"], given["password"], given["code"], pages.visitor(request)
        )
    except NotLetIn as error:
        told = {"next": given["next"], "name": given["name"], "error": str(error)}
        return page(request, "login.html", status=403, is_new=False, **told)
    return to(pages.own_path(given["next"]), [pages.hold(request, token)])


@post("/logout", guards=[SIGNED_IN])
async def sign_out(request: Asked) -> Response[Any]:
    """Sign out at this browser."""
    await entrance_of(request).sign_out(request.user)
    return to("/login", [pages.drop(request)])


@get("/invitation/{secret:str}", guards=[ANYBODY])
async def show_invitation(request: Asked, secret: str) -> Response[Any]:
    """The page on which somebody who was invited chooses a password."""
    return _invitation(request, await entrance_of(request).invitation(secret))


@post("/invitation/{secret:str}", guards=[ANYBODY], request_max_body_size=FORM_BYTES_MAX)
async def accept_invitation(request: Asked, secret: str) -> Response[Any]:
    """Choose a password, and be signed in."""
    given = await form(request, "name", "password", "again")
    found = await entrance_of(request).invitation(secret)
    if found is None:
        # Before any digest is made of a password: strangers could have the server make no others.
        return _invitation(request, None)
    chosen = found[1].name if found[1] else given["name"]
    try:
        name = rules.name(chosen)
        password = rules.password(given["password"], given["again"], name=name)
        visitor = pages.visitor(request)
        user = await entrance_of(request).accept(secret, name, password, visitor)
        token = await entrance_of(request).begin(user, visitor)
    except (rules.Unfit, AlreadyThere) as error:
        return _invitation(request, found, name=chosen, error=str(error))
    return to("/", [pages.hold(request, token)])


def _invitation(
    request: Asked, found: tuple[Invitation, User | None] | None, name: str = "", error: str = ""
) -> Response[Any]:
    if found is None:
        return page(request, "no_invitation.html", status=404)
    _, user = found
    told = {"user": user, "name": user.name if user else name, "error": error}
    return page(request, "invitation.html", status=400 if error else 200, **told)


ROUTES: Final = [show_login, sign_in, sign_out, show_invitation, accept_invitation]
