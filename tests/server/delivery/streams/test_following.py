"""The loop that brings the log into a stream, with a stream in memory."""

import asyncio
from collections.abc import Sequence

import pytest

from cloudsignal.server.delivery.streams import following as module
from cloudsignal.server.delivery.streams.following import (
    FIRST_WAIT_S,
    NOTE_S,
    PAGE,
    POLL_S,
    WAIT_S_MAX,
    Following,
    wait_s,
)
from cloudsignal.server.delivery.streams.messages import Message
from cloudsignal.server.delivery.streams.stream import StreamUnavailable
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store
from tests.server.arrivals import positions
from tests.server.delivery.streams.follow import append, ended, eventually, following, passed

pytestmark = pytest.mark.anyio

NAME = "memory"


class Memory:
    """A stream in memory; it takes so many messages at once, and fails as often as it is told to."""

    name = NAME

    def __init__(self, *, at_once: int = 1000, failures: int = 0) -> None:
        self.held: list[int] = []
        self.ids: list[str] = []
        self.at_once = at_once
        self.failures = failures
        self.most = 0
        self.closed = 0

    async def publish(self, messages: Sequence[Message]) -> int:
        if self.failures:
            self.failures -= 1
            raise StreamUnavailable("it is away")
        self.most = max(self.most, len(messages))
        taken = messages[: self.at_once]
        self.held += [each.position for each in taken]
        self.ids += [each.id for each in taken]
        return len(taken)

    async def close(self) -> None:
        self.closed += 1


async def test_everything_comes_in_order_and_once_however_much_is_taken_at_once(
    store: Store,
) -> None:
    stream = Memory(at_once=7)
    append(store, 2 * PAGE)

    async with following(store, stream):
        await eventually(lambda: len(stream.held) == 2 * PAGE)
        last = append(store, 10, first=2 * PAGE)
        await eventually(lambda: passed(store, NAME) == last)

    assert stream.held == positions(store)
    assert stream.most == PAGE
    assert stream.closed == 1


async def test_the_ids_are_the_stores_own(store: Store) -> None:
    stream = Memory()
    append(store, 1)
    async with following(store, stream):
        await eventually(lambda: stream.ids)

    assert stream.ids[0].startswith(f"{store.identity()}-1-")


async def test_nothing_is_pruned_from_the_first_moment_on(store: Store) -> None:
    stream = Memory(failures=10**9)
    append(store, 5)

    async with following(store, stream):
        await eventually(lambda: passed(store, NAME) == 0)

    assert store.plan_prune(10**18).held_by == f"stream:{NAME}"


async def test_at_the_end_the_cursor_is_where_the_stream_is(store: Store) -> None:
    stream = Memory()
    last = append(store, 5)
    hours = Following(store, stream, asyncio.sleep, now_s=lambda: 0.0)  # So it is never due.
    task = asyncio.create_task(hours.run())
    await eventually(lambda: len(stream.held) == 5)
    assert passed(store, NAME) == 0

    await ended(task)

    assert passed(store, NAME) == last


async def test_the_cursor_moves_once_in_a_while_and_only_what_came_since_is_published_again(
    store: Store,
) -> None:
    clock = [0.0]
    waits: list[float] = []

    async def growth(timeout_s: float) -> None:
        waits.append(timeout_s)
        await asyncio.sleep(0)

    stream = Memory()
    task = asyncio.create_task(Following(store, stream, growth, now_s=lambda: clock[0]).run())
    append(store, 3)
    await eventually(lambda: len(stream.held) == 3)
    assert passed(store, NAME) == 0
    await eventually(lambda: waits[-1] == NOTE_S)
    clock[0] = NOTE_S
    await eventually(lambda: passed(store, NAME) == 3)
    await eventually(lambda: waits[-1] == POLL_S)
    append(store, 2, first=3)
    await eventually(lambda: len(stream.held) == 5)

    # As after a crash: another begins where the cursor is.
    async with following(store, stream):
        await eventually(lambda: len(stream.held) == 7)
    await ended(task)
    assert stream.held == [1, 2, 3, 4, 5, 4, 5]


async def test_it_never_gives_up_and_says_why(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    rests: list[float] = []

    async def rest(wait_s: float) -> None:
        rests.append(wait_s)
        await asyncio.sleep(0)

    caplog.set_level("INFO")
    stream = Memory(failures=12)
    last = append(store, 3)
    task = asyncio.create_task(
        Following(store, stream, asyncio.sleep, chance=lambda: 0.0, sleep=rest).run()
    )
    await eventually(lambda: stream.held == [1, 2, 3])
    await ended(task)

    assert rests[:4] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S, 8 * FIRST_WAIT_S]
    assert rests[-1] == WAIT_S_MAX
    assert passed(store, NAME) == last
    told = [(each.message, each.facts) for each in caplog.records]
    assert told[0] == ("signals cannot be published", {"stream": NAME, "why": "it is away"})
    assert told[-1] == ("signals are published again", {"stream": NAME, "position": last})


async def test_a_store_that_is_away_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the disk is gone")

    stream = Memory()
    append(store, 3)
    with monkeypatch.context() as patch:
        patch.setattr(store.reading, "signals", away)
        async with following(store, stream):
            await eventually(lambda: caplog.messages.count("signals cannot be published") == 2)
            patch.undo()
            await eventually(lambda: stream.held == [1, 2, 3])
            patch.setattr(store.cursors, "advance", away)
            append(store, 1, first=3)
            await eventually(lambda: stream.held == [1, 2, 3, 4])
    assert stream.closed == 1


async def test_a_defect_ends_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    message = module.message
    monkeypatch.setattr(module, "message", None)
    stream = Memory()
    append(store, 1)
    async with following(store, stream):
        await eventually(lambda: "defect: signals could not be published" in caplog.messages)
        monkeypatch.setattr(module, "message", message)
        await eventually(lambda: stream.held == [1])


def test_waits_grow_to_a_limit_and_chance_only_shortens_them() -> None:
    longest = [wait_s(failures, 0.0) for failures in range(1, 5000)]

    assert longest == sorted(longest)
    assert longest[0] == FIRST_WAIT_S
    assert longest[-1] == WAIT_S_MAX
    assert wait_s(3, 1.0) == longest[2] / 2
