"""One webhook posted: what receivers may do to it, and where it never goes. On real sockets."""

import asyncio
import gzip
import logging
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from cloudsignal.server.addresses import network
from cloudsignal.server.delivery import dialing
from cloudsignal.server.delivery.dialing import (
    ANSWER_BYTES_MAX,
    ANSWER_HEADERS_MAX,
    HEADER_CHARS_MAX,
    Attempt,
    Dialer,
)
from cloudsignal.server.delivery.targets import Rules
from tests.server.clock import Clock
from tests.server.delivery.receivers import OK, Receiver, Request, Talk, answers, says

pytestmark = pytest.mark.anyio

BODY = b'{"apikey":"zqkey","type":"ItemPacked"}'
HERE = Rules((network("127.0.0.1/32"),), http=True)
SHORT_S = 0.3
"""For what is to run out of time, and takes no other end."""


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


class Names:
    """A name server: what each name means, one answer after the other, the last for ever."""

    def __init__(self, **known: Sequence[Sequence[str]]) -> None:
        self._known = {name.replace("_", "."): list(found) for name, found in known.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        found = self._known.get(host.removesuffix("."))
        if found is None:
            raise OSError(-2, "Name or service not known")
        return found.pop(0) if len(found) > 1 else found[0]


HOME = {"owner_example": [["127.0.0.1"]]}


@asynccontextmanager
async def posting(rules: Rules = HERE, **options: Any) -> AsyncIterator[Any]:
    async with Dialer(rules, **options) as dialer:

        async def post(url: str) -> Attempt:
            return await dialer.post(url, BODY, {"webhook-id": "msg_1"})

        yield post


async def posted(talk: Talk, **options: Any) -> Attempt:
    """What becomes of one post to a receiver that does this."""
    async with Receiver(talk) as receiver, posting(**options) as post:
        attempt: Attempt = await post(receiver.url())
        # Whatever there was more of, nobody waits for it.
        if not attempt.is_delivered:
            assert attempt.error
        return attempt


async def for_ever() -> None:
    """Until the test is over."""
    await asyncio.Event().wait()


# ---- what is sent ----


async def test_the_body_goes_out_as_it_is() -> None:
    async with Receiver(says(OK)) as receiver, posting(lookup=Names(**HOME)) as post:
        attempt = await post(receiver.url("owner.example", path="/a%20b?c=d"))
    (request,) = receiver.requests
    assert request.line == "POST /a%20b?c=d HTTP/1.1"
    assert request.body == BODY
    assert request.headers["host"] == f"owner.example:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "msg_1"
    assert request.headers["user-agent"].startswith("cloudsignal/")
    assert request.headers["accept-encoding"] == "identity"
    assert "authorization" not in request.headers
    assert attempt.status == 200
    assert attempt.body == b"ok"
    assert attempt.headers == (("content-length", "2"),)
    assert attempt.address == "127.0.0.1"
    assert attempt.is_delivered


async def test_user_and_password_go_out_as_basic_auth_only() -> None:
    async with Receiver(says(OK)) as receiver, posting() as post:
        await post(receiver.url(user="us%40er:word@"))
    (request,) = receiver.requests
    assert request.headers["authorization"] == f"Basic {b64encode(b'us@er:word').decode()}"
    assert "word" not in request.line + request.headers["host"]


async def test_connections_are_kept_for_the_next_posts() -> None:
    async with Receiver(says(OK)) as receiver, posting() as post:
        attempts = [await post(receiver.url()) for _ in range(5)]
    assert [each.number for each in receiver.requests] == [1, 2, 3, 4, 5]
    assert {(each.status, each.address) for each in attempts} == {(200, "127.0.0.1")}


async def test_there_are_no_more_connections_to_a_host_than_the_limit() -> None:
    all_in = asyncio.Event()
    arrived = 0

    async def talk(_: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == 2:
            all_in.set()
        await all_in.wait()
        writer.write(OK)

    async with Receiver(talk) as receiver, posting(connections_per_host_max=2) as post:
        attempts = await asyncio.gather(*(post(receiver.url()) for _ in range(9)))
    assert all(each.is_delivered for each in attempts)
    assert receiver.connected_max == 2


async def test_cookies_are_neither_kept_nor_shown() -> None:
    talk = answers(200, "set-cookie: zqcookie=1; Path=/")
    async with Receiver(talk) as receiver, posting(lookup=Names(**HOME)) as post:
        attempts = [await post(receiver.url("owner.example")) for _ in range(2)]
    assert not any("cookie" in each.headers for each in receiver.requests)
    assert "zqcookie" not in repr(attempts)


async def test_proxies_of_the_environment_are_not_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with Receiver(says(OK)) as receiver, Receiver(says(OK)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url(path=""))
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        async with posting() as post:
            assert (await post(receiver.url())).is_delivered
    assert proxy.connections == 0
    assert "authorization" not in receiver.requests[0].headers


# ---- what is answered ----


@pytest.mark.parametrize("status", [200, 204])
async def test_two_answers_are_success(status: int) -> None:
    attempt = await posted(answers(status))
    assert (attempt.status, attempt.error) == (status, "")
    assert attempt.is_delivered
    assert not attempt.is_gone


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (201, "only 200 and 204"),
        (202, "only 200 and 204"),
        (206, "only 200 and 204"),
        (300, "not followed"),
        (305, "not followed"),
        (400, "it answered 400"),
        (401, "it answered 401"),
        (410, "wants no more"),
        (429, "it answered 429"),
        (500, "it answered 500"),
        (503, "it answered 503"),
        (999, "it answered 999"),
    ],
)
async def test_every_other_answer_is_a_failure(status: int, told: str) -> None:
    attempt = await posted(answers(status, body=b"because"))
    assert attempt.status == status
    assert told in attempt.error
    assert not attempt.is_delivered
    assert attempt.is_gone is (status == 410)
    assert attempt.body == b"because"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_nobody_is_asked_there(status: int) -> None:
    async with Receiver(says(OK)) as private:
        location = f"location: http://zquser:zqword@localhost:{private.port}/in?zqtoken=1"
        attempt = await posted(answers(status, location))
        assert private.connections == 0
    assert attempt.status == status
    assert "not followed" in attempt.error
    assert dict(attempt.headers)["location"] == f"http://localhost:{private.port}/in?…"


