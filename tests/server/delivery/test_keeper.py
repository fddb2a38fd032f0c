"""What became of deliveries is noted once and as it is, whatever happens to the store or to whoever waits."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cloudsignal.server.delivery.keeper import IDLE_S, Keeper
from cloudsignal.server.delivery.lineup import Delivery
from cloudsignal.server.delivery.recipient import Recipient
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store, open_store
from tests.server.delivery.telling import NO, OK, Away, Telling, until
from tests.server.delivery.test_lineup import delivery
from tests.server.store.contract import furnish

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/a.db")) as store:
        furnish(store)
        yield store


class Kept:
    """A keeper with two recipients, the first of which tells what became of deliveries."""

    def __init__(self, store: Store) -> None:
        self.telling = Telling(store)
        self.recipients = [self.telling.recipient("one"), self.telling.recipient("two")]
        self.now_s = 1_000.0
        store.tellers.stay("a", lease_s=3600)
        self.keeper = Keeper(
            store,
            "a",
            lambda: self.recipients,
            clock=self.telling.clock,
            timer=lambda: self.now_s,
        )

    @property
    def one(self) -> Recipient:
        return self.recipients[0]

    def noted(self, each: Delivery, **values: Any) -> None:
        self.keeper.noted(self.one, each, "{}", **values)
        each.is_noted = True

    def stored(self) -> list[tuple[str, str, int]]:
        """What is noted of the first one's deliveries."""
        found = self.telling.store.delivery_log.noted(1, limit=99)
        return [(each.message, each.state, each.attempts) for each in found]


@pytest.fixture
def kept(store: Store) -> Kept:
    return Kept(store)


async def test_only_what_became_of_a_delivery_last_is_noted(kept: Kept) -> None:
    """Much may become of it before it is noted, while the store is slow or away."""
    told, again, dead, asked = (delivery(n) for n in range(1, 5))
    for each in (told, again, dead, asked):
        kept.noted(each)
    kept.keeper.done(kept.one, told)
    again.attempts = 2
    kept.noted(again)
    kept.noted(dead, state="dead")
    kept.keeper.done(kept.one, asked)
    kept.noted(asked)

    await kept.keeper.save()

    assert kept.stored() == [("m2", "waiting", 2), ("m3", "dead", 0), ("m4", "waiting", 0)]
    kept.keeper.done(kept.one, again)
    kept.keeper.done(kept.one, delivery(9))
    await kept.keeper.save()
    assert [each[0] for each in kept.stored()] == ["m3", "m4"]


async def test_nothing_gathered_is_lost_while_the_store_is_away(kept: Kept) -> None:
    away = Away(kept.telling.store)
    kept.noted(delivery(1))
    kept.one.lineup.read_to = 4
    away.is_away = True
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await kept.keeper.save()
    kept.noted(delivery(2))
    kept.one.lineup.read_to = 5
    away.is_away = False

    await kept.keeper.save()

    assert [each[0] for each in kept.stored()] == ["m1", "m2"]
    assert kept.telling.stored().position == kept.one.saved == 5


async def test_who_is_canceled_while_it_saves_has_it_saved_once(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    noting, noted = kept.telling.store.deliveries.note, []

    def note(progress: Any, **values: Any) -> None:
        noted.append(progress)
        begun.set()
        assert may_end.wait(30)
        noting(progress, **values)

    monkeypatch.setattr(kept.telling.store.deliveries, "note", note)
    kept.keeper.attempted(kept.one, delivery(1), "{}", 5, OK)
    saving = asyncio.create_task(kept.keeper.save())
    await until(begun.is_set)
    saving.cancel()
    with suppress(asyncio.CancelledError):
        await saving
    again = asyncio.create_task(kept.keeper.save())
    await asyncio.sleep(0)
    may_end.set()

    await again

    assert len(noted) == len(kept.telling.store.delivery_log.attempts(limit=9)) == 1


async def test_how_far_the_quiet_ones_have_come_is_noted_though_others_are_never_quiet(
    kept: Kept,
) -> None:
    for each in kept.recipients:
        each.lineup.read_to = 7
    keeping = asyncio.create_task(kept.keeper.keep())
    kept.keeper.done(kept.one, delivery(1))
    await until(lambda: kept.telling.stored(1).position == 7)
    assert kept.telling.stored(2).position == 0

    kept.now_s += IDLE_S
    kept.keeper.done(kept.one, delivery(2))

    await until(lambda: kept.telling.stored(2).position == 7)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_position_that_others_are_ahead_of_is_not_noted(kept: Kept) -> None:
    lineup = kept.one.lineup
    for position in (5, 6):
        lineup.add(delivery(position, str(position)))
    lineup.read_to = 9
    first, second = lineup.next(0), lineup.next(0)
    assert first
    assert second
    lineup.done(second)
    kept.keeper.done(kept.one, second)
    await kept.keeper.save()
    assert kept.telling.stored().position == 4

    lineup.done(first)
    kept.keeper.done(kept.one, first)
    await kept.keeper.save()

    assert kept.telling.stored().position == 9


async def test_an_attempt_is_noted_without_the_key_that_an_answer_repeats(kept: Kept) -> None:
    said = replace(NO, headers=(("x-key", "is key-of-one"),), body=b'{"apikey":"key-of-one"}')
    kept.keeper.attempted(kept.one, delivery(1), "{}", 5, said)

    await kept.keeper.save()

    [attempt] = kept.telling.store.delivery_log.attempts(limit=9)
    assert attempt.headers == [("x-key", "is …")]
    assert attempt.answer == '{"apikey":"…"}'.encode()
    assert (attempt.status, attempt.at, attempt.attempt) == (500, 5, 1)
