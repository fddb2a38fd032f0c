"""Everybody is read all of the log, whenever they join."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.server.delivery.composing import Composer
from cloudsignal.server.delivery.reader import Reader
from cloudsignal.server.delivery.recipient import Opened, Recipient
from cloudsignal.server.store.deliveries import Look
from cloudsignal.server.store.endpoints import Sealed, Wanted
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.store import Store, open_store
from tests.server.arrivals import arrival, report
from tests.server.store.contract import furnish

pytestmark = pytest.mark.anyio
SECRETS = Opened("", "", b"", None, 0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/store.db")) as store:
        furnish(store)
        yield store


def recipient(store: Store, owner: str) -> Recipient:
    """An endpoint of a new owner."""
    store.orders.create_owner(owner, now=1)
    wanted = Wanted(
        seal=lambda _: Sealed("", "", ""),
        shown="",
        format="cloudsignal-2.0",
        types=("ItemValidated",),
    )
    return Recipient(store.endpoints.create(owner, wanted, now=1), SECRETS, held_max=100)


class Held:
    """A store whose looks at the log begin when they may."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._look = store.deliveries.look
        self.deliveries = self
        self.begun, self.may = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def look(self, told: set[int], **options: Any) -> Look:
        if told:
            self.begun.set()
            assert self.may.wait(30)
        return self._look(told, **options)


async def test_who_joins_while_a_page_is_read_to_others_misses_nothing(store: Store) -> None:
    first, second = recipient(store, "first"), recipient(store, "second")
    store.orders.register([Registration("7", "second")], now=1)
    store.append([arrival(report())])
    held, told = Held(store), asyncio.Event()
    reader = Reader(
        held,  # type: ignore[arg-type]
        Composer(store.identity(), {}),
        None,  # type: ignore[arg-type]
        clock=lambda: 1,
        pump=lambda recipient: told.set(),
        changed=lambda _: None,
    )
    await reader.start()
    reader.join([first])
    reading = asyncio.create_task(reader.read())
    await asyncio.to_thread(held.begun.wait, 30)

    reader.join([second])
    held.may.set()

    async with asyncio.timeout(30):
        await told.wait()
    reading.cancel()
    assert len(second.lineup) == 1
    assert len(first.lineup) == 0
