"""Both clients, against a server that does what it is told."""

import asyncio
import logging
import multiprocessing
import os
import pickle
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

import cloudsignal
from cloudsignal import (
    AsyncClient,
    Client,
    InvalidSignals,
    ItemPacked,
    ItemShipped,
    KeyRefused,
    NoAnswer,
    NotNow,
    Outbox,
    Receipt,
    Refused,
    SendError,
    SetupError,
    Signal,
    StrangeAnswer,
    WrongAddress,
)
from cloudsignal.asgi import Receive, Scope
from cloudsignal.asgi import Send as AsgiSend
from cloudsignal.partner import client, errors
from cloudsignal.partner.answers import Proof
from cloudsignal.partner.keys import ApiKey
from cloudsignal.testing import (
    FakeServer,
    Fault,
    answering,
    garbage,
    hanging_up,
    silent,
    some_page,
    unavailable,
)
from cloudsignal.testing.fakes import APIKEY

BASE = "https://signals.example.com"
Send = Callable[..., Receipt]


def packed(item: str = "1", **fields: Any) -> ItemPacked:
    return ItemPacked(order="7", item=item, datetime="2026-01-01T00:00:00Z", **fields)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def waits() -> list[float]:
    """How long the client waited, had it waited."""
    return []


@pytest.fixture(params=["sync", "async"])
def send(server: FakeServer, waits: list[float], request: pytest.FixtureRequest) -> Send:
    """Send signals by a client with these options, of either kind."""

    def send_now(*signals: Signal, **options: Any) -> Receipt:
        options = {"apikey": APIKEY} | options
        with Client(BASE, transport=server.transport, sleep=waits.append, **options) as client:
            return client.send(*signals)

    def send_async(*signals: Signal, **options: Any) -> Receipt:
        async def wait(seconds: float) -> None:
            waits.append(seconds)

        async def run() -> Receipt:
            given = {"apikey": APIKEY} | options
            async with AsyncClient(BASE, transport=server.transport, sleep=wait, **given) as client:
                return await client.send(*signals)

        return asyncio.run(run())

    return send_now if request.param == "sync" else send_async


def test_a_signal_is_stored_and_its_receipt_given(send: Send, server: FakeServer) -> None:
    assert send(packed()) == Receipt(signals=1, accepted=1, duplicates=0, position=1)
    assert send(packed(), packed("2")) == Receipt(signals=2, accepted=1, duplicates=1, position=2)
    assert [each.signal for each in server.signals] == [packed(), packed("2")]
    assert server.posts == 2


def test_nothing_to_send_is_a_mistake(send: Send) -> None:
    with pytest.raises(ValueError, match="no signal"):
        send()


def test_signals_are_split_into_bundles(send: Send, server: FakeServer) -> None:
    signals = [packed(str(n)) for n in range(10)]
    assert send(*signals, bundle_max=4).accepted == 10
    assert server.posts == 3
    assert [each.signal for each in server.signals] == signals


def test_a_bundle_is_not_larger_than_a_body_may_be(send: Send, server: FakeServer) -> None:
    signals = [
        cloudsignal.ItemDelay(
            order="7", item=str(n), datetime="2026-01-01T00:00:00Z", cause="€" * 2000
        )
        for n in range(400)
    ]
    assert send(*signals).accepted == 400
    assert server.refusals == []
    assert server.posts == 3


@pytest.mark.parametrize("limit", [{"bundle_max": 3}, {"body_bytes_max": 300}])
def test_a_server_with_lower_limits_gets_smaller_bundles(limit: dict[str, int]) -> None:
    server = FakeServer(**limit)
    signals = [packed(str(n)) for n in range(10)]
    with Client(BASE, apikey=APIKEY, transport=server.transport) as client:
        assert client.send(*signals) == Receipt(10, 10, 0, 10)
    assert [each.signal for each in server.signals] == signals


