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


async def read(scope: Scope, receive: Receive, body_bytes_max: int = http.BODY_BYTES_MAX) -> bytes:
    """The whole body of a request.

    Raises Refusal (``body_too_large``) as soon as it is known to be larger than it may be, and HungUp.
    """
    if content_length(scope) > body_bytes_max:
        raise http.too_large(body_bytes_max)
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HungUp
        body += message.get("body", b"")
        if len(body) > body_bytes_max:
            raise http.too_large(body_bytes_max)
        more = message.get("more_body", False)
    return bytes(body)