@pytest.mark.parametrize(
    ("header", "asked_s"),
    [
        ("retry-after: 120", 120),
        ("Retry-After: Thu, 01 Jan 1970 00:17:40 GMT", 60),
        ("retry-after: 99999999999", 24 * 3600),
        ("retry-after: soon", 0),
        ("x-other: 1", 0),
    ],
)
async def test_retry_after_is_read(header: str, asked_s: float) -> None:
    attempt = await posted(answers(429, header), now=Clock())
    assert attempt.retry_after_s == asked_s


async def test_it_tells_how_long_it_took() -> None:
    times = iter([10.0, 12.5])
    attempt = await posted(says(OK), timer=lambda: next(times))
    assert attempt.took_s == 2.5


async def test_of_a_long_head_the_beginning_is_kept() -> None:
    lines = [f"x-{number}: {'ü' * 500}" for number in range(90)]
    attempt = await posted(answers(500, *lines))
    assert len(attempt.headers) == ANSWER_HEADERS_MAX
    assert attempt.headers[1] == ("x-0", "ü" * HEADER_CHARS_MAX)


async def test_bytes_that_are_no_text_stay_harmless() -> None:
    attempt = await posted(
        says(b"HTTP/1.1 500 \xff\r\nx: \xff\xfe\r\ncontent-length: 1\r\n\r\n\xff")
    )
    assert dict(attempt.headers)["x"].encode() == "\ufffd\ufffd".encode()
    assert attempt.body == b"\xff"


# ---- hostile receivers ----


async def silent(request: Request, _: asyncio.StreamWriter) -> None:
    await request.more.read()


async def drips_its_head(_: Request, writer: asyncio.StreamWriter) -> None:
    for byte in OK.replace(b"\r\n\r\n", b"\r\nx: " + b"y" * 10_000):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(SHORT_S / 50)


async def says_continue_for_ever(_: Request, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 10)
        await writer.drain()
        await asyncio.sleep(0)


