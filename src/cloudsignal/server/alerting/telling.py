"""Tells the operator of alerts: by each way one message after the other, until it is taken or given up."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec import Struct

from cloudsignal.protocol import signatures
from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.alerting.composing import NEWS_MAX, NO_LINKS, WRITE, Links, read_mail
from cloudsignal.server.alerting.digests import told_at
from cloudsignal.server.alerting.mailing import MailServer, NotSent, mail_of
from cloudsignal.server.clock import Clock
from cloudsignal.server.delivery.dialing import Dialer
from cloudsignal.server.delivery.schedule import ATTEMPTS_MAX, GIVE_UP_AFTER_S, wait_s
from cloudsignal.server.delivery.sealing import Sealer, SealError
from cloudsignal.server.store.alert_messages import (
    WAYS,
    Message,
    News,
    Way,
    WayName,
    Written,
)
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store

EVERY_S: Final = 1.0
"""How often is looked whether there is anything to tell."""
GIVE_UP_AFTER_US: Final = int(GIVE_UP_AFTER_S) * SECOND_US
"""How old news are at most that are tried again: what is older is given up."""
TOO_OLD: Final = "it could not be told within 7 days"
URL: Final = "url"
SECRET: Final = "secret"


_log: Final = logging.getLogger("cloudsignal")


class Outcome(Struct, frozen=True):
    """What became of an attempt: whether it was taken, a sentence, and how long to wait at least."""

    is_taken: bool
    said: str
    retry_after_s: float = 0.0


Send = Callable[[Way, Message], Awaitable[Outcome]]
"""Tries to tell something by a way."""


def sealed_as(what: str) -> str:
    """What a sealed text of alerts is, for the seal."""
    return f"alerts {what}"


def new_message() -> str:
    """What another message is known by."""
    return f"alert_{secrets.token_hex(12)}"


class Teller:
    """Tells what waits to be told, by the ways that it can ``send``."""

    def __init__(
        self,
        store: Store,
        send: dict[WayName, Send],
        *,
        clock: Clock,
        chance: Callable[[], float],
        links: Links = NO_LINKS,
    ) -> None:
        self._messages = store.alert_messages
        self._send = send
        self._clock = clock
        self._chance = chance
        self._links = links

    async def run(self, is_mine: Callable[[], bool]) -> None:
        """Tell, by each way on its own, while it ``is_mine`` to do; until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in WAYS:
                group.create_task(self._keep(name, is_mine))

    async def _keep(self, name: WayName, is_mine: Callable[[], bool]) -> None:
        while True:
            goes_on = False
            if is_mine():
                with suppress(StoreUnavailable):  # That is said elsewhere, and passes.
                    goes_on = await self.step(name)
            await asyncio.sleep(0 if goes_on else EVERY_S)

    async def step(self, name: WayName) -> bool:
        """Try what is next by a way, if it is time: whether it was told, so that more may be."""
        way = await asyncio.to_thread(self._messages.way, name)
        if way is None:
            return False
        message = await asyncio.to_thread(self._next, way)
        if message is None:
            return False
        outcome = await self._try(way, message)
        await asyncio.to_thread(self._note, way, message, outcome)
        return outcome.is_taken

    async def _try(self, way: Way, message: Message) -> Outcome:
        try:
            return await self._send[way.way](way, message)
        except Exception:  # Of one message: it must not end whatever else this process does.
            _log.exception("defect: an alert could not be told")
            return Outcome(False, "this is a defect of cloudsignal: its log says more")

    def _next(self, way: Way) -> Message | None:
        """What is to be tried now; made of the news, if it is time for that."""
        now = self._clock()
        if way.due <= now:
            self._give_up(way, now)
            since = self._messages.news_since(way.way)
            if since is not None and told_at(way.digest, since) <= now:
                write, most = partial(_write, way.way, now, self._links), NEWS_MAX[way.way]
                self._messages.make(way.way, write, message=new_message(), limit=most, now=now)
        return self._messages.next(way.way, now=now)

    def _give_up(self, way: Way, now: int) -> None:
        if way.failures:
            before = now - GIVE_UP_AFTER_US
            self._messages.give_up(way.way, before, TOO_OLD, message=new_message(), now=now)

    def _note(self, way: Way, message: Message, outcome: Outcome) -> None:
        now = self._clock()
        if outcome.is_taken:
            self._messages.told(message, outcome.said, now=now)
            return
        is_over = message.is_test or message.since < now - GIVE_UP_AFTER_US
        due = now + round(self._wait_s(way, outcome) * SECOND_US)
        self._messages.failed(message, way, outcome.said, is_over=is_over, due=due, now=now)

    def _wait_s(self, way: Way, outcome: Outcome) -> float:
        """How long to leave the way alone: as long as one delivery, and never forever."""
        attempt = min(way.failures + 1, ATTEMPTS_MAX - 1)
        waits = partial(wait_s, since_first_s=0.0, jitter=self._chance())
        return waits(attempt, retry_after_s=outcome.retry_after_s) or 0.0


def _write(name: WayName, now: int, links: Links, news: list[News]) -> Written:
    return WRITE[name](news, now, links)


class Poster:
    """Posts webhooks, signed."""

    def __init__(self, dialer: Dialer, sealer: Sealer, clock: Clock) -> None:
        self._dialer = dialer
        self._sealer = sealer
        self._clock = clock

    async def __call__(self, way: Way, message: Message) -> Outcome:
        """Post a message."""
        try:
            url = self._sealer.open(way.url, of=sealed_as(URL))
            secret = signatures.read(self._sealer.open(way.secret, of=sealed_as(SECRET)))
        except SealError as error:
            return Outcome(False, str(error))
        body, now_s = message.content.encode(), self._clock() // SECOND_US
        headers = signatures.headers([secret], id=message.message, now_s=now_s, body=body)
        attempt = await self._dialer.post(url, body, headers)
        if attempt.is_delivered:
            took = f"it answered {attempt.status} within {attempt.took_s * 1000:.0f} ms"
            return Outcome(True, took)
        return Outcome(False, attempt.error, attempt.retry_after_s)


class Mailer:
    """Hands mails in, in a thread."""

    def __init__(self, server: MailServer | None) -> None:
        self._server = server

    async def __call__(self, way: Way, message: Message) -> Outcome:
        """Hand a message in, for all recipients at once."""
        if self._server is None:
            return Outcome(
                False, "there is no mail server: set smtp_host, and start the server again"
            )
        mail = mail_of(
            read_mail(message.content),
            self._server.sender,
            way.recipients,
            message=message.message,
            made=message.made,
        )
        try:
            return Outcome(
                True, await asyncio.to_thread(self._server.hand_in, mail, way.recipients)
            )
        except NotSent as error:
            return Outcome(False, str(error))
