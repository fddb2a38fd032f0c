"""What keeping endpoints promises, on any store."""

from collections.abc import Callable

import pytest

from cloudsignal.server.store.deliveries import Progress
from cloudsignal.server.store.endpoints import Endpoint, EndpointState, Sealed
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store
from tests.server.arrivals import arrival, report
from tests.server.store import told

VERBS: dict[str, Callable[[Store], object]] = {
    "shown": lambda store: store.endpoints.endpoint(1),
    "changed": lambda store: store.endpoints.change(1, newest_only=True),
    "changed in nothing": lambda store: store.endpoints.change(1),
    "rotated": lambda store: store.endpoints.rotate(1, secret="s", apikey="k", overlap_until=1),
    "paused": lambda store: store.endpoints.set_state(1, "paused"),
    "removed": lambda store: store.endpoints.remove(1),
}
STATES: list[tuple[EndpointState, EndpointState, EndpointState]] = [
    ("active", "paused", "paused"),
    ("active", "active", "active"),
    ("paused", "active", "active"),
    ("paused", "disabled", "disabled"),
    ("disabled", "active", "probing"),
    ("disabled", "paused", "disabled"),
    ("probing", "active", "probing"),
    ("probing", "paused", "disabled"),
    ("probing", "disabled", "disabled"),
]


class EndpointsContract:
    def test_an_endpoint_is_as_it_was_wanted(self, store: Store, another: Store) -> None:
        made = told.endpoint(
            store, "Books", now=9, types=("ItemShipped", "ItemError"), newest_only=True
        )

        assert made == Endpoint(
            id=1,
            owner=1,
            owner_name="Books",
            sealed=Sealed("url 1", "key 1", "secret 1"),
            shown="https://books.example/",
            format="cloudsignal-2.0",
            types=("ItemShipped", "ItemError"),
            test=False,
            newest_only=True,
            state="active",
            why="",
            failures=0,
            failing_since=None,
            created=9,
            position=0,
        )
        assert another.endpoints.endpoint(1) == made

    def test_endpoints_are_listed_by_their_numbers_all_or_an_owners(self, store: Store) -> None:
        assert store.endpoints.endpoints() == []
        first, second, third = (told.endpoint(store, name) for name in ("Ink", "Books", "Ink"))

        assert [each.id for each in store.endpoints.endpoints()] == [1, 2, 3]
        assert store.endpoints.endpoints("Ink") == [first, third]
        assert store.endpoints.endpoints("Books") == [second]
        assert store.endpoints.endpoints("nobody") == []
        assert store.endpoints.endpoints(after=first.id, limit=1) == [second]
        assert store.endpoints.endpoints("Ink", after=first.id, limit=9) == [third]

    def test_an_endpoint_is_told_of_what_comes_after_it_was_made(self, store: Store) -> None:
        store.append([arrival(report(), report(item="2"))])

        made = told.endpoint(store)

        assert made.position == 2
        assert store.cursors.positions() == {made.cursor: 2}

    def test_an_endpoint_of_nobody_is_not_made(self, store: Store) -> None:
        told.endpoint(store)
        before = store.endpoints.endpoints(), store.deliveries.revision()

        with pytest.raises(NotFound, match="there is no owner called 'books'"):
            store.endpoints.create("books", told.wanted(), now=9)

        assert (store.endpoints.endpoints(), store.deliveries.revision()) == before

    def test_what_is_changed_is_otherwise_and_the_rest_as_it_was(self, store: Store) -> None:
        before = told.endpoint(store)
        changes = {"types": ("ItemError",), "newest_only": True, "format": "cloudsignal-2.1"}

        changed = store.endpoints.change(1, url="sealed", shown="https://x.example/", **changes)

        assert changed == store.endpoints.endpoint(1)
        assert changed.sealed == Sealed("sealed", "key 1", "secret 1")
        assert (changed.shown, changed.types) == ("https://x.example/", ("ItemError",))
        assert (changed.newest_only, changed.format) == (True, "cloudsignal-2.1")
        assert (changed.created, changed.state) == (before.created, before.state)
        assert store.endpoints.change(1, types=()).types == ()

    def test_while_a_secret_takes_the_place_of_another_both_are_known(self, store: Store) -> None:
        made = told.endpoint(store)

        rotated = store.endpoints.rotate(1, secret="new", apikey=None, overlap_until=77)

        assert rotated.sealed == Sealed("url 1", "key 1", "new")
        assert (rotated.old_secret, rotated.old_secret_until) == ("secret 1", 77)
        assert not rotated.has_same_secrets(made)
        assert rotated.has_same_secrets(store.endpoints.change(1, newest_only=True))

        keyed = store.endpoints.rotate(1, secret=None, apikey="new key", overlap_until=99)

        assert keyed.sealed == Sealed("url 1", "new key", "new")
        assert (keyed.old_secret, keyed.old_secret_until) == ("secret 1", 77)

    @pytest.mark.parametrize(("before", "wanted", "after"), STATES)
    def test_one_that_failed_too_often_is_tried_before_it_is_active(
        self, store: Store, before: EndpointState, wanted: EndpointState, after: EndpointState
    ) -> None:
        told.endpoint(store)
        if before == "probing":
            store.endpoints.set_state(1, "disabled")
        store.endpoints.set_state(1, "active" if before == "probing" else before, "so it was")

        found = store.endpoints.set_state(1, wanted, "because")

        stays = wanted == "paused" and before != "active"
        assert (found.state, found.why) == (after, "so it was" if stays else "because")
        assert store.endpoints.endpoint(1) == found

    def test_what_is_removed_is_gone_with_all_that_waits_for_it(self, store: Store) -> None:
        told.endpoint(store)
        kept = told.endpoint(store)
        store.endpoints.rotate(1, secret="new", apikey=None, overlap_until=77)
        store.deliveries.note(Progress(noted=[told.noted(1), told.noted(2)]), now=9)

        removed = store.endpoints.remove(1)

        assert removed.id == 1
        assert store.endpoints.endpoints() == [kept]
        assert store.delivery_log.counts() == {2: {"waiting": 1}}
        assert list(store.cursors.positions()) == [kept.cursor]

    @pytest.mark.parametrize("verb", VERBS)
    def test_one_that_is_not_there_is_not_found(self, store: Store, verb: str) -> None:
        with pytest.raises(NotFound, match="there is no endpoint 1"):
            VERBS[verb](store)
        told.endpoint(store)
        store.endpoints.remove(1)
        with pytest.raises(NotFound, match="there is no endpoint 1"):
            VERBS[verb](store)

    def test_a_number_is_not_given_twice(self, store: Store) -> None:
        for number in (1, 2, 3):
            assert told.endpoint(store).id == number
            store.endpoints.remove(number)

    def test_whether_there_is_any(self, store: Store) -> None:
        assert not store.endpoints.any()
        told.endpoint(store)
        assert store.endpoints.any()
        store.endpoints.set_state(1, "disabled")
        assert store.endpoints.any()
        store.endpoints.remove(1)
        assert not store.endpoints.any()

    @pytest.mark.parametrize("verb", sorted(VERBS.keys() - {"shown"}))
    def test_whatever_people_do_makes_the_revision_grow(self, store: Store, verb: str) -> None:
        assert store.deliveries.revision() == 0
        told.endpoint(store)
        assert store.deliveries.revision() == 1

        VERBS[verb](store)

        assert store.deliveries.revision() == 2
