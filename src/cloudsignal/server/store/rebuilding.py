"""Folding every item again from the log: the proof that items are nothing but their signals."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Connection, Select, and_, delete, func, insert, or_, select

from cloudsignal.protocol.items import Item
from cloudsignal.protocol.wire import reread
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.log import Folded
from cloudsignal.server.store.schema import items, parcels, signals

BATCH: Final = 500
"""How many items are folded in one transaction: few enough not to keep the server waiting."""

Progress = Callable[[int, int], None]
"""Told how many signals of how many are done."""


class Rebuilt(Struct, frozen=True):
    """What a rebuild found: how many signals and items there are, and how many items differed."""

    signals: int = 0
    items: int = 0
    differed: int = 0


def silent(done: int, total: int) -> None:
    """A progress that nobody watches."""


def rebuild(database: Database, *, progress: Progress = silent) -> Rebuilt:
    """Fold every item again; what differs is put right. May raise StoreUnavailable."""
    with database.reading() as connection:
        total = connection.scalar(select(func.count()).select_from(signals)) or 0
    done = Rebuilt()
    after = 0
    while True:
        with database.writing() as connection:
            numbers = _numbers(connection, after)
            last = numbers[-1] if len(numbers) == BATCH else None
            more = _rebuild(connection, after, last)
        done = Rebuilt(
            done.signals + more.signals, done.items + more.items, done.differed + more.differed
        )
        progress(done.signals, max(total, done.signals))
        if last is None:
            return done
        after = last


def _numbers(connection: Connection, after: int) -> list[int]:
    number = signals.c.item
    statement = select(number).distinct().where(number > after).order_by(number).limit(BATCH)
    return list(connection.scalars(statement))


def _rebuild(connection: Connection, after: int, last: int | None) -> Rebuilt:
    """Put right the items with numbers beyond ``after``, up to ``last``."""
    logged = connection.execute(_between(_LOG, signals.c.item, after, last)).all()
    wanted_items: dict[int, Any] = {}
    wanted_parcels: set[Any] = set()
    for number, rows in groupby(logged, lambda row: row.item):
        folded = _fold(number, rows)
        wanted_items[number] = folded.row()
        wanted_parcels |= {(parcel.tracking, number) for parcel in folded.item.parcels}
    differed = _put_items(connection, wanted_items, after, last)
    _put_parcels(connection, wanted_parcels, after, last)
    return Rebuilt(len(logged), len(wanted_items), differed)


_LOG: Final = select(signals).order_by(signals.c.item, signals.c.position)


def _between(statement: Select[Any], number: Any, after: int, last: int | None) -> Select[Any]:
    statement = statement.where(number > after)
    return statement if last is None else statement.where(number <= last)


def _fold(number: int, rows: Iterable[Any]) -> Folded:
    folded: Folded | None = None
    for row in rows:
        report = reread(row.body.encode(), row.datetime, row.fingerprint)
        if folded is None:
            key = (report.signal.order, report.signal.item)
            folded = Folded(key, row.partner, Item(), number)
        folded.merge(report, received=row.received, test=row.test)
        folded.stand(row.position)
    assert folded is not None, "a group has a row"
    return folded


def _put_items(connection: Connection, wanted: dict[int, Any], after: int, last: int | None) -> int:
    rows = connection.execute(_between(select(items), items.c.id, after, last))
    stored = {row.id: tuple(row) for row in rows}
    wrong = [number for number, row in wanted.items() if stored.get(number) != row]
    for number in wrong:
        # Also when it stands under another number: an item is there once.
        _, order, item, *_ = wanted[number]
        same = and_(items.c.order == order, items.c.item == item)
        connection.execute(delete(items).where(or_(items.c.id == number, same)))
    extra = 0
    for number in stored.keys() - wanted.keys():
        extra += connection.execute(delete(items).where(items.c.id == number)).rowcount
    for number in wrong:
        connection.execute(insert(items).values(wanted[number]))
    return len(wrong) + extra


def _put_parcels(connection: Connection, wanted: set[Any], after: int, last: int | None) -> None:
    rows = connection.execute(_between(select(parcels), parcels.c.item, after, last))
    stored = {tuple(row) for row in rows}
    for row in stored - wanted:
        same = (column == value for column, value in zip(parcels.columns, row, strict=True))
        connection.execute(delete(parcels).where(*same))
    for row in wanted - stored:
        connection.execute(insert(parcels).values(row))
