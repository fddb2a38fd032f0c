"""Receivers of webhooks: a process that answers 204 as fast as it can and remembers what came when.

Every owner's endpoint has an address of its own on loopback, as each has a host of its own elsewhere. What
came is asked for by GET at the first of them, and forgotten by DELETE.
"""

import asyncio
import contextlib
import gc
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

import httptools
import msgspec
import uvloop
from msgspec import Struct

ADDRESSES_MAX: Final = 1000
ANSWER: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
POLL_S: Final = 0.05
PATH: Final = "/webhooks"
SIGNED: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")


class Arrival(Struct, array_like=True):
    """One webhook: the number of the address it came to, by the machine's monotonic clock when, and what."""

    endpoint: int
    at_ns: int
    headers: dict[str, str]
    body: bytes


class Came(Struct, array_like=True):
    """How many have come, and when the first and the last did."""

    count: int
    first_ns: int = 0
    last_ns: int = 0


def address(endpoint: int) -> str:
    return f"127.0.{1 + endpoint // 250}.{1 + endpoint % 250}"


def url(endpoint: int, port: int) -> str:
    return f"http://{address(endpoint)}:{port}{PATH}"


# ---- the process ----


class Receiving(asyncio.Protocol):
    """One connection to one of the addresses."""

    def __init__(self, arrivals: list[Arrival]) -> None:
        self._arrivals = arrivals
        self._parser = httptools.HttpRequestParser(self)
        self._headers: dict[str, str] = {}
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop has its own kind.
        self._transport = cast(asyncio.Transport, transport)
        _, _, last, least = transport.get_extra_info("sockname")[0].split(".")
        self._endpoint = (int(last) - 1) * 250 + int(least) - 1

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._headers, self._body = {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        match self._parser.get_method():
            case b"POST":
                self._take()
            case b"DELETE":
                self._arrivals.clear()
                self._transport.write(ANSWER)
            case _:
                self._tell()

    def _take(self) -> None:
        now_ns = time.monotonic_ns()
        headers = {name: self._headers.get(name, "") for name in SIGNED}
        self._arrivals.append(Arrival(self._endpoint, now_ns, headers, self._body))
        self._transport.write(ANSWER)

    def _tell(self) -> None:
        found: list[Arrival] | Came = self._arrivals
        if "x-count" in self._headers:
            found = Came(len(self._arrivals))
            if self._arrivals:
                found = Came(found.count, self._arrivals[0].at_ns, self._arrivals[-1].at_ns)
        body = msgspec.msgpack.encode(found)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


class Silence(asyncio.Protocol):
    """One connection to an address where nobody ever answers."""


async def receive(healthy: int, silent: int) -> None:
    loop = asyncio.get_running_loop()
    arrivals: list[Arrival] = []
    first, *others = map(address, range(healthy))
    server = await loop.create_server(lambda: Receiving(arrivals), first, 0)
    port = server.sockets[0].getsockname()[1]
    if others:
        await loop.create_server(lambda: Receiving(arrivals), others, port)
    if silent:
        places = [address(number) for number in range(healthy, healthy + silent)]
        await loop.create_server(Silence, places, port)
    print(port, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    gc.disable()  # What has come is kept, and none of it is a cycle.
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(receive(int(sys.argv[1]), int(sys.argv[2])))


# ---- its other side ----


class Receiver:
    """Receivers in a process of their own: healthy ones, then silent ones; beyond these nobody listens."""

    def __init__(self, port: int, healthy: int, silent: int) -> None:
        self.port, self.healthy, self.silent = port, healthy, silent

    def url(self, endpoint: int) -> str:
        return url(endpoint, self.port)

    def forget(self) -> None:
        self._ask("DELETE")

    def came(self) -> Came:
        return msgspec.msgpack.decode(self._ask("GET", {"X-Count": "1"}), type=Came)

    def arrivals(self) -> list[Arrival]:
        return msgspec.msgpack.decode(self._ask("GET"), type=list[Arrival])

    def wait_for(self, count: int, within_s: float) -> Came:
        """What has come when it is so much, or nothing more comes within that time."""
        found, since = self.came(), time.monotonic()
        while found.count < count and time.monotonic() - since < within_s:
            time.sleep(POLL_S)
            before, found = found, self.came()
            if found.count > before.count:
                since = time.monotonic()
        return found

    def _ask(self, method: str, headers: dict[str, str] | None = None) -> bytes:
        connection = http.client.HTTPConnection(address(0), self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, PATH, headers=headers or {})
            return connection.getresponse().read()


@contextmanager
def receiving(healthy: int, silent: int = 0) -> Iterator[Receiver]:
    command = [sys.executable, "-m", "benchmarks.receiver", str(healthy), str(silent)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        try:
            yield Receiver(int(process.stdout.readline()), healthy, silent)
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
