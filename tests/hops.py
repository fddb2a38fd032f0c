"""What stands between a client and a server: it passes on what comes, keeps a copy, and may be slow."""

import asyncio
import ssl
import threading
from collections import deque
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

PART_BYTES = 1 << 16


class Hop:
    """Listens at ``url`` while it is entered, and passes everything on to a server's address and back.

    With ``tls`` the way to it is encrypted, and ends here. ``sent`` is what clients sent: all of it, as it was before
    it was encrypted.
    """

    def __init__(self, address: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._beyond = urlsplit(address)
        self._tls = tls
        self._slow: deque[Slowness] = deque()
        self.sent = bytearray()
        self.url = ""
        self._ended = asyncio.Event()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def be_slow(self, *how: "Slowness") -> None:
        """Be slow with the answers on the next connections, one each."""
        self._slow.extend(how)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listens.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._listen())

    async def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        # A client that does not trust us hangs up, which is no news here.
        self._loop.set_exception_handler(lambda *_: None)
        server = await asyncio.start_server(self._meet, "127.0.0.1", ssl=self._tls)
        port = server.sockets[0].getsockname()[1]
        # By its name, which is what a certificate is for.
        self.url = f"{'https' if self._tls else 'http'}://localhost:{port}"
        self._listens.set()
        await self._ended.wait()
        server.close()
        # Who is under way still is hung up on when the loop ends.

    async def _meet(self, near: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        slow = self._slow.popleft() if self._slow else Slowness()
        gone = asyncio.Event()
        try:
            far, server = await asyncio.open_connection(self._beyond.hostname, self._beyond.port)
            forth = asyncio.create_task(self._pass_on(near, server, gone))
            try:
                while part := await far.read(PART_BYTES):
                    await slow.answer(part, client, gone)
            finally:
                forth.cancel()
                server.close()
        except OSError:
            pass  # One of both hung up.
        finally:
            client.close()

    async def _pass_on(
        self, near: asyncio.StreamReader, server: asyncio.StreamWriter, gone: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while part := await near.read(PART_BYTES):
                self.sent += part
                server.write(part)
        gone.set()
        server.close()


class Slowness:
    """How answers are passed back: this one does it at once."""

    async def answer(self, part: bytes, client: asyncio.StreamWriter, gone: asyncio.Event) -> None:
        """Pass on a part of an answer to a client that is ``gone`` once it has hung up."""
        client.write(part)
        await client.drain()


class TooLate(Slowness):
    """The answer comes when the client has given it up."""

    async def answer(self, part: bytes, client: asyncio.StreamWriter, gone: asyncio.Event) -> None:
        await gone.wait()
        await super().answer(part, client, gone)


class Dripping(Slowness):
    """The answer comes a byte at a time, and never ends.

    It begins to drip with the body, or with ``head`` at once.
    """

    def __init__(self, every_s: float, *, head: bool = False) -> None:
        self._every_s = every_s
        self._head = head

    async def answer(self, part: bytes, client: asyncio.StreamWriter, gone: asyncio.Event) -> None:
        begin = 0 if self._head else part.index(b"\r\n\r\n") + 4
        client.write(part[:begin])
        for index in range(begin, len(part) - 1):
            client.write(part[index : index + 1])
            with suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), self._every_s)
        await gone.wait()
