"""Posts one webhook to an endpoint, and only to where webhooks may go.

Every address is checked when its socket is made, and that is the address dialled: a name that means another
one a moment later changes nothing.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct
from msgspec.structs import replace

from cloudsignal.protocol.retry import retry_after_s
from cloudsignal.server import clock
from cloudsignal.server.clock import Clock
from cloudsignal.server.delivery.schedule import ATTEMPT_S_MAX, RETRY_AFTER_MAX_S
from cloudsignal.server.delivery.targets import Rules, Target, shown, target_of
from cloudsignal.version import __version__

DELIVERED: Final = frozenset({200, 204})
"""The only answers that count as success."""
GONE: Final = 410
ANSWER_BYTES_MAX: Final = 2_048
"""How much of an answer's body is read."""
ANSWER_HEADERS_MAX: Final = 32
HEADER_CHARS_MAX: Final = 256
"""How much of an answer's head is kept."""
CONNECTIONS_MAX: Final = 500
CONNECTIONS_PER_HOST_MAX: Final = 50
"""How many connections there are at once, busy and idle ones together. Who finds none free waits for one."""
KEEP_ALIVE_S: Final = 4.0
"""How long an idle connection is kept: less than the 5 s after which many servers close theirs."""
LOOKUPS_MAX: Final = 32
"""How many names are looked up at once: each holds a thread, for as long as a dead name server is silent."""
TARGETS_KEPT: Final = 1_000
"""How many URLs are kept as they were taken apart. What their names mean is asked and checked all the same."""
NAMES_KNOWN_S: Final = 10
"""How long what a name means is remembered."""

Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses that a name means now. Raises OSError."""


class Attempt(Struct, frozen=True, kw_only=True):
    """What became of one attempt: a status if there was an answer, a sentence if it was not delivered.

    ``headers`` and ``body`` are the beginning of the answer, ``retry_after_s`` is how long it asked to wait;
    ``address`` is the one dialled last, empty if none was.
    """

    status: int | None = None
    error: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    retry_after_s: float = 0.0
    took_s: float = 0.0
    address: str = ""

    @property
    def is_delivered(self) -> bool:
        """Whether the endpoint has taken it."""
        return self.status in DELIVERED

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint wants no more."""
        return self.status == GONE


