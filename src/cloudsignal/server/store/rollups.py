"""Roll-ups: counts kept from the log, so that no page has to read it.

What is counted, and as what, is told by ``insight/counting.py``. An item is counted when the last of its
signals is passed; what it was counted as before stands beside it, and is taken back. The counts, what stands
beside the items and how far the log was passed change in one transaction, so each signal counts once, whoever
passes it, and whenever that is broken off. So does each order that waits to be counted again: it is taken from
those that wait in the same transaction.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct
from sqlalchemy import (
    Connection,
    Select,
    delete,
    false,
    func,
    insert,
    or_,
    select,
    true,
    tuple_,
    union,
    update,
)

from cloudsignal.protocol.units import DAY_S, SECOND_US
from cloudsignal.server.insight import counting
from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.counting import Count, Counted, Counts
from cloudsignal.server.store import calendars, facts
from cloudsignal.server.store.batches import add_all, put_all
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.log import decode_item
from cloudsignal.server.store.names import number_of
from cloudsignal.server.store.schema import (
    counted_items,
    counted_orders,
    cursors,
    interfaces,
    items,
    order_items,
    orders,
    partners,
    recounts,
    rollups,
    signals,
    states,
)

READER: Final = "rollups"
"""The name of the cursor."""
ALL: Final = 0
"""The print partner that stands for all of them together."""
SIGNALS_MAX: Final = 2_000
"""How many signals are passed in one step: few enough not to keep the server waiting."""
ANEW: Final = 0
"""The revision of orders that are counted again because everything is: none that was changed has it."""
RECOUNTS_MAX: Final = 100
"""How many orders are counted again in one step."""
RECOUNTED_ITEMS_MAX: Final = 2_000
"""How many items these have together, unless a single one has more."""
CLEARED_MAX: Final = 5_000
"""How many counts are forgotten, or orders made to wait, in one transaction when counting begins anew."""
BEHIND_US: Final = 60 * SECOND_US
"""How long signals may wait to be counted."""
SOME: Final = 1_000
"""How many counts are looked at by one statement."""
FINE_S: Final = 2 * DAY_S
"""For how long signals are counted by the minute."""

_encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_decode: Final = msgspec.msgpack.Decoder(list[tuple[str, int, str, int]]).decode


class Step(Struct, frozen=True):
    """What one step did: how many signals and orders it passed, and how many signals are left.

    ``again`` says that there is more to do at once: more orders wait, or it came to nothing.
    """

    signals: int
    orders: int
    left: int
    again: bool = False

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.signals or self.orders or self.again)


class Rollups:
    """The verbs of the roll-ups. Every one may raise StoreUnavailable."""

    NOTHING: Final = Step(0, 0, 0)
    """What a step did that had nothing to do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---- keeping ----

    def step(self, *, limit: int = SIGNALS_MAX) -> Step:
        """Count what came next in the log, and what was registered since.

        Should another be faster, nothing is done, and it is tried again with the next step.
        """
        with self._database.reading() as connection:
            begin, last = passed(connection) or 0, newest(connection)
            # Counting may have been broken off where it began anew.
            is_prepared = facts.read(connection, facts.COUNTING_ANEW) is None
            is_forgotten = is_prepared and _is_forgotten(connection)
            page = _Page(connection, begin, min(last, begin + limit)) if is_prepared else None
        if is_forgotten:
            self._have_anew()
        if page is None or is_forgotten:
            self._prepare()
            return Step(0, 0, last - begin, again=True)
        self._database.settle(page.end)
        if page.is_empty:
            return self.NOTHING
        try:
            with self._database.writing() as connection:
                page.write(connection)
        except _Overtaken:
            return Step(0, 0, last - page.begin, again=True)
        return Step(
            page.end - page.begin, len(page.recounts), last - page.end, again=page.more_wait
        )

    def behind(self) -> int:
        """How many signals are not counted yet."""
        with self._database.reading() as connection:
            return newest(connection) - (passed(connection) or 0)

    def waiting_since(self) -> int | None:
        """When the first signal arrived that is not counted yet; None if all are."""
        with self._database.reading() as connection:
            counted = passed(connection) or 0
            beyond = select(signals.c.received).where(signals.c.position > counted)
            return connection.scalar(beyond.order_by(signals.c.position).limit(1))

    def is_behind(self, now: int) -> bool:
        """Whether signals wait to be counted for so long that what is counted is not how items stand."""
        waiting = self.waiting_since()
        return waiting is not None and waiting < now - BEHIND_US

    def begin_anew(self) -> None:
        """Forget all counts but those of signals that are in the log no more, and count again from its beginning.

        Of the minute, the quarter and the day in which the log begins, only what is left of them is counted.
        Nothing is counted before this is over; where it is broken off, it goes on with the next step.
        """
        self._have_anew()
        while self._prepare():
            pass

    def _have_anew(self) -> None:
        """Have nothing counted from now on before it is prepared that everything is counted again."""
        with self._database.writing() as connection:
            # It stays, so that nothing is pruned before it is counted.
            its_own = cursors.c.name == READER
            connection.execute(update(cursors).where(its_own).values(position=0))
            facts.note(connection, facts.COUNTING_ANEW, _CLEARING)

    def _prepare(self) -> bool:
        """Do some of what has to be done before everything is counted again: whether there is more of it."""
        with self._database.writing() as connection:
            done = facts.read(connection, facts.COUNTING_ANEW)
            if done == _CLEARING:
                if not _clear_some(connection):
                    facts.note(connection, facts.COUNTING_ANEW, _WAITING)
            elif done is not None:
                last = _have_some_wait(connection, done.removeprefix(_WAITING))
                if last is None:
                    facts.forget(connection, facts.COUNTING_ANEW)
                else:
                    facts.note(connection, facts.COUNTING_ANEW, _WAITING + last)
            return done is not None

    def forget_minutes(self, now: int) -> None:
        """Forget what was counted by the minute longer ago than ``FINE_S``. ``now`` in microseconds."""
        before = now // SECOND_US - FINE_S
        with self._database.writing() as connection:
            connection.execute(
                delete(rollups).where(rollups.c.what == "minute", rollups.c.at < before)
            )

    # ---- reading ----

    def counts(
        self,
        what: str,
        *,
        partner: str | None = None,
        since: int = 0,
        until: int | None = None,
    ) -> dict[tuple[int, str], int]:
        """What was counted by time and key, of a print partner or in all.

        ``since`` and ``until`` are seconds since 1970; the latter is the first that is not meant.
        """
        chosen = select(rollups.c.at, rollups.c.key, rollups.c.count.label("total"))
        with self._database.reading() as connection:
            within = _within(chosen, connection, what, partner, since, until)
            # All rows at once, which may be tens of thousands: one by one takes twice as long.
            return {(at, key): total for at, key, total in connection.execute(within).all()}

    def sums(
        self, what: str, *, partner: str | None = None, since: int = 0, until: int | None = None
    ) -> dict[str, int]:
        """What was counted by key, whenever it was, of a print partner or in all; arguments as ``counts``."""
        chosen = select(rollups.c.key, func.sum(rollups.c.count).label("total"))
        with self._database.reading() as connection:
            within = _within(chosen, connection, what, partner, since, until)
            return {key: int(total) for key, total in connection.execute(within.group_by("key"))}

    def by_partner(
        self, what: str, *, since: int = 0, until: int | None = None
    ) -> dict[str, dict[str, int]]:
        """What was counted by print partner and key; arguments as ``counts``."""
        its = rollups.c.partner, rollups.c.key
        within = [rollups.c.what == what, rollups.c.at >= since]
        if until is not None:
            within.append(rollups.c.at < until)
        sums = select(*its, func.sum(rollups.c.count).label("total")).where(*within).group_by(*its)
        with self._database.reading() as connection:
            every = connection.execute(select(partners).order_by(partners.c.name))
            names = {row.id: row.name for row in every}
            found: dict[str, dict[str, int]] = {name: {} for name in names.values()}
            # Each by its number, or what was counted at any other time would be read as well.
            of_each = sums.where(rollups.c.partner.in_(names))
            for partner, key, total in connection.execute(of_each).all():
                found[names[partner]][key] = int(total)
        return found


