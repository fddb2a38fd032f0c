"""Sending signals to a CloudSignal 2.0 server: ``Client`` and ``AsyncClient``."""

import asyncio
import os
import random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final, Self, TypedDict, TypeVar, Unpack, cast
from urllib.request import getproxies

import httpx2

from cloudsignal.partner.address import Address, address_of
from cloudsignal.partner.answers import (
    ANSWER_BYTES_MAX,
    PROOFS,
    Answer,
    Proof,
    no_answer,
)
from cloudsignal.partner.errors import NoAnswer, SendError, SetupError
from cloudsignal.partner.exchange import Exchange, Manner, Outcome, Pause, exchange, judged
from cloudsignal.partner.keys import ApiKey, read_apikey
from cloudsignal.partner.posts import Post, bundled, check_of, checked
from cloudsignal.partner.receipts import Receipt
from cloudsignal.protocol.signals import Signal
from cloudsignal.protocol.wire import BUNDLE_MAX
from cloudsignal.version import __version__

TIMEOUT_S: Final = 10.0
"""How long an answer may take."""
TRIES: Final = 5
"""How often a post is tried: waiting 4 to 8 seconds in all, beside the time that each try takes."""
WAIT_MAX_S: Final = 120.0
"""For how long a server may ask to wait. Who is asked for more gives up, and says for how long."""

# What a fork has brought along: the parent's connections, which must be used here no more.
_left: Final[list[httpx2.Client]] = []

HIDDEN: Final = "…".encode()
"""What stands where a server repeats the key."""
SECRET_MIN: Final = 8
"""How long a key is that is a secret: the letters of a shorter one, as in tests, stand in answers anyway."""
_HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": f"cloudsignal/{__version__}",
}


Connections = TypeVar("Connections", httpx2.Client, httpx2.AsyncClient)


class Options(TypedDict, total=False):
    """How a client sends.

    The key is ``apikey``, else what is in ``apikey_file``, else in the environment: ``CLOUDSIGNAL_APIKEY``, or
    the file that ``CLOUDSIGNAL_APIKEY_FILE`` names. ``timeout_s`` is how long an answer may take, ``tries`` how
    often a post is tried, ``bundle_max`` how many signals go into one post, and ``proof`` what a
    200 has to hold (see answers.Proof).
    """

    apikey: str | ApiKey | None
    apikey_file: str | os.PathLike[str] | None
    timeout_s: float
    tries: int
    proof: Proof
    bundle_max: int


def seal(options: Options) -> None:
    """Have a key that is given shown nowhere: some traces show the arguments of a call. Raises SetupError."""
    if options.get("apikey") is not None:
        options["apikey"] = read_apikey(options.pop("apikey"))


