"""ASGI, as far as those need it who answer without a framework."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from cloudsignal.protocol import http

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class HungUp(Exception):
    """The client went away before its request was complete."""


async def answer(send: Send, given: http.Answer) -> None:
    """Send a whole answer; its length has to be among the headers."""
    status, headers, body = given
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def content_length(scope: Scope) -> int:
    """How long a body is said to be, 0 if that is not said."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return 0
