"""The log as owners are told of it: each signal with whose it is, and what they call it."""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, literal, select

from cloudsignal.protocol.signals import ItemCanceled
from cloudsignal.protocol.wire import Report, reread
from cloudsignal.server.store.batches import Whole
from cloudsignal.server.store.log import decode_item
from cloudsignal.server.store.schema import (
    items,
    order_items,
    orders,
    owners,
    signals,
    states,
)

PAGE_BYTES_MAX: Final = 2 << 20
"""How much of what was sent is read at once."""
FETCHED_FIRST: Final = 50
FETCHED_MAX: Final = 500
"""How many signals are fetched from the database at once: first, and if those were short."""
SCANNED: Final = 5_000
"""How many signals are looked through at once for those of some owners."""


class Owned(Struct, frozen=True, array_like=True):
    """A signal of the log, and what its owner is told of it.

    ``number`` is its item's; ``owner`` is None if nobody is told. ``cancels_order`` says that with this signal
    every item of the order is canceled; ``is_outdated``, where that was asked for, that a later fact about the item
    is known.
    """

    position: int
    received: int
    number: int
    test: bool
    type: str
    datetime: int
    fingerprint: str
    body: str
    order: str
    item: str
    owner: int | None
    order_reference: str
    item_reference: str
    tracking_urls: str | None
    cancels_order: bool = False
    is_outdated: bool = False

    @property
    def report(self) -> Report:
        """The signal as the print partner reported it."""
        return reread(self.body.encode(), self.datetime, self.fingerprint)

    @property
    def urls(self) -> dict[str, str]:
        """For shipping options, how the address of a parcel is made."""
        return _urls(self.tracking_urls) if self.tracking_urls else {}


_UNREGISTERED: Final = select(owners.c.id).where(owners.c.unregistered).scalar_subquery()
_OWNER: Final[ColumnElement[int]] = func.coalesce(orders.c.owner, _UNREGISTERED)


def _owned(body: ColumnElement[str]) -> Select[Any]:
    return (
        select(
            signals.c.position,
            signals.c.received,
            signals.c.item.label("number"),
            signals.c.test,
            signals.c.type,
            signals.c.datetime,
            signals.c.fingerprint,
            body,
            items.c.order,
            items.c.item,
            _OWNER.label("owner"),
            func.coalesce(orders.c.reference, ""),
            func.coalesce(order_items.c.reference, ""),
            orders.c.tracking_urls,
        )
        .join(items, items.c.id == signals.c.item)
        .outerjoin(orders, orders.c.order == items.c.order)
        .outerjoin(
            order_items,
            and_(order_items.c.order == items.c.order, order_items.c.item == items.c.item),
        )
    )


OWNED: Final = _owned(signals.c.body)
"""Signals in the order of the fields of ``Owned``."""
UNSAID: Final = _owned(literal(""))
"""The same without what was sent, for who has to know of many."""
_SOME: Final = (
    OWNED.where(signals.c.position > bindparam("after"), signals.c.position <= bindparam("end"))
    .order_by(signals.c.position)
    .limit(bindparam("most"))
)
_BETWEEN: Final = Whole(_SOME, Owned)
_BETWEEN_OF: Final = Whole(_SOME.where(_OWNER.in_(bindparam("owned_by", expanding=True))), Owned)


def page(
    connection: Connection,
    after: int,
    until: int | None,
    owned_by: Collection[int] | None,
    limit: int,
    *,
    find_outdated: bool,
) -> tuple[list[Owned], int, bool]:
    """The log beyond a position, up to where it was looked at, and whether there was more."""
    most = limit if owned_by is None else SCANNED
    end, count = _end(connection, after, until, most)
    if end is None:
        return [], after, False
    found: list[Owned] = []
    size = 0
    for each in islice(_between(connection, after, end, owned_by), limit):
        found.append(each)
        size += len(each.body)
        if size >= PAGE_BYTES_MAX:
            break
    is_cut = len(found) == limit or size >= PAGE_BYTES_MAX
    found = canceling(connection, found)
    if find_outdated:
        found = _outdated(connection, found)
    return found, found[-1].position if is_cut else end, is_cut or count == most


def _between(
    connection: Connection, after: int, end: int, owned_by: Collection[int] | None
) -> Iterator[Owned]:
    """The log between two positions, in order."""
    statement = _BETWEEN if owned_by is None else _BETWEEN_OF
    most = FETCHED_FIRST
    while True:
        given = {"after": after, "end": end, "owned_by": owned_by, "most": most}
        some = sorted(statement.fetch(connection, given), key=lambda each: each.position)
        yield from some
        if len(some) < most:
            return
        after = some[-1].position
        size = sum(len(each.body) for each in some)
        most = min(most * PAGE_BYTES_MAX // size, FETCHED_MAX) or 1


def read_owned(connection: Connection, statement: Select[Any]) -> list[Owned]:
    """The signals of a statement, ``OWNED`` or ``UNSAID`` with what it is to choose, in any order."""
    return Whole(statement, Owned).fetch(connection)


def _end(
    connection: Connection, after: int, until: int | None, most: int
) -> tuple[int | None, int]:
    """The last of the next so many positions that there are, up to ``until``, and how many there are."""
    beyond = select(signals.c.position).where(signals.c.position > after)
    if until is not None:
        beyond = beyond.where(signals.c.position <= until)
    next_ones = beyond.order_by(signals.c.position).limit(most).subquery()
    end, found = connection.execute(select(func.max(next_ones.c.position), func.count())).one()
    return end, found


def canceling(connection: Connection, found: list[Owned]) -> list[Owned]:
    """The signals, with those marked that cancel the last item of their order."""
    canceled = {each.order for each in found if each.type == ItemCanceled.__name__}
    last = {order: _canceled_at(connection, order) for order in canceled}
    return [
        replace(each, cancels_order=True)
        if each.type == ItemCanceled.__name__ and last[each.order] == each.position
        else each
        for each in found
    ]


def _outdated(connection: Connection, found: list[Owned]) -> list[Owned]:
    """The signals, with those marked of whose items later facts are known."""
    its = select(states.c.item, states.c.summary)
    rows = connection.execute(its.where(states.c.item.in_({each.number for each in found})))
    latest = {row.item: decode_item(row.summary).latest or 0 for row in rows}
    return [replace(each, is_outdated=each.datetime < latest.get(each.number, 0)) for each in found]


def _canceled_at(connection: Connection, order: str) -> int | None:
    """Where the signal stands that canceled the last item of an order; None if not all are canceled."""
    first = (
        select(func.min(signals.c.position))
        .where(signals.c.item == items.c.id, signals.c.type == ItemCanceled.__name__)
        .scalar_subquery()
    )
    its = select(items.c.item, states.c.state, first.label("first"))
    rows = connection.execute(
        its.join(states, states.c.item == items.c.id).where(items.c.order == order)
    ).all()
    registered = select(order_items.c.item).where(order_items.c.order == order)
    missing = set(connection.scalars(registered)) - {row.item for row in rows}
    if missing or any(row.state != "canceled" for row in rows):
        return None
    return max((row.first or 0 for row in rows), default=None)


_urls: Final = msgspec.json.Decoder(dict[str, str]).decode
