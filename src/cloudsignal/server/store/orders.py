"""Owners with their keys, and what is registered of their orders.

A key is known here by its keyed digest only. Instants are microseconds since 1970.
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import msgspec
from msgspec import Struct, field, structs
from sqlalchemy import (
    Connection,
    Select,
    Table,
    bindparam,
    exists,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from cloudsignal.server.store import facts, rollups
from cloudsignal.server.store.changes import Notes
from cloudsignal.server.store.database import Database, inserted
from cloudsignal.server.store.errors import KEY_IN_USE, Fault, NotFound, RegistrationRefused
from cloudsignal.server.store.registered import tell_registered
from cloudsignal.server.store.schema import (
    items,
    order_items,
    orders,
    owner_keys,
    owners,
    partners,
)

REGISTRATIONS_MAX: Final = 1000
"""How many orders may be registered at once: while it lasts, no signal is written."""
ITEMS_MAX: Final = 1000
"""How many items an order may have."""


class Owner(Struct, frozen=True):
    """Who orders belong to; the ``unregistered`` one gets what nobody registered."""

    id: int
    name: str
    created: int
    unregistered: bool


class OwnerKey(Struct, frozen=True):
    """A key with which an owner reads, by its digest; one being rotated out expires."""

    digest: str
    owner: int
    created: int
    expires: int | None


class Registration(Struct, frozen=True):
    """What is told of an order: whose it is, and what else is known. None says nothing new.

    ``items`` has the owner's reference of each item; ``tracking_urls`` for shipping options how the address of
    a parcel is made, with ``{tracking}`` in it.
    """

    order: str
    owner_name: str
    partner_name: str | None = None
    reference: str | None = None
    due: int | None = None
    tracking_urls: dict[str, str] | None = None
    items: dict[str, str | None] = field(default_factory=dict)


class Registered(Struct, frozen=True):
    """What registering did: how many orders are new, how many changed, how many were so already."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0


class RegisteredOrder(Struct, frozen=True):
    """What is registered of an order.

    ``items`` has the references of its items, in the order of their ids, where one order is asked for.
    """

    order: str
    owner_name: str
    partner_name: str | None
    reference: str
    due: int | None
    tracking_urls: dict[str, str]
    registered: int
    changed: int
    items: dict[str, str] = field(default_factory=dict)


