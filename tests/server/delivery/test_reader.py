"""Reading the log for many: each is told all that is its own, whenever it joins and leaves."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.server.delivery import reader as its
from cloudsignal.server.delivery.composing import Composer
from cloudsignal.server.delivery.keeper import Keeper
from cloudsignal.server.delivery.reader import Reader
from cloudsignal.server.delivery.recipient import Recipient
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.store import Store, open_store
from tests.server.delivery.telling import Telling, until
from tests.server.store.contract import furnish

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/a.db")) as store:
        furnish(store)
        yield store


class Reads:
    """A reader, and recipients of several owners that take everything at once, or not."""

    def __init__(self, store: Store) -> None:
        self.telling = Telling(store)
        self.taken: dict[Recipient, list[int]] = {}
        self.is_quick = True
        keeper = Keeper(store, "a", lambda: self.taken, clock=self.telling.clock, timer=lambda: 1.0)
        self.reader = Reader(
            store,
            Composer(store.identity(), {}),
            keeper,
            pump=self.pump,
            changed=lambda _: None,
        )

    def recipient(self, owner: str) -> Recipient:
        """An endpoint of another owner, whose order has its name."""
        made = self.telling.recipient(f"hook-{len(self.taken)}", owner=owner)
        self.telling.store.orders.register([Registration(owner, owner)], now=1)
        self.telling.store.tellers.stay("a", lease_s=3600)
        self.taken[made] = []
        return made

    def pump(self, recipient: Recipient) -> None:
        while self.is_quick and (each := recipient.lineup.next(0)) is not None:
            recipient.lineup.done(each)
            if each.position:
                self.taken[recipient].append(each.position)
            self.reader.landed(recipient)


async def test_whoever_joins_while_it_is_looked_for_others_misses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(store)
    first, second = reads.recipient("Books"), reads.recipient("Ink")
    for order in ("Books", "Ink", "Books", "Ink"):
        reads.telling.append("x", order=order)
    await reads.reader.start()
    loop, looking, joined = asyncio.get_running_loop(), store.deliveries.look, []

    def look(told: Any, **values: Any) -> Any:
        found = looking(told, **values)
        if first.id in told and not found.asked and not joined:
            joined.append(1)
            loop.call_soon_threadsafe(reads.reader.join, [second])
        return found

    monkeypatch.setattr(store.deliveries, "look", look)
    reads.reader.join([first])
    reading = asyncio.create_task(reads.reader.read())

    await until(lambda: [*reads.taken.values()] == [[1, 3], [2, 4]])

    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.parametrize("seed", range(5))
async def test_everybody_is_told_its_own_once_however_they_come_and_go(
    store: Store, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(its, "PAGE", 3)
    monkeypatch.setattr(its, "TOGETHER", 5)
    monkeypatch.setattr(its, "REST_S", 0.0)
    chance = random.Random(seed)
    reads = Reads(store)
    owners = ["Books", "Ink", "Paper"]
    everybody = [reads.recipient(chance.choice(owners)) for _ in range(6)]
    for each in everybody:
        each.lineup.held_max = chance.randrange(1, 6)
    await reads.reader.start()
    reading = asyncio.create_task(reads.reader.read())
    away: list[Recipient] = list(everybody)
    for _ in range(60):
        owner = chance.choice(owners)
        reads.telling.append(*"xyz"[: chance.randrange(1, 4)], order=owner)
        each = chance.choice(everybody)
        if each in away:
            away.remove(each)
            reads.reader.join([each])
        elif chance.random() < 0.3:
            away.append(each)
            reads.reader.leave(each)
        reads.is_quick = chance.random() < 0.6
        for other in everybody:
            reads.pump(other)
        reads.reader.wake()
        await asyncio.sleep(0)
    reads.is_quick = True
    reads.reader.join(away)
    for each in everybody:
        reads.pump(each)
    log = store.deliveries.look(set(), after=0, limit=999).signals
    wanted = {
        each: [signal.position for signal in log if signal.owner == each.endpoint.owner]
        for each in everybody
    }

    await until(lambda: all(len(reads.taken[each]) >= len(wanted[each]) for each in everybody))

    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert {each: sorted(positions) for each, positions in reads.taken.items()} == wanted
