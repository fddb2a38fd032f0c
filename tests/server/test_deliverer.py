"""The process that tells order owners, from the side of the server."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.server import companion
from cloudsignal.server.deliverer import Bell, Deliverer
from cloudsignal.server.delivery.composing import templates
from cloudsignal.server.keys import secret_of
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.store import Store, open_store
from tests.server.store import told
from tests.server.store.contract import furnish

pytestmark = pytest.mark.anyio


class Lines:
    """A log that remembers what it is told."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def error(self, event: str, **_: Any) -> None:
        self.errors.append(event)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database=f"sqlite:///{tmp_path}/a.db", log_format="json")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with closing(open_store(settings.database)) as store:
        furnish(store)
        secret_of(settings)
        yield store


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
async def deliverer(
    settings: Settings, store: Store, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Deliverer]:
    monkeypatch.setattr(companion, "LOOK_S", 0.02)
    made = Deliverer(settings, store, lines)  # type: ignore[arg-type]
    keeping = asyncio.create_task(made.keep())
    yield made
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await made.stop()


async def eventually(check: Callable[[], Any]) -> Any:
    async with asyncio.timeout(60):
        while not (found := check()):  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.02)
    return found


def pid(deliverer: Deliverer) -> int | None:
    process = deliverer._process
    return None if process is None else process.pid


async def test_it_is_started_once_there_is_anybody_to_tell(
    deliverer: Deliverer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bool] = []
    looking = deliverer._is_needed
    monkeypatch.setattr(deliverer, "_is_needed", lambda: looked.append(looking()) or looked[-1])
    await eventually(lambda: len(looked) > 2)
    assert not any(looked)
    assert pid(deliverer) is None

    told.endpoint(store)

    await eventually(lambda: pid(deliverer))


async def test_it_is_replaced_when_it_is_killed_and_that_is_said(
    deliverer: Deliverer, store: Store, lines: Lines
) -> None:
    told.endpoint(store)
    first = await eventually(lambda: pid(deliverer))

    os.kill(first, signal.SIGKILL)

    await eventually(lambda: pid(deliverer) not in (None, first))
    assert lines.errors == ["the process that tells order owners ended; it is started again"]


async def test_one_that_fails_is_not_replaced_at_once(
    deliverer: Deliverer, store: Store, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(deliverer, "_timer", lambda: now[0])
    starting = companion.subprocess.Popen

    def fail(*_: Any, **options: Any) -> Any:
        return starting(["false"], stdin=options["stdin"])

    monkeypatch.setattr(companion.subprocess, "Popen", fail)
    told.endpoint(store)
    first = await eventually(lambda: pid(deliverer))
    await eventually(lambda: deliverer._process is None or deliverer._process.poll())
    deliverer._see_to_it()
    assert pid(deliverer) == first

    now[0] += companion.AGAIN_S

    await eventually(lambda: pid(deliverer) != first)
    assert len(lines.errors) == 1


async def test_it_ends_with_who_started_it_though_nobody_says_so(
    deliverer: Deliverer, store: Store
) -> None:
    told.endpoint(store)
    await eventually(lambda: pid(deliverer))
    process = deliverer._process
    assert process is not None

    deliverer._hang_up()  # As the system does for a process that is killed.

    assert await asyncio.to_thread(process.wait, 60) == 0


async def test_one_whose_secrets_are_others_is_disabled_and_the_process_goes_on(
    deliverer: Deliverer, store: Store
) -> None:
    made = told.endpoint(store)  # Its secrets are no sealed ones at all.

    await eventually(lambda: store.endpoints.endpoint(made.id).state == "disabled")

    assert "its secrets cannot be read" in store.endpoints.endpoint(made.id).why
    process = deliverer._process
    assert process is not None
    assert process.poll() is None


async def test_it_is_not_started_where_it_is_not_to_be(settings: Settings, store: Store) -> None:
    told.endpoint(store)
    off = Settings(database=settings.database, deliver=False)
    made = Deliverer(off, store, Lines())  # type: ignore[arg-type]

    assert not made._is_needed()
    await made.stop()


async def test_who_listens_to_the_bell_misses_nothing() -> None:
    bell = Bell()
    heard: list[int] = []
    bell.answer(lambda: heard.append(1))
    wait = bell.listener()

    bell.ring()
    await asyncio.wait_for(wait(60.0), 30)
    waiting = asyncio.create_task(wait(60.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    bell.ring()

    await asyncio.wait_for(waiting, 30)
    await wait(0.0)
    assert heard == [1, 1]


def test_shipping_options_and_addresses_are_told_apart() -> None:
    given = ("GLS=https://gls.example/?n={tracking}", "DPD=https://dpd.example/{tracking}")

    assert templates(given) == {
        "GLS": "https://gls.example/?n={tracking}",
        "DPD": "https://dpd.example/{tracking}",
    }
