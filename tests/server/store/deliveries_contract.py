"""What is promised of what there is to tell, and of noting what became of it, on any store."""

from typing import Any

import pytest

from cloudsignal.server.store import owned
from cloudsignal.server.store.deliveries import Health, Look, Noted, Progress
from cloudsignal.server.store.endpoints import EndpointState
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.store import Store
from tests.server.arrivals import arrival, report
from tests.server.store import told

URL = "https://parcels.example/{tracking}"


def look(store: Store, *endpoints: int, after: int = 0, limit: int = 99, **values: Any) -> Look:
    """What there is to tell."""
    return store.deliveries.look(set(endpoints), after=after, limit=limit, **values)


def found(store: Store, **values: Any) -> list[int]:
    """The positions of the signals that there are to tell."""
    return [each.position for each in look(store, **values).signals]


def register(store: Store, order: str = "7", owner: str = "Books", **values: Any) -> None:
    store.orders.register([Registration(order, owner, **values)], now=50)


def append(store: Store, *types: str, test: bool = False, **values: Any) -> None:
    """A post with a signal of each of the types, each a minute later."""
    last = store.reading.last_position()
    reports = [report(each, minute=last + n, **values) for n, each in enumerate(types)]
    store.append([arrival(*reports, test=test)])


def noted(store: Store, number: int = 1) -> list[Noted]:
    return store.delivery_log.noted(number, limit=99)


CANCELING: dict[str, tuple[list[tuple[str, str]], list[int]]] = {
    "a single item": ([("ItemRegistered", "1"), ("ItemCanceled", "1")], [2]),
    "the first signal there is": ([("ItemCanceled", "1")], [1]),
    "the last of several": (
        [("ItemRegistered", "2"), ("ItemCanceled", "1"), ("ItemCanceled", "2")],
        [3],
    ),
    "not all of several": ([("ItemRegistered", "2"), ("ItemCanceled", "1")], []),
    "one that was canceled again": (
        [("ItemCanceled", "1"), ("ItemCanceled", "2"), ("ItemCanceled", "1")],
        [2],
    ),
    "one that was shipped before": (
        [("ItemShipped", "1"), ("ItemCanceled", "1"), ("ItemPacked", "1")],
        [2],
    ),
    "none": ([("ItemProduce", "1"), ("ItemError", "1")], []),
}


