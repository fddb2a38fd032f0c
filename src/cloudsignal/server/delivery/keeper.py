"""What became of deliveries, gathered and noted in the store, a fifth of a second of it at a time."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from cloudsignal.server.clock import Clock
from cloudsignal.server.delivery.dialing import ANSWER_BYTES_MAX, HEADER_CHARS_MAX, Attempt
from cloudsignal.server.delivery.lineup import Delivery
from cloudsignal.server.delivery.recipient import Recipient
from cloudsignal.server.store.deliveries import Attempted, Health, Noted, NotedState, Progress
from cloudsignal.server.store.endpoints import EndpointState
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store

GATHERED_S: Final = 0.2
"""How long is gathered what is noted at once. What was delivered in it is delivered again after a crash."""
IDLE_S: Final = 10.0
"""How often it is noted that the log was read on, though there was nothing to tell."""
AGAIN_S: Final = 1.0
"""How long to wait for a store that is away."""


class Keeper:
    """Gathers progress, and saves it. Nothing is lost while the store is away."""

    def __init__(
        self,
        store: Store,
        node: str,
        recipients: Callable[[], Iterable[Recipient]],
        *,
        clock: Clock,
        timer: Callable[[], float],
    ) -> None:
        self._store = store
        self._node = node
        self._now = clock
        self._timer = timer
        self._recipients = recipients
        self._progress = Progress()
        self._latest: dict[tuple[int, str], Noted | None] = {}
        """What is to be noted of deliveries, by endpoint and message: None for nothing any more."""
        self._unsaved: Progress | None = None
        self._noting: asyncio.Task[None] | None = None
        self._all_saved = timer()
        self._moved: set[int] = set()
        self._something = asyncio.Event()
        self._saving = asyncio.Lock()

    def done(self, recipient: Recipient, delivery: Delivery) -> None:
        """Take in that a delivery is over."""
        if delivery.is_noted:
            self._latest[recipient.id, delivery.message] = None
        self._touch(recipient)

    def noted(
        self,
        recipient: Recipient,
        delivery: Delivery,
        webhook: str,
        state: NotedState = "waiting",
        why: str = "",
    ) -> None:
        """Have a delivery noted as it is now."""
        self._latest[recipient.id, delivery.message] = Noted(
            endpoint=recipient.id,
            message=delivery.message,
            position=delivery.position,
            number=delivery.line if isinstance(delivery.line, int) else 0,
            type=delivery.type,
            order=delivery.order,
            item=delivery.item,
            webhook=webhook,
            state=state,
            attempts=delivery.attempts,
            first=delivery.first,
            due=delivery.due,
            why=why,
        )
        self._touch(recipient)

    def attempted(
        self, recipient: Recipient, delivery: Delivery, webhook: str, begun: int, attempt: Attempt
    ) -> None:
        """Have an attempt noted, without the key and what is secret of the URL if the answer repeats them."""
        hide = recipient.secrets.hide
        self._progress.attempted.append(
            Attempted(
                endpoint=recipient.id,
                message=delivery.message,
                type=delivery.type,
                order=delivery.order,
                item=delivery.item,
                attempt=delivery.attempts + 1,
                at=begun,
                took=int(attempt.took_s * 1e6),
                status=attempt.status,
                error=attempt.error,
                address=attempt.address,
                webhook=webhook,
                headers=[
                    (name, hide(value.encode(), is_cut=len(value) == HEADER_CHARS_MAX).decode())
                    for name, value in attempt.headers
                ],
                answer=hide(attempt.body, is_cut=len(attempt.body) == ANSWER_BYTES_MAX),
            )
        )
        self._touch(recipient)

    def health(self, recipient: Recipient, before: EndpointState) -> None:
        """Have it noted how an endpoint is doing."""
        earlier = self._progress.health.get(recipient.id)
        self._progress.health[recipient.id] = Health(
            recipient.pace.failures,
            recipient.pace.failing_since,
            earlier.before if earlier else before,
            recipient.state,
            recipient.why,
        )
        self._something.set()

    def _touch(self, recipient: Recipient) -> None:
        self._moved.add(recipient.id)
        self._something.set()

    async def keep(self) -> None:
        """Save what is gathered, again and again."""
        while True:
            if await self._is_something():
                await asyncio.sleep(GATHERED_S)
            try:
                # However much there is to note of some: what of the log the others have passed can be pruned.
                await self.save(everybody=self._timer() - self._all_saved >= IDLE_S)
            except StoreUnavailable:
                await asyncio.sleep(AGAIN_S)

    async def _is_something(self) -> bool:
        try:
            async with asyncio.timeout(IDLE_S):
                return await self._something.wait()
        except TimeoutError:
            return False

    async def save(self, *, everybody: bool = False) -> None:
        """Note what is gathered, and how far ``everybody`` has come or those of whom there is something.

        Raises StoreUnavailable.
        """
        async with self._saving:
            if self._unsaved is not None:
                await self._note(self._unsaved)
            moved = self._gather(everybody=everybody)
            if self._unsaved is not None:
                await self._note(self._unsaved)
            for recipient, position in moved:
                recipient.saved = position
            if everybody:
                self._all_saved = self._timer()

    def _gather(self, *, everybody: bool) -> list[tuple[Recipient, int]]:
        self._something.clear()
        chosen = [each for each in self._recipients() if everybody or each.id in self._moved]
        moved = [(each, each.lineup.position) for each in chosen]
        moved = [(each, position) for each, position in moved if position > each.saved]
        progress, self._progress, self._moved = self._progress, Progress(), set()
        progress.positions = {each.id: position for each, position in moved}
        latest, self._latest = self._latest, {}
        progress.noted = [each for each in latest.values() if each is not None]
        progress.done = [key for key, each in latest.items() if each is None]
        self._unsaved = progress or None
        return moved

    async def _note(self, progress: Progress) -> None:
        if self._noting is None:
            note = self._store.deliveries.note
            noting = asyncio.to_thread(note, progress, now=self._now(), node=self._node)
            self._noting = asyncio.create_task(noting)
        try:
            # A thread goes on though whoever waits for it is canceled: the next one waits for the same.
            await asyncio.shield(self._noting)
        finally:
            if self._noting.done():
                self._noting = None
        self._unsaved = None
