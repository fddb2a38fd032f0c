"""Makes the attempts: at each endpoint at its pace, of all endpoints together no more than there is room for."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.clock import Clock
from cloudsignal.server.delivery import composing
from cloudsignal.server.delivery.dialing import Attempt, Dialer
from cloudsignal.server.delivery.keeper import Keeper
from cloudsignal.server.delivery.lineup import Delivery
from cloudsignal.server.delivery.pace import DISABLED_AFTER, WARNED_AT
from cloudsignal.server.delivery.recipient import Recipient
from cloudsignal.server.delivery.schedule import wait_s
from cloudsignal.server.metrics import Told
from cloudsignal.server.store.endpoints import EndpointState
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store

AT_ONCE_MAX: Final = 500
"""How many attempts are made at the same time."""
UNPROVEN_MAX: Final = AT_ONCE_MAX // 2
"""How many of them at endpoints that did not take the last they were told, or not soon: the others always find room."""
AGAIN_US: Final = SECOND_US
"""When to look again for what is told, if it could not be read."""

Later = Callable[[float, Callable[[], None]], asyncio.TimerHandle]
"""Calls something after so many seconds, as an event loop does."""
Warn = Callable[[Recipient, str], None]
"""Told what the operator has to know of an endpoint, in a sentence."""


class Sending:
    """Whoever has something to try, and room for so many attempts."""

    def __init__(
        self,
        store: Store,
        dialer: Dialer,
        keeper: Keeper,
        *,
        clock: Clock,
        chance: Callable[[], float],
        later: Later,
        is_mine: Callable[[], bool],
        landed: Callable[[Recipient], None],
        defect: Callable[[BaseException], None],
        warn: Warn,
        told: Told,
        at_once_max: int = AT_ONCE_MAX,
        unproven_max: int = UNPROVEN_MAX,
    ) -> None:
        """``is_mine`` says whether it is still this node that tells; ``landed`` is called after every attempt, ``defect`` when one ends as none can; ``told`` counts."""
        self._store = store
        self._dialer = dialer
        self._keeper = keeper
        self._now = clock
        self._chance = chance
        self._later = later
        self._is_mine = is_mine
        self._landed = landed
        self._defect = defect
        self._warn = warn
        self._told = told
        self._at_once_max = at_once_max
        self._unproven_max = unproven_max
        self._under_way = 0
        self._unproven = 0
        """How many attempts take room, and how many of them are at endpoints that are not proven."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._hungry: tuple[dict[Recipient, None], dict[Recipient, None]] = ({}, {})
        """Who waits for room, in their order: the proven ones, and the others."""
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def pump(self, recipient: Recipient) -> None:
        """Begin as many attempts at an endpoint as may be; the next ones follow by themselves."""
        while delivery := self._next(recipient):
            task = asyncio.create_task(self._attempts(recipient, delivery))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        # Who waits for room is pumped when there is some.
        if not any(recipient in waiting for waiting in self._hungry):
            self._set_timer(recipient)

    def end(self, recipient: Recipient) -> None:
        """Begin no attempt at an endpoint by itself any more."""
        if timer := self._timers.pop(recipient.id, None):
            timer.cancel()

    async def stop(self, within_s: float) -> None:
        """Wait so long for what is under way. What is still then will be tried again."""
        for timer in self._timers.values():
            timer.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    @property
    def _is_full(self) -> bool:
        return self._under_way >= self._at_once_max

    def _has_room(self, recipient: Recipient) -> bool:
        if self._is_full:
            return False
        return recipient.pace.is_proven or self._unproven < self._unproven_max

    def _next(self, recipient: Recipient) -> Delivery | None:
        """What to try now at an endpoint: there is room for it then, until it is given back."""
        now = self._now()
        if not (recipient.may_send(now) and self._is_mine()):
            return None
        if not self._has_room(recipient):
            self._wait_for_room(recipient)
            return None
        # Where everything fails, it may be because of that which is tried again and again.
        delivery = recipient.lineup.next(now, fresh_first=recipient.pace.is_down)
        if delivery is not None:
            delivery.is_trial = not recipient.pace.is_proven
            self._under_way += 1
            self._unproven += delivery.is_trial
        return delivery

    def _give_back(self, delivery: Delivery) -> None:
        """Have room again for another attempt."""
        self._under_way -= 1
        self._unproven -= delivery.is_trial

    def _wait_for_room(self, recipient: Recipient) -> None:
        self._hungry[0 if recipient.pace.is_proven else 1][recipient] = None

    def _share_room(self) -> None:
        """Let those who wait begin, the longest waiting first."""
        proven, others = self._hungry
        for recipient in list(proven):
            if self._is_full:
                return
            # Perhaps it is not proven any more: then it waits with the others from now on.
            del proven[recipient]
            self.pump(recipient)
        for recipient in list(others):
            if not self._has_room(recipient):
                return
            del others[recipient]
            self.pump(recipient)

    def _set_timer(self, recipient: Recipient) -> None:
        self.end(recipient)
        at = recipient.next_at()
        # Once it is this node again that tells, everybody is looked at.
        if at is not None and self._is_mine():
            delay_s = max(0.0, (at - self._now()) / SECOND_US)
            self._timers[recipient.id] = self._later(delay_s, partial(self.pump, recipient))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._defect(error)

    async def _attempts(self, recipient: Recipient, delivery: Delivery | None) -> None:
        """One attempt at an endpoint after the other, while nobody waits for the room."""
        while delivery is not None:
            await self._attempt(recipient, delivery)
            self._give_back(delivery)
            self._landed(recipient)
            delivery = None if any(self._hungry) else self._next(recipient)
            if delivery is None or not recipient.is_busy:
                # At the end of those who wait, or it would take again what it has just given back.
                self._wait_for_room(recipient)
                self._share_room()

    async def _attempt(self, recipient: Recipient, delivery: Delivery) -> None:
        webhook = delivery.webhook or await self._noted(recipient, delivery)
        if not webhook:
            recipient.lineup.failed(delivery, self._now() + AGAIN_US)
            return
        begun, secrets = self._now(), recipient.secrets
        body = composing.keyed(webhook, secrets.apikey)
        headers = secrets.headers(delivery.message, now=begun, body=body)
        attempt = await self._dialer.post(secrets.url, body, headers)
        self._keeper.attempted(recipient, delivery, webhook, begun, attempt)
        if attempt.is_delivered:
            self._told.note("delivered", attempt.took_s)
            self._delivered(recipient, delivery, attempt.took_s)
        else:
            self._failed(recipient, delivery, webhook, begun, attempt)

    async def _noted(self, recipient: Recipient, delivery: Delivery) -> str:
        """What is told, as the store has it; empty if it cannot be read just now."""
        read = self._store.deliveries.webhook
        try:
            return await asyncio.to_thread(read, recipient.id, delivery.message)
        except StoreUnavailable:
            return ""

    def _delivered(self, recipient: Recipient, delivery: Delivery, took_s: float) -> None:
        if delivery.received and not delivery.attempts:
            self._told.told_seconds.note((self._now() - delivery.received) / SECOND_US)
        before, had_failed = recipient.state, recipient.pace.failures > 0
        recipient.pace.delivered(took_s)
        self._keeper.done(recipient, delivery)
        recipient.lineup.done(delivery)
        if before == "probing":
            recipient.state, recipient.why = "active", ""
        if had_failed or before == "probing":
            self._keeper.health(recipient, before)

    def _failed(
        self, recipient: Recipient, delivery: Delivery, webhook: str, begun: int, attempt: Attempt
    ) -> None:
        now, before = self._now(), recipient.state
        delivery.attempts += 1
        delivery.first = delivery.first or begun
        counts = recipient.pace.failed(
            begun=begun,
            now=now,
            jitter=self._chance(),
            status=attempt.status,
            retry_after_s=attempt.retry_after_s,
        )
        self._turn(recipient, attempt)
        self._put_off(recipient, delivery, webhook, attempt, now)
        if counts or recipient.state != before:
            self._keeper.health(recipient, before)
            self._tell_operator(recipient, before, attempt)

    def _put_off(
        self, recipient: Recipient, delivery: Delivery, webhook: str, attempt: Attempt, now: int
    ) -> None:
        """Have a delivery tried again later, or give it up."""
        wait = wait_s(
            delivery.attempts,
            since_first_s=(now - (delivery.first or now)) / SECOND_US,
            jitter=self._chance(),
            retry_after_s=attempt.retry_after_s,
        )
        if not recipient.is_told:
            wait = 0.0  # It was the endpoint that ended, not this delivery.
        self._told.note("given_up" if wait is None else "failed", attempt.took_s)
        if wait is None:
            self._keeper.noted(recipient, delivery, webhook, "dead", attempt.error)
            recipient.lineup.done(delivery)
            return
        unnoted = recipient.lineup.failed(delivery, now + int(wait * SECOND_US))
        if recipient.takes_newest_only(catching_up=False):
            for skipped in recipient.lineup.keep_newest(delivery):
                self._keeper.done(recipient, skipped)
        for each in unnoted:
            if each.stage == "done":
                continue
            text = webhook if each is delivery else each.webhook
            self._keeper.noted(recipient, each, text, why=attempt.error if each is delivery else "")
            recipient.lineup.noted(each)

    def _turn(self, recipient: Recipient, attempt: Attempt) -> None:
        """Have the state of an endpoint follow from an attempt that failed."""
        if attempt.is_gone:
            recipient.state, recipient.why = "paused", attempt.error
        elif recipient.state == "probing":
            recipient.state, recipient.why = "disabled", f"it was tried once more: {attempt.error}"
        elif recipient.pace.is_out:
            recipient.state = "disabled"
            recipient.why = f"{DISABLED_AFTER} attempts have failed, the last: {attempt.error}"

    def _tell_operator(self, recipient: Recipient, before: EndpointState, attempt: Attempt) -> None:
        failures = recipient.pace.failures
        if recipient.state != before:
            self._warn(recipient, f"is {recipient.state}: {recipient.why}")
        elif failures in WARNED_AT:
            self._warn(
                recipient,
                f"has failed {failures} times; after {DISABLED_AFTER} it is disabled. The last:"
                f" {attempt.error}",
            )
