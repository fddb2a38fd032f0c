"""Receivers of webhooks, friendly and hostile ones, on real sockets."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Request(NamedTuple):
    line: str
    headers: dict[str, str]
    body: bytes
    number: int
    """The how manieth of its connection."""
    more: asyncio.StreamReader
    """What comes after it; at its end once the other side has hung up."""


Talk = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def says(answer: bytes) -> Talk:
    """Answers every request so."""

    async def talk(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return talk


def answers(status: int, *headers: str, body: bytes = b"") -> Talk:
    """Answers every request with this status, these headers and this body."""
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", *headers, "", ""]
    # A 204 has neither a body nor its length.
    return says("\r\n".join(lines if status != 204 else [lines[0], *lines[2:]]).encode() + body)


class Receiver:
    """Listens on a free port of 127.0.0.1, and talks with whoever posts."""

    def __init__(
        self, talk: Talk, tls: ssl.SSLContext | None = None, greeting: bytes = b""
    ) -> None:
        self._talk = talk
        self._tls = tls
        self._greeting = greeting
        self._serving: set[asyncio.Task[None]] = set()
        self.requests: list[Request] = []
        self.connections = 0
        self.connected = 0
        self.connected_max = 0
        self.port = 0
        self.all_gone = asyncio.Event()
        """No connection is open any more."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def url(self, host: str = "127.0.0.1", user: str = "", path: str = "/webhooks") -> str:
        return f"http{'s' if self._tls else ''}://{user}{host}:{self.port}{path}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.connected += 1
        self.connected_max = max(self.connected_max, self.connected)
        number = 0
        writer.write(self._greeting)
        try:
            while not writer.is_closing():
                number += 1
                request = await _request(reader, number)
                self.requests.append(request)
                await self._talk(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError, RuntimeError):
            pass  # Hung up; uvloop says RuntimeError.
        finally:
            self.connected -= 1
            writer.transport.abort()
            if not self.connected:
                self.all_gone.set()


async def _request(reader: asyncio.StreamReader, number: int) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    pairs = (line.partition(": ") for line in head[1:] if line)
    headers = {name.lower(): value for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(head[0], headers, body, number, reader)
