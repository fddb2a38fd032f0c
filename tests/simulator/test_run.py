"""A simulation from its plan to its comparison, with a server in the same process and a clock of its own."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import msgspec
import pytest

from cloudsignal import AsyncClient
from cloudsignal.protocol.units import DAY_US
from cloudsignal.simulator.comparison import item_differences, receipt_differences
from cloudsignal.simulator.defaults import CONNECTIONS, ITEMS_PER_DAY, START
from cloudsignal.simulator.ledger import Ledger
from cloudsignal.simulator.pace import (
    AsPlanned,
    AtOnce,
    Braking,
    Driving,
    Pace,
    Sleep,
    Steady,
    pace_of,
    span_s,
)
from cloudsignal.simulator.plan import Plan, instant
from cloudsignal.simulator.rates import FAULTS, NO_FAULTS, Rates
from cloudsignal.simulator.reader import ReadFailed, ShownItem
from cloudsignal.simulator.simulation import Result, run
from cloudsignal.testing import FakeServer, answering, hanging_up, unavailable
from tests.simulator.api import STARTED, FakeApi, Shown, view

KEYS = [f"{number:032x}" for number in range(3)]


class Clock:
    """Time that passes only when it is slept through."""

    def __init__(self) -> None:
        self.now = 1000.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class World:
    """A server, its API, a clock, and what a simulation does with them."""

    def __init__(self) -> None:
        self.server = FakeServer(apikeys=KEYS)
        self.api = FakeApi(self.server)
        self.clock = Clock()
        self.ledger = Ledger()
        self.stop: asyncio.Event | None = None

    def run(
        self,
        *,
        items: int | None = 40,
        rates: Rates = FAULTS,
        pace: Pace | None = None,
        duration_s: float | None = None,
        until: int | None = None,
        compare: bool = True,
        during: Callable[[], None] = lambda: None,
        connections: int = CONNECTIONS,
        seed: int = 1,
        items_per_day: int = ITEMS_PER_DAY,
    ) -> Result:
        planned = Plan(
            seed=seed,
            partners=3,
            items=items,
            items_per_day=items_per_day,
            start=instant(START),
            rates=rates,
        )
        driving = Driving(
            pace=pace or AtOnce(),
            connections=connections,
            duration_s=duration_s,
            until=until,
            now=lambda: self.clock.now,
            sleep=self.clock.sleep,
        )

        def client(partner: int, *, sleep: Sleep) -> AsyncClient:
            def answer(request: httpx2.Request) -> httpx2.Response:
                during()
                return self.server._answer_in_process(request)

            transport = httpx2.MockTransport(answer)
            return AsyncClient(
                "http://fake", apikey=KEYS[partner], transport=transport, sleep=sleep
            )

        async def simulate() -> Result:
            self.stop = asyncio.Event()
            async with self.api.reader() as reader:
                return await run(
                    planned,
                    client,
                    driving,
                    ledger=self.ledger,
                    reader=reader if compare else None,
                    stop=self.stop,
                    started=STARTED,
                )

        return asyncio.run(simulate())


@pytest.fixture
def world() -> World:
    return World()


def differences(result: Result) -> list[tuple[str, str, str, str]]:
    assert result.comparison is not None
    return [(d.what, d.expected, d.found, d.measure) for d in result.comparison.differences]


# ---- what is right is found right ----


@pytest.mark.parametrize("rates", [NO_FAULTS, Rates(), FAULTS], ids=["none", "usual", "faults"])
def test_a_server_that_keeps_to_the_contract_has_no_differences(world: World, rates: Rates) -> None:
    result = world.run(items=200, rates=rates)

    assert differences(result) == []
    assert result.comparison is not None
    assert result.comparison.items == result.comparison.against_plan == 200
    assert world.ledger.accepted == world.ledger.distinct == len(world.server.signals)
    assert world.ledger.signals == world.ledger.accepted + world.ledger.duplicates
    assert sum(world.ledger.states.values()) == 200
    assert world.ledger.states["shipped"] > 150
    assert not result.was_stopped


def test_every_print_partner_sends_with_its_own_key(world: World) -> None:
    world.run()
    assert {each.apikey for each in world.server.signals} == set(KEYS)


def test_the_same_again_is_all_repeats_and_still_as_it_must_be(world: World) -> None:
    world.run()
    world.ledger = Ledger()
    world.api.lists_nothing = (
        True  # Nothing has changed, so the items are not among those that have.
    )

    assert differences(world.run()) == []
    assert world.ledger.accepted == 0
    assert world.ledger.duplicates == world.ledger.signals


def test_a_run_that_goes_on_where_another_was_ended_is_all_right(world: World) -> None:
    def stop_after_5() -> None:
        if world.server.posts == 5:
            assert world.stop is not None
            world.stop.set()

    world.run(items=100, connections=1, during=stop_after_5)
    assert world.ledger.accepted == len(world.server.signals) > 0
    world.ledger = Ledger()

    assert differences(world.run(items=100)) == []
    assert 0 < world.ledger.accepted < world.ledger.distinct


def test_items_are_read_in_pages(world: World) -> None:
    world.api.page = 50
    world.run(items=100)
    assert len([each for each in world.api.requests if "since" in each.url.params]) == 2


def test_lost_answers_are_tried_again_and_each_signal_is_stored_once(world: World) -> None:
    world.server.fail(*[hanging_up(stores=True), unavailable()] * 10)

    assert differences(world.run()) == []
    assert world.ledger.retries >= 20
    assert world.ledger.accepted < world.ledger.distinct == len(world.server.signals)


def test_what_is_refused_after_its_answer_was_lost_is_left_out(world: World) -> None:
    world.server.fail(hanging_up(stores=True), answering(400))

    result = world.run(items=1, connections=1, rates=NO_FAULTS)

    assert differences(result) == []
    assert result.comparison is not None
    assert result.comparison.uncertain == 1


def test_what_gets_no_answer_is_left_out(world: World) -> None:
    world.server.fail_always(unavailable())

    result = world.run(items=5)

    assert differences(result) == []
    assert result.comparison is not None
    assert result.comparison.items == 0
    assert result.comparison.uncertain == 5
    assert world.ledger.troubles["unavailable"].posts == world.ledger.errors > 5


def test_a_server_that_is_away_for_good_ends_it(world: World) -> None:
    world.server.fail_always(hanging_up())
    assert world.run(items=1000).was_stopped
    assert world.ledger.errors <= CONNECTIONS


def test_posts_that_never_get_through_do_not_end_it(world: World) -> None:
    planned = Plan(seed=1, partners=3, items=40, start=instant(START), rates=FAULTS)
    lost = next(planned.orders())
    answer = world.server.answer

    def deaf_to_one_order(method: str, path: str, headers: Any, body: bytes) -> Any:
        is_lost = lost.lives[0].order.encode() in body
        return hanging_up() if is_lost else answer(method, path, headers, body)

    world.server.answer = deaf_to_one_order  # type: ignore[method-assign]

    assert differences(world.run(items=40)) == []
    assert world.ledger.errors > 0
    assert len(world.server.items) == 40 - len(lost.lives)


def test_what_was_sent_is_told_even_where_nothing_can_be_compared(world: World) -> None:
    def go_away() -> None:
        world.api.answers = [httpx2.Response(503)] * 5

    result = world.run(items=3, during=go_away)

    assert result.comparison is None
    assert "it answers 503" in result.unread
    assert world.ledger.accepted == len(world.server.signals) > 0


# ---- what is wrong is found ----


def wrong(change: Callable[[Shown], Any]) -> Callable[[list[Shown]], list[Shown]]:
    def lie(items: list[Shown]) -> list[Shown]:
        shipped = next((each for each in items if each["state"] == "shipped"), None)
        if shipped is not None:
            change(shipped)
        return items

    return lie


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", "packed"),
        ("delayed", True),
        ("parcels", []),
        ("cause", "other"),
        ("message", "other"),
        ("delay_hours", 99.0),
        ("times", {}),
        ("findings", ["after_final"]),
    ],
)
def test_a_lie_about_one_item_is_found_by_both_measures(
    world: World, field: str, value: Any
) -> None:
    world.api.lie = wrong(lambda item: item.update({field: value}))

    found = differences(world.run(rates=NO_FAULTS))

    assert [(what, measure) for what, _, _, measure in found] == [
        (field, "signals"),
        (field, "plan"),
    ]
    assert all(expected != there for _, expected, there, _ in found)


def test_the_plan_finds_what_the_rules_themselves_get_wrong(world: World) -> None:
    """If the protocol's rules were wrong, server and folding would agree in their error."""
    world.run(rates=NO_FAULTS)
    item = next(each for each in world.ledger.items if each.folded.state == "shipped")
    item.folded.shipped = None
    held = msgspec.convert(view((item.life.order, item.life.item), item.folded), ShownItem)

    found = [(each.what, each.measure) for each in item_differences(item, held)]

    assert found == [("state", "plan"), ("times", "plan")]


