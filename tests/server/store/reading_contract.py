"""What looking at any store promises."""

from collections.abc import Callable
from typing import Any

import pytest

from cloudsignal.server.store import reading
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.reading import ItemQuery, StoredItem
from cloudsignal.server.store.store import Store
from tests.server.arrivals import MINUTE, NOON, SECOND, arrival, receipt, report
from tests.server.store.search_contract import asked


def listed(store: Store, **wanted: Any) -> list[str]:
    return [f"{each.order}/{each.item}" for each in store.reading.items(ItemQuery(**wanted))]


def fill(store: Store) -> None:
    """Five items of two partners, in the order in which they were last changed."""
    store.append([arrival(report(item="a"), received=NOON)])
    store.append([arrival(report("ItemProduce", item="b"), partner=2, received=NOON + MINUTE)])
    shipped = report("ItemShipped", item="c", tracking="T1", minute=2)
    store.append([arrival(shipped, received=NOON + 2 * MINUTE)])
    delayed = report("ItemDelay", item="d", minute=3)
    store.append([arrival(delayed, partner=2, received=NOON + 3 * MINUTE, test=True)])
    other = report("ItemShipped", order="8", item="a", tracking="T1", minute=4)
    store.append([arrival(other, received=NOON + 4 * MINUTE)])


def is_meant(item: StoredItem, wanted: dict[str, Any]) -> bool:
    """Whether an item is among those of a search, of orders that are all registered for Books."""
    folded = item.folded
    so = {
        "order": item.order,
        "partner": item.partner_name,
        "owner": "Books",
        "state": folded.state,
        "delayed": folded.is_delayed,
        "test": not folded.live,
    }
    is_early = item.updated < wanted.get("until", item.updated + 1)
    return is_early and all(so[name] == wanted[name] for name in wanted.keys() & so.keys())


