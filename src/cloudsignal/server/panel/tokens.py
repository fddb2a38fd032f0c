"""The page of tokens: what programs read the API with."""

import asyncio
from typing import Any, Final

from litestar import Response, get, post

from cloudsignal.server.panel import given as shown
from cloudsignal.server.panel.access import OPERATOR, READER
from cloudsignal.server.panel.forms import FORM_BYTES_MAX, form
from cloudsignal.server.panel.lists import PAGE, Column, Listing, exported, wants_csv
from cloudsignal.server.panel.pages import After, Asked, key_desk, page, store_for, to
from cloudsignal.server.panel.roles import may
from cloudsignal.server.rules import Unfit
from cloudsignal.server.store.access import ROLES, Role, Token
from cloudsignal.server.store.errors import AlreadyThere

TOKENS: Final = Listing[Token](
    path="/tokens",
    title="Tokens",
    columns=(
        Column("Name", lambda each: each.name),
        Column("Role", lambda each: each.role),
        Column("Added, UTC", lambda each: each.created, "instant"),
        Column("Revoked, UTC", lambda each: each.revoked, "instant"),
    ),
    turn="after",
    place=lambda each: each.name,
)
"""As a file: on the page they can be revoked."""


@get("/tokens", guards=[READER])
async def list_tokens(request: Asked, after: After = "") -> Response[Any]:
    """The tokens in order of name; they themselves are never shown again."""
    if wants_csv(request):
        return await exported(request, TOKENS, request.app.state.store.access.tokens)
    return await _tokens(request, after)


@post("/tokens", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def create_token(request: Asked) -> Response[Any]:
    """Make a token, and show it: this once."""
    given = await form(request, "name", "role")
    try:
        role = _granted(request, given["role"])
        made = await asyncio.to_thread(key_desk(request).create_token, given["name"], role)
    except (Unfit, AlreadyThere) as error:
        return await _tokens(request, given=given, error=str(error))
    return shown.token(request, made)


@post("/tokens/revoke", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def revoke_token(request: Asked) -> Response[Any]:
    """End a token."""
    given = await form(request, "name")
    await asyncio.to_thread(key_desk(request).revoke_token, given["name"])
    return to("/tokens")


def _granted(request: Asked, role: str) -> str:
    """The role of a token: nobody gives more than they have. Raises Unfit."""
    if role in ROLES and role not in _roles(request):
        raise Unfit(f"a token of the role {role} may do more than you: yours is an operator's")
    return role


def _roles(request: Asked) -> list[Role]:
    """What tokens may do that somebody makes."""
    return [role for role in ROLES if may(request.user.user, role)]


async def _tokens(
    request: Asked, after: str = "", given: dict[str, str] | None = None, error: str = ""
) -> Response[Any]:
    found = await asyncio.to_thread(store_for(request).access.tokens, after=after, limit=PAGE)
    return page(
        request,
        "tokens.html",
        status=400 if error else 200,
        tokens=found,
        next=found[-1].name if len(found) == PAGE else None,
        roles=_roles(request),
        given=given or {"name": "", "role": "reader"},
        error=error,
    )


ROUTES: Final = [list_tokens, create_token, revoke_token]
