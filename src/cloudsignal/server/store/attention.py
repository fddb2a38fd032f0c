"""What needs a hand: lists of items, and dead letters, each by an index. Instants are microseconds since 1970.

Every list begins with what is most urgent, and is gone on with after the ``place`` of its last case.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, get_args

from msgspec import Struct
from sqlalchemy import Column, Connection, Select, exists, func, null, select, text, tuple_

from cloudsignal.server.store.alerts import ALERTS, Alert, alert
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.endpoints import REMOVED
from cloudsignal.server.store.names import number_of, number_or_none
from cloudsignal.server.store.schema import (
    ODD,
    alerts,
    counted_items,
    deliveries,
    endpoints,
    items,
    owners,
    partners,
)

COUNT_MAX: Final = 1_000
"""Up to how many are counted; of more it is only said that there are."""

Kind = Literal["stalled", "delayed", "odd"]
"""Items with an alert; open ones whose announced delay is over; those that were both
shipped and canceled."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Place = tuple[int, int]
"""Where a case stands in its list."""


class Case(Struct, frozen=True):
    """An item that needs a hand.

    ``since`` is when the last was heard of it, ``announced`` until when it was to be shipped as its print
    partner said; ``limit_s`` for how long it may be in its state, in working time, and ``raised`` when it had been
    for longer, both None where it is not stalled.
    """

    place: Place
    order: str
    item: str
    partner_name: str
    state: str
    since: int
    due: int | None
    announced: int | None
    limit_s: int | None
    raised: int | None


class Total(Struct, frozen=True):
    """How many there are: so many, or ``is_more`` than so many."""

    number: int
    is_more: bool = False


class Part(Struct, frozen=True):
    """One of the lists: how many there are, and the first."""

    total: Total
    cases: list[Case]


class DeadLetters(Struct, frozen=True):
    """How many deliveries of an endpoint were given up."""

    endpoint: int
    owner_name: str
    shown: str
    total: Total