@pytest.mark.parametrize(
    "fault",
    [
        hanging_up(),
        hanging_up(stores=True),
        silent(),
        unavailable(),
        answering(500),
        answering(502, "<html>Bad Gateway", content_type="text/html"),
        answering(408),
        answering(425),
        answering(429),
        some_page(),
        garbage(),
        answering(200, b'{"error": {"type": "x", "info": "y"}}'),
        answering(200, b'{"accepted": 5, "duplicates": 0, "position": 1}'),
        answering(204),
    ],
    ids=repr,
)
def test_what_may_help_is_tried_again(
    send: Send, server: FakeServer, waits: list[float], fault: Fault
) -> None:
    server.fail(fault, fault)
    receipt = send(packed())
    assert receipt.signals == 1
    assert server.posts == 3
    assert server.received() == [packed()]
    assert 0.25 <= waits[0] <= 1.0
    assert 0.5 <= waits[1] <= 1.0


def test_a_wait_is_no_shorter_than_the_server_asks_for(
    send: Send, server: FakeServer, waits: list[float]
) -> None:
    server.fail(unavailable(7), answering(503, retry_after="nonsense"), unavailable(120))
    send(packed())
    assert waits[0] == 7
    assert waits[1] <= 1.0
    assert waits[2] == 120


@pytest.mark.parametrize(("asked", "told_s"), [("121", 121), ("9" * 400, 3600)])
def test_nobody_is_kept_waiting_for_an_hour(
    send: Send, server: FakeServer, waits: list[float], asked: str, told_s: float
) -> None:
    server.fail(answering(503, retry_after=asked))
    with pytest.raises(NotNow) as caught:
        send(packed())
    assert caught.value.retry_after_s == told_s
    assert caught.value.unsent == (packed(),)
    assert waits == []


def test_a_date_to_come_back_at_is_understood(
    send: Send, server: FakeServer, waits: list[float]
) -> None:
    later = datetime.now(UTC) + timedelta(minutes=2)
    server.fail(answering(429, retry_after=later.strftime("%a, %d %b %Y %H:%M:%S GMT")))
    send(packed())
    assert 110 <= waits[0] <= 120


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (answering(400, {"error": {"type": "unknown_order", "info": "no"}}), InvalidSignals),
        (answering(413), InvalidSignals),
        (answering(401), KeyRefused),
        (answering(403), KeyRefused),
        (answering(403, {"error": {"type": "not_your_item", "info": "no"}}), InvalidSignals),
        (answering(301), WrongAddress),
        (answering(404), WrongAddress),
        (answering(405), WrongAddress),
        (answering(410), WrongAddress),
    ],
    ids=repr,
)
def test_what_would_be_refused_again_is_not_tried_again(
    send: Send, server: FakeServer, fault: Fault, kind: type[Refused]
) -> None:
    server.fail(fault)
    with pytest.raises(kind) as caught:
        send(packed())
    assert server.posts == 1
    assert caught.value.status == fault.answer[0]  # type: ignore[index]
    assert caught.value.unsent == (packed(),)


def test_the_servers_own_sentence_is_in_the_error(send: Send, server: FakeServer) -> None:
    with pytest.raises(KeyRefused, match="this apikey is not known here") as caught:
        send(packed(), apikey="f" * 32)
    assert (caught.value.status, caught.value.type) == (401, "unknown_key")


def test_an_answer_without_a_sentence_is_put_into_one(send: Send, server: FakeServer) -> None:
    server.fail_always(answering(500, "<h1>Oh\nno</h1>" * 100))
    with pytest.raises(NotNow, match=r'the server answers 500 with "<h1>Oh no</h1>') as caught:
        send(packed(), tries=1)
    assert len(str(caught.value)) < 300


