"""The process that tells order owners, beside the one that takes signals in: started there, and ended with it."""

import asyncio
import gc
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import msgspec

from cloudsignal.server.metrics import Told
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.writer import GC_ALLOCATIONS, READ_BYTES, Frames, frame

if TYPE_CHECKING:
    from cloudsignal.server.delivery.engine import Engine
    from cloudsignal.server.logs import Logger
    from cloudsignal.server.store.store import Store

LOOK_S: Final = 1.0
"""How often to look whether there is anybody to tell, and whether the process is still there."""
AGAIN_S: Final = 5.0
"""How soon after one that failed by itself another process is started at the earliest."""
END_S: Final = 4.0
"""How long the process may take to end."""
UNDER_WAY_S: Final = 2.0
"""How long what is being posted may take when it ends; what is not over by then will be posted again."""
SAY_S: Final = 1.0
"""How old the figures may be that others are told."""
TASK_BYTES_MAX: Final = 1 << 20
_WAKE: Final = b"."
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Told).decode


class Deliverer:
    """The process, from the side of the one that takes signals in."""

    def __init__(
        self,
        settings: Settings,
        store: "Store",
        logger: "Logger",
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._timer = timer
        self._store = store
        self._logger = logger
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._started = 0.0
        self._frames = Frames()
        self._counted = Told()
        """What the process has counted that runs now."""
        self._counted_before = Told()
        """And those before it, all together."""

    def told(self) -> Told:
        """What has been counted of telling order owners since the start."""
        told = Told()
        for each in (self._counted_before, self._counted):
            told.add(each)
        return told

    async def keep(self) -> None:
        """Have it run, from when there is anybody to tell; start another one when it ends."""
        while True:
            try:
                if self._process is not None or await asyncio.to_thread(self._is_needed):
                    self._see_to_it()
            except StoreUnavailable:
                pass  # That is said elsewhere, and passes.
            except OSError as error:  # No more processes or files just now: that passes too.
                self._logger.warning(
                    "the process that tells order owners cannot be started", why=str(error)
                )
            await asyncio.sleep(LOOK_S)

    def wake(self) -> None:
        """Say that the log has grown, or something was asked for."""
        if self._line is not None:
            # Full: it has been woken often enough. Broken: it is started again.
            with suppress(OSError):
                self._line.send(_WAKE)

    async def stop(self) -> None:
        """End it, and wait for that."""
        self._hang_up()
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._process.wait, END_S)
        # What was posted and is not noted will be posted again: nothing is lost.
        self._process.kill()
        await asyncio.to_thread(self._process.wait)

    def _is_needed(self) -> bool:
        settings = self._settings
        return settings.deliver and (bool(settings.nats_url) or self._store.endpoints.any())

    def _see_to_it(self) -> None:
        now, code = self._timer(), None if self._process is None else self._process.poll()
        if self._process is not None and code is None:
            return
        if code and code > 0 and now < self._started + AGAIN_S:
            return  # What it failed of so soon will hardly have passed.
        self._started = now
        if self._process is not None:
            self._logger.error(
                "the process that tells order owners ended; it is started again",
                code=code,
            )
        self._hang_up()
        self._counted_before, self._counted = self.told(), Told()
        self._start()

    def _start(self) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
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
        """Take in what the process has counted."""
        said = _said(line)
        if said == b"":
            asyncio.get_running_loop().remove_reader(line)
        for payload in self._frames.feed(said or b""):
            self._counted = _decode(payload)

    def _hang_up(self) -> None:
        if self._line is not None:
            asyncio.get_running_loop().remove_reader(self._line)
            self._line.close()
            self._line = None


def check(settings: Settings) -> None:
    """Make sure that streams can be as they are set. Raises SettingsError."""
    if settings.deliver and settings.nats_url:
        from cloudsignal.server.delivery.streams.running import streams_of

        streams_of(settings)


