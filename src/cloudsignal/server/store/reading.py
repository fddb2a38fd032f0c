"""Reading the log and the items: everything here only looks."""

from typing import Any, Final, get_args

from msgspec import Struct, structs
from sqlalchemy import (
    CompoundSelect,
    Connection,
    ScalarSelect,
    Select,
    func,
    select,
    true,
    union_all,
)

from cloudsignal.protocol.items import FINAL, Item, State
from cloudsignal.protocol.wire import Report, reread
from cloudsignal.server.store import facts
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.log import decode_item
from cloudsignal.server.store.schema import (
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
CLOCK_SLACK_US: Final = 60 * 1_000_000
"""By how much signals may stand in the log in another order than that of their arrival."""
LOOKED_AT_MAX: Final = 50_000
"""Among how many items of each state some are looked for that no index leads to."""
FEW_ORDERS: Final = 10_000
"""Of an owner with no more, the items of all its orders are looked through for the newest."""


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

    Those of an ``owner`` are the items of what is registered for it. ``before`` a position, and ``down_to`` one.
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
    down_to: int | None = None
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
        chosen = _REPORTED.where(signals.c.partner == _partner(partner))
        if before is not None:
            chosen = chosen.where(signals.c.position < before)
        newest = chosen.order_by(signals.c.position.desc()).limit(limit)
        with self._database.reading() as connection:
            return [_reported(row) for row in connection.execute(newest)]

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
            down_to = _far_enough(connection, query)
            found = _items(connection, structs.replace(query, down_to=down_to))
        return FoundItems(found, down_to)


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
        counted = counted.where(items.c.partner == _partner(partner))
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
_OPEN: Final = tuple(state for state in get_args(State) if state not in FINAL)


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
    by_partner = _is_met_by_partner(connection, query)
    found = _found(connection, query, by_partner=by_partner)
    if by_partner and len(found) < query.limit and facts.pruned(connection):
        # The last signals of the print partner's other items are no longer in the log.
        before = found[-1].position if found else query.before
        older = structs.replace(query, before=before, limit=query.limit - len(found))
        found += _found(connection, older, by_partner=False)
    return found


def _is_met_by_partner(connection: Connection, query: ItemQuery) -> bool:
    """Whether the signals of a print partner lead to the items of a search."""
    if query.partner is None or query.owner is not None or not _is_unnamed(query):
        return False
    # Most items are shipped. In any other state there are so few that its index is the shorter way.
    is_shorter = query.state == "shipped" or (query.state is None and not query.delayed)
    # Where items were given to another print partner, their last signals may be another's.
    return is_shorter and not facts.read(connection, facts.GIVEN_ON)


def _found(connection: Connection, query: ItemQuery, *, by_partner: bool) -> list[StoredItem]:
    rows = connection.execute(_items_statement(connection, query, by_partner=by_partner))
    return [_stored(row) for row in rows]


def _items_statement(connection: Connection, query: ItemQuery, *, by_partner: bool) -> Select[Any]:
    position: Any = signals.c.position if by_partner else states.c.position
    conditions = _conditions(connection, query, position)
    if by_partner:
        # Every item is at the position of its last signal: the signals of the print partner, read
        # backwards, meet its items in the order asked for.
        same = (signals.c.item == items.c.id) & (signals.c.position == states.c.position)
        mine = signals.c.partner == _partner(query.partner)
        chosen = _ITEMS.join(signals, same).where(mine, *conditions)
    elif query.tracking is not None:
        named = (parcels.c.item == items.c.id) & (parcels.c.tracking == query.tracking)
        chosen = _ITEMS.join(parcels, named).where(*conditions)
    elif query.owner is not None and _is_unnamed(query) and _has_few_orders(connection, query):
        chosen = _of_few_orders(connection, query)
    elif _is_open(query):
        chosen = _ITEMS.where(items.c.id.in_(_newest_of_each_state(query, conditions)))
    else:
        chosen = _ITEMS.where(*conditions)
    return chosen.order_by(position.desc()).limit(query.limit)


def _is_unnamed(query: ItemQuery) -> bool:
    """Whether a search names nothing that few items have."""
    return query.order is query.item is query.tracking is None


def _is_open(query: ItemQuery) -> bool:
    """Whether a search names nothing that an index leads to."""
    return _is_unnamed(query) and query.state is None


def _newest_of_each_state(query: ItemQuery, conditions: list[Any]) -> CompoundSelect[Any]:
    """The items of a search that names no state: the index is by state, so each is asked in turn."""
    return union_all(
        *(
            select(
                select(items.c.id)
                .join(states, states.c.item == items.c.id)
                .where(states.c.state == state, *conditions)
                .order_by(states.c.position.desc())
                .limit(query.limit)
                .subquery()
            )
            for state in _states_of(query)
        )
    )


def _of_few_orders(connection: Connection, query: ItemQuery) -> Select[Any]:
    """The items of a search for those of an owner, from its orders on."""
    its_own = _orders_of(query).limit(FEW_ORDERS).subquery()
    chosen = _ITEMS.join(its_own, its_own.c.order == items.c.order)
    if query.state is not None:
        # Not the column itself: its index leads to the items of everybody.
        chosen = chosen.where(func.coalesce(states.c.state, "") == query.state)
    rest = structs.replace(query, owner=None, state=None)
    return chosen.where(*_conditions(connection, rest, states.c.position))


def _conditions(connection: Connection, query: ItemQuery, position: Any) -> list[Any]:
    conditions: list[Any] = [true()]
    for column in (items.c.order, items.c.item, states.c.state, states.c.delayed, states.c.test):
        wanted = getattr(query, column.name)
        if wanted is not None:
            conditions.append(column == wanted)
    if query.partner is not None:
        conditions.append(items.c.partner == _partner(query.partner))
    if query.owner is not None:
        conditions.append(_orders_of(query).where(orders.c.order == items.c.order).exists())
    if query.since is not None:
        first = position_at(connection, query.since - CLOCK_SLACK_US)
        conditions += [position >= first, states.c.updated >= query.since]
    if query.until is not None:
        conditions.append(states.c.updated < query.until)
    if (end := _end(connection, query)) is not None:
        conditions.append(position < end)
    if query.down_to is not None:
        conditions.append(position >= query.down_to)
    return conditions


def _end(connection: Connection, query: ItemQuery) -> int | None:
    """The position before which the items of a search are, if it says so."""
    if query.until is None:
        return query.before
    # Of what was pruned from the log nothing is known but that it stood before all the rest.
    known = position_at(connection, query.until + CLOCK_SLACK_US)
    end = max(known, facts.pruned(connection) + 1)
    return end if query.before is None else min(end, query.before)


def _far_enough(connection: Connection, query: ItemQuery) -> int | None:
    """Down to which position a search looks at ``LOOKED_AT_MAX`` items of a state, None if it is all of them."""
    if _is_led_to(connection, query):
        return None
    end = _end(connection, query)
    passed = []
    for state in (query.state,) if query.state else _states_of(query):
        chosen = select(states.c.position).where(states.c.state == state)
        if end is not None:
            chosen = chosen.where(states.c.position < end)
        last = chosen.order_by(states.c.position.desc()).offset(LOOKED_AT_MAX - 1).limit(1)
        passed.append(connection.scalar(last))
    return max((each for each in passed if each is not None), default=None)


def _is_led_to(connection: Connection, query: ItemQuery) -> bool:
    """Whether an index leads to the items of a search, and to hardly any others."""
    if not _is_unnamed(query):
        return True
    if query.owner is not None:
        return _has_few_orders(connection, query)
    is_any = query.delayed is None and query.test is None
    return is_any and (query.partner is None or _is_met_by_partner(connection, query))


def _states_of(query: ItemQuery) -> tuple[str, ...]:
    """The states that items of a search may be in which names none."""
    return _OPEN if query.delayed else get_args(State)  # Nothing final is delayed.


def _partner(name: str | None) -> ScalarSelect[int]:
    return select(partners.c.id).where(partners.c.name == name).scalar_subquery()


def _orders_of(query: ItemQuery) -> Select[Any]:
    """The orders that are registered for the owner of a search."""
    named = select(owners.c.id).where(owners.c.name == query.owner).scalar_subquery()
    return select(orders.c.order).where(orders.c.owner == named)


def _has_few_orders(connection: Connection, query: ItemQuery) -> bool:
    """Whether the owner of a search has so few orders that they lead to its items the soonest.

    One of many is met soon enough among the newest items of all.
    """
    more = _orders_of(query).order_by(orders.c.order).offset(FEW_ORDERS).limit(1)
    return connection.scalar(more) is None


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