class Orders:
    """The verbs of owners and orders. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database, notes: Notes) -> None:
        self._database = database
        self._notes = notes

    # ---- owners and their keys ----

    def create_owner(self, name: str, *, unregistered: bool = False, now: int) -> Owner:
        """Add an owner. Raises AlreadyThere when one has that name.

        If it is to get what is ``unregistered``, who got that before gets it no longer.
        """
        with self._changing(f"an owner called {name!r} is already there") as connection:
            if unregistered:
                connection.execute(update(owners).values(unregistered=False))
            values = {"name": name, "created": now, "unregistered": unregistered}
            number = inserted(connection, insert(owners).values(values))
            after = {"unregistered": unregistered}
            self._notes.note(connection, "owner created", name, after=after)
            return Owner(number, name, now, unregistered)

    def owners(self, *, after: str = "", limit: int | None = None) -> list[Owner]:
        """Owners in order of name: every one, or so many after a name."""
        chosen = select(owners).where(owners.c.name > after).order_by(owners.c.name)
        with self._database.reading() as connection:
            rows = connection.execute(chosen.limit(limit))
            return [Owner(**row._mapping) for row in rows]

    def owner(self, name: str) -> Owner:
        """The owner of that name. Raises NotFound."""
        found = self._find_owner(owners.c.name == name)
        if found is None:
            raise NotFound(f"there is no owner called {name!r}")
        return found

    def numbered_owner(self, number: int) -> Owner:
        """The owner of that number. Raises NotFound."""
        found = self._find_owner(owners.c.id == number)
        if found is None:
            raise NotFound(f"there is no owner {number}")
        return found

    def unregistered_owner(self) -> Owner | None:
        """The owner who gets what nobody registered, if there is one."""
        return self._find_owner(owners.c.unregistered)

    def _find_owner(self, condition: Any) -> Owner | None:
        with self._database.reading() as connection:
            row = connection.execute(select(owners).where(condition)).first()
        return None if row is None else Owner(**row._mapping)

    def add_owner_key(self, name: str, digest: str, *, expires: int, now: int) -> Owner:
        """Give an owner a key; those it has expire then, or earlier if they did before.

        Raises NotFound, and AlreadyThere when the key is in use.
        """
        owner = self.owner(name)
        with self._changing(KEY_IN_USE) as connection:
            outlives = or_(owner_keys.c.expires.is_(None), owner_keys.c.expires > expires)
            older = update(owner_keys).where(owner_keys.c.owner == owner.id, outlives)
            connection.execute(older.values(expires=expires))
            values = {"digest": digest, "owner": owner.id, "created": now}
            connection.execute(insert(owner_keys).values(values))
            self._notes.note(connection, "owner's key added", name)
        return owner

    def owner_keys(self) -> list[OwnerKey]:
        """Every key of every owner, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(owner_keys).order_by(owner_keys.c.created))
            return [OwnerKey(**row._mapping) for row in rows]

    def newest_owner_keys(self, number: int, *, limit: int) -> list[OwnerKey]:
        """The newest keys of an owner, the newest first."""
        chosen = select(owner_keys).where(owner_keys.c.owner == number)
        with self._database.reading() as connection:
            rows = connection.execute(chosen.order_by(owner_keys.c.created.desc()).limit(limit))
            return [OwnerKey(**row._mapping) for row in rows]

    def find_owner_key(self, digest: str) -> tuple[Owner, OwnerKey] | None:
        """The owner that a key belongs to, expired or not."""
        with self._database.reading() as connection:
            key = connection.execute(
                select(owner_keys).where(owner_keys.c.digest == digest)
            ).first()
            if key is None:
                return None
            row = connection.execute(select(owners).where(owners.c.id == key.owner)).one()
        return Owner(**row._mapping), OwnerKey(**key._mapping)

    # ---- orders ----

    def register(self, registrations: Sequence[Registration], *, now: int) -> Registered:
        """Register orders, all of them or none; on return that is on disk.

        The same again changes nothing. What is told anew is changed, items are added, and what is not
        told stays as it was. All items of an order that is registered for a print partner are that one's
        from now on. Raises RegistrationRefused with everything that is wrong.
        """
        with self._database.writing() as connection:
            run = _Registering(connection, registrations, now)
            if run.faults:
                raise RegistrationRefused(run.faults)
            return run.write()

    def order(self, order: str) -> RegisteredOrder | None:
        """What is registered of an order, with its items."""
        listed = select(order_items.c.item, order_items.c.reference)
        its_own = listed.where(order_items.c.order == order).order_by(order_items.c.item)
        with self._database.reading() as connection:
            row = connection.execute(_ORDERS.where(orders.c.order == order)).first()
            if row is None:
                return None
            found = connection.execute(its_own)
            return structs.replace(_registered(row), items={each[0]: each[1] for each in found})

    def orders(self, owner_name: str, *, after: str = "", limit: int) -> list[RegisteredOrder]:
        """The orders of an owner by their ids, without their items.

        The next page is ``after`` the last one's id.
        """
        chosen = _ORDERS.where(owners.c.name == owner_name, orders.c.order > after)
        with self._database.reading() as connection:
            rows = connection.execute(chosen.order_by(orders.c.order).limit(limit))
            return [_registered(row) for row in rows]

    def newest(
        self, owner_name: str, *, before: str | None = None, limit: int
    ) -> list[RegisteredOrder]:
        """The orders of an owner, the last registered first, without their items.

        The next page is ``before`` the last one's id.
        """
        place = tuple_(orders.c.registered, orders.c.order)
        with self._database.reading() as connection:
            # The number itself: of a name PostgreSQL does not know how many orders it has.
            named = select(owners.c.id).where(owners.c.name == owner_name)
            chosen = _ORDERS.where(orders.c.owner == connection.scalar(named))
            if before is not None:
                its_own = select(orders.c.registered).where(orders.c.order == before)
                chosen = chosen.where(place < (connection.scalar(its_own), before))
            ordered = chosen.order_by(orders.c.registered.desc(), orders.c.order.desc())
            return [_registered(row) for row in connection.execute(ordered.limit(limit))]

    def revision(self) -> int:
        """A number that grows with every change of owners or orders."""
        with self._database.reading() as connection:
            return facts.number(connection, facts.ORDERS_REVISION)

    def _changing(self, taken: str) -> AbstractContextManager[Connection]:
        return self._database.changing(facts.ORDERS_REVISION, taken)


_ORDERS: Final[Select[Any]] = (
    select(
        *(column for column in orders.columns if column.name not in ("owner", "partner")),
        owners.c.name.label("owner_name"),
        partners.c.name.label("partner_name"),
    )
    .join(owners, owners.c.id == orders.c.owner)
    .outerjoin(partners, partners.c.id == orders.c.partner)
)


def _registered(row: Any) -> RegisteredOrder:
    values = dict(row._mapping)
    urls = msgspec.json.decode(values.pop("tracking_urls"), type=dict[str, str])
    return RegisteredOrder(**values, tracking_urls=urls)


Row = dict[str, Any]