def test_what_no_server_would_take_is_not_sent(send: Send, server: FakeServer) -> None:
    wrong: Any = 7
    with pytest.raises(InvalidSignals) as caught:
        send(
            packed(),
            ItemShipped(
                order="7", item=wrong, datetime="yesterday", tracking="", shipping_option="GLS"
            ),
        )
    assert [problem.at for problem in caught.value.problems] == [
        "items[1].item",
        "items[1].datetime",
        "items[1].tracking",
    ]
    assert caught.value.status is None
    assert len(caught.value.unsent) == 2
    assert server.posts == 0


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (b"7", "must be a string, not bytes"),
        (datetime(2026, 1, 1), r"must be a string, not a datetime: cloudsignal\.text_of makes"),
        ("caf\udce9", "is no text: it holds bytes that were read in the wrong encoding"),
        (object(), "must be a string, not object"),
        (7, "must be a string, not a number: put it in quotes"),
    ],
)
def test_what_would_be_sent_as_something_else_is_not_sent(
    send: Send, server: FakeServer, value: Any, sentence: str
) -> None:
    with pytest.raises(InvalidSignals, match=f"^item {sentence}"):
        send(packed(value))
    with pytest.raises(InvalidSignals, match=rf"^items\[1\](\.|: )item {sentence}") as caught:
        send(packed(), packed(value))
    assert [problem.at for problem in caught.value.problems] == ["items[1].item"]
    assert server.posts == 0


@pytest.mark.parametrize("value", [[packed()], (packed() for _ in "ab"), None, {}, ItemPacked])
def test_what_is_no_signal_is_a_mistake(send: Send, server: FakeServer, value: Any) -> None:
    with pytest.raises(TypeError, match=r"this is no signal but a .*send\(\*signals\)"):
        send(value)
    assert server.posts == 0


def test_a_client_that_is_closed_says_so(server: FakeServer, waits: list[float]) -> None:
    async def run() -> None:
        client = AsyncClient(BASE, apikey=APIKEY, transport=server.transport)
        await client.close()
        await client.send(packed())

    with pytest.raises(RuntimeError, match="this client is closed"):
        asyncio.run(run())
    with Client(BASE, apikey=APIKEY, transport=server.transport) as client:
        pass
    with pytest.raises(RuntimeError, match="this client is closed"):
        client.send(packed())


def test_the_error_tells_what_was_stored_before_it(send: Send, server: FakeServer) -> None:
    signals = [packed(str(n)) for n in range(6)]
    server.fail(
        answering(200, b'{"accepted":2,"duplicates":0,"position":2}'), *[answering(500)] * 2
    )
    with pytest.raises(NotNow) as caught:
        send(*signals, bundle_max=2, tries=2)
    assert caught.value.stored == Receipt(2, 2, 0, 2)
    assert caught.value.unsent == tuple(signals[2:])


@pytest.mark.parametrize(
    ("proof", "body", "stored"),
    [
        ("json", b"", True),
        ("json", b" \n", True),
        ("json", b"{}", True),
        ("json", b'"OK"', True),
        ("json", b"OK", False),
        ("json", b"<html>", False),
        ("json", b"\xff", False),
        ("json", b"[" * 100_000, False),
        ("receipt", b"", False),
        ("receipt", b"{}", False),
        ("receipt", b'{"accepted":1,"duplicates":0,"position":9}', True),
        ("anything", b"OK", True),
        ("anything", b"<html>", True),
    ],
)
def test_what_counts_as_a_servers_own_200(
    send: Send, server: FakeServer, proof: Proof, body: bytes, stored: bool
) -> None:
    server.fail(answering(200, body))
    if stored:
        assert send(packed(), proof=proof, tries=1).signals == 1
    else:
        with pytest.raises(StrangeAnswer, match="is not a CloudSignal server"):
            send(packed(), proof=proof, tries=1)


def test_an_answer_without_end_is_no_servers_own(send: Send, server: FakeServer) -> None:
    server.fail(answering(200, b" " * 300_000 + b"<html>Sign in"))
    with pytest.raises(StrangeAnswer):
        send(packed(), tries=1)