@pytest.mark.parametrize("talk", [silent, drips_its_head, says_continue_for_ever])
async def test_who_takes_too_long_is_left(talk: Talk) -> None:
    async with Receiver(talk) as receiver, posting(timeout_s=SHORT_S) as post:
        attempt = await post(receiver.url())
        await receiver.all_gone.wait()
    assert attempt.status is None
    assert attempt.error == "127.0.0.1 did not answer within 0.3 s"
    assert attempt.address == "127.0.0.1"
    assert attempt.took_s > SHORT_S / 2  # The loop's clock is not the timer's.


@pytest.mark.parametrize("head", ["content-length: 1000", "transfer-encoding: chunked"])
@pytest.mark.parametrize("status", [200, 500])
async def test_the_head_decides_though_the_body_never_ends(status: int, head: str) -> None:
    async def talk(_: Request, writer: asyncio.StreamWriter) -> None:
        beginning = b"slow" if "length" in head else b"4\r\nslow\r\n"
        writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n\r\n".encode() + beginning)
        await for_ever()

    attempt = await posted(talk, timeout_s=SHORT_S)
    assert (attempt.status, attempt.body) == (status, b"slow")
    assert attempt.is_delivered is (status == 200)


@pytest.mark.parametrize(
    "head", ["content-length: 1073741824", "transfer-encoding: chunked", "connection: close"]
)
async def test_of_a_gigabyte_the_first_bytes_are_read(head: str) -> None:
    sent = 0

    async def talk(_: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        part = b"x" * 65_536
        for _ in range(1 << 14):
            writer.write(b"10000\r\n%s\r\n" % part if "chunked" in head else part)
            await writer.drain()
            sent += len(part)

    async with Receiver(talk) as receiver, posting() as post:
        attempt = await post(receiver.url())
        await receiver.all_gone.wait()
    assert attempt.is_delivered
    assert attempt.body == b"x" * ANSWER_BYTES_MAX
    assert sent < 64 << 20, "the rest was taken too"


async def test_an_answer_without_end_serves_no_second_post() -> None:
    talk = answers(200, body=b"x" * 1_000_000)
    async with Receiver(talk) as receiver, posting() as post:
        attempts = [await post(receiver.url()) for _ in range(3)]
    assert {each.body for each in attempts} == {b"x" * ANSWER_BYTES_MAX}
    assert [each.number for each in receiver.requests] == [1, 1, 1]


async def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 10_000_000)
    attempt = await posted(answers(200, "content-encoding: gzip", body=bomb))
    assert attempt.is_delivered
    assert attempt.body == bomb[:ANSWER_BYTES_MAX]


