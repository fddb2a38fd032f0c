"""A relay answers as the server does, and what it takes arrives there."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cloudsignal import Client, ItemPacked, Outbox
from cloudsignal.partner import serving
from cloudsignal.partner.keys import ApiKey
from cloudsignal.partner.relay import Relay
from cloudsignal.partner.serving import Serving
from cloudsignal.protocol.http import ENDPOINT
from cloudsignal.testing import FakeServer, answering, unavailable
from cloudsignal.testing.fakes import APIKEY

LOCAL = "c" * 32
JSON = {"Content-Type": "application/json"}
PACKED = ItemPacked(order="7", item="1", datetime="2026-01-01 00:00:00")


@pytest.fixture
def upstream() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def outbox(upstream: FakeServer, tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.db", upstream.url, apikey=APIKEY, bytes_max=500_000) as outbox:
        yield outbox


@pytest.fixture
def relay(outbox: Outbox, upstream: FakeServer) -> Iterator[httpx2.Client]:
    relay = Relay(outbox, ApiKey(LOCAL), upstream=upstream.url)
    with Serving(relay) as serving, httpx2.Client(base_url=serving.url) as client:
        yield client


def body(**members: Any) -> dict[str, Any]:
    return {
        "apikey": LOCAL,
        "type": "ItemPacked",
        "order": "7",
        "item": "1",
        "datetime": "2026-01-01T00:00:00Z",
    } | members


def test_what_is_posted_arrives_with_the_key_of_upstream(
    relay: httpx2.Client, outbox: Outbox, upstream: FakeServer
) -> None:
    with Client(str(relay.base_url), apikey=LOCAL) as client:
        assert client.send(PACKED).accepted == 1
    assert outbox.drain(30) == 0
    [arrived] = upstream.signals
    assert arrived.signal == PACKED
    assert arrived.apikey == APIKEY


def test_fields_that_nobody_knows_are_forwarded(
    relay: httpx2.Client, outbox: Outbox, upstream: FakeServer
) -> None:
    answer = relay.post(ENDPOINT, json={"apikey": LOCAL, "items": [body(machine="HP 7")]})
    assert answer.json() == {"accepted": 1, "duplicates": 0, "position": 1}
    assert outbox.drain(30) == 0
    assert b'"machine":"HP 7"' in upstream.signals[0].body
    assert LOCAL.encode() not in upstream.signals[0].body


def test_it_answers_while_upstream_is_away(
    relay: httpx2.Client, outbox: Outbox, upstream: FakeServer, tmp_path: Path
) -> None:
    upstream.fail_always(unavailable())
    for number in range(5):
        assert relay.post(ENDPOINT, json=body(item=str(number))).status_code == 200
    outbox.drain(0.5)
    figures = relay.get("/healthz").json()
    assert figures["status"] == "trouble"
    assert figures["outbox"]["waiting"] == 5
    assert figures["outbox"]["trouble"]["since"].endswith("+00:00")
    assert figures["signals_accepted"] == 5
    page = relay.get("/").text
    assert "the store cannot be used just now" in page
    upstream.recover()
    assert outbox.drain(60) == 0
    assert len(upstream.signals) == 5
    assert relay.get("/healthz").json()["status"] == "ok"


def test_a_refused_key_shows(relay: httpx2.Client, outbox: Outbox, upstream: FakeServer) -> None:
    upstream.fail(answering(401, {"error": {"type": "unknown_key", "info": "<b>who</b>?"}}))
    relay.post(ENDPOINT, json=body())
    assert outbox.drain(30) == 1
    assert relay.get("/healthz").json()["status"] == "paused"
    page = relay.get("/")
    assert "&lt;b&gt;who&lt;/b&gt;?" in page.text
    assert "cloudsignal outbox resume" in page.text
    assert "script" not in page.text


@pytest.mark.parametrize(
    "request_",
    [
        {"json": body(type="ItemPackt")},
        {"json": body(type="OrderRegistered")},
        {"json": body(datetime="yesterday")},
        {"json": {"apikey": LOCAL, "items": [body(), {"order": 3}]}},
        {"json": {"apikey": LOCAL, "items": []}},
        {"json": {"apikey": LOCAL, "items": [body()] * 1001}},
        {"json": {"apikey": "d" * 32}},
        {"json": {"apikey": "ü"}},
        {"json": {"type": "ItemPacked"}},
        {"json": [body()]},
        {"content": b"{", "headers": JSON},
        {"content": b"", "headers": JSON},
        {"content": b"\xff", "headers": JSON},
        {"content": b"x" * (1 << 21), "headers": JSON},
        {"data": {"apikey": LOCAL}},
        {"method": "GET"},
        {"url": "/1.1/status/", "json": body()},
        {"url": ENDPOINT.rstrip("/"), "json": body(order="")},
    ],
    ids=lambda request: str(request)[:60],
)
def test_it_refuses_with_the_sentences_of_the_server(
    relay: httpx2.Client, upstream: FakeServer, request_: dict[str, Any]
) -> None:
    upstream.apikeys = {LOCAL}
    asked = {"method": "POST", "url": ENDPOINT} | request_
    mine = relay.request(**asked)
    theirs = httpx2.request(**asked | {"url": upstream.url + asked["url"]})
    assert mine.status_code >= 400
    assert (mine.status_code, mine.json()) == (theirs.status_code, theirs.json())
    for header in ("content-type", "retry-after", "allow"):
        assert mine.headers.get(header) == theirs.headers.get(header)
    assert upstream.signals == []


def head(*lines: str) -> bytes:
    given = f"POST {ENDPOINT} HTTP/1.1", "Host: x", "Content-Type: application/json", *lines
    return "".join(f"{line}\r\n" for line in given).encode() + b"\r\n"


def first_bytes(relay: httpx2.Client, sent: bytes) -> bytes:
    """What is answered at first, empty when the relay hangs up."""
    with socket.create_connection((relay.base_url.host, relay.base_url.port or 80), 60) as client:
        client.sendall(sent)
        return client.recv(1 << 16)


def test_a_body_that_is_announced_as_too_large_is_not_asked_for(relay: httpx2.Client) -> None:
    sent = head("Expect: 100-continue", f"Content-Length: {1 << 30}")
    assert first_bytes(relay, sent).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "sent", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\r\n", head("Content-Length: -1")]
)
def test_what_is_no_http_is_refused_in_the_same_shape(relay: httpx2.Client, sent: bytes) -> None:
    first, _, told = first_bytes(relay, sent).partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json")
    assert json.loads(told)["error"]["type"] == "invalid_http"


@pytest.mark.parametrize("between", [b"\r\n", b"\n\r\n"])
def test_a_line_break_behind_a_body_is_no_request(relay: httpx2.Client, between: bytes) -> None:
    one = json.dumps(body()).encode()
    post = head(f"Content-Length: {len(one)}") + one
    last = head(f"Content-Length: {len(one)}", "Connection: close") + one
    with socket.create_connection((relay.base_url.host, relay.base_url.port or 80), 60) as client:
        told = b""
        client.sendall(post + between)
        while not told.endswith(b"}"):
            told += client.recv(1 << 16)
        client.sendall(between + post + between + last + between)
        told += b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert told.count(b"HTTP/1.1 ") == told.count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize("sent", [b"", b"POST / HT", head("Content-Length: 9") + b"{"])
def test_who_stalls_is_hung_up_on(outbox: Outbox, sent: bytes) -> None:
    relay = Relay(outbox, ApiKey(LOCAL), upstream="")
    with (
        Serving(relay, read_timeout_s=0.05) as serving,
        httpx2.Client(base_url=serving.url) as client,
    ):
        assert first_bytes(client, sent) == b""


def test_one_connection_too_many_is_told_to_come_again(
    relay: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "CONNECTIONS_MAX", 0)
    answer = relay.post(ENDPOINT, json=body())
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["connection"] == "close"


def test_an_outbox_that_cannot_be_read_is_told(relay: httpx2.Client, outbox: Outbox) -> None:
    relay.post(ENDPOINT, json=body())
    assert outbox.drain(30) == 0
    outbox.path.rename(outbox.path.with_name("gone"))
    answer = relay.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unusable"
    assert answer.json()["signals_accepted"] == 1
    assert "outbox.db" in answer.json()["unusable"]
    assert "the outbox cannot be read" in relay.get("/").text


def test_a_defect_is_answered_in_the_same_shape(
    relay: httpx2.Client, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(outbox, "take", break_down)
    answer = relay.post(ENDPOINT, json=body())
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "defect")


def test_a_post_that_is_not_complete_when_the_relay_stops_is_told_to_come_again(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "STOP_S", 0)
    with (
        Serving(Relay(outbox, ApiKey(LOCAL), upstream="")) as listening,
        httpx2.Client(base_url=listening.url) as client,
    ):
        host, port = client.base_url.host, client.base_url.port or 80
        with socket.create_connection((host, port), 60) as sender:
            sender.sendall(head("Expect: 100-continue", "Content-Length: 9"))
            assert sender.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
            listening.stop()
            assert sender.recv(1 << 16).startswith(b"HTTP/1.1 503 ")


def test_a_full_outbox_is_said_to_be_full(relay: httpx2.Client, upstream: FakeServer) -> None:
    upstream.fail_always(unavailable())
    large = {"apikey": LOCAL, "items": [body(item=str(n), note="x" * 900) for n in range(900)]}
    answer = relay.post(ENDPOINT, json=large)
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "overloaded")
    assert answer.headers["retry-after"]
    assert relay.post(ENDPOINT, json=body()).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", ["/", "/healthz", "/admin"])
def test_what_is_sent_elsewhere_is_not_answered_as_if_it_were_taken(
    relay: httpx2.Client, method: str, path: str
) -> None:
    answer = relay.request(method, path, json=body())
    assert answer.status_code == 404
    assert "signals are posted to /cloudsignal/2.0/status/" in answer.json()["error"]["info"]


def test_elsewhere_there_is_nothing(relay: httpx2.Client) -> None:
    assert relay.get("/admin").status_code == 404
    assert relay.head("/").status_code == relay.head("/healthz").status_code == 200
