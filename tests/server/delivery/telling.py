"""An engine that tells, with owners who are not there, and time that passes when a test says so."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from cloudsignal.server.addresses import network
from cloudsignal.server.delivery.desk import Desk, EndpointCreation
from cloudsignal.server.delivery.dialing import Attempt
from cloudsignal.server.delivery.engine import Engine, Plan
from cloudsignal.server.delivery.recipient import Recipient, opened
from cloudsignal.server.delivery.sealing import Sealer
from cloudsignal.server.delivery.targets import Rules
from cloudsignal.server.store.endpoints import Endpoint
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store
from tests.server.arrivals import NOON, SECOND, arrival, report
from tests.server.clock import Clock

DEADLINE_S = 20.0
SEALER = Sealer("the server's")
OK = Attempt(status=204)
NO = Attempt(status=500, error="it answered 500")


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what or "it never was so"
        await asyncio.sleep(0.002)


async def until_told(condition: Callable[[], Any], *engines: Engine) -> None:
    """Wait until something is so, while engines see again and again whose turn it is."""

    def is_so() -> Any:
        for each in engines:
            each._outdated.set()
        return condition()

    await until(is_so)


class Told(NamedTuple):
    """A webhook that arrived at an owner's."""

    url: str
    message: str
    body: dict[str, Any]
    headers: dict[str, str]
    raw: bytes
    at: int
    is_taken: bool

    @property
    def item(self) -> str:
        return str(self.body.get("item", ""))

    @property
    def cause(self) -> str:
        """Which signal it is about: see ``append``."""
        return str(self.body.get("cause", ""))


Talk = Callable[[str, dict[str, Any]], Awaitable[Attempt]]
"""What an owner answers to a message with that body."""


class Owners:
    """Stands for the dialer and everybody behind it: takes everything, unless a URL ``talks`` otherwise."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.talks: dict[str, Talk] = {}
        self.told: list[Told] = []
        self.under_way = 0

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Attempt:
        at, read, talk = self._clock(), json.loads(body), self.talks.get(url)
        message = headers["webhook-id"]
        self.under_way += 1
        try:
            attempt = await talk(message, read) if talk else OK
        finally:
            self.under_way -= 1
        self.told.append(Told(url, message, read, dict(headers), body, at, attempt.is_delivered))
        return attempt

    def taken(self, url: str | None = None) -> list[str]:
        """Which signals were taken, in their order."""
        return [each.cause for each in self.told if each.is_taken and url in (None, each.url)]


def says(attempt: Attempt) -> Talk:
    """Answers everything so."""

    async def talk(message: str, body: dict[str, Any]) -> Attempt:
        return attempt

    return talk


class Timers:
    """Calls what is due when a test lets time pass."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[_Timer] = []

    def later(self, delay_s: float, call: Callable[[], None]) -> "_Timer":
        timer = _Timer(self, self._clock() + int(delay_s * SECOND), call)
        self._waiting.append(timer)
        return timer

    @property
    def next_at(self) -> int | None:
        """When something is due next."""
        return min((each.at for each in self._waiting), default=None)

    def pass_s(self, seconds: float) -> None:
        """Let time pass, and what is due meanwhile be called."""
        end = self._clock() + int(seconds * SECOND)
        while self._waiting:
            timer = min(self._waiting, key=lambda each: each.at)
            if timer.at > end:
                break
            timer.cancel()
            self._clock.now = max(self._clock.now, timer.at)
            timer.call()
        self._clock.now = end

    def remove(self, timer: "_Timer") -> None:
        if timer in self._waiting:
            self._waiting.remove(timer)


class _Timer:
    def __init__(self, timers: Timers, at: int, call: Callable[[], None]) -> None:
        self._timers = timers
        self.at = at
        self.call = call

    def cancel(self) -> None:
        self._timers.remove(self)


class Away:
    """A store that can be away: every verb for tellers then raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self.is_away = False
        self.refused = 0
        for name in ("deliveries", "tellers", "delivery_log", "reading", "endpoints"):
            setattr(store, name, _Verbs(getattr(store, name), self))


class _Verbs:
    def __init__(self, verbs: Any, away: Away) -> None:
        self._verbs = verbs
        self._away = away

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._verbs, name)

        def asked(*given: Any, **named: Any) -> Any:
            if self._away.is_away:
                self._away.refused += 1
                raise StoreUnavailable("the store is away")
            return verb(*given, **named)

        return asked


class Telling:
    """A store, owners, and an engine between them whenever one runs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock()
        self.clock.now = NOON
        self.timers = Timers(self.clock)
        self.owners = Owners(self.clock)
        self.warnings: list[str] = []
        self.lease = time.monotonic
        self.desk = Desk(store, SEALER, Rules((network("127.0.0.0/8"),), http=True))

    def endpoint(self, name: str = "books", *, owner: str = "Books", **values: Any) -> str:
        """Add an endpoint of an owner, who is added too: its URL."""
        if owner not in [each.name for each in self.store.orders.owners()]:
            self.store.orders.create_owner(owner, unregistered=True, now=1)
        url = f"https://{name}.example/"
        given = {"apikey": f"key-of-{name}"}
        self.desk.create(EndpointCreation(owner, url, **given | values), now=self.clock())
        return url

    def recipient(self, name: str, **values: Any) -> Recipient:
        """An endpoint that is added and told."""
        self.endpoint(name, **values)
        endpoint = self.store.endpoints.endpoints()[-1]
        return Recipient(endpoint, opened(endpoint, SEALER), held_max=100)

    def append(self, *items: str, order: str = "7") -> list[str]:
        """Append a signal about each of the items: what they are called when they are told."""
        last = self.store.reading.last_position()
        causes = [f"{item} {last + n}" for n, item in enumerate(items, 1)]
        told = [
            report("ItemDelay", item=item, cause=cause, order=order)
            for item, cause in zip(items, causes, strict=True)
        ]
        self.store.append([arrival(*told)])
        return causes

    def stored(self, number: int = 1) -> Endpoint:
        """An endpoint as the store has it."""
        return self.store.endpoints.endpoint(number)

    @asynccontextmanager
    async def running(self, node: str = "a", *, is_killed: bool = False) -> AsyncIterator[Engine]:
        """An engine that tells meanwhile, and is stopped or killed in the end."""
        engine = Engine(
            self.store,
            SEALER,
            self.owners,  # type: ignore[arg-type]
            Plan(30, {}),
            node=node,
            identity=self.store.identity(),
            clock=self.clock,
            warn=self.warnings.append,
            timer=lambda: self.lease(),
            chance=lambda: 0.0,
            later=self.timers.later,  # type: ignore[arg-type]
        )
        test = asyncio.current_task()
        running = asyncio.create_task(engine.run())
        # A test need not wait for what an engine that has failed will not do.
        running.add_done_callback(lambda task: task.cancelled() or (test and test.cancel()))
        try:
            yield engine
        finally:
            is_over = running.done()
            running.cancel()
            ended = await asyncio.gather(running, return_exceptions=True)
            if is_killed:
                engine._mine_until = 0.0
                await engine._sending.stop(0.0)
            else:
                await engine.stop(1.0)
        assert not is_over, ended

    async def retry(self, engine: Engine) -> Told:
        """Let time pass until the next attempt is made: how it went."""
        count = len(self.owners.told)
        while len(self.owners.told) == count:
            await until(lambda: self.timers.next_at is not None or len(self.owners.told) > count)
            await engine._keeper.save()
            if len(self.owners.told) == count and self.timers.next_at is not None:
                self.timers.pass_s(max(0.0, (self.timers.next_at - self.clock()) / SECOND))
        return self.owners.told[count]
