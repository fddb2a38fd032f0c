"""What people changed: who, from where, what it was before and what it is now.

Noted inside the transaction of the change: there is neither one without the other.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, insert, select

from cloudsignal.server.store.database import Database
from cloudsignal.server.store.schema import changes

NAME_MAX: Final = 255
ADDRESS_MAX: Final = 64


class Actor(Struct, frozen=True):
    """Who changes something, by a name that people know, and the address they do it from."""

    name: str
    address: str = ""


THE_SERVER: Final = Actor("the server")
"""Who changes what nobody else does."""


class Change(Struct, frozen=True):
    """One change; ``before`` and ``after`` are what was and is then, None where there was or is nothing."""

    id: int
    at: int
    actor: str
    address: str
    what: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class Changes:
    """The verbs of what was changed. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def changes(self, *, before: int | None = None, limit: int) -> list[Change]:
        """The newest changes, or those before one, the newest first."""
        chosen = select(changes).order_by(changes.c.id.desc()).limit(limit)
        if before is not None:
            chosen = chosen.where(changes.c.id < before)
        with self._database.reading() as connection:
            return [_change(row) for row in connection.execute(chosen)]


class Notes:
    """Where the verbs of a store note what they change, for one actor."""

    def __init__(self, database: Database, by: Actor) -> None:
        self._database = database
        self._by = by

    def note(
        self,
        connection: Connection,
        what: str,
        subject: str,
        *,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        """Note a change, inside its transaction. What is secret must not be in it."""
        connection.execute(
            insert(changes).values(
                at=self._database.backend.now(connection),
                actor=self._by.name[:NAME_MAX],
                address=self._by.address[:ADDRESS_MAX],
                what=what,
                subject=subject[:NAME_MAX],
                before=_written(before),
                after=_written(after),
            )
        )


def _written(values: dict[str, Any] | None) -> str | None:
    return None if values is None else msgspec.json.encode(values).decode()


def _change(row: Any) -> Change:
    values = dict(row._mapping)
    for name in ("before", "after"):
        values[name] = None if values[name] is None else msgspec.json.decode(values[name])
    return Change(**values)
