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
    """Watches one connection at a time, from a thread of its own that is there until it is closed."""

    def __init__(self) -> None:
        self._watched: tuple[Connection[Any], float] | None = None
        self._closed: threading.Event | None = None

    def close(self) -> None:
        """End the thread; the next thing to be watched begins another one."""
        if self._closed is not None:
            self._closed.set()
            self._closed = None

    @contextmanager
    def over(self, connection: "Connection[Any]", within_s: float) -> Iterator[None]:
        """Cancel what the connection is doing once it takes longer, and hang up if that is no use."""
        if self._closed is None:
            self._closed = threading.Event()
            threading.Thread(target=self._run, args=(self._closed,), daemon=True).start()
        self._watched = connection, time.monotonic() + within_s
        try:
            yield
        finally:
            self._watched = None

    def _run(self, closed: threading.Event) -> None:
        while not closed.wait(LOOK_S):
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
