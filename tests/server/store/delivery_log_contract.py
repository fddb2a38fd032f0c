"""What people see of deliveries, and ask for: what is promised of it, on any store."""

from typing import Any

import pytest

from cloudsignal.server.store import delivery_log, messages
from cloudsignal.server.store.deliveries import Noted, NotedState, Progress
from cloudsignal.server.store.delivery_log import LATE_US, Place, Standing
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store
from tests.server.arrivals import MINUTE, NOON, arrival, report
from tests.server.store import told


def note(store: Store, *noted: Noted, now: int = 9) -> None:
    """Have deliveries noted."""
    store.deliveries.note(Progress(noted=list(noted)), now=now)


def attempt(store: Store, *messages: str, number: int = 1, **values: object) -> None:
    """Have an attempt noted for each of the messages."""
    attempts = [told.attempted(number, each, **values) for each in messages]
    store.deliveries.note(Progress(attempted=attempts), now=9)


def states(store: Store, number: int = 1) -> dict[str, NotedState]:
    """What is noted of an endpoint's deliveries."""
    return {each.message: each.state for each in store.delivery_log.noted(number, limit=99)}


class DeliveryLogContract:
    @pytest.fixture
    def _three(self, store: Store) -> None:
        """Endpoint 1, with a delivery in each state."""
        told.endpoint(store)
        note(store, told.noted(1, "a", state="asked"), told.noted(1, "b"), now=10)
        note(store, told.noted(1, "c", state="dead", attempts=100, first=3, why="no"), now=20)

    # ---- what is noted ----

    def test_it_says_how_telling_stands(self, store: Store) -> None:
        assert store.delivery_log.standing() == Standing({}, {}, 0)
        store.append([arrival(*(report(item=str(n)) for n in range(3)))])
        slow, fast, gone = (told.endpoint(store) for _ in range(3))
        store.append([arrival(*(report(item=str(n)) for n in range(3, 7)))])
        progress = Progress(
            positions={fast.id: 5, slow.id: 4}, noted=[told.noted(1), told.noted(2)]
        )
        store.deliveries.note(progress, now=9)
        store.endpoints.set_state(slow.id, "paused")
        store.endpoints.remove(gone.id)

        assert store.delivery_log.standing() == Standing(
            {"active": 1, "paused": 1}, {"waiting": 2}, 2
        )

    def test_deliveries_are_counted_by_endpoint_and_state(self, store: Store) -> None:
        assert store.delivery_log.counts() == {}
        told.endpoint(store), told.endpoint(store)
        note(store, told.noted(1, "a"), told.noted(1, "b"), told.noted(2, "a"))
        note(store, told.noted(1, "c", state="dead"))

        assert store.delivery_log.counts() == {1: {"waiting": 2, "dead": 1}, 2: {"waiting": 1}}

    def test_what_is_noted_is_listed_in_pages(self, store: Store) -> None:
        told.endpoint(store), told.endpoint(store)
        wanted = [told.noted(1, name, state="dead", why="no", changed=9) for name in "abc"]
        note(store, *wanted, told.noted(1, "d"), told.noted(2, "e"))

        assert store.delivery_log.noted(1, "dead", limit=2) == wanted[:2]
        assert store.delivery_log.noted(1, "dead", after="b", limit=2) == wanted[2:]
        assert [each.message for each in store.delivery_log.noted(1, limit=9)] == list("abcd")

    def test_what_is_noted_of_all_endpoints_is_listed_the_newest_first(self, store: Store) -> None:
        told.endpoint(store), told.endpoint(store)
        for position, name in enumerate("zax", 1):
            note(store, told.noted(1, name, state="dead", position=position, changed=9))
        same = [told.noted(2, name, state="dead", position=7, changed=9) for name in "ab"]
        note(store, *same, told.noted(2, "c", position=8), told.noted(2, "d", state="asked"))

        def listed(*states: NotedState, **chosen: Any) -> list[tuple[int, str]]:
            found = store.delivery_log.newest(*states, **{"limit": 9, **chosen})
            return [(each.endpoint, each.message) for each in found]

        dead = [(2, "b"), (2, "a"), (1, "x"), (1, "a"), (1, "z")]
        assert listed("dead") == dead
        for count, last in enumerate(store.delivery_log.newest("dead", limit=9), 1):
            before = Place(last.endpoint, last.position, last.message)
            assert listed("dead", before=before) == dead[count:]
        assert listed("dead", endpoints=[1], limit=2) == dead[2:4]
        assert listed("dead", endpoints=[]) == []
        assert listed("asked", "waiting", endpoints=[2, 1]) == [(2, "c"), (2, "d")]

    def test_a_delivery_that_is_noted_is_found(self, store: Store) -> None:
        told.endpoint(store), told.endpoint(store)
        note(store, told.noted(2, "a", changed=9))

        assert store.delivery_log.find(2, "a") == told.noted(2, "a", changed=9)
        assert store.delivery_log.find(1, "a") is store.delivery_log.find(2, "b") is None

    # ---- attempts ----

    def test_one_attempt_is_found_by_its_number(self, store: Store) -> None:
        attempt(store, "a", "b")

        assert store.delivery_log.attempt(1) == told.attempted(1, "a", id=1)
        with pytest.raises(NotFound, match="there is no attempt 3"):
            store.delivery_log.attempt(3)

    def test_attempts_since_an_instant_are_found_though_some_are_noted_late(
        self, store: Store
    ) -> None:
        begun = [0, 20, 10, 30, 30 - LATE_US // MINUTE, 31, 50]
        for at in begun:
            attempt(store, "a", at=NOON + at * MINUTE)

        for since in range(-1, 52):
            found = store.delivery_log.attempts(since=NOON + since * MINUTE, limit=9)
            numbers = [number for number, at in enumerate(begun, 1) if at >= since]
            assert [each.id for each in found] == numbers[::-1], since
        assert store.delivery_log.attempts(since=NOON, endpoint=2, limit=9) == []

    def test_attempts_are_listed_the_newest_first_in_pages(self, store: Store) -> None:
        attempt(store, *"abcde")

        found = store.delivery_log.attempts(limit=2)

        assert found == [told.attempted(1, "e", id=5), told.attempted(1, "d", id=4)]
        rest = store.delivery_log.attempts(before=found[-1].id, limit=9)
        assert [each.message for each in rest] == list("cba")

    def test_attempts_are_chosen(self, store: Store) -> None:
        attempt(store, "a", "b")
        attempt(store, "a", number=2, error="", status=204)

        def found(**chosen: object) -> list[int]:
            return [each.id for each in store.delivery_log.attempts(limit=9, **chosen)]  # type: ignore[arg-type]

        assert found(endpoint=1) == [2, 1]
        assert found(message="a") == [3, 1]
        assert found(failed=True) == [2, 1]
        assert found(failed=False) == [3]
        assert found(endpoint=2, message="a", failed=True) == []

    def test_old_attempts_and_what_was_given_up_long_ago_are_forgotten_a_few_at_a_time(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(delivery_log, "FORGOTTEN", 2)
        told.endpoint(store)
        note(store, told.noted(1, "waits"), told.noted(1, "dead", state="dead"), now=10)
        note(store, told.noted(1, "newly dead", state="dead"), now=20)
        for at in (10, 11, 12, 20):
            attempt(store, "a", at=at)

        gone = [store.delivery_log.forget(20) for _ in range(3)]

        assert gone == [2, 1, 0]
        assert [each.at for each in store.delivery_log.attempts(limit=9)] == [20]
        assert states(store) == {"waits": "waiting", "newly dead": "dead"}

    # ---- asked for ----

    @pytest.mark.usefixtures("_three")
    def test_all_that_was_given_up_is_asked_for_as_if_never_tried(self, store: Store) -> None:
        assert store.delivery_log.redeliver(1, now=50) == 1

        assert states(store) == {"a": "asked", "b": "waiting", "c": "asked"}
        found = store.delivery_log.noted(1, after="b", limit=1)[0]
        assert (found.attempts, found.first, found.due, found.changed) == (0, None, 50, 50)
        assert found.webhook == "{}"

    @pytest.mark.usefixtures("_three")
    def test_what_was_given_up_since_an_instant_is_asked_for(self, store: Store) -> None:
        note(store, told.noted(1, "old", state="dead"), now=19)

        assert store.delivery_log.redeliver(1, since=20, now=50) == 1
        assert states(store)["old"] == "dead"
        assert store.delivery_log.redeliver(1, since=21, now=50) == 0

    @pytest.mark.usefixtures("_three")
    def test_certain_ones_are_asked_for_whatever_they_wait_for(self, store: Store) -> None:
        told.endpoint(store)
        note(store, told.noted(2, "b"))

        assert store.delivery_log.redeliver(1, messages=["b", "x"], now=50) == 1
        assert store.delivery_log.redeliver(1, messages=[], now=50) == 0

        assert states(store) == {"a": "asked", "b": "asked", "c": "dead"}
        assert states(store, 2) == {"b": "waiting"}

    @pytest.mark.usefixtures("_three")
    def test_what_was_given_up_is_discarded_all_or_certain_ones(self, store: Store) -> None:
        note(store, told.noted(1, "d", state="dead"))

        assert store.delivery_log.discard(1, messages=["b", "d"]) == 1
        assert states(store) == {"a": "asked", "b": "waiting", "c": "dead"}
        assert store.delivery_log.discard(1) == 1
        assert states(store) == {"a": "asked", "b": "waiting"}

    def test_signals_of_the_log_are_asked_for_where_their_types_are_told(
        self, store: Store
    ) -> None:
        store.orders.create_owner("Books", unregistered=True, now=1)
        endpoint = told.endpoint(store, types=("ItemProduce",))
        store.append([arrival(report("ItemProduce"), report("ItemPacked", minute=1))])

        first = store.delivery_log.ask(endpoint, [2, 1], now=50)
        again = store.delivery_log.ask(endpoint, [1], now=60)

        assert first == again
        assert states(store) == dict.fromkeys(first, "asked")
        [(found, owned)] = store.deliveries.look({1}, after=2, limit=9).asked
        assert (found.position, found.number, found.type) == (1, 1, "ItemProduce")
        assert (found.order, found.item, found.webhook, found.due) == ("7", "1", "", 60)
        assert owned is not None
        assert owned.position == 1

    def test_asking_for_what_waits_takes_its_place(self, store: Store) -> None:
        store.orders.create_owner("Books", unregistered=True, now=1)
        endpoint = told.endpoint(store)
        store.append([arrival(report())])
        [message] = store.delivery_log.ask(endpoint, [1], now=50)
        note(store, told.noted(1, message, state="dead"))

        assert store.delivery_log.ask(endpoint, [1], now=50) == [message]

        assert states(store) == {message: "asked"}

    @pytest.mark.parametrize("position", [1, 2])
    def test_a_signal_that_is_not_there_or_anothers_is_not_found(
        self, store: Store, position: int
    ) -> None:
        store.orders.create_owner("Ink", unregistered=True, now=1)
        endpoint = told.endpoint(store)
        store.append([arrival(report())])

        with pytest.raises(NotFound, match=f"there is no signal {position} for 'Books'"):
            store.delivery_log.ask(endpoint, [position], now=50)

        assert states(store) == {}

    def test_what_was_delivered_is_asked_for_again_as_it_was(self, store: Store) -> None:
        store.orders.create_owner("Books", unregistered=True, now=1)
        told.endpoint(store)
        store.append([arrival(report("ItemProduce"), report("ItemPacked", minute=1))])
        message = messages.of_signal(store.identity(), 2)
        for webhook in ("{}", '{"a":1}'):
            attempt(store, message, type="ItemPacked", webhook=webhook, error="", status=204)

        store.delivery_log.tell_again(1, message, now=50)

        [(found, owned)] = store.deliveries.look({1}, after=2, limit=9).asked
        assert owned is None
        assert found == Noted(
            endpoint=1,
            message=message,
            position=2,
            number=1,
            type="ItemPacked",
            order="7",
            item="1",
            webhook='{"a":1}',
            state="asked",
            due=50,
            changed=50,
        )
        newest = store.changes.changes(limit=1)[0]
        assert (newest.what, newest.subject) == ("told once more", "endpoint 1")

    def test_what_is_about_no_item_is_asked_for_again_too(self, store: Store) -> None:
        told.endpoint(store)
        message = messages.of_order(store.identity(), "test", "1 9")
        attempt(store, message, item="")

        store.delivery_log.tell_again(1, message, now=50)

        found = store.delivery_log.find(1, message)
        assert found is not None
        assert (found.position, found.number, found.state) == (0, 0, "asked")

    @pytest.mark.usefixtures("_three")
    def test_what_is_noted_is_asked_for_again_where_it_stands(self, store: Store) -> None:
        attempt(store, "c", webhook="another")

        store.delivery_log.tell_again(1, "c", now=50)

        found = store.delivery_log.find(1, "c")
        assert found is not None
        assert (found.state, found.attempts, found.first, found.webhook) == ("asked", 0, None, "{}")

    @pytest.mark.parametrize(("number", "message"), [(1, "x"), (2, "m"), (3, "m")])
    def test_what_nothing_is_known_of_is_not_asked_for_again(
        self, store: Store, number: int, message: str
    ) -> None:
        for _ in range(3):
            told.endpoint(store)
        attempt(store, "m"), attempt(store, "m", number=3)
        store.endpoints.remove(3)

        with pytest.raises(NotFound):
            store.delivery_log.tell_again(number, message, now=50)

        assert store.delivery_log.counts() == {}

    def test_what_follows_from_no_signal_is_asked_for_too(self, store: Store) -> None:
        told.endpoint(store)
        test = told.noted(1, position=0, state="asked", webhook='{"a":1}')

        store.delivery_log.tell(test, now=50)
        store.delivery_log.tell(test, now=60)

        [(found, owned)] = store.deliveries.look({1}, after=0, limit=9).asked
        assert (found.webhook, found.changed, owned) == ('{"a":1}', 60, None)
