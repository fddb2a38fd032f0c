"""What owners are shown of their orders, on any store. It begins with two partners (`furnish`)."""

import pytest

from cloudsignal.server.store import owned_orders as owned
from cloudsignal.server.store.orders import Owner, Registration
from cloudsignal.server.store.owned_orders import OwnedOrder
from cloudsignal.server.store.store import Store
from tests.server.arrivals import NOON, arrival, report


def books(store: Store, *, unregistered: bool = False) -> Owner:
    """An owner, beside another one."""
    store.orders.create_owner("Ink & Co", now=5)
    return store.orders.create_owner("Books", unregistered=unregistered, now=6)


def register(store: Store, order: str, owner: str = "Books", *, now: int = 50, **told: str) -> None:
    items = dict.fromkeys(told.pop("items", ""))
    reference = told.pop("reference", None)
    registration = Registration(order, owner, reference=reference, items=items)
    store.orders.register([registration], now=now)


def ids(orders: list[OwnedOrder]) -> list[str]:
    return [each.order for each in orders]


class OwnedContract:
    def test_an_owner_sees_its_orders_the_last_registered_first(self, store: Store) -> None:
        owner = books(store)
        for order, now in (("b", 50), ("a", 60), ("c", 50)):
            register(store, order, now=now)
        register(store, "d", "Ink & Co")

        assert ids(store.owned.orders(owner)) == ["a", "c", "b"]
        assert ids(store.owned.orders(owner, limit=2)) == ["a", "c"]

    def test_an_owner_without_orders_sees_none(self, store: Store) -> None:
        owner = books(store)
        store.append([arrival()])

        assert store.owned.orders(owner) == []
        assert store.owned.find(owner, "7") is None

    def test_orders_are_told_with_how_their_items_stand(self, store: Store) -> None:
        owner = books(store)
        register(store, "7", reference="wp-7", items="123")
        register(store, "8", now=40)
        store.append([arrival(report("ItemPacked", item="1"), report("ItemPacked", item="4"))])
        store.append([arrival(report("ItemShipped", item="2"))])

        assert store.owned.orders(owner) == [
            OwnedOrder("7", "wp-7", 50, True, {"packed": 2, "shipped": 1}, 1),
            OwnedOrder("8", "", 40, True, {}, 0),
        ]

    def test_an_order_is_found_with_its_items(self, store: Store) -> None:
        owner = books(store)
        register(store, "7", reference="wp-7", items="12")
        store.append([arrival(report(item="2"), report("ItemPacked", item="3"))])

        found = store.owned.find(owner, "wp-7")

        assert found is not None
        assert found.order == store.owned.orders(owner)[0]
        assert {each.item: each.folded.state for each in found.items} == {
            "2": "registered",
            "3": "packed",
        }
        assert found.references == {"1": "", "2": ""}

    def test_an_order_is_found_by_its_reference_before_its_id(self, store: Store) -> None:
        owner = books(store)
        register(store, "7", reference="same", now=50)
        register(store, "8", reference="same", now=60)
        register(store, "9", reference="7", now=40)
        found = {
            name: getattr(store.owned.find(owner, name), "order", None)
            for name in ("same", "7", "8", "9", "10", "")
        }

        assert {name: order and order.order for name, order in found.items()} == {
            "same": "8",
            "7": "9",
            "8": "8",
            "9": "9",
            "10": None,
            "": None,
        }

    def test_an_owner_finds_own_orders_only(self, store: Store) -> None:
        owner = books(store, unregistered=True)
        register(store, "7", "Ink & Co", reference="wp-7")
        store.append([arrival()])

        assert store.owned.find(owner, "7") is None
        assert store.owned.find(owner, "wp-7") is None
        assert store.owned.orders(owner) == []

    def test_one_owner_sees_what_nobody_registered(self, store: Store) -> None:
        owner = books(store, unregistered=True)
        register(store, "9", now=NOON + 1)
        store.append([arrival(report(item="1"), received=NOON)])
        store.append([arrival(report(item="2"), received=NOON + 2)])
        store.append([arrival(report("ItemPacked", order="8"), received=NOON + 2)])

        assert store.owned.orders(owner) == [
            OwnedOrder("8", "", NOON + 2, False, {"packed": 1}, 0),
            OwnedOrder("9", "", NOON + 1, True, {}, 0),
            OwnedOrder("7", "", NOON, False, {"registered": 2}, 0),
        ]
        found = store.owned.find(owner, "7")
        assert found is not None
        assert found.order == store.owned.orders(owner)[-1]
        assert [each.item for each in found.items] == ["2", "1"]
        register(store, "7", "Ink & Co")
        assert ids(store.owned.orders(owner)) == ["8", "9"]

    def test_orders_nobody_registered_are_looked_for_among_the_newest_items(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        owner = books(store, unregistered=True)
        for order in ("6", "7", "8"):
            store.append([arrival(report(order=order))])
        monkeypatch.setattr(owned, "ITEMS_LOOKED_AT_MAX", 2)

        assert set(ids(store.owned.orders(owner))) == {"7", "8"}
        assert store.owned.find(owner, "6") is not None

    def test_where_the_first_signal_was_pruned_the_last_says_when_it_came(
        self, store: Store
    ) -> None:
        owner = books(store, unregistered=True)
        store.append([arrival(received=NOON)])
        store.append([arrival(report("ItemPacked", minute=1), received=NOON + 5)])

        store.prune(NOON + 1)

        assert [each.placed for each in store.owned.orders(owner)] == [NOON + 5]
