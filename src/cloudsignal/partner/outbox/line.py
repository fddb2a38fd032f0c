"""Connections to an outbox's file that threads take turns with, and that are closed while a process forks."""

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cloudsignal import files
from cloudsignal.partner.errors import OutboxError, OutboxFull, OutboxUnusable


class Line:
    """One connection, opened when it is needed. For one thread at a time; the others wait."""

    def __init__(
        self,
        path: Path,
        prepare: Callable[[sqlite3.Connection, Path], None],
        pragmas: Sequence[str],
    ) -> None:
        """Nothing is opened yet. ``prepare`` sees to it that there is in the file what there has to be."""
        self._path = path
        self._prepare = prepare
        self._pragmas = pragmas
        self._connection: sqlite3.Connection | None = None
        self._number: int | None = None
        self._is_closed = False
        self.lock = threading.Lock()
        _lines.add(self)

    @contextmanager
    def held(self) -> Iterator[sqlite3.Connection]:
        """The connection. What SQLite says is raised as OutboxError, in a sentence."""
        with self.lock:
            if self._is_closed:
                raise OutboxError(f"the outbox {self._path} is closed")
            try:
                self._see_that_it_is_there()
                if self._connection is None:
                    self._connection = self._opened()
                yield self._connection
            except sqlite3.DatabaseError as error:
                raise _sentence(error, self._path) from None

    def _see_that_it_is_there(self) -> None:
        # A file that was moved away could still be written to, and nobody would ever find what was put. And to
        # one that is in its place, what is known of the other does not apply.
        number = files.number_of(self._path)
        if self._number is None:
            self._number = number
        elif number != self._number:
            raise OutboxUnusable(
                f"the outbox {self._path} was replaced by another file: put it back, or start this program again"
            )

    def _opened(self) -> sqlite3.Connection:
        if not files.may_be_opened(self._path):
            raise OutboxUnusable(
                f"the outbox {self._path} cannot be written to by this user, who can look at it only while another has"
                " it open: call this as the user whose it is, or copy it into a folder of your own and look at the copy"
            )
        connection = files.connect(self._path)
        try:
            self._prepare(connection, self._path)
            for pragma in self._pragmas:
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close it for good."""
        with self.lock:
            self._is_closed = True
            self.let_go()

    def let_go(self) -> None:
        """Close the connection; the next one who needs it opens another. With the lock held."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


# SQLite keeps in memory what it has locked, for each file. A child would inherit that and not the locks: it would
# write to files that others believe nobody uses any more. So at a fork nothing is open.
_lines: Final[weakref.WeakSet[Line]] = weakref.WeakSet()
_held: Final[list[Line]] = []
_forking: Final = threading.RLock()


def _close_all() -> None:
    _forking.acquire()
    for each in list(_lines):
        each.lock.acquire()
        _held.append(each)
        each.let_go()


def _go_on() -> None:
    while _held:
        _held.pop().lock.release()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_all, after_in_parent=_go_on, after_in_child=_go_on)


def _sentence(error: sqlite3.DatabaseError, path: Path) -> OutboxError:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return OutboxFull(
                f"the outbox {path} is full, or its disk is: nothing was taken; see what waits in it with"
                " cloudsignal outbox list"
            )
        case sqlite3.SQLITE_IOERR:
            # A quota that is used up is told in this way, too.
            return OutboxError(
                f"the outbox {path} cannot be written or read ({error}): look whether its disk is full, or"
                " failing"
            )
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return OutboxUnusable(
                f"{path} is no outbox, or is damaged ({error}): keep it aside, and begin another one"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return OutboxUnusable(f"the outbox {path} cannot be written to: {error}")
        case 0:
            return OutboxUnusable(
                f"the outbox {path} is not there any more: put it back, or start this program again"
            )
        case _:
            return OutboxError(f"the outbox {path} cannot be used just now: {error}")