@pytest.mark.parametrize("line", [b"x: y\r\n", b"x: " + b"y" * 60_000, b"x" * 60_000])
async def test_a_head_without_end_is_not_read(line: bytes) -> None:
    async def talk(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(line * 100)
            await writer.drain()

    attempt = await posted(talk)
    assert attempt.status is None
    assert attempt.error == "what 127.0.0.1 answers is not HTTP"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 100,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 two OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok",
        b"+OK\r\n",
        b"<html>",
    ],
)
async def test_garbage_is_told(garbage: bytes) -> None:
    attempt = await posted(says(garbage))
    assert attempt.status is None
    assert attempt.error == "what 127.0.0.1 answers is not HTTP"
    assert attempt.address == "127.0.0.1"


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\nconte"])
async def test_a_line_that_is_cut_before_the_answer_is_a_failure(beginning: bytes) -> None:
    async def talk(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        writer.close()
        await for_ever()

    attempt = await posted(talk)
    assert attempt.status is None
    assert attempt.error == "127.0.0.1 cut the line before it answered"


@pytest.mark.parametrize("head", ["content-length: 100", "transfer-encoding: chunked"])
async def test_a_line_that_is_cut_after_the_head_is_an_answer(head: str) -> None:
    async def talk(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        writer.close()
        await for_ever()

    assert (await posted(talk)).is_delivered


async def test_a_line_that_is_cut_when_it_is_used_again_is_nobodys_failure() -> None:
    async def talk(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.number == 2:
            writer.transport.abort()
        else:
            writer.write(OK)

    async with Receiver(talk) as receiver, posting() as post:
        attempts = [await post(receiver.url()) for _ in range(4)]
    assert all(each.is_delivered for each in attempts)
    assert [each.number for each in receiver.requests] == [1, 2, 1, 2, 1, 2, 1]


async def test_nobody_listens() -> None:
    async with Receiver(says(OK)) as receiver:
        url = receiver.url()
    async with posting() as post:
        attempt = await post(url)
    assert attempt.error == "127.0.0.1 cannot be reached: Connection refused"
    assert attempt.address == "127.0.0.1"


async def test_a_post_that_is_given_up_hangs_up() -> None:
    arrived = asyncio.Event()

    async def talk(request: Request, _: asyncio.StreamWriter) -> None:
        arrived.set()
        await request.more.read()

    async with Receiver(talk) as receiver, posting() as post:
        task = asyncio.create_task(post(receiver.url()))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await receiver.all_gone.wait()


async def test_the_slow_hold_up_nobody() -> None:
    async with Receiver(silent) as slow, Receiver(says(OK)) as fast, posting() as post:
        waiting = [asyncio.create_task(post(slow.url())) for _ in range(20)]
        assert all([(await post(fast.url())).is_delivered for _ in range(20)])
        assert not any(each.done() for each in waiting)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


# ---- where it never goes ----


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::1]",
        "0",
        "[::]",
        "１２７.0.0.1",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "localhost",
        "LocalHost",
    ],
)
async def test_this_machine_is_refused_however_it_is_written(host: str) -> None:
    async with Receiver(says(OK)) as receiver, posting(Rules(http=True)) as post:
        attempt = await post(receiver.url(host))
    assert receiver.connections == 0
    assert attempt.status is None
    assert "webhook_networks" in attempt.error
    assert attempt.address == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]", "127.0.0.1."])
async def test_an_allowed_address_is_dialled_however_it_is_written(host: str) -> None:
    async with Receiver(says(OK)) as receiver, posting() as post:
        attempt = await post(receiver.url(host))
    assert attempt.is_delivered
    assert attempt.address in ("127.0.0.1", "::ffff:127.0.0.1")


async def test_unencrypted_only_when_it_is_allowed() -> None:
    async with Receiver(says(OK)) as receiver, posting(Rules(HERE.networks)) as post:
        attempt = await post(receiver.url())
    assert receiver.connections == 0
    assert "webhook_http" in attempt.error


async def test_the_address_that_was_checked_is_the_one_dialled() -> None:
    names = Names(owner_example=[["127.0.0.1"], ["127.0.0.2"]])
    talk = answers(200, "connection: close")
    async with Receiver(talk) as receiver, posting(lookup=names, names_known_s=0) as post:
        first, second = [await post(receiver.url("owner.example")) for _ in range(2)]
    assert names.asked == ["owner.example"] * 2
    assert (first.status, first.address) == (200, "127.0.0.1")
    assert (second.status, second.address) == (None, "")
    assert "the address of owner.example is loopback" in second.error
    assert receiver.connections == 1


async def test_of_several_addresses_only_those_that_may_be_are_dialled() -> None:
    names = Names(owner_example=[["10.0.0.1", "::1", "127.0.0.1", "169.254.169.254"]])
    async with Receiver(says(OK)) as receiver, posting(lookup=names) as post:
        attempt = await post(receiver.url("owner.example"))
    assert (attempt.status, attempt.address) == (200, "127.0.0.1")


@pytest.mark.parametrize(
    "found", [["10.0.0.1"], ["::ffff:10.0.0.1"], ["fd00::1", "10.0.0.1"], ["64:ff9b::a00:1"]]
)
async def test_a_name_that_leads_inside_is_refused(found: list[str]) -> None:
    async with posting(lookup=Names(owner_example=[found])) as post:
        attempt = await post("https://owner.example/")
    assert "the address of owner.example is private" in attempt.error
    assert "10.0.0.1" not in attempt.error, "tells what the operator's names mean"
    assert attempt.address == ""


