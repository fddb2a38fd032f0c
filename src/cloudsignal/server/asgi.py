"""ASGI, as far as the parts that answer without a framework need it."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

from cloudsignal.protocol.http import Header

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_NONE: Final[dict[str, Any]] = {}


def address(scope: Scope) -> str:
    """Where a request comes from; empty where that is no address, as with a socket in a folder."""
    client = scope["client"]
    return client[0] if client else ""


Answer = Callable[[int, Sequence[Header], bytes], None]
"""Takes a whole answer: its status, its headers, its body."""
ANSWER: Final = "cloudsignal.answer"
"""The extension by which a connection lends us such a function."""


async def answer(
    scope: Scope, send: Send, status: int, headers: Sequence[Header], body: bytes
) -> None:
    """Send a whole response; its length has to be among the headers."""
    at_once: Answer | None = scope.get("extensions", _NONE).get(ANSWER)
    if at_once is not None:
        at_once(status, headers, body)
        return
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
