"""Attempts: no more than there is room for, and the room is shared."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.server.delivery.dialing import Attempt
from cloudsignal.server.delivery.keeper import Keeper
from cloudsignal.server.delivery.recipient import Recipient
from cloudsignal.server.delivery.sending import Sending
from cloudsignal.server.metrics import Told
from cloudsignal.server.store.store import Store, open_store
from tests.server.delivery.telling import NO, OK, Telling, until
from tests.server.delivery.test_lineup import delivery
from tests.server.store.contract import furnish

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/a.db")) as store:
        furnish(store)
        yield store


class Sends:
    """Sending, to owners who answer when a test says so."""

    def __init__(self, store: Store, **options: Any) -> None:
        self.telling = Telling(store)
        self.is_mine = True
        self.defects: list[BaseException] = []
        keeper = Keeper(store, "a", lambda: [], clock=self.telling.clock, timer=lambda: 1.0)
        self.sending = Sending(
            store,
            self.telling.owners,  # type: ignore[arg-type]
            keeper,
            clock=self.telling.clock,
            chance=lambda: 0.0,
            later=self.telling.timers.later,  # type: ignore[arg-type]
            is_mine=lambda: self.is_mine,
            landed=lambda _: None,
            defect=self.defects.append,
            warn=lambda *_: None,
            told=Told(),
            **options,
        )
        self._answers: dict[str, asyncio.Queue[Attempt]] = {}

    def recipient(self, name: str, count: int, *, is_proven: bool = False) -> Recipient:
        """One with so much to be told, each about another item."""
        made = self.telling.recipient(name)
        made.pace.is_proven = is_proven
        for n in range(1, count + 1):
            body = f'{{"type":"ItemPacked","apikey":"","item":"{n}"}}'
            made.lineup.add(delivery(n, str(n), webhook=body))
        answers = self._answers.setdefault(made.secrets.url, asyncio.Queue())

        async def talk(message: str, body: dict[str, Any]) -> Attempt:
            return await answers.get()

        self.telling.owners.talks[made.secrets.url] = talk
        return made

    async def answer(self, recipient: Recipient, attempt: Attempt = OK) -> None:
        """Have one attempt be answered."""
        count = len(self.telling.owners.told)
        self._answers[recipient.secrets.url].put_nowait(attempt)
        await until(lambda: len(self.telling.owners.told) > count)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def stop(self) -> None:
        self.is_mine = False
        await self.sending.stop(0.0)
        assert not self.defects


async def test_nothing_begins_without_a_turn_and_nothing_waits_for_a_moment(store: Store) -> None:
    sends = Sends(store)
    one = sends.recipient("one", 2)
    sends.is_mine = False

    sends.sending.pump(one)

    assert (one.lineup.under_way, sends.telling.timers.next_at) == (0, None)
    sends.is_mine = True
    sends.sending.pump(one)
    assert one.lineup.under_way == 2
    await sends.stop()
    assert sends.telling.timers.next_at is None


async def test_an_endpoint_gets_as_much_at_once_as_it_takes(store: Store) -> None:
    sends = Sends(store)
    one = sends.recipient("one", 99)
    sends.sending.pump(one)
    assert one.lineup.under_way == 4
    await sends.answer(one)
    assert one.lineup.under_way == 8
    await sends.answer(one, NO)
    assert one.lineup.under_way == 7
    await sends.stop()


async def test_those_that_take_what_they_are_told_find_room_beside_those_that_do_not(
    store: Store,
) -> None:
    sends = Sends(store, at_once_max=8, unproven_max=4)
    dead = [sends.recipient(f"dead-{n}", 4) for n in range(3)]
    well = sends.recipient("well", 3, is_proven=True)
    for each in (*dead, well):
        sends.sending.pump(each)
    assert [each.lineup.under_way for each in dead] == [4, 0, 0]
    assert well.lineup.under_way == 3
    await sends.answer(dead[0], NO)
    # Who has waited longest is next.
    assert [each.lineup.under_way for each in dead] == [3, 1, 0]
    await sends.answer(well)
    assert [each.lineup.under_way for each in (*dead, well)] == [3, 1, 0, 2]
    await sends.stop()


async def test_who_waits_for_room_does_not_look_for_it_again_and_again(store: Store) -> None:
    sends = Sends(store, at_once_max=1)
    first, second = (sends.recipient(name, 2, is_proven=True) for name in ("first", "second"))
    for each in (first, second):
        sends.sending.pump(each)
    assert [each.lineup.under_way for each in (first, second)] == [1, 0]
    assert sends.telling.timers.next_at is None

    # The first has waited longest, for its second one.
    await sends.answer(first)
    assert [each.lineup.under_way for each in (first, second)] == [1, 0]
    await sends.answer(first)

    assert [each.lineup.under_way for each in (first, second)] == [0, 1]
    assert sends.telling.timers.next_at is None
    await sends.stop()


async def test_those_that_take_what_they_are_told_slowly_leave_room_for_the_others(
    store: Store,
) -> None:
    sends = Sends(store, at_once_max=4, unproven_max=2)
    slow = [sends.recipient(f"slow-{n}", 9, is_proven=True) for n in range(2)]
    for each in slow:
        sends.sending.pump(each)
    assert [each.lineup.under_way for each in slow] == [4, 0]

    for _ in range(4):
        await sends.answer(slow[0], Attempt(status=200, took_s=14.0))
    for _ in range(4):
        await sends.answer(slow[1], Attempt(status=200, took_s=14.0))

    assert sum(each.lineup.under_way for each in slow) == 2
    well = sends.recipient("well", 3, is_proven=True)
    sends.sending.pump(well)
    assert well.lineup.under_way == 2
    await sends.stop()


async def test_one_that_fails_while_it_waits_for_room_holds_up_none_that_do_not(
    store: Store,
) -> None:
    sends = Sends(store, at_once_max=4, unproven_max=1)
    dead = sends.recipient("dead", 4)
    turned, well = (sends.recipient(name, 9, is_proven=True) for name in ("turned", "well"))
    for each in (dead, turned, well):
        sends.sending.pump(each)
    assert [each.lineup.under_way for each in (dead, turned, well)] == [1, 3, 0]
    # Whoever waits first among the proven ones is proven no more, and there is no room for the others.
    await sends.answer(turned, NO)
    assert well.lineup.under_way == 1
    await sends.answer(turned)
    turned.pace.is_proven = False

    await sends.answer(well)

    assert [each.lineup.under_way for each in (dead, well)] == [1, 2]
    assert sum(each.lineup.under_way for each in (dead, turned, well)) == 4
    await sends.stop()