@pytest.mark.parametrize(
    "text", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "-5", "1e9", "\u0665"]
)
def test_a_wait_that_makes_no_sense_is_no_wait(
    send: Send, server: FakeServer, waits: list[float], text: str
) -> None:
    server.fail(answering(503, retry_after=text))
    send(packed())
    assert 0.25 <= waits[0] <= 0.5


def test_a_server_that_gives_no_receipt_leaves_it_open(send: Send, server: FakeServer) -> None:
    server.fail(answering(200))
    assert send(packed()) == Receipt(signals=1)


# ---- the key -------------------------------------------------------------------------------------


def test_the_key_is_in_nothing_that_is_shown(
    send: Send, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = Client(BASE, apikey=APIKEY, transport=server.transport)
    server.fail(answering(500, APIKEY * 3))
    server.fail_always(hanging_up())
    with pytest.raises(SendError) as caught:
        send(packed(), tries=2)
    lines = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = [*lines.format(), caplog.text, repr(client), str(vars(client)), repr(caught.value)]
    assert caught.value.__context__ is None
    # In the frame of this test's own function it may be: that one was given the key.
    assert not [line for line in shown if APIKEY in line and "test_client.py" not in line]
    client.close()


@pytest.mark.parametrize("kind", [Client, AsyncClient, partial(Outbox, "outbox.db")])
@pytest.mark.parametrize(
    ("base_url", "options"),
    [
        ("nonsense", {"apikey": APIKEY}),
        (BASE, {"apikey": APIKEY, "tries": 0}),
        (BASE, {"apikey": f"{APIKEY} {APIKEY}"}),
        (BASE, {"apikey_file": "nowhere"}),
    ],
)
def test_the_key_is_not_seen_where_nothing_could_be_made_with_it(
    kind: Any,
    base_url: str,
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOUDSIGNAL_APIKEY", APIKEY)
    with pytest.raises(SetupError) as caught:
        kind(base_url, **options)
    assert caught.value.__context__ is None
    assert caught.value.__traceback__ is not None
    # Without this test's own frame, which was given the key.
    calls = caught.value.__traceback__.tb_next
    lines = traceback.TracebackException(SetupError, caught.value, calls, capture_locals=True)
    assert not [line for line in lines.format() if APIKEY in line]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_key_is_not_seen_where_a_call_is_interrupted(server: FakeServer, kind: str) -> None:
    def interrupt(_: Any) -> Any:
        raise KeyboardInterrupt

    transport = httpx2.MockTransport(interrupt)

    def send_now() -> None:
        with Client(BASE, apikey=APIKEY, transport=transport) as client:
            client.send(packed())

    async def send_async() -> None:
        async with AsyncClient(BASE, apikey=APIKEY, transport=transport) as client:
            await client.send(packed())

    with pytest.raises(KeyboardInterrupt) as caught:
        send_now() if kind == "sync" else asyncio.run(send_async())
    lines = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert not [line for line in lines.format() if APIKEY in line]


@pytest.mark.parametrize("key", ["a", "1", "e"])
def test_a_key_of_a_letter_spoils_no_receipt(key: str) -> None:
    server = FakeServer(apikeys=[key])
    with Client(BASE, apikey=key, transport=server.transport, tries=1) as client:
        assert client.send(packed()) == Receipt(1, 1, 0, 1)


def test_a_key_is_not_stored() -> None:
    assert repr(ApiKey(APIKEY)) == "ApiKey(…)"
    with pytest.raises(TypeError):
        pickle.dumps(ApiKey(APIKEY))


def test_the_key_comes_from_where_it_is_said(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key_of(**options: Any) -> str:
        with Client(BASE, transport=server.transport, **options) as client:
            client.send(packed(str(server.posts)))
        return server.signals[-1].apikey

    server.apikeys = {"a" * 32, "b" * 32, "c" * 32, "d" * 32}
    (tmp_path / "b").write_text("b" * 32 + "\r\n")
    (tmp_path / "d").write_text("d" * 32)
    monkeypatch.setenv("CLOUDSIGNAL_APIKEY_FILE", str(tmp_path / "d"))
    assert key_of() == "d" * 32
    monkeypatch.setenv("CLOUDSIGNAL_APIKEY", "c" * 32)
    assert key_of() == "c" * 32
    assert key_of(apikey_file=tmp_path / "b") == "b" * 32
    assert key_of(apikey_file=tmp_path / "b", apikey="a" * 32) == "a" * 32
    assert key_of(apikey=ApiKey("a" * 32)) == "a" * 32


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "set CLOUDSIGNAL_APIKEY"),
        ({"apikey": ""}, "the apikey is empty"),
        ({"apikey": "a b"}, "this is no apikey"),
        ({"apikey": "a" * 600}, "this is no apikey"),
        ({"apikey_file": "/nowhere/key"}, "cannot be read from /nowhere/key: No such file"),
        ({"apikey": "a", "proof": "hope"}, "proof must be one of receipt, json, anything"),
        ({"apikey": "a", "tries": 0}, "greater than 0"),
        ({"apikey": "a", "timeout_s": -1}, "greater than 0"),
    ],
)
def test_what_cannot_be_used_is_said(options: Any, sentence: str) -> None:
    with pytest.raises(SetupError, match=sentence):
        Client(BASE, **options)


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "nonsense:::"),
        ("ALL_PROXY", "foo://127.0.0.1"),
        ("SSL_CERT_FILE", "/nowhere/authorities.pem"),
        ("SSL_CERT_FILE", __file__),
    ],
)
def test_an_environment_that_cannot_be_used_is_said(
    client: Any, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SetupError, match=f"{variable}"):
        client(BASE, apikey=APIKEY)


