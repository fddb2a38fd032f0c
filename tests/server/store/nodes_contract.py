"""What sharing endpoints among the nodes that tell promises, on any store."""

from msgspec.structs import replace
from sqlalchemy import update

from cloudsignal.server.store.nodes import Turn
from cloudsignal.server.store.schema import nodes
from cloudsignal.server.store.store import Store
from tests.server.store import told
from tests.server.store.rebuilding_contract import tamper


def stay(store: Store, name: str) -> Turn:
    """A node says that it is there."""
    return store.tellers.stay(name, lease_s=3600)


def numbers(turn: Turn) -> list[int]:
    """Which endpoints a node is to tell."""
    return [each.id for each in turn.endpoints]


def expire(store: Store, name: str) -> None:
    """Have a node not have said in time that it is there."""
    tamper(store, update(nodes).where(nodes.c.name == name).values(until=1))


class NodesContract:
    def test_a_node_alone_tells_all_and_leads(self, store: Store) -> None:
        made = [replace(told.endpoint(store), node="a") for _ in range(3)]

        assert stay(store, "a") == stay(store, "a") == Turn(made, 0, True, 3)

    def test_it_hears_of_a_change_by_the_revision(self, store: Store) -> None:
        told.endpoint(store)
        before = stay(store, "a")

        store.endpoints.change(1, newest_only=True)

        after = stay(store, "a")
        assert after.revision == before.revision + 1 == store.deliveries.revision()
        assert after.endpoints[0].newest_only

    def test_only_those_are_told_that_may_be(self, store: Store) -> None:
        for _ in range(4):
            told.endpoint(store)
        store.endpoints.set_state(1, "paused")
        store.endpoints.set_state(2, "disabled")
        store.endpoints.remove(3)

        assert numbers(stay(store, "a")) == [4]

        store.endpoints.set_state(2, "active")
        assert [(each.id, each.state) for each in stay(store, "a").endpoints] == [
            (2, "probing"),
            (4, "active"),
        ]

    def test_what_a_node_leaves_another_takes(self, store: Store) -> None:
        told.endpoint(store)
        stay(store, "a")

        store.tellers.leave("a")

        assert numbers(stay(store, "b")) == [1]
        assert stay(store, "b").leads

    def test_those_who_come_later_wait_until_something_is_given_up(
        self, store: Store, another: Store
    ) -> None:
        for _ in range(5):
            told.endpoint(store)
        assert numbers(stay(store, "a")) == [1, 2, 3, 4, 5]
        if not store.nodes:
            # Only one process tells what is in a file: who comes then has taken its place.
            assert numbers(stay(another, "b")) == [1, 2, 3, 4, 5]
            return

        assert stay(another, "b") == Turn([], 0, False, 5)
        turn = stay(store, "a")
        assert (numbers(turn), turn.surplus, turn.leads) == ([1, 2, 3, 4, 5], 2, True)
        store.tellers.give_up("a", {4, 5})
        assert numbers(stay(another, "b")) == [4, 5]
        turn = stay(store, "a")
        assert (numbers(turn), turn.surplus) == ([1, 2, 3], 0)

    def test_nothing_is_given_up_that_is_anothers(self, store: Store) -> None:
        told.endpoint(store)
        stay(store, "a")

        store.tellers.give_up("b", {1})

        assert numbers(stay(store, "a")) == [1]

    def test_what_a_node_tells_that_is_gone_is_free(self, store: Store, another: Store) -> None:
        for _ in range(2):
            told.endpoint(store)
        stay(store, "a")
        expire(store, "a")

        assert stay(another, "b") == Turn(store.endpoints.endpoints(), 0, True, 2)
        if store.nodes:
            turn = stay(store, "a")
            assert (numbers(turn), turn.leads) == ([], True)

    def test_a_node_that_was_late_goes_on_if_nobody_took_its_place(self, store: Store) -> None:
        told.endpoint(store)
        stay(store, "a")
        expire(store, "a")

        assert stay(store, "a") == Turn(store.endpoints.endpoints(), 0, True, 1)

    def test_those_that_nobody_is_told_at_are_no_ones_share(
        self, store: Store, another: Store
    ) -> None:
        for _ in range(6):
            told.endpoint(store)
        stay(store, "a")
        for number in (1, 2, 3, 4):
            store.endpoints.set_state(number, "paused")
        if not store.nodes:
            return

        stay(another, "b")

        turn = stay(store, "a")
        assert (numbers(turn), turn.surplus) == ([5, 6], 1)
