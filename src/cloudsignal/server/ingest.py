"""POST /cloudsignal/2.0/status/: a signal's way in (contract, sections 1 and 2).

A bare ASGI application, because this is the path that has to be fast: every step is one call, in the
order in which the contract checks.
"""

import asyncio
from typing import Any, Protocol

from cloudsignal.asgi import HungUp, Receive, Scope, Send, content_length
from cloudsignal.protocol import http, wire
from cloudsignal.protocol.excerpts import Sent
from cloudsignal.protocol.refusals import Refusal
from cloudsignal.protocol.wire import Receipt
from cloudsignal.server.asgi import Answer, address, answer
from cloudsignal.server.clock import Clock
from cloudsignal.server.group_commit import GroupCommit, Outcome
from cloudsignal.server.interfaces import Caller, Interfaces
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.log import Arrival


class Watcher(Protocol):
    """Who is told of every refused post: the refusal, from where, by whom and what was sent if that is known."""

    def __call__(
        self, refusal: Refusal, address: str, caller: Caller | None, sent: Sent | None
    ) -> None: ...


class Ingest:
    """Takes posts in: decodes, authenticates, validates, appends, answers."""

    def __init__(
        self,
        settings: Settings,
        interfaces: Interfaces,
        group_commit: GroupCommit,
        clock: Clock,
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
        asked = _Asked(address(scope))
        try:
            outcome = await self._outcome(scope, receive, asked)
        except HungUp:
            return
        except asyncio.CancelledError:
            # The server is stopping and cannot wait any longer.
            outcome = http.stopping()
        await answer(scope, send, *self._response(outcome, asked))

    def take(self, scope: Scope, body: bytes, answer: Answer) -> bool:
        """Take in a post that is all there, without a task to wait for it.

        False when its key is not in memory: looking for it takes a task.
        """
        asked = _Asked(address(scope))

        def answered(outcome: Outcome) -> None:
            answer(*self._response(outcome, asked))

        try:
            http.check(scope["method"], scope["headers"])
            envelope = wire.decode(self._sized(body))
            caller = self._interfaces.known(envelope.apikey)
            if caller is None:
                return False
            self._group_commit.hand_in(self._arrival(envelope, caller, asked), answered)
        except Refusal as refusal:
            # In a moment: the connection may have many more posts, and would begin the next in here.
            asyncio.get_running_loop().call_soon(answered, refusal)
        return True

    async def _outcome(self, scope: Scope, receive: Receive, asked: "_Asked") -> Outcome:
        try:
            http.check(scope["method"], scope["headers"])
            envelope = wire.decode(await self._read(scope, receive))
            caller = self._interfaces.known(envelope.apikey)
            if caller is None:
                caller = await self._interfaces.find(envelope.apikey, asked.address)
            return await self._group_commit.append(self._arrival(envelope, caller, asked))
        except Refusal as refusal:
            return refusal

    def _arrival(self, envelope: wire.Post, caller: Caller, asked: "_Asked") -> Arrival:
        received = self._clock()
        asked.caller = caller
        self._interfaces.admit(caller, asked.address)
        asked.sent = envelope.members
        asked.sent = reports = wire.validate(
            envelope,
            zone=caller.zone,
            strict_causes=self._strict_causes,
            bundle_max=self._bundle_max,
        )
        return Arrival(caller.interface, caller.partner, caller.test, received, reports)

    def _response(self, outcome: Outcome, asked: "_Asked") -> http.Answer:
        if isinstance(outcome, Receipt):
            return http.accepted(outcome)
        self._refused(outcome, asked.address, asked.caller, asked.sent)
        return http.refused(outcome)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, but never more of it in memory than may be accepted."""
        if content_length(scope) > self._body_bytes_max:
            raise http.too_large(self._body_bytes_max)
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            body, message = await self._read_on(body, receive)
        if message["type"] == "http.disconnect":
            raise HungUp
        return self._sized(body)

    def _sized(self, body: bytes) -> bytes:
        if len(body) > self._body_bytes_max:
            raise http.too_large(self._body_bytes_max)
        return body

    async def _read_on(self, body: bytes, receive: Receive) -> tuple[bytes, Any]:
        """The body whose beginning is there, and the message that ended it."""
        parts = [body]
        size = len(body)
        self._reading_bytes += size
        try:
            while True:
                if size > self._body_bytes_max:
                    raise http.too_large(self._body_bytes_max)
                if self._reading_bytes > self._reading_bytes_max:
                    raise http.overloaded()
                message = await receive()
                part = message.get("body", b"")
                parts.append(part)
                size += len(part)
                self._reading_bytes += len(part)
                if not message.get("more_body"):
                    return b"".join(parts), message
        finally:
            self._reading_bytes -= size


class _Asked:
    """What is known of a request so far, for the one who is told of refusals."""

    __slots__ = ("address", "caller", "sent")

    def __init__(self, address: str) -> None:
        self.address = address
        self.caller: Caller | None = None
        self.sent: Sent | None = None