async def test_an_address_that_came_past_the_resolver_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def resolve(self: object, host: str, port: int, family: int) -> list[dict[str, Any]]:
        found = {"hostname": host, "host": "127.0.0.1", "port": port}
        return [found | {"family": family, "proto": 0, "flags": 0}]

    monkeypatch.setattr(dialing._Names, "resolve", resolve)
    async with Receiver(says(OK)) as receiver, posting(Rules(http=True)) as post:
        attempt = await post(receiver.url("owner.example"))
    assert receiver.connections == 0
    assert "loopback" in attempt.error


@pytest.mark.parametrize("found", [None, [[]]])
async def test_a_name_that_leads_nowhere_is_told(found: Any) -> None:
    names = Names(**({} if found is None else {"owner_example": found}))
    async with posting(lookup=names) as post:
        attempt = await post("https://owner.example/")
    assert attempt.status is None
    assert "owner.example" in attempt.error


async def test_a_silent_name_server_takes_no_more_time_than_there_is() -> None:
    async def lookup(host: str) -> Sequence[str]:
        await for_ever()
        return []

    async with posting(lookup=lookup, timeout_s=SHORT_S) as post:
        attempt = await post("https://owner.example/")
    assert attempt.error == "owner.example did not answer within 0.3 s"


# ---- TLS ----


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ssl.SSLContext:
    """What a receiver listens with, whose authority the system trusts."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


async def test_the_name_is_kept_for_tls(trusted: ssl.SSLContext, authority: trustme.CA) -> None:
    authority.issue_cert("owner.example").configure_cert(trusted)
    asked: list[str] = []
    trusted.sni_callback = lambda _, name, __: asked.append(name)
    async with Receiver(says(OK), trusted) as receiver, posting(lookup=Names(**HOME)) as post:
        attempt = await post(receiver.url("owner.example"))
    assert attempt.is_delivered, attempt.error
    assert attempt.address == "127.0.0.1"
    assert asked == ["owner.example"]
    assert receiver.requests[0].headers["host"] == f"owner.example:{receiver.port}"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("authority", "unable to get local issuer certificate"),
        ("host", "not valid for 'owner.example'"),
        ("expired", "certificate has expired"),
    ],
)
async def test_nothing_is_said_to_who_shows_a_wrong_certificate(
    trusted: ssl.SSLContext, authority: trustme.CA, wrong: str, told: str
) -> None:
    issuer = trustme.CA() if wrong == "authority" else authority
    yesterday = datetime.now(UTC) - timedelta(days=1)
    issuer.issue_cert(
        "other.example" if wrong == "host" else "owner.example",
        not_before=yesterday - timedelta(days=1),
        not_after=yesterday if wrong == "expired" else yesterday + timedelta(days=9),
    ).configure_cert(trusted)
    async with Receiver(says(OK), trusted) as receiver, posting(lookup=Names(**HOME)) as post:
        attempt = await post(receiver.url("owner.example"))
    assert receiver.requests == []
    assert attempt.status is None
    assert told in attempt.error
    assert "SSL_CERT_FILE" in attempt.error


async def test_who_does_not_speak_tls_is_told_nothing() -> None:
    hello = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    async with (
        Receiver(silent, greeting=hello) as receiver,
        posting(lookup=Names(**HOME)) as post,
    ):
        attempt = await post(receiver.url("owner.example").replace("http:", "https:"))
    assert attempt.status is None
    assert "owner.example does not speak TLS" in attempt.error
    assert receiver.requests == []


# ---- what is never shown ----


@pytest.mark.parametrize(
    ("host", "talk"),
    [
        ("127.0.0.1", says(OK)),
        ("127.0.0.1", answers(500)),
        ("127.0.0.1", says(b"garbage\r\n\r\n")),
        ("127.0.0.1", silent),
        ("127.0.0.2", says(OK)),
        ("unknown.example", says(OK)),
        ("a..b", says(OK)),
        ("owner.example:x", says(OK)),
    ],
)
async def test_secrets_of_the_url_and_the_body_are_in_no_attempt_and_no_log(
    host: str, talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Receiver(talk) as receiver, posting(lookup=Names(), timeout_s=SHORT_S) as post:
        attempt = await post(
            receiver.url(host, user="zquser:zqword@", path="/hook?zqtoken=1#zqpart")
        )
    assert "zq" not in repr(attempt) + str(attempt) + caplog.text
