"""Folding every item again from the log: the proof that items are nothing but their signals.

Whose they are may be registered instead.
"""

import operator
from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby
from typing import Any, Final

from msgspec import Struct, structs
from sqlalchemy import Column, Connection, Select, Table, delete, exists, func, insert, select

from cloudsignal.protocol.items import Item
from cloudsignal.protocol.wire import reread
from cloudsignal.server.store import facts
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.log import Folded
from cloudsignal.server.store.progress import Progress, silent
from cloudsignal.server.store.schema import items, orders, parcels, signals, states

BATCH: Final = 500
"""How many items are folded in one transaction: few enough not to keep the server waiting."""

Between = Callable[[Select[Any], Column[int]], Select[Any]]
"""A statement, restricted to the items of a batch by the column that has their numbers."""


class Rebuilt(Struct, frozen=True):
    """What a rebuild found: how many signals and items there are, and how many items differed.

    ``left`` says how many items were left as they are, because the log no longer has their beginning.
    """

    signals: int = 0
    items: int = 0
    differed: int = 0
    left: int = 0


def rebuild(database: Database, *, mend: bool = True, progress: Progress = silent) -> Rebuilt:
    """Fold every item again; what differs is put right, or only counted if it is not to mend.

    May raise StoreUnavailable.
    """
    with database.reading() as connection:
        total = connection.scalar(_whole(select(func.count()), facts.pruned(connection))) or 0
        # Items that begin later are not waited for: on a busy store there would be no end.
        until = connection.scalar(select(func.max(signals.c.position))) or 0
    done = Rebuilt()
    after = 0
    while after < until:
        # Only who mends has to keep the server waiting.
        with database.writing() if mend else database.reading() as connection:
            # An item is numbered by its first signal: up to there none is whole in the log any more.
            after = max(after, facts.pruned(connection))
            numbers = _numbers(connection, after, until)
            last = numbers[-1] if len(numbers) == BATCH else until
            more = _rebuild(connection, after, last, mend=mend)
        done = Rebuilt(
            done.signals + more.signals, done.items + more.items, done.differed + more.differed
        )
        progress(done.signals, max(total, done.signals))
        after = last
    with database.writing() if mend else database.reading() as connection:
        unfounded = _unfounded(connection, until, mend=mend)
    return structs.replace(done, differed=done.differed + len(unfounded), left=_left(database))


def _whole(statement: Select[Any], after: int) -> Select[Any]:
    return statement.select_from(signals).where(signals.c.item > after)


def _numbers(connection: Connection, after: int, until: int) -> list[int]:
    number = signals.c.item
    chosen = _whole(select(number).distinct(), after).where(number <= until)
    return list(connection.scalars(chosen.order_by(number).limit(BATCH)))


def _unfounded(connection: Connection, after: int, *, mend: bool) -> set[int]:
    """The numbers beyond one for which there is anything but a signal; removed, if so asked."""
    found: set[int] = set()
    for table, number in ((items, items.c.id), (states, states.c.item), (parcels, parcels.c.item)):
        nowhere = number > after, ~exists().where(signals.c.item == number)
        found |= set(connection.scalars(select(number).where(*nowhere)))
        if mend:
            connection.execute(delete(table).where(*nowhere))
    return found


def _left(database: Database) -> int:
    with database.reading() as connection:
        begun_before = items.c.id <= facts.pruned(connection)
        return connection.scalar(select(func.count()).select_from(items).where(begun_before)) or 0


def _rebuild(connection: Connection, after: int, last: int, *, mend: bool) -> Rebuilt:
    """Look at the items with numbers beyond ``after``, up to ``last``."""
    logged = connection.execute(_between(_LOG, signals.c.item, after, last)).all()
    folded = [_fold(number, rows) for number, rows in groupby(logged, lambda row: row.item)]
    _give(connection, folded)
    put = partial(_put, connection, partial(_between, after=after, last=last), mend=mend)
    tracked = {(parcel.tracking, each.number) for each in folded for parcel in each.item.parcels}
    differing = {
        *put(items, items.c.id, {each.row() for each in folded}),
        *put(states, states.c.item, {each.state() for each in folded}),
        *put(parcels, parcels.c.item, tracked),
    }
    return Rebuilt(len(logged), len(folded), len(differing))


_LOG: Final = select(signals).order_by(signals.c.item, signals.c.position)


def _between(statement: Select[Any], number: Any, after: int, last: int) -> Select[Any]:
    return statement.where(number > after, number <= last)


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


def _give(connection: Connection, folded: list[Folded]) -> None:
    """Items of an order that is registered for a print partner are that one's, whoever reported them."""
    ids = {each.key[0] for each in folded}
    named = select(orders.c.order, orders.c.partner).where(orders.c.order.in_(ids))
    partners = {row.order: row.partner for row in connection.execute(named)}
    for each in folded:
        each.partner = partners.get(each.key[0]) or each.partner


def _put(
    connection: Connection,
    between: Between,
    table: Table,
    number: Column[int],
    wanted: set[Any],
    *,
    mend: bool,
) -> set[int]:
    """Put the rows of a table right, if so asked: the numbers of the items in which they differed."""
    stored = {tuple(row) for row in connection.execute(between(select(table), number))}
    missing, wrong = wanted - stored, stored - wanted
    if mend:
        wrong = _mend(connection, table, missing, wrong)
    place = list(table.columns).index(number)
    return {row[place] for row in (*wrong, *missing)}


def _mend(connection: Connection, table: Table, missing: set[Any], wrong: set[Any]) -> set[Any]:
    """Write what is missing instead of what is wrong: those of the wrong ones that were still there."""
    if table is items:
        for _, order, item, _ in missing:
            # It may stand under another number, and is there once.
            connection.execute(delete(items).where(items.c.order == order, items.c.item == item))
    removed = {
        row
        for row in wrong
        if connection.execute(delete(table).where(*map(operator.eq, table.columns, row))).rowcount
    }
    for row in missing:
        connection.execute(insert(table).values(row))
    return removed
