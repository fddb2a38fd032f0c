"""Reading the log and the items: everything here only looks."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, get_args

from msgspec import Struct, structs
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Subquery,
    exists,
    func,
    select,
    text,
    union_all,
)

from cloudsignal.protocol.items import Item, State
from cloudsignal.protocol.units import MINUTE_US
from cloudsignal.protocol.wire import Report, reread
from cloudsignal.server.store import facts
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.log import decode_item
from cloudsignal.server.store.names import NOBODY, number_of, number_or_none
from cloudsignal.server.store.schema import (
    DELAYED,
    TEST,
    items,
    orders,
    owners,
    parcels,
    partners,
    signals,
    states,
)

ITEM_SIGNALS_MAX: Final = 1000
"""How many signals of one item are read with it: its newest."""
ORDER_ITEMS_MAX: Final = 1000
"""How many items of one order are read with it: the last changed."""
PAGE_BYTES_MAX: Final = 4 << 20
"""How much of what was sent is read at once: the signal that reaches it is the last of its page."""
FETCHED: Final = 25
"""How many signals are fetched from the database at once."""
CLOCK_SLACK_US: Final = MINUTE_US
"""By how much signals may stand in the log in another order than that of their arrival."""
LOOKED_AT_MAX: Final = 10_000
"""Among how many a page of items is looked for that no index leads to."""
TOGETHER_MAX: Final = 2_000
"""How many are looked at by one statement: of more, PostgreSQL may sooner read whole tables."""
FEW_ORDERS: Final = 2_000
"""Of an owner with no more, the items of all its orders are looked through for the newest."""
FEW_SIGNALS: Final = 5_000
"""Of a print partner with no more, whatever is looked for is looked for along them."""


class LoggedSignal(Struct, frozen=True):
    """A signal in the log. Instants in microseconds; ``body`` as sent, less its key."""

    position: int
    received: int
    interface: int
    partner_name: str
    test: bool
    order: str
    item: str
    type: str
    datetime: int
    fingerprint: str
    body: str

    @property
    def report(self) -> Report:
        """The signal as the print partner reported it."""
        return reread(self.body.encode(), self.datetime, self.fingerprint)


class ReportedSignal(Struct, frozen=True):
    """A signal of one print partner, without its body.

    ``folded`` is how its item stands, ``is_last`` whether it is the last signal of it.
    """

    position: int
    received: int
    interface: int
    test: bool
    order: str
    item: str
    type: str
    datetime: int
    is_last: bool
    folded: Item


class StoredItem(Struct, frozen=True):
    """An item as it stands; ``updated`` is when its last signal arrived, ``position`` where it is."""

    order: str
    item: str
    partner_name: str
    position: int
    updated: int
    folded: Item


class StoredOrder(Struct, frozen=True):
    """An order: how many of all its items are in which state, and its items."""

    states: dict[str, int]
    items: list[StoredItem]


class ItemQuery(Struct, frozen=True, kw_only=True):
    """Which items to list. None asks for nothing; instants are of arrival, in microseconds.

    Those of an ``owner`` are the items of what is registered for it; ``before`` is a position.
    """

    order: str | None = None
    item: str | None = None
    tracking: str | None = None
    state: str | None = None
    partner: str | None = None
    owner: str | None = None
    delayed: bool | None = None
    test: bool | None = None
    since: int | None = None
    until: int | None = None
    before: int | None = None
    limit: int = 100


class FoundItems(Struct, frozen=True):
    """Items, and down to which position they were looked for; None if that is all of them."""

    items: list[StoredItem]
    down_to: int | None


class Reading:
    """The verbs that look. Every one may raise StoreUnavailable.

    Where a reader of the log goes on from, or what it gets, is settled: see settling.py.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_position(self) -> int:
        """The position of the newest signal, settled or not, 0 in an empty log."""
        with self._database.reading() as connection:
            return connection.scalar(select(func.max(signals.c.position))) or 0

    def position_before(self, count: int) -> int:
        """The position beyond which the newest ``count`` signals stand."""
        newest_first = select(signals.c.position).order_by(signals.c.position.desc())
        with self._database.reading() as connection:
            position = connection.scalar(newest_first.offset(count).limit(1)) or 0
        self._database.settle(position)
        return position

    def signals(
        self, *, after: int, limit: int, bytes_max: int = PAGE_BYTES_MAX
    ) -> list[LoggedSignal]:
        """The log beyond a position, in its order: ``limit`` signals, fewer if they are large.

        Nothing comes only when there is nothing.
        """
        chosen = LOGGED.where(signals.c.position > after).order_by(signals.c.position)
        with self._database.reading() as connection:
            found = _logged(connection, chosen.limit(limit), bytes_max)
        if found:
            self._database.settle(found[-1].position)
        return found

    def reported(
        self, partner: str, *, before: int | None = None, limit: int
    ) -> list[ReportedSignal]:
        """The signals of a print partner, the newest first, or those before a position."""
        with self._database.reading() as connection:
            way = _Way((_signals_by(number_of(connection, partners, partner)),), 0, before)
            met = way.back(limit)
            chosen = _REPORTED.join(met, met.c.position == signals.c.position)
            newest_first = chosen.order_by(met.c.position.desc())
            return [_reported(row) for row in connection.execute(newest_first)]

    def signals_of(self, order: str, item: str) -> list[LoggedSignal]:
        """The newest signals of an item, in the order of the log."""
        with self._database.reading() as connection:
            return _signals_of(connection, order, item)

    def item(self, order: str, item: str) -> StoredItem | None:
        """One item as it stands."""
        with self._database.reading() as connection:
            return _item(connection, order, item)

    def item_with_signals(
        self, order: str, item: str
    ) -> tuple[StoredItem | None, list[LoggedSignal]]:
        """One item and its newest signals, both at the same moment."""
        with self._database.reading() as connection:
            return _item(connection, order, item), _signals_of(connection, order, item)

    def order(self, order: str, *, partner: str | None = None) -> StoredOrder | None:
        """One order as it stands, or as much of it as is a print partner's."""
        with self._database.reading() as connection:
            return stored_order(connection, order, partner=partner)

    def items(self, query: ItemQuery) -> list[StoredItem]:
        """Items, the last changed first; the next page is ``before`` the last one's position."""
        with self._database.reading() as connection:
            return _items(connection, query)

    def look_for(self, query: ItemQuery) -> FoundItems:
        """The same, but looked for among so many only that nobody has to wait, whatever is asked for.

        Where fewer than ``limit`` are found, the next page is ``before`` where these were looked for.
        """
        with self._database.reading() as connection:
            return _find(connection, query, LOOKED_AT_MAX)


