"""Order owners are told: by a real server, at receivers of every kind, on both kinds of store."""

import asyncio
import contextlib
import http.client
import json
import os
import random
import signal as signals
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from cloudsignal import webhooks
from cloudsignal.protocol.webhooks import WEBHOOK_OF
from cloudsignal.server import addresses, clock
from cloudsignal.server.delivery.desk import Desk, EndpointCreation, Made
from cloudsignal.server.delivery.sealing import Sealer
from cloudsignal.server.delivery.targets import Rules
from cloudsignal.server.keys import secret_of
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.orders import Registration
from tests.acceptance.conftest import (
    ENDPOINT,
    JSON,
    MakeServer,
    Server,
    ask,
    eventually,
    fresh,
    signal,
)
from tests.receiving import Receiving, first_ones, told
from tests.server.delivery.receivers import Receiver, Request, answers

FLAGS = ("--webhook-http", "--webhook-networks", "127.0.0.0/8")
LOCAL = Rules((addresses.network("127.0.0.0/8"),), http=True)
SEED = 20160120
ROUNDS = {"": 5, "postgresql": 3}
"""How often something is killed, by the kind of store: another node waits for who is gone on PostgreSQL."""
STEPS = ("ItemRegistered", "ItemProduce", "ItemProduced", "ItemPacked")

FIELDS = {
    "apikey",
    "type",
    "order",
    "order_reference",
    "item",
    "item_reference",
    "datetime",
    "tracking",
    "shipping_option",
    "cause",
    "delay",
    "message",
}
"""What the documented receivers of the field know, and nothing else."""
TYPES = {
    "CloudprinterOrderValidated",
    "CloudprinterOrderCanceled",
    "ItemValidated",
    "ItemProduce",
    "ItemProduced",
    "ItemPacked",
    "ItemShipped",
    "ItemError",
    "ItemCanceled",
}


@pytest.fixture
def receiving() -> Iterator[Receiving]:
    with Receiving() as receiving:
        yield receiving


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of a new store, empty for one in the server's folder."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


def add_endpoint(server: Server, url: str, owner: str = "Owner", **wish: Any) -> Made:
    """An endpoint of the owner of everything, or of another one."""
    with server.store() as store:
        if owner not in [each.name for each in store.orders.owners()]:
            store.orders.create_owner(owner, unregistered=owner == "Owner", now=clock.now())
        secret = server.environment.get("CLOUDSIGNAL_SECRET", "")
        sealer = Sealer(secret_of(Settings(database=server.url, secret=secret)))
        return Desk(store, sealer, LOCAL).create(
            EndpointCreation(owner, url, **wish), now=clock.now()
        )


def post(server: Server, key: str, *reports: dict[str, Any]) -> None:
    answer = server.post({"apikey": key, "items": list(reports)})
    assert answer.status == 200, answer


def got(receiver: Receiver, count: int) -> list[dict[str, Any]]:
    """The first so many webhooks that a receiver gets."""
    eventually(lambda: len(receiver.requests) >= count, f"only {len(receiver.requests)} came")
    return told(receiver)[:count]


# ---- what is told ----


