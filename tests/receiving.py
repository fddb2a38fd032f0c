"""Receivers of webhooks on a loop in a thread of their own, for tests that talk to a server from outside."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from ssl import SSLContext
from typing import Any, Self, TypeVar

from tests.server.delivery.receivers import Receiver, Talk, answers

T = TypeVar("T")


class Receiving:
    """Where receivers live: a loop in a thread, until the end of the ``with``."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def receiver(self, talk: Talk | None = None, tls: SSLContext | None = None) -> Receiver:
        """One that listens, and answers 204 unless it is to talk otherwise."""
        return self._do(self._stack.enter_async_context(Receiver(talk or answers(204), tls)))

    def close(self, receiver: Receiver) -> None:
        """End one of them, as if its machine were switched off."""
        self._do(receiver.__aexit__())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def told(receiver: Receiver) -> list[dict[str, Any]]:
    """The webhooks that a receiver got, in their order, repeats too."""
    return [json.loads(request.body) for request in list(receiver.requests)]


def first_ones(webhooks: list[Any], key: Callable[[Any], Any]) -> list[Any]:
    """The webhooks without repeats."""
    found: dict[Any, Any] = {}
    for each in webhooks:
        found.setdefault(key(each), each)
    return list(found.values())
