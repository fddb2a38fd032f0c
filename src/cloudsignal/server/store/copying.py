"""Copying a store to another database, of the same kind or not, in steps that may be interrupted.

The source is read as it is at one moment. While the target is not complete it has a mark, and nothing
but copying opens it.
"""

import secrets
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, Table, delete, func, insert, select

from cloudsignal.server.store import facts, pruning
from cloudsignal.server.store.batches import batches
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.digest import Digest, LogDigest, beyond, count
from cloudsignal.server.store.errors import CopyDiffers, StoreUnusable
from cloudsignal.server.store.log import Changes, Writer
from cloudsignal.server.store.orders import Rows as OrderRows
from cloudsignal.server.store.orders import give_items
from cloudsignal.server.store.progress import Steps, silent
from cloudsignal.server.store.schema import (
    alert_messages,
    alert_news,
    alert_rules,
    alert_ways,
    alerts,
    apikeys,
    attempts,
    calendars,
    changes,
    counted_items,
    counted_orders,
    cursors,
    deliveries,
    endpoints,
    filters,
    interfaces,
    invitations,
    items,
    order_items,
    orders,
    owner_keys,
    owners,
    parcels,
    partners,
    posts,
    recounts,
    refusals,
    rollups,
    sessions,
    signals,
    states,
    strangers,
    tokens,
    users,
    uses,
)
from cloudsignal.server.store.schema import facts as facts_table

Rows = Sequence[Any]
"""Rows in the order of their columns."""

SMALL: Final = (
    partners,
    interfaces,
    apikeys,
    tokens,
    owners,
    owner_keys,
    endpoints,
    users,
    invitations,
    sessions,
    filters,
    changes,
    calendars,
    alert_rules,
    alert_ways,
    cursors,
    facts_table,
)
"""The tables that are replaced whole by every run: each refers only to those before it."""
NUMBERED: Final = (partners, interfaces, owners, endpoints, users, filters, changes)
"""Those whose rows get their numbers from the database."""
REGISTERED: Final = (orders, order_items)
FOLDED: Final = (items, states, parcels)
TOLD: Final = (deliveries, attempts)
COUNTED: Final = (rollups, counted_items, counted_orders, recounts)
"""What is counted, together with the cursor that says how far."""
CAME: Final = (posts, uses, strangers, refusals)
ALERTED: Final = (alerts, alert_news, alert_messages)
"""What was raised, and what is told of it; its rows get their numbers from the database."""


class Copied(Struct, frozen=True):
    """What a copy holds: its log, and how many rows each other table has."""

    log: Digest
    rows: dict[str, int]


def copy(source: Database, target: Database, *, progress: Steps = silent) -> Copied:
    """Copy everything, or what is not there yet, and compare.

    Raises StoreUnusable when the target holds something else, which is left alone; CopyDiffers when
    what was copied is not what was to be copied; StoreUnavailable.
    """
    identity = _identity(source)
    _check_target(source, target, identity)
    with source.reading() as origin, closing(target.backend.writer()) as writer:
        run = _Run(origin, target, writer, progress)
        source.settle(run.last)
        run.check_log(source.backend.shown)
        run.begin(source.backend.shown)
        run.signals()
        run.orders()
        run.items()
        run.states()
        run.parcels()
        run.told()
        run.counted()
        run.came()
        run.alerted()
        return run.end()


