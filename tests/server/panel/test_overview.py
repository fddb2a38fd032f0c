"""What the dashboard shows, against what has happened."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cloudsignal.server.insight.promises import Punctuality
from cloudsignal.server.insight.reckoning import punctuality, quarter_s
from cloudsignal.server.panel.overview import (
    SPANS,
    begins_of,
    floor,
    overview,
    signals_chart,
)
from cloudsignal.server.store.deliveries import Progress
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.posts import NOBODY, Count, Gathered
from cloudsignal.server.store.store import Store, open_store
from tests.server.arrivals import MINUTE, NOON, arrival, report
from tests.server.store import told
from tests.server.store.contract import furnish

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 60 * MINUTE
NOON_S = NOON // 1_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/a.db")) as store:
        furnish(store)
        yield store


def count(store: Store) -> None:
    while not store.rollups.step().is_idle:
        pass


def test_it_tells_where_items_are_and_what_today_brought(store: Store) -> None:
    store.orders.create_owner("Books", now=1)
    store.orders.register(
        [
            Registration("7", "Books", due=NOON + 30 * MINUTE, items={"4": None}),
            Registration("8", "Books", due=NOON - 3 * HOUR, items={"1": None}),
        ],
        now=1,
    )
    store.append(
        [
            arrival(report(item="1"), report("ItemDelay", item="1", minute=1)),
            arrival(report("ItemShipped", item="2"), report("ItemCanceled", item="3")),
            arrival(report("ItemShipped", order="9", item="1"), partner=2),
            arrival(report(item="9"), test=True, interface=3),
        ]
    )
    number = told.endpoint(store, "Books").id
    store.deliveries.note(Progress(noted=[told.noted(number)]), now=9)
    came = {(1, "accepted"): 7, (1, "invalid_signal"): 2, (2, "invalid_json"): 4}
    came[NOBODY, "unknown_key"] = 8
    store.posts.add(Gathered({(NOON, *whose): Count(n, NOON) for whose, n in came.items()}))
    count(store)

    found = overview(store, None, now=NOON + HOUR, zone=UTC)

    assert {each.state: (each.count, each.delayed) for each in found.states if each.count} == {
        "registered": (1, 1),
        "shipped": (2, 0),
        "canceled": (1, 0),
    }
    assert (found.open, found.delayed, found.shipped, found.canceled) == (1, 1, 2, 1)
    assert found.due == Punctuality(on_time=1, overdue=3, withdrawn=1)
    assert found.due.total == 5
    assert found.overdue == 3
    assert (found.behind, found.is_late) == (0, False)
    assert found.refused == 2 + 4 + 8
    assert found.telling is not None
    assert (found.telling.waiting, found.telling.dead) == (1, 0)

    alone = overview(store, "Beta", now=NOON + HOUR, zone=UTC)
    assert (alone.shipped, alone.open, alone.refused, alone.telling) == (1, 0, 4, None)
    assert overview(store, "Nobody", now=NOON + HOUR, zone=UTC).refused == 0
    tomorrow = overview(store, None, now=NOON + 24 * HOUR, zone=UTC)
    assert (tomorrow.shipped, tomorrow.due.total, tomorrow.overdue) == (0, 0, 3)


def test_a_day_is_that_of_the_zone(store: Store) -> None:
    store.append([arrival(report("ItemShipped"))])
    count(store)
    late = NOON + 11 * HOUR + 30 * MINUTE  # 23:30 in UTC, past midnight in Berlin
    assert overview(store, None, now=late, zone=UTC).shipped == 1
    assert overview(store, None, now=late, zone=BERLIN).shipped == 0


def test_what_is_due_in_this_quarter_of_an_hour_is_waited_for() -> None:
    counts = {(900, "waiting"): 1, (900, "told"): 2, (900, "announced"): 4, (0, "given_up"): 8}

    def due(now_s: int) -> Punctuality:
        quarter = quarter_s(now_s * 1_000_000)
        past = {key: count for (at, key), count in counts.items() if at < quarter}
        coming = {key: count for (at, key), count in counts.items() if at >= quarter}
        return punctuality(past, coming)

    assert due(900 + 899) == Punctuality(open=7, given_up=8)
    assert due(900 + 900) == Punctuality(overdue=7, given_up=8)


@pytest.mark.parametrize(
    "zone", [UTC, BERLIN, ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/New_York")]
)
@pytest.mark.parametrize("key", SPANS)
def test_the_bars_of_a_span_follow_each_other_until_now(key: str, zone: ZoneInfo) -> None:
    span = SPANS[key]
    for now_s in (NOON_S, NOON_S + 12_345, 1_459_000_000, 1_459_047_600):  # and when clocks change
        begins = begins_of(span, now_s, zone)
        assert begins == sorted(set(begins))
        assert begins[-1] <= now_s < begins[-1] + span.bar_s + 3600
        assert 24 <= len(begins) <= 100
        assert {floor(each, span.bar_s, zone) for each in range(now_s - 3600, now_s, 300)} <= {
            *begins,
            *begins_of(span, now_s - 3600, zone),
        }


@pytest.mark.parametrize("key", SPANS)
def test_every_signal_of_a_span_is_in_its_chart(store: Store, key: str) -> None:
    span = SPANS[key]
    ages = [
        0,
        59,
        60,
        span.length_s // 2,
        span.length_s - 2 * span.bar_s,
        span.length_s + 2 * span.bar_s,
    ]
    store.append(
        [
            arrival(report(item=str(age)), received=NOON - age * 1_000_000)
            for age in sorted(ages, reverse=True)
        ]
    )
    count(store)

    found = signals_chart(store, None, span, now=NOON, zone=BERLIN)

    assert found.total == len(ages) - 1
    assert sum(part.height > 0 for bar in found.bars for part in bar.parts) == len(found.bars)
    assert signals_chart(store, "Beta", span, now=NOON, zone=BERLIN).total == 0
    assert 4 <= len(found.x_ticks) <= 10
