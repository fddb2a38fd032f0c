"""An ASGI application on a port, for what listens at the print partner."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Final, Self

import h11
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from cloudsignal import asgi
from cloudsignal.asgi import Application, Receive, Scope, Send
from cloudsignal.partner.errors import SetupError
from cloudsignal.protocol import http
from cloudsignal.stalled import close_stalled

STOP_S: Final = 5
"""How long requests that are under way may take when the server ends."""
KEEP_ALIVE_S: Final = 75
BACKLOG: Final = 128
CONNECTIONS_MAX: Final = 1000
"""How many connections there may be. What comes on one more is answered 503."""
HEAD_BYTES_MAX: Final = 64 << 10
"""How large the head of a request may be."""
READ_TIMEOUT_S: Final = 30.0
"""How long a client may take to go on with a request that it began."""


class Serving:
    """Serves an application, in a thread of its own while it is entered, or with ``run`` in this one."""

    def __init__(
        self,
        application: Application,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        """Listen, on a free port if it is 0. Raises SetupError when there is no listening there."""
        self._application = application
        self._socket = _listening(host, port)
        self._server = _Server(
            Config(
                self._answer,
                http=_Connection,
                loop="asyncio",
                ws="none",
                lifespan="off",
                interface="asgi3",
                server_header=False,
                proxy_headers=False,
                access_log=False,
                log_config=None,
                backlog=BACKLOG,
                h11_max_incomplete_event_size=HEAD_BYTES_MAX,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_S,
            ),
            read_timeout_s,
        )
        self._thread = threading.Thread(target=self.run, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens: ``http://127.0.0.1:8000``."""
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def is_at(self, host: str, port: int) -> bool:
        """Whether what is sent to that host and port comes in here."""
        own = self._socket.getsockname()
        if port != own[1]:
            return False
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return False
        everywhere = own[0] in ("0.0.0.0", "::")
        return any(to[0] == own[0] or (everywhere and _is_of_here(to[0])) for *_, to in found)

    def run(self, begun: Callable[[], None] = lambda: None) -> None:
        """Serve until it is stopped, or the process is asked to end by SIGTERM or SIGINT.

        ``begun`` is called once it serves, and heeds these signals.
        """
        self._server.begun = begun
        with self._socket:
            self._server.run([self._socket])

    def stop(self) -> None:
        """End, once what is under way is answered."""
        self._server.should_exit = True

    def close(self) -> None:
        """Listen no more, if it was never run."""
        self._socket.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if len(self._server.server_state.connections) <= CONNECTIONS_MAX:
            await self._application(scope, receive, send)
            return
        status, headers, body = http.refused(http.overloaded())
        await asgi.answer(send, (status, [*headers, (b"connection", b"close")], body))

    def hang_up(self, scope: Scope) -> None:
        """Cut the connection that a request came on, instead of answering it."""
        connections: set[Any] = self._server.server_state.connections
        for connection in connections:
            if connection.scope is scope:
                connection.transport.abort()
                return

    def __enter__(self) -> Self:
        # It listens already: whoever connects from now on waits until the thread accepts.
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()


class _Server(Server):
    """uvicorn's server, which hangs up on clients that stall, and after which a program ends as it wants to."""

    begun: Callable[[], None]

    def __init__(self, config: Config, read_timeout_s: float) -> None:
        super().__init__(config)
        self._read_timeout_s = read_timeout_s

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        connections: set[Any] = self.server_state.connections
        self._closing = asyncio.create_task(close_stalled(connections, self._read_timeout_s))
        self.begun()

    async def shutdown(self, sockets: Any = None) -> None:
        self._closing.cancel()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.should_exit = True


class _Connection(H11Protocol):
    """uvicorn's connection, with errors in the shape of all the others, and patience with blank lines."""

    def handle_events(self) -> None:
        # Old senders end a body with a line break that is not part of it (RFC 9112, section 2.2). The parser takes
        # that for a request, and the sender the refusal for what its next post is answered.
        rest, _ = self.conn.trailing_data
        if self.conn.their_state is h11.IDLE and rest.startswith((b"\r", b"\n")):
            self.conn = h11.Connection(h11.SERVER, HEAD_BYTES_MAX)
            if request := rest.lstrip(
                b"\r\n"
            ):  # Nothing would stand for the end of the connection.
                self.conn.receive_data(request)
        super().handle_events()

    def send_400_response(self, msg: str) -> None:
        _, headers, body = http.refused(http.invalid_http())
        lines = (b"%b: %b\r\n" % header for header in [*headers, (b"connection", b"close")])
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n%b\r\n%b" % (b"".join(lines), body))
        self.transport.close()


def _is_of_here(address: str | int) -> bool:
    """Whether it is one of this machine's own addresses: no others can be bound."""
    family = socket.AF_INET6 if ":" in str(address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol: only of sockets that name it does asyncio turn off Nagle's algorithm, which would
        # hold back the second half of an answer for 40 ms.
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
        return listening
    except (OSError, UnicodeError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise SetupError(
            f"there is no listening on {host}, port {port}: {why}; choose another --host or --port"
        ) from None