class ReadingContract:
    # ---- items ----

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({}, ["8/a", "7/d", "7/c", "7/b", "7/a"]),
            ({"order": "7"}, ["7/d", "7/c", "7/b", "7/a"]),
            ({"item": "a"}, ["8/a", "7/a"]),
            ({"order": "7", "item": "a"}, ["7/a"]),
            ({"order": "7", "item": "z"}, []),
            ({"tracking": "T1"}, ["8/a", "7/c"]),
            ({"tracking": "T1", "order": "7"}, ["7/c"]),
            ({"tracking": "T"}, []),
            ({"state": "producing"}, ["7/b"]),
            ({"state": "shipped", "order": "8"}, ["8/a"]),
            ({"state": "packed"}, []),
            ({"partner": "Beta"}, ["7/d", "7/b"]),
            ({"partner": "Beta", "state": "producing"}, ["7/b"]),
            ({"partner": "nobody"}, []),
            ({"delayed": True}, ["7/d"]),
            ({"delayed": False}, ["8/a", "7/c", "7/b", "7/a"]),
            ({"delayed": True, "partner": "Alpha"}, []),
            ({"test": True}, ["7/d"]),
            ({"test": False, "partner": "Beta"}, ["7/b"]),
            ({"since": NOON + 3 * MINUTE}, ["8/a", "7/d"]),
            ({"since": NOON + 3 * MINUTE + 1}, ["8/a"]),
            ({"until": NOON + MINUTE}, ["7/a"]),
            ({"until": NOON}, []),
            ({"since": NOON + MINUTE, "until": NOON + 3 * MINUTE}, ["7/c", "7/b"]),
            ({"since": NOON + MINUTE, "order": "7", "state": "shipped"}, ["7/c"]),
            ({"since": NOON + MINUTE, "partner": "Alpha"}, ["8/a", "7/c"]),
            ({"limit": 2}, ["8/a", "7/d"]),
            ({"limit": 1, "tracking": "T1"}, ["8/a"]),
        ],
        ids=str,
    )
    def test_items_are_found_by_every_filter(
        self, store: Store, wanted: dict[str, Any], expected: list[str]
    ) -> None:
        fill(store)

        assert listed(store, **wanted) == expected

    @pytest.mark.parametrize(
        "wanted", [{}, {"order": "7"}, {"partner": "Alpha"}, {"state": "registered"}], ids=str
    )
    def test_pages_meet_every_item_once(self, store: Store, wanted: dict[str, Any]) -> None:
        store.append([arrival(report(item=f"{number:02}")) for number in range(7)])
        store.append([arrival(report(item="03", minute=1))])

        pages, before = [], None
        while page := store.reading.items(ItemQuery(**wanted, before=before, limit=3)):
            pages.append([each.item for each in page])
            before = page[-1].position

        assert pages == [["03", "06", "05"], ["04", "02", "01"], ["00"]]

    @pytest.mark.parametrize("few", [0, 1, 2, 10])
    def test_an_owner_has_the_items_of_its_orders_however_many(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, few: int
    ) -> None:
        monkeypatch.setattr(reading, "FEW_ORDERS", few)
        fill(store)
        for name in ("Books", "Ink"):
            store.orders.create_owner(name, now=1)
        registrations = [Registration("7", "Books"), Registration("8", "Books")]
        store.orders.register([*registrations, Registration("9", "Ink")], now=1)
        store.append([arrival(report(order="9", item="x")), arrival(report(order="10", item="y"))])

        assert listed(store, owner="Books") == ["8/a", "7/d", "7/c", "7/b", "7/a"]
        assert listed(store, owner="Books", limit=2) == ["8/a", "7/d"]
        assert listed(store, owner="Books", state="shipped") == ["8/a", "7/c"]
        assert listed(store, owner="Books", partner="Beta") == ["7/d", "7/b"]
        assert listed(store, owner="Books", partner="Beta", delayed=False) == ["7/b"]
        assert listed(store, owner="Books", since=NOON + 3 * MINUTE, test=False) == ["8/a"]
        assert listed(store, owner="Books", tracking="T1", order="7") == ["7/c"]
        assert listed(store, owner="Ink") == ["9/x"]
        assert listed(store, owner="Ink", order="7") == []
        assert listed(store, owner="nobody") == []
        first, second = store.reading.items(ItemQuery(owner="Books", limit=2))
        assert listed(store, owner="Books", before=second.position, limit=9)[0] == "7/c"
        assert first.position > second.position

    def test_of_an_order_a_print_partner_has_its_own_items(self, store: Store) -> None:
        fill(store)

        whole, part = store.reading.order("7"), store.reading.order("7", partner="Beta")

        assert whole is not None
        assert whole.states == {"registered": 1, "producing": 1, "shipped": 1, "unknown": 1}
        assert part is not None
        assert part.states == {"producing": 1, "unknown": 1}
        assert [each.item for each in part.items] == ["d", "b"]
        assert store.reading.order("8", partner="Beta") is None
        assert store.reading.order("7", partner="nobody") is None

    @pytest.mark.parametrize("looked_at", [1, 2, 3, 100])
    @pytest.mark.parametrize("given_on", [False, True])
    @pytest.mark.parametrize("together", [1, 2, 1_000])
    def test_looking_among_a_few_at_a_time_finds_all_of_it_in_its_order(
        self,
        store: Store,
        monkeypatch: pytest.MonkeyPatch,
        looked_at: int,
        given_on: bool,
        together: int,
    ) -> None:
        monkeypatch.setattr(reading, "LOOKED_AT_MAX", looked_at)
        monkeypatch.setattr(reading, "TOGETHER_MAX", together)
        monkeypatch.setattr(reading, "FEW_SIGNALS", 8)
        monkeypatch.setattr(reading, "FEW_ORDERS", 1)
        fill(store)
        store.orders.create_owner("Books", now=1)
        store.orders.register([Registration(each, "Books") for each in "78"], now=1)
        for number in range(9):
            several = [report(item=f"{number}"), report("ItemShipped", item=f"{number}", minute=1)]
            partner = 1 + number % 2
            whole = [arrival(*several[: 1 + number % 3], partner=partner, test=number % 4 == 0)]
            store.append(whole)
        if given_on:
            store.append([arrival(report(order="9", item="x"))])
            store.orders.register([Registration("9", "Books", partner_name="Beta")], now=1)

        for wanted in (
            *({"partner": partner} for partner in ("Alpha", "Beta", "nobody")),
            *({"test": is_test} for is_test in (True, False)),
            {"delayed": True},
            {"delayed": False, "partner": "Beta"},
            {"partner": "Beta", "state": "shipped"},
            {"partner": "Alpha", "state": "registered", "test": True},
            {"owner": "Books", "partner": "Alpha"},
            {"owner": "Books", "state": "shipped"},
            {"test": False, "until": NOON + 3 * MINUTE},
            {"order": "7", "test": True},
        ):
            found, before = [], None
            while True:
                part = store.reading.look_for(ItemQuery(**wanted, before=before, limit=3))
                found += part.items
                assert len(part.items) <= 3
                before = part.items[-1].position if len(part.items) == 3 else part.down_to
                if before is None:
                    break
            assert found == store.reading.items(ItemQuery(**wanted)), wanted
            every = store.reading.items(ItemQuery())
            assert found == [each for each in every if is_meant(each, wanted)], wanted

    def test_an_index_leads_to_the_items_of_every_list(
        self,
        store: Store,
        monkeypatch: pytest.MonkeyPatch,
        read_whole: Callable[[Store, str, Any], list[str]],
    ) -> None:
        monkeypatch.setattr(reading, "FEW_SIGNALS", 100)
        monkeypatch.setattr(reading, "FEW_ORDERS", 10)
        store.orders.create_owner("Books", now=1)
        store.orders.create_owner("Ink", now=1)
        for start in range(0, 1_000, 250):
            orders = [str(number) for number in range(start, start + 250)]
            told = [Registration(each, "Ink" if each == "7" else "Books") for each in orders]
            store.orders.register(told, now=1)
            several = [report("ItemPacked", order=each) for each in orders]
            store.append([arrival(*several, test=start == 0)])
        store.append([arrival(report(order="x"), partner=2)])

        with asked(store) as questions:
            for wanted in (
                {},
                *({"partner": name, "before": 900} for name in ("Alpha", "Beta")),
                *({"partner": name, "state": "packed"} for name in ("Alpha", "Beta")),
                *({"owner": name, "before": 900} for name in ("Books", "Ink")),
                *({"owner": name, "state": "packed"} for name in ("Books", "Ink")),
                {"delayed": True, "partner": "Alpha"},
                {"test": True, "partner": "Alpha", "state": "packed"},
                {"test": True, "before": 900},
                {"order": "7", "state": "packed"},
            ):
                store.reading.look_for(ItemQuery(**wanted, limit=1))
        # There are few print partners, owners and facts, and they may be read one by one.
        few = ("partners", "owners", "facts")
        whole = {step for each in questions for step in read_whole(store, *each)}
        assert [step for step in whole if not any(each in step for each in few)] == []

    def test_a_changed_item_comes_first_and_once(self, store: Store) -> None:
        fill(store)
        store.append(
            [arrival(report("ItemPacked", item="a", minute=9), received=NOON + 9 * MINUTE)]
        )

        for wanted in ({}, {"order": "7"}, {"partner": "Alpha"}):
            assert listed(store, **wanted)[0] == "7/a"
            assert listed(store, **wanted).count("7/a") == 1
        assert listed(store, until=NOON + MINUTE) == []

    @pytest.mark.parametrize("gap", [0, 1, 2])
    def test_since_and_until_find_their_place_in_a_log_with_gaps(
        self, store: Store, gap: int
    ) -> None:
        for hour in range(8):
            repeats = [arrival(report(item="0"), received=NOON) for _ in range(gap)]
            new = arrival(report(item=str(hour)), received=NOON + hour * 60 * MINUTE)
            store.append([*repeats, new])
        newest_first = [str(hour) for hour in reversed(range(8))]

        for hour in range(8):
            on_time = NOON + hour * 60 * MINUTE
            for instant in (on_time, on_time - 30 * MINUTE):
                later = [f"7/{each}" for each in newest_first if int(each) >= hour]
                earlier = [f"7/{each}" for each in newest_first if int(each) < hour]
                assert listed(store, since=instant) == later
                assert listed(store, until=instant) == earlier

    def test_since_and_until_go_by_arrival_though_clocks_were_not_quite_in_step(
        self, store: Store
    ) -> None:
        store.append([arrival(report(item="late"), received=NOON + 30 * SECOND)])
        store.append([arrival(report(item="early"), received=NOON)])

        assert listed(store, since=NOON + SECOND) == ["7/late"]
        assert listed(store, until=NOON + SECOND) == ["7/early"]

    # ---- one item ----

    def test_an_unknown_item_is_none_and_has_no_signals(self, store: Store) -> None:
        assert store.reading.item("7", "1") is None
        assert store.reading.signals_of("7", "1") == []
        assert store.reading.item_with_signals("7", "1") == (None, [])

    def test_an_items_signals_are_its_own_in_the_order_of_the_log(self, store: Store) -> None:
        store.append([arrival(report("ItemPacked", minute=9)), arrival(report(item="2"))])
        store.append([arrival(report(order="8")), arrival(report("ItemProduce", minute=5))])

        item, signals = store.reading.item_with_signals("7", "1")

        assert [each.type for each in signals] == ["ItemPacked", "ItemProduce"]
        assert signals == store.reading.signals_of("7", "1")
        assert item == store.reading.item("7", "1")
        assert item is not None
        assert item.position == signals[-1].position

    def test_of_too_many_signals_of_an_item_the_newest_are_read(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "ITEM_SIGNALS_MAX", 3)
        store.append([arrival(*(report(minute=minute) for minute in range(5)))])

        signals = store.reading.signals_of("7", "1")

        assert [each.datetime for each in signals] == [NOON + m * MINUTE for m in (2, 3, 4)]

    # ---- the log ----

    def test_the_log_is_read_page_by_page_from_any_position(self, store: Store) -> None:
        store.append([arrival(*(report(item=str(number)) for number in range(5)))])
        whole = store.reading.signals(after=0, limit=100)

        for start, after in enumerate([0, *(each.position for each in whole)]):
            for limit in (1, 2, 100):
                page = store.reading.signals(after=after, limit=limit)
                assert page == whole[start : start + limit]

    @pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 99])
    def test_the_newest_signals_stand_beyond_a_position_though_there_are_gaps(
        self, store: Store, count: int
    ) -> None:
        store.append([arrival(report(), report(), report(minute=1))])
        store.append([arrival(report(), report(minute=2), report(minute=3))])

        before = store.reading.position_before(count)

        assert len(store.reading.signals(after=before, limit=100)) == min(count, 4)

    def test_a_page_ends_with_the_signal_that_makes_it_large(self, store: Store) -> None:
        [answer] = store.append(
            [arrival(*(report(item=str(n), extra="x" * 1000) for n in range(4)))]
        )

        sizes, after = [], 0
        while page := store.reading.signals(after=after, limit=100, bytes_max=1500):
            sizes.append(len(page))
            after = page[-1].position

        assert sizes == [2, 2]
        assert after == receipt(answer).position

    def test_a_cursor_never_misses_what_another_connection_appends(
        self, store: Store, another: Store
    ) -> None:
        seen: list[int] = []
        for number in range(6):
            writer = (store, another)[number % 2]
            writer.append([arrival(report(item=str(number)), report(item="same"))])
            after = seen[-1] if seen else 0
            seen += [each.position for each in store.reading.signals(after=after, limit=100)]

        whole = [each.position for each in another.reading.signals(after=0, limit=100)]
        assert seen == whole == sorted(set(whole))
