"""What somebody sees of orders and items."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cloudsignal.server.panel.roles import Scope
from cloudsignal.server.panel.sight import see_item, see_order
from cloudsignal.server.store import reading
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.store import Store, open_store
from tests.server.arrivals import arrival, report
from tests.server.store.contract import furnish

EVERYTHING = Scope()
ALPHA, BETA = Scope(partner="Alpha"), Scope(partner="Beta")
BOOKS, INK = Scope(owner="Books"), Scope(owner="Ink")
NOBODY = Scope(partner="nobody"), Scope(owner="nobody")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Orders: shared, of Books, has items of both; for-beta, of Ink, and mine were not heard of all; heard is nobody's."""
    with closing(open_store(f"sqlite:///{tmp_path}/store.db")) as store:
        furnish(store)
        for name in ("Books", "Ink"):
            store.orders.create_owner(name, now=1)
        shared = Registration("shared", "Books", items={"a": "A", "b": "B", "c": "C"})
        for_beta = Registration("for-beta", "Ink", partner_name="Beta", items={"x": "X", "y": None})
        store.orders.register([shared, for_beta], now=2)
        store.append([arrival(report(order="shared", item="a"))])
        store.append([arrival(report("ItemPacked", order="shared", item="b"), partner=2)])
        store.append([arrival(report(order="for-beta", item="y"), partner=2)])
        store.append([arrival(report(order="heard", item="h"))])
        yield store


ORDERS = {
    "shared": {EVERYTHING: "abc", ALPHA: "a", BETA: "b", BOOKS: "abc"},
    "for-beta": {EVERYTHING: "xy", BETA: "xy", INK: "xy"},
    "heard": {EVERYTHING: "h", ALPHA: "h"},
    "nowhere": {},
}
"""For each order the items that those who see so much see of it; all others do not see it."""
SCOPES = (EVERYTHING, ALPHA, BETA, BOOKS, INK, *NOBODY)


@pytest.mark.parametrize("scope", SCOPES, ids=str)
@pytest.mark.parametrize("order", ORDERS)
def test_everybody_sees_what_is_theirs(store: Store, order: str, scope: Scope) -> None:
    items = ORDERS[order].get(scope, "")
    if items:
        assert [each.item for each in see_order(store, order, scope).items] == list(items)
    else:
        with pytest.raises(NotFound, match="there is no order"):
            see_order(store, order, scope)
    for item in "abcxyhz":
        if item in items:
            assert see_item(store, order, item, scope).item == item
        else:
            with pytest.raises(NotFound, match="there is no item"):
                see_item(store, order, item, scope)


def test_an_order_says_how_its_items_stand_and_which_were_not_heard_of(store: Store) -> None:
    seen = see_order(store, "shared", BOOKS)

    assert seen.states == {"packed": 1, "registered": 1, "unheard": 1}
    assert [(each.reference, each.stored is None) for each in seen.items] == [
        ("A", False),
        ("B", False),
        ("C", True),
    ]
    assert see_order(store, "shared", BETA).states == {"packed": 1}
    assert see_order(store, "heard", EVERYTHING).registered is None


def test_of_very_many_items_those_are_seen_that_changed_last(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ORDER_ITEMS_MAX", 1)

    seen = see_order(store, "shared", EVERYTHING)

    assert [each.item for each in seen.items] == ["b"]
    assert seen.is_cut
    assert not see_order(store, "heard", EVERYTHING).is_cut


def test_an_items_signals_come_the_newest_first_each_with_what_is_odd(store: Store) -> None:
    store.append([arrival(report("ItemPacked", order="heard", item="h", minute=9))])
    store.append([arrival(report("ItemProduce", order="heard", item="h", minute=5))])

    seen = see_item(store, "heard", "h", EVERYTHING)

    assert [(each.type, odd) for each, odd in seen.signals] == [
        ("ItemProduce", ["late"]),
        ("ItemPacked", ["future_datetime"]),
        ("ItemRegistered", []),
    ]
    assert seen.folded.state == "packed"


def test_what_is_registered_of_an_item_is_seen_before_a_signal_comes(store: Store) -> None:
    seen = see_item(store, "shared", "c", BOOKS)

    assert (seen.reference, seen.stored, seen.signals) == ("C", None, [])
    assert seen.folded.times == {}
    assert seen.registered is not None


def test_a_print_partner_does_not_see_what_another_reported_of_an_item_before(store: Store) -> None:
    store.orders.register([Registration("heard", "Ink", partner_name="Beta")], now=3)
    store.append([arrival(report("ItemPacked", order="heard", item="h", minute=1), partner=2)])

    assert [each.type for each, _ in see_item(store, "heard", "h", BETA).signals] == ["ItemPacked"]
    assert len(see_item(store, "heard", "h", EVERYTHING).signals) == 2
    assert len(see_item(store, "heard", "h", INK).signals) == 2
    with pytest.raises(NotFound):
        see_item(store, "heard", "h", ALPHA)
