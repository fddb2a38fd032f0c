"""A CloudSignal server for tests: in the same process, on a port or without one."""

import asyncio
import threading
from collections import deque
from collections.abc import Iterable
from datetime import UTC
from typing import Any, Final, Self

import httpx2
from msgspec import Struct

from cloudsignal import asgi
from cloudsignal.asgi import HungUp, Receive, Scope, Send
from cloudsignal.partner.serving import Serving
from cloudsignal.protocol import http, wire
from cloudsignal.protocol.items import Item
from cloudsignal.protocol.refusals import Refusal, refuse
from cloudsignal.protocol.signals import BY_NAME, AnySignal
from cloudsignal.protocol.wire import Receipt, Report
from cloudsignal.testing.faults import Fault

APIKEY: Final = "13b37bb1ed6d3403e158abe719b4f6d0"
"""The key that a fake server knows, if it is not given others."""
START_S: Final = 1_767_225_600.0
"""What its clock shows at first, in seconds since 1970: the beginning of 2026."""


class ReceivedSignal(Struct, frozen=True):
    """One signal that was stored.

    ``position`` is where it stands in the log, ``received`` when it came, in seconds since 1970 by the
    server's own clock, ``apikey`` whose key the post bore, ``body`` the JSON as it was sent.
    """

    position: int
    received: float
    apikey: str
    signal: AnySignal
    body: bytes

    def __repr__(self) -> str:
        return f"ReceivedSignal({self.position}, {self.signal!r})"


