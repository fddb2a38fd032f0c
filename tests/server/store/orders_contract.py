"""What keeping owners and orders promises, on any store. It begins with two partners (`furnish`)."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from cloudsignal.protocol.refusals import DETAILS_MAX, Problem
from cloudsignal.server.store.errors import AlreadyThere, Fault, NotFound, RegistrationRefused
from cloudsignal.server.store.orders import (
    ITEMS_MAX,
    Owner,
    OwnerKey,
    Registered,
    RegisteredOrder,
    Registration,
)
from cloudsignal.server.store.owned_orders import OrderStanding
from cloudsignal.server.store.reading import ItemQuery
from cloudsignal.server.store.rebuilding import Rebuilt
from cloudsignal.server.store.store import Store
from tests.server.arrivals import arrival, problem, receipt, report, whole_log

URL = "https://parcels.example/{tracking}"


def with_owners(store: Store) -> Store:
    """The store, with two owners."""
    store.orders.create_owner("Ink & Co", now=5)
    store.orders.create_owner("Books", now=6)
    return store


def told(order: str = "7", owner: str = "Books", **values: object) -> Registration:
    """What is told of an order."""
    return Registration(order, owner, **values)  # type: ignore[arg-type]


FULL = told(
    partner_name="Alpha",
    reference="wp-1",
    due=99,
    tracking_urls={"GLS": URL},
    items={"1": "first", "2": None},
)
REFUSED: dict[str, tuple[list[Registration], list[Fault]]] = {
    "an owner that is not there": (
        [told(owner="books")],
        [Fault(0, "owner", "there is no owner called 'books'")],
    ),
    "a print partner that is not there": (
        [told("8"), told(partner_name="Gamma")],
        [Fault(1, "partner", "there is no print partner called 'Gamma'")],
    ),
    "another owner": (
        [told(owner="Books"), told(owner="Ink & Co")],
        [Fault(1, "owner", "it is 'Books' who has this order, and that never changes")],
    ),
    "several at once": (
        [told(owner="x"), told("8"), told("9", partner_name="y")],
        [
            Fault(0, "owner", "there is no owner called 'x'"),
            Fault(2, "partner", "there is no print partner called 'y'"),
        ],
    ),
    "too many items": (
        [told(items={str(n): None for n in range(ITEMS_MAX)}), told(items={"one more": None})],
        [Fault(1, "items", "an order has at most 1000 items, this would have more")],
    ),
}
CHANGES: dict[str, tuple[Registration, dict[str, object]]] = {
    "another partner": (told(partner_name="Beta"), {"partner_name": "Beta"}),
    "another reference": (told(reference="wp-2"), {"reference": "wp-2"}),
    "another due date": (told(due=100), {"due": 100}),
    "other tracking URLs": (told(tracking_urls={}), {"tracking_urls": {}}),
    "one more item": (
        told(items={"3": "third"}),
        {"items": {"1": "first", "2": "", "3": "third"}},
    ),
    "another item reference": (
        told(items={"1": "one", "2": None}),
        {"items": {"1": "one", "2": ""}},
    ),
}
MISTAKES: dict[str, tuple[type[Exception], str, Callable[[Store], object]]] = {
    "an owner's name twice": (
        AlreadyThere,
        "an owner called 'Books' is already there",
        lambda store: store.orders.create_owner("Books", now=9),
    ),
    "an owner that is not there": (
        NotFound,
        "there is no owner called 'books'",
        lambda store: store.orders.owner("books"),
    ),
    "an owner's number that is not there": (
        NotFound,
        "there is no owner 99",
        lambda store: store.orders.numbered_owner(99),
    ),
    "a key for an owner that is not there": (
        NotFound,
        "there is no owner called 'books'",
        lambda store: store.orders.add_owner_key("books", "new", expires=10, now=9),
    ),
    "a key in use": (
        AlreadyThere,
        "already in use",
        lambda store: store.orders.add_owner_key("Ink & Co", "k", expires=10, now=9),
    ),
}


class OrdersContract:
    # ---- owners ----

    def test_owners_are_listed_by_name_and_found(self, store: Store) -> None:
        made = store.orders.create_owner("Ink & Co", now=5)
        store.orders.create_owner("Books", now=6)

        assert made == Owner(1, "Ink & Co", 5, False)
        assert store.orders.owner("Ink & Co") == made
        assert store.orders.numbered_owner(made.id) == made
        assert [each.name for each in store.orders.owners()] == ["Books", "Ink & Co"]
        assert [each.name for each in store.orders.owners(limit=1)] == ["Books"]
        assert [each.name for each in store.orders.owners(after="Books", limit=1)] == ["Ink & Co"]

    def test_one_owner_at_most_gets_what_nobody_registered(self, store: Store) -> None:
        assert store.orders.unregistered_owner() is None
        first = store.orders.create_owner("First", unregistered=True, now=5)
        assert store.orders.unregistered_owner() == first

        second = store.orders.create_owner("Second", unregistered=True, now=6)

        assert store.orders.unregistered_owner() == second
        assert [each.unregistered for each in store.orders.owners()] == [False, True]

    def test_an_owners_keys_are_rotated_as_those_of_interfaces(self, store: Store) -> None:
        with_owners(store)
        for digest, expires, now in (("a", 0, 10), ("b", 100, 20), ("c", 80, 30)):
            store.orders.add_owner_key("Books", digest, expires=expires, now=now)

        assert [(each.digest, each.expires) for each in store.orders.owner_keys()] == [
            ("a", 80),
            ("b", 80),
            ("c", None),
        ]
        books = store.orders.owner("Books")
        assert store.orders.find_owner_key("c") == (books, OwnerKey("c", books.id, 30, None))
        assert store.orders.find_owner_key("unknown") is None
        assert store.orders.newest_owner_keys(books.id, limit=2) == [
            OwnerKey("c", books.id, 30, None),
            OwnerKey("b", books.id, 20, 80),
        ]

    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_a_mistake_with_owners_is_told_and_changes_nothing(
        self, store: Store, mistake: str
    ) -> None:
        error, words, change = MISTAKES[mistake]
        with_owners(store).orders.add_owner_key("Books", "k", expires=9, now=9)
        before = store.orders.owners(), store.orders.owner_keys(), store.orders.revision()

        with pytest.raises(error, match=words):
            change(store)

        after = store.orders.owners(), store.orders.owner_keys(), store.orders.revision()
        assert after == before

    # ---- registering ----

    def test_an_order_is_shown_as_it_was_registered(self, store: Store, another: Store) -> None:
        with_owners(store)

        assert store.orders.register([FULL], now=50) == Registered(new=1)

        assert another.orders.order("7") == RegisteredOrder(
            order="7",
            owner_name="Books",
            partner_name="Alpha",
            reference="wp-1",
            due=99,
            tracking_urls={"GLS": URL},
            registered=50,
            changed=50,
            items={"1": "first", "2": ""},
        )

    def test_an_owner_is_all_an_order_needs(self, store: Store) -> None:
        with_owners(store).orders.register([told()], now=50)

        assert store.orders.order("7") == RegisteredOrder("7", "Books", None, "", None, {}, 50, 50)
        assert store.orders.order("8") is None

    def test_the_same_again_changes_nothing(self, store: Store) -> None:
        with_owners(store).orders.register([FULL], now=50)
        before = store.orders.order("7"), store.orders.revision()

        assert store.orders.register([FULL, FULL], now=60) == Registered(unchanged=1)
        assert store.orders.register([told()], now=60) == Registered(unchanged=1)

        assert (store.orders.order("7"), store.orders.revision()) == before

    @pytest.mark.parametrize("change", CHANGES)
    def test_what_is_told_anew_is_changed_and_the_rest_stays(
        self, store: Store, change: str
    ) -> None:
        registration, expected = CHANGES[change]
        with_owners(store).orders.register([FULL], now=50)
        before = store.orders.order("7")
        assert before is not None

        assert store.orders.register([registration], now=60) == Registered(changed=1)

        after = {name: getattr(before, name) for name in before.__struct_fields__}
        assert store.orders.order("7") == RegisteredOrder(**after | expected | {"changed": 60})

    @pytest.mark.parametrize("wrong", REFUSED)
    def test_what_is_wrong_is_told_in_full_and_nothing_is_registered(
        self, store: Store, wrong: str
    ) -> None:
        registrations, faults = REFUSED[wrong]
        with_owners(store)
        before = store.orders.revision()

        with pytest.raises(RegistrationRefused) as raised:
            store.orders.register(registrations, now=50)

        assert list(raised.value.faults) == faults
        assert store.orders.orders("Books", limit=9) == []
        assert store.orders.revision() == before

    def test_an_order_stays_with_its_owner(self, store: Store) -> None:
        with_owners(store).orders.register([FULL], now=50)

        with pytest.raises(RegistrationRefused, match="it is 'Books' who has this order"):
            store.orders.register([told(owner="Ink & Co")], now=60)

    def test_many_are_registered_at_once_and_listed_page_by_page(self, store: Store) -> None:
        many = [told(f"{n:03}", items={"a": str(n), "b": None}) for n in range(250)]
        with_owners(store).orders.register([told("050", owner="Ink & Co")], now=40)
        del many[50]

        assert store.orders.register([*many, many[0]], now=50) == Registered(new=249)

        pages = []
        while page := store.orders.orders(
            "Books", after=pages[-1].order if pages else "", limit=100
        ):
            assert len(page) == min(100, 249 - len(pages))
            pages += page
        assert [each.order for each in pages] == [each.order for each in many]
        assert all(each.items == {} for each in pages)
        last = store.orders.order("249")
        assert last is not None
        assert last.items == {"a": "249", "b": ""}

    def test_an_owners_orders_are_listed_the_last_registered_first(self, store: Store) -> None:
        with_owners(store)
        for now, several in ((10, ("5", "3")), (20, ("4",)), (10, ("1",)), (30, ("2",))):
            store.orders.register([told(each, items={"a": None}) for each in several], now=now)
        store.orders.register([told("9", "Ink & Co")], now=15)

        pages, before = [], None
        while page := store.orders.newest("Books", before=before, limit=2):
            pages.append([each.order for each in page])
            before = page[-1].order

        assert pages == [["2", "4"], ["5", "3"], ["1"]]
        assert [each.order for each in store.orders.newest("Ink & Co", limit=2)] == ["9"]
        assert store.orders.newest("nobody", limit=2) == []
        assert store.orders.newest("Books", before="no such order", limit=2) == []
        store.append([arrival(report(order="2", item="b"), report("ItemPacked", order="2"))])
        assert store.owned.standing(["2", "4"]) == {
            "2": OrderStanding({"registered": 1, "packed": 1}, 1),
            "4": OrderStanding({}, 1),
        }

    def test_every_text_is_registered_as_it_is(self, store: Store) -> None:
        odd = 'a"b\\c{d}%s $1 :x ☃'
        store.orders.create_owner(odd, now=5)
        registration = told(odd, odd, reference=odd, tracking_urls={odd: odd}, items={odd: odd})

        store.orders.register([registration], now=50)

        found = store.orders.order(odd)
        assert found is not None
        assert (found.owner_name, found.reference, found.tracking_urls, found.items) == (
            odd,
            odd,
            {odd: odd},
            {odd: odd},
        )

    # ---- whose the items are ----

    def test_items_reported_before_become_the_registered_partners(self, store: Store) -> None:
        store.append([arrival(report(item="1"))])
        store.append([arrival(report(order="8"))])

        with_owners(store).orders.register([told(partner_name="Beta")], now=50)

        found = {
            name: [each.order for each in store.reading.items(ItemQuery(partner=name))]
            for name in ("Alpha", "Beta")
        }
        assert found == {"Alpha": ["8"], "Beta": ["7"]}

    def test_a_rebuild_gives_items_to_whom_they_are_registered_for(self, store: Store) -> None:
        store.append([arrival(report(item="1"))])
        with_owners(store).orders.register([told(partner_name="Beta")], now=50)

        assert store.rebuild() == Rebuilt(signals=1, items=1, differed=0)
        assert [each.partner_name for each in store.reading.items(ItemQuery())] == ["Beta"]

    # ---- who may report it ----

    def test_unregistered_orders_are_taken_unless_they_are_to_be_refused(
        self, store: Store
    ) -> None:
        with_owners(store).orders.register([told("7")], now=50)
        unknown = arrival(report(order="8"))

        [taken] = store.append([unknown])
        [registered, refused] = store.append(
            [arrival(report(order="7")), unknown], refuse_unregistered=True
        )

        assert receipt(taken).accepted == receipt(registered).accepted == 1
        assert problem(refused) == Problem(
            "",
            "unknown_order",
            "order 8 is not registered here: check it, or ask the platform to register it, and send"
            " this again",
        )

    def test_orders_are_refused_as_long_as_none_is_registered(self, store: Store) -> None:
        [refused] = store.append([arrival()], refuse_unregistered=True)

        refused = problem(refused)
        assert whole_log(store) == []
        with_owners(store).orders.register([told()], now=50)
        [taken] = store.append([arrival()], refuse_unregistered=True)
        assert receipt(taken).accepted == 1

    def test_an_order_is_reported_by_the_partner_it_is_registered_for(self, store: Store) -> None:
        with_owners(store).orders.register([told(partner_name="Beta")], now=50)

        refused, taken = store.append([arrival(), arrival(partner=2)])

        assert problem(refused) == Problem(
            "", "not_your_item", "order 7 is given to another print partner"
        )
        assert receipt(taken).accepted == 1
        assert [each.partner_name for each in whole_log(store)] == ["Beta"]

    def test_a_key_that_is_sent_as_an_id_is_not_repeated(self, store: Store) -> None:
        key = "0123456789abcdefABCDEF0123456789"
        with_owners(store).orders.register([told(key, partner_name="Beta")], now=50)
        given, same = report(order=key), report(order="8", item=key)

        refused, _, another = store.append(
            [arrival(given), arrival(same, partner=2), arrival(same)]
        )
        [unknown] = store.append([arrival(report(order=f"x{key}"))], refuse_unregistered=True)

        assert problem(refused).info == "order … is given to another print partner"
        assert problem(another).info == "item … of order 8 is reported by another print partner"
        assert problem(unknown).info.startswith("order x… is not registered here")

    def test_an_order_registered_for_nobody_is_reported_by_whoever_is_first(
        self, store: Store
    ) -> None:
        with_owners(store).orders.register([told()], now=50)

        taken, refused = store.append([arrival(), arrival(partner=2)])

        assert receipt(taken).accepted == 1
        refused = problem(refused)
        assert "is reported by another print partner" in refused.info

    def test_an_item_that_had_signals_goes_over_to_the_registered_partner(
        self, store: Store
    ) -> None:
        store.append([arrival()])
        with_owners(store).orders.register([told(partner_name="Beta")], now=50)

        repeat, new, taken = store.append(
            [arrival(), arrival(report(minute=1)), arrival(report(minute=2), partner=2)]
        )

        repeat = problem(repeat)
        new = problem(new)
        assert repeat.info == new.info == "order 7 is given to another print partner"
        assert receipt(taken).accepted == 1
        [item] = store.reading.items(ItemQuery(partner="Beta"))
        assert (item.partner_name, item.position) == ("Beta", 2)
        assert store.rebuild() == Rebuilt(signals=2, items=1, differed=0)

    def test_one_forbidden_signal_refuses_its_bundle_and_says_where(self, store: Store) -> None:
        with_owners(store).orders.register([told(partner_name="Beta"), told("8")], now=50)
        others = report(order="8", item="1"), report(order="8", item="2")

        [given] = store.append([arrival(*others, report())])
        [unknown] = store.append([arrival(*others, report(order="9"))], refuse_unregistered=True)

        assert problem(given) == Problem(
            "items[2]", "not_your_item", "items[2]: order 7 is given to another print partner"
        )
        unknown = problem(unknown)
        assert (unknown.at, unknown.type) == ("items[2]", "unknown_order")
        assert whole_log(store) == []

    def test_everything_that_is_forbidden_in_a_bundle_is_said(self, store: Store) -> None:
        with_owners(store).orders.register([told(partner_name="Beta")], now=50)
        store.append([arrival(report(order="8", item="theirs"), partner=2)])
        wrong = report(), report(order="8", item="mine"), report(order="8", item="theirs")

        [refused] = store.append([arrival(*wrong)])

        assert isinstance(refused, list)
        assert [(each.at, each.type) for each in refused] == [
            ("items[0]", "not_your_item"),
            ("items[2]", "not_your_item"),
        ]
        [refused] = store.append([arrival(*(report(item=str(n)) for n in range(150)))])
        assert isinstance(refused, list)
        assert len(refused) == DETAILS_MAX

    def test_a_group_of_many_orders_is_looked_up_in_full(self, store: Store) -> None:
        mine = [told(f"{n}", partner_name="Alpha" if n % 2 else "Beta") for n in range(600)]
        with_owners(store).orders.register(mine, now=50)

        answers = store.append([arrival(report(order=f"{n}")) for n in range(601)])

        taken = [n for n, answer in enumerate(answers) if not isinstance(answer, list)]
        assert taken == [*range(1, 600, 2), 600]

    def test_a_registration_while_a_group_is_written_is_heeded(
        self, store: Store, another: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where writers take turns the group is overtaken; where they cannot meet, one waits."""
        with_owners(store)
        store.append([arrival(report(item="before"))])
        writer: Any = store._writer
        load, done = writer.load, threading.Event()

        def register() -> None:
            another.orders.register([told(partner_name="Beta")], now=50)
            done.set()

        registering = threading.Thread(target=register)

        def load_and_be_overtaken(keys: Any) -> Any:
            found = load(keys)
            if not registering.ident:
                registering.start()
                if another.nodes:
                    assert done.wait(30)
            return found

        monkeypatch.setattr(writer, "load", load_and_be_overtaken)
        [answer] = store.append([arrival(report(item="meanwhile"))])
        registering.join(30)

        assert done.is_set()
        assert isinstance(answer, list) is another.nodes
        found = store.reading.items(ItemQuery(partner="Beta"))
        assert len(found) == (1 if another.nodes else 2)
        [refused] = store.append([arrival(report(item="after"))])
        refused = problem(refused)
