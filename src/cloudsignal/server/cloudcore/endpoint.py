"""POST /cloudcore/1.0/orders, orders/info and orders/log: an owner reads its orders.

A bare ASGI application beside the endpoint for signals: the key is in the body, and errors have the same shape.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from cloudsignal import asgi
from cloudsignal.asgi import HungUp, Receive, Scope, Send
from cloudsignal.protocol import http, wire
from cloudsignal.protocol.refusals import Refusal, not_now, refuse
from cloudsignal.server.asgi import address, answer
from cloudsignal.server.cloudcore import answers
from cloudsignal.server.owners import Owners
from cloudsignal.server.registrations import REFERENCE_CHARACTERS_MAX, Reference
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.orders import Owner
from cloudsignal.server.store.owned_orders import FoundOrder, OwnedOrders

BODY_BYTES_MAX: Final = 16 << 10
"""How large a body may be."""
READING_MAX: Final = 3
"""How many look into the store at once: the other threads and connections are for signals and their keys."""
WAITING_MAX: Final = 100
"""How many wait for that, with those who look; one more is answered 503."""
_STATUS: Final = {"unknown_key": 403, "unknown_order": 410}
"""Where CloudCore has another status for a type of error than CloudSignal."""

ORDERS: Final = "/cloudcore/1.0/orders/"
INFO: Final = f"{ORDERS}info/"
LOG: Final = f"{ORDERS}log/"
_CALLS: Final = {path: call for call in (ORDERS, INFO, LOG) for path in http.spellings(call)}
_BELOW: Final = ("/cloudcore/", "//cloudcore/")

_NOTHING: Final[http.Answer] = (204, [], b"")
_reference: Final = msgspec.json.Decoder(Reference | int)


def is_its(path: str) -> bool:
    """Whether a path is CloudCore's, be there anything at it or not."""
    return path.startswith(_BELOW)


class CloudCore:
    """Answers owners who ask for their orders."""

    def __init__(self, owners: Owners, owned: OwnedOrders) -> None:
        self._owners = owners
        self._owned = owned
        self._waiting = 0
        self._turns = asyncio.Semaphore(READING_MAX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request to one of CloudCore's paths."""
        try:
            given = await self._answer(scope, receive)
        except HungUp:
            return
        except Refusal as refusal:
            given = _refused(refusal)
        except asyncio.CancelledError:
            # The server is stopping and cannot wait any longer.
            given = http.refused(http.stopping())
        await answer(scope, send, *given)

    async def _answer(self, scope: Scope, receive: Receive) -> http.Answer:
        call = _CALLS.get(scope["path"])
        if call is None:
            return http.nothing_here(
                scope["path"], f"orders are read at {ORDERS}, {INFO} and {LOG}"
            )
        if scope["method"] != "POST":
            info = f"orders are asked for with POST, not {scope['method']}"
            raise refuse("method_not_allowed", info)
        # Whatever content type is told: there is nothing else that a body here could be.
        members = wire.open_object(await _read(scope, receive))
        apikey = _apikey(members)
        async with self._turn():
            owner = await self._owners.find(apikey, address(scope))
            return await asyncio.to_thread(self._look, call, owner, members)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until the store may be looked into. Raises Refusal when too many wait, or it is away."""
        if self._waiting >= WAITING_MAX:
            raise not_now("overloaded", "too many ask for orders: ask again in a moment")
        self._waiting += 1
        try:
            async with self._turns:
                yield
        except StoreUnavailable:
            info = "the orders cannot be read just now: ask again in a moment"
            raise not_now("unavailable", info) from None
        finally:
            self._waiting -= 1

    def _look(self, call: str, owner: Owner, members: wire.Members) -> http.Answer:
        if call == ORDERS:
            found = self._owned.orders(owner)
            return _json([answers.listed(each) for each in found]) if found else _NOTHING
        return _ONE[call](self._owned.find(owner, _asked_for(members)))


def _info(found: FoundOrder | None) -> http.Answer:
    if found is None:
        raise refuse(
            "unknown_order",
            "there is no such order of yours: give its reference as it was registered, or its id",
            at="reference",
        )
    return _json(answers.info(found))


def _log(found: FoundOrder | None) -> http.Answer:
    return _json(answers.log(found)) if found is not None else _NOTHING


_ONE: Final[dict[str, Callable[[FoundOrder | None], http.Answer]]] = {INFO: _info, LOG: _log}
"""How each call that names one order answers with it."""


async def _read(scope: Scope, receive: Receive) -> bytes:
    try:
        return await asgi.read(scope, receive, BODY_BYTES_MAX)
    except Refusal:
        info = f"the body is larger than {BODY_BYTES_MAX} bytes: send apikey and reference only"
        raise refuse("body_too_large", info) from None


def _apikey(members: wire.Members) -> str:
    try:
        return msgspec.json.decode(members.get("apikey", b""), type=str)
    except msgspec.DecodeError:
        raise refuse(
            "missing_parameter",
            "apikey is missing: put the key that the platform gave you for reading there, as a string",
            at="apikey",
        ) from None


def _asked_for(members: wire.Members) -> str:
    """The reference in a body; a whole number is taken for its digits, as PHP may send it."""
    try:
        reference = str(_reference.decode(members.get("reference", b"null")))
    except msgspec.ValidationError:
        reference = ""
    if reference:
        return reference
    raise refuse(
        "missing_parameter" if "reference" not in members else "invalid_parameter",
        "reference must be what you call the order, or its id: a string of 1 to"
        f" {REFERENCE_CHARACTERS_MAX} characters in one line",
        at="reference",
    )


def _json(value: Any) -> http.Answer:
    body = msgspec.json.encode(value)
    return 200, [http.JSON, http.length(body)], body


def _refused(refusal: Refusal) -> http.Answer:
    status, headers, body = http.refused(refusal)
    return _STATUS.get(refusal.type, status), headers, body