LOGGED: Final = (
    select(
        *(column for column in signals.columns if column.name not in ("item", "partner")),
        items.c.order,
        items.c.item,
        partners.c.name.label("partner_name"),
    )
    .join(items, items.c.id == signals.c.item)
    .join(partners, partners.c.id == signals.c.partner)
)
"""Signals as ``LoggedSignal`` has them."""

_REPORTED: Final = (
    select(
        signals.c.position,
        signals.c.received,
        signals.c.interface,
        signals.c.test,
        items.c.order,
        items.c.item,
        signals.c.type,
        signals.c.datetime,
        states.c.position.label("last"),
        states.c.summary,
    )
    .join(items, items.c.id == signals.c.item)
    .join(states, states.c.item == signals.c.item)
)


def _reported(row: Any) -> ReportedSignal:
    return ReportedSignal(
        row.position,
        row.received,
        row.interface,
        row.test,
        row.order,
        row.item,
        row.type,
        row.datetime,
        row.position == row.last,
        decode_item(row.summary),
    )


def stored_order(
    connection: Connection, order: str, *, partner: str | None = None
) -> StoredOrder | None:
    """One order as it stands, or as much of it as is a print partner's."""
    counted = (
        select(states.c.state, func.count())
        .join(items, items.c.id == states.c.item)
        .where(items.c.order == order)
    )
    if partner is not None:
        counted = counted.where(items.c.partner == number_of(connection, partners, partner))
    counts = connection.execute(counted.group_by(states.c.state)).all()
    if not counts:
        return None
    query = ItemQuery(order=order, partner=partner, limit=ORDER_ITEMS_MAX)
    return StoredOrder({row[0]: row[1] for row in counts}, _items(connection, query))


