"""Waking those who follow the log."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from cloudsignal.server.store.reading import LoggedSignal
from cloudsignal.server.store.store import Store

PAGE: Final = 500
"""How many signals a follower reads at once."""
POLL_S: Final = 15.0
"""After how long a follower looks by itself, and a live connection shows that it is alive."""


class Followers:
    """Everyone who reads the log as it grows: each with a cursor, none with a queue."""

    def __init__(self, store: Store, *, most: int) -> None:
        self._store = store
        self._most = most
        self._grown = asyncio.Event()
        self._stopping = False
        self.count = 0

    @property
    def is_full(self) -> bool:
        """Whether no more can follow."""
        return self.count >= self._most

    def wake(self) -> None:
        """Say that the log has grown."""
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    def stop(self) -> None:
        """End every follower."""
        self._stopping = True
        self.wake()

    async def follow(self, after: int) -> AsyncIterator[list[LoggedSignal]]:
        """The log beyond a position, page by page, for as long as the server runs.

        An empty page says that nothing has happened for a while.
        """
        self.count += 1
        try:
            while not self._stopping:
                grown = self._grown
                page = await asyncio.to_thread(self._store.reading.signals, after=after, limit=PAGE)
                if page:
                    after = page[-1].position
                yield page
                if len(page) < PAGE:
                    await self._wait(grown)
        finally:
            self.count -= 1

    async def _wait(self, grown: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await grown.wait()
        except TimeoutError:
            return
