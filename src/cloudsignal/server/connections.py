"""Connections: what HTTP itself answers, and how long a client may take to say what it wants."""

import errno
import resource
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from cloudsignal.asgi import Scope
from cloudsignal.protocol import http
from cloudsignal.protocol.http import Header
from cloudsignal.protocol.refusals import Refusal
from cloudsignal.server.asgi import ANSWER, Answer
from cloudsignal.server.settings import SettingsError

HTTP_2: Final = b"pgrade: h2c\r\n"
"""How clients offer HTTP/2, whose letter case is that of all clients known to do it."""
HTTP_2_UNHEARD: Final = b"pgradf: h2c\r\n"
"""The same to no effect, and of the same length: it may stand in a body, whose length is given."""

BACKLOG: Final = 4096
"""How many connections the system may hold for us while the loop is busy."""
HEAD_BYTES_MAX: Final = 64 << 10
"""How large the head of a request may be, with what is said beside the chunks of its body."""
CHUNK_OVERHEAD: Final = 8
"""How many bytes a byte of a body may take: a chunk of one takes six."""
PARSED_BYTES: Final = 16 << 10
"""How much is parsed at once."""
PIPELINED_MAX: Final = 1000
"""How many requests of a connection may wait for the answer to another one."""
UNHEARD: Final[Any] = deque(maxlen=0)
"""A list that keeps nothing."""

Take = Callable[[Scope, bytes, Answer], bool]


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with errors in the shape of all the others, and less to do for a post.

    ``refused`` is told of what is no HTTP, and from which address it came. ``take`` is offered a
    request whose body is there already, before the application is: true says that the answer will
    be given to the function that came with it.
    """

    def __init__(
        self, *, refused: Callable[[Refusal, str], None], take: Take, **parts: Any
    ) -> None:
        super().__init__(**parts)
        self._refused = refused
        self._take = take
        self._head_bytes = 0
        self._is_parsing = False
        self._next: tuple[RequestResponseCycle, Any] | None = None
        self._answered: RequestResponseCycle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        # uvicorn tells the last request only, and leaves the timer of a connection that was reset.
        if self._answered is not None:
            self._answered.disconnected = True
            scope: Any = self._answered.scope
            scope.pop("extensions", None)  # It leads back to here: no cycle, nothing to collect.
            self._answered = None
        self.pipeline.clear()
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """A client sent something."""
        # Java's own client offers HTTP/2 with its posts, as `curl --http2` does. We don't take it up,
        # but the parser would leave the body to whoever did. In JSON this text cannot occur.
        before: Any = self.cycle  # None at first
        in_body = len(before.body) if before is not None and before.more_body else None
        answered = before is not None and before.response_complete
        self._parse(data.replace(HTTP_2, HTTP_2_UNHEARD))
        if self._next is not None:
            (cycle, app), self._next = self._next, None
            if not self.transport.is_closing():  # What came behind it may have been no HTTP.
                self._begin(cycle, app)
        if self.cycle is not before or (answered and in_body is not None):
            self._head_bytes = 0
            return
        if in_body is None:
            # No request has come of it yet, so it is a piece of one's head, which the parser keeps.
            self._head_bytes += len(data)
        else:
            # A piece of a body, or of what is said between its chunks and after them.
            body_bytes = len(before.body) - in_body
            self._head_bytes += max(0, len(data) - body_bytes * CHUNK_OVERHEAD)
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(
                http.invalid_http(f"the head of the request is larger than {HEAD_BYTES_MAX} bytes")
            )

    def _parse(self, data: bytes) -> None:
        self._is_parsing = True
        for start in range(0, len(data), PARSED_BYTES):
            super().data_received(data[start : start + PARSED_BYTES])
            if self.transport.is_closing():
                break
            if len(self.pipeline) > PIPELINED_MAX:
                self._refuse(
                    http.invalid_http(
                        f"more than {PIPELINED_MAX} requests were sent without waiting for an answer"
                    )
                )
                break
        self._is_parsing = False

    def on_headers_complete(self) -> None:
        """The head of a request is there."""
        super().on_headers_complete()
        # What stands behind a body in chunks is no header, whatever it is called.
        self.headers = UNHEARD

    def on_message_complete(self) -> None:
        """The body of a request is there, whether it was answered already or not."""
        self.cycle.more_body = False
        self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        """A request is answered."""
        super().on_response_complete()
        if self.pipeline and not self.transport.is_closing():
            self.flow.pause_reading()  # There is enough to do.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._is_parsing:
            # The head is there. Most bodies are in the same piece, so have a look at that first.
            self._next = cycle, app
        else:
            self._begin(cycle, app)

    def _begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        # To a client that does not take what it was sent before, or that wants the head only, the
        # answer goes piece by piece.
        scope: Any = cycle.scope
        if not cycle.flow.write_paused and scope["method"] != "HEAD":
            # Of all requests of a connection, one at a time is answered: this one, from now on.
            self._answered = cycle
            scope["extensions"] = {ANSWER: self._answer}
            if not cycle.more_body and self._take(scope, bytes(cycle.body), self._answer):
                return
        super()._start_asgi_task(cycle, app)

    def _answer(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Write a whole answer."""
        cycle = self._answered
        if cycle is None:
            return  # To nobody.
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        # Else it would keep its body, and the connection, for as long as it is kept itself.
        cycle.body = bytearray()
        cycle.on_response = _nothing
        if self.transport.is_closing():
            return
        self._write(status, headers, body, keep_alive=cycle.keep_alive)
        self.on_response_complete()

    def _write(
        self, status: int, headers: Sequence[Header], body: bytes, *, keep_alive: bool
    ) -> None:
        lines = [b"%b: %b\r\n" % header for header in headers]
        if not keep_alive:
            lines.append(b"connection: close\r\n")
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        if not keep_alive:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and hang up."""
        self._refuse(http.invalid_http())

    def _refuse(self, refusal: Refusal) -> None:
        self._refused(refusal, self.client[0] if self.client else "")
        under_way = self._answered
        if under_way and not (under_way.response_complete or under_way.more_body):
            # It is answered what becomes of it; what came behind it is not.
            under_way.keep_alive = False
            self.pipeline.clear()
            self.flow.pause_reading()
            return
        self._write(*http.refused(refusal), keep_alive=False)


def _nothing() -> None: ...


AWAY: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What is said of an address that this machine does not have."""