def _item(connection: Connection, order: str, item: str) -> StoredItem | None:
    found = _items(connection, ItemQuery(order=order, item=item, limit=1))
    return found[0] if found else None


def _signals_of(connection: Connection, order: str, item: str) -> list[LoggedSignal]:
    # An item is numbered by its first signal: what came before need not be looked through.
    chosen = LOGGED.where(
        items.c.order == order, items.c.item == item, signals.c.position >= items.c.id
    )
    newest = chosen.order_by(signals.c.position.desc()).limit(ITEM_SIGNALS_MAX)
    return _logged(connection, newest)[::-1]


_ITEMS: Final = (
    select(
        items.c.order,
        items.c.item,
        partners.c.name.label("partner_name"),
        states.c.position,
        states.c.updated,
        states.c.summary,
    )
    .join(states, states.c.item == items.c.id)
    .join(partners, partners.c.id == items.c.partner)
)


def _logged(
    connection: Connection, statement: Select[Any], bytes_max: int = PAGE_BYTES_MAX
) -> list[LoggedSignal]:
    found: list[LoggedSignal] = []
    size = 0
    # A few at a time, or the driver would fetch all of them before the first is looked at.
    with connection.execute(statement, execution_options={"yield_per": FETCHED}) as rows:
        for row in rows:
            found.append(LoggedSignal(**row._mapping))
            size += len(row.body)
            if size >= bytes_max:
                break
    return found


def _stored(row: Any) -> StoredItem:
    return StoredItem(
        row.order, row.item, row.partner_name, row.position, row.updated, decode_item(row.summary)
    )


def _items(connection: Connection, query: ItemQuery) -> list[StoredItem]:
    return _find(connection, query, sys.maxsize).items


def _find(connection: Connection, query: ItemQuery, looked_at_max: int) -> FoundItems:
    """The items of a search, looked for among at most so many where no index leads to hardly any others."""
    search = _Search.of(connection, query)
    if search.is_named:
        return FoundItems(_named(connection, search), None)
    if (ids := _few_orders(connection, search)) is not None:
        its_own = structs.replace(search, owner=None)
        return FoundItems(_of_orders(connection, its_own, ids), None)
    return _met(connection, search, looked_at_max)


# Those of how items stand are not the columns themselves: their indexes lead to the items of everybody.
_CHOSEN_BY: Final = (
    items.c.order,
    items.c.item,
    *(
        func.coalesce(column, column).label(column.name)
        for column in (states.c.state, states.c.delayed, states.c.test)
    ),
)


