"""What those who operate the server ask it: is it alive, is it ready, how is it doing."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.utils import formatdate
from typing import Final

import msgspec

from cloudsignal.asgi import Receive, Scope, Send
from cloudsignal.protocol import http
from cloudsignal.server import addresses
from cloudsignal.server.asgi import address, answer
from cloudsignal.server.metrics import Figures
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.delivery_log import Standing
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store
from cloudsignal.server.tokens import NotAllowed, Tokens

Told = tuple[int, str, bytes]
"""Status, content type, body."""
_JSON: Final = "application/json"
READY_S: Final = 5.0
"""How long the store may take to say that it is there."""


class Health:
    """``/healthz`` and ``/readyz`` for anyone, ``/metrics`` for near addresses and token holders."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        tokens: Tokens,
        figures: Callable[[], Figures],
        writes: Callable[[], bool],
    ) -> None:
        """``figures`` tells what was counted, ``writes`` whether there is a writer to give posts to."""
        self._settings = settings
        self._store = store
        self._tokens = tokens
        self._counted = figures
        self._writes = writes
        self.paths: dict[str, Callable[[Scope], Awaitable[Told]]] = {
            "/healthz": self._alive,
            "/readyz": self._ready,
            "/metrics": self._figures,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request to one of the ``paths``."""
        if scope["method"] not in ("GET", "HEAD"):
            status, content_type, body = 405, _JSON, b'{"status":"use GET"}'
        else:
            status, content_type, body = await self.paths[scope["path"]](scope)
        headers = [
            (b"content-type", content_type.encode()),
            (b"cache-control", b"no-store"),
            (b"date", formatdate(usegmt=True).encode()),
            http.length(body),
        ]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await answer(scope, send, status, headers, body)

    async def _alive(self, scope: Scope) -> Told:
        return 200, _JSON, b'{"status":"ok"}'

    async def _ready(self, scope: Scope) -> Told:
        try:
            async with asyncio.timeout(READY_S):
                position = await asyncio.to_thread(self._store.check)
        except (StoreUnavailable, TimeoutError):
            return 503, _JSON, b'{"status":"the store cannot be read just now"}'
        if not self._writes():
            return 503, _JSON, b'{"status":"the store cannot be written just now"}'
        return 200, _JSON, msgspec.json.encode({"status": "ready", "position": position})

    async def _figures(self, scope: Scope) -> Told:
        if not addresses.is_within(address(scope), self._settings.metrics_allow):
            try:
                await self._tokens.holder(dict(scope["headers"]).get(b"authorization", b""))
            except NotAllowed as error:
                return 401, _JSON, msgspec.json.encode({"status": str(error)})
        # Imported by those who ask: most servers start without being watched, and all the faster.
        from cloudsignal.server import prometheus

        return (
            200,
            prometheus.CONTENT_TYPE,
            prometheus.text(self._counted(), await self._standing()),
        )

    async def _standing(self) -> Standing | None:
        """How endpoints stand, if the store can say it just now."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(READY_S):
                return await asyncio.to_thread(self._store.delivery_log.standing)
        return None
