"""What people see of the telling of an item's signals: what is promised of it, on any store."""

from cloudsignal.server.store.deliveries import Progress
from cloudsignal.server.store.forwarding import Forwarded, Try
from cloudsignal.server.store.messages import of_order, of_signal
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.store import Store
from tests.server.arrivals import arrival, positions, report
from tests.server.store import told

STEPS = ("ItemRegistered", "ItemProduce", "ItemProduced", "ItemPacked", "ItemDelay")


def of_books(**values: object) -> Forwarded:
    given = {"endpoint": 1, "owner_name": "Books", "shown": "https://books.example/"}
    return Forwarded(**given | values)  # type: ignore[arg-type]


class ForwardingContract:
    def test_it_is_told_where_a_signal_was_forwarded_to_and_what_became_of_it(
        self, store: Store
    ) -> None:
        mine, _ = told.endpoint(store), told.endpoint(store, "Ink", shown="https://ink.example/")
        store.orders.register([Registration("7", "Books")], now=1)
        store.append([arrival(*(report(each, minute=n) for n, each in enumerate(STEPS)))])
        taken, waits, dead, discarded, _ = places = positions(store)
        message = {each: of_signal(store.identity(), each) for each in places}
        refused = [told.attempted(1, message[waits], id=n, attempt=n) for n in (1, 2)]
        store.deliveries.note(Progress(attempted=refused), now=9)
        well = {"status": 204, "error": "", "at": 11}
        ours = [told.attempted(1, message[taken], **well), told.attempted(1, message[discarded])]
        theirs = [told.attempted(2, message[taken], **well)]
        whole = [told.attempted(1, of_order(store.identity(), "CloudprinterOrderCanceled", "7"))]
        noted = [
            told.noted(1, message[waits], attempts=2, due=50, why="it answered 500"),
            told.noted(1, message[dead], state="dead", why="no"),
        ]
        store.deliveries.note(Progress(attempted=[*ours, *theirs, *whole], noted=noted), now=9)

        found = store.forwarding.of("7", places)

        is_taken, failed = Try(1, 11, 20, 204, ""), Try(1, 10, 20, 500, "it answered 500")
        again = Try(2, 10, 20, 500, "it answered 500")
        to_ink = {"endpoint": 2, "owner_name": "Ink", "shown": "https://ink.example/"}
        assert found == {
            taken: [
                of_books(state="delivered", tries=[is_taken]),
                of_books(**to_ink, state="delivered", tries=[is_taken]),
            ],
            waits: [of_books(state="waiting", due=50, why=noted[0].why, tries=[again, failed])],
            dead: [of_books(state="dead", why="no")],
            discarded: [of_books(state="failed", tries=[failed])],
        }
        assert store.forwarding.of("7", [taken]) == {taken: found[taken]}
        assert store.forwarding.of("7", places, owner="Ink") == {taken: found[taken][1:]}
        assert store.forwarding.of("7", places, owner="Books") == found | {taken: found[taken][:1]}
        assert store.forwarding.of("7", []) == {}
        store.endpoints.remove(mine.id)
        assert store.forwarding.of("7", [taken]) == {taken: found[taken]}

    def test_what_nobody_registered_is_forwarded_to_whom_that_is_for(self, store: Store) -> None:
        store.orders.create_owner("Books", unregistered=True, now=1)
        told.endpoint(store)
        store.append([arrival()])
        [place] = positions(store)
        noted = told.noted(1, of_signal(store.identity(), place), state="asked", due=0)
        store.deliveries.note(Progress(noted=[noted]), now=9)

        assert store.forwarding.of("7", [place]) == {place: [of_books(state="asked")]}

    def test_a_store_that_has_told_nobody_has_forwarded_nothing(self, store: Store) -> None:
        store.append([arrival()])

        assert store.forwarding.of("7", positions(store)) == {}
