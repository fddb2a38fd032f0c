"""Sends the posts of a plan, with one client for each print partner."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final, Protocol

from cloudsignal.partner.client import AsyncClient
from cloudsignal.partner.errors import KeyRefused, NotSent, SendError, WrongAddress
from cloudsignal.simulator.disturbances import PlannedPost
from cloudsignal.simulator.ledger import Ledger
from cloudsignal.simulator.pace import Driving, Sleep

TRIES: Final = 8
"""How often a post is tried: for a minute or so, in which a server can be started again."""
TURN_S: Final = 0.1
"""How long a wait may be before it is looked whether to stop."""
TICK_S: Final = 0.001
"""How much too early a post may be sent: no less can be slept for."""
STOP_S: Final = 15.0
"""How long what is under way may take once the sending is to end."""


class MakeClient(Protocol):
    """Makes the client of the print partner with this number."""

    def __call__(self, partner: int, *, sleep: Sleep) -> AsyncClient: ...


class Fleet:
    """Print partners that send. ``stop`` ends it early; what is under way is still awaited."""

    def __init__(
        self,
        partners: int,
        make_client: MakeClient,
        ledger: Ledger,
        driving: Driving,
        stop: asyncio.Event,
    ) -> None:
        self._partners = partners
        self._make_client = make_client
        self._ledger = ledger
        self._driving = driving
        self._stop = stop
        self._turn = asyncio.Lock()
        self._began = 0.0
        self._retrying: set[asyncio.Task[Any] | None] = set()
        self._clients: Sequence[AsyncClient] = ()

    async def send(self, posts: Iterable[PlannedPost]) -> None:
        """Send these posts, each when it is due, and take down in the ledger what became of them.

        A key or an address that cannot be used ends it: nothing else would come of the next post. So does a server
        that took nothing from anybody for as long as a post is tried.
        """
        self._began = self._driving.now()
        taken = iter(posts)
        async with self._connected() as self._clients:
            senders = asyncio.gather(*(self._work(taken) for _ in range(self._driving.connections)))
            stopped = asyncio.create_task(self._stop.wait())
            either: set[asyncio.Future[Any]] = {senders, stopped}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            with suppress(TimeoutError):
                await asyncio.wait_for(senders, STOP_S)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Sequence[AsyncClient]]:
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(self._make_client(number, sleep=self._pause))
                for number in range(self._partners)
            ]

    async def _work(self, posts: Iterator[PlannedPost]) -> None:
        while (post := await self._next(posts)) is not None:
            await self._send(post)

    async def _next(self, posts: Iterator[PlannedPost]) -> PlannedPost | None:
        """The next post once it is due; None when there is none, or it is over."""
        async with self._turn:
            post = None if self._is_over() else next(posts, None)
            if post is None or not await self._until(self._driving.pace.due_s(post)):
                return None
            return post

    def _is_over(self) -> bool:
        duration = self._driving.duration_s
        return self._stop.is_set() or (duration is not None and self._elapsed_s() >= duration)

    def _elapsed_s(self) -> float:
        return self._driving.now() - self._began

    async def _until(self, due_s: float) -> bool:
        """Wait until then; False when it is over before."""
        while (left := due_s - self._elapsed_s()) > TICK_S:
            if self._is_over():
                return False
            await self._driving.sleep(min(left, TURN_S))
        return True

    async def _send(self, post: PlannedPost) -> None:
        task = asyncio.current_task()
        self._retrying.discard(task)
        before = self._ledger.posts
        try:
            receipt = await self._clients[post.partner].send(*post.signals)
        except SendError as error:
            self._ledger.failed(post, error, retried=task in self._retrying)
            is_away = isinstance(error, NotSent) and self._ledger.posts == before
            if is_away or isinstance(error, KeyRefused | WrongAddress):
                self._stop.set()
        except asyncio.CancelledError:
            self._ledger.unanswered(post)
            raise
        else:
            self._ledger.stored(post, receipt, retried=task in self._retrying)

    async def _pause(self, seconds: float) -> None:
        """The wait before another try; it is cut short when all is to stop."""
        self._ledger.retries += 1
        self._retrying.add(asyncio.current_task())
        left = seconds
        while not self._stop.is_set() and left > 0:
            turn = min(left, TURN_S)
            await self._driving.sleep(turn)
            left -= turn