class _Run:
    """One run: the source at one moment, and the target."""

    def __init__(
        self, origin: Connection, target: Database, writer: Writer, progress: Steps
    ) -> None:
        self._origin = origin
        self._target = target
        self._writer = writer
        self._progress = progress
        # The log first: as long as this looks at it, nothing of it is dropped.
        self.last = _last(origin)
        self._pruned = facts.pruned(origin)
        self._ours = LogDigest(self._pruned)
        self._theirs = LogDigest(self._pruned)
        self._written = 0
        """The position of the target's newest signal."""
        self._states_until = 0
        """The item up to which the target's states are right."""

    def check_log(self, shown: str) -> None:
        """Make sure that the target's log is the beginning of the source's. Raises StoreUnusable."""
        with self._target.reading() as copied:
            last, pruned = _last(copied), facts.pruned(copied)
            total = 2 * count(copied, self._pruned, last)
            told = partial(self._progress, "signals compared")
            self._theirs.read(copied, until=last, progress=lambda done: told(done, total))
            there = self._theirs.signals
            self._ours.read(
                self._origin, until=last, progress=lambda done: told(there + done, total)
            )
        is_gap = 0 < last <= self._pruned
        if is_gap or pruned > self._pruned or self._ours.digest() != self._theirs.digest():
            raise StoreUnusable(
                f"{self._target.backend.shown} holds signals that are not, or no longer, in"
                f" {shown}: copy into an empty database"
            )
        self._written = last

    def begin(self, shown: str) -> None:
        """Mark the target, and replace the small tables."""
        with self._target.writing() as connection:
            for table in reversed(SMALL):
                connection.execute(delete(table))
            for table in SMALL:
                rows = [dict(row._mapping) for row in self._origin.execute(select(table))]
                if rows:
                    connection.execute(insert(table), rows)
            for table in NUMBERED:
                self._target.backend.number_on(connection, table.name)
            facts.note(connection, facts.COPYING, shown)
        # An earlier run may have copied what was pruned since.
        pruning.remove(self._target, self._pruned, pause=lambda _: None)

    def signals(self) -> None:
        """Append to the target's log what it does not have yet, at the same positions."""
        self._each("signals copied", beyond(self._ours.after, self.last), self._append)

    def _append(self, rows: Rows) -> None:
        with self._writer.transaction(alone=True):
            if self._writer.last_position() != self._written:
                raise StoreUnusable(
                    f"another program writes to {self._target.backend.shown}: end it, and copy into"
                    " an empty database"
                )
            self._writer.write(Changes(signals=rows))
        self._written = rows[-1].position
        self._ours.add(rows)

    def orders(self) -> None:
        """Put right what is registered, and whose the items are that were copied before."""
        by_id = select(orders).order_by(orders.c.order)
        self._each("orders copied", by_id, partial(self._put_registered, orders))
        by_id = select(order_items).order_by(order_items.c.order)
        self._each("order items copied", by_id, partial(self._put_registered, order_items))

    def _put_registered(self, table: Table, rows: Rows) -> None:
        ids = {row.order for row in rows}
        with self._target.writing() as connection:
            there = OrderRows(connection, table, ids)
            for row in rows:
                there.put(dict(row._mapping))
            there.write()
            give_items(connection, ids)

    def items(self) -> None:
        """Add the items that the target does not have yet."""
        with self._target.reading() as connection:
            after = connection.scalar(select(func.max(items.c.id))) or 0
        missing = select(items).where(items.c.id > after).order_by(items.c.id)
        self._each("items copied", missing, lambda rows: self._write(Changes(items=rows)))

    def states(self) -> None:
        """Put right how the items stand."""
        self._each("states copied", select(states).order_by(states.c.item), self._put_states)
        self._remove_states(states.c.item > self._states_until)

    def _put_states(self, rows: Rows) -> None:
        after, self._states_until = self._states_until, rows[-1].item
        missing = self._remove_stale(rows, after, self._states_until)
        if missing:
            self._write(Changes(states=missing))

    def _remove_stale(self, rows: Rows, after: int, last: int) -> Rows:
        """Remove states that are others between two items: those rows that have to be written."""
        between = states.c.item > after, states.c.item <= last
        with self._target.reading() as connection:
            there = {tuple(row) for row in connection.execute(select(states).where(*between))}
        wanted = {tuple(row) for row in rows}
        if stale := [row[0] for row in there - wanted]:
            self._remove_states(states.c.item.in_(stale))
        return [row for row in rows if tuple(row) not in there]

    def _remove_states(self, which: Any) -> None:
        with self._target.writing() as connection:
            connection.execute(delete(states).where(which))

    def parcels(self) -> None:
        """Add the parcels; those that are there are left."""
        self._each(
            "parcels copied", select(parcels), lambda rows: self._write(Changes(parcels=rows))
        )

    def told(self) -> None:
        """Replace what is noted of deliveries, and add the attempts that the target does not have yet."""
        with self._target.writing() as connection:
            connection.execute(delete(deliveries))
            first, last = self._origin.execute(_ENDS).one()
            connection.execute(delete(attempts).where(attempts.c.id < (first or 0)))
            after = min(connection.execute(_ENDS).one()[1] or 0, last or 0)
            there = attempts.c.id <= after
            if _rows(connection, attempts, there) != _rows(self._origin, attempts, there):
                # They are numbered before they are there, and forgotten by their age.
                after = 0
            connection.execute(delete(attempts).where(attempts.c.id > after))
        self._each("deliveries copied", select(deliveries), partial(self._insert, deliveries))
        missing = select(attempts).where(attempts.c.id > after).order_by(attempts.c.id)
        self._each("attempts copied", missing, partial(self._insert, attempts))
        with self._target.writing() as connection:
            self._target.backend.number_on(connection, attempts.name)

    def counted(self) -> None:
        """Replace what is counted of the log."""
        self._replace("counts copied", COUNTED)

    def came(self) -> None:
        """Replace what is noted of posts."""
        self._replace("posts copied", CAME)
        self._number(refusals)

    def alerted(self) -> None:
        """Replace what was raised, and what is told of it."""
        self._replace("alerts copied", ALERTED)
        for table in ALERTED:
            self._number(table)

    def _replace(self, step: str, tables: Sequence[Table]) -> None:
        for table in tables:
            with self._target.writing() as connection:
                connection.execute(delete(table))
            self._each(step, select(table), partial(self._insert, table))

    def _number(self, table: Table) -> None:
        with self._target.writing() as connection:
            self._target.backend.number_on(connection, table.name)

    def _insert(self, table: Table, rows: Rows) -> None:
        with self._target.writing() as connection:
            connection.execute(insert(table), [dict(row._mapping) for row in rows])

    def _write(self, changes: Changes) -> None:
        with self._writer.transaction(alone=True):
            self._writer.write(changes)

    def _each(self, step: str, statement: Select[Any], act: Callable[[Rows], None]) -> None:
        """Do something with every batch of the source's rows, and tell how far it is."""
        counted = select(func.count()).select_from(statement.order_by(None).subquery())
        total = self._origin.scalar(counted) or 0
        done = 0
        with batches(self._origin, statement) as found:
            for rows in found:
                act(rows)
                done += len(rows)
                self._progress(step, done, total)

    def end(self) -> Copied:
        """Compare, and take the mark away. Raises CopyDiffers."""
        with self._target.reading() as copied:
            last, before = _last(copied), self._theirs.signals
            total = count(copied, self._theirs.after, last)
            told = partial(self._progress, "copy compared")
            self._theirs.read(copied, until=last, progress=lambda done: told(done - before, total))
            there = _counted(copied)
        wanted = _counted(self._origin)
        # The mark is what the source does not have.
        wanted[facts_table.name] += 1
        differing = [
            f"{there[name]} {name} instead of {wanted[name]}"
            for name in wanted
            if there[name] != wanted[name]
        ]
        if self._ours.digest() != self._theirs.digest():
            differing.append("another log")
        if differing:
            raise CopyDiffers(
                f"the copy differs from its source: it has {', '.join(differing)}; copy into an"
                " empty database"
            )
        with self._target.writing() as connection:
            facts.forget(connection, facts.COPYING)
        there[facts_table.name] -= 1
        return Copied(self._theirs.digest(), there)


