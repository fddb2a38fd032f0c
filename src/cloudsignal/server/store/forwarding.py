"""What became of telling owners of the signals of an item. Instants are microseconds since 1970."""

from collections.abc import Collection, Iterator
from typing import Any, Final, Literal, NamedTuple

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, or_, select

from cloudsignal.server.store import facts, messages
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.deliveries import NotedState
from cloudsignal.server.store.schema import attempts, deliveries, endpoints, orders, owners

TRIES_MAX: Final = 1_000
"""How many attempts to tell of some signals are read with them: the newest."""


class Try(Struct, frozen=True):
    """How one attempt went: ``error`` is empty if it was taken; ``took`` is in microseconds."""

    attempt: int
    at: int
    took: int
    status: int | None
    error: str


class Forwarded(Struct, frozen=True, kw_only=True):
    """What became of one signal at one endpoint.

    It ``failed`` if it was not taken, and nothing more is noted of it; ``due`` is when it is tried next, if that is
    known, and ``why`` what became of the last attempt. ``tries`` has the newest first.
    """

    endpoint: int
    owner_name: str
    shown: str
    state: Literal["delivered", "failed"] | NotedState
    due: int | None = None
    why: str = ""
    tries: list[Try] = []


class Forwarding:
    """The verb that tells what was forwarded. It may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(
        self, order: str, positions: Collection[int], *, owner: str | None = None
    ) -> dict[int, list[Forwarded]]:
        """What became of signals of an order, by position: at each endpoint that was told, or is going to be.

        With the name of an ``owner``, at its endpoints only. Attempts are forgotten after a while.
        """
        with self._database.reading() as connection:
            store = facts.read(connection, facts.IDENTITY)
            if store is None:
                return {}
            named = {messages.of_signal(store, position): position for position in positions}
            tries = _tries(connection, named, owner)
            noted = _noted(connection, order, named, owner)
        found: dict[int, list[Forwarded]] = {}
        for told in sorted({*tries, *noted}):
            forwarded = _forwarded(told, tries.get(told, []), noted.get(told))
            found.setdefault(named[told.message], []).append(forwarded)
        return found


class _Told(NamedTuple):
    """A message at an endpoint, and whose that is."""

    endpoint: int
    message: str
    owner_name: str
    shown: str


class _Noted(NamedTuple):
    """How a delivery stands that is noted."""

    state: NotedState
    due: int
    why: str


def _forwarded(told: _Told, tries: list[Try], noted: _Noted | None) -> Forwarded:
    values: dict[str, Any] = told._asdict() | {"tries": tries}
    del values["message"]
    if noted is None:
        return Forwarded(**values, state="failed" if tries[0].error else "delivered")
    due = None if noted.state == "dead" else noted.due or None
    return Forwarded(**values, state=noted.state, due=due, why=noted.why)


def _tries(
    connection: Connection, told: Collection[str], owner: str | None
) -> dict[_Told, list[Try]]:
    """The attempts to tell of messages."""
    made = (attempts.c[name] for name in Try.__struct_fields__)
    chosen = _at_endpoints(attempts, *made).where(attempts.c.message.in_(told), *_is_of(owner))
    newest = chosen.order_by(attempts.c.id.desc()).limit(TRIES_MAX)
    found: dict[_Told, list[Try]] = {}
    for row in connection.execute(newest):
        found.setdefault(_Told(*row[:4]), []).append(Try(*row[4:]))
    return found


def _noted(
    connection: Connection, order: str, told: Collection[str], owner: str | None
) -> dict[_Told, _Noted]:
    """What is noted of messages, at the endpoints of those who may be told of an order."""
    whose = select(orders.c.owner).where(orders.c.order == order).scalar_subquery()
    how = (deliveries.c[name] for name in _Noted._fields)
    chosen = _at_endpoints(deliveries, *how).where(
        or_(endpoints.c.owner == whose, owners.c.unregistered),
        deliveries.c.message.in_(told),
        *_is_of(owner),
    )
    return {_Told(*row[:4]): _Noted(*row[4:]) for row in connection.execute(chosen)}


def _at_endpoints(table: Any, *columns: ColumnElement[Any]) -> Select[Any]:
    """Rows about messages, in the order of the fields of ``_Told`` and then these."""
    where = endpoints.c.id, table.c.message, owners.c.name, endpoints.c.shown
    joined = select(*where, *columns).join(endpoints, endpoints.c.id == table.c.endpoint)
    return joined.join(owners, owners.c.id == endpoints.c.owner)


def _is_of(owner: str | None) -> Iterator[ColumnElement[bool]]:
    """What makes an endpoint that of an owner, if one is named."""
    if owner is not None:
        yield owners.c.name == owner
