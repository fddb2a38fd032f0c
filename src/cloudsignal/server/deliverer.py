"""The process that tells order owners, beside the one that takes signals in: started there, and ended with it."""

import asyncio
import gc
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import msgspec

from cloudsignal.server.companion import Companion, first, listen, opened, run
from cloudsignal.server.metrics import Told
from cloudsignal.server.settings import Settings
from cloudsignal.server.writer import GC_ALLOCATIONS, frame

if TYPE_CHECKING:
    from cloudsignal.server.delivery.engine import Engine
    from cloudsignal.server.logs import Logger
    from cloudsignal.server.store.store import Store

UNDER_WAY_S: Final = 2.0
"""How long what is being posted may take when it ends; what is not over by then will be posted again."""
SAY_S: Final = 1.0
"""How old the figures may be that others are told."""
_WAKE: Final = b"."
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Told).decode


class Deliverer(Companion):
    """The process, from the side of the one that takes signals in."""

    MODULE = __name__
    DOES = "tells order owners"

    def __init__(
        self,
        settings: Settings,
        store: "Store",
        logger: "Logger",
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(settings, store, logger, timer)
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

    def wake(self) -> None:
        """Say that the log has grown, or something was asked for."""
        self.say(_WAKE)

    def _is_needed(self) -> bool:
        settings = self._settings
        return settings.deliver and (bool(settings.nats_url) or self._store.endpoints.any())

    def _take(self, said: bytes) -> None:
        self._counted = _decode(said)

    def _begin(self) -> None:
        self._counted_before, self._counted = self.told(), Told()


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
    from cloudsignal.server.delivery.composing import templates
    from cloudsignal.server.delivery.dialing import Dialer
    from cloudsignal.server.delivery.engine import Engine, Plan
    from cloudsignal.server.delivery.sealing import Sealer
    from cloudsignal.server.delivery.sending import AT_ONCE_MAX
    from cloudsignal.server.delivery.streams.running import run as publish
    from cloudsignal.server.delivery.targets import Rules
    from cloudsignal.server.keys import secret_of

    logger = logs.configure(settings)
    found = await opened(settings.database, line)
    if found is None:
        return
    with closing(found) as store:
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
                listen(line, bell.ring),
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
                await first(parts)
            finally:
                await engine.stop(UNDER_WAY_S)


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


if __name__ == "__main__":
    run(deliver)
