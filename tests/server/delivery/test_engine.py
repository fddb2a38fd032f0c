"""Owners are told of everything, in order for each item, whatever fails. On a real store, with time moved."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cloudsignal import webhooks
from cloudsignal.protocol import signatures
from cloudsignal.server.delivery import engine as its
from cloudsignal.server.delivery.desk import EndpointChange, Rotation
from cloudsignal.server.delivery.dialing import Attempt
from cloudsignal.server.delivery.schedule import ATTEMPTS_MAX, FIRST_WAITS_S
from cloudsignal.server.store.deliveries import Progress
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.store import Store, open_store
from tests.server.arrivals import SECOND, arrival, report
from tests.server.delivery.telling import NO, OK, Away, Telling, says, until, until_told
from tests.server.store.contract import furnish

pytestmark = pytest.mark.anyio

SECRET = signatures.written(b"s" * 32)
GONE = Attempt(status=410, error="it answered 410: it wants no more webhooks")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/a.db")) as store:
        furnish(store)
        yield store


@pytest.fixture
def telling(store: Store) -> Telling:
    return Telling(store)


def by_item(causes: list[str]) -> dict[str, list[int]]:
    """For each item the positions of its signals, in the order in which they were taken."""
    found: dict[str, list[int]] = defaultdict(list)
    for each in causes:
        item, position = each.split()
        found[item].append(int(position))
    return found


def assert_in_order(taken: list[str], wanted: list[str]) -> None:
    """Everything was taken, in order for each item, each at least once."""
    assert set(taken) == set(wanted)
    for item, positions in by_item(taken).items():
        first_times = list(dict.fromkeys(positions))
        assert first_times == sorted(first_times), item


# ---- while all is well ----


async def test_an_owner_is_told_of_what_happens_signed_and_in_order(telling: Telling) -> None:
    telling.append("before")
    url = telling.endpoint(secret=SECRET)
    async with telling.running() as engine:
        causes = telling.append("x", "y", "x", "z", "x")
        engine.wake()
        await until(lambda: len(telling.owners.told) == 5)
        assert_in_order(telling.owners.taken(url), causes)
    for each in telling.owners.told:
        found = webhooks.verify(
            each.headers, each.raw, secret=SECRET, apikey="key-of-books", now_s=each.at / SECOND
        )
        assert (found.id, type(found.webhook).__name__) == (each.message, "ItemError")
    assert telling.stored().position == 6
    assert len(telling.store.delivery_log.attempts(failed=False, limit=9)) == 5
    assert telling.store.delivery_log.counts() == {}


async def test_each_endpoint_is_told_what_is_its_owners_and_it_wants(telling: Telling) -> None:
    books = telling.endpoint("books", types=["ItemError"])
    packed = telling.endpoint("packed", types=["ItemPacked"])
    tests = telling.endpoint("tests", test=True)
    telling.store.orders.create_owner("Ink", now=1)
    ink = telling.endpoint("ink", owner="Ink")
    telling.store.orders.register([Registration("8", "Ink", reference="wp")], now=1)
    async with telling.running() as engine:
        telling.append("x")
        telling.append("y", order="8")
        telling.store.append([arrival(report("ItemPacked", item="t"), test=True)])
        engine.wake()
        await until(lambda: len(telling.owners.told) == 4)
        types = {
            url: [each.body["type"] for each in telling.owners.told if each.url == url]
            for url in (books, packed, tests, ink)
        }
        assert types == {
            books: ["ItemError"],
            packed: [],
            tests: ["ItemPacked"],
            ink: ["CloudprinterOrderValidated", "ItemError"],
        }
        await engine._keeper.save(everybody=True)
        assert [each.position for each in telling.store.endpoints.endpoints()] == [3] * 4


async def test_an_order_is_canceled_with_its_last_item(telling: Telling) -> None:
    telling.endpoint()
    async with telling.running() as engine:
        for item in ("1", "2"):
            telling.store.append([arrival(report(item=item))])
        for item in ("1", "2"):
            telling.store.append([arrival(report("ItemCanceled", item=item, minute=1))])
        engine.wake()
        await until(lambda: len(telling.owners.told) == 5)
        types = [each.body["type"] for each in telling.owners.told]
        assert types.count("CloudprinterOrderCanceled") == 1
        assert types.index("CloudprinterOrderCanceled") > types.index("ItemCanceled")


async def test_a_test_webhook_is_sent(telling: Telling) -> None:
    telling.endpoint(types=["ItemShipped"])
    async with telling.running() as engine:
        message = telling.desk.test(1, now=telling.clock())
        engine.wake()
        await until(lambda: telling.owners.told)
        assert telling.owners.told[0].message == message
        assert telling.owners.told[0].body["apikey"] == "key-of-books"
        await until(lambda: telling.store.delivery_log.counts() == {})


# ---- retries ----


async def test_what_failed_is_tried_again_as_it_was_and_its_item_waits(telling: Telling) -> None:
    url = telling.endpoint()
    telling.owners.talks[url] = says(NO)
    async with telling.running() as engine:
        first, second = telling.append("x", "x")
        engine.wake()
        await until(lambda: telling.owners.told)
        for _ in range(4):
            await telling.retry(engine)
        del telling.owners.talks[url]
        await telling.retry(engine)
        await until(lambda: len(telling.owners.told) == 7)

        tried = telling.owners.told[:6]
        assert len({(each.message, each.raw) for each in tried}) == 1
        assert telling.owners.taken() == [first, second]
        waits = [(b.at - a.at) / SECOND for a, b in pairwise(tried)]
        assert waits == list(FIRST_WAITS_S[:5])
        await engine._keeper.save()
        numbers = [each.attempt for each in telling.store.delivery_log.attempts(limit=9)]
        assert numbers == [1, 6, 5, 4, 3, 2, 1]
        assert telling.store.delivery_log.counts() == {}
        assert telling.stored().failures == 0


async def test_one_item_that_is_never_taken_keeps_no_other_one_waiting(telling: Telling) -> None:
    url = telling.endpoint()

    async def talk(message: str, body: dict[str, Any]) -> Attempt:
        return NO if body["item"] == "poison" else OK

    telling.owners.talks[url] = talk

    def is_taken(cause: str) -> bool:
        return cause in telling.owners.taken()

    async with telling.running() as engine:
        poison, behind = telling.append("poison", "poison")
        engine.wake()
        await until(lambda: telling.owners.told)
        # It alone is tried, so the endpoint is believed to be down.
        for _ in range(8):
            assert not (await telling.retry(engine)).is_taken
        [well] = telling.append("well")
        engine.wake()
        await until(lambda: len(engine._recipients[1].lineup) == 3)
        await telling.retry(engine)
        assert telling.owners.taken() == [well]
        await engine._keeper.save()
        assert telling.stored().failures == 0

        while telling.store.delivery_log.counts()[1].get("dead", 0) == 0:
            if not (await telling.retry(engine)).is_taken:
                [well] = telling.append("well")
                engine.wake()
                await until(partial(is_taken, well))
                await engine._keeper.save()
        tries = [each for each in telling.owners.told if each.cause == poison]
        assert len(tries) == ATTEMPTS_MAX
        assert 6 * 24 * 3600 < (tries[-1].at - tries[0].at) / SECOND < 7 * 24 * 3600
        # What is behind it comes next, and has all its attempts before it.
        while telling.owners.told[-1].cause != behind:
            await telling.retry(engine)
        [dead] = telling.store.delivery_log.noted(1, "dead", limit=9)
        assert (dead.attempts, dead.why, dead.item) == (100, "it answered 500", "poison")
        assert telling.stored().state == "active"

        telling.owners.talks.clear()
        assert telling.store.delivery_log.redeliver(1, now=telling.clock()) == 1
        engine.wake()
        while poison not in telling.owners.taken():
            await telling.retry(engine)


async def test_who_asks_to_wait_is_left_alone_for_so_long(telling: Telling) -> None:
    url = telling.endpoint()
    busy = Attempt(status=503, error="it answered 503", retry_after_s=900.0)
    telling.owners.talks[url] = says(busy)
    async with telling.running() as engine:
        telling.append("x")
        engine.wake()
        await until(lambda: telling.owners.told)
        telling.append("y")
        engine.wake()
        telling.owners.talks.clear()
        await telling.retry(engine)
        assert telling.owners.told[1].at - telling.owners.told[0].at == 900 * SECOND
        await until(lambda: len(telling.owners.told) == 3)


async def test_only_the_newest_is_told_after_an_outage_if_that_is_wanted(telling: Telling) -> None:
    url = telling.endpoint(newest_only=True)
    telling.owners.talks[url] = says(NO)
    async with telling.running(is_killed=True) as engine:
        [first] = telling.append("x")
        engine.wake()
        await until(lambda: telling.owners.told)
        telling.append("x", "x", "x", "y")
        [last] = telling.append("y")
        engine.wake()
        while {each.item for each in telling.owners.told} != {"x", "y"}:
            await telling.retry(engine)
        await engine._keeper.save()
        assert telling.store.delivery_log.counts() == {1: {"waiting": 2}}
    async with telling.running() as engine:
        telling.owners.talks.clear()
        await until(lambda: telling.timers.next_at is not None)
        while len(telling.owners.taken()) < 2:
            await telling.retry(engine)
        assert sorted(telling.owners.taken()) == ["x 4", last]
        await engine._keeper.save()
        assert telling.store.delivery_log.counts() == {}
    assert first not in telling.owners.taken()


# ---- an endpoint's health ----


async def test_one_that_wants_no_more_is_paused_until_people_resume_it(telling: Telling) -> None:
    url = telling.endpoint()
    telling.owners.talks[url] = says(GONE)
    async with telling.running() as engine:
        first, second = telling.append("x", "x")
        engine.wake()
        await until(lambda: telling.stored().state == "paused")
        assert telling.stored().why == GONE.error
        assert telling.warnings == [
            f"endpoint 1 of Books ({url}) is paused: it answered 410: it wants no more webhooks"
        ]
        [third] = telling.append("x")
        assert len(telling.owners.told) == 1

        telling.owners.talks.clear()
        telling.store.endpoints.set_state(1, "active")
        engine.wake()
        while len(telling.owners.taken()) < 3:
            await telling.retry(engine)
        assert telling.owners.taken() == [first, second, third]


async def test_one_that_always_fails_is_disabled_after_a_week_and_tried_again_when_people_say_so(
    telling: Telling,
) -> None:
    url = telling.endpoint()
    telling.owners.talks[url] = says(NO)
    async with telling.running() as engine:
        causes = telling.append("x", "x", "y")
        engine.wake()
        await until(lambda: telling.owners.told)
        while telling.stored().state == "active":
            await until(lambda: telling.timers.next_at or telling.stored().state != "active")
            if telling.timers.next_at:
                await telling.retry(engine)
                await engine._keeper.save()
        assert [each.split(") ")[1].split(";")[0][:22] for each in telling.warnings] == [
            "has failed 50 times",
            "has failed 70 times",
            "has failed 90 times",
            "is disabled: 100 attem",
        ]
        assert telling.stored().failures == 100
        began, ended = telling.owners.told[0].at, telling.owners.told[-1].at
        assert 5.5 * 24 * 3600 < (ended - began) / SECOND < 7 * 24 * 3600
        causes += telling.append("x")

        await resume(telling, engine)
        await until(lambda: telling.stored().state == "disabled")
        assert "it was tried once more: it answered 500" in telling.stored().why
        telling.owners.talks.clear()
        await resume(telling, engine)
        while len(telling.owners.taken()) < len(causes):
            await telling.retry(engine)
        assert_in_order(telling.owners.taken(), causes)
        await until(lambda: telling.stored().state == "active")
        assert (telling.stored().failures, telling.stored().why) == (0, "")
        assert len(telling.owners.taken()) == len(causes)


async def resume(telling: Telling, engine: its.Engine) -> None:
    """Have people resume the endpoint: it is tried once."""
    count = len(telling.owners.told)
    assert telling.store.endpoints.set_state(1, "active").state == "probing"
    engine.wake()
    if len(telling.owners.told) == count:
        await telling.retry(engine)


async def test_what_is_due_while_it_is_paused_is_kept(telling: Telling) -> None:
    telling.endpoint()
    async with telling.running() as engine:
        first = telling.append("x")
        engine.wake()
        await until(lambda: telling.owners.told)
        telling.store.endpoints.set_state(1, "paused")
        await until(lambda: not engine._recipients)
        rest = telling.append("x", "y")
        engine.wake()
        telling.store.endpoints.set_state(1, "active")
        engine.wake()
        await until(lambda: len(telling.owners.told) == 3)
        assert_in_order(telling.owners.taken(), first + rest)


async def test_what_is_changed_or_rotated_counts_from_the_next_attempt(telling: Telling) -> None:
    url = telling.endpoint()
    telling.owners.talks[url] = says(NO)
    async with telling.running() as engine:
        telling.append("x")
        engine.wake()
        await until(lambda: telling.owners.told)
        telling.desk.change(1, EndpointChange(url="https://new.example/"))
        telling.desk.rotate(1, Rotation(apikey="another"), now=telling.clock())
        engine.wake()
        await until(lambda: engine._recipients[1].secrets.apikey == "another")
        again = await telling.retry(engine)
        assert (again.url, again.body["apikey"]) == ("https://new.example/", "another")
        assert len(again.headers["webhook-signature"].split()) == 2


async def test_one_whose_secrets_cannot_be_read_is_disabled_and_the_others_are_told(
    telling: Telling,
) -> None:
    telling.endpoint("damaged")
    telling.endpoint("well")
    telling.store.endpoints.change(1, url="v1.damaged")
    async with telling.running() as engine:
        telling.append("x")
        engine.wake()
        await until(lambda: telling.owners.told)
    assert [each.state for each in telling.store.endpoints.endpoints()] == ["disabled", "active"]
    assert "its secrets cannot be read" in telling.warnings[0]


async def test_one_that_is_removed_while_it_is_told_leaves_nothing_behind(
    telling: Telling,
) -> None:
    url = telling.endpoint()
    telling.owners.talks[url] = says(NO)
    async with telling.running() as engine:
        telling.append("x")
        engine.wake()
        await until(lambda: telling.owners.told)
        telling.store.endpoints.remove(1)
        engine.wake()
        await until(lambda: not engine._recipients)
    assert telling.store.delivery_log.counts() == {}


# ---- beside others ----


async def test_a_slow_endpoint_keeps_nobody_waiting_and_catches_up(
    telling: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(its, "HELD_MAX", 5)
    monkeypatch.setattr(its, "HELD_MIN", 1)
    slow, fast = telling.endpoint("slow"), telling.endpoint("fast")
    released = asyncio.Event()

    async def talk(message: str, body: dict[str, Any]) -> Attempt:
        await released.wait()
        return OK

    def is_told(count: int) -> bool:
        return len(telling.owners.taken(fast)) == count

    telling.owners.talks[slow] = talk
    async with telling.running() as engine:
        causes = []
        for turn in range(40):
            causes += telling.append(*(f"{n}" for n in range(turn % 7 + 1)))
            engine.wake()
            await until(partial(is_told, len(causes)))
        assert_in_order(telling.owners.taken(fast), causes)
        assert telling.owners.taken(slow) == []
        held = engine._recipients[1].lineup
        assert 5 <= len(held) < len(causes)

        released.set()

        await until(lambda: len(telling.owners.taken(slow)) == len(causes))
        assert_in_order(telling.owners.taken(slow), causes)
        await engine._keeper.save()
        assert telling.stored(1).position == telling.stored(2).position == len(causes)


async def test_what_is_asked_for_is_found_though_an_endpoint_cannot_keep_up(
    telling: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(its, "HELD_MAX", 4)
    monkeypatch.setattr(its, "HELD_MIN", 1)
    url = telling.endpoint()
    turns = asyncio.Semaphore(0)

    async def talk(message: str, body: dict[str, Any]) -> Attempt:
        await turns.acquire()
        return OK

    telling.owners.talks[url] = talk
    async with telling.running() as engine:
        telling.append(*"abcdefgh")
        engine.wake()
        await until(lambda: telling.owners.under_way == 4)
        for _ in range(2):
            turns.release()
        # Some room, but too little to be read to.
        lineup = engine._recipients[1].lineup
        await until(lambda: len(telling.owners.told) == 2)
        lineup.held_max = len(lineup) + 1
        message = telling.desk.test(1, now=telling.clock())
        engine.wake()
        await until(lambda: lineup.find(message))
        for _ in range(99):
            turns.release()
        await until(lambda: len(telling.owners.told) == 9)


# ---- the store, and this process, fail too ----


async def test_a_store_that_is_away_for_a_while_costs_nothing(telling: Telling) -> None:
    away = Away(telling.store)
    url = telling.endpoint()

    async def talk(message: str, body: dict[str, Any]) -> Attempt:
        return NO if body["item"] == "y" else OK

    telling.owners.talks[url] = talk
    async with telling.running() as engine:
        causes = telling.append("x", "y", "y", "z")
        engine.wake()
        await until(lambda: len(telling.owners.told) == 3)
        away.is_away = True
        # Tried again and again meanwhile, with nothing noted of it.
        for _ in range(3):
            telling.timers.pass_s(3600)
            await until(lambda: not telling.owners.under_way)
        await until(lambda: away.refused > 3)
        away.is_away = False
        telling.owners.talks.clear()
        while len(telling.owners.taken()) < 4:
            await telling.retry(engine)
        assert_in_order(telling.owners.taken(), causes)
        assert len(telling.owners.taken()) == 4
        await engine._keeper.save()
        assert telling.store.delivery_log.counts() == {}
        await until(lambda: telling.stored().position == 4)
        assert len(telling.store.delivery_log.attempts(limit=99)) == len(telling.owners.told)


async def test_who_lost_its_turn_begins_anew_from_what_others_noted(telling: Telling) -> None:
    away = Away(telling.store)
    url = telling.endpoint()
    telling.owners.talks[url] = says(NO)
    now = [1_000.0]
    telling.lease = lambda: now[0]
    async with telling.running("late") as engine:
        telling.append("x", "y")
        engine.wake()
        await until(lambda: len(telling.owners.told) == 2)
        await engine._keeper.save()
        waiting = telling.store.deliveries.waiting({1})
        assert len(waiting) == 2
        away.is_away = True
        await until(lambda: away.refused)
        now[0] += 60
        # Nothing is sent without a turn, whatever is due.
        telling.timers.pass_s(3600)
        assert telling.timers.next_at is None
        away.is_away = False
        telling.store.tellers.stay("other", lease_s=20)
        told = [(1, waiting[0].message)]
        telling.store.deliveries.note(Progress(done=told), now=telling.clock(), node="other")
        telling.store.tellers.leave("other")
        telling.owners.talks.clear()
        await until_told(lambda: len(telling.owners.told) == 3, engine)
        await engine._keeper.save()
        assert telling.store.delivery_log.counts() == {}
        assert telling.owners.told[2].message == waiting[1].message


async def test_nothing_is_lost_however_often_it_is_killed(telling: Telling) -> None:
    chance = random.Random(7)
    urls = [telling.endpoint("one"), telling.endpoint("two")]

    async def talk(message: str, body: dict[str, Any]) -> Attempt:
        await asyncio.sleep(0)
        return NO if chance.random() < 0.3 else OK

    telling.owners.talks = dict.fromkeys(urls, talk)
    causes: list[str] = []
    for _ in range(12):
        async with telling.running(is_killed=True) as engine:
            for _ in range(chance.randrange(4)):
                causes += telling.append(*(str(chance.randrange(5)) for _ in range(6)))
                engine.wake()
                count = len(telling.owners.told)
                await until(
                    lambda count=count: len(telling.owners.told) > count or telling.timers.next_at
                )
            telling.timers.pass_s(chance.choice([0, 10, 600]))
            if chance.random() < 0.5:
                await engine._keeper.save()
    telling.owners.talks.clear()
    async with telling.running() as engine:
        engine.wake()
        while any(set(telling.owners.taken(url)) < set(causes) for url in urls):
            telling.timers.pass_s(3600)
            await asyncio.sleep(0.01)
        for url in urls:
            assert_in_order(telling.owners.taken(url), causes)
        await engine._keeper.save()
        assert telling.store.delivery_log.counts() == {}


# ---- several nodes ----


@pytest.fixture
def stores(furnished_url: str) -> Iterator[list[Store]]:
    with ExitStack() as stack:
        yield [stack.enter_context(closing(open_store(furnished_url))) for _ in range(2)]


async def test_two_nodes_share_the_endpoints_and_take_over_from_each_other(
    stores: list[Store],
) -> None:
    first, second = (Telling(each) for each in stores)
    urls = [first.endpoint(str(n)) for n in range(4)]
    causes = []
    async with first.running("first") as one:
        await until(lambda: len(one._recipients) == 4)
        async with second.running("second") as two:
            await until_told(lambda: len(two._recipients) == 2, one, two)
            assert {*one._recipients} | {*two._recipients} == {1, 2, 3, 4}
            assert (one.leads.is_set(), two.leads.is_set()) == (True, False)
            causes += first.append("x", "y", "x")
            one.wake(), two.wake()
            await until(lambda: len(first.owners.told) == len(second.owners.told) == 6)
        causes += first.append("x", "z")
        await until_told(lambda: len(one._recipients) == 4, one)
        one.wake()
        await until(lambda: len(first.owners.told) + len(second.owners.told) == 20)
    for url in urls:
        assert_in_order(second.owners.taken(url) + first.owners.taken(url), causes)
    assert first.store.tellers.stay("third", lease_s=1).leads
