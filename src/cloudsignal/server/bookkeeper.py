"""The process that keeps the roll-ups, beside the one that takes signals in: started there, and ended with it.

It has the lowest priority, and rests several times as long as it works: what pages show may be a little old,
what is posted must not wait.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final, TypeVar

from cloudsignal.server.companion import Companion, first, listen, opened, run
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.errors import StoreUnavailable

if TYPE_CHECKING:
    from cloudsignal.server.store.rollups import Step
    from cloudsignal.server.store.store import Store

EVERY_S: Final = 1.0
"""How old counts are at most, while there is time to count."""
RESTS_TIMES: Final = 4
"""How many times as long as it works it rests, so that it hardly ever keeps the writer waiting."""
LEASE: Final = "rollups"
"""The name of what one node of all does."""
LEASE_S: Final = 15.0
"""For how long a node is believed to count after it was last heard of."""
FORGET_S: Final = 600.0
"""How often it is forgotten what is not kept."""
NICE: Final = 10

Made = TypeVar("Made")


class Bookkeeper(Companion):
    """The process, from the side of the one that takes signals in."""

    MODULE = __name__
    DOES = "counts"

    def _is_needed(self) -> bool:
        # Nobody looks at counts but on the panel.
        return (
            self._settings.panel and self._store.users.any() and self._store.leases.is_free(LEASE)
        )


class Books:
    """The roll-ups, as one node keeps them."""

    def __init__(
        self, store: "Store", name: str, clock: Callable[[], int], timer: Callable[[], float]
    ) -> None:
        self._store = store
        self._name = name
        self._clock = clock
        self._timer = timer
        self._forgot = -FORGET_S

    async def keep(self) -> None:
        """Count what comes, while this is the one that does; until cancelled."""
        while True:
            begun = self._timer()
            left = 0
            with suppress(StoreUnavailable):  # That is said elsewhere, and passes.
                left = (await _whole(self.step)).left
            rest_s = (self._timer() - begun) * RESTS_TIMES
            await asyncio.sleep(rest_s if left else max(rest_s, EVERY_S))

    def step(self) -> "Step":
        """Count some of what came, if this is the one that does. Raises StoreUnavailable."""
        store = self._store
        if not store.leases.hold(LEASE, self._name, lease_s=LEASE_S):
            return store.rollups.NOTHING
        done = store.rollups.step()
        if self._timer() - self._forgot >= FORGET_S:
            self._forgot = self._timer()
            store.rollups.forget_minutes(self._clock())
        return done

    def give_up(self) -> None:
        """Let another node be the one at once."""
        with suppress(StoreUnavailable):
            self._store.leases.give_up(LEASE, self._name)


async def keep_books(settings: Settings, line: socket.socket) -> None:
    """Count until the other end of the line hangs up."""
    from cloudsignal.server import clock, logs

    os.nice(NICE)
    logs.configure(settings)
    found = await opened(settings.database, line)
    if found is None:
        return
    with closing(found) as store:
        name = f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"
        books = Books(store, name, clock.now, time.monotonic)
        try:
            await first([listen(line, lambda: None), asyncio.create_task(books.keep())])
        finally:
            await asyncio.to_thread(books.give_up)


async def _whole(act: Callable[[], Made]) -> Made:
    """Do something in a thread; who cancels it waits until it is done."""
    doing = asyncio.ensure_future(asyncio.to_thread(act))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        raise


if __name__ == "__main__":
    run(keep_books)
