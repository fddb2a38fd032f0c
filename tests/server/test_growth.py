"""Hearing of what other nodes append."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from cloudsignal.server import growth
from cloudsignal.server.store.backends import Listening
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store, open_store
from tests import postgresql
from tests.acceptance.conftest import eventually
from tests.server.arrivals import arrival, report

pytestmark = pytest.mark.anyio

HEARD_S = 10.0


@pytest.fixture
def url(furnished_url: str) -> str:
    return furnished_url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url)) as store:
        yield store


@pytest.fixture
def other(url: str) -> Iterator[Store]:
    with closing(open_store(url)) as store:
        yield store


class Watched:
    """Counts how often the log was said to have grown."""

    def __init__(self, store: Store) -> None:
        self.times = 0
        self._heard = asyncio.Event()
        self.wanted = asyncio.Event()
        self.wanted.set()
        self._task = asyncio.create_task(growth.watch(store, self.wanted, self._grown))

    def _grown(self) -> None:
        self.times += 1
        self._heard.set()

    async def next(self) -> float:
        """Wait until it is said again: how long that took, in seconds."""
        begun = time.perf_counter()
        async with asyncio.timeout(HEARD_S):
            await self._heard.wait()
        self._heard.clear()
        return time.perf_counter() - begun

    async def end(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def test_a_commit_of_another_node_is_heard_at_once(store: Store, other: Store) -> None:
    watched = Watched(store)
    await watched.next()  # What may have come before.

    for number in range(5):
        other.append([arrival(report(item=str(number)))])
        await watched.next()

    assert watched.times == 6
    await watched.end()


async def test_a_group_that_brings_nothing_new_wakes_nobody(store: Store, other: Store) -> None:
    other.append([arrival()])
    watched = Watched(store)
    await watched.next()

    other.append([arrival()])  # a repeat
    other.append([arrival(report(minute=1))])
    await watched.next()

    assert watched.times == 2
    await watched.end()


async def test_a_busy_store_wakes_once_in_a_while_and_the_last_commit_is_not_missed(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = asyncio.Event()

    async def rest(seconds: float) -> None:
        assert seconds == growth.REST_S
        await may_go_on.wait()

    monkeypatch.setattr(growth.asyncio, "sleep", rest)
    watched = Watched(store)
    await watched.next()
    for number in range(20):
        await asyncio.to_thread(other.append, [arrival(report(item=str(number)))])
        if number == 0:
            await watched.next()

    assert watched.times == 2
    may_go_on.set()
    await watched.next()
    assert watched.times == 3
    await watched.end()


async def test_nobody_listens_while_nobody_wants_to_know(
    store: Store, other: Store, url: str
) -> None:
    def listeners() -> int:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        [(count,)] = postgresql.execute(url, f"{asked} AND datname = current_database()")
        return count

    watched = Watched(store)
    await watched.next()
    assert listeners() == 1

    watched.wanted.clear()
    other.append([arrival()])
    assert await asyncio.to_thread(eventually, lambda: listeners() == 0)
    assert watched.times == 1

    watched.wanted.set()
    await watched.next()  # There is something new.
    other.append([arrival(report(minute=1))])
    await watched.next()
    await watched.end()


async def test_while_nobody_can_be_heard_one_looks_now_and_then_and_listens_again(
    store: Store, other: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "POLL_S", 0.01)
    listen, may_listen = store.listen, asyncio.Event()

    def refusing() -> Listening:
        if may_listen.is_set():
            return listen()
        raise StoreUnavailable("for a test")

    watched = Watched(store)
    await watched.next()
    monkeypatch.setattr(store, "listen", refusing)
    listeners = "query LIKE 'LISTEN%' AND datname = current_database()"
    postgresql.execute(
        url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {listeners}"
    )
    for _ in range(5):
        await watched.next()

    monkeypatch.setattr(growth, "POLL_S", 1000)  # From now on only listening tells.
    may_listen.set()
    for number in range(3):
        if number == 0:
            await watched.next()  # It has begun to listen, or looks once more before it does.
        other.append([arrival(report(item=str(number)))])
        await watched.next()
    await watched.end()
