"""What of the log is settled, and so may be read: it would survive the machine of the database."""

from threading import Lock
from typing import Final

from cloudsignal.server.store.backends import Backend
from cloudsignal.server.store.errors import StoreUnavailable

SETTLING_S: Final = 10.0
"""How long one waits for those who came before; as long again, until its own turn is given up."""


class Settling:
    """Waits until what can be seen in the log is settled. For any number of threads.

    Where nodes take turns to write, a commit can be seen a moment before it is on disk, and on the
    synchronous standby's if there is one. Were it lost then, its positions would be given out again,
    and whoever had read them would never read what stands there now.
    """

    def __init__(self, backend: Backend) -> None:
        # With a single process that writes, a commit is seen once it is on disk.
        self._writer = backend.writer() if backend.nodes else None
        self._settled = 0
        self._lock = Lock()

    def settle(self, position: int) -> None:
        """Return once the log is settled up to a position that was read. Raises StoreUnavailable."""
        if self._writer is None or position <= self._settled:
            return
        if not self._lock.acquire(timeout=SETTLING_S):
            raise StoreUnavailable("others still wait for the newest signals to be on disk")
        try:
            if position <= self._settled:
                return
            with self._writer.transaction(alone=False):
                self._writer.confirm()
            self._settled = position
        finally:
            self._lock.release()

    def close(self) -> None:
        """Give its connection back."""
        if self._writer is not None:
            self._writer.close()