def test_an_owner_is_told_everything_in_the_words_of_the_field(
    make_server: MakeServer, receiving: Receiving, database: str
) -> None:
    server = make_server(*FLAGS, database=database).start()
    key, receiver = server.interface(), receiving.receiver()
    made = add_endpoint(server, receiver.url(user="me:word@"))
    order = fresh("order")
    registration = Registration(order, "Owner", reference="R 1", items={"1": "R 1/1"})
    with server.store() as store:
        store.orders.register([registration], now=clock.now())
    reports = [
        signal(type.__name__, order=order, item="1", message="m", cause="c", delay="24")
        if "Delay" in type.__name__ or "Error" in type.__name__
        else signal(type.__name__, order=order, item="1")
        for type in WEBHOOK_OF
    ]
    for each in reports[:-1]:
        post(server, key, each)
    post(server, key, signal("ItemCanceled", order=fresh("order"), cause="CancelBookRip"))

    found = got(receiver, len(reports) + 2)

    assert {each["type"] for each in found} == TYPES
    assert {name for each in found for name in each} <= FIELDS
    assert [each["type"] for each in found if each.get("item") == "1"] == [
        "ItemValidated",
        "ItemProduce",
        "ItemProduced",
        "ItemPacked",
        "ItemShipped",
        "ItemError",
        "ItemError",
    ]
    assert {each["order_reference"] for each in found if each["order"] == order} == {"R 1"}
    for request in receiver.requests:
        verified = webhooks.verify(
            request.headers, request.body, secret=made.secret or "", apikey=made.apikey
        )
        assert verified.id == request.headers["webhook-id"]
        assert request.headers["authorization"] == "Basic bWU6d29yZA=="
        assert key not in request.body.decode()
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == len(found)
    taken = f'cloudsignal_webhook_attempts_total{{outcome="delivered"}} {len(found)}.0'
    eventually(lambda: taken in server.request("GET", "/metrics").body.decode())
    assert (
        'cloudsignal_endpoints{state="active"} 1.0'
        in server.request("GET", "/metrics").body.decode()
    )
    assert server.terminate() == 0, server.stderr
    assert not [line for line in server.lines() if line["level"] in ("warning", "error")]


# ---- receivers of every kind ----


async def _silence(_: Request, writer: Any) -> None:
    await asyncio.sleep(3600)


async def _drip(_: Request, writer: Any) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(1)


async def _gigabyte(_: Request, writer: Any) -> None:
    writer.write(b"HTTP/1.1 500 No\r\ncontent-length: 1073741824\r\n\r\n")
    for _ in range(1024):
        writer.write(b"x" * (1 << 20))
        await writer.drain()


async def _cut(_: Request, writer: Any) -> None:
    writer.transport.abort()


HOSTILE = {
    "says nothing": _silence,
    "drips": _drip,
    "500": answers(500),
    "429": answers(429, "retry-after: 3600"),
    "410": answers(410),
    "redirects inside": answers(302, "location: http://169.254.169.254/latest/meta-data/"),
    "a gigabyte": _gigabyte,
    "cuts the line": _cut,
}
SIGNALS = 200


