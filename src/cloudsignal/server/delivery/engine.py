"""Tells the owners: reads the log for the endpoints that are this node's, posts, and notes what became of it."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import Struct

from cloudsignal.protocol.units import DAY_US, SECOND_US
from cloudsignal.server.clock import Clock
from cloudsignal.server.delivery.composing import Composer
from cloudsignal.server.delivery.dialing import Dialer
from cloudsignal.server.delivery.keeper import AGAIN_S, Keeper
from cloudsignal.server.delivery.reader import Reader, delivery_of
from cloudsignal.server.delivery.recipient import Opened, Recipient, opened
from cloudsignal.server.delivery.schedule import RETRY_AFTER_MAX_S
from cloudsignal.server.delivery.sealing import Sealer, SealError
from cloudsignal.server.delivery.sending import Later, Sending
from cloudsignal.server.metrics import Told
from cloudsignal.server.store.endpoints import Endpoint
from cloudsignal.server.store.errors import NotFound, StoreUnavailable
from cloudsignal.server.store.store import Store

LEASE_S: Final = 12.0
"""How long after it last said that it is there a node is believed to be."""
MARGIN_S: Final = 2.0
"""How much earlier it stops by itself: what it began until then is over in time, or nearly."""
STAY_S: Final = 3.0
"""How often it says so."""
HELD_ALL: Final = 50_000
"""How many deliveries that are not noted are held in all, and for one endpoint at most and at least."""
HELD_MAX: Final = 1_000
HELD_MIN: Final = 20
FORGET_S: Final = 600.0
"""How often old attempts are forgotten."""
FORGET_REST_S: Final = 0.2
"""How long to rest between some of them and the next."""

Tell = Callable[[str], None]


class Plan(Struct, frozen=True):
    """What is set of telling: how long attempts are kept, and how parcels can be followed by shipping options."""

    log_days: int
    templates: dict[str, str]


class Engine:
    """All parts of telling, wired together; made where an event loop runs."""

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        dialer: Dialer,
        plan: Plan,
        *,
        node: str,
        identity: str,
        clock: Clock,
        warn: Tell,
        timer: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        later: Later | None = None,
    ) -> None:
        """``node`` is this process's own name, ``identity`` the store's; ``warn`` is told what people must know.

        ``later`` calls what is due at an instant of ``clock``: the event loop, unless it is said otherwise.
        """
        self._store = store
        self._sealer = sealer
        self._plan = plan
        self._node = node
        self._now = clock
        self._warn = warn
        self._timer = timer
        self._recipients: dict[int, Recipient] = {}
        self._revision = -1
        self._outdated = asyncio.Event()
        self._mine_until = 0.0
        self.leads = asyncio.Event()
        """Set while this is the one node of all that does what one has to do; ``rests`` while it is not."""
        self.rests = asyncio.Event()
        self.told = Told()
        """What is counted of it."""
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = Keeper(
            store, node, lambda: self._recipients.values(), clock=clock, timer=timer
        )
        self._sending = Sending(
            store,
            dialer,
            self._keeper,
            clock=clock,
            chance=chance,
            later=later or asyncio.get_running_loop().call_later,
            is_mine=self._is_mine,
            landed=lambda recipient: self._reader.landed(recipient),
            defect=self._fail,
            warn=lambda recipient, what: warn(f"{_named(recipient.endpoint)} {what}"),
            told=self.told,
        )
        self._reader = Reader(
            store,
            Composer(identity, plan.templates),
            self._keeper,
            pump=self._sending.pump,
            changed=self._see,
        )

    def wake(self) -> None:
        """Say that the log may have grown, or something may have been asked for."""
        self._reader.wake()

    async def run(self) -> None:
        """Tell until it is canceled. Raises what no part of it expects."""
        parts = (self._stay, self._read, self._keeper.keep, self._forget)
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part())
            group.create_task(_outcome(self._failed))

    async def stop(self, within_s: float) -> None:
        """Let what is under way end, for so long, note it, and leave everything to others."""
        self._mine_until = 0.0
        await self._sending.stop(within_s)
        # If the store is away, what was delivered last is delivered again, and others wait until this one is gone.
        with suppress(StoreUnavailable):
            await self._keeper.save()
            await asyncio.to_thread(self._store.tellers.leave, self._node)

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    # ---- whose turn it is ----

    def _is_mine(self) -> bool:
        """Whether nobody else may tell those whom this node tells."""
        return self._timer() < self._mine_until

    async def _stay(self) -> None:
        while True:
            self._outdated.clear()
            try:
                await self._renew()
                wait_s = STAY_S
            except StoreUnavailable:
                wait_s = AGAIN_S
            await _until(self._outdated, wait_s)

    def _see(self, revision: int) -> None:
        if revision != self._revision:
            self._outdated.set()

    async def _renew(self) -> None:
        """Say that this node is there, and tell whom it is to tell. Raises StoreUnavailable."""
        if not self._is_mine():
            self._end_all()
        # Only of those that have ended by now is everything noted, and so known to the store, after it.
        ended = {number for number, each in self._recipients.items() if not each.is_told}
        over = self._over()
        await self._keeper.save()
        await self._drop(over)
        begun = self._timer()
        turn = await asyncio.to_thread(self._store.tellers.stay, self._node, lease_s=LEASE_S)
        self._mine_until = begun + LEASE_S - MARGIN_S
        self._revision = turn.revision
        _set(self.leads, turn.leads)
        _set(self.rests, not turn.leads)
        mine = {each.id: each for each in turn.endpoints[: len(turn.endpoints) - turn.surplus]}
        for number, recipient in self._recipients.items():
            if number not in mine:
                self._end(recipient)
        for number in mine.keys() & self._recipients.keys():
            if not self._recipients[number].is_stale:
                await self._go_on(mine[number], has_ended=number in ended)
        await self._begin([each for number, each in mine.items() if number not in self._recipients])
        for recipient in self._recipients.values():
            self._sending.pump(recipient)

    def _end_all(self) -> None:
        """Go on with nobody: another node may have told them meanwhile, so what is known here is old."""
        for recipient in self._recipients.values():
            self._end(recipient)
            recipient.is_stale = True

    def _over(self) -> set[int]:
        """Those that are over, with nothing under way."""
        return {
            number
            for number, each in self._recipients.items()
            if each.is_over and not each.lineup.under_way
        }

    async def _drop(self, over: set[int]) -> None:
        """Forget those that are over, now that what became of them is noted. Raises StoreUnavailable."""
        for number in over:
            del self._recipients[number]
        if over:
            await asyncio.to_thread(self._store.tellers.give_up, self._node, over)

    def _end(self, recipient: Recipient) -> None:
        recipient.is_over = True
        self._reader.leave(recipient)
        self._sending.end(recipient)

    async def _go_on(self, endpoint: Endpoint, *, has_ended: bool) -> None:
        """Go on with an endpoint as it is now, also if it ``has_ended`` before. Raises StoreUnavailable."""
        recipient = self._recipients[endpoint.id]
        if not endpoint.has_same_secrets(recipient.endpoint):
            secrets = await self._open(endpoint)
            if secrets is None:
                self._end(recipient)
                return
            recipient.secrets = secrets
        recipient.endpoint = endpoint
        if has_ended:
            recipient.resume()
            self._reader.join([recipient])

    async def _begin(self, endpoints: list[Endpoint]) -> None:
        """Begin to tell these. Raises StoreUnavailable."""
        told = len(self._recipients) + len(endpoints)
        held_max = max(HELD_MIN, min(HELD_MAX, HELD_ALL // max(1, told)))
        for recipient in self._recipients.values():
            recipient.lineup.held_max = held_max
        begun: dict[int, Recipient] = {}
        for endpoint in endpoints:
            secrets = await self._open(endpoint)
            if secrets is not None:
                begun[endpoint.id] = Recipient(endpoint, secrets, held_max=held_max)
        if begun:
            waiting = await asyncio.to_thread(self._store.deliveries.waiting, set(begun))
            latest = self._now() + int(RETRY_AFTER_MAX_S * SECOND_US)
            for noted in waiting:
                delivery = delivery_of(noted, noted.webhook)
                # Nothing waits for longer, unless the clock was wrong when it was noted.
                delivery.due = min(delivery.due, latest)
                begun[noted.endpoint].lineup.add(delivery)
            self._recipients |= begun
            self._reader.join(begun.values())

    async def _open(self, endpoint: Endpoint) -> Opened | None:
        """The secrets of an endpoint; one whose secrets cannot be had is disabled. Raises StoreUnavailable."""
        try:
            return opened(endpoint, self._sealer)
        except SealError as error:
            why = f"its secrets cannot be read: {error}"
            self._warn(f"{_named(endpoint)} is disabled: {why}")
            with suppress(NotFound):
                await asyncio.to_thread(
                    self._store.endpoints.set_state, endpoint.id, "disabled", why
                )
            return None

    # ---- what goes on beside it ----

    async def _read(self) -> None:
        is_started = False
        while True:
            try:
                if not is_started:
                    await self._reader.start()
                    is_started = True
                await self._reader.read()
            except StoreUnavailable:
                await asyncio.sleep(AGAIN_S)

    async def _forget(self) -> None:
        """Forget attempts that are older than they are to be kept, again and again."""
        while True:
            before = self._now() - self._plan.log_days * DAY_US
            try:
                gone = await asyncio.to_thread(self._store.delivery_log.forget, before)
            except StoreUnavailable:
                gone = 0
            await asyncio.sleep(FORGET_REST_S if gone else FORGET_S)


def _named(endpoint: Endpoint) -> str:
    return f"endpoint {endpoint.id} of {endpoint.owner_name} ({endpoint.shown})"


def _set(event: asyncio.Event, is_set: bool) -> None:
    event.set() if is_set else event.clear()


async def _until(event: asyncio.Event, within_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()


async def _outcome(future: asyncio.Future[None]) -> None:
    await future