def count_again(connection: Connection, ids: Collection[str]) -> None:
    """Have orders counted again that were registered or changed in this transaction."""
    revision = facts.number(connection, facts.ORDERS_REVISION)
    put_all(connection, recounts, [(order, revision) for order in sorted(ids)])


# ---- one step ----


class _Overtaken(Exception):
    """Somebody else counted some of it meanwhile, or it is other than it was."""


class _Page:
    """What is counted in one step: the signals beyond a position, up to another, and some orders."""

    def __init__(self, connection: Connection, begin: int, end: int) -> None:
        self.begin = begin
        self.end = end
        self.recounts, self.more_wait = _recounts(connection)
        self._changes: defaultdict[int, Counts] = defaultdict(Counter)
        self._items: list[tuple[Any, ...]] = []
        self._forgotten: list[int] = []
        self._orders: list[tuple[Any, ...]] = []
        if self.is_empty:
            return
        self._rules = Rules.read(connection)
        self._add_signals(connection)
        self._add_items(connection)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to count."""
        return self.end == self.begin and not self.recounts

    def _add_signals(self, connection: Connection) -> None:
        within = signals.c.position > self.begin, signals.c.position <= self.end
        for row in connection.execute(LIVE.where(*within)):
            zone, changes = self._rules.zone(row.interface), self._changes[row.partner]
            for count in counting.of_signal(row.type, row.datetime, row.received, zone):
                changes[count] += 1

    def _add_items(self, connection: Connection) -> None:
        ids = [order for order, _ in self.recounts]
        its_own = select(items.c.id).where(items.c.order.in_(ids))
        changed = union(*self._passed(connection), *([its_own] if ids else []))
        anew = set(ids)
        for row in connection.execute(COUNTED_ITEMS.where(items.c.id.in_(changed))):
            self._add_item(row)
            if row.counts is None and row.due is not None:
                anew.add(row.order)
        for row in unheard_of(connection, anew):
            self._add_order(row)

    def _passed(self, connection: Connection) -> Iterator[Select[tuple[int]]]:
        """The items whose last signal is passed; where that is in the log no more, those that begin here."""
        within = signals.c.position > self.begin, signals.c.position <= self.end
        last = (states.c.item == signals.c.item) & (states.c.position == signals.c.position)
        yield select(signals.c.item).join(states, last).where(*within)
        pruned = facts.pruned(connection)
        if self.begin < pruned:
            numbered = states.c.item > self.begin, states.c.item <= self.end
            yield select(states.c.item).where(*numbered, states.c.position <= pruned)

    def _add_item(self, row: Any) -> None:
        counted = counting.of_item(
            decode_item(row.summary), row.due, self._rules.calendars.get(row.partner)
        )
        self._replace(row, counted.counts if counted else Counter())
        if counted is not None:
            self._items.append(_item_row(row, counted))
        elif row.counts is not None:
            self._forgotten.append(row.id)

    def _add_order(self, row: Any) -> None:
        counts = Counter[Count]() if row.due is None else counting.of_unheard(row.unheard, row.due)
        self._replace(row, counts)
        if counts or row.counts is not None:
            due = row.due if counts else None
            self._orders.append((row.order, row.partner or ALL, due, _encoded(counts)))

    def _replace(self, row: Any, counts: Counts) -> None:
        """Take back what something was counted as, and add what it counts as now."""
        if row.counts is not None:
            self._changes[row.counted_partner].subtract(dict(decoded(row.counts)))
        self._changes[row.partner or ALL].update(counts)

    def _changed(self) -> list[tuple[Any, ...]]:
        """The rows of the roll-ups with what is added to each, in their order: of each print partner and of all."""
        every: Counts = Counter()
        for changes in self._changes.values():
            every.update(changes)
        of_partners = {**self._changes, ALL: every}
        return sorted(
            (what, partner, at, key, number)
            for partner, changes in of_partners.items()
            for (what, at, key), number in changes.items()
            if number
        )

    def write(self, connection: Connection) -> None:
        """Write what changes. Raises _Overtaken, and then nothing may be kept of this transaction."""
        if facts.read(connection, facts.COUNTING_ANEW) is not None:
            raise _Overtaken
        _advance(connection, self.begin, self.end)
        # Where there were no signals, only this tells that somebody else was faster.
        _take(connection, self.recounts)
        put_all(connection, counted_items, self._items)
        put_all(connection, counted_orders, self._orders)
        if self._forgotten:
            gone = counted_items.c.item.in_(self._forgotten)
            connection.execute(delete(counted_items).where(gone))
        changes = self._changed()
        add_all(connection, rollups, changes)
        _remove_nothing(connection, changes)


class Rules(Struct, frozen=True):
    """What counting depends on beside what is counted: calendars by print partner, zones by interface."""

    calendars: dict[int, Calendar]
    zones: dict[int, tzinfo]

    @classmethod
    def read(cls, connection: Connection) -> "Rules":
        """As they are now."""
        rows = connection.execute(select(interfaces.c.id, interfaces.c.timezone))
        return cls(calendars.read(connection), {row.id: _zone(row.timezone) for row in rows})

    def zone(self, interface: int) -> tzinfo:
        """The zone of an interface."""
        return self.zones.get(interface, UTC)


def _zone(name: str) -> tzinfo:
    with suppress(KeyError, ValueError):
        return ZoneInfo(name)
    return UTC


# What is counted of signals.
LIVE: Final = select(
    signals.c.partner,
    signals.c.interface,
    signals.c.type,
    signals.c.datetime,
    signals.c.received,
).where(~signals.c.test)
# What items are counted by, and what they were counted as.
COUNTED_ITEMS: Final = (
    select(
        items.c.id,
        items.c.order,
        items.c.partner,
        states.c.summary,
        orders.c.due,
        counted_items.c.partner.label("counted_partner"),
        counted_items.c.counts,
    )
    .join(states, states.c.item == items.c.id)
    .outerjoin(orders, orders.c.order == items.c.order)
    .outerjoin(counted_items, counted_items.c.item == items.c.id)
)


def unheard_of(connection: Connection, ids: Collection[str]) -> Iterable[Any]:
    """Registered orders, with how many of their items no signal has come of, and what they were counted as."""
    same = (items.c.order == order_items.c.order) & (items.c.item == order_items.c.item)
    unheard = (
        select(func.count())
        .select_from(order_items.outerjoin(items, same))
        .where(order_items.c.order == orders.c.order, items.c.id.is_(None))
        .scalar_subquery()
    )
    counted = counted_orders.c.partner.label("counted_partner"), counted_orders.c.counts
    chosen = select(
        orders.c.order, orders.c.partner, orders.c.due, unheard.label("unheard"), *counted
    ).outerjoin(counted_orders, counted_orders.c.order == orders.c.order)
    return connection.execute(chosen.where(orders.c.order.in_(ids))) if ids else ()


def _recounts(connection: Connection) -> tuple[list[tuple[str, int]], bool]:
    """The orders that are counted again in this step, and whether more wait."""
    heard = select(func.count()).where(items.c.order == recounts.c.order).scalar_subquery()
    told = select(func.count()).where(order_items.c.order == recounts.c.order).scalar_subquery()
    chosen = select(recounts.c.order, recounts.c.revision, (heard + told).label("items"))
    some: list[tuple[str, int]] = []
    left = RECOUNTED_ITEMS_MAX
    for row in connection.execute(chosen.order_by(recounts.c.order).limit(RECOUNTS_MAX + 1)):
        left -= row.items
        if len(some) == RECOUNTS_MAX or (some and left < 0):
            return some, True
        some.append((row.order, row.revision))
    return some, False


def _take(connection: Connection, taken: list[tuple[str, int]]) -> None:
    """Have orders wait no more. Raises _Overtaken if one of them does not, or waits for another reason by now."""
    same = tuple_(recounts.c.order, recounts.c.revision).in_(taken)
    if taken and connection.execute(delete(recounts).where(same)).rowcount < len(taken):
        raise _Overtaken


def _item_row(row: Any, counted: Counted) -> tuple[Any, ...]:
    return (
        row.id,
        row.partner,
        counted.state,
        counted.since,
        row.due,
        counted.announced,
        counted.odd,
        _encoded(counted.counts),
    )


def _encoded(counts: Counts) -> bytes:
    return _encode(sorted((*count, number) for count, number in counts.items()))


def decoded(counts: bytes) -> Iterator[tuple[Count, int]]:
    """What an item or an order was counted as, as it stands beside it."""
    for what, at, key, number in _decode(counts):
        yield (what, at, key), number


def _remove_nothing(connection: Connection, changes: Iterable[tuple[Any, ...]]) -> None:
    """Remove counts that have become nothing."""
    key = tuple_(*rollups.primary_key)
    fewer = [each[:-1] for each in changes if each[-1] < 0]
    for start in range(0, len(fewer), SOME):
        nothing = key.in_(fewer[start : start + SOME]), rollups.c.count == 0
        connection.execute(delete(rollups).where(*nothing))


# ---- to count anew ----

_CLEARING: Final = "clearing"
"""What is noted while counts are forgotten."""
_WAITING: Final = "waiting:"
"""What is noted after that, before the last order that was made to wait to be counted again."""


def _clear_some(connection: Connection) -> bool:
    """Forget some counts, if there are any but those of signals that are in the log no more."""
    gone = ~or_(false(), *_pruned(connection))
    for table, which in ((counted_items, true()), (counted_orders, true()), (rollups, gone)):
        some = select(*table.primary_key).where(which).order_by(*table.primary_key)
        among = tuple_(*table.primary_key).in_(some.limit(CLEARED_MAX))
        if connection.execute(delete(table).where(among)).rowcount:
            return True
    return False


def _have_some_wait(connection: Connection, after: str) -> str | None:
    """Have the orders beyond one that are due be counted again: which was the last, None if it was of all."""
    chosen = select(orders.c.order).where(orders.c.due.is_not(None), orders.c.order > after)
    due = connection.scalars(chosen.order_by(orders.c.order).limit(CLEARED_MAX)).all()
    put_all(connection, recounts, [(order, ANEW) for order in due])
    return due[-1] if due else None


# ---- how far it is ----


def passed(connection: Connection) -> int | None:
    """Up to which position the log is counted; None if counting never began."""
    return connection.scalar(select(cursors.c.position).where(cursors.c.name == READER))


def _is_forgotten(connection: Connection) -> bool:
    """Whether it was forgotten how far the log is counted, but not what was counted of it."""
    any_counts = select(rollups.c.what).where(rollups.c.what == "day").limit(1)
    return passed(connection) is None and connection.scalar(any_counts) is not None


def waits_anew(connection: Connection) -> bool:
    """Whether orders wait to be counted again since counting began anew, and not because they were changed."""
    waiting = select(recounts.c.order).where(recounts.c.revision == ANEW)
    return connection.scalar(waiting.limit(1)) is not None


def newest(connection: Connection) -> int:
    """The position of the newest signal."""
    return connection.scalar(select(func.max(signals.c.position))) or 0


def _pruned(connection: Connection) -> Iterator[Any]:
    """Which counts are of signals that are in the log no more."""
    oldest = connection.scalar(select(func.min(signals.c.received))) or 0
    for what, unit_s in counting.OF_SIGNALS.items():
        begin = oldest // (unit_s * SECOND_US) * unit_s
        yield (rollups.c.what == what) & (rollups.c.at < begin)


def _advance(connection: Connection, begin: int, end: int) -> None:
    """Move the cursor on. Raises _Overtaken if somebody else did."""
    if not begin and passed(connection) is None:
        connection.execute(insert(cursors).values(name=READER, position=end))
        return
    same = cursors.c.name == READER, cursors.c.position == begin
    if not connection.execute(update(cursors).where(*same).values(position=end)).rowcount:
        raise _Overtaken


def _within(
    chosen: Select[Any],
    connection: Connection,
    what: str,
    partner: str | None,
    since: int,
    until: int | None,
) -> Select[Any]:
    number = ALL if partner is None else number_of(connection, partners, partner)
    within = chosen.where(
        rollups.c.what == what, rollups.c.partner == number, rollups.c.at >= since
    )
    return within if until is None else within.where(rollups.c.at < until)