def test_a_missing_item_is_found(world: World) -> None:
    world.api.lie = lambda items: items[1:]
    assert differences(world.run()) == [("item", "there", "not there", "signals")]


def test_a_datetime_that_is_none_is_found(world: World) -> None:
    world.api.lie = wrong(lambda item: item["times"].update(shipped="yesterday"))
    [(what, _, _, _)] = differences(world.run())
    assert what == "datetimes"


def test_an_instant_in_another_spelling_is_the_same(world: World) -> None:
    def respell(item: Shown) -> None:
        item["times"] = {k: v.replace("+00:00", "Z") for k, v in item["times"].items()}

    world.api.lie = wrong(respell)
    assert differences(world.run()) == []


def test_a_signal_that_is_accepted_twice_is_found(world: World) -> None:
    world.server.fail(answering(200, {"accepted": 1, "duplicates": 0, "position": 1}, stores=True))

    def forget() -> None:
        if world.server.posts == 60:
            world.server._positions.clear()

    found = differences(world.run(during=forget))

    assert [(what, measure) for what, _, _, measure in found] == [("accepted", "receipts")]


def test_a_signal_that_a_new_server_says_it_knows_is_found(world: World) -> None:
    known = {"accepted": 0, "duplicates": 1, "position": 1}
    world.server.fail(answering(200, known))

    found = differences(world.run(rates=NO_FAULTS))

    assert ("accepted", "receipts") in [(what, measure) for what, _, _, measure in found]


