"""Following the log as it grows."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from cloudsignal.server.store.reading import LoggedSignal
from cloudsignal.server.store.store import Store

PAGE: Final = 100
"""How many signals a follower reads at once."""
PAGE_BYTES: Final = 64 << 10
"""How much of what was sent it reads at once: all that a reader who does not read makes us hold."""
PAUSE_S: Final = 0.02
"""How long a follower rests when it has caught up: a busy log then comes in pages, not one by one."""
POLL_S: Final = 15.0
"""After how long a follower looks by itself, and a live connection shows that it is alive."""

Render = Callable[[LoggedSignal], bytes]
Page = tuple[int, bytes, bool]
"""The position of the last signal of a page, the page as it is sent, and whether there is more."""


class Full(Exception):
    """As many follow the log as may: try again later, or read it page by page."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Followers:
    """Everyone who reads the log as it grows: each with a cursor, none with a queue."""

    def __init__(self, store: Store, *, most: int) -> None:
        self._store = store
        self._most = most
        self._grown = asyncio.Event()
        self._reads: dict[tuple[int, Render], asyncio.Task[Page]] = {}
        self._stopped = asyncio.Event()
        self.count = 0
        self.present = asyncio.Event()
        """Set while there is somebody."""

    @property
    def is_full(self) -> bool:
        """Whether no more can follow."""
        return self.count >= self._most

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the followers, free again at the end. Raises Full."""
        if self.is_full:
            raise Full
        self.count += 1
        self.present.set()
        try:
            yield
        finally:
            self.count -= 1
            if not self.count:
                self.present.clear()

    def wake(self) -> None:
        """Say that the log has grown."""
        grown, self._grown, self._reads = self._grown, asyncio.Event(), {}
        grown.set()

    def stop(self) -> None:
        """End every follower."""
        self._stopped.set()
        self.wake()

    async def follow(self, after: int, render: Render) -> AsyncGenerator[bytes, None]:
        """The log beyond a position, page by page, for as long as the server runs.

        An empty page says that nothing has happened for a while; the first one says that following
        has begun. May raise StoreUnavailable.
        """
        yield b""
        while not self._stopped.is_set():
            grown = self._grown
            position, page, is_full = await self._read(after, render)
            if position > after:
                after = position
                yield page
                if not is_full:
                    await asyncio.sleep(PAUSE_S)
            elif not await _is_set(grown, POLL_S):
                yield b""

    async def ticks(self, every_s: float) -> AsyncGenerator[None, None]:
        """Again and again, after so many seconds, for as long as the server runs; the first time at once."""
        while not self._stopped.is_set():
            yield
            await _is_set(self._stopped, every_s)

    async def _read(self, after: int, render: Render) -> Page:
        """The page beyond a position, read and rendered once for all who stand there.

        A reading that began before the log last grew may lack what came since, and whoever waits
        after it would sleep through that: each time the log grows, readings are shared anew.
        """
        reads, key = self._reads, (after, render)
        if key not in reads:
            reads[key] = asyncio.create_task(asyncio.to_thread(self._page, after, render))
            reads[key].add_done_callback(lambda task: _forget(reads, key, task))
        return await asyncio.shield(reads[key])

    def _page(self, after: int, render: Render) -> Page:
        found = self._store.reading.signals(after=after, limit=PAGE, bytes_max=PAGE_BYTES)
        last = found[-1].position if found else after
        return last, b"".join(map(render, found)), len(found) == PAGE


def _forget(
    reads: dict[tuple[int, Render], asyncio.Task[Page]],
    key: tuple[int, Render],
    task: asyncio.Task[Page],
) -> None:
    del reads[key]
    if not task.cancelled():
        task.exception()  # Seen, even if nobody waits for it any more.


async def _is_set(event: asyncio.Event, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            return await event.wait()
    except TimeoutError:
        return False
