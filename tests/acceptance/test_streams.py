"""A server that publishes its log to a real NATS, through kills."""

import asyncio
import json
import os
import signal as signals
from collections.abc import Iterator
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from tests import nats
from tests.acceptance.conftest import MakeServer, Server, eventually, signal

BUNDLE = 20


@pytest.fixture
def stream() -> Iterator[nats.Server]:
    with nats.servers() as make:
        yield make().start()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


def published(stream: nats.Server) -> list[dict[str, Any]]:
    """Every message in the stream, in its order."""

    async def read() -> list[dict[str, Any]]:
        client = Client()
        await client.connect(stream.url)
        try:
            jetstream = client.jetstream()
            count = (await jetstream.stream_info("CLOUDSIGNAL")).state.messages
            found = [await jetstream.get_msg("CLOUDSIGNAL", seq + 1) for seq in range(count)]
            return [json.loads(each.data or b"") for each in found]
        except NotFoundError:  # Nothing was published yet.
            return []
        finally:
            await client.close()

    return asyncio.run(read())


def test_what_is_acknowledged_is_published_in_its_order_whatever_is_killed(
    make_server: MakeServer, stream: nats.Server, database: str
) -> None:
    server = make_server(
        database=database, environment={"CLOUDSIGNAL_NATS_URL": stream.url}
    ).start()
    key = server.interface()
    posted: list[str] = []

    def post(server: Server) -> None:
        bundle = [signal() for _ in range(BUNDLE)]
        assert server.post({"apikey": key, "items": bundle}).status == 200
        posted.extend(each["item"] for each in bundle)

    post(server)
    eventually(server.deliverer)
    os.kill(server.deliverer(), signals.SIGKILL)
    post(server)
    eventually(server.deliverer)
    post(server)
    server.kill()
    server.start()
    post(server)

    def items() -> list[str]:
        return [each["data"]["item"] for each in published(stream)]

    eventually(lambda: len(items()) >= len(posted))
    assert items() == posted
    assert server.terminate() == 0, server.stderr


def test_a_stream_that_cannot_be_as_it_is_set_is_said_at_the_start(make_server: MakeServer) -> None:
    server = make_server(environment={"CLOUDSIGNAL_NATS_URL": "http://nats.example"})
    server.launch()

    assert server.wait() == 1
    assert "nats_url" in server.stderr
    assert "Traceback" not in server.stderr
