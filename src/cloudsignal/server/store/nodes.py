"""Which node tells which endpoint's owner: one at a time, and another one soon after it is gone.

A node says again and again that it is there. What is told by one that has not done so in time is free, and
those that are there share all evenly.
"""

from collections.abc import Collection
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.store import endpoints as its_endpoints
from cloudsignal.server.store import facts
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.endpoints import Endpoint
from cloudsignal.server.store.schema import endpoints, nodes

ALONE_TIMES: Final = 10
"""How many times as long a node is believed to be there, where there is only one."""


class Turn(Struct, frozen=True):
    """What a node is to tell: these endpoints, less a ``surplus`` that it should give up to others.

    One node of all ``leads``; ``revision`` is that of the endpoints.
    """

    endpoints: list[Endpoint]
    surplus: int
    leads: bool
    revision: int


class Nodes:
    """The verbs of the nodes that tell. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stay(self, name: str, *, lease_s: float) -> Turn:
        """Say that a node is there for so long, and take what is free: all that is its own now.

        Where a single process serves the store, that is everything.
        """
        if not self._database.backend.nodes:
            return self._stay_alone(name, lease_s=lease_s * ALONE_TIMES)
        with self._database.writing() as connection:
            return self._stay(connection, name, lease_s)

    def _stay_alone(self, name: str, *, lease_s: float) -> Turn:
        """Nobody waits for this node to be gone, so it is seldom said that it is not."""
        with self._database.reading() as connection:
            soon = self._database.backend.now(connection) + int(lease_s * SECOND_US / 2)
            known = [(row.name, row.until > soon) for row in connection.execute(select(nodes))]
            if known == [(name, True)] and not _free(connection, 1):
                return _turn(connection, name, surplus=0)
        with self._database.writing() as connection:
            connection.execute(delete(nodes).where(nodes.c.name != name))
            return self._stay(connection, name, lease_s)

    def _stay(self, connection: Connection, name: str, lease_s: float) -> Turn:
        now = self._database.backend.now(connection)
        _note(connection, name, now=now, until=now + int(lease_s * SECOND_US))
        share = _share(connection)
        return _turn(connection, name, surplus=max(0, _take(connection, name, share) - share))

    def any(self) -> bool:
        """Whether there is a node that tells owners now."""
        with self._database.reading() as connection:
            now = self._database.backend.now(connection)
            until = connection.scalar(select(func.max(nodes.c.until)))
            return until is not None and until > now

    def leave(self, name: str) -> None:
        """Say that a node tells nobody any more: others may at once."""
        with self._database.writing() as connection:
            connection.execute(delete(nodes).where(nodes.c.name == name))
            connection.execute(_MINE, {"its": name})

    def give_up(self, name: str, numbers: Collection[int]) -> None:
        """Say that a node has ended telling some endpoints, which others wait for."""
        with self._database.writing() as connection:
            connection.execute(_MINE.where(endpoints.c.id.in_(numbers)), {"its": name})


_MINE: Final = update(endpoints).where(endpoints.c.node == bindparam("its")).values(node=None)


def _turn(connection: Connection, name: str, *, surplus: int) -> Turn:
    return Turn(
        its_endpoints.on_node(connection, name),
        surplus,
        connection.scalar(select(func.min(nodes.c.name))) == name,
        facts.number(connection, facts.ENDPOINTS_REVISION),
    )


def _note(connection: Connection, name: str, *, now: int, until: int) -> None:
    connection.execute(delete(nodes).where(nodes.c.until <= now))
    changed = connection.execute(update(nodes).where(nodes.c.name == name).values(until=until))
    if not changed.rowcount:
        connection.execute(insert(nodes).values(name=name, until=until))


def _share(connection: Connection) -> int:
    """How many endpoints each node has to tell at most."""
    present = connection.scalar(select(func.count()).select_from(nodes)) or 1
    every = connection.scalar(select(func.count()).where(its_endpoints.TOLD)) or 0
    return -(-every // present)


def _take(connection: Connection, name: str, share: int) -> int:
    """Take as many of those that are free as the share allows: how many there are then."""
    mine = (
        connection.scalar(select(func.count()).where(its_endpoints.TOLD, endpoints.c.node == name))
        or 0
    )
    if mine >= share:
        return mine
    # Whoever was late may just be noting something of them: what is there after that is taken over.
    chosen = _free(connection, share - mine, for_update=True)
    if chosen:
        connection.execute(update(endpoints).where(endpoints.c.id.in_(chosen)).values(node=name))
    return mine + len(chosen)


def _free(connection: Connection, most: int, *, for_update: bool = False) -> list[int]:
    """The endpoints that no node tells that is there, the first so many."""
    gone = endpoints.c.node.not_in(select(nodes.c.name))
    free = select(endpoints.c.id).where(its_endpoints.TOLD, endpoints.c.node.is_(None) | gone)
    wanted = free.order_by(endpoints.c.id).limit(most)
    return list(connection.scalars(wanted.with_for_update() if for_update else wanted))
