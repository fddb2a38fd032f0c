"""The doctor says of each thing whether it is right, and what to do; and leaves no signal behind."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cloudsignal import Client, ItemPacked, Outbox
from cloudsignal.partner.claim import claim
from cloudsignal.partner.doctor import Finding, examine
from cloudsignal.partner.outbox.file import File, Trouble
from cloudsignal.testing import FakeServer, answering, hanging_up, some_page
from cloudsignal.testing.fakes import APIKEY

BASE = "https://signals.example.com"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer(disabled=["d" * 32])


@pytest.fixture
def found(server: FakeServer) -> Callable[..., dict[str, Finding]]:
    def found(
        base: str = BASE, outbox: Path | None = None, apikey: str = APIKEY, **options: Any
    ) -> dict[str, Finding]:
        options = {"transport": server.transport} | options
        with Client(base, apikey=apikey, **options) as client:
            return {each.what: each for each in examine(client, outbox, now=lambda: NOW)}

    return found


def test_all_is_well(found: Callable[..., dict[str, Finding]], server: FakeServer) -> None:
    assert [each.ok for each in found().values()] == [True, True, True, True]
    assert list(found()) == ["address", "server", "key", "clock"]
    assert server.signals == []
    assert {each.type for each in server.refusals} == {"empty_bundle"}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (hanging_up(), "no answer came"),
        (some_page(), "no CloudSignal server"),
        (answering(200), "no CloudSignal server"),
        (answering(404), "there is no CloudSignal endpoint"),
        (answering(502), "cannot take signals now"),
        (answering(429), "wait some minutes"),
    ],
)
def test_what_is_no_server_is_said(
    found: Callable[..., dict[str, Finding]], server: FakeServer, fault: Any, told: str
) -> None:
    server.fail_always(fault)
    findings = found()
    assert list(findings) == ["address", "server"]
    assert not findings["server"].ok
    assert told in findings["server"].info
    assert server.posts == (2 if fault.answer and fault.answer[0] == 200 else 1)


@pytest.mark.parametrize(("stranger", "ok"), [(401, True), (400, False), (200, False)])
def test_another_server_that_takes_the_key_is_asked_whether_it_takes_any(
    found: Callable[..., dict[str, Finding]], stranger: int, ok: bool
) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return httpx2.Response(404)
        return httpx2.Response(400 if APIKEY.encode() in request.read() else stranger)

    findings = found(transport=httpx2.MockTransport(answer))
    assert findings["server"].ok is ok
    assert ("key" in findings) is ok


@pytest.mark.parametrize(
    ("apikey", "told"), [("e" * 32, "is not known here"), ("d" * 32, "is disabled")]
)
def test_a_key_that_does_not_work_is_said(
    found: Callable[..., dict[str, Finding]], apikey: str, told: str
) -> None:
    key = found(apikey=apikey)["key"]
    assert not key.ok
    assert told in key.info


def test_a_key_in_the_open_is_said(found: Callable[..., dict[str, Finding]]) -> None:
    assert not found("http://signals.example.com")["address"].ok
    assert found("http://127.0.0.1:8000")["address"].ok


@pytest.mark.parametrize(("ahead_s", "ok"), [(59, True), (-600, False), (90, False)])
def test_a_clock_that_is_wrong_is_said(
    found: Callable[..., dict[str, Finding]], ahead_s: int, ok: bool
) -> None:
    date = (NOW - timedelta(seconds=ahead_s)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    def answer(request: httpx2.Request) -> httpx2.Response:
        # As our server does, which tells its time to those only who ask how it is.
        if request.method == "GET":
            assert request.url == f"{BASE}/healthz"
            return httpx2.Response(200, headers={"Date": date})
        return httpx2.Response(401)

    clock = found(transport=httpx2.MockTransport(answer))["clock"]
    assert clock.ok is ok
    assert f"{abs(ahead_s)} s" in clock.info


def test_how_the_outbox_is_doing_is_said(
    found: Callable[..., dict[str, Finding]], tmp_path: Path
) -> None:
    path = tmp_path / "outbox.db"
    assert "is not there yet" in found(outbox=path)["outbox"].info
    with Outbox(path) as outbox:
        [one, _] = outbox.put(
            *(ItemPacked(order="7", item=i, datetime="2026-01-01T00:00Z") for i in "12")
        )
    findings = found(outbox=path)
    assert findings["outbox"].info.startswith("2 wait, ")
    assert findings["sender"].info == "nobody sends what waits: cloudsignal outbox run"

    lock = tmp_path / "outbox.db-sender"
    lock.unlink()
    lock.mkdir()
    assert found(outbox=path)["sender"].info == f"{lock} cannot be opened: Is a directory"
    lock.rmdir()

    sender = claim(lock)
    file = File(path)
    file.settle([one], "refused", 1, "no")
    file.note_trouble(Trouble("it rains", 1, 1))
    findings = found(outbox=path)
    assert "it rains" in findings["outbox"].info
    assert "sender" not in findings
    assert not findings["refused"].ok
    file.pause("no such key")
    assert "PAUSED: no such key" in found(outbox=path)["outbox"].info
    file.close()
    assert sender is not None
    sender.close()

    path.write_text("no outbox" * 1000)
    path.with_name("outbox.db-wal").unlink(missing_ok=True)
    assert not found(outbox=path)["outbox"].ok


def test_an_outbox_that_cannot_be_made_is_said(
    found: Callable[..., dict[str, Finding]], tmp_path: Path
) -> None:
    assert found(outbox=tmp_path / "new.outbox")["outbox"].ok
    nowhere = found(outbox=tmp_path / "no" / "new.outbox")["outbox"]
    assert not nowhere.ok
    assert nowhere.info.endswith(f"cannot be made: make the folder {tmp_path / 'no'} first")


def test_slow_answers_are_no_difference_of_clocks() -> None:
    moment = NOW

    def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal moment
        moment += timedelta(seconds=50)
        date = moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return httpx2.Response(200 if request.method == "GET" else 401, headers={"Date": date})

    with Client(BASE, apikey=APIKEY, transport=httpx2.MockTransport(answer)) as client:
        findings = {each.what: each for each in examine(client, None, now=lambda: moment)}
    assert findings["clock"].info == "agrees with the server's"
