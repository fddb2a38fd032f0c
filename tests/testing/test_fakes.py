"""A fake server answers as the real one does, and shows what it was sent."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from cloudsignal import Client, ItemPacked, ItemShipped, NotNow, Signal
from cloudsignal.protocol.http import ENDPOINT
from cloudsignal.testing import FakeServer, answering, hanging_up
from cloudsignal.testing.fakes import APIKEY

pytest_plugins = ["pytester"]

JSON = {"Content-Type": "application/json"}
PACKED = ItemPacked(order="7", item="1", datetime="2026-01-01T00:00:00Z")
SHIPPED = ItemShipped(
    order="7", item="1", datetime="2026-01-02T00:00:00Z", tracking="1A", shipping_option="GLS"
)


@pytest.fixture
def listening() -> Iterator[FakeServer]:
    with FakeServer(disabled=["d" * 32]) as server:
        yield server


def post(server: FakeServer, json: Any = None, path: str = ENDPOINT, **options: Any) -> Any:
    with httpx2.Client(base_url=server.url) as http:
        answer = http.request(
            **({"method": "POST", "url": path, "json": json, "headers": JSON} | options)
        )
    return answer.status_code, answer.json()


def test_it_shows_what_it_was_sent(listening: FakeServer) -> None:
    with Client(listening.url, apikey=APIKEY) as client:
        client.send(PACKED, SHIPPED)
        listening.now += 60
        client.send(PACKED)
    assert [each.position for each in listening.wait_for(2)] == [1, 2]
    assert listening.received(ItemShipped, tracking="1A") == [SHIPPED]
    assert listening.received("ItemShipped", tracking="other") == []
    assert listening.assert_received(ItemPacked, item="1") == PACKED
    assert listening.items["7", "1"].state == "shipped"
    with pytest.raises(AssertionError, match="0 signals instead of one match"):
        listening.assert_received(ItemPacked, item="2")
    with pytest.raises(AssertionError, match="2 signals came within 0 s instead of 3"):
        listening.wait_for(3, timeout_s=0)


@pytest.mark.parametrize(
    ("request_", "status", "type"),
    [
        ({"json": {"apikey": "e" * 32, "type": "x"}}, 401, "unknown_key"),
        ({"json": {"apikey": "d" * 32, "type": "x"}}, 403, "key_disabled"),
        ({"json": {"apikey": APIKEY}}, 400, "missing_parameter"),
        ({"json": [], "headers": {"Content-Type": "text/plain"}}, 400, "invalid_content_type"),
        ({"method": "PUT"}, 405, "method_not_allowed"),
        ({"path": "/1.1/status/"}, 410, "version_removed"),
        ({"path": "/elsewhere"}, 404, "not_found"),
        ({"content": b"x" * (1 << 20) + b"x", "json": None}, 413, "body_too_large"),
        ({"json": {"apikey": APIKEY, "items": [{}] * 1001}}, 400, "bundle_too_large"),
    ],
)
def test_it_refuses_as_the_real_one_does(
    listening: FakeServer, request_: dict[str, Any], status: int, type: str
) -> None:
    found, body = post(listening, **request_)
    assert (found, body["error"]["type"]) == (status, type)
    assert listening.signals == []


def test_faults_befall_posts_in_turn_until_it_recovers(listening: FakeServer) -> None:
    waits: list[float] = []
    listening.fail(hanging_up(), answering(500))
    with Client(listening.url, apikey=APIKEY, sleep=waits.append) as client:
        client.send(PACKED)
        listening.fail_always(answering(503, retry_after=9))
        with pytest.raises(NotNow):
            client.send(SHIPPED)
        listening.recover()
        client.send(SHIPPED)
    assert [each.signal for each in listening.signals] == [PACKED, SHIPPED]
    assert waits[2:] == [9, 9, 9, 9]


def test_without_being_entered_it_has_no_address() -> None:
    with pytest.raises(RuntimeError, match="with FakeServer"):
        _ = FakeServer().url


def test_it_listens_once(listening: FakeServer) -> None:
    with pytest.raises(RuntimeError, match=f"it listens already, at {listening.url}"):
        listening.__enter__()
    assert post(listening, {"apikey": APIKEY})[0] == 400


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"type": "ItemPackt"}, "there is no signal ItemPackt: the types are ItemRegistered"),
        ({"type": Signal}, "there is no signal Signal"),
        ({"type": ItemPacked, "tracking": "1A"}, "ItemPacked has no field tracking"),
        ({"ordr": "7"}, "no signal has a field ordr"),
        ({"order": 7}, "order is a string in every signal, never 7"),
    ],
)
def test_what_can_never_be_received_is_not_looked_for(wanted: Any, sentence: str) -> None:
    with pytest.raises((TypeError, ValueError), match=sentence):
        FakeServer().received(**wanted)


def test_what_is_given_in_the_wrong_way_is_said_at_once() -> None:
    uncalled: Any = hanging_up
    with pytest.raises(TypeError, match=r"write it like hanging_up\(\)"):
        FakeServer().fail(uncalled)
    with pytest.raises(TypeError, match=r"write it like hanging_up\(\)"):
        FakeServer().fail_always(uncalled)
    with pytest.raises(TypeError, match="as a list"):
        FakeServer(apikeys=APIKEY)


def test_the_fixture_is_there_for_every_project(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from cloudsignal import Client, ItemPacked, now

        def test_mine(cloudsignal_server):
            with Client(cloudsignal_server.url, apikey=next(iter(cloudsignal_server.apikeys))) as client:
                client.send(ItemPacked(order="1", item="2", datetime=now()))
            assert cloudsignal_server.assert_received("ItemPacked", order="1")
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
