"""Connections: who stalls is hung up on, and a request in one piece is answered in one write."""

import asyncio
import gc
import socket
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from cloudsignal.asgi import Receive, Scope, Send
from cloudsignal.protocol.http import length
from cloudsignal.server.asgi import Answer, answer
from cloudsignal.server.connections import (
    PIPELINED_MAX,
    CannotListen,
    Connection,
    bind,
)
from cloudsignal.stalled import close_stalled

pytestmark = pytest.mark.anyio


class Cycle:
    """One request, as far as uvicorn knows it."""

    def __init__(self, *, more_body: bool = False, response_complete: bool = False) -> None:
        self.more_body = more_body
        self.response_complete = response_complete


class Peer:
    """A connection, as far as uvicorn knows it."""

    def __init__(self) -> None:
        self.cycle: Cycle | None = None
        self.timeout_keep_alive_task: object | None = None
        self.transport = self
        self.closed = 0

    def close(self) -> None:
        self.closed += 1

    def silent(self) -> None:
        """Connected, and nothing came."""

    def sends_body(self) -> None:
        self.cycle, self.timeout_keep_alive_task = Cycle(more_body=True), None

    def goes_on(self) -> None:
        """Another piece of the same body."""

    def waits(self) -> None:
        """The whole request is there; the answer is not."""
        self.cycle, self.timeout_keep_alive_task = Cycle(), None

    def idles(self) -> None:
        """Answered, and waiting for the next request."""
        self.cycle, self.timeout_keep_alive_task = Cycle(response_complete=True), object()

    def begins_next(self) -> None:
        """Answered, and the first bytes of the next request's head came."""
        self.cycle, self.timeout_keep_alive_task = Cycle(response_complete=True), None


class Over(Exception):
    """There is nothing left to look at."""


class Looks:
    """The connections at each look; before it, what happened since the last."""

    def __init__(self, peers: Iterable[Peer], happenings: Iterable[Callable[[], None]]) -> None:
        self._peers = set(peers)
        self._happenings = iter(happenings)

    def __iter__(self) -> Iterator[Peer]:
        happening = next(self._happenings, None)
        if happening is None:
            raise Over
        happening()
        return iter(self._peers)


@pytest.mark.parametrize(
    ("happenings", "closed"),
    [
        ([Peer.silent], False),
        ([Peer.silent, Peer.silent], True),
        ([Peer.silent, Peer.sends_body], False),
        ([Peer.silent, Peer.idles, Peer.silent], False),
        ([Peer.sends_body, Peer.goes_on], True),
        ([Peer.sends_body, Peer.sends_body, Peer.sends_body], False),
        ([Peer.sends_body, Peer.waits, Peer.sends_body], False),
        ([Peer.waits, Peer.silent, Peer.silent], False),
        ([Peer.idles, Peer.silent, Peer.silent], False),
        ([Peer.idles, Peer.begins_next, Peer.silent], True),
        ([Peer.idles, Peer.begins_next, Peer.waits, Peer.silent], False),
    ],
    ids=lambda each: "-".join(step.__name__ for step in each) if isinstance(each, list) else "",
)
async def test_who_is_in_the_middle_of_the_same_request_at_two_looks_is_hung_up_on(
    happenings: list[Callable[[Peer], None]], closed: bool
) -> None:
    peer, other = Peer(), Peer()
    other.idles()
    looks = Looks([peer, other], [lambda step=step: step(peer) for step in happenings])

    with pytest.raises(Over):
        await close_stalled(looks, 0)  # type: ignore[arg-type]

    assert bool(peer.closed) is closed
    assert not other.closed


async def test_a_connection_that_went_away_is_forgotten() -> None:
    peer, late = Peer(), Peer()
    peers = {peer}

    class Changing(Looks):
        def __iter__(self) -> Iterator[Peer]:
            self._peers = peers
            return super().__iter__()

    looks = Changing([], [peer.silent, lambda: peers.symmetric_difference_update({peer, late})])

    with pytest.raises(Over):
        await close_stalled(looks, 0)  # type: ignore[arg-type]

    assert not peer.closed
    assert not late.closed


