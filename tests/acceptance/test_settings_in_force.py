"""Settings that a server is started with, and what its clients notice of them."""

import concurrent.futures
import contextlib
import json
import socket
import sqlite3
from typing import Any

import pytest

from cloudsignal.server.store.orders import Registration
from tests.acceptance.conftest import (
    ENDPOINT,
    JSON,
    Answer,
    MakeServer,
    Server,
    ask,
    eventually,
    read_answer,
    signal,
)

UNKNOWN_KEY = "0" * 32
READ_TIMEOUT_S = "60"
"""So long that no client of these tests stalls."""


def body_of(key: str, **fields: Any) -> bytes:
    return json.dumps({"apikey": key} | signal(**fields)).encode()


def head(length: int) -> bytes:
    lines = [f"POST {ENDPOINT} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def is_overloaded(answer: Answer) -> bool:
    """Whether a post was answered 503 because too much is held already."""
    return (answer.status, answer.error["type"]) == (503, "overloaded")


# ---- behind a reverse proxy ----------------------------------------------------------------------


def forwarded(server: Server, key: str, addresses: str) -> Answer:
    """A post that a proxy says it forwards."""
    return server.post(body_of(key), headers=JSON | {"X-Forwarded-For": addresses})


def test_the_address_that_a_trusted_proxy_tells_counts(make_server: MakeServer) -> None:
    server = make_server("--trusted-proxies", "127.0.0.1").start()
    key = server.interface(allow=("192.0.2.0/24", "2001:db8::/32"))
    for addresses in ("192.0.2.7", "198.51.100.9, 192.0.2.7", "2001:db8::7", "192.0.2.7,127.0.0.1"):
        assert forwarded(server, key, addresses).status == 200
    for addresses in ("198.51.100.9", "192.0.2.7, 198.51.100.9", "unknown", "", "x" * 1000, "\t"):
        answer = forwarded(server, key, addresses)
        assert (answer.status, answer.error["type"]) == (403, "address_not_allowed"), addresses
    assert server.post(body_of(key)).status == 403, "from the proxy itself"
    refused = eventually(lambda: server.lines("post refused"))
    assert refused[0]["address"] == "198.51.100.9"


def test_nobody_else_is_believed_what_address_they_come_from(make_server: MakeServer) -> None:
    for flags in ((), ("--trusted-proxies", "192.0.2.1")):
        server = make_server(*flags).start()
        key = server.interface(allow=("192.0.2.0/24",))
        answer = forwarded(server, key, "192.0.2.7")
        assert (answer.status, answer.error["type"]) == (403, "address_not_allowed")
        assert "127.0.0.1" in answer.error["info"]


def test_failed_keys_are_counted_by_the_address_behind_the_proxy(make_server: MakeServer) -> None:
    server = make_server("--trusted-proxies", "127.0.0.0/8", "--failed-keys-max", "2").start()
    for _ in range(2):
        assert forwarded(server, UNKNOWN_KEY, "192.0.2.7").status == 401
    assert forwarded(server, UNKNOWN_KEY, "192.0.2.7").status == 429
    assert forwarded(server, UNKNOWN_KEY, "192.0.2.8").status == 401


def test_metrics_are_not_open_to_those_behind_a_near_proxy(make_server: MakeServer) -> None:
    server = make_server("--trusted-proxies", "127.0.0.1").start()
    headers = {"X-Forwarded-For": "192.0.2.7"}
    assert server.request("GET", "/metrics", headers=headers).status == 401
    assert server.request("GET", "/metrics").status == 200


# ---- registered orders ---------------------------------------------------------------------------


def test_signals_for_orders_that_nobody_registered_are_refused_if_so_set(
    make_server: MakeServer,
) -> None:
    server = make_server("--unregistered-orders", "refuse").start()
    key = server.interface()
    bundle = [signal(), signal()]
    with server.store() as store:
        store.orders.create_owner("Books", now=1)
        store.orders.register([Registration(bundle[0]["order"], "Books")], now=2)
    assert server.post({"apikey": key} | bundle[0]).status == 200
    answer = server.post({"apikey": key, "items": bundle})
    assert (answer.status, answer.error["type"]) == (400, "unknown_order")
    assert answer.error["info"].startswith(
        f"items[1]: order {bundle[1]['order']} is not registered"
    )
    assert answer.error["details"][0]["at"] == "items[1]"


# ---- limits --------------------------------------------------------------------------------------


def test_an_interface_may_send_so_many_posts_a_minute(make_server: MakeServer) -> None:
    server = make_server("--posts-per-minute", "3").start()
    key, other = server.interface(), server.interface("Other")
    assert [server.post(body_of(key)).status for _ in range(3)] == [200] * 3
    answer = server.post(body_of(key))
    assert (answer.status, answer.error["type"]) == (429, "too_many_requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert server.post(body_of(other)).status == 200, "each interface for itself"


def test_unfinished_bodies_are_held_up_to_a_limit(make_server: MakeServer) -> None:
    flags = ("--reading-bytes-max", "250000", "--read-timeout-s", READ_TIMEOUT_S)
    server = make_server(*flags).start()
    key = server.interface()
    with contextlib.ExitStack() as closing:
        slow = [closing.enter_context(server.connect()) for _ in range(10)]
        for connection in slow:
            connection.sendall(head(200_000) + b" " * 100_000)

        def refused() -> list[socket.socket]:
            return [each for each in slow if has_answer(each)]

        told = eventually(lambda: len(refused()) >= 8 and refused(), "all are listened to")
        assert len(told) == 8, "two fit"
        assert all(is_overloaded(read_answer(each)) for each in told)
        assert server.post(body_of(key)).status == 200, "who says it at once is heard"
    large = body_of(key, note="x" * 200_000)

    def is_room() -> bool:
        with server.connect() as connection:
            connection.sendall(head(len(large)) + large[:100_000])
            connection.sendall(large[100_000:])
            return read_answer(connection).status == 200

    eventually(is_room, "those who left still take up room")


def has_answer(connection: socket.socket) -> bool:
    """Whether anything has come, without taking it."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        connection.setblocking(True)


def test_what_waits_for_the_store_is_held_up_to_a_number_of_bytes(make_server: MakeServer) -> None:
    server = make_server("--queue-bytes-max", "100000").start()
    key = server.interface()
    eventually(lambda: server.post(body_of(key)).status == 200)
    with (
        concurrent.futures.ThreadPoolExecutor() as pool,
        contextlib.closing(sqlite3.connect(server.path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        waiting = pool.submit(server.post, body_of(key, note="x" * 90_000))
        eventually(lambda: server.queue() == 1, "the post does not wait")
        assert is_overloaded(server.post(body_of(key, note="x" * 20_000)))
        other.execute("ROLLBACK")
        assert waiting.result().status == 200
    assert server.post(body_of(key, note="x" * 20_000)).status == 200


def test_a_connection_without_posts_is_closed_after_a_while(make_server: MakeServer) -> None:
    server = make_server("--keep-alive-s", "1").start()
    body = body_of(server.interface())
    with server.connect() as connection:
        connection.sendall(head(len(body)) + body)
        assert read_answer(connection).status == 200
        assert connection.recv(1) == b"", "closed without a word"


# ---- where they come from ------------------------------------------------------------------------


def test_flags_count_more_than_variables_and_these_more_than_the_file(
    make_server: MakeServer,
) -> None:
    server = make_server("--bundle-max", "4", environment={"CLOUDSIGNAL_BODY_BYTES_MAX": "5000"})
    config = server.folder / "settings.toml"
    config.write_text("bundle_max = 2\nbody_bytes_max = 9000\nstrict_causes = true\n")
    server.environment["CLOUDSIGNAL_CONFIG"] = str(config)
    server.start()
    key = server.interface()

    def bundle(size: int) -> Answer:
        return server.post({"apikey": key, "items": [signal() for _ in range(size)]})

    assert bundle(4).status == 200
    assert bundle(5).error["type"] == "bundle_too_large"
    assert server.post(body_of(key, note="x" * 6000)).status == 413
    told = signal("ItemCanceled", cause="No idea")
    assert server.post({"apikey": key} | told).error["type"] == "unlisted_cause"


def test_a_server_can_listen_on_ipv6(make_server: MakeServer) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = make_server("--host", "::1").start()
    assert server.address == f"http://[::1]:{server.port}"
    key = server.interface(allow=("::1",))
    with contextlib.closing(server.http()) as client:
        assert ask(client, "POST", ENDPOINT, body_of(key), JSON).status == 200
    assert server.request("GET", "/metrics").status == 200
