"""Posts at an even pace, whether the ones before are answered or not, and notes when each answer came."""

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, cast

import uvloop
from msgspec import Struct, field

from benchmarks.preload import head

OK: Final = b"HTTP/1.1 200 "
POSITION: Final = re.compile(rb'"position":(\d+)')
LATE_S_MAX: Final = 30


class Paced(Struct):
    """When the 200 for the signal at each position was there, by the machine's monotonic clock."""

    answered_ns: dict[int, int] = field(default_factory=dict)
    errors: int = 0
    per_s: float = 0.0


class Poster:
    """The connections of one run: a new one is made when all are waiting for answers."""

    def __init__(self, port: int, posts: int) -> None:
        self._port = port
        self._missing = posts
        self._idle: list[Connection] = []
        self._all = asyncio.Event()
        self.paced = Paced()

    async def post(self, body: bytes) -> None:
        connection = self._idle.pop() if self._idle else await self._connected()
        connection.post(body)

    async def finish(self) -> None:
        """Wait for the last answers; those that do not come are errors."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LATE_S_MAX):
                await self._all.wait()
        self.paced.errors += self._missing

    def answered(self, connection: "Connection", answer: bytes) -> None:
        now_ns = time.monotonic_ns()
        found = POSITION.search(answer)  # It is short: it comes in one piece.
        if found is not None and answer.startswith(OK):
            self.paced.answered_ns[int(found[1])] = now_ns
        else:
            self.paced.errors += 1
        self._idle.append(connection)
        self._missing -= 1
        if not self._missing:
            self._all.set()

    def lost(self, connection: "Connection") -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    async def _connected(self) -> "Connection":
        loop = asyncio.get_running_loop()
        made = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
        return made[1]


class Connection(asyncio.Protocol):
    """One post at a time."""

    def __init__(self, poster: Poster) -> None:
        self._poster = poster

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop has its own kind.
        self._transport = cast(asyncio.Transport, transport)

    def post(self, body: bytes) -> None:
        self._transport.write(head(len(body)) + body)

    def data_received(self, data: bytes) -> None:
        self._poster.answered(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._poster.lost(self)


def post_paced(port: int, bodies: Sequence[bytes], per_s: int) -> Paced:
    return uvloop.run(_post(port, bodies, per_s))


async def _post(port: int, bodies: Sequence[bytes], per_s: int) -> Paced:
    loop, poster = asyncio.get_running_loop(), Poster(port, len(bodies))
    begun = loop.time()
    for number, body in enumerate(bodies):
        if (early_s := begun + number / per_s - loop.time()) > 0:
            await asyncio.sleep(early_s)
        await poster.post(body)
    poster.paced.per_s = len(bodies) / (loop.time() - begun)
    await poster.finish()
    return poster.paced
