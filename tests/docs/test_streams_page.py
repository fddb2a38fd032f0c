"""What docs/streams.md shows is what comes, and the consumer takes it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from cloudsignal.server.delivery.streams.messages import message
from cloudsignal.server.delivery.streams.nats import NatsStream, subject
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.store import Store, open_store
from tests.docs.pages import DOCS, blocks, text
from tests.nats import servers
from tests.server.arrivals import arrival, report, whole_log
from tests.server.store.contract import furnish

PAGE = DOCS / "streams.md"
SHIPPED = report(
    "ItemShipped",
    order="123456780000",
    item="123456780001",
    minute=59,
    tracking="1A2B3C4D5E6F",
    shipping_option="GLS",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path / 'store.db'}")) as store:
        furnish(store)
        store.append([arrival(report(order="123456780000", item="123456780001")), arrival(SHIPPED)])
        yield store


def block(language: str) -> str:
    [found] = [each.text for each in blocks(PAGE) if each.language == language]
    return found


def test_the_message_of_the_page_is_what_comes(store: Store) -> None:
    shown: dict[str, Any] = json.loads(block("json"))
    _, position, received = shown["id"].split("-")
    logged = structs.replace(
        whole_log(store)[1],
        position=int(position),
        received=int(received),
        partner_name="Press & Sons",
    )

    made = message(shown["source"].rpartition("/")[2], logged)

    assert json.loads(made.encoded()) == shown
    assert f"`{subject('cloudsignal', made)}`" in text(PAGE)


def test_the_consumer_takes_what_is_published(store: Store) -> None:
    with servers() as make:
        server = make().start()

        async def publish() -> None:
            stream = NatsStream(Settings(nats_url=server.url))
            waiting = [message(store.identity(), each) for each in whole_log(store)]
            while waiting:
                waiting = waiting[await stream.publish(waiting) :]
            await stream.close()

        asyncio.run(publish())
        with subprocess.Popen(
            [sys.executable, "-c", block("python")],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"NATS_URL": server.url},
        ) as consumer:
            assert consumer.stdout is not None
            try:
                assert consumer.stdout.readline() == "123456780000 123456780001 1A2B3C4D5E6F\n"
            finally:
                consumer.kill()
