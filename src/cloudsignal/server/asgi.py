"""ASGI, as far as the parts that answer without a framework need it."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Final[Header] = (b"content-type", b"application/json")


def address(scope: Scope) -> str:
    """Where a request comes from; empty where that is no address, as with a socket in a folder."""
    client = scope["client"]
    return client[0] if client else ""


async def answer(send: Send, status: int, headers: Sequence[Header], body: bytes) -> None:
    """Send a whole response; its length is added to the headers."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
