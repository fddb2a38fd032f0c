"""Folding every item again from the log: the proof that items are nothing but their signals."""

import operator
from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Column, Connection, Select, Table, delete, func, insert, select

from cloudsignal.protocol.items import Item
from cloudsignal.protocol.wire import reread
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.log import Folded
from cloudsignal.server.store.schema import items, parcels, signals, states

BATCH: Final = 500
"""How many items are folded in one transaction: few enough not to keep the server waiting."""

Between = Callable[[Select[Any], Column[int]], Select[Any]]
"""A statement, restricted to the items of a batch by the column that has their numbers."""
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
    folded = [_fold(number, rows) for number, rows in groupby(logged, lambda row: row.item)]
    between = partial(_between, after=after, last=last)
    differing = {
        *_put(connection, between, items, items.c.id, {each.row() for each in folded}),
        *_put(connection, between, states, states.c.item, {each.state() for each in folded}),
    }
    wanted = {(parcel.tracking, each.number) for each in folded for parcel in each.item.parcels}
    _put(connection, between, parcels, parcels.c.item, wanted)
    return Rebuilt(len(logged), len(folded), len(differing))


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


def _put(
    connection: Connection, between: Between, table: Table, number: Column[int], wanted: set[Any]
) -> set[int]:
    """Put the rows of a table right: the numbers of the items in which they differed."""
    stored = {tuple(row) for row in connection.execute(between(select(table), number))}
    missing = wanted - stored
    if table is items:
        for _, order, item, _ in missing:
            # It may stand under another number, and is there once.
            connection.execute(delete(items).where(items.c.order == order, items.c.item == item))
    wrong = [
        row
        for row in stored - wanted
        if connection.execute(delete(table).where(*map(operator.eq, table.columns, row))).rowcount
    ]
    for row in missing:
        connection.execute(insert(table).values(row))
    place = list(table.columns).index(number)
    return {row[place] for row in (*wrong, *missing)}
