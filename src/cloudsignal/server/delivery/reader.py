"""Reads the log for those who are told: once for all who are at the same place in it."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final

from cloudsignal.server.delivery import composing
from cloudsignal.server.delivery.composing import Composer
from cloudsignal.server.delivery.keeper import Keeper
from cloudsignal.server.delivery.lineup import Delivery
from cloudsignal.server.delivery.recipient import Recipient
from cloudsignal.server.store.deliveries import Look, Noted
from cloudsignal.server.store.owned import Owned
from cloudsignal.server.store.store import Store

PAGE: Final = 500
"""How many signals, or deliveries that were asked for, are read at once."""
TOGETHER: Final = 5_000
"""How far from each other those may be in the log who are read to together."""
OWNERS_MAX: Final = 50
"""Of how many owners the database picks the signals out; if there are more, all are read."""
REST_S: Final = 0.005
"""How long to rest after a look: a busy log then comes in pages, not one by one."""
POLL_S: Final = 1.0
"""After how long to look though nobody said that there is more: for what is asked for elsewhere."""
GONE: Final = "its signal is no longer in the log"


class Cohort:
    """Recipients who are at the same place in the log, or a little before it."""

    def __init__(self, position: int, members: Iterable[Recipient] = ()) -> None:
        self.position = position
        self.members: dict[int, Recipient] = {}
        self.by_owner: dict[int, dict[int, Recipient]] = {}
        """The members by whose endpoints they are: there may be thousands, and each page is for a few."""
        for each in members:
            self.add(each)

    def takes(self, position: int) -> bool:
        """Whether somebody who is there in the log may become a member."""
        return 0 <= position - self.position <= TOGETHER

    def add(self, recipient: Recipient) -> None:
        """Have it read to with the others."""
        self.members[recipient.id] = recipient
        self.by_owner.setdefault(recipient.endpoint.owner, {})[recipient.id] = recipient

    def discard(self, recipient: Recipient) -> None:
        """Have it read to no more, if it was."""
        if self.members.get(recipient.id) is recipient:
            del self.members[recipient.id]
            its = self.by_owner[recipient.endpoint.owner]
            del its[recipient.id]
            if not its:
                del self.by_owner[recipient.endpoint.owner]


class Reader:
    """The main cohort follows the log as it grows; who cannot keep up follows later, in another one."""

    def __init__(
        self,
        store: Store,
        composer: Composer,
        keeper: Keeper,
        *,
        pump: Callable[[Recipient], None],
        changed: Callable[[int], None],
    ) -> None:
        """``pump`` is told whom there is something for, ``changed`` the revision of the endpoints."""
        self._store = store
        self._composer = composer
        self._keeper = keeper
        self._pump = pump
        self._changed = changed
        self._main = Cohort(0)
        self._others: list[Cohort] = []
        self._joining: dict[Recipient, None] = {}
        self._lagging: set[Recipient] = set()
        self._woken = asyncio.Event()

    async def start(self) -> None:
        """Begin at the end of the log. Raises StoreUnavailable."""
        self._main.position = await asyncio.to_thread(self._store.reading.position_before, 0)

    def join(self, recipients: Iterable[Recipient]) -> None:
        """Read to these as well, to each from where it is."""
        # Not at once: while a cohort is read to, it was asked already whose signals are looked for.
        self._joining.update(dict.fromkeys(recipients))
        self.wake()

    def _let_join(self) -> None:
        joining = sorted(self._joining, key=lambda each: each.lineup.read_to)
        self._joining.clear()
        for recipient in joining:
            position = recipient.lineup.read_to
            last = self._others[-1] if self._others else None
            if last is not None and last.takes(position):
                last.add(recipient)
            else:
                self._others.append(Cohort(position, [recipient]))

    def leave(self, recipient: Recipient) -> None:
        """Read to this one no more."""
        self._lagging.discard(recipient)
        self._joining.pop(recipient, None)
        for cohort in (self._main, *self._others):
            cohort.discard(recipient)

    def landed(self, recipient: Recipient) -> None:
        """Take in that something was tried: whoever had too much to do may be read to again."""
        if recipient in self._lagging and recipient.wants_more and recipient.lineup.is_calm:
            self._lagging.discard(recipient)
            self.join([recipient])

    def wake(self) -> None:
        """Say that there may be more to read."""
        self._woken.set()

    async def read(self) -> None:
        """Read, as long as this node tells. Raises StoreUnavailable."""
        while True:
            self._woken.clear()
            self._let_join()
            more = await self._read(self._main)
            # One page for each of the others, so that nobody who keeps up waits for long.
            for cohort in list(self._others):
                more |= await self._read(cohort)
                more |= await self._read(self._main)
            self._others = [each for each in self._others if each.members]
            if not more:
                await self._rest()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._woken.wait()
        await asyncio.sleep(REST_S)

    async def _read(self, cohort: Cohort) -> bool:
        """Read a page to a cohort: whether there may be more."""
        if cohort is not self._main and cohort.position >= self._main.position:
            for each in list(cohort.members.values()):
                cohort.discard(each)
                self._main.add(each)
        if cohort is not self._main and not cohort.members:
            return False
        look = await asyncio.to_thread(self._looking(cohort))
        self._changed(look.revision)
        if look.asked:
            await self._take_asked(cohort, look.asked)
            return True
        self._take(cohort, look)
        return look.is_cut

    def _looking(self, cohort: Cohort) -> Callable[[], Look]:
        """How to look for what there is for a cohort, in another thread."""
        is_main = cohort is self._main
        owners = set(cohort.by_owner)
        return partial(
            self._store.deliveries.look,
            set(self._asked_of(cohort)),
            after=cohort.position,
            until=None if is_main else self._main.position,
            owned_by=owners if len(owners) <= OWNERS_MAX else None,
            find_outdated=not is_main
            and any(e.endpoint.newest_only for e in cohort.members.values()),
            limit=PAGE,
        )

    def _asked_of(self, cohort: Cohort) -> dict[int, Recipient]:
        """Those by number for whom it is looked, with a cohort, what was asked for.

        With the main one also those who are read nothing more: whoever mends an endpoint that fails asks for a test.
        """
        others = self._lagging if cohort is self._main else ()
        told = (each for each in (*cohort.members.values(), *others) if each.is_told)
        return {each.id: each for each in told if each.lineup.has_room_for_noted}

    def _take(self, cohort: Cohort, look: Look) -> None:
        """Put a page of the log before those whom it is for."""
        catching_up = cohort is not self._main
        busy: set[Recipient] = set()
        for owned in look.signals:
            for recipient in cohort.by_owner.get(owned.owner or 0, {}).values():
                if owned.position > recipient.lineup.read_to:
                    self._tell(recipient, owned, catching_up=catching_up)
                    busy.add(recipient)
        cohort.position = max(cohort.position, look.until)
        for recipient in cohort.members.values():
            recipient.lineup.read_to = max(recipient.lineup.read_to, cohort.position)
        for recipient in busy:
            if not recipient.wants_more:
                cohort.discard(recipient)
                self._lagging.add(recipient)
            self._pump(recipient)

    def _tell(self, recipient: Recipient, owned: Owned, *, catching_up: bool) -> None:
        newest_only = recipient.takes_newest_only(catching_up=catching_up)
        for delivery in self._composer.told(owned, recipient.endpoint):
            is_stale = newest_only and owned.is_outdated and delivery.item
            if not is_stale and recipient.lineup.find(delivery.message) is None:
                self._add(recipient, delivery, newest_only=newest_only)

    def _add(self, recipient: Recipient, delivery: Delivery, *, newest_only: bool) -> None:
        lineup = recipient.lineup
        for skipped in lineup.add(delivery, newest_only=newest_only):
            self._keeper.done(recipient, skipped)
        if delivery.stage != "done" and lineup.must_note(delivery):
            self._keeper.noted(recipient, delivery, delivery.webhook)
            lineup.noted(delivery)

    async def _take_asked(self, cohort: Cohort, asked: list[tuple[Noted, Owned | None]]) -> None:
        """Put what was asked for before those whom it is for, and have it noted that it was."""
        recipients = self._asked_of(cohort)
        for noted, owned in asked:
            recipient = recipients.get(noted.endpoint)
            if recipient is not None:
                self._take_one(recipient, noted, owned)
                self._pump(recipient)
        # Until that is on disk, it would be found again.
        await self._keeper.save()

    def _take_one(self, recipient: Recipient, noted: Noted, owned: Owned | None) -> None:
        webhook = noted.webhook
        if not webhook and owned is not None:
            webhook = self._composer.item(owned, recipient.endpoint).webhook
        delivery = delivery_of(noted, webhook)
        if not webhook:
            self._keeper.noted(recipient, delivery, "", "dead", GONE)
            return
        known = recipient.lineup.find(noted.message)
        if known is not None:
            recipient.lineup.hurry(known)
        else:
            delivery.due = 0
            recipient.lineup.add(delivery)
        self._keeper.noted(recipient, known or delivery, webhook)
        recipient.lineup.noted(known or delivery)
        if recipient.pace.is_down:
            recipient.lineup.put_first(known or delivery)
            recipient.pace.hurry()


def delivery_of(noted: Noted, webhook: str) -> Delivery:
    """The delivery that is noted, of which that is told."""
    return Delivery(
        message=noted.message,
        position=noted.position,
        line=noted.number or noted.message,
        type=noted.type,
        order=noted.order,
        item=noted.item,
        webhook="",
        happened=composing.happened(webhook) if webhook else 0,
        attempts=noted.attempts,
        first=noted.first,
        due=noted.due,
        is_noted=True,
    )
