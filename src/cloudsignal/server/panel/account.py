"""The page of one's own account: password, second factor, where one is signed in."""

import asyncio
from typing import Any, Final

from litestar import Response, get, post
from litestar.exceptions import ClientException
from markupsafe import Markup

from cloudsignal.server import rules
from cloudsignal.server.panel import codes, pages
from cloudsignal.server.panel.access import SIGNED_IN
from cloudsignal.server.panel.entrance import NotLetIn
from cloudsignal.server.panel.forms import FORM_BYTES_MAX, form
from cloudsignal.server.panel.pages import Asked, page, to
from cloudsignal.server.panel.signing import entrance_of


@get("/account", guards=[SIGNED_IN])
async def show_account(request: Asked) -> Response[Any]:
    """One's own account."""
    return await _account(request)


@post("/account/password", guards=[SIGNED_IN], request_max_body_size=FORM_BYTES_MAX)
async def change_password(request: Asked) -> Response[Any]:
    """Have another password; everywhere else one is signed out."""
    given = await form(request, "old", "new", "again")
    try:
        new = rules.password(given["new"], given["again"], name=request.user.user.name)
        token = await entrance_of(request).change_password(
            request.user, given["old"], new, pages.visitor(request)
        )
    except (NotLetIn, rules.Unfit) as error:
        return await _account(request, error=str(error))
    return to("/account", [pages.hold(request, token)])


@post("/account/factor", guards=[SIGNED_IN], request_max_body_size=FORM_BYTES_MAX)
async def add_factor(request: Asked) -> Response[Any]:
    """Show a new second factor; ask for it from now on, once a code shows that the app has it.

    Raises ClientException.
    """
    given = await form(request, "secret", "code", "password")
    secret, error = given["secret"] or codes.new_secret(), ""
    if not codes.is_secret(secret):
        raise ClientException("secret: this was not made here")
    if given["code"]:
        try:
            address = pages.visitor(request).address
            await entrance_of(request).add_factor(
                request.user, given["password"], secret, given["code"], address
            )
            return to("/account")
        except NotLetIn as found:
            error = str(found)
    picture = Markup(codes.picture(secret, request.user.user.name))
    told = {"secret": secret, "picture": picture, "error": error}
    return page(request, "factor.html", status=400 if error else 200, **told)


@post("/account/factor/remove", guards=[SIGNED_IN], request_max_body_size=FORM_BYTES_MAX)
async def drop_factor(request: Asked) -> Response[Any]:
    """Ask for codes no more."""
    given = await form(request, "password")
    try:
        address = pages.visitor(request).address
        await entrance_of(request).drop_factor(request.user, given["password"], address)
    except NotLetIn as error:
        return await _account(request, error=str(error))
    return to("/account")


@post("/account/sessions/end", guards=[SIGNED_IN])
async def end_others(request: Asked) -> Response[Any]:
    """Be signed out at every other browser."""
    holder = request.user
    end = pages.store_for(request).sessions.end_others
    await asyncio.to_thread(end, holder.user.id, holder.session.digest)
    return to("/account")


async def _account(request: Asked, error: str = "") -> Response[Any]:
    holder = request.user
    sessions = await asyncio.to_thread(request.app.state.store.sessions.of, holder.user.id)
    told = {"sessions": sessions, "here": holder.session.digest, "error": error}
    return page(request, "account.html", status=400 if error else 200, **told)


ROUTES: Final = [show_account, change_password, add_factor, drop_factor, end_others]
