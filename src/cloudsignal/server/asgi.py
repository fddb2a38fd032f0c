"""A whole ASGI answer in one call, where the connection lends us a function for that."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from cloudsignal import asgi
from cloudsignal.asgi import Scope, Send
from cloudsignal.protocol.http import Header

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
    await asgi.answer(send, (status, list(headers), body))
