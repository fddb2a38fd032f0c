"""A process beside the one that takes signals in: started there, and ended with it; from both its ends."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from cloudsignal.server.settings import Settings
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.writer import READ_BYTES, Frames

if TYPE_CHECKING:
    from cloudsignal.server.logs import Logger
    from cloudsignal.server.store.store import Store

LOOK_S: Final = 1.0
"""How often to look whether the process is needed, and whether it is still there."""
AGAIN_S: Final = 5.0
"""How soon after one that failed by itself another process is started at the earliest."""
END_S: Final = 4.0
"""How long the process may take to end."""
TASK_BYTES_MAX: Final = 1 << 20


class Companion:
    """The process, from the side of the one that takes signals in."""

    MODULE: ClassVar[str]
    """The module that is run as the process: it calls ``run``."""
    DOES: ClassVar[str]
    """What it does, for people."""

    def __init__(
        self,
        settings: Settings,
        store: "Store",
        logger: "Logger",
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._store = store
        self._timer = timer
        self._logger = logger
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._started = 0.0
        self._frames = Frames()

    def _is_needed(self) -> bool:
        """Whether it has to run, while it does not yet. Called in a thread. May raise StoreUnavailable."""
        raise NotImplementedError

    def _take(self, said: bytes) -> None:
        """Take in what the process says: the payload of a frame."""

    def _begin(self) -> None:
        """Prepare for a new process."""

    async def keep(self) -> None:
        """Have it run, from when it is needed; start another one when it ends."""
        while True:
            try:
                if self._process is not None or await asyncio.to_thread(self._is_needed):
                    self._see_to_it()
            except StoreUnavailable:
                pass  # That is said elsewhere, and passes.
            except OSError as error:  # No more processes or files just now: that passes too.
                self._logger.warning(
                    f"the process that {self.DOES} cannot be started", why=str(error)
                )
            await asyncio.sleep(LOOK_S)

    def say(self, words: bytes) -> None:
        """Say something to the process, if it runs."""
        if self._line is not None:
            # Full: it was said often enough. Broken: it is started again.
            with suppress(OSError):
                self._line.send(words)

    async def stop(self) -> None:
        """End it, and wait for that."""
        self._hang_up()
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._process.wait, END_S)
        # What it did and could not note is done again: nothing is lost.
        self._process.kill()
        await asyncio.to_thread(self._process.wait)

    def _see_to_it(self) -> None:
        now, code = self._timer(), None if self._process is None else self._process.poll()
        if self._process is not None and code is None:
            return
        if code and code > 0 and now < self._started + AGAIN_S:
            return  # What it failed of so soon will hardly have passed.
        self._started = now
        if self._process is not None:
            self._logger.error(
                f"the process that {self.DOES} ended; it is started again", code=code
            )
        self._hang_up()
        self._begin()
        self._start()

    def _start(self) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.MODULE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        # Not as an argument: those are there for every user of the machine to read.
        with suppress(OSError):  # It has ended already, and that is noticed elsewhere.
            self._line.sendall(msgspec.json.encode(self._settings) + b"\n")
        self._line.setblocking(False)
        self._frames = Frames()
        asyncio.get_running_loop().add_reader(self._line, self._hear, self._line)

    def _hear(self, line: socket.socket) -> None:
        """Take in what the process says."""
        heard = _said(line)
        if heard == b"":
            asyncio.get_running_loop().remove_reader(line)
        for payload in self._frames.feed(heard or b""):
            self._take(payload)

    def _hang_up(self) -> None:
        if self._line is not None:
            asyncio.get_running_loop().remove_reader(self._line)
            self._line.close()
            self._line = None


# ---- in the process itself ----


def run(act: Callable[[Settings, socket.socket], Coroutine[Any, Any, None]]) -> None:
    """Run as the process that a ``Companion`` started, and act on the line to it until it hangs up."""
    # Whoever stops the server stops all of its processes at once; this one ends when the server hangs up.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    line = socket.socket(fileno=int(sys.argv[1]))
    with line.makefile("rb", buffering=0) as lines:
        task = lines.readline(TASK_BYTES_MAX)
    if not task:
        return
    import uvloop

    uvloop.run(act(msgspec.json.decode(task, type=Settings), line))


async def opened(url: str, line: socket.socket) -> "Store | None":
    """The store, once it can be had; None if the other end of the line hangs up before."""
    from cloudsignal.server.store.store import open_store

    while not _has_hung_up(line):
        with suppress(StoreUnavailable):
            return await asyncio.to_thread(open_store, url)
        await asyncio.sleep(LOOK_S)
    return None


def listen(line: socket.socket, woken: Callable[[], None]) -> "asyncio.Future[None]":
    """Hear what is said on a line, until the other end hangs up: then the future is done."""
    loop = asyncio.get_running_loop()
    hung_up: asyncio.Future[None] = loop.create_future()

    def heard() -> None:
        said = _said(line)
        if said:
            woken()
        elif said == b"":
            loop.remove_reader(line)
            if not hung_up.done():
                hung_up.set_result(None)

    line.setblocking(False)
    loop.add_reader(line, heard)
    return hung_up


async def first(parts: "list[asyncio.Future[None]]") -> None:
    """Wait until one part is over, and end the others. Raises what it ended with."""
    done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    for part in parts:
        part.cancel()
    await asyncio.gather(*parts, return_exceptions=True)
    for part in done:
        part.result()


def _has_hung_up(line: socket.socket) -> bool:
    return _said(line, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""


def _said(line: socket.socket, flags: int = 0) -> bytes | None:
    """What the other end has said: None for nothing, empty if it has hung up."""
    try:
        return line.recv(READ_BYTES, flags)
    except BlockingIOError:
        return None
    except OSError:
        return b""
