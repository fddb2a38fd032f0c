"""What appending to any store promises."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudsignal.protocol.items import Item
from cloudsignal.protocol.wire import Receipt, Report
from cloudsignal.server.store.log import Answer, Arrival
from cloudsignal.server.store.reading import ItemQuery, LoggedSignal
from cloudsignal.server.store.store import Store
from tests.server.arrivals import (
    MINUTE,
    NOON,
    arrival,
    positions,
    problem,
    receipt,
    report,
    whole_log,
)
from tests.strategies import histories, report_of

NewStore = Callable[[], AbstractContextManager[Store]]
Fault = Callable[[Store], AbstractContextManager[None]]
"""While it lasts, the store writes signals and then fails before the group is complete."""


def names(store: Store) -> list[str]:
    return [each.item for each in whole_log(store)]


class AppendingContract:
    # ---- the log ----

    def test_an_empty_store_is_at_position_0(self, store: Store) -> None:
        assert store.reading.last_position() == 0
        assert whole_log(store) == []

    def test_a_signal_is_read_as_it_was_appended(self, store: Store) -> None:
        sent = report("ItemShipped", item="ü/%", minute=5, extra={"press": [7]})

        [answer] = store.append([arrival(sent, partner=2, interface=2, received=NOON + 9)])

        [logged] = whole_log(store)
        assert answer == Receipt(accepted=1, duplicates=0, position=logged.position)
        assert logged == LoggedSignal(
            position=store.reading.last_position(),
            received=NOON + 9,
            interface=2,
            partner_name="Beta",
            test=False,
            order="7",
            item="ü/%",
            type="ItemShipped",
            datetime=NOON + 5 * MINUTE,
            fingerprint=sent.fingerprint,
            body=sent.body.decode(),
        )
        assert logged.report == sent

    def test_every_text_is_kept_as_it_is(self, store: Store) -> None:
        ids = [
            'a"b',
            "c\\d",
            "{e,f}",
            "NULL",
            "' OR 1=1 --",
            "$1",
            "%s",
            " x ",
            "☃",
            "\\x00",
            '\\"',
            "}'",
        ]
        shipped = [report("ItemShipped", item=each, tracking=each) for each in ids]

        store.append([arrival(*shipped)])
        store.append([arrival(*(report(item=each, minute=1) for each in ids))])

        assert names(store) == ids * 2
        assert [each.report for each in whole_log(store)[: len(ids)]] == shipped
        for each in ids:
            assert found(store, tracking=each) == {each}

    def test_positions_grow_in_commit_order(self, store: Store) -> None:
        groups = [
            [arrival(report(item="1")), arrival(report(item="2"), report(item="3"))],
            [arrival(report(item="4"))],
            [arrival(report(item="5")), arrival(report(item="6"))],
        ]

        told = [receipt(answer).position for group in groups for answer in store.append(group)]

        assert names(store) == ["1", "2", "3", "4", "5", "6"]
        assert positions(store) == sorted(set(positions(store)))
        assert told == [positions(store)[index] for index in (0, 2, 3, 4, 5)]

    def test_a_receipt_holds_the_position_of_its_posts_last_signal(self, store: Store) -> None:
        one, other = store.append(
            [arrival(report(item="1"), report(item="2")), arrival(report(item="3"))]
        )

        first, second, third = positions(store)
        assert (receipt(one).position, receipt(other).position) == (second, third)
        assert first < second < third

    # ---- repeats ----

    def test_a_repeat_is_counted_not_stored_and_told_where_it_stands(self, store: Store) -> None:
        [first] = store.append([arrival(report(), received=NOON)])
        store.append([arrival(report(item="2"))])

        [again] = store.append([arrival(report(), received=NOON + MINUTE)])

        assert again == Receipt(accepted=0, duplicates=1, position=receipt(first).position)
        assert [each.received for each in whole_log(store)] == [NOON, NOON]

    def test_a_repeat_in_the_same_post_is_recognised(self, store: Store) -> None:
        [answer] = store.append([arrival(report(), report(minute=1), report())])

        [first, _] = positions(store)
        assert answer == Receipt(accepted=2, duplicates=1, position=first)

    def test_a_repeat_in_the_same_group_is_recognised(self, store: Store) -> None:
        first, again = store.append([arrival(report()), arrival(report(), report(minute=1))])

        assert first == Receipt(1, 0, positions(store)[0])
        assert again == Receipt(1, 1, positions(store)[1])

    def test_new_signals_after_repeats_stand_beyond_all_others(self, store: Store) -> None:
        store.append([arrival(report())])
        [mixed] = store.append([arrival(report(), report(minute=1), report(minute=2))])
        [last] = store.append([arrival(report(minute=3))])

        assert (receipt(mixed).accepted, receipt(mixed).duplicates) == (2, 1)
        assert positions(store) == sorted(set(positions(store)))
        assert positions(store)[-2:] == [receipt(mixed).position, receipt(last).position]

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param(arrival(report("ItemProduce")), id="type"),
            pytest.param(arrival(report(order="8")), id="order"),
            pytest.param(arrival(report(item="2")), id="item"),
            pytest.param(arrival(report(minute=1)), id="instant"),
            pytest.param(arrival(report(), interface=3), id="interface"),
        ],
    )
    def test_a_signal_that_differs_in_one_thing_is_no_repeat(
        self, store: Store, other: Arrival
    ) -> None:
        answers = store.append([arrival(report()), other])

        assert [(receipt(each).accepted, receipt(each).duplicates) for each in answers] == [
            (1, 0),
            (1, 0),
        ]

    def test_a_signal_with_other_fields_is_no_repeat(self, store: Store) -> None:
        one, other, same = (
            report("ItemDelay", cause="jam"),
            report("ItemDelay", cause="jam", delay="2"),
            report("ItemDelay", delay="2", cause="jam", message=""),
        )

        [answer] = store.append([arrival(one, other, same)])

        assert (receipt(answer).accepted, receipt(answer).duplicates) == (2, 1)

    def test_the_same_instant_in_another_spelling_is_a_repeat(self, store: Store) -> None:
        spelled = report(datetime="2016-01-20T13:00:00+01:00")

        [_, again] = store.append([arrival(report()), arrival(spelled)])

        assert receipt(again).duplicates == 1

    # ---- items ----

    def test_the_item_is_what_its_signals_fold_to(self, store: Store) -> None:
        sent = [
            (report("ItemProduce", minute=5), NOON + 7 * MINUTE),
            (report("ItemRegistered", minute=1), NOON + 8 * MINUTE),
            (report("ItemDelay", minute=9, cause="jam", delay="1.5"), NOON + 9 * MINUTE),
        ]
        for each, received in sent:
            store.append([arrival(each, received=received)])

        stored = store.reading.item("7", "1")

        assert stored is not None
        assert stored.folded == folded(sent)
        assert (stored.partner_name, stored.updated) == ("Alpha", NOON + 9 * MINUTE)
        assert stored.position == store.reading.last_position()

    def test_a_repeat_leaves_the_item_as_it_is(self, store: Store) -> None:
        store.append([arrival(report(), received=NOON)])
        before = store.reading.item("7", "1")

        store.append([arrival(report(), received=NOON + 100 * MINUTE)])

        assert store.reading.item("7", "1") == before

    def test_an_item_is_a_test_until_a_signal_is_none(self, store: Store) -> None:
        store.append([arrival(report(minute=0), test=True), arrival(report(item="2"), test=True)])
        assert found(store, test=True) == {"1", "2"}

        store.append([arrival(report(minute=1)), arrival(report(item="2", minute=1), test=True)])

        assert found(store, test=True) == {"2"}
        assert found(store, test=False) == {"1"}
        assert [each.test for each in whole_log(store)] == [True, True, False, True]

    def test_every_parcel_is_kept_and_found(self, store: Store) -> None:
        shipped = [
            report("ItemShipped", tracking="B", minute=2),
            report("ItemShipped", tracking="A", minute=3),
            report("ItemShipped", tracking="A", minute=1, shipping_option="DHL"),
        ]
        store.append([arrival(*shipped)])

        stored = store.reading.item("7", "1")

        assert stored is not None
        assert [(each.tracking, each.shipping_option) for each in stored.folded.parcels] == [
            ("A", "DHL"),
            ("B", "GLS"),
            ("A", "GLS"),
        ]
        assert found(store, tracking="A") == found(store, tracking="B") == {"1"}

    # ---- whose an item is ----

    def test_an_item_belongs_to_the_partner_that_reported_it_first(self, store: Store) -> None:
        store.append([arrival(report(), partner=1)])

        [refused] = store.append([arrival(report(minute=1), partner=2)])

        refused = problem(refused)
        assert (refused.at, refused.type) == ("", "not_your_item")
        assert "item 1 of order 7" in refused.info
        assert len(whole_log(store)) == 1

    def test_every_interface_of_a_partner_may_report_its_items(self, store: Store) -> None:
        store.append([arrival(report(), partner=1, interface=1)])

        [answer] = store.append([arrival(report(minute=1), partner=1, interface=3)])

        assert receipt(answer).accepted == 1

    def test_a_post_with_one_item_of_another_leaves_nothing(self, store: Store) -> None:
        store.append([arrival(report(item="2"), partner=1)])
        mixed = arrival(report(item="1"), report(item="2"), report(item="3"), partner=2)

        [refused] = store.append([mixed])

        refused = problem(refused)
        assert refused.at == "items[1]"
        assert refused.info.startswith("items[1]: ")
        assert names(store) == ["2"]
        assert found(store) == {"2"}
        # And the items that it would have been the first to report are still anybody's.
        [answer] = store.append([arrival(report(item="1"), partner=1)])
        assert receipt(answer).accepted == 1

    def test_an_item_is_taken_by_an_earlier_post_of_the_same_group(self, store: Store) -> None:
        first, refused, own = store.append(
            [
                arrival(report(item="1"), partner=1),
                arrival(report(item="2"), report(item="1"), partner=2),
                arrival(report(item="2"), partner=1),
            ]
        )

        assert receipt(first).accepted == receipt(own).accepted == 1
        refused = problem(refused)
        assert [(each.item, each.partner_name) for each in whole_log(store)] == [
            ("1", "Alpha"),
            ("2", "Alpha"),
        ]

    def test_a_group_of_refused_posts_alone_changes_nothing(self, store: Store) -> None:
        store.append([arrival(report(), partner=1)])
        before = dump(store)

        answers = store.append([arrival(report(minute=m), partner=2) for m in range(3)])

        assert all(isinstance(answer, list) for answer in answers)
        assert dump(store) == before

    def test_every_post_of_a_group_gets_its_own_answer_in_its_place(self, store: Store) -> None:
        store.append([arrival(report(item="mine"), partner=1)])

        answers = store.append(
            [
                arrival(report(item="a"), report(item="b"), partner=2),
                arrival(report(item="mine"), partner=2),
                arrival(report(item="mine"), partner=1),
                arrival(report(item="a"), partner=1),
                arrival(report(item="b", minute=1), partner=2),
            ]
        )

        assert [
            problem(answer).type
            if isinstance(answer, list)
            else (answer.accepted, answer.duplicates)
            for answer in answers
        ] == [(2, 0), "not_your_item", (0, 1), "not_your_item", (1, 0)]

    # ---- all or nothing ----

    def test_an_error_in_the_middle_of_a_group_leaves_nothing_of_it(
        self, store: Store, fault: Fault
    ) -> None:
        store.append([arrival(report(item="before"))])
        before = dump(store)
        group = [
            arrival(report(item="1"), report("ItemShipped", item="before")),
            arrival(report("ItemShipped", item="2"), partner=2),
        ]

        with fault(store), pytest.raises(Exception, match="a fault for the test"):
            store.append(group)
        assert dump(store) == before

        # The cause is gone: the same group is all new, nothing of it was half there.
        assert [receipt(each).accepted for each in store.append(group)] == [2, 1]
        assert names(store) == ["before", "1", "before", "2"]

    # ---- all of it together ----

    @settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(data=st.data())
    def test_whatever_comes_the_store_holds_what_a_simple_model_does(
        self, new_store: NewStore, data: st.DataObject
    ) -> None:
        groups = data.draw(st.lists(st.lists(arrivals(), max_size=6), max_size=4))
        model = Model()
        with new_store() as store:
            for group in groups:
                expected = [model.append(each) for each in group]
                answers = store.append(group)
                places = {position: place for place, position in enumerate(positions(store))}
                assert [outline(each, places) for each in answers] == expected

            logged = whole_log(store)
            assert [(each.interface, each.report) for each in logged] == model.log
            assert positions(store) == sorted(set(positions(store)))
            stored = store.reading.items(ItemQuery(limit=10_000))
            assert {
                (each.order, each.item): (each.partner_name, each.updated, each.folded)
                for each in stored
            } == model.items
            before = dump(store)
            assert store.rebuild().differed == 0
            assert dump(store) == before


PARTNERS = {1: "Alpha", 2: "Beta"}


@st.composite
def arrivals(draw: st.DrawFn) -> Arrival:
    """A post of one of two partners about a few items that both may claim."""
    history = draw(histories(max_size=4).filter(bool))
    item = st.sampled_from("ab")
    reports = [report_of(type(each)(**fields_of(each) | {"item": draw(item)})) for each in history]
    interface = draw(st.sampled_from([1, 2, 3]))
    return arrival(
        *reports,
        partner=2 if interface == 2 else 1,
        interface=interface,
        received=NOON + draw(st.integers(0, 200)) * MINUTE,
        test=draw(st.booleans()),
    )


def fields_of(signal: Any) -> dict[str, Any]:
    return {name: getattr(signal, name) for name in signal.__struct_fields__}


class Model:
    """The contract in the fewest words: sets and lists, one signal at a time."""

    def __init__(self) -> None:
        self.log: list[tuple[int, Report]] = []
        self.items: dict[tuple[str, str], tuple[str, int, Item]] = {}
        self._places: dict[Any, int] = {}

    def append(self, post: Arrival) -> Any:
        """What the post is answered: an error type, or counts and its last signal's place."""
        partner = PARTNERS[post.partner]
        keys = [(each.signal.order, each.signal.item) for each in post.reports]
        if any(key in self.items and self.items[key][0] != partner for key in keys):
            return "not_your_item"
        counts = [0, 0]
        place = 0
        for key, each in zip(keys, post.reports, strict=True):
            same = (post.interface, type(each.signal), *key, each.datetime, each.fingerprint)
            counts[same in self._places] += 1
            place = self._places.setdefault(same, len(self.log))
            if place == len(self.log):
                self.log.append((post.interface, each))
                item = self.items.get(key, ("", 0, Item()))[2]
                item.merge(each, received=post.received, test=post.test)
                self.items[key] = (partner, post.received, item)
        return (*counts, place)


def outline(answer: Answer, places: dict[int, int]) -> Any:
    """An answer as the model gives it: the place in the log instead of the position."""
    if isinstance(answer, list):
        return answer[0].type
    return (answer.accepted, answer.duplicates, places[answer.position])


def folded(sent: list[tuple[Report, int]]) -> Item:
    item = Item()
    for each, received in sent:
        item.merge(each, received=received)
    return item


def found(store: Store, **wanted: Any) -> set[str]:
    return {each.item for each in store.reading.items(ItemQuery(**wanted))}


def dump(store: Store) -> tuple[Any, ...]:
    """All that reading shows of a store."""
    items = store.reading.items(ItemQuery(limit=10_000))
    tracking = {parcel.tracking for each in items for parcel in each.folded.parcels}
    parcels = {each: found(store, tracking=each) for each in sorted(tracking)}
    return whole_log(store), items, parcels