class DeliveriesContract:
    # ---- whose a signal is ----

    def test_a_signal_is_told_to_whom_its_order_is_registered_for(self, store: Store) -> None:
        store.orders.create_owner("Ink", unregistered=True, now=1)
        store.orders.create_owner("Books", now=1)
        register(store, reference="wp-1", tracking_urls={"GLS": URL}, items={"1": "first"})
        append(store, "ItemProduce")
        append(store, "ItemPacked", item="2", order="8", test=True)

        first, second = look(store).signals

        assert (first.position, first.number, first.owner, first.test) == (1, 1, 2, False)
        assert (first.order, first.item, first.type) == ("7", "1", "ItemProduce")
        assert (first.order_reference, first.item_reference) == ("wp-1", "first")
        assert first.urls == {"GLS": URL}
        assert first.report.signal.order == "7"
        assert first.report.datetime == first.datetime
        assert (second.owner, second.test, second.number) == (1, True, 2)
        assert (second.order_reference, second.item_reference, second.urls) == ("", "", {})

    def test_an_item_that_nobody_named_has_no_reference(self, store: Store) -> None:
        store.orders.create_owner("Books", now=1)
        register(store, reference="wp-1", items={"1": "first"})
        append(store, "ItemProduce", item="2")

        [signal] = look(store).signals

        assert (signal.order_reference, signal.item_reference, signal.urls) == ("wp-1", "", {})

    def test_nobody_is_told_of_what_nobody_gets(self, store: Store) -> None:
        store.orders.create_owner("Books", now=1)
        append(store, "ItemProduce")

        assert look(store).signals[0].owner is None

    # ---- how far a look goes ----

    def test_a_look_goes_on_where_the_last_one_ended(self, store: Store) -> None:
        assert look(store, after=0) == Look(0, [], [], 0, False)
        append(store, *["ItemProduce"] * 5)

        first = look(store, limit=3)
        second = look(store, after=first.until, limit=3)

        assert ([each.position for each in first.signals], first.is_cut) == ([1, 2, 3], True)
        assert ([each.position for each in second.signals], second.is_cut) == ([4, 5], False)
        assert (first.until, second.until) == (3, 5)
        assert look(store, after=5) == Look(0, [], [], 5, False)

    def test_a_look_goes_no_further_than_it_is_to(self, store: Store) -> None:
        append(store, *["ItemProduce"] * 5)

        seen = look(store, after=1, until=3)

        assert ([each.position for each in seen.signals], seen.until) == ([2, 3], 3)
        assert look(store, after=3, until=3).until == 3

    def test_what_is_anothers_is_passed_over(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("Ink", "Books"):
            store.orders.create_owner(name, now=1)
            register(store, name, name)
        for order in ("Ink", "Ink", "Ink", "Books", "Ink", "nobody's"):
            append(store, "ItemProduce", order=order)

        assert found(store, owned_by={2}) == [4]
        assert found(store, owned_by={1, 2}) == [1, 2, 3, 4, 5]
        assert look(store, owned_by={2}).until == 6
        assert (found(store, owned_by=set()), look(store, owned_by=set()).until) == ([], 6)
        assert (found(store, owned_by={1}, limit=2), look(store, owned_by={1}, limit=2).until) == (
            [1, 2],
            2,
        )
        monkeypatch.setattr(owned, "SCANNED", 2)
        seen = look(store, owned_by={2})
        assert (seen.signals, seen.until, seen.is_cut) == ([], 2, True)

    def test_a_look_takes_no_more_than_some_bytes_at_once(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        append(store, *["ItemProduce"] * 3)
        size = len(look(store).signals[0].body)
        monkeypatch.setattr(owned, "PAGE_BYTES_MAX", size + 1)

        seen = look(store)

        assert ([each.position for each in seen.signals], seen.until) == ([1, 2], 2)
        assert seen.is_cut

    def test_a_look_is_in_order_however_many_are_fetched_at_once(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(owned, "FETCHED_FIRST", 2)
        monkeypatch.setattr(owned, "FETCHED_MAX", 3)
        for number in range(9):
            append(store, "ItemProduce", item=str(number % 4))

        assert found(store) == [*range(1, 10)]
        assert found(store, after=3, until=8) == [4, 5, 6, 7, 8]
        assert found(store, limit=5) == [1, 2, 3, 4, 5]
        assert [each.item for each in look(store, after=6).signals] == ["2", "3", "0"]

    @pytest.mark.parametrize("written", ['"quoted"', "back\\slash", "Ünï–😀", "a\u2028b", "</a>'"])
    def test_a_look_has_everything_as_it_was_written(self, store: Store, written: str) -> None:
        store.orders.create_owner("Books", now=1)
        register(store, order=written, items={written: f"their {written}"})
        append(store, "ItemProduce", order=written, item=written, test=True)

        [seen] = look(store).signals

        assert (seen.order, seen.item, seen.item_reference) == (
            written,
            written,
            f"their {written}",
        )
        assert (seen.report.signal.order, seen.test) == (written, True)

    # ---- what a signal means beside itself ----

    @pytest.mark.parametrize("case", CANCELING)
    def test_the_signal_is_marked_that_cancels_the_last_item(self, store: Store, case: str) -> None:
        signals, canceling = CANCELING[case]
        for type, item in signals:
            append(store, type, item=item)
        append(store, "ItemRegistered", order="another", item="2")

        marked = [each.position for each in look(store).signals if each.cancels_order]

        assert marked == canceling

    def test_an_item_that_is_registered_and_was_not_seen_is_not_canceled(
        self, store: Store
    ) -> None:
        store.orders.create_owner("Books", now=1)
        register(store, items={"1": None, "2": None})
        append(store, "ItemCanceled")
        assert not look(store).signals[0].cancels_order

        append(store, "ItemCanceled", item="2")

        assert [each.cancels_order for each in look(store).signals] == [False, True]
        assert look(store, after=1).signals[0].cancels_order

    def test_a_repeat_cancels_nothing_anew(self, store: Store) -> None:
        for _ in range(2):
            store.append([arrival(report("ItemCanceled", minute=1))])

        assert [each.cancels_order for each in look(store).signals] == [True]

    def test_what_is_older_than_what_is_known_is_marked_if_it_is_asked_for(
        self, store: Store
    ) -> None:
        for minute in (1, 3, 2):
            store.append([arrival(report("ItemDelay", minute=minute))])

        def outdated(**values: Any) -> list[bool]:
            return [each.is_outdated for each in look(store, **values).signals]

        assert outdated(find_outdated=True) == [True, False, True]
        assert outdated() == [False, False, False]

    # ---- asked for ----

    def test_what_was_asked_for_comes_in_the_order_of_the_log_and_with_its_signals(
        self, store: Store
    ) -> None:
        store.orders.create_owner("Books", unregistered=True, now=1)
        for _ in range(3):
            told.endpoint(store)
        append(store, *["ItemProduce"] * 4)
        asked = [
            told.noted(1, "third", position=3, state="asked", webhook=""),
            told.noted(2, "second", position=2, state="asked"),
            told.noted(3, "not mine", position=2, state="asked"),
            told.noted(1, "waits", position=1),
        ]
        store.deliveries.note(Progress(noted=asked), now=9)

        seen = look(store, 1, 2, after=4)

        assert [each.message for each, _ in seen.asked] == ["second", "third"]
        assert [its and its.position for _, its in seen.asked] == [None, 3]
        cut = look(store, 1, 2, limit=2)
        assert (len(cut.asked), cut.signals, cut.until, cut.is_cut) == (2, [], 0, True)
        assert look(store, 3).asked[0][0].message == "not mine"
        assert look(store).asked == []

    def test_what_was_asked_for_and_is_no_longer_in_the_log_comes_without(
        self, store: Store
    ) -> None:
        told.endpoint(store)
        gone = told.noted(1, position=1, state="asked", webhook="")
        store.deliveries.note(Progress(noted=[gone]), now=9)

        [(asked, its)] = look(store, 1).asked

        assert (asked.position, asked.webhook, its) == (1, "", None)

    # ---- noting ----

    def test_all_that_became_of_deliveries_is_noted(self, store: Store, another: Store) -> None:
        endpoint = told.endpoint(store)
        append(store, *["ItemProduce"] * 4)
        store.deliveries.note(Progress(noted=[told.noted(1, name) for name in "abc"]), now=9)

        store.deliveries.note(
            Progress(
                positions={endpoint.id: 3},
                done=[(1, "a"), (1, "never noted")],
                noted=[told.noted(1, "b", attempts=2, first=4, why="no"), told.noted(1, "d")],
                attempted=[told.attempted(1, "b")],
                health={1: Health(7, 4, "active", "active", "")},
            ),
            now=10,
        )

        assert noted(another) == [
            told.noted(1, "b", attempts=2, first=4, why="no", changed=10),
            told.noted(1, "c", changed=9),
            told.noted(1, "d", changed=10),
        ]
        assert another.delivery_log.attempts(limit=9) == [told.attempted(1, "b", id=1)]
        after = another.endpoints.endpoint(1)
        assert (after.position, after.failures, after.failing_since) == (3, 7, 4)

    def test_nothing_is_noted_if_not_all_is(self, store: Store) -> None:
        endpoint = told.endpoint(store)
        progress = Progress(
            positions={endpoint.id: 3},
            noted=[told.noted(1)],
            attempted=[told.attempted(1, order=None)],
        )

        with pytest.raises(Exception, match=r"(?i)not.null"):
            store.deliveries.note(progress, now=9)

        assert noted(store) == []
        assert store.endpoints.endpoint(1).position == 0

    def test_a_cursor_never_goes_back(self, store: Store) -> None:
        endpoint = told.endpoint(store)
        for position in (5, 3):
            store.deliveries.note(Progress(positions={endpoint.id: position}), now=9)

        assert store.endpoints.endpoint(1).position == 5

    @pytest.mark.parametrize(
        ("meanwhile", "state", "why"),
        [("active", "disabled", "failed"), ("paused", "paused", "by people")],
    )
    def test_what_people_set_meanwhile_stays(
        self, store: Store, meanwhile: EndpointState, state: str, why: str
    ) -> None:
        told.endpoint(store)
        store.endpoints.set_state(1, meanwhile, "by people")

        health = Health(100, 4, "active", "disabled", "failed")
        store.deliveries.note(Progress(health={1: health}), now=9)

        after = store.endpoints.endpoint(1)
        assert (after.state, after.why, after.failures) == (state, why, 100)

    def test_nothing_is_noted_of_an_endpoint_that_was_removed(self, store: Store) -> None:
        endpoint = told.endpoint(store)
        store.endpoints.remove(1)

        store.deliveries.note(
            Progress(
                positions={endpoint.id: 1},
                noted=[told.noted(1)],
                attempted=[told.attempted(1)],
                health={1: Health(100, 4, "active", "disabled", "failed")},
            ),
            now=9,
        )

        assert (noted(store), store.endpoints.endpoints()) == ([], [])
        assert store.cursors.positions() == {}
        # That it was posted is true all the same.
        assert len(store.delivery_log.attempts(limit=9)) == 1

    def test_a_node_notes_nothing_of_what_another_one_tells(self, store: Store) -> None:
        endpoints = [told.endpoint(store) for _ in range(2)]
        store.tellers.stay("a", lease_s=3600)
        store.tellers.give_up("a", {2})
        store.deliveries.note(Progress(noted=[told.noted(2, "kept")]), now=9)

        store.deliveries.note(
            Progress(
                positions={each.id: 7 for each in endpoints},
                done=[(2, "kept")],
                noted=[told.noted(1, "own"), told.noted(2, "own")],
                attempted=[told.attempted(2)],
                health={2: Health(9, 4, "active", "disabled", "failed")},
            ),
            now=9,
            node="a",
        )

        assert [each.message for each in noted(store, 1)] == ["own"]
        assert [each.message for each in noted(store, 2)] == ["kept"]
        first, second = store.endpoints.endpoints()
        assert (first.position, second.position) == (7, 0)
        assert (second.failures, second.state) == (0, "active")
        assert len(store.delivery_log.attempts(limit=9)) == 1

    def test_what_waits_is_told_in_the_order_of_the_log(self, store: Store) -> None:
        for _ in range(3):
            told.endpoint(store)
        waits = [
            told.noted(1, "later", position=9),
            told.noted(2, "b", position=4, type="ItemCanceled"),
            told.noted(2, "a", position=4, type="CloudprinterOrderCanceled"),
            told.noted(1, "first", position=2),
            told.noted(1, "dead", position=1, state="dead"),
            told.noted(1, "asked", position=1, state="asked"),
            told.noted(3, "not mine", position=1),
        ]
        store.deliveries.note(Progress(noted=waits), now=9)

        found = [each.message for each in store.deliveries.waiting({1, 2})]

        assert found == ["first", "b", "a", "later"]
        assert store.deliveries.waiting(set()) == []

    def test_what_is_told_is_read_as_it_is_noted(self, store: Store) -> None:
        told.endpoint(store)
        known = [told.noted(1, "a", webhook='{"ü":1}'), told.noted(1, "b", webhook="")]
        store.deliveries.note(Progress(noted=known), now=9)

        texts = [store.deliveries.webhook(1, each) for each in "abc"]

        assert texts == ['{"ü":1}', "", ""]

    # ---- registering ----

    def test_registering_an_order_tells_its_owner_that_it_is_valid_and_what_came_before(
        self, store: Store
    ) -> None:
        told.endpoint(store, "Books")
        told.endpoint(store, "Ink")
        append(store, "ItemProduce", "ItemPacked")
        append(store, "ItemProduce", order="another")

        register(store, reference="wp-1")

        validated, *earlier = [each for each, _ in look(store, 1, 2, after=3).asked]
        assert (validated.type, validated.order, validated.item) == (
            "CloudprinterOrderValidated",
            "7",
            "",
        )
        assert validated.webhook == (
            '{"type":"CloudprinterOrderValidated","apikey":"","order":"7","order_reference":"wp-1",'
            '"datetime":"1970-01-01T00:00:00+00:00"}'
        )
        assert [(each.position, each.type) for each in earlier] == [
            (1, "ItemProduce"),
            (2, "ItemPacked"),
        ]
        assert {each.endpoint for each in earlier} == {validated.endpoint} == {1}

    def test_an_order_that_is_canceled_when_it_is_registered_is_told_to_be(
        self, store: Store
    ) -> None:
        told.endpoint(store)
        told.endpoint(store, types=("ItemCanceled",))
        append(store, "ItemCanceled", "ItemProduce", order="with more", item="1")
        append(store, "ItemRegistered", "ItemCanceled")

        register(store, reference="wp-1")
        register(store, "with more", items={"1": None, "2": None})

        def asked(number: int) -> list[Noted]:
            return [each for each, _ in look(store, number, after=9).asked if each.position]

        assert [(each.order, each.type) for each in asked(1)] == [
            ("with more", "ItemCanceled"),
            ("with more", "ItemProduce"),
            ("7", "ItemValidated"),
            ("7", "ItemCanceled"),
            ("7", "CloudprinterOrderCanceled"),
        ]
        assert [(each.order, each.type) for each in asked(2)] == [
            ("with more", "ItemCanceled"),
            ("7", "ItemCanceled"),
        ]
        assert asked(1)[-1].webhook == (
            '{"type":"CloudprinterOrderCanceled","apikey":"","order":"7","order_reference":"wp-1",'
            '"datetime":"2016-01-20T12:03:00+00:00"}'
        )

    def test_registering_again_tells_nothing(self, store: Store) -> None:
        told.endpoint(store)
        register(store)
        store.deliveries.note(Progress(done=[(1, each.message) for each in noted(store)]), now=9)

        register(store)
        register(store, reference="otherwise", items={"1": "first"})

        assert noted(store) == []

    def test_each_endpoint_is_told_of_the_types_and_the_tests_it_wants(self, store: Store) -> None:
        wanted: list[dict[str, Any]] = [
            {"types": ("CloudprinterOrderValidated",)},
            {"types": ("ItemValidated", "ItemError")},
            {"test": True},
            {"types": ("ItemPacked",), "test": True},
            {},
        ]
        for each in wanted:
            told.endpoint(store, **each)
        append(store, "ItemRegistered", "ItemDelay")
        append(store, "ItemProduce", test=True)

        register(store)

        types = [sorted(each.type for each in noted(store, number)) for number in range(1, 6)]
        assert types == [
            ["CloudprinterOrderValidated"],
            ["ItemError", "ItemValidated"],
            ["ItemProduce"],
            [],
            ["CloudprinterOrderValidated", "ItemError", "ItemValidated"],
        ]

    def test_what_waits_already_is_asked_for_in_its_place(self, store: Store) -> None:
        """An order that nobody registered belonged to its owner before."""
        store.orders.create_owner("Books", unregistered=True, now=1)
        endpoint = told.endpoint(store)
        append(store, "ItemProduce")
        [message] = store.delivery_log.ask(endpoint, [1], now=9)
        store.deliveries.note(Progress(noted=[told.noted(1, message, attempts=3)]), now=9)

        register(store)

        states = {each.message: (each.state, each.attempts) for each in noted(store)}
        assert states[message] == ("asked", 0)
        assert len(states) == 2

    def test_an_owner_without_endpoints_is_told_nothing(self, store: Store) -> None:
        told.endpoint(store, "Ink")
        store.orders.create_owner("Books", now=1)
        append(store, "ItemProduce")

        register(store)

        assert store.delivery_log.counts() == {}
