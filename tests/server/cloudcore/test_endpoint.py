"""Owners read their orders over HTTP, as the official clients of CloudCore do."""

import asyncio
import json
import threading
from typing import Any

import pytest

from cloudsignal.server.cloudcore.endpoint import (
    BODY_BYTES_MAX,
    READING_MAX,
    WAITING_MAX,
    CloudCore,
)
from cloudsignal.server.keys import new_apikey
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.orders import Owner, Registration
from cloudsignal.server.store.owned_orders import OwnedOrder
from tests.acceptance.conftest import JSON, Answer, MakeServer, Server, fresh, signal

FLAGS = ("--failed-keys-max", "1000000")
CALLS = ("orders", "orders/info", "orders/log")
PHP = {"Accept": "*/*", "Content-Type": "application/json"}
NODE = {
    "Accept": "application/json, text/plain, */*",
    "Content-Type": "application/json;charset=utf-8",
    "User-Agent": "axios/0.18.0",
}


def make_owner(server: Server, *, unregistered: bool = False) -> tuple[str, str]:
    """A new owner: its name and its key."""
    name, key = fresh("owner"), new_apikey()
    with server.access() as (_, keyring), server.store() as store:
        store.orders.create_owner(name, unregistered=unregistered, now=1)
        store.orders.add_owner_key(name, keyring.digest(key), expires=1, now=1)
    return name, key


def register(server: Server, owner: str, **told: Any) -> str:
    """Register a new order: its id."""
    order = fresh("order")
    with server.store() as store:
        store.orders.register([Registration(order, owner, **told)], now=1_438_768_800_000_000)
    return order


@pytest.fixture(scope="module")
def owner(server: Server) -> tuple[str, str]:
    return make_owner(server)


def ask(server: Server, call: str, headers: dict[str, str] = PHP, **body: Any) -> Answer:
    return server.post(body, path=f"/cloudcore/1.0/{call}", headers=headers)


def refused(answer: Answer, type: str, status: int) -> str:
    """What a refusal says; it holds no key."""
    assert (answer.status, answer.error["type"]) == (status, type)
    info: str = answer.error["info"]
    return info


# ---- what is there ----


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("headers", [PHP, NODE, {}], ids=["php", "node", "no content type"])
def test_an_order_is_read_from_its_registration_to_its_end(
    server: Server, key: str, slash: str, headers: dict[str, str]
) -> None:
    name, apikey = make_owner(server)
    order = register(server, name, reference="wp-1", items={"1": "99"})

    def read(call: str, **body: str) -> Any:
        return ask(server, call + slash, headers, apikey=apikey, **body).json

    listed = {
        "reference": "wp-1",
        "order_date": "2015-08-05 10:00:00",
        "state": "6",
        "state_code": "order_state_verified",
    }
    assert read("orders") == [listed]
    assert server.post({"apikey": key} | signal("ItemShipped", order=order, item="1")).status == 200

    assert read("orders") == [listed | {"state": "100", "state_code": "order_state_complete"}]
    info = read("orders/info", reference="wp-1")
    assert (info["reference"], info["state"]) == ("wp-1", "100")
    [item] = info["items"]
    assert (item["reference"], item["tracking"]) == ("99", "1A2B3C4D5E6F")
    assert item["shipping_option"] == "GLS"
    assert read("orders/log", reference="wp-1") == [
        {"reference": "wp-1", "create_date": "2015-08-05 10:00:00", "state": "6"},
        {"reference": "wp-1", "create_date": "2016-01-20 13:00:00", "state": "100"},
    ]
    assert read("orders/info", reference=order) == info


def test_a_base_url_that_ends_in_a_slash_leads_there_too(
    server: Server, owner: tuple[str, str]
) -> None:
    answer = server.post({"apikey": owner[1]}, path="//cloudcore/1.0/orders", headers=JSON)
    assert answer.status in (200, 204)


def test_a_reference_may_be_a_number(server: Server, owner: tuple[str, str]) -> None:
    name, apikey = owner
    register(server, name, reference="1042")

    assert ask(server, "orders/info", apikey=apikey, reference=1042).json["reference"] == "1042"


def test_one_owner_sees_orders_that_nobody_registered(server: Server, key: str) -> None:
    _, apikey = make_owner(server, unregistered=True)
    posted = signal()
    assert server.post({"apikey": key} | posted).status == 200

    assert ask(server, "orders", apikey=apikey).json[0]["reference"] == posted["order"]
    [began] = ask(server, "orders/log", apikey=apikey, reference=posted["order"]).json
    assert (began["create_date"], began["state"]) == ("2016-01-20 13:00:00", "45")


def test_orders_are_read_from_postgresql(make_server: MakeServer, postgresql_url: str) -> None:
    server = make_server(database=postgresql_url).start()
    name, apikey = make_owner(server, unregistered=True)
    register(server, name, reference="wp-1")
    assert server.post({"apikey": server.interface()} | signal()).status == 200

    assert [each["state"] for each in ask(server, "orders", apikey=apikey).json] == ["45", "6"]
    assert ask(server, "orders/info", apikey=apikey, reference="wp-1").json["state"] == "6"
    assert ask(server, "orders/log", apikey=apikey, reference="none").status == 204


# ---- what is not ----


def test_an_owner_without_orders_gets_204(server: Server) -> None:
    _, apikey = make_owner(server)

    answer = ask(server, "orders", apikey=apikey)

    assert (answer.status, answer.body) == (204, b"")
    assert "content-length" not in answer.headers


def test_anothers_order_is_as_one_that_is_not_there(server: Server, owner: tuple[str, str]) -> None:
    another, _ = make_owner(server)
    order = register(server, another, reference="theirs")

    for reference in (order, "theirs", "no such order"):
        found = ask(server, "orders/info", apikey=owner[1], reference=reference)
        assert refused(found, "unknown_order", 410).startswith("there is no such order of yours")
        assert ask(server, "orders/log", apikey=owner[1], reference=reference).status == 204


