"""POST /cloudsignal/2.0/status/: a signal's way in (contract, sections 1 and 2).

A bare ASGI application, because this is the path that has to be fast: every step is one call, in the
order in which the contract checks.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from cloudsignal.protocol import wire
from cloudsignal.protocol.refusals import Refusal, not_now, refuse
from cloudsignal.protocol.wire import Receipt
from cloudsignal.server.asgi import JSON, Receive, Scope, Send, address, answer
from cloudsignal.server.group_commit import GroupCommit, overloaded
from cloudsignal.server.interfaces import Caller, Interfaces
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.log import Arrival

PATHS: Final = frozenset({wire.ENDPOINT, wire.ENDPOINT.removesuffix("/")})
REMOVED_PATHS: Final = frozenset(
    {"/cloudsignal/1.1/status/", "/cloudsignal/1.1/status", "/1.1/status/", "/1.1/status"}
)
"""Where version 1.1 listened."""


class Watcher(Protocol):
    """Who is told of every refused post: the refusal, from where, and by whom if that is known."""

    def __call__(self, refusal: Refusal, address: str, caller: Caller | None) -> None: ...


class HungUp(Exception):
    """The client went away before its post was complete."""


class Ingest:
    """Takes posts in: decodes, authenticates, validates, appends, answers."""

    def __init__(
        self,
        settings: Settings,
        interfaces: Interfaces,
        group_commit: GroupCommit,
        clock: Callable[[], int],
        refused: Watcher,
    ) -> None:
        self._body_bytes_max = settings.body_bytes_max
        self._reading_bytes_max = settings.reading_bytes_max
        self._reading_bytes = 0
        self._bundle_max = settings.bundle_max
        self._strict_causes = settings.strict_causes
        self._interfaces = interfaces
        self._group_commit = group_commit
        self._clock = clock
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request to the endpoint, whatever its method."""
        post = _Asked(address(scope))
        try:
            receipt = await self._take(scope, receive, post)
        except Refusal as refusal:
            self._refused(refusal, post.address, post.caller)
            await send_refusal(send, refusal)
        except HungUp:
            return
        except asyncio.CancelledError:
            # The server is stopping and cannot wait any longer.
            await send_refusal(send, stopping())
        else:
            await _send_receipt(send, receipt)

    async def _take(self, scope: Scope, receive: Receive, post: "_Asked") -> Receipt:
        headers = scope["headers"]
        _check(scope["method"], headers)
        body = await self._read(headers, receive)
        received = self._clock()
        envelope = wire.decode(body)
        caller = self._interfaces.known(envelope.apikey)
        if caller is None:
            caller = await self._interfaces.find(envelope.apikey, post.address)
        post.caller = caller
        self._interfaces.admit(caller, post.address)
        reports = wire.validate(
            envelope,
            zone=caller.zone,
            strict_causes=self._strict_causes,
            bundle_max=self._bundle_max,
        )
        arrival = Arrival(caller.interface, caller.partner, caller.test, received, reports)
        return await self._group_commit.append(arrival)

    async def _read(self, headers: Any, receive: Receive) -> bytes:
        """The whole body, but never more of it in memory than may be accepted."""
        if _content_length(headers) > self._body_bytes_max:
            raise self._too_large()
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            body, message = await self._read_on(body, receive)
        if message["type"] == "http.disconnect":
            raise HungUp
        if len(body) > self._body_bytes_max:
            raise self._too_large()
        return body

    async def _read_on(self, body: bytes, receive: Receive) -> tuple[bytes, Any]:
        """The body whose beginning is there, and the message that ended it."""
        parts = [body]
        size = len(body)
        self._reading_bytes += size
        try:
            while True:
                if size > self._body_bytes_max:
                    raise self._too_large()
                if self._reading_bytes > self._reading_bytes_max:
                    raise overloaded()
                message = await receive()
                part = message.get("body", b"")
                parts.append(part)
                size += len(part)
                self._reading_bytes += len(part)
                if not message.get("more_body"):
                    return b"".join(parts), message
        finally:
            self._reading_bytes -= size

    def _too_large(self) -> Refusal:
        return refuse(
            "body_too_large",
            f"the body is larger than {self._body_bytes_max} bytes: send smaller bundles",
        )


class _Asked:
    """What is known of a request so far, for the one who is told of refusals."""

    __slots__ = ("address", "caller")

    def __init__(self, address: str) -> None:
        self.address = address
        self.caller: Caller | None = None


def _check(method: str, headers: Any) -> None:
    if method != "POST":
        raise refuse("method_not_allowed", f"signals are posted: use POST instead of {method}")
    for name, value in headers:
        if name == b"content-type":
            if value == b"application/json":
                return
            given = value.split(b";", 1)[0].strip().lower()
            if given == b"application/json":
                return
            shown = wire.echo(value.decode("latin-1"))
            raise refuse(
                "invalid_content_type", f"the content type must be application/json, not {shown}"
            )
    raise refuse("invalid_content_type", "send the header Content-Type: application/json")


def _content_length(headers: Any) -> int:
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return 0


def removed_version() -> Refusal:
    """What version 1.1's addresses answer."""
    return refuse(
        "version_removed",
        f"CloudSignal 1.1 is gone, post to {wire.ENDPOINT}: OrderRegistered became"
        " ItemRegistered for each item, and ItemShipped needs shipping_option",
    )


def stopping() -> Refusal:
    """What a post is answered that comes while the server starts or stops."""
    return not_now("unavailable", "the server is starting or stopping: send this again in a moment")


async def _send_receipt(send: Send, receipt: Receipt) -> None:
    body = b'{"accepted":%d,"duplicates":%d,"position":%d}' % (
        receipt.accepted,
        receipt.duplicates,
        receipt.position,
    )
    await answer(send, 200, [JSON], body)


async def send_refusal(send: Send, refusal: Refusal) -> None:
    """Answer with a refusal."""
    headers = [JSON]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % refusal.retry_after_s))
    if refusal.type == "method_not_allowed":
        headers.append((b"allow", b"POST"))
    await answer(send, refusal.status, headers, refusal.body())
