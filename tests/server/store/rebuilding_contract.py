"""What folding all items again promises, on any store."""

from typing import Any

import pytest
from sqlalchemy import Table, delete, insert, select, update

from cloudsignal.server.store import rebuilding
from cloudsignal.server.store.log import Arrival
from cloudsignal.server.store.reading import ItemQuery
from cloudsignal.server.store.rebuilding import Rebuilt
from cloudsignal.server.store.schema import items, parcels, states
from cloudsignal.server.store.store import Store
from tests.server.arrivals import appending, arrival, report


def rows(store: Store, table: Table) -> list[tuple[Any, ...]]:
    """A table as it is, hidden columns and all."""
    with store._database.reading() as connection:
        return sorted(tuple(row) for row in connection.execute(select(table)))


def whole(store: Store) -> list[list[tuple[Any, ...]]]:
    """All that is folded from the log."""
    return [rows(store, table) for table in (items, states, parcels)]


def tamper(store: Store, *statements: Any) -> None:
    """Change behind the store's back what it folded."""
    with store._database.writing() as connection:
        for statement in statements:
            connection.execute(statement)


def fill(store: Store) -> None:
    store.append([arrival(report(item=name)) for name in "abc"])
    store.append([arrival(report("ItemShipped", item="b", tracking="T1", minute=5))])
    store.append([arrival(report("ItemShipped", item="b", tracking="T2", minute=6))])
    store.append([arrival(report("ItemDelay", item="c", minute=5, cause="jam"), partner=1)])


def of(name: str) -> Any:
    """Whether a state is that of the item of this name."""
    return states.c.item == select(items.c.id).where(items.c.item == name).scalar_subquery()


FAULTS = {
    "a state": ([update(states).where(of("a")).values(state="shipped")], 1),
    "a partner": ([update(items).where(items.c.item == "a").values(partner=2)], 1),
    "a flag": ([update(states).where(of("c")).values(delayed=False)], 1),
    "a position": ([update(states).values(position=states.c.position + 1)], 3),
    "the ids of two items": (
        [
            update(items).where(items.c.item == "a").values(item="x"),
            update(items).where(items.c.item == "b").values(item="a"),
            update(items).where(items.c.item == "x").values(item="b"),
        ],
        2,
    ),
    "a summary": ([update(states).where(of("c")).values(summary=b"\x90")], 1),
    "a missing item": ([delete(items).where(items.c.item == "b")], 1),
    "a missing state": ([delete(states).where(of("b"))], 1),
    "no items at all": ([delete(items)], 3),
    "no states at all": ([delete(states)], 3),
    "an item's number": ([update(items).where(items.c.item == "a").values(id=77)], 1),
    "an extra item": (
        [
            insert(items).values(id=99, order="7", item="z", partner=1),
            insert(states).values(
                item=99,
                state="packed",
                delayed=False,
                test=False,
                position=1,
                updated=1,
                summary=b"\x90",
            ),
        ],
        1,
    ),
    "a missing parcel": ([delete(parcels).where(parcels.c.tracking == "T1")], 1),
    "an extra parcel": ([insert(parcels).values(tracking="T9", item=1)], 1),
    "an extra parcel of no item": ([insert(parcels).values(tracking="T9", item=98)], 1),
}


class RebuildingContract:
    def test_an_empty_log_makes_no_items(self, store: Store) -> None:
        assert store.rebuild() == Rebuilt(signals=0, items=0, differed=0)

    def test_what_was_folded_signal_by_signal_does_not_differ(self, store: Store) -> None:
        fill(store)
        before = whole(store)

        assert store.rebuild() == Rebuilt(signals=6, items=3, differed=0)

        assert whole(store) == before

    @pytest.mark.parametrize("batch", [1, 2, 500])
    @pytest.mark.parametrize("fault", FAULTS)
    def test_whatever_is_wrong_is_put_right_and_counted(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, fault: str, batch: int
    ) -> None:
        monkeypatch.setattr(rebuilding, "BATCH", batch)
        fill(store)
        right = whole(store)
        statements, differing = FAULTS[fault]
        tamper(store, *statements)
        assert whole(store) != right

        rebuilt = store.rebuild()

        assert whole(store) == right
        assert rebuilt == Rebuilt(signals=6, items=3, differed=differing)
        assert store.rebuild().differed == 0

    @pytest.mark.parametrize("fault", FAULTS)
    def test_whatever_is_wrong_is_found_and_left_alone_where_nothing_is_to_be_mended(
        self, store: Store, fault: str
    ) -> None:
        fill(store)
        assert store.rebuild(mend=False) == Rebuilt(signals=6, items=3, differed=0)
        statements, differing = FAULTS[fault]
        tamper(store, *statements)
        before = whole(store)

        # An item that stands under a wrong number as well as not under its own may count twice.
        assert store.rebuild(mend=False).differed >= differing

        assert whole(store) == before

    def test_it_tells_how_far_it_is(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rebuilding, "BATCH", 2)
        fill(store)
        told: list[tuple[int, int]] = []

        store.rebuild(progress=lambda done, total: told.append((done, total)))

        assert [total for _, total in told] == [6] * len(told)
        done = [done for done, _ in told]
        assert done == sorted(set(done))
        assert done[-1] == 6

    def test_it_works_while_another_connection_appends(
        self, store: Store, another: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rebuilding, "BATCH", 2)
        store.append([arrival(report(item=f"old {number}")) for number in range(20)])
        tamper(store, update(states).values(state="packed"))

        def post(number: int) -> Arrival:
            old = report("ItemProduce", item=f"old {number % 20}", minute=number % 60)
            return arrival(report(item=f"new {number}"), old)

        with appending(another, post) as appended:
            store.rebuild()
            assert store.rebuild(mend=False).differed == 0

        assert store.rebuild().differed == 0
        assert len(store.reading.items(ItemQuery(limit=1_000_000))) == 20 + len(appended)
