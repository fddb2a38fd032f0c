"""A server whose answers come too late, or never quite: nobody waits for long, and nothing is stored twice."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudsignal import AsyncClient, Client, ItemPacked, NoAnswer, Outbox
from tests.acceptance.conftest import Server, eventually, fresh
from tests.hops import Dripping, Hop, Slowness, TooLate
from tests.server.arrivals import whole_log

TIMEOUT_S = 0.3
DRIP_S = TIMEOUT_S * 2 / 3
"""So that no single wait for the next byte takes too long."""
LONG_S = 10.0
"""Many times what two tries may take, and less than one of these answers would."""
SLOW: dict[str, Slowness] = {
    "too late": TooLate(),
    "a body that drips": Dripping(DRIP_S),
    "a head that drips": Dripping(DRIP_S, head=True),
}


@pytest.fixture
def hop(server: Server) -> Iterator[Hop]:
    """The way to the server, which may be slow."""
    with Hop(server.address) as hop:
        yield hop


def packed(**fields: str) -> ItemPacked:
    return ItemPacked(item=fresh("item"), order="7", datetime="2026-01-01T00:00:00Z", **fields)


def times_stored(server: Server, signal: ItemPacked) -> int:
    with server.store() as store:
        return [each.item for each in whole_log(store)].count(signal.item)


@pytest.mark.parametrize("slow", ["too late", "a body that drips"])
def test_a_client_gives_up_in_time_and_may_send_the_same_again(
    server: Server, key: str, hop: Hop, slow: str
) -> None:
    signal = packed()
    hop.be_slow(SLOW[slow], SLOW[slow])
    with Client(hop.url, apikey=key, timeout_s=TIMEOUT_S, tries=2, sleep=lambda _: None) as client:
        began = time.monotonic()
        with pytest.raises(NoAnswer, match=r"the server was silent for 0\.3 s") as caught:
            client.send(signal)
        assert time.monotonic() - began < LONG_S
        assert caught.value.unsent == (signal,)
    eventually(lambda: times_stored(server, signal))
    with Client(hop.url, apikey=key) as client:
        receipt = client.send(signal)
    assert (receipt.accepted, receipt.duplicates) == (0, 1)
    assert times_stored(server, signal) == 1


@pytest.mark.parametrize("slow", SLOW)
def test_an_async_client_gives_up_in_time_too(
    server: Server, key: str, hop: Hop, slow: str
) -> None:
    signal = packed()
    hop.be_slow(SLOW[slow], SLOW[slow])

    async def send() -> None:
        async with AsyncClient(hop.url, apikey=key, timeout_s=TIMEOUT_S, tries=2) as client:
            began = time.monotonic()
            with pytest.raises(NoAnswer, match=r"the server was silent for 0\.3 s"):
                await client.send(signal)
            assert time.monotonic() - began < LONG_S

    asyncio.run(send())
    eventually(lambda: times_stored(server, signal))
    with Client(hop.url, apikey=key) as client:
        receipt = client.send(signal)
    assert (receipt.accepted, receipt.duplicates) == (0, 1)
    assert times_stored(server, signal) == 1


@pytest.mark.parametrize("slow", SLOW)
def test_an_outbox_sends_again_what_is_stored_once(
    server: Server, key: str, hop: Hop, slow: str, tmp_path: Path
) -> None:
    signals = [packed() for _ in range(5)]
    hop.be_slow(*[SLOW[slow]] * 3)
    with Outbox(tmp_path / "outbox.db", hop.url, apikey=key, timeout_s=TIMEOUT_S) as outbox:
        for signal in signals:
            outbox.put(signal)
        trouble = eventually(lambda: outbox.health().trouble)
        assert trouble.info == "no answer came: the server was silent for 0.3 s"

        def is_sent() -> bool:
            outbox.hurry()
            return outbox.drain(0.1) == 0

        eventually(is_sent)
        eventually(lambda: outbox.health().trouble is None)
        assert outbox.health().refused == 0
    assert hop.sent.count(signals[0].item.encode()) >= 4
    assert [times_stored(server, signal) for signal in signals] == [1] * 5
