"""Who may see what: every route of the panel says so, and only its own pages may post to it."""

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from cloudsignal.server.panel.entrance import Entrance
from cloudsignal.server.panel.pages import held
from cloudsignal.server.panel.roles import Who, may

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


class NotSignedIn(Exception):
    """Nobody is signed in."""


class Forbidden(Exception):
    """Whoever asks may not; the message says why."""


def seen_by(*whos: Who, is_page: bool = True) -> Guard:
    """A guard of a route that only these may see; it is no page what a page asks for by itself.

    Raises NotSignedIn and Forbidden.
    """

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        check_origin(connection)
        check_encrypted(connection)
        entrance: Entrance = connection.app.state.entrance
        token = held(connection)  # type: ignore[arg-type]
        holder = await entrance.holder(token, is_page=is_page) if token else None
        connection.scope["user"] = holder
        if "anybody" in whos:
            return
        if holder is None:
            raise NotSignedIn
        if not may(holder.user, *whos):
            raise Forbidden(f"This is for the role {whos[0]}: yours is {holder.user.role}.")

    guard.whos = whos  # type: ignore[attr-defined]
    return guard


ANYBODY: Final = seen_by("anybody")
SIGNED_IN: Final = seen_by("signed in")
READER: Final = seen_by("reader")
READER_OR_PARTNER: Final = seen_by("reader", "partner")
LIVE: Final = seen_by("reader", "partner", is_page=False)
"""The same, of what a page follows."""
OPERATOR: Final = seen_by("operator")
ADMIN: Final = seen_by("admin")
IN_SCOPE: Final = seen_by("reader", "partner", "owner")
"""Of those who see everything, and of the narrow roles as much as is their own."""


def check_origin(connection: Connection) -> None:
    """Make sure that what is posted comes from a page of the panel. Raises Forbidden.

    Browsers say where a request comes from, and no page can have them say anything else.
    """
    if connection.scope.get("method") in SAFE:
        return
    headers = connection.headers
    site = headers.get("sec-fetch-site")
    if site == "same-origin":
        return
    own = f"{connection.scope['scheme']}://{headers.get('host', '')}"
    if site is None and headers.get("origin") == own:
        return
    raise Forbidden("This was posted from another site, or by no browser: open the page again.")


def check_encrypted(connection: Connection) -> None:
    """Make sure that nobody on the way can read along. Raises Forbidden."""
    if connection.scope["scheme"] == "https" or connection.app.state.in_force.settings.panel_http:
        return
    if not _is_this_machine(connection.url.hostname or ""):
        raise Forbidden(
            "The panel is for https, or for a browser on the same machine. Put a proxy with https before the"
            " server, and name it in trusted_proxies; or set panel_http where everybody on the way is trusted."
        )


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