class Rows:
    """The rows of a table that some orders have: as they are, and as they shall be."""

    def __init__(self, connection: Connection, table: Table, ids: Iterable[str]) -> None:
        self._connection = connection
        self._table = table
        self._keys = tuple(table.primary_key.columns)
        there = connection.execute(select(table).where(table.c.order.in_(set(ids))))
        self._before = {self._key(row): row for row in (dict(each._mapping) for each in there)}
        self._after: dict[tuple[str, ...], Row] = {}

    def _key(self, row: Row) -> tuple[str, ...]:
        return tuple(row[column.name] for column in self._keys)

    def get(self, *key: str) -> Row | None:
        """The row as it shall be."""
        return self._after.get(key) or self._before.get(key)

    def put(self, row: Row) -> None:
        """Have a row be so."""
        self._after[self._key(row)] = row

    def count(self, order: str) -> int:
        """How many rows of an order there shall be."""
        return sum(key[0] == order for key in self._before.keys() | self._after.keys())

    @property
    def new(self) -> list[Row]:
        """Those that are not there yet."""
        return [row for key, row in self._after.items() if key not in self._before]

    @property
    def changed(self) -> list[Row]:
        """Those that are there, and otherwise."""
        return [row for key, row in self._after.items() if self._before.get(key, row) != row]

    def write(self) -> None:
        """Write what is not so yet."""
        if self.new:
            self._connection.execute(insert(self._table), self.new)
        if self.changed:
            # Names of their own, because those of the columns are taken for the new values.
            same = [column == bindparam(f"its_{column.name}") for column in self._keys]
            keys = [
                {f"its_{each.name}": row[each.name] for each in self._keys} for row in self.changed
            ]
            changes = [row | key for row, key in zip(self.changed, keys, strict=True)]
            self._connection.execute(update(self._table).where(*same), changes)


class _Registering:
    """One call of ``register``: what is known, and what is told over it."""

    def __init__(
        self, connection: Connection, registrations: Sequence[Registration], now: int
    ) -> None:
        self.faults: list[Fault] = []
        self._connection = connection
        self._now = now
        self._owners = _numbers(connection, owners)
        self._partners = _numbers(connection, partners)
        self._ids = {each.order for each in registrations}
        self._orders = Rows(connection, orders, self._ids)
        self._items = Rows(connection, order_items, self._ids)
        for index, each in enumerate(registrations):
            self._take(index, each)

    def _take(self, index: int, told: Registration) -> None:
        """Put what is told of one order over what is known of it."""
        owner = self._owners.get(told.owner_name)
        if owner is None:
            self._fault(index, "owner", f"there is no owner called {told.owner_name!r}")
            return
        partner = self._partners.get(told.partner_name or "")
        if told.partner_name is not None and partner is None:
            self._fault(index, "partner", f"there is no print partner called {told.partner_name!r}")
        known = self._orders.get(told.order) or _new(told.order, owner, self._now)
        if known["owner"] != owner:
            whose = next(name for name, number in self._owners.items() if number == known["owner"])
            self._fault(
                index, "owner", f"it is {whose!r} who has this order, and that never changes"
            )
            return
        self._orders.put(known | _told(told, partner))
        for item, reference in told.items.items():
            self._take_item(told.order, item, reference)
        if self._items.count(told.order) > ITEMS_MAX:
            self._fault(
                index, "items", f"an order has at most {ITEMS_MAX} items, this would have more"
            )

    def _take_item(self, order: str, item: str, reference: str | None) -> None:
        known = self._items.get(order, item) or {"order": order, "item": item, "reference": ""}
        self._items.put(known if reference is None else known | {"reference": reference})

    def _fault(self, index: int, field: str, info: str) -> None:
        self.faults.append(Fault(index, field, info))

    def write(self) -> Registered:
        """Write what is new or otherwise, and count the orders."""
        new = {row["order"] for row in self._orders.new}
        rows = [*self._orders.changed, *self._items.new, *self._items.changed]
        changed = {row["order"] for row in rows} - new
        for order in changed:
            self._orders.put({**(self._orders.get(order) or {}), "changed": self._now})
        if new or changed:
            self._orders.write()
            self._items.write()
            give_items(self._connection, new | changed)
            tell_registered(self._connection, self._orders.new, self._now)
            facts.grow(self._connection, facts.ORDERS_REVISION)
            rollups.count_again(self._connection, new | changed)
        return Registered(len(new), len(changed), len(self._ids) - len(new) - len(changed))


def _numbers(connection: Connection, table: Table) -> dict[str, int]:
    return {row.name: row.id for row in connection.execute(select(table.c.name, table.c.id))}


def _new(order: str, owner: int, now: int) -> Row:
    """An order of which nothing is known but whose it is."""
    return {
        "order": order,
        "owner": owner,
        "partner": None,
        "reference": "",
        "due": None,
        "tracking_urls": "{}",
        "registered": now,
        "changed": now,
    }


def _told(told: Registration, partner: int | None) -> Row:
    """What is told of an order, as its row has it."""
    urls = told.tracking_urls
    values = {
        "partner": partner,
        "reference": told.reference,
        "due": told.due,
        "tracking_urls": None if urls is None else _encode(urls).decode(),
    }
    return {name: value for name, value in values.items() if value is not None}


_encode: Final = msgspec.json.Encoder(order="sorted").encode


def give_items(connection: Connection, ids: Collection[str]) -> None:
    """Give the items of registered orders to the print partners that these are registered for."""
    same = orders.c.order == items.c.order
    named = select(orders.c.partner).where(same).scalar_subquery()
    other = exists().where(same, orders.c.partner != items.c.partner)
    given = connection.execute(
        update(items).where(items.c.order.in_(ids), other).values(partner=named)
    )
    if given.rowcount:
        facts.note(connection, facts.GIVEN_ON, "1")