def test_authorities_are_read_once_and_only_for_https(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    make = httpx2.create_ssl_context
    monkeypatch.setattr(httpx2, "create_ssl_context", lambda: read.append("") or make())
    client._authorities.cache_clear()
    for base_url in ("http://127.0.0.1:1", BASE, BASE):
        Client(base_url, apikey=APIKEY).close()
        AsyncClient(base_url, apikey=APIKEY)
        assert len(read) == (base_url == BASE)
    client._authorities.cache_clear()


# ---- the address ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "endpoint"),
    [
        (BASE, f"{BASE}/cloudsignal/2.0/status/"),
        (f" {BASE}/ ", f"{BASE}/cloudsignal/2.0/status/"),
        (f"{BASE}/cloudsignal/2.0/status", f"{BASE}/cloudsignal/2.0/status/"),
        (f"{BASE}/cloudsignal/2.0/status/", f"{BASE}/cloudsignal/2.0/status/"),
        (f"{BASE}:8443/plant/one", f"{BASE}:8443/plant/one/cloudsignal/2.0/status/"),
        ("http://[::1]:8000", "http://[::1]:8000/cloudsignal/2.0/status/"),
        ("https://user:pass@example.com", "https://example.com/cloudsignal/2.0/status/"),
    ],
)
def test_a_base_url_is_written_as_people_write_it(base_url: str, endpoint: str) -> None:
    with Client(base_url, apikey="a") as client:
        assert client.address.endpoint == endpoint
        assert "pass" not in repr(client) + repr(client.address)


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "signals.example.com",
        "ftp://example.com",
        "https://",
        "https://[::1",
        f"{BASE}?a=b",
        "https://signals..example.com",
        f"https://{'a' * 64}.example.com",
        f"{BASE}:65536",
        f"{BASE}:0",
    ],
)
def test_what_is_no_base_url_is_said(base_url: str) -> None:
    with pytest.raises(SetupError, match=r"https://signals\.example\.com"):
        Client(base_url, apikey="a")


def test_user_and_password_in_the_address_become_basic_auth() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200)

    transport = httpx2.MockTransport(answer)
    with Client("https://me:it%40s@example.com", apikey="a", transport=transport) as client:
        client.send(packed())
    assert seen[0].headers["authorization"] == "Basic bWU6aXRAcw=="
    assert seen[0].headers["user-agent"] == f"cloudsignal/{cloudsignal.__version__}"