def test_a_server_without_receipts_is_still_compared_by_its_items(world: World) -> None:
    world.server.fail(answering(200, "", stores=True))
    assert differences(world.run(rates=NO_FAULTS, items=10)) == []
    assert not world.ledger.has_receipts


# ---- what ends it ----


def test_it_can_be_stopped_and_compares_what_was_sent(world: World) -> None:
    def stop_after_50() -> None:
        if world.server.posts == 50:
            assert world.stop is not None
            world.stop.set()

    result = world.run(items=500, during=stop_after_50)

    assert result.was_stopped
    assert differences(result) == []
    assert 50 <= world.server.posts < 50 + CONNECTIONS
    assert result.comparison is not None
    assert result.comparison.against_plan < result.comparison.items


def test_a_duration_ends_it_however_many_items_there_are(world: World) -> None:
    result = world.run(items=None, pace=Steady(50), duration_s=10)

    assert differences(result) == []
    assert world.ledger.signals == pytest.approx(500, abs=20)
    assert result.seconds == pytest.approx(10, abs=0.5)


def test_a_key_that_is_refused_ends_it(world: World) -> None:
    world.server.apikeys.clear()
    result = world.run(items=500)
    assert result.was_stopped
    assert world.ledger.errors <= CONNECTIONS
    assert set(world.ledger.troubles) == {"unknown_key"}


def test_a_token_that_is_refused_ends_it_before_anything_is_sent(world: World) -> None:
    world.api.answers = [httpx2.Response(401)]
    with pytest.raises(ReadFailed, match="answers 401 to the token"):
        world.run()
    assert world.server.posts == 0


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (httpx2.Response(404), "is it a cloudsignal server"),
        (httpx2.Response(200, content=b"<html>"), "what no cloudsignal server does"),
    ],
)
def test_what_is_no_api_is_told(world: World, answer: httpx2.Response, sentence: str) -> None:
    world.api.answers = [answer]
    with pytest.raises(ReadFailed, match=sentence):
        world.run()


