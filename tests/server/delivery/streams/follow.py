"""A log that is followed: what the tests of streams share."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from cloudsignal.server.delivery.streams.following import Following, cursor_of
from cloudsignal.server.delivery.streams.stream import Stream
from cloudsignal.server.store.log import Arrival
from cloudsignal.server.store.store import Store
from tests.server.arrivals import NOON, arrival, report

DEADLINE_S = 60.0
POLL_S = 0.01


def nth(number: int, **fields: str) -> Arrival:
    """A post with one signal, about an item of its own."""
    return arrival(report(item=f"item-{number}", **fields), received=NOON + number)


def append(store: Store, count: int, *, first: int = 0) -> int:
    """Append signals, each about an item of its own: the position of the last."""
    store.append([nth(number) for number in range(first, first + count)])
    return store.reading.last_position()


async def growth(timeout_s: float) -> None:
    """Waits a moment, and says that the log may have grown."""
    await asyncio.sleep(min(timeout_s, POLL_S))


async def eventually(check: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(deadline_s):
        while not check():  # noqa: ASYNC110 (it is no event that is waited for)
            await asyncio.sleep(POLL_S)


def passed(store: Store, name: str = "nats") -> int:
    """How far the cursor of a stream is, -1 if there is none."""
    return store.cursors.positions().get(cursor_of(name), -1)


@asynccontextmanager
async def following(store: Store, stream: Stream) -> AsyncIterator[None]:
    """While it lasts, the log goes into the stream."""
    task = asyncio.create_task(Following(store, stream, growth).run())
    try:
        yield
        assert not task.done(), task
    finally:
        await ended(task)


async def ended(task: "asyncio.Task[None]") -> None:
    """End a task, and wait."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