_ENDS: Final = select(func.min(attempts.c.id), func.max(attempts.c.id))


def _last(connection: Connection) -> int:
    return connection.scalar(select(func.max(signals.c.position))) or 0


def _counted(connection: Connection) -> dict[str, int]:
    """How many rows each table has but the log, whose digest says more."""
    return {table.name: _rows(connection, table) for table in _ALL}


_ALL: Final = (*SMALL, *REGISTERED, *FOLDED, *TOLD, *COUNTED, *CAME, *ALERTED)


def _rows(connection: Connection, table: Table, *which: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(table).where(*which)) or 0


# ---- which stores ----


def _identity(source: Database) -> str:
    """What tells the source and its copies from all others.

    Raises StoreUnusable when there is nothing to copy.
    """
    with source.writing() as connection:
        if not _rows(connection, partners) and not _rows(connection, owners):
            raise StoreUnusable(
                f"there is nothing to copy in {source.backend.shown}: is it the right one?"
            )
        return facts.identity(connection)


def _check_target(source: Database, target: Database, identity: str) -> None:
    """Make sure that the target is empty or a copy of the source. Raises StoreUnusable."""
    here, there = source.backend.shown, target.backend.shown
    with target.reading() as connection:
        of = facts.read(connection, facts.COPYING)
        is_copy = facts.read(connection, facts.IDENTITY) == identity
        is_empty = not any(_rows(connection, table) for table in _KEPT)
        revisions = {name: facts.number(connection, name) for name in _CHANGES}
    if not is_copy and of is not None:
        raise StoreUnusable(
            f"{there} is an unfinished copy of {of}: go on with that, or copy into an empty database"
        )
    if not is_copy and not is_empty:
        raise StoreUnusable(
            f"{there} holds something else than a copy of {here}: copy into an empty database"
        )
    if is_copy and of is None:
        _check_finished(source, target, revisions)


_KEPT: Final = (partners, tokens, owners, users, cursors, items)
"""An empty store has no rows in these. It may have facts: a server was perhaps started on it."""
_CHANGES: Final = {
    facts.REVISION: "who may speak was",
    facts.ORDERS_REVISION: "owners or orders were",
    facts.ENDPOINTS_REVISION: "endpoints were",
    facts.USERS_REVISION: "users were",
    facts.ALERTS_REVISION: "rules of alerts, or how they are told, were",
}
"""What is counted of changes, and what was changed then."""


def _check_finished(source: Database, target: Database, revisions: dict[str, int]) -> None:
    """Make sure that a finished copy is another store, and was not changed. Raises StoreUnusable."""
    if _is_same(source, target):
        raise StoreUnusable(f"{source.backend.shown} and {target.backend.shown} are one store")
    with source.reading() as connection:
        changed = [name for name in revisions if revisions[name] > facts.number(connection, name)]
    if changed:
        raise StoreUnusable(
            f"{_CHANGES[changed[0]]} changed in {target.backend.shown} since it was copied: copy into"
            " an empty database"
        )


def _is_same(source: Database, target: Database) -> bool:
    """Whether two URLs lead to one store: what is noted by the one is read by the other."""
    said = secrets.token_hex(16)
    with target.writing() as connection:
        facts.note(connection, facts.PROBE, said)
    with source.reading() as connection:
        is_same = facts.read(connection, facts.PROBE) == said
    with target.writing() as connection:
        facts.forget(connection, facts.PROBE)
    return is_same
