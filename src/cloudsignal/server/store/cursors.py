"""How far the readers of the log have come: what none of them waits for may be pruned."""

from sqlalchemy import Connection, delete, insert, select, update

from cloudsignal.server.store.database import Database
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.schema import cursors


class Cursors:
    """The verbs of the readers' cursors. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def advance(self, name: str, position: int) -> None:
        """Note that a reader has passed a position. It never goes back; the first time makes it."""
        with self._database.writing() as connection:
            if name not in positions(connection):
                connection.execute(insert(cursors).values(name=name, position=position))
            else:
                behind = cursors.c.position < position
                connection.execute(
                    update(cursors).where(cursors.c.name == name, behind).values(position=position)
                )

    def positions(self) -> dict[str, int]:
        """The position that each reader has passed, by its name."""
        with self._database.reading() as connection:
            return positions(connection)

    def remove(self, name: str) -> None:
        """Forget a reader: nothing is kept for it any more. Raises NotFound if there is none of that name."""
        with self._database.writing() as connection:
            if not connection.execute(delete(cursors).where(cursors.c.name == name)).rowcount:
                raise NotFound(f"there is no reader {name!r}")


def positions(connection: Connection) -> dict[str, int]:
    """The same inside a transaction."""
    rows = connection.execute(select(cursors.c.name, cursors.c.position))
    return {row.name: row.position for row in rows}