class Sending:
    """What both clients do alike: everything but fetching answers and waiting."""

    _http: httpx2.Client | httpx2.AsyncClient

    def __init__(
        self,
        base_url: str,
        *,
        apikey: str | ApiKey | None = None,
        apikey_file: str | os.PathLike[str] | None = None,
        timeout_s: float = TIMEOUT_S,
        tries: int = TRIES,
        proof: Proof = "json",
        bundle_max: int = BUNDLE_MAX,
    ) -> None:
        self._apikey = read_apikey(apikey, file=apikey_file)
        self._apikey_file = apikey_file
        self._is_apikey_given = apikey is not None
        self.address = address_of(base_url)
        if proof not in PROOFS:
            raise SetupError(f"proof must be one of {', '.join(PROOFS)}, not {proof!r}")
        if min(timeout_s, tries, bundle_max) <= 0:
            raise SetupError("timeout_s, tries and bundle_max must be greater than 0")
        self._timeout_s = timeout_s
        self.bundle_max = bundle_max
        self._manner = Manner(
            tries=tries, wait_max_s=WAIT_MAX_S, proof=proof, now=_now, chance=random.random
        )

    def __repr__(self) -> str:
        # Some traces show one whose address made no sense, and which has none therefore.
        address = getattr(self, "address", None)
        return f"{type(self).__name__}({address.base!r})" if address else type(self).__name__

    def renew_apikey(self) -> None:
        """Read the key again where it comes from a file or the environment; the old one counts if there is none."""
        if not self._is_apikey_given:
            with suppress(SetupError):
                self._apikey = read_apikey(file=self._apikey_file)

    def _steps(self, signals: Sequence[Signal]) -> Exchange:
        if self._http.is_closed:
            raise RuntimeError("this client is closed: make another one")
        if not signals:
            raise ValueError("there is no signal to send")
        try:
            posts = bundled(checked(signals), most=self.bundle_max)
            return (yield from exchange(posts, self._manner))
        except SendError as error:
            error.unsent = tuple(signals[error.stored.signals if error.stored else 0 :])
            raise

    def _connections(self, kind: Callable[..., Connections], transport: Any) -> Connections:
        """No connections yet, but all that is needed to have some. Raises SetupError."""
        try:
            return kind(
                headers=_HEADERS,
                auth=self.address.login,
                timeout=self._timeout_s,
                transport=transport,
                verify=_trusted(self.address),
            )
        except (httpx2.InvalidURL, ImportError, OSError, ValueError) as error:
            raise SetupError(
                f"no connection can be made with what the environment says: {error}; see to HTTP_PROXY,"
                " HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
            ) from None

    def _request(self, post: Post) -> dict[str, Any]:
        url = self.address.endpoint
        return {"method": "POST", "url": url, "content": post.sealed(self._apikey)}

    def _answer(self, response: httpx2.Response, body: bytes) -> Answer:
        headers = response.headers
        key = self._apikey.reveal().encode()
        return Answer(
            response.status_code,
            # Some servers repeat in their errors what they were sent.
            body.replace(key, HIDDEN) if len(key) >= SECRET_MIN else body,
            headers.get("retry-after", ""),
            headers.get("date", ""),
            len(body) > ANSWER_BYTES_MAX,
        )

    def _failed(self, error: Exception) -> NoAnswer:
        return no_answer(_why(error, self._timeout_s))


