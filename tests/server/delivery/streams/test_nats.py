"""The log in a stream of a real NATS, which is killed, refuses, or is not there."""

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
import trustme
from nats.aio.client import Client
from nats.js import errors
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.client import JetStreamContext

from cloudsignal.server.delivery.streams import running
from cloudsignal.server.delivery.streams.messages import CONTENT_TYPE, Message, message
from cloudsignal.server.delivery.streams.nats import (
    UNANSWERED_MAX,
    NatsStream,
    covers,
    servers_of,
    token,
)
from cloudsignal.server.delivery.streams.stream import StreamUnavailable
from cloudsignal.server.settings import Settings, SettingsError
from cloudsignal.server.store.store import Store, open_store
from cloudsignal.server.views import signal_view
from tests.nats import Make, Server, cluster, servers
from tests.server.arrivals import appending, arrival, positions, report, whole_log
from tests.server.delivery.streams.follow import (
    append,
    ended,
    eventually,
    following,
    growth,
    nth,
    passed,
)
from tests.server.store.contract import furnish

pytestmark = pytest.mark.anyio

STREAM = "CLOUDSIGNAL"


@pytest.fixture
def make() -> Iterator[Make]:
    with servers() as make:
        yield make


@pytest.fixture
def server(make: Make) -> Server:
    return make().start()


def settings(server: Server, **more: Any) -> Settings:
    return Settings(**{"nats_url": server.url} | more)


@asynccontextmanager
async def connected(server: Server, **options: Any) -> AsyncIterator[JetStreamContext]:
    """JetStream as an operator or a consumer uses it."""
    client = Client()
    await client.connect(server.url, **options)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def held(jetstream: JetStreamContext, stream: str = STREAM) -> list[Any]:
    """Every message of the stream, in its order."""
    count = (await jetstream.stream_info(stream)).state.messages
    unacknowledged = ConsumerConfig(ack_policy=AckPolicy.NONE)
    reading = await jetstream.pull_subscribe(">", stream=stream, config=unacknowledged)
    found: list[Any] = []
    while len(found) < count:
        found += await reading.fetch(500, timeout=10)
    return found


async def published(server: Server) -> list[int]:
    """The positions of the signals in the stream, in its order."""
    async with connected(server) as jetstream:
        return [position(each.data) for each in await held(jetstream)]


def position(data: bytes) -> int:
    return int(msgspec.json.decode(data)["data"]["position"])


async def all_published(store: Store) -> None:
    last = store.reading.last_position()
    await eventually(lambda: passed(store) == last)


def messages(store: Store) -> list[Message]:
    return [message(store.identity(), each) for each in whole_log(store)]


async def refused(stream: NatsStream, store: Store) -> str:
    """What is said when nothing can be published."""
    append(store, 1)
    with pytest.raises(StreamUnavailable) as caught:
        await stream.publish(messages(store))
    await stream.close()
    return str(caught.value)


# ---- what is published ----


async def test_messages_are_as_documented(store: Store, server: Server) -> None:
    append(store, 1)
    store.append([arrival(report("ItemShipped", item="x"), partner=2, test=True)])
    async with following(store, NatsStream(settings(server))):
        await all_published(store)

    async with connected(server) as jetstream:
        first, second = await held(jetstream)
        config = (await jetstream.stream_info(STREAM)).config

    assert config.subjects == ["cloudsignal.>"]
    assert config.duplicate_window == 300
    assert first.subject == "cloudsignal.Alpha.ItemRegistered"
    assert second.subject == "cloudsignal.Beta.ItemShipped"
    assert first.headers["content-type"] == CONTENT_TYPE == "application/cloudevents+json"
    for sent, logged in zip((first, second), whole_log(store), strict=True):
        assert sent.data == message(store.identity(), logged).encoded()
        event = msgspec.json.decode(sent.data)
        assert event["id"] == sent.headers["Nats-Msg-Id"]
        assert event["data"] == msgspec.to_builtins(
            msgspec.json.decode(msgspec.json.encode(signal_view(logged)))
        )


