"""``cloudsignal listen``, as the installed command."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from cloudsignal import Client, ItemPacked, KeyRefused, Receipt, SendError
from tests.acceptance.conftest import COMMAND

KEY = "k" * 32
PACKED = ItemPacked(order="7", item="1", datetime="2026-01-01T00:00:00Z")


@contextmanager
def listening(*words: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """Where it listens, and how to read the next line that it prints."""
    process = subprocess.Popen(
        [COMMAND, "listen", "--port", "0", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stdout is not None
    with process.stderr, process.stdout:
        address = process.stderr.readline().split("listening on ")[1].split(": ")[0]
        yield address, process.stdout.readline
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert process.wait(30) == 0


def test_what_a_server_would_get_is_shown_and_answered_as_it_does() -> None:
    with listening("--json") as (address, line):
        with Client(address, apikey=KEY) as client:
            assert client.send(PACKED) == Receipt(1, 1, 0, 1)
        heard: Any = json.loads(line())
        assert heard["status"] == 200
        assert heard["bodies"][0]["item"] == "1"
        answer = httpx2.post(
            f"{address}/cloudsignal/2.0/status/", json={"apikey": KEY, "type": "ItemPackt"}
        )
        assert answer.status_code == 400
        assert "did you mean ItemPacked?" in json.loads(line())["problems"][0]


def test_a_webhook_is_shown_without_its_key() -> None:
    with listening() as (address, line):
        body = {"apikey": KEY, "type": "ItemShipped", "order": "7\x1b[2J"}
        answer = httpx2.post(f"{address}/hooks/mine", json=body, headers={"webhook-id": "msg_1"})
        assert (answer.status_code, answer.content) == (200, b"")
        assert line() == "POST /hooks/mine → 200\n"
        assert line() == "  webhook-id: msg_1\n"
        assert line() == '  {"apikey":"…","type":"ItemShipped","order":"7\\u001b[2J"}\n'
        httpx2.post(f"{address}/", content=b"\xff no JSON")
        assert line() == "POST / → 200\n"
        assert "no JSON" in line()


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"apikey": KEY}]},
        f'{{"apikey": "{KEY}", "type"',
        f"type=ItemPacked&apikey={KEY}&order=7",
    ],
    ids=["within", "torn", "form"],
)
def test_a_key_is_shown_nowhere(body: Any) -> None:
    with listening("--json") as (address, line):
        content = body if isinstance(body, str) else json.dumps(body)
        httpx2.post(f"{address}/elsewhere", content=content)
        heard = line()
    assert KEY not in heard
    assert "…" in heard


@pytest.mark.parametrize(("status", "kind"), [("403", KeyRefused), ("503", SendError)])
def test_it_answers_what_it_is_told_to(status: str, kind: type[SendError]) -> None:
    with (
        listening("--answer", status) as (address, line),
        Client(address, apikey=KEY, tries=1) as client,
    ):
        with pytest.raises(kind):
            client.send(PACKED)
        assert line() == f"POST /cloudsignal/2.0/status/ → {status}\n"