# ---- over a wire ---------------------------------------------------------------------------------


@pytest.fixture
def listening() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


def test_a_silent_server_is_given_up(listening: FakeServer) -> None:
    listening.fail_always(silent())
    with (
        Client(listening.url, apikey=APIKEY, timeout_s=0.2, tries=1) as client,
        pytest.raises(NoAnswer, match=r"silent for 0\.2 s"),
    ):
        client.send(packed())


def test_a_server_that_hangs_up_is_asked_again(listening: FakeServer) -> None:
    listening.fail(hanging_up(), hanging_up(stores=True))
    waits: list[float] = []
    with Client(listening.url, apikey=APIKEY, sleep=waits.append) as client:
        assert client.send(packed()) == Receipt(1, 0, 1, 1)
    assert len(waits) == 2


class Counting(FakeServer):
    """Knows the other ends of the connections that posts came on."""

    def __init__(self) -> None:
        super().__init__()
        self.callers: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        self.callers.append(scope["client"])
        await super().__call__(scope, receive, send)


def test_a_forked_child_has_connections_of_its_own() -> None:
    # On one they would share, each could read what the other was answered.
    with Counting() as server, Client(server.url, apikey=APIKEY) as client:
        client.send(packed("parent"))

        def child() -> None:
            with client:
                stored = client.send(packed("child"))
                client.send(packed("child again"))
            os._exit(stored.signals)

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join(60)
        assert process.exitcode == 1
        client.send(packed("after"))
    parent, childs, again, after = server.callers
    assert parent == after
    assert childs == again != parent


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_closed_port_is_said_whatever_went_wrong_before(kind: Any) -> None:
    base = "http://127.0.0.1:1"

    async def send_async() -> None:
        async with AsyncClient(base, apikey=APIKEY, tries=1) as client:
            await client.send(packed())

    def send() -> None:
        with Client(base, apikey=APIKEY, tries=1) as client:
            client.send(packed())

    try:
        Path("/nowhere").stat()
    except FileNotFoundError:
        with pytest.raises(NoAnswer, match=r"it cannot be reached: Connection refused$"):
            send() if kind is Client else asyncio.run(send_async())


def test_a_server_without_tls_is_said(listening: FakeServer) -> None:
    base = listening.url.replace("http:", "https:")
    with (
        Client(base, apikey=APIKEY, tries=1) as client,
        pytest.raises(NoAnswer, match=r"it cannot be reached: \[SSL"),
    ):
        client.send(packed())


# ---- names and times -----------------------------------------------------------------------------


def test_the_public_names_are_those_that_type_checkers_see() -> None:
    source = Path(cloudsignal.__file__).read_text()
    seen = [line.rpartition(" as ")[2] for line in source.splitlines() if " as " in line]
    assert ["__version__", *sorted(seen)] == cloudsignal.__all__
    for name in seen:
        assert getattr(cloudsignal, name).__doc__
    assert set(cloudsignal.__all__) <= set(dir(cloudsignal))
    with pytest.raises(AttributeError):
        _ = cloudsignal.Nothing  # type: ignore[attr-defined]


def test_the_tree_of_errors_is_drawn_whole() -> None:
    def below(kind: type[Exception]) -> Iterator[str]:
        yield kind.__name__
        for child in kind.__subclasses__():
            yield from below(child)

    drawn = [line.strip(" │├└─").split(" ")[0] for line in (errors.__doc__ or "").splitlines()[2:]]
    assert [name for name in drawn if name] == list(below(errors.CloudSignalError))


def test_times_are_told_with_their_zone() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert cloudsignal.text_of(moment) == "2026-01-02T03:04:05+02:00"
    with pytest.raises(ValueError, match="no time zone"):
        cloudsignal.text_of(datetime(2026, 1, 2))
    told = datetime.fromisoformat(cloudsignal.now())
    assert abs(datetime.now(UTC) - told) < timedelta(minutes=1)
