"""Server-sent events: what comes as it comes, until either side ends it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, Final

from cloudsignal.asgi import Receive, Scope, Send
from cloudsignal.server.events import Followers
from cloudsignal.server.store.errors import StoreUnavailable

MEDIA_TYPE: Final = "text/event-stream"
RECHECK_S: Final = 5.0
"""How long one can still follow who may not any more."""

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_STILL_HERE: Final = b": still here\n\n"


class NoMore(Exception):
    """Whoever follows may not any more."""


class Live:
    """A response that sends page after page, each of whole events, until either side ends it.

    ``check`` raises NoMore once whoever follows may not any more; it is asked before anything is
    sent that comes more than ``recheck_s`` seconds after it was asked last. An empty page shows that
    the connection is alive.

    Raises Full, before anything is sent, when there is no place. The next page is asked for only when
    the one before is on its way, so that a client that does not read holds one page in memory.
    """

    def __init__(
        self,
        followers: Followers,
        pages: Callable[[], AsyncGenerator[bytes, None]],
        check: Callable[[], Awaitable[object]],
        *,
        recheck_s: float = RECHECK_S,
    ) -> None:
        self._followers = followers
        self._pages = pages
        self._check = check
        self._recheck_s = recheck_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the client hangs up, may not follow any more, or the server stops."""
        # Cancelled when the server stops and the client does not read: there is nobody to tell.
        with self._followers.place(), suppress(asyncio.CancelledError):
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._send(send)),
                    group.create_task(_hung_up(receive)),
                ]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        # Whatever ends it, the client comes back, and is then told why it cannot follow.
        with suppress(StoreUnavailable, NoMore):
            await self._send_events(send)
        await send({"type": "http.response.body", "body": b""})

    async def _send_events(self, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        checked = clock()
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                if clock() - checked > self._recheck_s:
                    await self._check()
                    checked = clock()
                body = page or _STILL_HERE
                await send({"type": "http.response.body", "body": body, "more_body": True})


async def _hung_up(receive: Receive) -> None:
    message: Any = {}
    while message.get("type") != "http.disconnect":
        message = await receive()
