"""What lists of what needs a hand promise on any store, against looking at every item. See ``contract.py``."""

from collections.abc import Callable
from typing import Any

import pytest

from cloudsignal.server.store import attention as its
from cloudsignal.server.store.attention import KINDS, Case, Kind, Part, Total
from cloudsignal.server.store.open_items import Place
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.store import Store
from tests.server.arrivals import MINUTE, NOON, arrival, report
from tests.server.store import told
from tests.server.store.alerts_contract import count, pack, raise_packed
from tests.server.store.search_contract import asked

NOW = NOON + 50 * MINUTE
DAY_US = 86_400_000_000
NAMES = {1: "Alpha", 2: "Beta"}


def busy(store: Store) -> None:
    """Items in every condition, at two print partners: each is an order with the name of its condition."""
    store.orders.create_owner("Books", now=1)
    for partner, name in NAMES.items():
        for minute in range(3):
            due = {"late": minute, "early": 55 + minute, "sent": minute, "alike": 9}
            store.orders.register(
                [
                    Registration(
                        f"{kind} {partner} {minute}",
                        "Books",
                        partner_name=name,
                        due=NOON + at * MINUTE,
                        items={"1": None},
                    )
                    for kind, at in due.items()
                ],
                now=1,
            )
            for kind in (*due, "told", "both", "calm"):
                of = {"order": f"{kind} {partner} {minute}", "minute": minute}
                types = ["ItemPacked"]
                types += ["ItemShipped"] if kind in ("sent", "both") else []
                types += ["ItemCanceled"] if kind == "both" else []
                made = [report(type, **of) for type in types]
                store.append([arrival(*made, partner=partner)])
    count(store)


def ids(cases: list[Case]) -> list[str]:
    return [each.order for each in cases]


def all_of(kind: Kind, store: Store, page: int, **of: Any) -> list[Case]:
    """A list, page by page."""
    found: list[Case] = []
    while len(found) % page == 0:
        after = found[-1].place if found else None
        more = store.attention.cases(kind, now=NOW, after=after, limit=page, **of)
        if not more:
            break
        found += more
    return found


