"""What copying a store promises, from any store to any other."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from msgspec.structs import asdict
from sqlalchemy import delete, insert, update

from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.stalling import Rule, Standing
from cloudsignal.server.store import batches
from cloudsignal.server.store.alerts import Stalled
from cloudsignal.server.store.copying import Copied
from cloudsignal.server.store.deliveries import Progress
from cloudsignal.server.store.errors import CopyDiffers, StoreUnusable
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.posts import Count, Gathered
from cloudsignal.server.store.schema import attempts as attempts_table
from cloudsignal.server.store.schema import (
    items,
    metadata,
    parcels,
    signals,
)
from cloudsignal.server.store.sessions import Session
from cloudsignal.server.store.store import Store, copy_store, open_store
from tests.server.arrivals import MINUTE, NOON, appending, arrival, receipt, report
from tests.server.store import told
from tests.server.store.alerts_contract import MAIL, made
from tests.server.store.contract import furnish
from tests.server.store.posts_contract import refused
from tests.server.store.rebuilding_contract import rows, tamper

COUNT = 20


class Interrupted(Exception):
    """What a test stops a run with."""


def fill(store: Store, start: int = 0, count: int = COUNT) -> None:
    """Signals of items that come again and again, some of them shipped and some of them tests."""
    for number in range(start, start + count):
        type = "ItemShipped" if number % 3 == 0 else "ItemProduce"
        own = report(type, item=f"ü {number % 7}", minute=number % 60, message=f"m {number}")
        received = NOON + number * MINUTE
        store.append([arrival(own, received=received, test=number % 2 == 0)])


def register(store: Store, *ids: str, **values: Any) -> None:
    """Register orders for an owner."""
    if not store.orders.owners():
        store.orders.create_owner("Books", now=6)
    store.orders.register([Registration(each, "Books", **values) for each in ids], now=7)


def content(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every table of a store."""
    with closing(open_store(url)) as store:
        return {name: rows(store, table) for name, table in metadata.tables.items()}


def assert_unfinished(url: str) -> None:
    """Nothing but copying opens it."""
    with pytest.raises(StoreUnusable, match=r"is an unfinished copy of .* store copy again"):
        open_store(url)


