"""Several server processes on one port: starts them, replaces those that end, ends them all.

Each has sockets of its own that share the port, so that the system shares connections out evenly.
The sockets are made here and handed down: connections that come while a process is being replaced
wait for the next one. Each process hangs on a socket pair: it says there that it listens, and ends
when this end is gone.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from cloudsignal.server import process
from cloudsignal.server.settings import InForce, Settings, SettingsError
from cloudsignal.server.store.backends import backend_of
from cloudsignal.server.store.errors import StoreError

if TYPE_CHECKING:
    from cloudsignal.server.connections import Sockets
    from cloudsignal.server.logs import Logger

RESTART_S: Final = 1.0
"""How long to wait before a process that ended is replaced."""
TASK_BYTES_MAX: Final = 1 << 20


class CannotStart(SettingsError):
    """A server process ended before it listened; what it said before tells why."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Task(Struct):
    """What a process has to do: the settings, its listening sockets, its place in the shared folder."""

    in_force: InForce
    sockets: list[int]
    shared: str


def _check(settings: Settings) -> None:
    """Make sure that several processes can serve this store. Raises SettingsError."""
    if not backend_of(settings.database).nodes:
        raise SettingsError(
            "a store on SQLite is written by one process: set workers to 1, or database to a"
            " postgresql:// URL"
        )


def run(in_force: InForce, ready: process.Ready, *, prepare: process.Prepare) -> None:
    """Serve with as many processes as ``workers`` says, until SIGTERM or SIGINT.

    ``ready`` is told once all of them listen. Raises StoreError or SettingsError with a sentence.
    """
    settings = in_force.settings
    _check(settings)
    from cloudsignal.server import addresses, connections, logs
    from cloudsignal.server.keys import open_keyring
    from cloudsignal.server.store.store import open_store

    logger = logs.configure(settings)
    store = open_store(settings.database)
    try:
        prepare(store, open_keyring(settings, store))
    finally:
        store.close()
    connections.allow_many()
    sockets = connections.bind(settings.host, settings.port, settings.workers)
    address = addresses.url(*sockets[0][0].getsockname()[:2])
    with TemporaryDirectory(prefix="cloudsignal-") as shared:
        workers = Workers(in_force, sockets, Path(shared), logger)
        workers.run(lambda: ready(logger, address))


class Workers:
    """The processes, each with its sockets."""

    def __init__(
        self, in_force: InForce, sockets: "list[Sockets]", shared: Path, logger: "Logger"
    ) -> None:
        self._in_force = in_force
        self._shared = shared
        self._logger = logger
        self._stopping = False
        self._serial = 0
        self._sockets = sockets
        self._free = list(sockets)
        self._running: dict[int, Worker] = {}

    def run(self, ready: Callable[[], None]) -> None:
        """Start all, replace those that end, and return once all have ended after a signal.

        Raises CannotStart when one of them ends before it listens.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while self._free and not self._stopping:
            self._start()
        listening = all(worker.listens() for worker in list(self._running.values()))
        if listening and not self._stopping:
            ready()
        elif not self._stopping:
            self._end()
            raise CannotStart
        while self._running or (self._free and not self._stopping):
            self._replace()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        for worker in list(self._running.values()):
            worker.terminate()
        # Whoever connects from now on is refused at once, instead of waiting for nobody.
        for sockets in self._sockets:
            for each in sockets:
                each.close()

    def _end(self) -> None:
        self._stop(signal.SIGTERM, None)
        while self._running:
            self._reap()

    def _replace(self) -> None:
        """Wait for a process to end, and begin as many as are missing."""
        if self._running:
            self._reap()
        if not self._stopping and self._free:
            # Not at once: what ended it may be lasting.
            time.sleep(RESTART_S)
        while self._free and not self._stopping:
            try:
                self._start()
            except OSError as error:
                # No more processes or files just now: that passes.
                self._logger.warning("a server process cannot be started", why=str(error))
                return

    def _start(self) -> None:
        self._serial += 1
        shared = self._shared / str(self._serial)
        try:
            worker = Worker(self._in_force, self._free[-1], shared)
        except ValueError:
            if self._stopping:
                return  # The signal came in between, and its sockets are closed.
            raise
        self._free.pop()
        self._running[worker.process.pid] = worker
        if self._stopping:  # The signal came while it was being started.
            worker.terminate()

    def _reap(self) -> None:
        """Wait for a process to end, and for all that have ended with it."""
        from cloudsignal.server import scoreboard

        for pid, worker in _ended(self._running):
            del self._running[pid]
            worker.parent.close()
            scoreboard.settle(worker.shared)
            self._free.append(worker.sockets)
            if not self._stopping:
                self._logger.error(
                    "a server process ended; it is started again",
                    pid=pid,
                    code=worker.process.returncode,
                )


def _ended(running: "dict[int, Worker]") -> "list[tuple[int, Worker]]":
    """Those that have ended, one at least."""
    while not (found := [each for each in running.items() if each[1].has_ended()]):
        # Until one ends, whichever that is; it is left for Popen to ask after.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    return found


class Worker:
    """One process, from this side."""

    def __init__(self, in_force: InForce, sockets: "Sockets", shared: Path) -> None:
        self.sockets = sockets
        self.shared = shared
        self.parent, theirs = socket.socketpair()
        numbers = [each.fileno() for each in sockets]
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno(), *numbers],
                stdin=subprocess.DEVNULL,
            )
        # Not as an argument: those are there for every user of the machine to read.
        task = msgspec.json.encode(Task(in_force, numbers, str(shared)))
        with suppress(OSError):  # It has ended already, and that is noticed elsewhere.
            self.parent.sendall(task + b"\n")

    def listens(self) -> bool:
        """Wait until it listens, or has ended; which of both."""
        try:
            return bool(self.parent.recv(1))
        except OSError:
            return False

    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def terminate(self) -> None:
        """Ask it to end."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)


def main() -> None:
    """Run as the process that ``Worker`` started."""
    parent = socket.socket(fileno=int(sys.argv[1]))
    with parent.makefile("rb") as lines:
        line = lines.readline(TASK_BYTES_MAX)
    if not line:
        return
    task = msgspec.json.decode(line, type=Task)

    def ready(logger: "Logger", address: str) -> None:
        parent.sendall(b"\n")

    try:
        process.run(
            task.in_force,
            ready,
            sockets=[socket.socket(fileno=number) for number in task.sockets],
            parent=parent,
            shared=Path(task.shared),
        )
    except (StoreError, SettingsError) as error:
        from cloudsignal.server import logs

        logs.configure(task.in_force.settings).error(
            "a server process cannot serve", why=str(error)
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
