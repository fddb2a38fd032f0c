"""What a store knows of itself: a text for each name."""

import secrets
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from cloudsignal.server.store import log
from cloudsignal.server.store.schema import facts

REVISION: Final = "access_revision"
"""How often it was changed who may speak."""
ORDERS_REVISION: Final = log.ORDERS_REVISION
"""How often owners or orders were changed."""
ENDPOINTS_REVISION: Final = "endpoints_revision"
"""How often endpoints were changed by people."""
USERS_REVISION: Final = "users_revision"
"""How often users were changed."""
ALERTS_REVISION: Final = "alerts_revision"
"""How often it was changed what alerts are raised for, and how they are told."""
GIVEN_ON: Final = "given_on"
"""That items were given to another print partner than the one that reported them first."""
SECRET_CHECK: Final = "secret_check"
"""What the secret of its keys is known by."""
PRUNED: Final = "pruned"
"""The position up to which signals were removed from the log, or are about to be."""
COUNTING_ANEW: Final = "counting_anew"
"""How far it is prepared that everything is counted again, while it is: ``rollups.py`` says how."""

IDENTITY: Final = "identity"
"""What tells a store and its copies from all others."""
COPYING: Final = "copying"
"""Of which store this is an unfinished copy."""
PROBE: Final = "probe"
"""What is noted for a moment, to see whether two URLs lead to one store."""


def read(connection: Connection, name: str) -> str | None:
    """What is noted under a name, None if nothing is."""
    return connection.scalar(select(facts.c.value).where(facts.c.name == name))


def note(connection: Connection, name: str, value: str) -> None:
    """Note something under a name, in place of what was."""
    changed = connection.execute(update(facts).where(facts.c.name == name).values(value=value))
    if not changed.rowcount:
        connection.execute(insert(facts).values(name=name, value=value))


def number(connection: Connection, name: str) -> int:
    """The number that is noted under a name, 0 if none is."""
    return int(read(connection, name) or 0)


def grow(connection: Connection, name: str) -> None:
    """Note the next number under a name."""
    note(connection, name, str(number(connection, name) + 1))


def forget(connection: Connection, name: str) -> None:
    """Note nothing under a name any more."""
    connection.execute(delete(facts).where(facts.c.name == name))


def identity(connection: Connection) -> str:
    """What tells a store and its copies from all others; given to it when it is first asked for."""
    found = read(connection, IDENTITY)
    if found is None:
        found = secrets.token_hex(16)
        note(connection, IDENTITY, found)
    return found


def pruned(connection: Connection) -> int:
    """The position beyond which the log is whole, 0 if nothing was ever removed from it."""
    return number(connection, PRUNED)