class CopyingContract:
    """A kind of source and target gives the fixtures ``source`` and ``target``: URLs.

    There is a furnished store behind the first, and nothing behind the second.
    """

    @pytest.fixture
    def store(self, source: str) -> Iterator[Store]:
        with closing(open_store(source)) as store:
            fill(store)
            yield store

    # ---- a copy ----

    def test_a_copy_is_like_its_source_in_every_table(
        self, store: Store, source: str, target: str
    ) -> None:
        store.access.create_token("a reader", "reader", "digest", now=4)
        store.access.agree_on_secret_check("known by this")
        store.cursors.advance("a reader", 5)
        register(store, "7", partner_name="Beta", due=NOON, items={"1": "first", "2": "second"})
        while not store.rollups.step().is_idle:
            pass
        register(store, "7", reference="otherwise")
        store.orders.add_owner_key("Books", "a key", expires=8, now=8)
        user = store.users.create("Ada", "admin", now=4)
        store.users.invite(user.id, "a link", ends=NOON)
        store.sessions.begin(Session("a session", user.id, 6, 6, NOON, "192.0.2.7", "a browser"))
        store.filters.save(user.id, "items", "late ones", "delayed=yes")
        number = told.endpoint(store).id
        progress = Progress(noted=[told.noted(number)], attempted=[told.attempted(number)] * 2)
        store.deliveries.note(progress, now=9)
        store.posts.add(
            Gathered(
                {(0, 1, "accepted"): Count(1, 5)},
                {(0, "192.0.2.7", "unknown_key"): Count(1, 5)},
                [refused(), refused()],
            )
        )
        store.calendars.set("Beta", Calendar("Europe/Berlin"))
        store.alerts.set_rule(None, "producing", Rule(9))
        store.alert_messages.set_way(MAIL)
        producing = Standing(2, "producing", 9)
        store.alerts.note(raised=[Stalled(item, producing, 9) for item in (1, 2)], now=9)
        assert made(store, limit=1)

        copied = copy_store(source, target)

        assert content(target) == content(source)
        assert copied.log == store.digest()
        assert copied == Copied(
            log=store.digest(),
            rows={
                "partners": 2,
                "interfaces": 3,
                "apikeys": 3,
                "tokens": 1,
                "owners": 1,
                "owner_keys": 1,
                "endpoints": 1,
                "users": 1,
                "invitations": 1,
                "sessions": 1,
                "filters": 1,
                "changes": 15,
                "calendars": 1,
                "alert_rules": 1,
                "alert_ways": 1,
                "cursors": 3,
                "facts": 8,
                "orders": 1,
                "order_items": 2,
                "items": 7,
                "states": 7,
                "parcels": 7,
                "deliveries": 1,
                "attempts": 2,
                "rollups": 52,
                "counted_items": 7,
                "counted_orders": 1,
                "recounts": 1,
                "posts": 1,
                "uses": 1,
                "strangers": 1,
                "refusals": 2,
                "alerts": 2,
                "alert_news": 1,
                "alert_messages": 1,
            },
        )

    def test_a_copy_is_a_store_to_work_with(self, store: Store, source: str, target: str) -> None:
        copy_store(source, target)

        with closing(open_store(target)) as copy:
            [repeat, new] = copy.append(
                [
                    arrival(report("ItemShipped", item="ü 0", minute=0, message="m 0")),
                    arrival(report(item="new")),
                ]
            )
            assert (receipt(repeat).accepted, receipt(repeat).position) == (0, 1)
            assert receipt(new).position == COUNT + 1
            partner = copy.access.create_partner("Gamma", now=5)
            made = copy.access.create_interface(
                partner, "d", timezone="UTC", allow=(), test=False, now=6
            )
            assert (partner.id, made.id) == (3, 4)
            assert copy.rebuild().differed == 0

    def test_it_tells_how_far_it_is(
        self, store: Store, source: str, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batches, "ROWS", 3)
        told: list[tuple[str, int, int]] = []

        copy_store(source, target, progress=lambda *step: told.append(step))

        last = {step: (done, total) for step, done, total in told}
        assert last["signals copied"] == last["copy compared"] == (COUNT, COUNT)
        assert last["items copied"] == last["states copied"] == (7, 7)
        assert all(done <= total for _, done, total in told)

    def test_a_pruned_source_is_copied_as_it_is(
        self, store: Store, source: str, target: str
    ) -> None:
        store.prune(NOON + 9 * MINUTE)

        copy_store(source, target)

        assert content(target) == content(source)
        with closing(open_store(target)) as copy:
            assert copy.rebuild() == store.rebuild()
            assert copy.digest().first == 10

    # ---- again ----

    def test_what_came_since_is_copied_by_the_next_run(
        self, store: Store, source: str, target: str
    ) -> None:
        copy_store(source, target)
        fill(store, COUNT)
        store.access.create_partner("Gamma", now=9)
        store.access.revoke(1, now=9)

        copied = copy_store(source, target)

        assert copied.log.signals == 2 * COUNT
        assert content(target) == content(source)
        assert copy_store(source, target) == copied
        assert content(target) == content(source)

    def test_what_was_pruned_since_is_pruned_from_the_copy(
        self, store: Store, source: str, target: str
    ) -> None:
        copy_store(source, target)
        fill(store, COUNT)
        store.prune(NOON + 9 * MINUTE)

        copy_store(source, target)

        assert content(target) == content(source)

    @pytest.mark.parametrize("size", [3, 1000])
    def test_it_may_be_interrupted_at_any_step(
        self,
        store: Store,
        source: str,
        target: str,
        monkeypatch: pytest.MonkeyPatch,
        size: int,
    ) -> None:
        monkeypatch.setattr(batches, "ROWS", size)
        reached: list[tuple[str, int]] = []

        def interrupt(step: str, done: int, total: int) -> None:
            if (step, done) not in reached and step != "signals compared":
                reached.append((step, done))
                raise Interrupted

        for _ in range(100):
            try:
                copy_store(source, target, progress=interrupt)
            except Interrupted:
                assert_unfinished(target)
                fill(store, COUNT + len(reached), 1)
            else:
                break

        assert {step for step, _ in reached} == {
            "signals copied",
            "items copied",
            "states copied",
            "parcels copied",
            "copy compared",
        }
        assert content(target) == content(source)

    def test_the_source_may_change_meanwhile(
        self, store: Store, source: str, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batches, "ROWS", 5)

        with appending(store, lambda number: arrival(report(item=f"new {number}"))):
            copied = copy_store(source, target)

        # It is what the source was at one moment, whole.
        assert copied.log.signals > COUNT
        with closing(open_store(target)) as copy:
            assert copy.rebuild().differed == 0
        copy_store(source, target)
        assert content(target) == content(source)

    # ---- what is refused ----

    def refused(self, source: str, target: str, words: str) -> None:
        """Copying is refused with these words, and changes nothing."""
        with closing(open_store(target)):
            before = content(target)
        with pytest.raises(StoreUnusable, match=words):
            copy_store(source, target)
        assert content(target) == before

    def test_another_store_is_left_alone(self, store: Store, source: str, target: str) -> None:
        with closing(open_store(target)) as other:
            furnish(other)
        self.refused(source, target, "holds something else than a copy of")
        with closing(open_store(target)) as other:
            fill(other)
        self.refused(source, target, "holds something else than a copy of")

    def test_a_copy_that_went_its_own_way_is_left_alone(
        self, store: Store, source: str, target: str
    ) -> None:
        copy_store(source, target)
        with closing(open_store(target)) as copy:
            copy.append([arrival(report(item="its own"))])
        self.refused(source, target, "holds signals that are not, or no longer, in")

        fill(store, COUNT)

        self.refused(source, target, "holds signals that are not, or no longer, in")

    @pytest.mark.parametrize(
        "change",
        [
            update(signals).where(signals.c.position == 3).values(test=True),
            delete(signals).where(signals.c.position == 3),
            delete(signals).where(signals.c.position == 1),
        ],
        ids=str,
    )
    def test_a_copy_whose_log_was_changed_is_left_alone(
        self, store: Store, source: str, target: str, change: Any
    ) -> None:
        tamper(store, update(signals).values(test=False))
        copy_store(source, target)
        with closing(open_store(target)) as copy:
            tamper(copy, change)

        self.refused(source, target, "holds signals that are not, or no longer, in")

    def test_a_copy_that_was_pruned_by_itself_is_left_alone(
        self, store: Store, source: str, target: str
    ) -> None:
        copy_store(source, target)
        with closing(open_store(target)) as copy:
            copy.prune(NOON + 9 * MINUTE)

        self.refused(source, target, "holds signals that are not, or no longer, in")

    def test_a_copy_in_which_it_was_changed_who_may_speak_is_left_alone(
        self, store: Store, source: str, target: str
    ) -> None:
        copy_store(source, target)
        with closing(open_store(target)) as copy:
            copy.access.create_partner("its own", now=7)

        self.refused(source, target, "who may speak was changed in")

    def test_a_copy_in_which_orders_were_registered_is_left_alone(
        self, store: Store, source: str, target: str
    ) -> None:
        copy_store(source, target)
        with closing(open_store(target)) as copy:
            register(copy, "its own")

        self.refused(source, target, "owners or orders were changed in")

    def test_a_copy_is_brought_up_to_date_with_what_is_registered(
        self, store: Store, source: str, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batches, "ROWS", 3)
        register(store, *"abcde", items={str(number): None for number in range(4)})
        copy_store(source, target)
        register(store, "7", "d", partner_name="Beta", items={"1": "first", "9": None})

        copy_store(source, target)

        assert content(target) == content(source)
        assert {row[3] for row in content(target)["items"]} == {2}

    def test_what_became_of_deliveries_since_is_copied_again_and_again(
        self, store: Store, source: str, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batches, "ROWS", 2)
        endpoint = told.endpoint(store)

        def note(**progress: Any) -> None:
            store.deliveries.note(Progress(**progress), now=9)

        def attempts(*instants: int) -> list[Any]:
            return [told.attempted(1, at=each) for each in instants]

        note(noted=[told.noted(1, each) for each in "abc"], attempted=attempts(30, 10, 40, 10))
        changes: list[Callable[[], object]] = [
            lambda: None,
            lambda: note(done=[(1, "a")], noted=[told.noted(1, "b", state="dead")]),
            lambda: note(attempted=attempts(50, 60, 70), positions={endpoint.id: 7}),
            # Numbered after what is younger, as they were longer under way.
            lambda: store.delivery_log.forget(20),
            lambda: store.delivery_log.forget(35),
            lambda: tamper(
                store,
                insert(attempts_table).values(asdict(attempts(45)[0]) | {"id": 2, "headers": "[]"}),
            ),
            lambda: told.endpoint(store),
            lambda: store.endpoints.remove(1),
            lambda: store.delivery_log.forget(99),
        ]
        for change in changes:
            change()
            copy_store(source, target)
            assert content(target) == content(source)

        with closing(open_store(target)) as copy:
            copy.deliveries.note(Progress(attempted=attempts(99)), now=9)
            assert told.endpoint(copy).id == 3
            assert copy.tellers.stay("its own", lease_s=9).surplus == 0

    def test_an_unfinished_copy_of_another_store_is_left_alone(
        self, store: Store, source: str, target: str, other: str
    ) -> None:
        def interrupt(step: str, done: int, total: int) -> None:
            raise Interrupted

        with pytest.raises(Interrupted):
            copy_store(source, target, progress=interrupt)

        with pytest.raises(StoreUnusable, match=r"is an unfinished copy of .*: go on with that"):
            copy_store(other, target)
        with pytest.raises(StoreUnusable, match="run cloudsignal store copy again"):
            copy_store(target, other)
        copy_store(source, target)
        assert content(target) == content(source)

    def test_a_target_that_somebody_writes_to_is_left(
        self, store: Store, source: str, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batches, "ROWS", 5)
        with closing(open_store(target)) as copy:

            def append(step: str, done: int, total: int) -> None:
                copy.append([arrival(report(item=f"its own {done}"))])

            with pytest.raises(StoreUnusable, match=r"another program writes to .*: end it"):
                copy_store(source, target, progress=append)

    def test_a_store_is_not_copied_onto_itself(self, store: Store, source: str) -> None:
        with pytest.raises(StoreUnusable, match="are one store"):
            copy_store(source, source)
        # What tells it from other stores is noted by the first try.
        self.refused(source, source, "are one store")

    def test_there_is_nothing_to_copy_in_an_empty_store(self, source: str, target: str) -> None:
        open_store(target).close()

        with pytest.raises(StoreUnusable, match=r"nothing to copy in .*: is it the right one"):
            copy_store(target, source)

    # ---- what differs ----

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (insert(parcels).values(tracking="its own", item=1), "8 parcels instead of 7"),
            (delete(items).where(items.c.id == 2), "6 items instead of 7"),
        ],
        ids=["a parcel", "an item"],
    )
    def test_a_difference_is_told_and_the_copy_stays_marked(
        self, store: Store, source: str, target: str, change: Any, words: str
    ) -> None:
        copy_store(source, target)
        with closing(open_store(target)) as copy:
            tamper(copy, change)

        for _ in range(2):
            with pytest.raises(CopyDiffers, match=f"it has {words}; copy into an empty database"):
                copy_store(source, target)
            assert_unfinished(target)
