"""The log as server-sent events."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.protocol import wire
from cloudsignal.protocol.signals import ItemRegistered
from cloudsignal.server import clock
from cloudsignal.server.api.routes import event
from cloudsignal.server.events import PAGE, Followers, Full
from cloudsignal.server.live import Live, NoMore
from cloudsignal.server.store.log import Arrival
from cloudsignal.server.store.store import Store, open_store
from tests.acceptance.conftest import MakeServer, Server, eventually, signal

LIVE = "/api/v1/signals/live"


class Following:
    """A client that follows the log."""

    def __init__(self, server: Server, query: str = "", **headers: str) -> None:
        self._client = server.http()
        bearer = {"Authorization": f"Bearer {server.token()}"}
        self._client.request("GET", LIVE + query, headers=bearer | headers)
        self.response = self._client.getresponse()

    def close(self) -> None:
        """Hang up."""
        self.response.close()
        self._client.close()

    def begin(self) -> "Following":
        """Wait for the sign that it follows."""
        assert self.response.status == 200
        assert self.response.readline().startswith(b":")
        assert self.response.readline() == b"\n"
        return self

    def next(self) -> dict[str, str]:
        """The next event."""
        fields: dict[str, str] = {}
        while line := self.response.readline().decode():
            if line == "\n" and fields:
                return fields
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                fields[name] = value
        raise EOFError


@contextmanager
def following(server: Server, query: str = "", **headers: str) -> Iterator[Following]:
    client = Following(server, query, **headers)
    try:
        yield client
    finally:
        client.close()


def post(server: Server, key: str) -> int:
    """Have a signal accepted; its position."""
    answer = server.post({"apikey": key, **signal()})
    assert answer.status == 200, answer
    return int(answer.json["position"])


# ---- as a client sees it ----


def test_events_are_the_signals_of_the_log(server: Server, key: str) -> None:
    post(server, key)
    with following(server) as client:
        assert client.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert client.response.headers["cache-control"] == "no-store"
        client.begin()
        position = post(server, key)

        got = client.next()

    (logged,) = server.get(f"/api/v1/signals?after={position - 1}&limit=1").json["signals"]
    assert got["event"] == "signal"
    assert got["id"] == str(position)
    assert json.loads(got["data"]) == logged
    assert key not in got["data"]


@pytest.mark.parametrize(
    ("query", "header"), [("?after={}", None), ("", "{}"), ("?after=0", "{}")], ids=str
)
def test_following_goes_on_behind_the_last_event(
    server: Server, key: str, query: str, header: str | None
) -> None:
    positions = [post(server, key) for _ in range(4)]
    seen = positions[1]
    headers = {"Last-Event-ID": header.format(seen)} if header else {}
    with following(server, query.format(seen), **headers) as client:
        client.begin()
        got = [int(client.next()["id"]) for _ in range(2)]
        positions.append(post(server, key))
        got.append(int(client.next()["id"]))
    assert got == positions[2:]


def test_a_bad_position_is_400(server: Server) -> None:
    for query, headers in (("?after=x", {}), ("", {"Last-Event-ID": "x"}), ("?after=-1", {})):
        with following(server, query, **headers) as client:
            assert client.response.status == 400


def test_one_who_hangs_up_makes_room_at_once(make_server: MakeServer) -> None:
    server = make_server("--events-max", "1").start()
    with following(server) as client:
        client.begin()
        with following(server) as other:
            told = json.loads(other.response.read())
            assert (other.response.status, told["status"]) == (503, 503)
            assert int(other.response.headers["retry-after"]) > 0
            assert "page by page" in told["detail"]

    def is_let_in() -> bool:
        with following(server) as another:
            return another.response.status == 200

    eventually(is_let_in, deadline_s=2)


def test_stopping_the_server_ends_the_stream(make_server: MakeServer) -> None:
    server = make_server().start()
    with following(server) as client:
        client.begin()
        began = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - began < 5
        assert client.response.read() == b""  # ended, and not broken off


def test_one_who_does_not_read_keeps_no_server_from_stopping(make_server: MakeServer) -> None:
    server = make_server("--shutdown-s", "1").start()
    key = server.interface()
    for _ in range(12):
        assert server.post({"apikey": key, **signal(padding="x" * 900_000)}).status == 200
    request = (
        f"GET {LIVE}?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token()}\r\n"
    )
    with server.connect() as connection:
        connection.sendall(f"{request}\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 200"

        assert server.terminate(deadline_s=10) == 0

    assert "Traceback" not in server.stderr


def test_many_follow_at_the_same_time(server: Server, key: str) -> None:
    clients = [Following(server).begin() for _ in range(20)]
    positions = [post(server, key) for _ in range(5)]
    for client in clients:
        assert [int(client.next()["id"]) for _ in positions] == positions
        client.close()


# ---- from the inside ----


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db")
    opened.access.create_partner("Printer", now=clock.now())
    yield opened
    opened.close()


def append(store: Store, count: int, padding: str = "") -> None:
    """Write that many signals."""
    first = store.reading.last_position()
    reports = []
    for number in range(first, first + count):
        made = ItemRegistered(order="1", item=str(number), datetime="2016-01-20 13:00:00 GMT")
        members = json.loads(wire.encode("", made)) | {"padding": padding}
        reports += wire.validate(wire.decode(json.dumps(members).encode()), zone=UTC)
    store.append([Arrival(1, 1, False, clock.now(), reports)])


class Counted:
    """A store that counts how often its log is read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reading = self
        self.reads = 0

    def signals(self, **how: Any) -> Any:
        self.reads += 1
        return self._store.reading.signals(**how)


