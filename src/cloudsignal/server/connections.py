"""Connections: what HTTP itself answers, and how long a client may take to say what it wants."""

import asyncio
import resource
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cloudsignal.protocol.refusals import Refusal, refuse

HTTP_2: Final = b"pgrade: h2c\r\n"
"""How clients offer HTTP/2, whose letter case is that of all clients known to do it."""
HTTP_2_UNHEARD: Final = b"pgradf: h2c\r\n"
"""The same to no effect, and of the same length: it may stand in a body, whose length is given."""

HEAD_BYTES_MAX: Final = 64 << 10
"""How large the head of a request may be."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with errors in the shape of all the others, and one write an answer.

    ``refused`` is told of what is no HTTP, and from which address it came.
    """

    def __init__(self, *, refused: Callable[[Refusal, str], None], **parts: Any) -> None:
        super().__init__(**parts)
        self._refused = refused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        joined = _Joined(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(cast(asyncio.Transport, joined))
        self._head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """A client sent something."""
        # Java's own client offers HTTP/2 with its posts, as `curl --http2` does. We don't take it up,
        # but the parser would leave the body to whoever did. In JSON this text cannot occur.
        before: Any = self.cycle  # None at first
        is_body = before is not None and before.more_body
        super().data_received(data.replace(HTTP_2, HTTP_2_UNHEARD))
        if is_body or self.cycle is not before:
            self._head_bytes = 0
            return
        # No request has come of it yet, so it is a piece of one's head, which the parser keeps.
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(f"the head of the request is larger than {HEAD_BYTES_MAX} bytes")

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and hang up."""
        self._refuse("this is not HTTP, or not valid HTTP")

    def _refuse(self, info: str) -> None:
        refusal = refuse("invalid_http", info)
        self._refused(refusal, self.client[0] if self.client else "")
        body = refusal.body()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[400] + head % len(body) + body)
        self.transport.close()


class _Joined:
    """A transport that sends what is written in one moment together.

    uvicorn writes the head of an answer and its body one after the other, and each would be a call
    of the system: a tenth of what a post costs.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._written:
            self._transport.write(b"".join(self._written))
            self._written.clear()


def allow_many() -> None:
    """Let this process have as many files open as it may: each connection is one.

    Most systems begin with 1024, for the sake of programs that use select(2), and let every program
    raise that by itself. Where it stays so low, a thousand idle clients lock all others out.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # Some systems say "infinity" and don't mean it.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def close_stalled(connections: set[Any], timeout_s: float) -> None:
    """Hang up on clients that began a request and don't go on, for as long as the server runs.

    Looks at all connections once in ``timeout_s``, and closes those found in the middle of the same
    request twice: nothing has to be counted for each request.
    """
    before: dict[Any, Any] = {}
    while True:
        await asyncio.sleep(timeout_s)
        sending = {each: each.cycle for each in connections if _is_sending(each)}
        for connection, cycle in sending.items():
            if connection in before and before[connection] is cycle:
                connection.transport.close()
        before = sending


def _is_sending(connection: Any) -> bool:
    """Whether the client has a request to finish (or to begin, on a new connection)."""
    if connection.timeout_keep_alive_task is not None:
        return False
    cycle = connection.cycle
    return cycle is None or cycle.response_complete or bool(cycle.more_body)
