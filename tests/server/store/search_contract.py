"""What looking for a text promises, on any store. It begins with two partners (`furnish`)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from cloudsignal.server.store import search
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.schema import (
    items,
    order_items,
    orders,
    owners,
    parcels,
    partners,
)
from cloudsignal.server.store.search import KINDS, Hit, after
from cloudsignal.server.store.store import Store
from tests.server.arrivals import arrival, report

NewStore = Callable[[], AbstractContextManager[Store]]
SCOPES: list[dict[str, str]] = [
    {},
    {"partner": "Alpha"},
    {"partner": "Beta"},
    {"owner": "Books"},
    {"owner": "Ink"},
    {"partner": "Alpha", "owner": "Books"},
    {"partner": "Beta", "owner": "Books"},
]


def found(store: Store, text: str, *, limit: int = 100, **scope: str) -> list[str]:
    """What is found, each as ``kind order/item text``."""
    return [shown(hit) for hit in store.search.find(text, limit=limit, **scope)]


def shown(hit: Hit) -> str:
    return f"{hit.kind} {hit.order}{'' if hit.item is None else f'/{hit.item}'} {hit.text}"


def register(store: Store, order: str, owner: str = "Books", **told: Any) -> None:
    if owner not in [each.name for each in store.orders.owners()]:
        store.orders.create_owner(owner, now=1)
    store.orders.register([Registration(order, owner, **told)], now=2)


def heard(store: Store, order: str, item: str, *tracking: str, partner: int = 1) -> None:
    shipped = [
        report("ItemShipped", order=order, item=item, tracking=each, minute=minute)
        for minute, each in enumerate(tracking, start=1)
    ]
    store.append([arrival(report(order=order, item=item), *shipped, partner=partner)])


def fill(store: Store) -> None:
    """Orders of two owners with items of two partners; nobody registered 500 and 9."""
    register(store, "100", reference="wp-1", items={"100-1": "cover", "100-2": None})
    register(store, "101", partner_name="Beta", reference="wp-10", items={"101-1": "cover"})
    register(store, "200", "Ink", reference="wp-1", items={"200-1": "body"})
    heard(store, "100", "100-1", "TN1")
    heard(store, "100", "100-3", "TN1", "TN12", partner=2)
    heard(store, "200", "200-1", "TN2")
    heard(store, "500", "100-1", "TN", partner=2)
    heard(store, "9", "TN1")


class SearchContract:
    # ---- what is found ----

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("100", ["order 100 100", "item 100/100-1 100-1", "item 500/100-1 100-1",
                     "item 100/100-2 100-2", "item 100/100-3 100-3"]),
            ("10", ["order 100 100", "order 101 101", "item 100/100-1 100-1",
                    "item 500/100-1 100-1", "item 100/100-2 100-2", "item 100/100-3 100-3",
                    "item 101/101-1 101-1"]),
            ("9", ["order 9 9"]),
            ("101-1", ["item 101/101-1 101-1"]),
            ("TN1", ["item 9/TN1 TN1", "parcel 100/100-1 TN1", "parcel 100/100-3 TN1",
                     "parcel 100/100-3 TN12"]),
            ("TN", ["parcel 500/100-1 TN", "item 9/TN1 TN1", "parcel 100/100-1 TN1",
                    "parcel 100/100-3 TN1", "parcel 100/100-3 TN12", "parcel 200/200-1 TN2"]),
            ("wp-1", ["order_reference 100 wp-1", "order_reference 200 wp-1",
                      "order_reference 101 wp-10"]),
            ("cov", ["item_reference 100/100-1 cover", "item_reference 101/101-1 cover"]),
            ("body", ["item_reference 200/200-1 body"]),
            ("00", []),
            ("1000", []),
        ],
    )  # fmt: skip
    def test_everything_is_found_by_its_name_and_then_by_how_that_begins(
        self, store: Store, text: str, expected: list[str]
    ) -> None:
        fill(store)

        assert found(store, text) == expected
        assert found(store, f" \t{text}\n\u3000") == expected
        for limit in range(1, len(expected)):
            assert found(store, text, limit=limit) == expected[:limit]

    @pytest.mark.parametrize(
        "text", ["", " ", "\n", "\0", "100\0", "%", "_", "1_0", "wp%", "*", "'"]
    )
    def test_what_is_no_beginning_of_anything_finds_nothing(self, store: Store, text: str) -> None:
        fill(store)

        assert found(store, text) == []

    def test_no_character_stands_for_another(self, store: Store) -> None:
        for order in ("1%", "1_", "1*", "1?", "1\\", "1[", "1'", '1"', "11"):
            heard(store, order, "x")

        for text in ("1%", "1_", "1*", "1?", "1\\", "1[", "1'", '1"'):
            assert found(store, text) == [f"order {text} {text}"]

    def test_capitals_and_small_letters_are_tried_only_when_nothing_is_found(
        self, store: Store
    ) -> None:
        heard(store, "Ab1", "x", "1ZÄ")
        heard(store, "ab1", "y")
        heard(store, "AB12", "z")

        assert found(store, "ab") == ["order ab1 ab1"]
        assert found(store, "AB") == ["order AB12 AB12"]
        assert found(store, "Ab") == ["order Ab1 Ab1"]
        assert found(store, "aB") == ["order AB12 AB12"]
        assert found(store, "1zä") == ["parcel Ab1/x 1ZÄ"]
        assert found(store, "aB1") == ["order AB12 AB12"]

    def test_beginnings_go_by_characters_whatever_these_are(self, store: Store) -> None:
        last, before_surrogates = chr(0x10FFFF), chr(0xD7FF)
        ids = ["é", "ée", "éf", "ê", "e", last, last * 2, before_surrogates + "x", chr(0xE000)]
        for order in ids:
            heard(store, order, "1")

        for text in ("é", last, before_surrogates, "e"):
            began = sorted(each for each in ids if each.startswith(text))
            assert found(store, text) == [f"order {each} {each}" for each in began]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("a", "b"),
            ("ab", "ac"),
            (chr(0xD7FF), chr(0xE000)),
            ("a" + chr(0x10FFFF), "b"),
            (chr(0x10FFFF), None),
        ],
    )
    def test_what_comes_after_all_that_begin_so(self, text: str, expected: str | None) -> None:
        assert after(text) == expected

    def test_a_thing_is_found_once_by_what_fits_best(self, store: Store) -> None:
        register(store, "7", reference="7", items={"7": "7", "70": "7"})
        heard(store, "7", "7", "7", "70")

        assert found(store, "7") == [
            "order 7 7",
            "item 7/7 7",
            "parcel 7/7 7",
            "item_reference 7/70 7",
            "parcel 7/7 70",
        ]

    def test_doubles_take_no_place_from_others(self, store: Store) -> None:
        for number in range(6):
            register(store, f"7{number}", reference=f"7{number}")
            heard(store, f"7{number}", "x")
        register(store, "8", reference="79")

        assert len(found(store, "7", limit=7)) == 7
        assert found(store, "7", limit=7)[-1] == "order_reference 8 79"
        assert found(store, "7", limit=6)[-1] == "order 75 75"

    def test_of_very_many_that_are_called_the_same_some_are_found(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search, "TIED_MAX", 5)
        monkeypatch.setattr(search, "LOOKED_AT_MAX", 5)
        for order in range(9):
            heard(store, str(order), "same", "same")

        once = found(store, "same", limit=4)

        assert once == found(store, "same", limit=4)
        assert len(set(once)) == 4
        assert all(each.startswith("item ") for each in once)

    # ---- only what belongs to somebody ----

    @pytest.mark.parametrize(
        ("scope", "text", "expected"),
        [
            ({"partner": "Alpha"}, "10", ["order 100 100", "item 100/100-1 100-1"]),
            ({"partner": "Beta"}, "10", ["order 100 100", "order 101 101",
                                         "item 500/100-1 100-1", "item 100/100-3 100-3",
                                         "item 101/101-1 101-1"]),
            ({"partner": "Alpha"}, "101", []),
            ({"partner": "Alpha"}, "100-2", []),
            ({"partner": "Beta"}, "100-2", []),
            ({"partner": "Alpha"}, "TN", ["item 9/TN1 TN1", "parcel 100/100-1 TN1",
                                          "parcel 200/200-1 TN2"]),
            ({"partner": "Beta"}, "TN1", ["parcel 100/100-3 TN1", "parcel 100/100-3 TN12"]),
            ({"partner": "Alpha"}, "wp-1", ["order_reference 100 wp-1",
                                            "order_reference 200 wp-1"]),
            ({"partner": "Beta"}, "wp-1", ["order_reference 100 wp-1",
                                           "order_reference 101 wp-10"]),
            ({"partner": "Alpha"}, "cover", ["item_reference 100/100-1 cover"]),
            ({"partner": "Beta"}, "cover", ["item_reference 101/101-1 cover"]),
            ({"partner": "Beta"}, "500", ["order 500 500"]),
            ({"partner": "Alpha"}, "500", []),
            ({"owner": "Books"}, "1", ["order 100 100", "order 101 101", "item 100/100-1 100-1",
                                       "item 100/100-2 100-2", "item 100/100-3 100-3",
                                       "item 101/101-1 101-1"]),
            ({"owner": "Ink"}, "1", []),
            ({"owner": "Ink"}, "2", ["order 200 200", "item 200/200-1 200-1"]),
            ({"owner": "Books"}, "wp-1", ["order_reference 100 wp-1",
                                          "order_reference 101 wp-10"]),
            ({"owner": "Ink"}, "wp", ["order_reference 200 wp-1"]),
            ({"owner": "Ink"}, "TN", ["parcel 200/200-1 TN2"]),
            ({"owner": "Books"}, "9", []),
            ({"owner": "Books"}, "body", []),
            ({"owner": "Ink"}, "cover", []),
            ({"owner": "Books", "partner": "Beta"}, "10", ["order 100 100", "order 101 101",
                                                           "item 100/100-3 100-3",
                                                           "item 101/101-1 101-1"]),
            ({"owner": "Ink", "partner": "Beta"}, "2", []),
            ({"partner": "nobody"}, "100", []),
            ({"owner": "nobody"}, "100", []),
            ({"partner": ""}, "100", []),
            ({"owner": ""}, "100", []),
            ({"partner": "alpha"}, "100", []),
            ({"owner": "Books", "partner": ""}, "100", []),
            ({"partner": "Books"}, "100", []),
        ],
        ids=str,
    )  # fmt: skip
    def test_who_may_see_less_finds_less(
        self, store: Store, scope: dict[str, str], text: str, expected: list[str]
    ) -> None:
        fill(store)

        assert found(store, text, **scope) == expected
        for limit in range(1, len(expected) + 1):
            assert found(store, text, limit=limit, **scope) == expected[:limit]

    def test_the_owner_of_what_nobody_registered_finds_what_is_registered(
        self, store: Store
    ) -> None:
        store.orders.create_owner("Rest", unregistered=True, now=1)
        register(store, "71", "Rest")
        heard(store, "7", "1")

        assert found(store, "7", owner="Rest") == ["order 71 71"]

    def test_an_order_goes_to_the_partner_it_is_registered_for(self, store: Store) -> None:
        heard(store, "7", "71", "T1")
        register(store, "7", reference="r", items={"71": "s", "72": "s"})
        assert found(store, "7", partner="Beta") == []
        assert found(store, "s", partner="Alpha") == ["item_reference 7/71 s"]

        register(store, "7", partner_name="Beta")

        for text in ("7", "71", "T", "r", "s"):
            assert found(store, text, partner="Alpha") == []
        assert found(store, "7", partner="Beta") == ["order 7 7", "item 7/71 71", "item 7/72 72"]
        assert found(store, "T1", partner="Beta") == ["parcel 7/71 T1"]

    def test_who_has_little_finds_it_once_the_text_is_long_enough(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search, "LOOKED_AT_MAX", 5)
        for number in range(10):
            heard(store, f"7{number}", f"7{number}", f"7{number}")
        heard(store, "799", "799", "799", partner=2)

        assert found(store, "7", partner="Beta") == []
        assert found(store, "79", partner="Beta") == [
            "order 799 799",
            "item 799/799 799",
            "parcel 799/799 799",
        ]
        assert found(store, "7", limit=6) == [
            *(f"order 7{n} 7{n}" for n in range(5)),
            "item 70/70 70",
        ]

    # ---- against a plain reference ----

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(data=st.data())
    def test_whatever_is_there_the_same_is_found_as_by_looking_through_all_of_it(
        self, new_store: NewStore, data: st.DataObject
    ) -> None:
        with new_store() as store:
            for name in ("Books", "Ink"):
                store.orders.create_owner(name, now=1)
            for happens in data.draw(st.lists(HAPPENINGS, max_size=12)):
                happens(store)
            for text in data.draw(st.lists(TEXTS, min_size=1, max_size=4)):
                for scope in SCOPES:
                    for limit in (1, 2, 100):
                        hits = store.search.find(text, limit=limit, **scope)
                        assert hits == looked_through(store, text, limit=limit, **scope)

    # ---- what it costs ----

    @pytest.mark.parametrize("text", ["10", chr(0x10FFFF)])
    def test_an_index_leads_to_whatever_is_looked_for(
        self, store: Store, read_whole: Callable[[Store, str, Any], list[str]], text: str
    ) -> None:
        fill(store)
        # As many as make it worth while to look where they are.
        others = iter(range(5_000, 6_250))
        for _ in range(5):
            several = (report(order=str(next(others)), item="x") for _ in range(250))
            store.append([arrival(*several)])

        for scope in SCOPES:
            with asked(store) as questions:
                store.search.find(text, limit=20, **scope)
            assert len(questions) >= 6
            assert [each for each in questions if read_whole(store, *each)] == []


# ---- small stores ----

TEXTS = st.sampled_from(["7", "71", "a", "A", "Aa", "a1", "1", "t", "T1", "7T", "8", "%", "é"])
NAMES = st.sampled_from(["7", "71", "7T", "a", "A", "a1", "Aa1", "1", "é"])
NUMBERS = st.sampled_from(["7T", "T1", "T12", "t1", "a"])
REFERENCES = st.sampled_from(["", "7", "71", "A", "a1", "é1"])


@st.composite
def _registered(draw: st.DrawFn) -> Callable[[Store], None]:
    order = draw(NAMES)
    told = {
        "partner_name": draw(st.sampled_from([None, "Alpha", "Beta"])),
        "reference": draw(st.none() | REFERENCES),
        "items": draw(st.dictionaries(NAMES, st.none() | REFERENCES, max_size=3)),
    }

    def happens(store: Store) -> None:
        known = store.orders.order(order)
        register(store, order, known.owner_name if known else owner, **told)

    owner = draw(st.sampled_from(["Books", "Ink"]))
    return happens


@st.composite
def _heard(draw: st.DrawFn) -> Callable[[Store], None]:
    order, item, partner = draw(NAMES), draw(NAMES), draw(st.sampled_from([1, 2]))
    tracking = draw(st.lists(NUMBERS, max_size=2))
    # What is another partner's is refused.
    return lambda store: heard(store, order, item, *tracking, partner=partner)


HAPPENINGS = _registered() | _heard()


def looked_through(
    store: Store, text: str, *, limit: int, partner: str | None = None, owner: str | None = None
) -> list[Hit]:
    """What is found by looking at everything there is."""
    everything = list(everything_of(store, partner, owner))
    for spelling in (text, text.upper(), text.lower()):
        hits = [hit for hit in everything if hit.text.startswith(spelling)]
        hits.sort(key=lambda hit: (KINDS.index(hit.kind), hit.text, hit.order, hit.item or ""))
        hits.sort(key=lambda hit: hit.text != spelling)
        things: dict[Any, Hit] = {}
        for hit in hits:
            parcel = hit.text if hit.kind == "parcel" else None
            things.setdefault((hit.order, hit.item, parcel), hit)
        if things:
            return list(things.values())[:limit]
    return []


def everything_of(store: Store, partner: str | None, owner: str | None) -> Iterator[Hit]:
    """Every text by which something can be found of a print partner and an owner."""
    with store._database.reading() as connection:
        registered = {row.order: row for row in connection.execute(select(orders))}
        called = {(row.order, row.item): row for row in connection.execute(select(order_items))}
        known = {(row.order, row.item): row for row in connection.execute(select(items))}
        shipped = list(connection.execute(select(parcels)))
        owner_names: Any = dict(connection.execute(select(owners.c.id, owners.c.name)).all())
        partner_names: Any = dict(connection.execute(select(partners.c.id, partners.c.name)).all())

    def is_meant(order: str, whose: set[Any]) -> bool:
        its_owner = owner_names[registered[order].owner] if order in registered else None
        names = {partner_names.get(each) for each in whose}
        return owner in (None, its_owner) and (partner is None or partner in names)

    for order in {*registered, *(order for order, _ in known)}:
        whose = {row.partner for row in known.values() if row.order == order}
        if order in registered:
            whose.add(registered[order].partner)
        if is_meant(order, whose):
            yield Hit("order", order, None, order)
            if order in registered and registered[order].reference:
                yield Hit("order_reference", order, None, registered[order].reference)
    for order, item in {*known, *called}:
        its = known.get((order, item)) or registered[order]
        if is_meant(order, {its.partner}):
            yield Hit("item", order, item, item)
            if (order, item) in called and called[order, item].reference:
                yield Hit("item_reference", order, item, called[order, item].reference)
            for each in shipped:
                if (order, item) in known and each.item == known[order, item].id:
                    yield Hit("parcel", order, item, each.tracking)


@contextmanager
def asked(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """The questions that are put to the database meanwhile, with their parameters."""
    questions: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if statement.startswith("SELECT"):
            questions.append((statement, parameters))

    event.listen(store._database.engine, "before_cursor_execute", note)
    try:
        yield questions
    finally:
        event.remove(store._database.engine, "before_cursor_execute", note)