async def allowed() -> None:
    """The token is as good as before."""


async def never() -> Any:
    """What a client says that stays."""
    await asyncio.Event().wait()


def following_all(followers: Followers) -> Live:
    """A response that follows the log from its beginning."""
    return Live(followers, lambda: followers.follow(0, event), allowed)


def test_one_who_does_not_read_holds_one_page(store: Store) -> None:
    append(store, 5 * PAGE, padding="x" * 1000)
    counted = Counted(store)

    async def followed() -> list[bytes]:
        sent: list[bytes] = []

        async def send(message: Any) -> None:
            if message.get("body", b"").startswith(b"id"):
                sent.append(message["body"])
                await asyncio.Event().wait()

        live = following_all(Followers(counted, most=1))  # type: ignore[arg-type]
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await live({}, never, send)
        return sent

    (page,) = asyncio.run(followed())
    assert counted.reads == 1
    assert 64_000 < len(page) < 100_000


def test_those_who_stand_at_the_same_place_share_a_reading(store: Store) -> None:
    append(store, 10)
    counted = Counted(store)
    followers = Followers(counted, most=100)  # type: ignore[arg-type]

    async def first_page() -> bytes:
        async for page in followers.follow(0, event):
            if page:
                return page
        raise EOFError

    async def together() -> list[bytes]:
        return await asyncio.gather(*(first_page() for _ in range(50)))

    assert len(set(asyncio.run(together()))) == 1
    assert counted.reads == 1


def test_no_signal_is_slept_through(store: Store) -> None:
    followers = Followers(store, most=1)

    async def followed() -> int:
        seen = 0
        writing = asyncio.create_task(write())
        async with asyncio.timeout(10):  # one that is slept through would come after 15 s
            async for page in followers.follow(0, event):
                seen += page.count(b"id: ")
                if seen == 200:
                    break
        await writing
        return seen

    async def write() -> None:
        for _ in range(200):
            await asyncio.to_thread(append, store, 1)
            followers.wake()

    assert asyncio.run(followed()) == 200


def test_a_place_is_free_again_however_following_ended(store: Store) -> None:
    async def followed() -> None:
        followers = Followers(store, most=1)
        live = following_all(followers)
        received = iter([{"type": "http.request"}, {"type": "http.disconnect"}])

        async def receive() -> Any:
            await asyncio.sleep(0)
            return next(received)

        async def send(message: Any) -> None:
            if message.get("more_body"):
                await asyncio.Event().wait()

        async def broken(message: Any) -> None:
            raise RuntimeError("the connection broke")

        await live({}, receive, send)
        assert followers.count == 0
        with pytest.raises(ExceptionGroup):
            await live({}, never, broken)
        assert followers.count == 0
        task = asyncio.create_task(live({}, never, send))
        await asyncio.sleep(0.05)
        assert followers.is_full
        with pytest.raises(Full):
            await live({}, never, send)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert followers.count == 0

    asyncio.run(followed())


def test_a_token_that_was_revoked_follows_no_further(store: Store) -> None:
    async def refused() -> None:
        raise NoMore

    async def followed() -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        followers = Followers(store, most=1)
        append(store, 1)
        async with asyncio.timeout(5):
            await Live(followers, lambda: followers.follow(0, event), refused, recheck_s=-1)(
                {}, never, send
            )
        return sent

    start, end = asyncio.run(followed())
    assert start["status"] == 200
    assert end == {"type": "http.response.body", "body": b""}
