"""What counting everything again promises, on any store. See ``contract.py``."""

from random import Random
from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from cloudsignal.server.store.recounting import Compared
from cloudsignal.server.store.schema import (
    counted_items,
    counted_orders,
    recounts,
    rollups,
    states,
)
from cloudsignal.server.store.store import Store
from tests.server.arrivals import MINUTE, NOON, arrival, report
from tests.server.store.rebuilding_contract import rows, tamper
from tests.server.store.rollups_contract import (
    WEEK,
    anything,
    count_all,
    kept,
    register,
    scanned,
)

DAY = 24 * 60 * MINUTE
TABLES = (rollups, counted_items, counted_orders, recounts)


def fill(store: Store, seed: int = 0) -> None:
    random = Random(seed)
    store.orders.create_owner("Books", now=1)
    for _ in range(40):
        anything(store, random)


def fill_minutes(store: Store, minutes: int) -> None:
    """A signal in each of the minutes since noon, counted."""
    for minute in range(minutes):
        store.append([arrival(report(minute=minute), received=NOON + minute * MINUTE)])
    count_all(store)


def counted(store: Store) -> list[list[tuple[Any, ...]]]:
    return [rows(store, table) for table in TABLES]


ONE = rollups.c.what == "state", rollups.c.partner == 0
FAULTS = {
    "a count": update(rollups).where(rollups.c.what == "day").values(count=rollups.c.count + 1),
    "counts that are missing": delete(rollups).where(*ONE),
    "a count of nothing": insert(rollups).values(
        what="due", partner=1, at=900, key="late", count=2
    ),
    "an item that was counted as nothing": update(states).values(summary=b"\x90"),
}


class RecountingContract:
    @pytest.mark.parametrize("seed", range(3))
    def test_what_is_counted_is_right_until_something_comes(self, store: Store, seed: int) -> None:
        assert store.compare_counts() == Compared(why_not="nothing was ever counted")
        fill(store, seed)
        count_all(store)
        before = counted(store)

        found = store.compare_counts()

        total = sum(len(counts) for counts in kept(store).values())
        assert found == Compared(counts=total)
        assert counted(store) == before
        register(store, Random(seed))
        assert store.compare_counts().why_not == "1 orders are not counted yet"
        store.append([arrival(report(order="new")), arrival(report(order="newer"))])
        assert store.compare_counts().why_not == "2 signals are not counted yet"

    @pytest.mark.parametrize("fault", FAULTS)
    def test_what_was_changed_behind_its_back_is_found_and_counted_again(
        self, store: Store, fault: str
    ) -> None:
        fill(store)
        count_all(store)
        right = kept(store)
        tamper(store, FAULTS[fault])
        wrong = counted(store)

        assert store.compare_counts().differed > 0
        assert counted(store) == wrong

        store.rebuild()
        seen: list[tuple[int, int]] = []
        counts = store.count_again(progress=lambda done, total: seen.append((done, total)))
        assert kept(store) == right == scanned(store)
        assert store.compare_counts() == Compared(counts=counts or 0)
        last = store.reading.last_position()
        assert seen[-1] == (last, last)

    def test_where_nothing_was_ever_counted_nothing_is(self, store: Store) -> None:
        store.append([arrival()])
        assert store.count_again() is None
        assert rows(store, rollups) == []

    def test_a_calendar_is_no_difference_and_counts_once_all_is_counted_again(
        self, store: Store
    ) -> None:
        fill(store)
        count_all(store)
        store.calendars.set("Alpha", WEEK)
        found = store.compare_counts()
        assert (found.differed, found.why_not) == (0, "")
        assert kept(store) != scanned(store)

        store.count_again()

        assert kept(store) == scanned(store)
        assert store.compare_counts().differed == 0

    def test_what_was_pruned_is_left_out_of_the_comparison(self, store: Store) -> None:
        for number in range(6):
            made = report(item=str(number))
            store.append([arrival(made, received=NOON + number * DAY)])
        count_all(store)
        assert store.prune(NOON + 3 * DAY + 1).signals == 4
        assert store.compare_counts().differed == 0
        store.count_again()
        found = store.compare_counts()
        assert (found.differed, found.why_not) == (0, "")

    def test_minutes_that_are_forgotten_are_no_difference(self, store: Store) -> None:
        fill_minutes(store, 3)
        for left in (2, 1, 0):
            store.rollups.forget_minutes(NOON + 2 * DAY + (3 - left) * MINUTE)
            assert sum(store.rollups.sums("minute").values()) == left

            found = store.compare_counts()

            assert (found.differed, found.why_not) == (0, "")

    def test_minutes_that_are_forgotten_meanwhile_are_no_difference(
        self, store: Store, another: Store
    ) -> None:
        fill_minutes(store, 3)

        def meanwhile(*_: int) -> None:
            another.rollups.forget_minutes(NOON + 2 * DAY + MINUTE)

        found = store.compare_counts(progress=meanwhile)

        assert store.rollups.sums("minute") == {"ItemRegistered": 2}
        assert (found.differed, found.why_not) == (0, "")

    def test_what_is_counted_meanwhile_is_no_difference(self, store: Store, another: Store) -> None:
        fill(store)
        count_all(store)

        def meanwhile(*_: int) -> None:
            if not another.reading.item("new", "1"):
                another.append([arrival(report(order="new"))])
                count_all(another)

        found = store.compare_counts(progress=meanwhile)

        assert found == Compared(why_not="something was counted or registered meanwhile")

    def test_others_may_count_while_all_is_counted_again(
        self, store: Store, another: Store
    ) -> None:
        store.append([arrival(*(report(item=str(number)) for number in range(900)))])
        for minute in range(1, 5):
            made = (report("ItemPacked", item=str(n), minute=minute) for n in range(900))
            store.append([arrival(*made)])
        count_all(store)
        store.count_again(progress=lambda *_: another.rollups.step(limit=100) and None)
        while not another.rollups.step().is_idle:
            pass
        assert kept(store) == scanned(store)
