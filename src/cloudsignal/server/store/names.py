"""Print partners and owners by their names: which number has one."""

from typing import Final

from sqlalchemy import Connection, Table, select

from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.schema import owners, partners

NOBODY: Final = -1
"""The number of who is not there. No row has it; 0 stands for all print partners where something is counted."""
_CALLED: Final = {owners.name: "owner", partners.name: "print partner"}


def number_of(connection: Connection, table: Table, name: str | None) -> int:
    """The number of the print partner or the owner of a name; ``NOBODY`` if there is none."""
    return connection.scalar(select(table.c.id).where(table.c.name == name)) or NOBODY


def number_or_none(connection: Connection, table: Table, name: str | None) -> int | None:
    """The same, but None where no name is given: for those who mean everybody by that."""
    return None if name is None else number_of(connection, table, name)


def known_number(connection: Connection, table: Table, name: str) -> int:
    """The number of the print partner or the owner of a name. Raises NotFound."""
    number = number_of(connection, table, name)
    if number == NOBODY:
        raise NotFound(f"there is no {_CALLED[table.name]} called {name!r}")
    return number