def test_an_api_that_is_away_is_asked_again_and_then_told(world: World) -> None:
    world.api.answers = [httpx2.Response(503)] * 4
    assert differences(world.run(items=3)) == []
    world.api.answers = [httpx2.Response(503)] * 5
    with pytest.raises(ReadFailed, match="it answers 503"):
        world.run(items=3)


def test_without_a_reader_nothing_is_compared(world: World) -> None:
    assert world.run(compare=False).comparison is None
    assert world.api.requests == []


def test_items_beyond_the_limit_are_sent_and_not_compared(world: World) -> None:
    world.ledger = Ledger(items_compared_max=10)
    result = world.run(items=40)
    assert result.comparison is not None
    assert result.comparison.items == 10
    assert differences(result) == []
    assert world.ledger.beyond > 0
    world.ledger.accepted += 1
    assert [each.what for each in receipt_differences(world.ledger, is_new=True)] == [
        "accepted and duplicates"
    ]
    assert len(world.server.items) == 40


# ---- how fast ----


def test_a_speed_keeps_the_times_of_the_plan(world: World) -> None:
    planned = Plan(seed=1, partners=3, items=40, start=instant(START), rates=FAULTS)
    posts = list(planned.posts())
    result = world.run(pace=AsPlanned(3600.0), compare=False)
    assert result.seconds == pytest.approx((posts[-1].at - posts[0].at) / 3.6e9, rel=0.02)


@pytest.mark.parametrize("duration_s", [300, 30 * 3600])
def test_a_plan_that_is_braked_ends_in_time_and_is_never_ahead_of_life(
    world: World, duration_s: int
) -> None:
    until = instant(START) + 2 * DAY_US
    began, sent = world.clock.now, []

    def during() -> None:
        sent.append(world.clock.now - began)

    pace = Braking(instant(START), until, duration_s)
    result = world.run(
        items=None, pace=pace, duration_s=duration_s, until=until, during=during,
        compare=False, items_per_day=100, connections=1,
    )  # fmt: skip

    planned = Plan(
        seed=1, partners=3, items=None, items_per_day=100, start=instant(START), rates=FAULTS
    )
    posts = list(planned.posts(until=until))
    assert len(sent) == len(posts)
    assert result.seconds <= duration_s
    begin = until - duration_s * 1_000_000
    assert all(
        post.at <= begin + at * 1_000_000 + 2_000 for post, at in zip(posts, sent, strict=True)
    )
    if duration_s == 300:
        half = sum(at < 150 for at in sent)
        assert half == sum(post.at < until - DAY_US / 4 for post in posts)


def test_what_comes_after_an_instant_is_not_sent_and_what_was_is_compared(world: World) -> None:
    until = instant(START) + DAY_US
    result = world.run(items=None, until=until, items_per_day=200)

    assert differences(result) == []
    assert result.comparison is not None
    assert result.comparison.against_plan < result.comparison.items
    assert {state for state, count in world.ledger.states.items() if count} >= {
        "registered", "producing", "produced", "packed", "shipped"
    }  # fmt: skip
    assert all(when <= until for each in world.ledger.items for when in each.folded.times.values())


def test_a_rate_is_kept_whatever_the_times_of_the_plan(world: World) -> None:
    result = world.run(pace=Steady(100.0), compare=False)
    assert world.ledger.signals / result.seconds == pytest.approx(100, rel=0.05)


def test_paces_are_read() -> None:
    assert isinstance(pace_of("max"), AtOnce)
    assert isinstance(pace_of("max", 5.0), Steady)
    for text in ("3600x", "3600"):
        pace = pace_of(text)
        assert isinstance(pace, AsPlanned)
        assert pace.speed == 3600.0
    for text in ("fast", "0x", "-1x", "", "1e9x"):
        with pytest.raises(ValueError, match="3600x"):
            pace_of(text)


def test_spans_are_read() -> None:
    assert [span_s(text) for text in ("90", "90s", "1.5m", "2h")] == [90, 90, 90, 7200]
    for text in ("", "0", "1d", "s"):
        with pytest.raises(ValueError, match="90s"):
            span_s(text)