# ---- requests that are there in one piece ----


class Wire:
    """A transport that keeps what goes out."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.sent.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.sent

    def get_extra_info(self, name: str) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Client:
    """One end of a connection, and both parts that may answer it."""

    def __init__(self, *, takes: bool = True) -> None:
        self.wire = Wire()
        self.taken: list[tuple[bytes, Answer]] = []
        self.asked: list[bytes] = []
        self.headers: list[Any] = []
        self.refused: list[str] = []
        self._takes = takes
        config = Config(self._application, interface="asgi3", ws="none", log_config=None)
        config.load()
        self.connection = Connection(
            config=config,
            server_state=ServerState(),
            app_state={},
            refused=lambda refusal, address: self.refused.append(refusal.type),
            take=self._take,
        )
        self.connection.connection_made(self.wire)  # type: ignore[arg-type]

    def _take(self, scope: Scope, body: bytes, answer: Answer) -> bool:
        if self._takes:
            self.taken.append((body, answer))
        return self._takes

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = scope["headers"]
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        self.asked.append(body)
        await answer(scope, send, 200, [length(b"asked")], b"asked")

    async def sends(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.data_received(piece)
            await asyncio.sleep(0)
        await self.sends_nothing()

    async def sends_nothing(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    def answer(self, number: int, body: bytes) -> None:
        _, answer = self.taken[number]
        answer(200, [length(body)], body)


def request(body: bytes = b"", *, method: str = "POST", version: str = "1.1") -> bytes:
    return b"%b / HTTP/%b\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (
        method.encode(),
        version.encode(),
        len(body),
        body,
    )


def response(body: bytes, *more: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *more, b"", body]
    return b"\r\n".join(lines)


async def test_a_request_that_is_all_there_is_offered_and_answered_in_one_write() -> None:
    client = Client()

    await client.sends(request(b"post"))
    assert (client.wire.sent, client.asked) == ([], [])
    client.answer(0, b"done")

    assert [body for body, _ in client.taken] == [b"post"]
    assert client.wire.sent == [response(b"done")]


async def test_what_is_not_taken_is_the_applications_and_answered_in_one_write_too() -> None:
    client = Client(takes=False)

    await client.sends(request(b"post"), request(b"again"))

    assert client.asked == [b"post", b"again"]
    assert client.wire.sent == [response(b"asked")] * 2


@pytest.mark.parametrize("cut", [1, 20, -9, -1])
async def test_a_request_that_comes_in_pieces_is_the_applications(cut: int) -> None:
    client = Client()
    whole = request(b"0123456789")

    await client.sends(whole[:cut], whole[cut:])

    # A head in pieces makes no difference: what counts is whether the body came with its end.
    assert (client.asked == [b"0123456789"]) == (cut < 0)
    assert len(client.taken) == (cut > 0)


async def test_requests_that_come_together_are_answered_one_by_one_in_their_order() -> None:
    client = Client()

    await client.sends(request(b"1") + request(b"2") + request(b"3"))
    for number in range(3):
        assert [body for body, _ in client.taken] == [b"1", b"2", b"3"][: number + 1]
        client.answer(number, b"answer %d" % number)

    assert client.wire.sent == [response(b"answer %d" % number) for number in range(3)]


async def test_a_client_that_asks_for_it_is_hung_up_on_after_its_answer() -> None:
    client = Client()

    await client.sends(request(b"post", version="1.0"))
    client.answer(0, b"done")

    assert client.wire.sent == [response(b"done", b"connection: close"), "closed"]


async def test_the_answer_to_a_client_that_is_gone_goes_nowhere() -> None:
    client = Client()

    await client.sends(request(b"post"))
    client.connection.connection_lost(ConnectionResetError())
    client.answer(0, b"done")

    assert client.wire.sent == []


async def test_a_client_that_does_not_read_is_not_sent_more() -> None:
    client = Client()

    client.connection.pause_writing()
    await client.sends(request(b"post"))
    assert (client.taken, client.wire.sent) == ([], [])
    client.connection.resume_writing()
    await client.sends_nothing()

    assert client.asked == [b"post"]
    assert b"".join(client.wire.sent) == response(b"asked")


async def test_a_client_that_wants_the_head_only_gets_no_more() -> None:
    client = Client()

    await client.sends(request(method="HEAD"))

    assert not client.taken
    assert b"".join(client.wire.sent) == response(b"asked").removesuffix(b"asked")


async def test_who_hangs_up_is_forgotten_with_all_that_it_sent_ahead() -> None:
    client = Client()

    await client.sends(request(b"1") + request(b"2") + request(b"3"))
    client.wire.close()
    client.connection.connection_lost(None)
    client.answer(0, b"done")
    await client.sends_nothing()

    assert [body for body, _ in client.taken] == [b"1"]
    assert client.wire.sent == ["closed", "closed"]


async def test_a_closed_connection_leaves_nothing_to_be_collected() -> None:
    client = Client()
    await client.sends(request(b"post"))
    client.answer(0, b"done")
    client.taken.clear()
    client.wire.close()
    client.connection.connection_lost(ConnectionResetError())
    connection = weakref.ref(client.connection)

    gc.disable()
    try:
        del client.connection
        await client.sends_nothing()

        assert connection() is None
    finally:
        gc.enable()


async def test_what_comes_with_something_that_is_no_http_is_not_taken() -> None:
    client = Client()

    await client.sends(request(b"post") + b"\0")

    assert (client.taken, client.asked, client.refused) == ([], [], ["invalid_http"])
    assert client.wire.sent[0].startswith(b"HTTP/1.1 400 ")
    assert client.wire.sent[1:] == ["closed"]


async def test_a_post_under_way_is_answered_though_no_http_follows() -> None:
    client = Client()

    await client.sends(request(b"post"), b"\0")
    assert (client.wire.sent, client.refused) == ([], ["invalid_http"])
    client.answer(0, b"done")

    assert client.wire.sent == [response(b"done", b"connection: close"), "closed"]


async def test_only_so_many_requests_are_let_in_ahead_of_their_answers() -> None:
    client = Client()

    await client.sends(request(b"1"), request(b"2") * (PIPELINED_MAX + 2000))
    assert client.refused == ["invalid_http"]
    assert len(client.connection.pipeline) == 0
    client.answer(0, b"done")

    assert len(client.taken) == 1
    assert client.wire.sent == [response(b"done", b"connection: close"), "closed"]


async def test_what_stands_behind_a_body_is_no_header() -> None:
    client = Client()
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

    await client.sends(head, b"4\r\npost\r\n0\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")

    assert client.asked == [b"post"]
    assert client.headers == [(b"host", b"h"), (b"transfer-encoding", b"chunked")]


# ---- listening ----


def test_a_host_is_listened_to_on_every_address_it_has() -> None:
    [bound] = bind("localhost", 0)

    assert {each.getsockname()[0] for each in bound} <= {"127.0.0.1", "::1"}
    assert bound
    for each in bound:
        each.close()


def test_an_address_that_is_away_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*asked: object, **wanted: object) -> list[Any]:
        family = socket.AF_INET
        return [(family, 0, 0, "", (host, 0)) for host in ("192.0.2.1", "127.0.0.1", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", found)

    [[bound]] = bind("host", 0)

    assert bound.getsockname()[0] == "127.0.0.1"
    bound.close()


def test_a_taken_port_is_told() -> None:
    [[taken]] = bind("127.0.0.1", 0)
    taken.listen()
    port = taken.getsockname()[1]

    with pytest.raises(CannotListen, match=f"port {port} is taken by another program"):
        bind("127.0.0.1", port)

    taken.close()


def test_processes_get_sockets_of_their_own_at_the_same_port() -> None:
    sets = bind("127.0.0.1", 0, 3)

    assert len({each.getsockname() for [each] in sets}) == 1
    assert len({each.fileno() for [each] in sets}) == 3
    [_, port] = sets[0][0].getsockname()
    with pytest.raises(CannotListen, match=f"port {port} is taken"):
        bind("127.0.0.1", port, 2)
    for [each] in sets:
        each.close()