class Client(Sending):
    """Sends signals and waits until they are stored. For any number of threads.

    ``base_url`` is where the server is, ``https://signals.example.com``; for the rest see Options. ``timeout_s``
    does not bound a head that comes byte by byte; AsyncClient's does. ``transport`` and ``sleep`` are for tests. Raises SetupError when one of them cannot be used.
    """

    _http: httpx2.Client

    def __init__(
        self,
        base_url: str,
        *,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        **options: Unpack[Options],
    ) -> None:
        seal(options)
        super().__init__(base_url, **options)
        self._sleep = sleep
        self._connect = partial(self._connections, httpx2.Client, transport)
        self._http = self._connect()
        self._process = os.getpid()

    def send(self, *signals: Signal) -> Receipt:
        """Send signals, several as bundles, and return once all of them are stored.

        What may help is tried again: no answer, 408, 425, 429 and 500 and above, after a wait that grows,
        and is no shorter than the server asks for; if that is longer than two minutes, it is not waited for: see
        ``retry_after_s`` of the error. To send the same again is always safe.

        Raises SendError: InvalidSignals before anything is sent when a server would not take them,
        NotSent when all tries were in vain; ``unsent`` of the error are the signals that may be missing.
        """
        steps = self._steps(signals)
        outcome: Outcome | None = None
        try:
            while True:
                step = steps.send(outcome)
                if isinstance(step, Pause):
                    self._sleep(step.seconds)
                    outcome = None
                else:
                    outcome = self._try(step)
        except StopIteration as end:
            return cast(Receipt, end.value)

    def check(self) -> bytes:
        """The body of a post that only asks whether the key is good."""
        return check_of(self._apikey)

    def ask(self, body: bytes) -> Outcome:
        """Post a body once, as it is: the answer, or why there is none."""
        return self._fetch({"method": "POST", "url": self.address.endpoint, "content": body})

    def look(self, path: str) -> Outcome:
        """Get what is at a path below the base URL."""
        return self._fetch({"method": "GET", "url": self.address.base + path})

    def _try(self, post: Post) -> Outcome:
        return self._fetch(self._request(post))

    def _fetch(self, request: dict[str, Any]) -> Outcome:
        self._notice_a_fork()
        end = time.monotonic() + self._timeout_s
        try:
            with self._http.stream(**request) as response:
                body = b""
                for part in response.iter_bytes():
                    body += part
                    if time.monotonic() > end:
                        return self._failed(TimeoutError())
                    if len(body) > ANSWER_BYTES_MAX:
                        break
                return self._answer(response, body)
        except httpx2.HTTPError as error:
            failed = error
        # Out here what is raised has no context, in which the post could be seen.
        return self._failed(failed)

    def _notice_a_fork(self) -> None:
        if os.getpid() != self._process:
            # On the parent's connections each would read the other's answers. They are left to the parent: closing
            # them here could wait for a lock that one of its threads held.
            _left.append(self._http)
            self._http = self._connect()
            self._process = os.getpid()

    def close(self) -> None:
        """Close the connections."""
        if os.getpid() == self._process:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(Sending):
    """The same as Client, for asyncio: ``send`` is awaited."""

    _http: httpx2.AsyncClient

    def __init__(
        self,
        base_url: str,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        **options: Unpack[Options],
    ) -> None:
        seal(options)
        super().__init__(base_url, **options)
        self._sleep = sleep
        self._http = self._connections(httpx2.AsyncClient, transport)

    async def send(self, *signals: Signal) -> Receipt:
        """Send signals and return once all of them are stored. Raises as ``Client.send`` does."""
        steps = self._steps(signals)
        outcome: Outcome | None = None
        try:
            while True:
                step = steps.send(outcome)
                if isinstance(step, Pause):
                    await self._sleep(step.seconds)
                    outcome = None
                else:
                    outcome = await self._try(step)
        except StopIteration as end:
            return cast(Receipt, end.value)

    async def post(self, post: Post) -> Receipt:
        """Try one post once. Raises SendError when its signals are not known to be stored."""
        return judged(await self._try(post), post, self._manner)

    async def _try(self, post: Post) -> Outcome:
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.stream(**self._request(post)) as response,
            ):
                body = b""
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > ANSWER_BYTES_MAX:
                        break
                return self._answer(response, body)
        except (httpx2.HTTPError, TimeoutError, RuntimeError) as error:
            failed = error  # RuntimeError: names cannot be resolved any more when a program ends.
        return self._failed(failed)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _trusted(address: Address) -> ssl.SSLContext:
    """Who may say that a server is the one it claims to be."""
    over_tls = [address.endpoint, *getproxies().values()]
    if not any(url.startswith("https:") for url in over_tls):
        return _NOBODY  # Nobody is asked.
    return _authorities(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


_NOBODY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@lru_cache(maxsize=1)
def _authorities(*named: str | None) -> ssl.SSLContext:
    """Those that the system trusts, or others that are named in the environment.

    The same for all clients: reading them takes longer than anything else that makes one.
    """
    return httpx2.create_ssl_context()


def _why(error: Exception, timeout_s: float) -> str:
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return f"the server was silent for {timeout_s:g} s"
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            f"the server's certificate is not trusted ({text.rpartition(': ')[2]}): it is not the server that"
            " base_url names, or its certificate has to be renewed, or SSL_CERT_FILE has to name its authority"
        )
    if isinstance(error, httpx2.ConnectError):
        return f"it cannot be reached: {_said_by_the_system(error) or text}"
    return f"the connection broke: {text}"


def _said_by_the_system(error: BaseException | None) -> str:
    """What is behind an error that says less: with asyncio, all that fails is "all connection attempts"."""
    said = ""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[-1]
        if isinstance(error, socket.gaierror | ssl.SSLError):
            return error.strerror or str(error)
        if isinstance(error, OSError):
            said = os.strerror(error.errno) if error.errno else said
            # Not its context, which may be an error that our caller handles.
            error = error.__cause__
        else:
            error = error.__cause__ or error.__context__
    return said


def _now() -> datetime:
    return datetime.now(UTC)