class _Search(Struct, frozen=True):
    """A search, with the numbers of whom it names, and between which positions its items are."""

    query: ItemQuery
    partner: int | None
    owner: int | None
    begin: int
    end: int | None

    @classmethod
    def of(cls, connection: Connection, query: ItemQuery) -> "_Search":
        """The search that is asked for."""
        return cls(
            query,
            number_or_none(connection, partners, query.partner),
            number_or_none(connection, owners, query.owner),
            _begin(connection, query),
            _end(connection, query),
        )

    @property
    def is_named(self) -> bool:
        """Whether it names something that few items have."""
        return not self.query.order is self.query.item is self.query.tracking is None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What has to hold for its items, wherever they are."""
        query = self.query
        wanted = [(column, getattr(query, column.name)) for column in _CHOSEN_BY]
        conditions = [column == value for column, value in wanted if value is not None]
        if self.partner is not None:
            conditions.append(items.c.partner == self.partner)
        if self.owner is not None:
            same = orders.c.order == items.c.order, orders.c.owner == self.owner
            conditions.append(exists().where(*same))
        if query.since is not None:
            conditions.append(states.c.updated >= query.since)
        if query.until is not None:
            conditions.append(states.c.updated < query.until)
        return conditions

    def statement(self) -> Select[Any]:
        """All of its items, the last changed first, by what they are called: as many as are asked for."""
        conditions = [*self.conditions(), states.c.position >= self.begin]
        if self.end is not None:
            conditions.append(states.c.position < self.end)
        newest_first = _ITEMS.where(*conditions).order_by(states.c.position.desc())
        return newest_first.limit(self.query.limit)


def _begin(connection: Connection, query: ItemQuery) -> int:
    """The position from which on the items of a search are."""
    return 0 if query.since is None else position_at(connection, query.since - CLOCK_SLACK_US)


def _end(connection: Connection, query: ItemQuery) -> int | None:
    """The position before which the items of a search are, if it says so."""
    if query.until is None:
        return query.before
    # Of what was pruned from the log nothing is known but that it stood before all the rest.
    known = position_at(connection, query.until + CLOCK_SLACK_US)
    end = max(known, facts.pruned(connection) + 1)
    return end if query.before is None else min(end, query.before)


# ---- what leads to items ----


def _named(connection: Connection, search: _Search) -> list[StoredItem]:
    """The items of a search that names an order, an item or a tracking number."""
    chosen = search.statement()
    if search.query.tracking is not None:
        same = parcels.c.item == items.c.id
        chosen = chosen.join(parcels, same).where(parcels.c.tracking == search.query.tracking)
    return [_stored(row) for row in connection.execute(chosen)]


def _few_orders(connection: Connection, search: _Search) -> Sequence[str] | None:
    """The orders of the owner of a search, if they are so few that they lead to its items the soonest.

    One of many is met soon enough among the newest items of all.
    """
    if search.owner is None:
        return None
    its_own = select(orders.c.order).where(orders.c.owner == search.owner)
    in_order = its_own.order_by(orders.c.order).limit(FEW_ORDERS + 1)
    ids = connection.scalars(in_order).all()
    return ids if len(ids) <= FEW_ORDERS else None


def _of_orders(connection: Connection, search: _Search, ids: Sequence[str]) -> list[StoredItem]:
    """The items of a search that are in some orders."""
    found: list[StoredItem] = []
    for start in range(0, len(ids), TOGETHER_MAX):
        some = items.c.order.in_(ids[start : start + TOGETHER_MAX])
        found += [_stored(row) for row in connection.execute(search.statement().where(some))]
    found.sort(key=lambda each: each.position, reverse=True)
    return found[: search.query.limit]


Lane = Select[tuple[int, int]]
"""Numbers of items, each at a position, the last first, as an index has them.