class FakeServer:
    """A CloudSignal server that keeps what it is sent in memory. For any number of threads.

    It checks, refuses and recognises repeats as a cloudsignal server does. Entered (``with FakeServer() as
    server:``) it listens at ``server.url``; without a port, a client made with
    ``transport=server.transport`` reaches it.

    ``apikeys`` are the keys it knows, all of the same print partner, ``disabled`` those that it knows but does not let
    in. ``bundle_max`` and ``body_bytes_max`` are its limits.
    """

    def __init__(
        self,
        *,
        apikeys: Iterable[str] = (APIKEY,),
        disabled: Iterable[str] = (),
        bundle_max: int = wire.BUNDLE_MAX,
        body_bytes_max: int = http.BODY_BYTES_MAX,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.apikeys = _keys(apikeys)
        self.disabled = _keys(disabled)
        self.bundle_max = bundle_max
        self.body_bytes_max = body_bytes_max
        self.now = START_S
        """What its clock shows, in seconds since 1970. It stands still; put it where you want it."""
        self.posts = 0
        """How many requests came to where signals are posted, whatever became of them."""
        self.refusals: list[Refusal] = []
        """Why posts were refused, in the order in which that happened."""
        self.transport = httpx2.MockTransport(self._answer_in_process)
        """The way to it without a port, for ``Client`` and ``AsyncClient``."""
        self._signals: list[ReceivedSignal] = []
        self._positions: dict[tuple[Any, ...], int] = {}
        self._items: dict[tuple[str, str], Item] = {}
        self._faults: deque[Fault] = deque()
        self._lasting: Fault | None = None
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._where = host, port
        self._serving: Serving | None = None
        self._released: asyncio.Event | None = None

    # ---- what it was sent ------------------------------------------------------------------------

    @property
    def signals(self) -> list[ReceivedSignal]:
        """Every signal that was stored, in the order of the log."""
        with self._lock:
            return list(self._signals)

    @property
    def items(self) -> dict[tuple[str, str], Item]:
        """Every item by order and item id, as far as its signals tell."""
        with self._lock:
            return dict(self._items)

    def received(self, type: str | type[AnySignal] | None = None, **fields: str) -> list[AnySignal]:
        """The signals that were stored of this type and with these fields: all without arguments.

        Raises ValueError or TypeError for what no signal can be: nothing would ever match it.
        """
        name = type if type is None or isinstance(type, str) else type.__name__
        _check_wanted(name, fields)
        return [each.signal for each in self.signals if _matches(each.signal, name, fields)]

    def assert_received(
        self, type: str | type[AnySignal] | None = None, **fields: str
    ) -> AnySignal:
        """The one signal of this type and with these fields. Raises AssertionError unless it is one."""
        found = self.received(type, **fields)
        if len(found) != 1:
            wanted = ", ".join(
                [str(type), *(f"{name}={value!r}" for name, value in fields.items())]
            )
            there = "".join(f"\n  {each.signal!r}" for each in self.signals) or " nothing"
            raise AssertionError(
                f"{len(found)} signals instead of one match ({wanted}); stored are{there}"
            )
        return found[0]

    def wait_for(self, count: int, *, timeout_s: float = 10.0) -> list[ReceivedSignal]:
        """The signals, once there are so many. Raises AssertionError when they don't come in time."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._signals) >= count, timeout_s):
                raise AssertionError(
                    f"{len(self._signals)} signals came within {timeout_s:g} s instead of {count}"
                )
            return list(self._signals)

    # ---- what goes wrong -------------------------------------------------------------------------

    def fail(self, *faults: Fault) -> None:
        """Let these befall the next posts, one each. What comes after them is answered again."""
        _check_faults(*faults)
        with self._lock:
            self._faults.extend(faults)

    def fail_always(self, fault: Fault) -> None:
        """Let this befall every post until ``recover``, once those of ``fail`` are used up."""
        _check_faults(fault)
        with self._lock:
            self._lasting = fault

    def recover(self) -> None:
        """Answer posts again."""
        with self._lock:
            self._faults.clear()
            self._lasting = None

    # ---- how it answers --------------------------------------------------------------------------

    def answer(
        self, method: str, path: str, headers: Iterable[http.Header], body: bytes
    ) -> http.Answer | Fault:
        """The answer to a request, or what goes wrong with it. Names of headers are in lower case."""
        if path in http.REMOVED_PATHS:
            return http.refused(http.removed_version())
        if path not in http.PATHS:
            return http.nothing_here(path)
        with self._arrived:
            self.posts += 1
            fault = self._faults.popleft() if self._faults else self._lasting
            if fault is not None and not fault.stores:
                return fault
            try:
                given = http.accepted(self._store(method, headers, body))
                self._arrived.notify_all()
            except Refusal as refusal:
                self.refusals.append(refusal)
                given = http.refused(refusal)
            return given if fault is None else fault

    def _store(self, method: str, headers: Iterable[http.Header], body: bytes) -> Receipt:
        http.check(method, headers)
        if len(body) > self.body_bytes_max:
            raise http.too_large(self.body_bytes_max)
        post = wire.decode(body)
        self._let_in(post.apikey)
        reports = wire.validate(post, zone=UTC, bundle_max=self.bundle_max)
        stored = [self._append(report, post.apikey) for report in reports]
        new = sum(is_new for _, is_new in stored)
        return Receipt(new, len(stored) - new, stored[-1][0])

    def _let_in(self, apikey: str) -> None:
        if apikey in self.disabled:
            raise refuse("key_disabled", "this apikey is disabled: ask the operator", at="apikey")
        if apikey not in self.apikeys:
            raise http.unknown_key()

    def _append(self, report: Report, apikey: str) -> tuple[int, bool]:
        """Where a signal stands, and whether it is new."""
        signal = report.signal
        key = (signal.order, signal.item)
        same = (apikey, type(signal), *key, report.datetime, report.fingerprint)
        if same in self._positions:
            return self._positions[same], False
        position = len(self._signals) + 1
        self._positions[same] = position
        self._signals.append(ReceivedSignal(position, self.now, apikey, signal, report.body))
        item = self._items.setdefault(key, Item())
        item.merge(report, received=round(self.now * 1_000_000))
        return position, True

    def _answer_in_process(self, request: httpx2.Request) -> httpx2.Response:
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        given = self.answer(request.method, request.url.path, headers, request.read())
        if isinstance(given, Fault):
            if given.silence:
                raise httpx2.ReadTimeout("the server is silent", request=request)
            if given.answer is None:
                raise httpx2.ReadError("the connection was cut", request=request)
            given = given.answer
        status, sent, body = given
        return httpx2.Response(status, headers=sent, content=body, request=request)

    # ---- on a port -------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as an ASGI application."""
        try:
            body = await asgi.read(scope, receive, self.body_bytes_max)
            given = self.answer(scope["method"], scope["path"], scope["headers"], body)
        except Refusal as refusal:
            given = http.refused(refusal)
        except HungUp:
            return
        if isinstance(given, Fault):
            if given.silence:
                await self._closing().wait()
            if given.answer is None:
                assert self._serving is not None
                self._serving.hang_up(scope)
                await receive()  # Until the connection is gone: who returns before has a defect.
                return
            given = given.answer
        await asgi.answer(send, given)

    def _closing(self) -> asyncio.Event:
        if self._released is None:
            self._released = asyncio.Event()
            self._loop = asyncio.get_running_loop()
        return self._released

    @property
    def url(self) -> str:
        """Where it listens, while it is entered: a base URL for clients."""
        if self._serving is None:
            raise RuntimeError("it listens while it is entered: with FakeServer() as server:")
        return self._serving.url

    def __enter__(self) -> Self:
        if self._serving is not None:
            raise RuntimeError(f"it listens already, at {self.url}")
        host, port = self._where
        self._serving = Serving(self, host=host, port=port).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._serving is not None
        if self._released is not None:
            self._loop.call_soon_threadsafe(self._released.set)
        self._serving.__exit__()
        self._serving, self._released = None, None


def _keys(given: Iterable[str]) -> set[str]:
    if isinstance(given, str):
        raise TypeError("keys are given as a list, even if it is one: its letters would be keys")
    return set(given)


def _check_faults(*faults: Fault) -> None:
    for each in faults:
        if not isinstance(each, Fault):
            raise TypeError(f"this is no fault: {each!r}; write it like hanging_up() or silent()")


def _check_wanted(name: str | None, fields: dict[str, str]) -> None:
    if name is not None and name not in BY_NAME:
        raise ValueError(f"there is no signal {name}: the types are {', '.join(BY_NAME)}")
    kinds = BY_NAME.values() if name is None else [BY_NAME[name]]
    for field, value in fields.items():
        if not any(field in kind.__struct_fields__ for kind in kinds):
            raise ValueError(f"{name or 'no signal'} has {'no' if name else 'a'} field {field}")
        if not isinstance(value, str | None):
            raise TypeError(f"{field} is a string in every signal, never {value!r}")


def _matches(signal: AnySignal, name: str | None, fields: dict[str, str]) -> bool:
    return (name is None or type(signal).__name__ == name) and all(
        getattr(signal, field, None) == value for field, value in fields.items()
    )
