"""A store, opened: its verbs in one place."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine

from cloudsignal.server.store import database, driver, log, rebuilding
from cloudsignal.server.store.access import Access
from cloudsignal.server.store.errors import StoreDamaged, StoreUnusable
from cloudsignal.server.store.reading import Reading
from cloudsignal.server.store.sqlite import Writer


class Store:
    """Everything the server and the command line ask of a database.

    ``append`` is for one thread; ``access`` and ``reading`` are for any number of them.
    """

    def __init__(self, path: Path, engine: Engine, writer: Writer) -> None:
        self._path = path
        self._engine = engine
        self._writer = writer
        self.access = Access(engine)
        self.reading = Reading(engine)

    def append(self, arrivals: Sequence[log.Arrival]) -> list[log.Answer]:
        """Write posts to the log in one transaction; on return all of it is on disk.

        One answer a post, in their order. Raises StoreUnavailable when nothing was written.
        """
        return log.append(self._writer, arrivals)

    def rebuild(self, *, progress: rebuilding.Progress = rebuilding.silent) -> rebuilding.Rebuilt:
        """Fold every item again from the log, while the server runs or not.

        ``progress`` is told after every batch how many signals of how many have been folded.
        """
        return rebuilding.rebuild(self._engine, progress=progress)

    def check(self) -> int:
        """The newest position, if the store is there. Raises StoreUnavailable."""
        # What is open could be read long after the file is gone.
        with driver.translated():
            driver.number_of(self._path)
        return self.reading.last_position()

    def close(self) -> None:
        """Give every connection back."""
        self._writer.close()
        self._engine.dispose()


def open_store(url: str) -> Store:
    """Open the store that a database URL names; make it, or bring its schema up to date, first.

    Raises StoreUnusable with a sentence when that cannot be, StoreUnavailable when not just now.
    """
    path = driver.path_of(url)
    if not path.parent.is_dir():
        raise StoreUnusable(
            f"there is no folder {path.parent}: make it, or choose another --database"
        )
    try:
        if not path.exists():
            path.touch(mode=0o644)
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be made: {error.strerror}") from None
    engine = database.create(path)
    try:
        database.bring_up_to_date(engine)
    except StoreDamaged as error:
        engine.dispose()
        raise StoreUnusable(f"{path} is no cloudsignal store: {error}") from None
    except BaseException:
        engine.dispose()
        raise
    return Store(path, engine, Writer(path))
