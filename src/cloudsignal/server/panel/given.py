"""The pages that show a key or a token, which was made just now: this once."""

from typing import Any

from litestar import Response

from cloudsignal.server.clock import now
from cloudsignal.server.first_signal import first_signal, programs
from cloudsignal.server.key_desk import Given
from cloudsignal.server.panel.pages import Asked, address, page
from cloudsignal.server.store.access import Interface, Token
from cloudsignal.server.store.orders import Owner


def interface_key(request: Asked, given: Given[Interface]) -> Response[Any]:
    """The key of an interface, and programs that send a first signal with it to this very server."""
    signal = first_signal(given.to.id, now=now())
    settings = request.app.state.in_force.settings
    return page(
        request,
        "interface_key.html",
        given=given,
        signal=signal,
        programs=programs(address(request), given.key, signal),
        registered_only=settings.unregistered_orders == "refuse",
    )


def owner_key(request: Asked, given: Given[Owner]) -> Response[Any]:
    """A key of an owner."""
    return page(request, "owner_key.html", given=given)


def token(request: Asked, given: Given[Token]) -> Response[Any]:
    """A token for the API."""
    return page(request, "token.html", given=given, address=address(request))