class CannotListen(SettingsError):
    """There is no listening at that address and port; the message says why and what to do."""


Sockets = list[socket.socket]
"""A listening socket for each address that a host stands for."""


def bind(host: str, port: int, processes: int = 1) -> list[Sockets]:
    """As many sets of sockets, one a process: the system shares connections out among them.

    Port 0 takes a free one, the same for all. Raises CannotListen.
    """
    first = _bind(host, port, shared=False)
    if processes == 1:
        return [first]
    # Sockets that share their port do so with any program of ours, another server as well. The
    # first one did not share it, so it was free; now it is taken again.
    port = first[0].getsockname()[1]
    for each in first:
        each.close()
    return [_bind(host, port, shared=True) for _ in range(processes)]


def _bind(host: str, port: int, *, shared: bool) -> Sockets:
    bound: Sockets = []
    away: OSError | None = None
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                bound.append(_bound(family, address, shared=shared))
            except OSError as error:
                if error.errno not in AWAY:
                    raise
                # localhost, say, is two addresses, and machines without IPv6 have one of them.
                away = error
        if away and not bound:
            raise away
    except (OSError, UnicodeError) as error:
        for each in bound:
            each.close()
        raise CannotListen(_why(error, host, port)) from None
    return bound


def _bound(family: int, address: Any, *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _why(error: OSError | UnicodeError, host: str, port: int) -> str:
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return (
                f"port {port} is taken by another program: end that one, or choose another --port"
            )
        case errno.EACCES:
            return f"port {port} is not for everyone: choose a --port from 1024 on"
        case _:
            why = getattr(error, "strerror", None) or error
            return f"there is no listening on {host}: {why}; choose another --host"


def allow_many() -> None:
    """Let this process have as many files open as it may: each connection is one.

    Most systems begin with 1024, for the sake of programs that use select(2), and let every program
    raise that by itself. Where it stays so low, a thousand idle clients lock all others out.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # Some systems say "infinity" and don't mean it.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
