"""What only one node at a time does: each says again and again that it is still there."""

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.schema import leases


class Leases:
    """The verbs of leases. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hold(self, name: str, holder: str, *, lease_s: float) -> bool:
        """Be the one for so long from now on, if nobody else is: whether it is so.

        The clock is the database's. Where a single process serves the store, it is the one.
        """
        if not self._database.backend.nodes:
            return True
        try:
            with self._database.writing() as connection:
                now = self._database.backend.now(connection)
                until = now + round(lease_s * SECOND_US)
                free = or_(leases.c.holder == holder, leases.c.until < now)
                taken = update(leases).where(leases.c.name == name, free)
                if connection.execute(taken.values(holder=holder, until=until)).rowcount:
                    return True
                if connection.scalar(select(leases.c.name).where(leases.c.name == name)):
                    return False
                connection.execute(insert(leases).values(name=name, holder=holder, until=until))
                return True
        except IntegrityError:  # Another was the first of all in the same moment.
            return False

    def is_free(self, name: str) -> bool:
        """Whether nobody is the one now."""
        if not self._database.backend.nodes:
            return True
        with self._database.reading() as connection:
            until = connection.scalar(select(leases.c.until).where(leases.c.name == name))
            return until is None or until < self._database.backend.now(connection)

    def give_up(self, name: str, holder: str) -> None:
        """Let another be the one at once."""
        if self._database.backend.nodes:
            its_own = leases.c.name == name, leases.c.holder == holder
            with self._database.writing() as connection:
                connection.execute(delete(leases).where(*its_own))
