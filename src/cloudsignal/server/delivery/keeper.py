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
        self, store: Store, node: str, clock: Clock, recipients: Callable[[], Iterable[Recipient]]
    ) -> None:
        self._store = store
        self._node = node
        self._now = clock
        self._recipients = recipients
        self._progress = Progress()
        self._unsaved: Progress | None = None
        self._moved: set[int] = set()
        self._something = asyncio.Event()
        self._saving = asyncio.Lock()

    def done(self, recipient: Recipient, delivery: Delivery) -> None:
        """Take in that a delivery is over."""
        if delivery.is_noted:
            self._progress.done.append((recipient.id, delivery.message))
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
        self._progress.noted.append(
            Noted(
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
            idle = not await self._is_something()
            if not idle:
                await asyncio.sleep(GATHERED_S)
            try:
                await self.save(idle=idle)
            except StoreUnavailable:
                await asyncio.sleep(AGAIN_S)

    async def _is_something(self) -> bool:
        try:
            async with asyncio.timeout(IDLE_S):
                return await self._something.wait()
        except TimeoutError:
            return False

    async def save(self, *, idle: bool = False) -> None:
        """Note what is gathered; if ``idle``, how far everybody has come too. Raises StoreUnavailable."""
        async with self._saving:
            if self._unsaved is not None:
                await self._note(self._unsaved)
            moved = self._gather(idle=idle)
            if self._unsaved is not None:
                await self._note(self._unsaved)
            for recipient, position in moved:
                recipient.saved = position

    def _gather(self, *, idle: bool) -> list[tuple[Recipient, int]]:
        self._something.clear()
        chosen = [each for each in self._recipients() if idle or each.id in self._moved]
        moved = [(each, each.lineup.position) for each in chosen]
        moved = [(each, position) for each, position in moved if position > each.saved]
        progress, self._progress, self._moved = self._progress, Progress(), set()
        progress.positions = {each.id: position for each, position in moved}
        self._unsaved = progress or None
        return moved

    async def _note(self, progress: Progress) -> None:
        note = self._store.deliveries.note
        await asyncio.to_thread(note, progress, now=self._now(), node=self._node)
        self._unsaved = None
