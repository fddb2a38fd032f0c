"""Ends what takes too long: the server's own timers leave out how long a commit waits for a standby."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from psycopg import Connection, Error

LOOK_S: Final = 0.5
"""How often it looks."""
CANCEL_S: Final = 3.0
"""How long the server may take to end something when it is asked to. Then it is left alone."""


class Watchdog:
    """Watches one connection at a time, from a thread of its own."""

    def __init__(self) -> None:
        self._watched: tuple[Connection[Any], float] | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, connection: "Connection[Any]", within_s: float) -> Iterator[None]:
        """Cancel what the connection is doing once it takes longer, and hang up if that is no use."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._watched = connection, time.monotonic() + within_s
        try:
            yield
        finally:
            self._watched = None

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_S)
            watched = self._watched
            if watched is not None and time.monotonic() > watched[1]:
                self._end(*watched)

    def _end(self, connection: "Connection[Any]", deadline: float) -> None:
        with suppress(Error, OSError):
            if time.monotonic() < deadline + CANCEL_S:
                connection.cancel_safe(timeout=CANCEL_S)
                return
            # Nobody answers. The socket is closed by the one that waits on it.
            with socket.socket(fileno=connection.fileno()) as line:
                try:
                    line.shutdown(socket.SHUT_RDWR)
                finally:
                    line.detach()
