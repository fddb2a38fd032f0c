"""What all routes have in common: who may ask, and how that is read which is asked."""

from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import Annotated, Any, Final
from urllib.parse import unquote

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import ClientException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.typing import FieldDefinition

from cloudsignal.protocol import datetimes
from cloudsignal.server.store.access import Role, Token
from cloudsignal.server.store.changes import Actor
from cloudsignal.server.store.store import Store
from cloudsignal.server.tokens import Tokens

LIMIT_MAX: Final = 1000
"""How many items or signals a page holds at most."""
LIMIT: Final = 100
POSITION_MAX: Final = 2**53 - 1
"""The last position that every program reads from JSON as it is."""

NUL: Final = "\0"
NO_NUL: Final = "no id and no name has a character NUL"
"""Nor can PostgreSQL look for it."""
DATETIME: Final = "datetime, such as 2016-01-20T13:00:00+01:00 (a + is written %2B in a URL)"

Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="how many at most")]
Position = Annotated[int, QueryParameter(ge=0, le=POSITION_MAX, description="a place in the log")]
Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


def role(needed: Role) -> Guard:
    """Who may see a route: holders of a token whose role includes this one."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        await check(connection, needed)

    return guard


READER: Final = role("reader")
OPERATOR: Final = role("operator")


async def refuse_parameters(request: Request[Any, Any, Any]) -> None:
    """A filter that is misspelt must not find everything: what no route knows, or no text can be, is 400."""
    parameters = request.route_handler.parsed_fn_signature.parameters
    known = {
        field.kwarg_definition.name or name: field
        for name, field in parameters.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    }
    for name, text in request.query_params.multi_items():
        if NUL in text:
            raise ClientException(f"{name}: {NO_NUL}")
        if name not in known:
            choice = f"there are {', '.join(known)}" if known else "there are none here"
            raise ClientException(f"{name}: there is no such parameter, {choice}")
        # What is no text would be read as if it were not there.
        if text == "null" and not _takes_text(known[name]):
            raise ClientException(f"{name}: null is no value, leave it out")


def _takes_text(field: FieldDefinition) -> bool:
    return any(each.annotation is str for each in (field, *field.inner_types))


async def check(connection: ASGIConnection[Any, Any, Any, Any], needed: Role) -> None:
    """Make sure that somebody may. Raises NotAllowed."""
    tokens: Tokens = connection.app.state.tokens
    header = connection.headers.get("authorization", "")
    connection.scope["auth"] = await tokens.holder_of(header.encode("latin-1"), needed)


def store_of(request: Request[Any, Any, Any]) -> Store:
    """The store of the API, where what is changed is noted as the doing of who asks."""
    store: Store = request.app.state.store
    return store.by(actor_of(request))


def actor_of(request: Request[Any, Any, Any]) -> Actor:
    """Who asks: the holder of a token, and from where."""
    token: Token = request.auth
    return Actor(f"token {token.name}", request.client.host if request.client else "")


def decoded(part: str) -> str:
    """The id that a part of the path stands for."""
    try:
        found = unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise ClientException(
            f"{part}: write an id in UTF-8, each byte that is no letter or digit percent-encoded"
        ) from None
    if NUL in found:
        raise ClientException(f"{part}: {NO_NUL}")
    return found


def instant(name: str, text: str | None) -> int | None:
    """The instant that a parameter names. Raises ClientException."""
    if text is None:
        return None
    try:
        return datetimes.parse(text, UTC)
    except ValueError as error:
        raise ClientException(f"{name}: {error} (a + is written %2B in a URL)") from None