@pytest.mark.parametrize("call", ["orders/info", "orders/log"])
@pytest.mark.parametrize(
    ("given", "type"),
    [
        ({}, "missing_parameter"),
        ({"reference": None}, "invalid_parameter"),
        ({"reference": ""}, "invalid_parameter"),
        ({"reference": ["wp-1"]}, "invalid_parameter"),
        ({"reference": 1.5}, "invalid_parameter"),
        ({"reference": "a\0b"}, "invalid_parameter"),
        ({"reference": "x" * 256}, "invalid_parameter"),
    ],
)
def test_a_reference_that_is_none_is_400(
    server: Server, owner: tuple[str, str], call: str, given: dict[str, Any], type: str
) -> None:
    told = refused(ask(server, call, apikey=owner[1], **given), type, 400)
    assert told.startswith("reference must be what you call the order, or its id")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("body", "type", "status"),
    [
        (b"", "invalid_json", 400),
        (b"apikey=1&reference=2", "invalid_json", 400),
        (b"[]", "not_an_object", 400),
        (b"{}", "missing_parameter", 400),
        (b'{"apikey": 1}', "missing_parameter", 400),
        (b'{"apikey": ""}', "unknown_key", 403),
        (b'{"apikey": "%s"}' % (b"0" * 32), "unknown_key", 403),
        (b'{"apikey": "%s"}' % (b"0" * BODY_BYTES_MAX), "body_too_large", 413),
    ],
)
def test_a_request_that_is_none_is_refused(
    server: Server, call: str, body: bytes, type: str, status: int
) -> None:
    told = refused(server.post(body, path=f"/cloudcore/1.0/{call}"), type, status)
    assert "bundle" not in told


def test_a_key_of_another_kind_is_403(server: Server, key: str) -> None:
    for wrong in (key, server.token("admin")):
        refused(ask(server, "orders", apikey=wrong), "wrong_kind_of_key", 403)


def test_a_key_that_was_replaced_is_403(server: Server) -> None:
    name, apikey = make_owner(server)
    with server.store() as store:
        store.orders.add_owner_key(name, fresh("digest"), expires=2, now=2)

    refused(ask(server, "orders", apikey=apikey), "key_expired", 403)


def test_other_methods_are_405_and_other_calls_404(server: Server) -> None:
    answer = server.request("GET", "/cloudcore/1.0/orders")
    refused(answer, "method_not_allowed", 405)
    assert answer.headers["allow"] == "POST"
    for call in ("orders/add", "orders/cancel", "products", ""):
        answer = ask(server, call)
        assert (answer.status, answer.json["error"]["type"]) == (404, "not_found")
        assert "/cloudcore/1.0/orders/info/" in answer.json["error"]["info"]


# ---- limits ----


def test_unknown_keys_count_beside_those_of_signals(make_server: MakeServer) -> None:
    server = make_server("--failed-keys-max", "2").start()
    refused(ask(server, "orders", apikey=new_apikey()), "unknown_key", 403)
    assert server.post({"apikey": new_apikey()} | signal()).error["type"] == "unknown_key"

    answer = ask(server, "orders", apikey=new_apikey())

    refused(answer, "too_many_requests", 429)
    assert int(answer.headers["retry-after"]) > 0
    assert server.post({"apikey": new_apikey()} | signal()).error["type"] == "too_many_requests"


class Slow:
    """Orders that are read only when they may be, counting how many are read at once."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.reading = self.most = 0
        self._lock = threading.Lock()

    def orders(self, owner: Owner) -> list[OwnedOrder]:
        with self._lock:
            self.reading += 1
            self.most = max(self.most, self.reading)
        assert self.may.wait(60)
        with self._lock:
            self.reading -= 1
        return []


class Everyone:
    """Knows every key."""

    async def find(self, apikey: str, address: str) -> Owner:
        return Owner(1, "Books", 1, False)


async def status(cloudcore: CloudCore) -> int:
    """How a request is answered."""
    statuses: list[int] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b'{"apikey": "k"}'}

    async def send(message: Any) -> None:
        if "status" in message:
            statuses.append(message["status"])

    path = "/cloudcore/1.0/orders"
    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "client": None}
    await cloudcore(scope, receive, send)
    [found] = statuses
    return found


@pytest.mark.anyio
async def test_so_many_read_at_once_so_many_wait_and_one_more_is_503() -> None:
    slow = Slow()
    cloudcore = CloudCore(Everyone(), slow)  # type: ignore[arg-type]
    waiting = [asyncio.create_task(status(cloudcore)) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0)

    assert await status(cloudcore) == 503

    slow.may.set()
    assert await asyncio.gather(*waiting) == [204] * WAITING_MAX
    assert await status(cloudcore) == 204
    assert slow.most <= READING_MAX


@pytest.mark.anyio
async def test_while_the_store_is_away_it_is_503() -> None:
    class Away:
        def orders(self, owner: Owner) -> list[OwnedOrder]:
            raise StoreUnavailable("for a test")

    cloudcore = CloudCore(Everyone(), Away())  # type: ignore[arg-type]
    assert [await status(cloudcore) for _ in range(WAITING_MAX + 1)] == [503] * (WAITING_MAX + 1)


def test_no_key_is_ever_logged(server: Server, owner: tuple[str, str]) -> None:
    stranger = new_apikey()
    for apikey in (owner[1], stranger):
        for call in CALLS:
            ask(server, call, apikey=apikey, reference=json.dumps({"apikey": apikey}))

    assert stranger not in server.stderr
    assert owner[1] not in server.stderr
