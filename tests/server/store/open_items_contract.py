"""What lists of open items promise on any store, and a print partner's signals read backwards. See ``contract.py``."""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

import pytest

from cloudsignal.server.store.open_items import OpenItem, Place
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.reading import ItemQuery, ReportedSignal
from cloudsignal.server.store.store import Store
from tests.server.arrivals import MINUTE, NOON, arrival, report, whole_log
from tests.server.store.rollups_contract import NAMES, anything, count_all
from tests.server.store.search_contract import asked

STATES = ("unknown", "registered", "producing", "produced", "packed")


def paged(
    read: Callable[..., list[OpenItem]], place: Place, at: str, **whose: str
) -> list[OpenItem]:
    """All of a list, two at a time; ``at`` says by which of their instants the items are in order."""
    found: list[OpenItem] = []
    while page := read(place, **whose, limit=2):
        found += page
        place = page[-1].place(getattr(page[-1], at))
    return found


def ids(found: list[OpenItem]) -> list[tuple[str, str]]:
    return [(each.order, each.item) for each in found]


class OpenItemsContract:
    @pytest.mark.parametrize("seed", [0, 2, 3])
    def test_open_items_are_listed_by_when_they_are_due_and_how_long_they_wait(
        self, store: Store, seed: int
    ) -> None:
        random = Random(seed)
        store.orders.create_owner("Books", now=1)
        for _ in range(12):
            anything(store, random)
        for order in range(11, 17):
            whose, due = random.choice((None, *NAMES)), NOON + random.randint(-2, 1) * 20 * MINUTE
            told = Registration(str(order), "Books", whose, due=due, items={"1": None, "2": None})
            store.orders.register([told], now=order)
        count_all(store)
        live = [
            each
            for each in store.reading.items(ItemQuery(limit=999))
            if each.folded.live and each.folded.final is None
        ]
        assert len(live) > 3
        registered = {each.order: each for each in store.orders.orders("Books", limit=999)}
        heard = {(each.order, each.item) for each in store.reading.items(ItemQuery(limit=999))}
        unheard = {
            (each.order, item): each.partner_name
            for each in registered.values()
            if each.due is not None
            for item in store.orders.order(each.order).items  # type: ignore[union-attr]
            if (each.order, item) not in heard
        }
        assert len(unheard) > 11

        for partner in (None, *NAMES):
            whose = {} if partner is None else {"partner": partner}
            its_own = [each for each in live if partner in (None, each.partner_name)]
            due = {
                (each.order, each.item): registered[each.order].due
                for each in its_own
                if each.order in registered and registered[each.order].due is not None
            } | {
                (order, item): registered[order].due
                for (order, item), name in unheard.items()
                if partner in (None, name)
            }
            later = paged(store.open_items.due_from, Place(NOON), "due", **whose)
            earlier = paged(store.open_items.due_before, Place(NOON), "due", **whose)
            assert {(each.order, each.item): each.due for each in (*earlier, *later)} == due
            in_order = [each.place(each.due or 0) for each in (*earlier[::-1], *later)]
            assert in_order == sorted(set(in_order))
            for each in (*earlier, *later):
                assert each.is_unheard == ((each.order, each.item) in unheard)
                if each.is_unheard:
                    assert each.partner_name == registered[each.order].partner_name
                    assert each.since == registered[each.order].registered
            assert all(each.due < NOON for each in earlier)
            assert all(each.due >= NOON for each in later)
            if partner is None:
                continue
            for state in STATES:
                read = partial(store.open_items.waiting, state)
                waiting = paged(read, Place(0), "since", partner=partner)
                assert sorted(ids(waiting)) == sorted(
                    (each.order, each.item) for each in its_own if each.folded.state == state
                )
                assert [each.since for each in waiting] == sorted(each.since for each in waiting)
                for each in waiting:
                    assert each.partner_name == partner
                    assert each.folded == store.reading.item(each.order, each.item).folded  # type: ignore[union-attr]
        assert store.open_items.due_from(Place(0), partner="nobody", limit=9) == []

    def test_how_an_item_stands_is_known_before_it_is_counted(self, store: Store) -> None:
        store.append([arrival(report("ItemPacked"))])
        count_all(store)
        store.append([arrival(report("ItemShipped", minute=1))])

        [found] = store.open_items.waiting("packed", Place(0), partner="Alpha", limit=9)

        assert found.folded.final == "shipped"
        count_all(store)
        assert store.open_items.waiting("packed", Place(0), partner="Alpha", limit=9) == []

    def test_an_item_is_unheard_of_until_its_first_signal(self, store: Store) -> None:
        def due() -> list[tuple[str, str, bool]]:
            found = store.open_items.due_from(Place(0), limit=9)
            return [(each.order, each.item, each.is_unheard) for each in found]

        def register(due: int | None = None, item: str = "") -> None:
            told = Registration("7", "Books", due=due, items={item: None} if item else {})
            store.orders.register([told], now=1)

        store.orders.create_owner("Books", now=1)
        register(item="1")
        count_all(store)
        assert due() == []
        register(due=NOON, item="2")
        count_all(store)
        assert due() == [("7", "1", True), ("7", "2", True)]
        # The signal is known at once, and what it tells is once it is counted.
        store.append([arrival(report(order="7", item="1"))])
        assert due() == [("7", "2", True)]
        count_all(store)
        assert due() == [("7", "1", False), ("7", "2", True)]
        store.append([arrival(report("ItemShipped", order="7", item="2", minute=1))])
        count_all(store)
        assert due() == [("7", "1", False)]
        register(item="3")
        count_all(store)
        assert due() == [("7", "1", False), ("7", "3", True)]

    def test_an_index_leads_to_open_items_and_to_reports(
        self, store: Store, read_whole: Callable[[Store, str, Any], list[str]]
    ) -> None:
        store.orders.create_owner("Books", now=1)
        for start in range(0, 1_000, 250):
            orders = [str(number) for number in range(start, start + 250)]
            told = [
                Registration(
                    each, "Books", "Alpha", due=NOON + int(each) * MINUTE, items={"unheard": None}
                )
                for each in orders
            ]
            store.orders.register(told, now=1)
            store.append([arrival(*(report(order=each) for each in orders))])
        while not store.rollups.step().is_idle:
            pass

        with asked(store) as questions:
            for whose in ({}, {"partner": "Alpha"}):
                assert store.open_items.due_from(Place(NOON), **whose, limit=5)
                assert store.open_items.due_before(Place(2 * NOON), **whose, limit=5)
            assert store.open_items.waiting("registered", Place(0), partner="Alpha", limit=5)
            assert store.reading.reported("Alpha", before=500, limit=5)
            assert store.rollups.by_partner("state")
        # There are few print partners, and they may be read one by one.
        whole = {step for each in questions for step in read_whole(store, *each)}
        assert [each for each in whole if "partners" not in each] == []

    def test_what_a_print_partner_reported_is_read_backwards(self, store: Store) -> None:
        random = Random(1)
        store.orders.create_owner("Books", now=1)
        for _ in range(40):
            anything(store, random)
        log = whole_log(store)
        last = {(each.order, each.item): each.position for each in log}

        for partner in NAMES:
            expected = [
                ReportedSignal(
                    each.position,
                    each.received,
                    each.interface,
                    each.test,
                    each.order,
                    each.item,
                    each.type,
                    each.datetime,
                    last[each.order, each.item] == each.position,
                    store.reading.item(each.order, each.item).folded,  # type: ignore[union-attr]
                )
                for each in reversed(log)
                if each.partner_name == partner
            ]
            assert list(pages(store, partner)) == expected
        assert store.reading.reported("nobody", limit=5) == []


def pages(store: Store, partner: str) -> Iterator[ReportedSignal]:
    before = None
    while page := store.reading.reported(partner, before=before, limit=3):
        yield from page
        before = page[-1].position