class AttentionContract:
    @pytest.mark.parametrize("page", [1, 99])
    def test_shipped_and_canceled_items_are_told_the_last_one_first(
        self, store: Store, page: int
    ) -> None:
        busy(store)
        hers = [f"both 2 {minute}" for minute in (2, 1, 0)]
        assert ids(all_of("odd", store, page)) == hers + [f"both 1 {each}" for each in (2, 1, 0)]
        assert ids(all_of("odd", store, page, partner="Beta")) == hers

    def test_items_whose_announced_delay_is_over_are_told_until_they_are_shipped(
        self, store: Store
    ) -> None:
        delayed = [
            report("ItemDelay", item=str(number), minute=number, delay="24", cause="jam")
            for number in range(3)
        ]
        store.append([arrival(*delayed)])
        count(store)
        # An hour of tolerance is counted in.
        later = NOON + DAY_US + 61 * MINUTE + 30_000_000
        found = store.attention.cases("delayed", now=later, limit=9)
        assert [each.item for each in found] == ["0", "1"]
        assert found[0].announced == NOON + DAY_US + 60 * MINUTE
        store.append([arrival(report("ItemShipped", item="0", minute=9))])
        count(store)
        found = store.attention.cases("delayed", now=later, limit=9, partner="Alpha")
        assert [each.item for each in found] == ["1"]
        assert store.attention.cases("delayed", now=later, limit=9, partner="Beta") == []

    def test_stalled_items_are_those_with_an_alert(self, store: Store) -> None:
        pack(store, "2", minute=2)
        pack(store, "1", minute=1)
        pack(store, "3", minute=2)
        assert store.attention.cases("stalled", now=NOW, limit=9) == []
        raise_packed(store, now=NOW)

        found = all_of("stalled", store, 1)

        assert [each.item for each in found] == ["1", "2", "3"]
        [first, *_] = found
        assert first == Case(
            place=(NOON + MINUTE, first.place[1]),
            order="7",
            item="1",
            partner_name="Alpha",
            state="packed",
            since=NOON + MINUTE,
            due=None,
            announced=None,
            limit_s=3600,
            raised=NOW,
        )
        assert [each.id for each in store.attention.stalled(limit=2)] == [
            each.place[1] for each in found[:2]
        ]
        assert store.attention.stalled(partner="Beta", limit=2) == []
        assert len(all_of("stalled", store, 2, partner="Alpha")) == 3
        assert all_of("stalled", store, 2, partner="Beta") == []
        for number, each in enumerate(store.alerts.uncleared(after=0, limit=9)):
            store.alerts.note(cleared=[(each.id, "went on")], now=NOW + number // 2)
        assert all_of("stalled", store, 2) == []
        cleared = store.attention.cleared(limit=2)
        last = cleared[-1]
        assert last.cleared is not None
        cleared += store.attention.cleared(before=(last.cleared, last.id), limit=2)
        assert [each.why for each in cleared] == ["went on"] * 3
        assert [each.cleared for each in cleared] == [NOW + 1, NOW, NOW]
        assert len({each.id for each in cleared}) == 3
        assert store.attention.cleared(partner="Alpha", limit=9) == cleared
        assert store.attention.cleared(partner="Beta", limit=9) == []

    def test_a_stalled_item_that_was_given_on_is_no_more_the_first_ones(self, store: Store) -> None:
        packed = [report("ItemPacked", order=order, minute=1) for order in ("7", "8")]
        store.append([arrival(*packed)])
        count(store)
        raise_packed(store, now=NOW)
        store.orders.create_owner("Books", now=1)
        given_on = Registration("7", "Books", "Beta", due=NOON + 9 * MINUTE, items={"1": None})
        store.orders.register([given_on], now=2)
        count(store)

        found = store.attention.cases("stalled", now=NOW, limit=9)
        assert [(each.order, each.partner_name) for each in found] == [
            ("7", "Alpha"),
            ("8", "Alpha"),
        ]
        overdue = store.open_items.due_before(Place(NOW), partner="Beta", limit=9)
        assert [each.order for each in overdue] == ["7"]
        for name, left in (("Alpha", ["8"]), ("Beta", [])):
            part = store.attention.parts(partner=name, now=NOW, first=9)["stalled"]
            cases = store.attention.cases("stalled", partner=name, now=NOW, limit=9)
            assert part == Part(Total(len(left)), cases)
            assert ids(cases) == left
            alerts = store.attention.stalled(partner=name, limit=9)
            assert [each.order for each in alerts] == left

    def test_all_lists_at_once_say_how_many_there_are(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        busy(store)
        parts = store.attention.parts(now=NOW, first=2)
        assert {kind: part.total for kind, part in parts.items()} == {
            "stalled": Total(0),
            "delayed": Total(0),
            "odd": Total(6),
        }
        assert all(
            part.cases == store.attention.cases(kind, now=NOW, limit=2)
            for kind, part in parts.items()
        )
        monkeypatch.setattr(its, "COUNT_MAX", 5)
        parts = store.attention.parts(now=NOW, first=2)
        assert parts["odd"].total == Total(5, is_more=True)
        parts = store.attention.parts(now=NOW, first=2, partner="Beta")
        assert parts["odd"].total == Total(3)
        assert len(parts["odd"].cases) == 2

    def test_dead_letters_are_counted_by_endpoint(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second, third = (told.endpoint(store) for _ in range(3))
        for endpoint, number in ((first, 2), (third, 4)):
            for each in range(number):
                noted = told.noted(endpoint.id, f"m{each}", state="dead")
                store.delivery_log.tell(noted, now=1)
        store.delivery_log.tell(told.noted(second.id, "m", state="waiting"), now=1)
        monkeypatch.setattr(its, "COUNT_MAX", 3)

        found = store.attention.dead_letters()

        assert [(each.endpoint, each.total) for each in found] == [
            (first.id, Total(2)),
            (third.id, Total(3, is_more=True)),
        ]
        assert found[0].owner_name == first.owner_name
        store.endpoints.remove(first.id)
        assert [each.endpoint for each in store.attention.dead_letters()] == [third.id]

    def test_an_index_leads_to_whatever_needs_a_hand(
        self, store: Store, read_whole: Callable[[Store, str, Any], list[str]]
    ) -> None:
        busy(store)
        pack(store, *map(str, range(300)))
        raise_packed(store)

        with asked(store) as questions:
            for partner in (None, "Beta"):
                store.attention.parts(now=NOW, first=5, partner=partner)
                store.attention.cleared(partner=partner, limit=5)
                for kind in KINDS:
                    store.attention.cases(kind, now=NOW, after=(NOON, 5), limit=5, partner=partner)

        assert len(questions) >= 18
        whole = {each[0]: read_whole(store, *each) for each in questions}
        found = sorted({table for tables in whole.values() for table in tables})
        assert found == [], found