@pytest.mark.parametrize(
    "name", ["Press & Sons", "a.b", "*", ">", "$JS", "100 %", "Ünïcode.de", "🖨" * 255, "a\\b~"]
)
async def test_any_name_of_a_print_partner_is_one_token_and_can_be_read_back(
    store: Store, server: Server, name: str
) -> None:
    partner = store.access.create_partner(name, now=1)
    interface = store.access.create_interface(
        partner, "d", timezone="UTC", allow=(), test=False, now=1
    )
    store.append([arrival(partner=partner.id, interface=interface.id)])

    async with following(store, NatsStream(settings(server))):
        await all_published(store)

    async with connected(server) as jetstream:
        [sent] = await held(jetstream)
    assert sent.subject == f"cloudsignal.{token(name)}.ItemRegistered"
    _, partner_token, _ = sent.subject.split(".")
    assert unquote(partner_token) == name


@pytest.mark.parametrize("limited", ["server", "stream"])
async def test_a_signal_that_is_too_large_comes_without_its_body(
    store: Store, make: Make, limited: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = make(config="max_payload: 8192" if limited == "server" else "").start()
    if limited == "stream":
        async with connected(server) as jetstream:
            await jetstream.add_stream(name=STREAM, subjects=["cloudsignal.>"], max_msg_size=8192)
    append(store, 1)
    store.append([nth(1, comment="x" * 20_000)])
    append(store, 1, first=2)

    async with following(store, NatsStream(settings(server))):
        await all_published(store)

    async with connected(server) as jetstream:
        first, second, third = [msgspec.json.decode(each.data) for each in await held(jetstream)]
    assert second["bodyleftout"] is True
    assert second["data"]["body"] is None
    assert "bodyleftout" not in first
    assert third["data"]["position"] == 3
    [told] = [each for each in caplog.records if each.message.startswith("a signal is published")]
    assert told.facts["position"] == 2  # type: ignore[attr-defined]


async def test_a_server_that_takes_next_to_nothing_is_told_of(store: Store, make: Make) -> None:
    server = make(config="max_payload: 1200").start()

    said = await refused(NatsStream(settings(server)), store)

    assert "position 1" in said
    assert "raise max_payload" in said


# ---- repeats and order ----


async def test_what_is_published_again_after_a_crash_is_there_once(
    store: Store, server: Server
) -> None:
    append(store, 1000)
    stream = NatsStream(settings(server))
    waiting = messages(store)
    while waiting:  # And the cursor never learns of it.
        waiting = waiting[await stream.publish(waiting) :]
    await stream.close()
    last = append(store, 500, first=1000)

    async with following(store, NatsStream(settings(server))):
        await all_published(store)

    assert passed(store) == last
    assert await published(server) == positions(store)


async def test_two_who_follow_at_once_publish_everything_once_and_in_order(
    store: Store, server: Server
) -> None:
    append(store, 1500)
    async with (
        following(store, NatsStream(settings(server))),
        following(store, NatsStream(settings(server))),
    ):
        await all_published(store)

    assert await published(server) == positions(store)


async def test_two_stores_may_publish_to_one_nats(
    store: Store, tmp_path: Path, server: Server
) -> None:
    with closing(open_store(f"sqlite:///{tmp_path / 'other.db'}")) as other:
        furnish(other)
        append(store, 400)
        append(other, 400)
        second = settings(server, nats_stream="SECOND", nats_subject="second.cloudsignal")
        async with (
            following(store, NatsStream(settings(server))),
            following(other, NatsStream(second)),
        ):
            await all_published(store)
            await all_published(other)

        async with connected(server) as jetstream:
            found = await held(jetstream, "SECOND")
            assert {each.subject for each in found} == {"second.cloudsignal.Alpha.ItemRegistered"}
            assert [position(each.data) for each in found] == positions(other)
            assert len(await held(jetstream)) == 400


async def test_two_stores_may_share_a_stream(store: Store, tmp_path: Path, server: Server) -> None:
    with closing(open_store(f"sqlite:///{tmp_path / 'other.db'}")) as other:
        furnish(other)
        append(store, 1000)
        append(other, 1000)
        async with (
            following(store, NatsStream(settings(server))),
            following(other, NatsStream(settings(server))),
        ):
            await all_published(store)
            await all_published(other)
        async with connected(server) as jetstream:
            found = [msgspec.json.decode(each.data) for each in await held(jetstream)]
        for each in (store, other):
            source = f"/cloudsignal/{each.identity()}"
            mine = [event["data"]["position"] for event in found if event["source"] == source]
            assert mine == positions(each)


async def test_others_may_publish_into_the_same_stream(store: Store, server: Server) -> None:
    append(store, 1500)
    async with connected(server) as jetstream:
        await jetstream.add_stream(name=STREAM, subjects=["cloudsignal.>", "others"])

        enough = asyncio.Event()

        async def disturb() -> None:
            while not enough.is_set():
                await jetstream.publish("others", b"{}")

        async with asyncio.TaskGroup() as group, following(store, NatsStream(settings(server))):
            group.create_task(disturb())
            await all_published(store)
            enough.set()
        found = [each for each in await held(jetstream) if each.subject != "others"]

    assert [position(each.data) for each in found] == positions(store)


async def test_what_is_lost_on_the_way_leaves_nothing_behind_it_in_its_place(
    store: Store, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(7)
    publish = Client.publish

    async def losing(self: Client, subject: str, *words: Any, **named: Any) -> None:
        if not subject.startswith("cloudsignal.") or chance.random() > 0.01:
            await publish(self, subject, *words, **named)

    monkeypatch.setattr(Client, "publish", losing)
    monkeypatch.setattr("cloudsignal.server.delivery.streams.nats.ANSWER_S", 0.1)
    append(store, 2000)
    async with following(store, NatsStream(settings(server))):
        await all_published(store)

    assert await published(server) == positions(store)


async def test_no_more_than_so_many_wait_for_an_answer(
    store: Store, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    unanswered: list[int] = []
    publish = Client.publish

    async def counting(self: Client, *words: Any, **named: Any) -> None:
        unanswered.append(len(stream._connection._unanswered) if stream._connection else 0)
        await publish(self, *words, **named)

    append(store, 3000)
    stream = NatsStream(settings(server))
    monkeypatch.setattr(Client, "publish", counting)
    everything = waiting = messages(store)  # All at once: it takes what it can.
    while waiting:
        waiting = waiting[await stream.publish(waiting) :]
    await stream.close()

    assert max(unanswered) == UNANSWERED_MAX
    assert len(await published(server)) == len(everything)


async def test_it_ends_when_it_is_cancelled_while_it_sends(
    store: Store, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = asyncio.Event()

    async def sticking(*_: Any, **__: Any) -> None:
        stuck.set()
        with suppress(asyncio.CancelledError):  # As the library does.
            await asyncio.Event().wait()

    append(store, 1)
    stream = NatsStream(settings(server))
    async with following(store, stream):
        await all_published(store)
        monkeypatch.setattr(Client, "publish", sticking)
        append(store, 1, first=1)
        await stuck.wait()

    assert passed(store) == 1


# ---- what can be wrong with NATS ----


async def test_a_killed_server_loses_nothing_under_load(store: Store, server: Server) -> None:
    with appending(store, nth):
        async with following(store, NatsStream(settings(server))):
            for _ in range(3):
                reached = passed(store) + 100
                await eventually(lambda reached=reached: passed(store) > reached)
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(server.start)
            reached = store.reading.last_position()
            await eventually(lambda: passed(store) > reached)
    async with following(store, NatsStream(settings(server))):
        await all_published(store)

    assert await published(server) == positions(store)


async def test_it_waits_for_a_server_that_is_not_there_yet(
    store: Store, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server = make()
    append(store, 3)
    async with following(store, NatsStream(settings(server))):
        await eventually(lambda: "signals cannot be published" in caplog.messages)
        await asyncio.to_thread(server.start)
        await all_published(store)

    assert await published(server) == positions(store)
    assert f"NATS cannot be used at {server.address}" in caplog.records[0].facts["why"]  # type: ignore[attr-defined]


@pytest.mark.slow
async def test_a_cluster_that_loses_its_leader_loses_nothing(store: Store, make: Make) -> None:
    nodes = await asyncio.to_thread(cluster, make)
    urls = ",".join(node.url for node in nodes)
    chosen = Settings(nats_url=urls, nats_replicas=3)
    with appending(store, nth):
        async with following(store, NatsStream(chosen)):
            await eventually(lambda: passed(store) > 100)
            async with connected(nodes[0]) as jetstream:
                told = (await jetstream.stream_info(STREAM)).cluster
            assert told is not None
            assert told.leader is not None
            leader = nodes[int(told.leader.rpartition("-")[2])]
            await asyncio.to_thread(leader.stop)
            reached = store.reading.last_position()
            await eventually(lambda: passed(store) > reached)
    async with following(store, NatsStream(chosen)):
        await all_published(store)

    [one, _] = [node for node in nodes if node is not leader]
    assert await published(one) == positions(store)


USERS = 'authorization { users = [{user: "me@home", password: "p/w"}] }'


async def test_it_says_who_it_is(store: Store, make: Make) -> None:
    server = make(config=USERS).start()
    append(store, 1)
    chosen = Settings(nats_url=f"nats://me%40home:p%2Fw@{server.address}")
    async with following(store, NatsStream(chosen)):
        await all_published(store)


async def test_it_may_have_a_token(store: Store, make: Make) -> None:
    server = make(config='authorization { token: "s3cr3t" }').start()
    append(store, 1)
    chosen = Settings(nats_url=f"nats://s3cr3t@{server.address}")
    async with following(store, NatsStream(chosen)):
        await all_published(store)


@pytest.mark.parametrize("who", ["", "me%40home:wrong-one@", "t0ken@"])
async def test_a_wrong_password_is_told_of_and_never_shown(
    store: Store, make: Make, who: str
) -> None:
    server = make(config=USERS).start()

    said = await refused(NatsStream(Settings(nats_url=f"nats://{who}{server.address}")), store)

    assert f"NATS at {server.address} refuses who we say we are" in said
    assert "wrong-one" not in said
    assert "t0ken" not in said


async def test_a_user_who_may_not_publish_is_told_of(
    store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudsignal.server.delivery.streams.nats.ANSWER_S", 0.5)
    users = '[{user: u, password: p, permissions: {publish: {deny: "cloudsignal.>"}}}]'
    server = make(config=f"authorization {{ users = {users} }}").start()
    stream = NatsStream(Settings(nats_url=f"nats://u:p@{server.address}"))

    said = await refused(stream, store)

    assert "permissions violation" in said.lower()


async def test_jetstream_that_is_not_enabled_is_told_of(store: Store, make: Make) -> None:
    server = make(jetstream=False).start()

    said = await refused(NatsStream(settings(server)), store)

    assert "it is not enabled there" in said


async def test_a_stream_with_other_subjects_is_told_of_and_left_alone(
    store: Store, server: Server
) -> None:
    async with connected(server) as jetstream:
        await jetstream.add_stream(name=STREAM, subjects=["orders.>", "cloudsignal.Alpha.*"])

        said = await refused(NatsStream(settings(server)), store)

        assert (await jetstream.stream_info(STREAM)).state.messages == 0
    assert "takes orders.>, cloudsignal.Alpha.*, but not cloudsignal.*.*" in said


async def test_a_stream_that_acknowledges_nothing_is_told_of(store: Store, server: Server) -> None:
    async with connected(server) as jetstream:
        await jetstream.add_stream(name=STREAM, subjects=["cloudsignal.>"], no_ack=True)

    assert "acknowledges nothing" in await refused(NatsStream(settings(server)), store)


async def test_subjects_that_another_stream_has_are_told_of(store: Store, server: Server) -> None:
    async with connected(server) as jetstream:
        await jetstream.add_stream(name="OTHER", subjects=["cloudsignal.>"])

    said = await refused(NatsStream(settings(server)), store)

    assert said == "NATS refuses the stream CLOUDSIGNAL: subjects overlap with an existing stream"


async def test_more_replicas_than_there_are_servers_are_told_of(
    store: Store, server: Server
) -> None:
    said = await refused(NatsStream(settings(server, nats_replicas=3)), store)

    assert "replicas > 1 not supported in non-clustered mode" in said


async def test_a_stream_that_is_there_is_used_as_it_is(store: Store, server: Server) -> None:
    append(store, 3)
    async with connected(server) as jetstream:
        await jetstream.add_stream(name="mine", subjects=["cloudsignal.*.*"], max_age=3600)
        async with following(store, NatsStream(settings(server, nats_stream="mine"))):
            await all_published(store)
        assert (await jetstream.stream_info("mine")).config.max_age == 3600
        assert len(await held(jetstream, "mine")) == 3
        with pytest.raises(errors.NotFoundError):
            await jetstream.stream_info(STREAM)


async def test_a_full_stream_is_told_of(store: Store, server: Server) -> None:
    async with connected(server) as jetstream:
        await jetstream.add_stream(
            name=STREAM, subjects=["cloudsignal.>"], max_msgs=1, discard="new"
        )
    append(store, 2)
    stream = NatsStream(settings(server))
    assert await stream.publish(messages(store)) == 1
    with pytest.raises(StreamUnavailable, match="maximum messages exceeded"):
        await stream.publish(messages(store)[1:])
    await stream.close()


async def test_a_stream_that_is_deleted_is_made_again(store: Store, server: Server) -> None:
    append(store, 1)
    async with following(store, NatsStream(settings(server))), connected(server) as jetstream:
        await all_published(store)
        await jetstream.delete_stream(STREAM)
        append(store, 1, first=1)
        await all_published(store)
        assert [position(each.data) for each in await held(jetstream)] == [2]


# ---- encryption ----


class Authority:
    """Certificates as a platform's own NATS has them."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(folder / "key.pem")
        issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        self.config = f'tls {{ cert_file: "{folder}/cert.pem", key_file: "{folder}/key.pem" }}'


async def test_a_connection_may_be_encrypted(store: Store, make: Make, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = make(config=authority.config).start()
    append(store, 1)
    chosen = Settings(nats_url=f"tls://{server.address}", nats_ca_file=str(authority.ca))
    async with following(store, NatsStream(chosen)):
        await all_published(store)


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    store: Store, make: Make, tmp_path: Path
) -> None:
    server = make(config=Authority(tmp_path).config).start()

    said = await refused(NatsStream(Settings(nats_url=f"tls://{server.address}")), store)

    assert "certificate verify failed" in said


async def test_no_password_is_sent_where_tls_is_asked_for_and_not_offered(
    store: Store, make: Make
) -> None:
    server = make("-DV", config=USERS).start()

    said = await refused(NatsStream(Settings(nats_url=f"tls://u:pw@{server.address}")), store)

    assert "does not offer TLS" in said
    assert '"user"' not in server.log()
    assert "[CONNECT" not in server.log()


# ---- settings ----


async def test_without_a_url_there_is_nothing_to_run(store: Store) -> None:
    await running.run(Settings(), store, lambda: growth)

    assert store.cursors.positions() == {}


async def test_what_is_set_runs_until_it_is_cancelled(store: Store, server: Server) -> None:
    last = append(store, 3)
    task = asyncio.create_task(running.run(settings(server), store, lambda: growth))
    await eventually(lambda: passed(store) == last)
    await ended(task)

    assert task.cancelled()


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:4222", "http://a", "nats://", "nats://s3cr3t@", "nats://a:x", "nats://a:0", ","],
)
def test_a_url_that_is_none_is_told_of_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsError, match="write nats://HOST:4222") as caught:
        running.streams_of(Settings(nats_url=url))
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("url", ["nats://a,tls://b", "nats://me:x@a,nats://b"])
def test_servers_of_one_nats_are_reached_in_one_way(url: str) -> None:
    with pytest.raises(SettingsError, match="the same scheme"):
        running.streams_of(Settings(nats_url=url))


def test_files_that_are_not_what_they_must_be_are_told_of(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("no credentials")
    for name in ("nats_credentials_file", "nats_ca_file"):
        for file in (other, tmp_path / "missing"):
            chosen = Settings(nats_url="nats://a", **{name: str(file)})
            with pytest.raises(SettingsError, match=f"the setting {name} is not what it must be"):
                running.streams_of(chosen)


def test_without_the_library_one_is_told_what_to_install() -> None:
    program = (
        "import sys; sys.modules['nats'] = None\n"
        "from cloudsignal.server.delivery.streams import running\n"
        "from cloudsignal.server.settings import Settings, SettingsError\n"
        "assert running.streams_of(Settings()) == []\n"
        "try: running.streams_of(Settings(nats_url='nats://a'))\n"
        "except SettingsError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert "pip install 'cloudsignal[server,nats]' brings it" in done.stdout, done.stderr


def test_the_servers_show_no_password() -> None:
    found = servers_of("nats://me:s3cr3t@a,nats://me:s3cr3t@[::1]:5")

    assert found.password == "s3cr3t"
    assert str(found) == "a, [::1]:5"
    assert repr(found) == "Servers('a, [::1]:5')"


@pytest.mark.parametrize(
    ("pattern", "does"),
    [
        ("cloudsignal.>", True),
        (">", True),
        ("*.*.*", True),
        ("cloudsignal.*.*", True),
        ("cloudsignal.*.>", True),
        ("*.>", True),
        ("cloudsignal.*", False),
        ("cloudsignal.*.*.>", False),
        ("cloudsignal.a.*", False),
        ("cloudsignal", False),
        ("orders.>", False),
    ],
)
def test_a_pattern_covers_subjects(pattern: str, does: bool) -> None:
    assert covers(pattern, "cloudsignal.*.*") is does