async def deliver(settings: Settings, line: socket.socket) -> None:
    """Tell order owners until the other end of the line hangs up; every byte of it says that there is more.

    One node of all publishes to the streams that are set, too.
    """
    from cloudsignal.server import clock, growth, logs
    from cloudsignal.server.delivery.dialing import Dialer
    from cloudsignal.server.delivery.engine import Engine, Plan
    from cloudsignal.server.delivery.sealing import Sealer
    from cloudsignal.server.delivery.sending import AT_ONCE_MAX
    from cloudsignal.server.delivery.streams.running import run as publish
    from cloudsignal.server.delivery.targets import Rules
    from cloudsignal.server.keys import secret_of

    logger = logs.configure(settings)
    opened = await _opened(settings.database, line)
    if opened is None:
        return
    with closing(opened) as store:
        async with Dialer(
            Rules.of(settings), connections_max=AT_ONCE_MAX, connections_per_host_max=AT_ONCE_MAX
        ) as dialer:
            engine = Engine(
                store,
                Sealer(secret_of(settings, make=False)),
                dialer,
                Plan(settings.delivery_log_days, templates(settings.tracking_urls)),
                node=f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}",
                identity=await asyncio.to_thread(store.identity),
                clock=clock.now,
                warn=logger.warning,
            )
            bell = Bell()
            bell.answer(engine.wake)
            parts = [
                _listen(line, bell.ring),
                asyncio.create_task(engine.run()),
                asyncio.create_task(_say(line, engine.told)),
            ]
            if settings.nats_url:
                publishing = partial(publish, settings, store, bell.listener)
                parts.append(asyncio.create_task(_lead(engine, publishing)))
            if store.nodes:
                wanted = asyncio.Event()
                wanted.set()
                parts.append(asyncio.create_task(growth.watch(store, wanted, bell.ring)))
            # As in the process that takes signals in: what is there now stays, and each webhook makes a lot.
            gc.collect()
            gc.freeze()
            gc.set_threshold(GC_ALLOCATIONS)
            try:
                await _first(parts)
            finally:
                await engine.stop(UNDER_WAY_S)


async def _opened(url: str, line: socket.socket) -> "Store | None":
    """The store, once it can be had; None if the other end of the line hangs up before."""
    from cloudsignal.server.store.store import open_store

    while not _has_hung_up(line):
        with suppress(StoreUnavailable):
            return await asyncio.to_thread(open_store, url)
        await asyncio.sleep(LOOK_S)
    return None


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


async def _first(parts: "list[asyncio.Future[None]]") -> None:
    """Wait until one part is over, and end the others. Raises what it ended with."""
    done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    for part in parts:
        part.cancel()
    await asyncio.gather(*parts, return_exceptions=True)
    for part in done:
        part.result()


async def _lead(engine: "Engine", act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do what one node has to do, while this is the one."""
    while True:
        await engine.leads.wait()
        acting = asyncio.create_task(act())
        resting = asyncio.create_task(engine.rests.wait())
        try:
            await asyncio.wait((acting, resting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (acting, resting):
                each.cancel()
            [outcome, _] = await asyncio.gather(acting, resting, return_exceptions=True)
        if isinstance(outcome, Exception):
            raise outcome


async def _say(line: socket.socket, told: Told) -> None:
    """Say what is counted, again and again, to who started this process."""
    said, loop = b"", asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SAY_S)
        saying = _encode(told)
        if saying != said:
            said = saying
            with suppress(OSError):  # It has hung up, which is heard elsewhere.
                await loop.sock_sendall(line, frame(saying))


class Bell:
    """Tells everybody who listens that there may be more."""

    def __init__(self) -> None:
        self._heard: list[Callable[[], None]] = []
        self._rung: WeakSet[asyncio.Event] = WeakSet()

    def ring(self) -> None:
        """Say that there may be more."""
        for heard in self._heard:
            heard()
        for rung in self._rung:
            rung.set()

    def answer(self, heard: Callable[[], None]) -> None:
        """Call this each time."""
        self._heard.append(heard)

    def listener(self) -> Callable[[float], Awaitable[None]]:
        """A way to wait for it, so many seconds at most: what it missed since makes it return at once."""
        rung = asyncio.Event()
        self._rung.add(
            rung
        )  # For as long as somebody waits so: each time that this node leads is a new one.

        async def wait(timeout_s: float) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await rung.wait()
            rung.clear()

        return wait


def templates(given: tuple[str, ...]) -> dict[str, str]:
    """For shipping options, how parcels can be followed."""
    return dict(each.split("=", 1) for each in given)


def _listen(line: socket.socket, woken: Callable[[], None]) -> "asyncio.Future[None]":
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


def main() -> None:
    """Run as the process that ``Deliverer`` started."""
    # Whoever stops the server stops all of its processes at once; this one ends when the server hangs up.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    line = socket.socket(fileno=int(sys.argv[1]))
    with line.makefile("rb", buffering=0) as lines:
        task = lines.readline(TASK_BYTES_MAX)
    if not task:
        return
    import uvloop

    uvloop.run(deliver(msgspec.json.decode(task, type=Settings), line))


if __name__ == "__main__":
    main()
