"""The way of the log into a stream: page by page, the cursor after what the stream holds."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from cloudsignal.server.delivery.streams.messages import Message, message
from cloudsignal.server.delivery.streams.stream import Stream, StreamUnavailable
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store

PAGE: Final = 256
"""How many signals are read at once, and so how many a stream may be asked to take at once."""
PAGE_BYTES: Final = 1 << 20
"""How much of what was sent is read at once: the signal that reaches it is the last of its page."""
NOTE_S: Final = 1.0
"""How often the cursor is moved at most. What was published since is published again after a crash."""
POLL_S: Final = 15.0
"""After how long one looks at the log by oneself."""
FIRST_WAIT_S: Final = 0.1
WAIT_S_MAX: Final = 30.0
"""The longest wait between two tries; there is no last one."""

Growth = Callable[[float], Awaitable[object]]
"""Waits until the log may have grown since it was last asked, so many seconds at most."""

_log: Final = logging.getLogger(__name__)


def cursor_of(name: str) -> str:
    """What the cursor of a stream is called."""
    return f"stream:{name}"


def wait_s(failures: int, chance: float) -> float:
    """Seconds to wait after so many failures in a row; ``chance``, from 0 to 1, halves them at most."""
    # The exponent is bounded, because the failures are not.
    return min(WAIT_S_MAX, FIRST_WAIT_S * 2.0 ** min(failures - 1, 32)) * (1 - chance / 2)


class Following:
    """One stream and its way through the log."""

    def __init__(
        self,
        store: Store,
        stream: Stream,
        wait_for_growth: Growth,
        *,
        now_s: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._stream = stream
        self._wait_for_growth = wait_for_growth
        self._now_s = now_s
        self._chance = chance
        self._sleep = sleep
        self._cursor = cursor_of(stream.name)
        self._identity: str | None = None
        self._passed = 0
        self._noted = 0
        self._noted_at_s = now_s()
        self._waiting: list[Message] = []
        self._failures = 0

    async def run(self) -> None:
        """Publish the log from the cursor on, and what comes, until cancelled. It never gives up."""
        try:
            while True:
                try:
                    await self._step()
                except (StreamUnavailable, StoreUnavailable) as error:
                    self._tell(logging.WARNING, "signals cannot be published", why=str(error))
                    await self._rest()
                except Exception:
                    # Whatever it was: without another try nothing would be published any more.
                    _log.exception("defect: signals could not be published")
                    await self._rest()
        finally:
            await self._end()

    async def _step(self) -> None:
        """One step further: a page is published, or waited for."""
        if self._identity is None:
            await asyncio.to_thread(self._begin)
        if not self._waiting:
            self._waiting = await asyncio.to_thread(self._page)
        if self._waiting:
            await self._publish()
        self._recover()
        if self._now_s() >= self._note_due_s:
            await self._note()
        if not self._waiting:
            await self._wait_for_growth(self._wait_s)

    def _begin(self) -> None:
        """Find the place in the log; from now on nothing is pruned that is not published."""
        position = self._store.cursors.positions().get(self._cursor)
        if position is None:
            self._store.cursors.advance(self._cursor, 0)
        self._passed = self._noted = position or 0
        self._identity = self._store.identity()

    def _page(self) -> list[Message]:
        found = self._store.reading.signals(after=self._passed, limit=PAGE, bytes_max=PAGE_BYTES)
        return [message(self._identity or "", each) for each in found]

    async def _publish(self) -> None:
        held = await self._stream.publish(self._waiting)
        self._passed = self._waiting[held - 1].position
        self._waiting = self._waiting[held:]

    def _recover(self) -> None:
        if self._failures:
            self._failures = 0
            self._tell(logging.INFO, "signals are published again", position=self._passed)

    async def _note(self) -> None:
        """Move the cursor to where the stream is."""
        if self._passed > self._noted:
            await asyncio.to_thread(self._store.cursors.advance, self._cursor, self._passed)
            self._noted = self._passed
        self._noted_at_s = self._now_s()

    @property
    def _note_due_s(self) -> float:
        return self._noted_at_s + NOTE_S

    @property
    def _wait_s(self) -> float:
        """How long to wait for signals: not beyond the moment at which the cursor is to be moved."""
        if self._passed == self._noted:
            return POLL_S
        return max(0.0, self._note_due_s - self._now_s())

    async def _rest(self) -> None:
        self._failures += 1
        await self._sleep(wait_s(self._failures, self._chance()))

    async def _end(self) -> None:
        try:
            await self._note()
        except StoreUnavailable:
            pass  # What was published since then is published again, as after a crash.
        finally:
            await self._stream.close()

    def _tell(self, level: int, event: str, **facts: Any) -> None:
        _log.log(level, event, extra={"facts": {"stream": self._stream.name} | facts})