class Dialer:
    """Posts webhooks over connections that it keeps for the next ones; made where an event loop runs.

    A post that waits for a connection, because ``connections_max`` are in use, spends its time waiting: who
    posts more than so many at once has attempts fail that were never made.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        timeout_s: float = ATTEMPT_S_MAX,
        lookup: Lookup | None = None,
        connections_max: int = CONNECTIONS_MAX,
        connections_per_host_max: int = CONNECTIONS_PER_HOST_MAX,
        names_known_s: int = NAMES_KNOWN_S,
        now: Clock = clock.now,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._target = lru_cache(TARGETS_KEPT)(partial(target_of, rules=rules))
        self._timeout_s = timeout_s
        self._now = now
        self._timer = timer
        self._names = _Names(rules, lookup)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._names,
                socket_factory=self._socket,
                ssl=ssl.create_default_context(),
                limit=connections_max,
                limit_per_host=connections_per_host_max,
                keepalive_timeout=KEEP_ALIVE_S,
                use_dns_cache=names_known_s > 0,
                ttl_dns_cache=names_known_s,
            ),
            headers={
                "Accept-Encoding": "identity",  # Its first bytes are for people to read.
                "Content-Type": "application/json",
                "User-Agent": f"cloudsignal/{__version__}",
            },
            response_class=_Answer,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # Ours spans all there is to one attempt.
            auto_decompress=False,
            read_bufsize=ANSWER_BYTES_MAX,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()
        await self._names.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Attempt:
        """What became of posting a body, with these headers beside the usual ones.

        Whatever goes wrong is in the attempt; nothing is raised.
        """
        begun = self._timer()
        attempt = await self._attempt(url, body, headers)
        return replace(attempt, took_s=self._timer() - begun)

    async def _attempt(self, url: str, body: bytes, headers: Mapping[str, str]) -> Attempt:
        try:
            target = self._target(url)
        except ValueError as error:
            return Attempt(error=str(error))
        answer: _Answer | None = None
        beginning = bytearray()
        line = _Line()
        outer = _line.set(line)
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._answer(target, body, headers, line)
                await _read(answer.content, beginning)
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            # uvloop has RuntimeError for what is done to a line that has just been cut.
            # Once there is a head, it says what became of the post, however the rest ends: an endpoint that
            # has said 200 must not be told again.
            if answer is None:
                return Attempt(error=_why(error, target, self._timeout_s), address=line.address)
        finally:
            _line.reset(outer)
            if answer is not None:
                answer.close()  # Cuts the line if there is more; otherwise it is kept already.
        return self._told(answer, bytes(beginning))

    async def _answer(
        self, target: Target, body: bytes, headers: Mapping[str, str], line: "_Line"
    ) -> "_Answer":
        sent = dict(headers)
        if target.authorization:
            sent["Authorization"] = target.authorization
        post = partial(
            self._session.post, target.url, data=body, headers=sent, allow_redirects=False
        )
        try:
            return _ours(await post())
        except aiohttp.ClientConnectorError:
            raise
        except aiohttp.ClientConnectionError:
            # A connection that was kept may be closed by the other side just when it is used again. That is
            # nobody's failure, so it is tried once more.
            if line.address:
                raise
            return _ours(await post())

    def _told(self, answer: "_Answer", beginning: bytes) -> Attempt:
        return Attempt(
            status=answer.status,
            error=_refusal(answer.status),
            headers=tuple(_kept(answer.raw_headers)),
            body=beginning,
            retry_after_s=self._asked_to_wait_s(answer.headers.get("Retry-After")),
            address=answer.peer,
        )

    def _asked_to_wait_s(self, retry_after: str | None) -> float:
        if retry_after is None:
            return 0.0
        now = datetime.fromtimestamp(self._now() / 1e6, UTC)
        return retry_after_s(retry_after, now=now, longest_s=RETRY_AFTER_MAX_S)

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """A socket for an address, which is checked here, wherever it comes from. Raises OSError."""
        family, kind, proto, _, (host, *_) = info
        try:
            self._rules.check(str(host), ip_address(host))
        except ValueError as error:
            raise AddressRefused(str(error)) from None
        _line.get().address = str(host)
        return socket.socket(family, kind, proto)


class AddressRefused(OSError):
    """Webhooks may not go there."""


class _Line:
    """Which address was dialled for an attempt: none if a connection was there already."""

    address = ""


_line: Final[ContextVar[_Line]] = ContextVar("_line")


class _Answer(aiohttp.ClientResponse):
    """An answer that knows where it came from: once it is whole, its connection serves others."""

    peer = ""

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        transport = connection.transport
        if transport and (peer := transport.get_extra_info("peername")):
            self.peer = str(peer[0])
        return await super().start(connection)


def _ours(answer: aiohttp.ClientResponse) -> _Answer:
    assert isinstance(answer, _Answer)
    return answer


class _Names(AbstractResolver):
    """Names to addresses, without those that webhooks may not go to."""

    def __init__(self, rules: Rules, lookup: Lookup | None) -> None:
        self._rules = rules
        self._lookup = lookup or self._ask_the_system
        # Not the loop's own threads: name servers that are silent would hold up whoever needs those.
        self._threads = ThreadPoolExecutor(LOOKUPS_MAX, thread_name_prefix="names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        refused: ValueError | None = None
        found: list[ResolveResult] = []
        for text in await self._lookup(host):
            try:
                self._rules.check(host, address := ip_address(text))
            except ValueError as error:
                refused = error
                continue
            found.append(
                ResolveResult(
                    hostname=host,
                    host=text,
                    port=port,
                    family=socket.AF_INET6 if address.version == 6 else socket.AF_INET,
                    proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        if not found:
            raise AddressRefused(str(refused)) if refused else OSError("it has no address")
        return found

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask_the_system(self, host: str) -> Sequence[str]:
        ask = partial(
            socket.getaddrinfo, host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        infos = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [str(info[4][0]) for info in infos]


async def _read(content: aiohttp.StreamReader, into: bytearray) -> None:
    while left := ANSWER_BYTES_MAX - len(into):
        part = await content.read(left)
        if not part:
            return
        into += part


def _kept(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
    for raw_name, raw_value in list(headers)[:ANSWER_HEADERS_MAX]:
        name = raw_name.decode("ascii", "replace").lower()
        value = raw_value.decode("utf-8", "replace")
        if name == "set-cookie":  # Opens what is not ours.
            continue
        # Whoever sends elsewhere repeats the URL with all that is in it.
        yield (
            name[:HEADER_CHARS_MAX],
            (shown(value) if name == "location" else value)[:HEADER_CHARS_MAX],
        )


def _refusal(status: int) -> str:
    """What an answer means for the delivery; nothing if it is delivered."""
    if status in DELIVERED:
        return ""
    if status == GONE:
        return f"it answered {status}: it wants no more webhooks"
    if 300 <= status < 400:
        return (
            f"it answered {status} and sends elsewhere, which is not followed: give the endpoint the URL that it"
            " is at now"
        )
    if 200 <= status < 300:
        return f"it answered {status}: only 200 and 204 say that it has taken a webhook"
    return f"it answered {status}"


def _why(error: Exception, target: Target, timeout_s: float) -> str:
    """Why there is no answer. Never in the words of an error that may hold the URL."""
    match error:
        case TimeoutError():
            return f"{target.host} did not answer within {timeout_s:g} s"
        case aiohttp.ClientConnectorError(os_error=AddressRefused() as refused):
            return str(refused)
        case aiohttp.ClientConnectorDNSError():
            return f"the name {target.host} leads nowhere: {_of_the_system(error.os_error)}"
        case aiohttp.ClientConnectorCertificateError():
            return (
                f"the certificate of {target.host} is not trusted ({_of_tls(error.certificate_error)}): it has"
                " to be renewed, or SSL_CERT_FILE has to name its authority"
            )
        case aiohttp.ClientConnectorSSLError():
            return f"{target.host} does not speak TLS as it has to: {type(error.os_error).__name__}"
        case aiohttp.ClientConnectorError():
            return f"{target.host} cannot be reached: {_of_the_system(error.os_error)}"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return f"what {target.host} answers is not HTTP"
        case aiohttp.ClientConnectionError() | OSError():
            return f"{target.host} cut the line before it answered"
        case _:
            return f"{target.host} cannot be posted to: {type(error).__name__}"


def _of_the_system(error: OSError) -> str:
    # A name server's errors have numbers of their own, below zero.
    known = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return known or str(error) or type(error).__name__


def _of_tls(error: Exception) -> str:
    told = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else ""
    return told.rstrip(".") or type(error).__name__
