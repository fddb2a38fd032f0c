"""The process that keeps the roll-ups and the alerts, beside the one that takes signals in.

It is started there, and ended with it. It has a low priority, and rests several times as long as it works, or much longer
where more comes than it can count: what pages show may be a little old, what is posted must not wait.
"""

import asyncio
import os
import random
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from math import inf
from typing import TYPE_CHECKING, Final, TypeVar

from cloudsignal.server.companion import Companion, first, listen, opened, run
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.errors import StoreUnavailable

if TYPE_CHECKING:
    from cloudsignal.server.alerting.composing import Links
    from cloudsignal.server.alerting.watching import Watch
    from cloudsignal.server.store.rollups import Step
    from cloudsignal.server.store.store import Store

EVERY_S: Final = 1.0
"""How old counts are at most, while there is time to count."""
RESTS_TIMES: Final = 4
"""How many times as long as it works it rests, so that it hardly ever keeps the writer waiting."""
OUTRUN_RESTS_TIMES: Final = 24
"""The same where signals come faster than it counts: they need the processor, and it catches up after them."""
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
        # Nobody looks at counts but on the panel, and for alerts.
        is_wanted = self._settings.panel and self._store.users.any()
        is_wanted = is_wanted or self._store.alerts.any_rule()
        return is_wanted and self._store.leases.is_free(LEASE)


class Pace:
    """How long to rest: seen from what came, and what was counted of it."""

    def __init__(self) -> None:
        self.rests_times = RESTS_TIMES
        self._left = 0
        self._begun = -inf

    def see(self, done: "Step", begun: float, ended: float) -> None:
        """Take in what was done between two instants, in seconds."""
        came, elapsed_s = done.signals + done.left - self._left, begun - self._begun
        # As much as it would count in this time if it rested as usual.
        would_take_s = (ended - begun) * (1 + RESTS_TIMES)
        is_outrun = done.signals > 0 and came * would_take_s > done.signals * elapsed_s
        self.rests_times = OUTRUN_RESTS_TIMES if is_outrun else RESTS_TIMES
        self._left, self._begun = done.left, begun


class Books:
    """The roll-ups and the alerts, as one node keeps them."""

    def __init__(
        self,
        store: "Store",
        name: str,
        clock: Callable[[], int],
        timer: Callable[[], float],
        watch: "Watch",
    ) -> None:
        self._store = store
        self._name = name
        self._clock = clock
        self._timer = timer
        self._watch = watch
        self._forgot = -FORGET_S
        self._until = 0.0
        self._pace = Pace()

    async def keep(self) -> None:
        """Count what comes, and watch what is stalled, while this is the one that does; until cancelled."""
        while True:
            begun = self._timer()
            has_more = False
            with suppress(StoreUnavailable):  # That is said elsewhere, and passes.
                has_more = await _whole(self.work)
            rest_s = (self._timer() - begun) * self._pace.rests_times
            await asyncio.sleep(rest_s if has_more else max(rest_s, EVERY_S))

    def work(self) -> bool:
        """Count and watch some, if this is the one that does: whether there is more. Raises StoreUnavailable."""
        done = self.step()
        return (self.is_the_one() and self._watch.step()) or done.again or done.left > 0

    def is_the_one(self) -> bool:
        """Whether this node is surely the one that counts, watches and tells."""
        return self._timer() < self._until

    def step(self) -> "Step":
        """Count some of what came, if this is the one that does. Raises StoreUnavailable."""
        store, begun = self._store, self._timer()
        if not store.leases.hold(LEASE, self._name, lease_s=LEASE_S):
            self._until = 0.0
            return store.rollups.NOTHING
        self._until = begun + LEASE_S
        done = store.rollups.step()
        self._pace.see(done, begun, self._timer())
        if self._timer() - self._forgot >= FORGET_S:
            self._forgot = self._timer()
            store.rollups.forget_minutes(self._clock())
        return done

    def give_up(self) -> None:
        """Let another node be the one at once."""
        with suppress(StoreUnavailable):
            self._store.leases.give_up(LEASE, self._name)


async def keep_books(settings: Settings, line: socket.socket) -> None:
    """Count, watch and tell until the other end of the line hangs up."""
    from cloudsignal.server import clock, logs
    from cloudsignal.server.alerting.watching import Watch

    os.nice(NICE)
    logs.configure(settings)
    found = await opened(settings.database, line)
    if found is None:
        return
    with closing(found) as store:
        name = f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"
        watch = Watch(store, clock.now, time.monotonic)
        books = Books(store, name, clock.now, time.monotonic, watch)
        parts = [asyncio.create_task(books.keep())]
        parts.append(asyncio.create_task(tell(settings, store, books.is_the_one)))
        try:
            await first([listen(line, lambda: None), *parts])
        finally:
            await asyncio.to_thread(books.give_up)


async def tell(settings: Settings, store: "Store", is_mine: Callable[[], bool]) -> None:
    """Tell the operator of alerts, once there is a way to, while it ``is_mine`` to do; until cancelled."""
    while not await _is_told(store):  # noqa: ASYNC110 - another process changes that
        await asyncio.sleep(EVERY_S)
    # Only now: what posts webhooks takes a while to import, and memory.
    from cloudsignal.server import clock
    from cloudsignal.server.alerting.mailing import MailServer
    from cloudsignal.server.alerting.telling import Mailer, Poster, Send, Teller
    from cloudsignal.server.delivery.dialing import Dialer
    from cloudsignal.server.delivery.sealing import Sealer
    from cloudsignal.server.delivery.targets import Rules
    from cloudsignal.server.keys import secret_of
    from cloudsignal.server.store.alert_messages import WayName

    sealer = Sealer(secret_of(settings, make=False))
    async with Dialer(Rules.of(settings)) as dialer:
        send: dict[WayName, Send] = {
            "webhook": Poster(dialer, sealer, clock.now),
            "email": Mailer(MailServer.of(settings)),
        }
        teller = Teller(
            store, send, clock=clock.now, chance=random.random, links=links_of(settings)
        )
        await teller.run(is_mine)


def links_of(settings: Settings) -> "Links":
    """Where on the panel it is that alerts are about; nowhere while it is not known where that is."""
    from cloudsignal.server.alerting.composing import NO_LINKS, Links
    from cloudsignal.server.panel.places import PREFIX, item_path

    if not (settings.public_url and settings.panel):
        return NO_LINKS
    panel = settings.public_url + PREFIX
    return Links(lambda order, item: panel + item_path(order, item), f"{panel}/alerts")


async def _is_told(store: "Store") -> bool:
    with suppress(StoreUnavailable):
        return bool(await asyncio.to_thread(store.alert_messages.ways))
    return False


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