def test_hostile_receivers_hold_up_no_other(
    make_server: MakeServer, receiving: Receiving, database: str
) -> None:
    server = make_server(*FLAGS, database=database).start()
    key = server.interface()
    hostile = {name: receiving.receiver(talk) for name, talk in HOSTILE.items()}
    healthy = [receiving.receiver(), receiving.receiver(answers(200, body=b"ok"))]
    numbers = {
        name: add_endpoint(server, receiver.url()).endpoint.id for name, receiver in hostile.items()
    }
    for each in healthy:
        add_endpoint(server, each.url())
    # They have all begun to be what they are.
    post(server, key, signal())
    eventually(lambda: all(each.requests for each in (*hostile.values(), *healthy)))
    before = [len(each.requests) for each in healthy]

    for _ in range(SIGNALS // 20):
        post(server, key, *(signal() for _ in range(20)))
    for each, count in zip(healthy, before, strict=True):
        got(each, count + SIGNALS)

    # Whoever says nothing is still being waited for: that took less than one of its attempts.
    assert hostile["says nothing"].connected > 0
    with server.store() as store:
        eventually(lambda: store.endpoints.endpoint(numbers["410"]).state == "paused")
        attempts = store.delivery_log.attempts(endpoint=numbers["a gigabyte"], limit=100)
        assert {len(each.answer) for each in attempts} == {2048}
        eventually(lambda: store.delivery_log.attempts(endpoint=numbers["says nothing"], limit=1))
        [timed_out] = store.delivery_log.attempts(endpoint=numbers["says nothing"], limit=1)
        assert "did not answer within 15 s" in timed_out.error
        assert store.endpoints.endpoint(numbers["drips"]).state == "active"
    assert server.terminate() == 0, server.stderr


# ---- crashes ----


class Load(threading.Thread):
    """A print partner whose items take one step after another, each until it is acknowledged."""

    def __init__(self, server: Server, key: str, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._key = key
        self._chance = chance
        self.acknowledged: dict[str, list[str]] = defaultdict(list)
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            items = [fresh("item") for _ in range(5)]
            for step, name in enumerate(STEPS):
                for item in self._chance.sample(items, len(items)):
                    self._send(signal(name, order="7", item=item, datetime=_at(step)), name)

    def _send(self, report: dict[str, Any], step: str) -> None:
        body = json.dumps({"apikey": self._key} | report).encode()
        while True:
            with (
                contextlib.suppress(OSError, http.client.HTTPException),
                contextlib.closing(self._server.http(10)) as client,
            ):
                if ask(client, "POST", ENDPOINT, body, JSON).status == 200:
                    self.acknowledged[report["item"]].append(step)
                    return
            time.sleep(0.02)


def _at(minute: int) -> str:
    return f"2016-01-20 13:{minute:02}:00 GMT"


def assert_all_told(receiver: Receiver, acknowledged: dict[str, list[str]]) -> None:
    """Everything acknowledged was told, and of each item in its order, repeats apart."""
    wanted = {
        item: [("ItemValidated" if step == "ItemRegistered" else step) for step in steps]
        for item, steps in acknowledged.items()
    }

    def found() -> dict[str, list[str]]:
        steps: dict[str, list[str]] = {item: [] for item in wanted}
        for each in first_ones(told(receiver), lambda each: (each["item"], each["type"])):
            if each["item"] in wanted:
                steps[each["item"]].append(each["type"])
        return steps

    def is_all_there() -> bool:
        time.sleep(0.2)  # Or looking would take all the time there is.
        return sum(map(len, found().values())) >= sum(map(len, wanted.values()))

    eventually(is_all_there)
    assert found() == wanted


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", ["server", "deliverer"])
def test_killed_again_and_again_every_receiver_is_told_everything_in_order(
    make_server: MakeServer, receiving: Receiving, database: str, victim: str
) -> None:
    server = make_server(*FLAGS, database=database).start()
    key, chance = server.interface(), random.Random(SEED)
    rounds = ROUNDS[database.partition("://")[0]]
    flaky, failed = random.Random(SEED), set[str]()

    async def sometimes(request: Request, writer: Any) -> None:
        # None fails twice: the more often one has, the longer it waits, and what is behind it.
        message = request.headers["webhook-id"]
        fails = message not in failed and flaky.random() < 0.05
        failed.update([message] if fails else [])
        await answers(500 if fails else 204)(request, writer)

    receivers = [receiving.receiver(), receiving.receiver(sometimes)]
    for each in receivers:
        add_endpoint(server, each.url())
    load = Load(server, key, chance)
    load.start()
    try:
        for _ in range(rounds):
            before = sum(len(each.requests) for each in receivers)
            eventually(lambda b=before: sum(len(e.requests) for e in receivers) > b + 50)
            time.sleep(chance.random() * 0.2)
            if victim == "server":
                server.kill()
                server.start()
            else:
                os.kill(server.deliverer(), signals.SIGKILL)
    finally:
        load.enough.set()
        load.join(60)
    assert not load.is_alive()
    assert sum(map(len, load.acknowledged.values())) > 20 * rounds

    for each in receivers:
        assert_all_told(each, load.acknowledged)
    assert server.terminate() == 0, server.stderr


def test_endpoints_spread_over_nodes_and_move_when_one_is_gone(
    make_server: MakeServer, receiving: Receiving, postgresql_url: str
) -> None:
    nodes = [make_server(*FLAGS, database=postgresql_url).start() for _ in range(2)]
    key = nodes[0].interface()
    receivers = [receiving.receiver() for _ in range(4)]
    for each in receivers:
        add_endpoint(nodes[0], each.url())

    def spread() -> bool:
        with nodes[0].store() as store:
            owned = [each.node for each in store.endpoints.endpoints()]
        return len(set(owned)) == 2 and None not in owned and owned.count(owned[0]) == 2

    eventually(spread, "they don't share")
    post(nodes[0], key, *(signal() for _ in range(10)))
    for each in receivers:
        got(each, 10)

    nodes[0].kill()
    killed = time.monotonic()
    post(nodes[1], key, *(signal() for _ in range(10)))
    for each in receivers:
        got(each, 20)

    assert time.monotonic() - killed < 30
    assert {len(each.requests) for each in receivers} == {20}