Where that is not the position of the item's last signal, the item is not met.
"""


class _Way(Struct, frozen=True):
    """Along what items are met, the last changed first, from the position ``begin`` on and before ``end``."""

    lanes: tuple[Lane, ...]
    begin: int
    end: int | None

    def back(self, count: int) -> Subquery:
        """The last so many of them."""
        newest = [self._within(lane).limit(count) for lane in self.lanes]
        if len(newest) == 1:
            return newest[0].subquery()
        each = union_all(*(select(lane.subquery()) for lane in newest)).subquery()
        return select(each).order_by(each.c.position.desc()).limit(count).subquery()

    def _within(self, lane: Lane) -> Lane:
        position = lane.selected_columns.position
        within = lane.where(position >= self.begin)
        return within if self.end is None else within.where(position < self.end)


def _met(connection: Connection, search: _Search, looked_at_max: int) -> FoundItems:
    """The items of a search that are met along its ways, looking at so many at most.

    They are met a few at a time: of all at once a database may read and sort whole tables, or go on and on along an
    index where few are meant.
    """
    found: list[StoredItem] = []
    left, few = looked_at_max, 4 * search.query.limit
    for way in _ways(connection, search):
        is_more = True
        while is_more:
            few = min(few, TOGETHER_MAX, left)
            met = way.back(few)
            found += _meant(connection, search, met, search.query.limit - len(found))
            if len(found) == search.query.limit:
                return FoundItems(found, None)
            last, count = connection.execute(select(func.min(met.c.position), func.count())).one()
            left -= count
            if not left:
                return FoundItems(found, last)
            way, is_more, few = structs.replace(way, end=last), count == few, 4 * few
    return FoundItems(found, None)


def _meant(
    connection: Connection, search: _Search, met: Subquery, limit: int
) -> Iterator[StoredItem]:
    """Those of a search among items that were met."""
    same = (states.c.item == met.c.item) & (states.c.position == met.c.position)
    chosen = _ITEMS.join(met, same).where(*search.conditions())
    newest_first = chosen.order_by(met.c.position.desc()).limit(limit)
    return (_stored(row) for row in connection.execute(newest_first))


def _ways(connection: Connection, search: _Search) -> Iterator[_Way]:
    """The ways along which all items of a search are met, one after the other."""
    end = search.end
    if search.partner is not None and _is_met_by_signals(connection, search):
        pruned = facts.pruned(connection)
        yield _Way((_signals_by(search.partner),), max(search.begin, pruned + 1), end)
        if not pruned:
            return
        # The last signals of the print partner's other items are no longer in the log.
        end = pruned + 1 if end is None else min(end, pruned + 1)
    yield _Way(tuple(_states_of(search.query)), search.begin, end)


def _is_met_by_signals(connection: Connection, search: _Search) -> bool:
    """Whether the signals of its print partner lead to the items of a search the soonest."""
    # Where items were given to another print partner, their last signals may be another's.
    if facts.read(connection, facts.GIVEN_ON):
        return False
    query = search.query
    # Most items are shipped. Of those that are in any other state, delayed or test there are few.
    if not query.delayed and not query.test and query.state in (None, "shipped"):
        return True
    its_own = _signals_by(search.partner).with_only_columns(signals.c.position)
    return connection.scalar(its_own.offset(FEW_SIGNALS).limit(1)) is None


def _signals_by(partner: int | None) -> Lane:
    """The signals of a print partner."""
    # For one number alone PostgreSQL may go back along the whole log, hoping to meet enough of that number soon. Asked
    # for two it needs the index to have them in order.
    its_own = signals.c.partner.in_((NOBODY, partner))
    in_order = signals.c.partner.desc(), signals.c.position.desc()
    return select(signals.c.item, signals.c.position).where(its_own).order_by(*in_order)


def _states_of(query: ItemQuery) -> Iterator[Lane]:
    """How items stand that may be those of a search: by the index of the fewest."""
    chosen = select(states.c.item, states.c.position).order_by(states.c.position.desc())
    if query.delayed:
        yield chosen.where(text(f"states.{DELAYED}"))
    elif query.test:
        yield chosen.where(text(f"states.{TEST}"))
    else:
        for state in (query.state,) if query.state else get_args(State):
            yield chosen.where(states.c.state == state)


def position_at(connection: Connection, received: int) -> int:
    """The first position that arrived at that instant or later, found by halving the log.

    By ``CLOCK_SLACK_US`` it may be another one.
    """
    low, high = 1, (connection.scalar(select(func.max(signals.c.position))) or 0) + 1
    while low < high:
        middle = (low + high) // 2
        there = select(signals.c.position, signals.c.received).where(signals.c.position >= middle)
        row = connection.execute(there.order_by(signals.c.position).limit(1)).first()
        if row is None or row.received >= received:
            high = middle
        else:
            low = row.position + 1
    return low