class Attention:
    """The verbs of what needs a hand. Every one may raise StoreUnavailable.

    With the name of a ``partner`` only the items of that print partner count.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def parts(self, *, partner: str | None = None, now: int, first: int) -> dict[Kind, Part]:
        """Every list: how many there are, and the first so many."""
        with self._database.reading() as connection:
            number = number_or_none(connection, partners, partner)
            return {
                kind: Part(
                    _total(connection, _chosen(kind, number, now)),
                    _cases(connection, kind, _chosen(kind, number, now).limit(first)),
                )
                for kind in KINDS
            }

    def cases(
        self,
        kind: Kind,
        *,
        partner: str | None = None,
        now: int,
        after: Place | None = None,
        limit: int,
    ) -> list[Case]:
        """One of the lists, from its beginning or after a place."""
        with self._database.reading() as connection:
            chosen = _chosen(kind, number_or_none(connection, partners, partner), now)
            if after is not None:
                chosen = chosen.where(_beyond(kind, after))
            return _cases(connection, kind, chosen.limit(limit))

    def stalled(self, *, partner: str | None = None, limit: int) -> list[Alert]:
        """Alerts that are not cleared, of the items that were not heard of for longest first."""
        with self._database.reading() as connection:
            chosen = (
                _chosen("stalled", number_or_none(connection, partners, partner), 0)
                .limit(limit)
                .subquery()
            )
            found = ALERTS.join(chosen, chosen.c.id == alerts.c.id)
            rows = connection.execute(found.order_by(chosen.c.at, chosen.c.id))
            return [alert(row) for row in rows]

    def cleared(
        self, *, partner: str | None = None, before: Place | None = None, limit: int
    ) -> list[Alert]:
        """Alerts that were cleared, the last one first; ``before`` is when one was, and its id."""
        chosen = select(alerts.c.id).where(alerts.c.cleared.is_not(None))
        if before is not None:
            chosen = chosen.where(tuple_(alerts.c.cleared, alerts.c.id) < tuple_(*before))
        newest = alerts.c.cleared.desc(), alerts.c.id.desc()
        with self._database.reading() as connection:
            if partner is not None:
                chosen = chosen.where(alerts.c.partner == number_of(connection, partners, partner))
            ids = list(connection.scalars(chosen.order_by(*newest).limit(limit)))
            rows = connection.execute(ALERTS.where(alerts.c.id.in_(ids)).order_by(*newest))
            return [alert(row) for row in rows]

    def dead_letters(self) -> list[DeadLetters]:
        """The endpoints at which deliveries were given up, by their numbers, and how many."""
        given_up = select(deliveries.c.message).where(
            deliveries.c.state == "dead", deliveries.c.endpoint == endpoints.c.id
        )
        few = given_up.correlate(endpoints).limit(COUNT_MAX + 1).subquery()
        count = select(func.count()).select_from(few).scalar_subquery()
        its = select(endpoints.c.id, owners.c.name, endpoints.c.shown, count.label("dead"))
        there = its.join(owners, owners.c.id == endpoints.c.owner)
        with self._database.reading() as connection:
            rows = connection.execute(
                there.where(endpoints.c.state != REMOVED).order_by(endpoints.c.id)
            )
            return [
                DeadLetters(row.id, row.name, row.shown, _limited(row.dead))
                for row in rows
                if row.dead
            ]


# ---- what is chosen ----


class _List(Struct, frozen=True):
    """How a list is made: by which columns it is in order, whose it is, and whether the last comes first."""

    order: tuple[Column[int], ...]
    partner: Column[int]
    is_backwards: bool = False


_LISTS: Final[Mapping[Kind, _List]] = {
    "stalled": _List((alerts.c.since, alerts.c.id), alerts.c.partner),
    "delayed": _List((counted_items.c.announced, counted_items.c.item), counted_items.c.partner),
    # Nothing ever mends these: the last ones come first.
    "odd": _List((counted_items.c.item,), counted_items.c.partner, is_backwards=True),
}


def _chosen(kind: Kind, partner: int | None, now: int) -> Select[Any]:
    """What is in a list, in its order: numbers of items, and where they stand in it."""
    made = _LISTS[kind]
    item = alerts.c.item if kind == "stalled" else counted_items.c.item
    chosen = select(item, made.order[0].label("at"), made.order[-1].label("id"))
    if kind == "stalled":
        chosen = chosen.add_columns(
            alerts.c.partner, alerts.c.state, alerts.c.since, alerts.c.limit_s, alerts.c.raised
        )
        chosen = chosen.where(alerts.c.cleared.is_(None))
    elif kind == "delayed":
        chosen = chosen.where(counted_items.c.announced < now)
    else:
        chosen = chosen.where(text(ODD))
    if partner is not None:
        chosen = chosen.where(made.partner == partner)
        if kind == "stalled":
            # Until its alert is cleared, an item may have been given on to another: it is that one's.
            chosen = chosen.where(_IS_STILL_THERE)
    return chosen.order_by(*_in_order(kind, made.order))


def _in_order(kind: Kind, columns: Iterable[Any]) -> list[Any]:
    return [each.desc() if _LISTS[kind].is_backwards else each for each in columns]


def _beyond(kind: Kind, after: Place) -> Any:
    """Whether something stands beyond a place in its list: as a range, which its index serves."""
    made, (at, id) = _LISTS[kind], after
    if made.is_backwards:
        return made.order[-1] < id
    return tuple_(*made.order) > tuple_(at, id)


def _cases(connection: Connection, kind: Kind, chosen: Select[Any]) -> list[Case]:
    found = chosen.subquery()
    # A moment later its item may stand otherwise; the alert is about how it stood.
    stands = found if kind == "stalled" else counted_items
    of_alert = (found.c.limit_s, found.c.raised) if kind == "stalled" else (_NO_LIMIT, _NOT_RAISED)
    listed = (
        select(
            found.c.at,
            found.c.id,
            items.c.order,
            items.c.item,
            partners.c.name.label("partner_name"),
            stands.c.state,
            stands.c.since,
            counted_items.c.due,
            counted_items.c.announced,
            *of_alert,
        )
        .join(counted_items, counted_items.c.item == found.c.item)
        .join(items, items.c.id == found.c.item)
        .join(partners, partners.c.id == stands.c.partner)
    )
    ordered = listed.order_by(*_in_order(kind, (found.c.at, found.c.id)))
    return [_case(row) for row in connection.execute(ordered)]


_IS_STILL_THERE: Final = exists().where(
    counted_items.c.item == alerts.c.item, counted_items.c.partner == alerts.c.partner
)
_NO_LIMIT: Final = null().label("limit_s")
_NOT_RAISED: Final = null().label("raised")


def _case(row: Any) -> Case:
    values = dict(row._mapping)
    return Case(place=(values.pop("at"), values.pop("id")), **values)


def _total(connection: Connection, chosen: Select[Any]) -> Total:
    few = chosen.limit(COUNT_MAX + 1).subquery()
    return _limited(connection.scalar(select(func.count()).select_from(few)) or 0)


def _limited(count: int) -> Total:
    return Total(min(count, COUNT_MAX), count > COUNT_MAX)
