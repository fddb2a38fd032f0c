"""Posts on their way to the disk, through a real writer process."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from cloudsignal.protocol.refusals import RETRY_AFTER_S, Refusal
from cloudsignal.protocol.wire import Receipt
from cloudsignal.server import group_commit, writer
from cloudsignal.server.group_commit import GroupCommit
from cloudsignal.server.store.log import Arrival
from cloudsignal.server.store.store import Store, open_store
from cloudsignal.server.writer import Task
from tests.server.arrivals import arrival, report
from tests.server.store.contract import furnish

pytestmark = pytest.mark.anyio

QUEUE_MAX = 50


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{path}")) as store:
        furnish(store)
        yield store


class Watched:
    """A GroupCommit, and what it told of itself."""

    def __init__(self, path: Path, **limits: int) -> None:
        self.groups: list[tuple[int, int]] = []
        self.failures: list[str] = []
        limits = {"queue_max": QUEUE_MAX, "queue_bytes_max": 1 << 20, "group_max": 40} | limits
        task = Task(f"sqlite:///{path}", limits.pop("group_max"))
        self.commit = GroupCommit(task, watch=self._watch, failed=self.failures.append, **limits)

    def _watch(
        self, arrivals: Sequence[Arrival], receipts: Sequence[Receipt | None], seconds: float
    ) -> None:
        assert seconds >= 0
        written = sum(each is not None for each in receipts)
        if arrivals:
            self.groups.append((len(arrivals), written))


@pytest.fixture
async def watched(store: Store, path: Path) -> AsyncIterator[Watched]:
    watched = Watched(path)
    await watched.commit.start()
    yield watched
    await watched.commit.stop()


class Held:
    """Keeps the store to itself, so that the writer has to wait."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)

    def __enter__(self) -> "Held":
        self._connection.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.close()


async def refused(future: "asyncio.Future[Receipt]") -> Refusal:
    with pytest.raises(Refusal) as caught:
        await asyncio.wait_for(future, 30)
    return caught.value


async def until(commit: GroupCommit, *, is_up: bool) -> None:
    async with asyncio.timeout(30):
        while commit.is_up is not is_up:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.001)


def items(store: Store) -> list[str]:
    return [each.item for each in store.reading.signals(after=0, limit=1000)]


async def test_posts_of_one_moment_share_one_commit(watched: Watched, store: Store) -> None:
    names = [str(number) for number in range(30)]

    receipts = await asyncio.gather(
        *(watched.commit.append(arrival(report(item=n))) for n in names)
    )

    assert watched.groups == [(30, 30)]
    assert items(store) == names
    assert [each.position for each in receipts] == list(range(1, 31))


async def test_posts_that_come_during_a_commit_share_the_next(
    watched: Watched, store: Store, path: Path
) -> None:
    with Held(path):
        futures = []
        for number in range(12):
            futures.append(watched.commit.append(arrival(report(item=str(number)))))
            await asyncio.sleep(0)
    await asyncio.gather(*futures)

    # One group that was being written, one of all that came meanwhile.
    assert len(watched.groups) <= 2
    assert items(store) == [str(number) for number in range(12)]


async def test_a_group_has_a_limit_and_a_larger_post_stands_alone(store: Store, path: Path) -> None:
    watched = Watched(path, group_max=3)
    await watched.commit.start()
    bundle = arrival(*(report(item=f"b{number}") for number in range(5)))
    posts = [*(arrival(report(item=f"a{number}")) for number in range(4)), bundle, arrival()]

    await asyncio.gather(*(watched.commit.append(post) for post in posts))
    await watched.commit.stop()

    assert watched.groups == [(3, 3), (1, 1), (1, 1), (1, 1)]


async def test_every_post_gets_its_own_answer(watched: Watched) -> None:
    posts = [
        arrival(report(item="1")),
        arrival(report(item="1", minute=1), partner=2),
        arrival(report(item="1"), report(item="2")),
        arrival(report(item="2"), partner=2),
    ]

    first, foreign, mixed, other = (watched.commit.append(post) for post in posts)

    assert await first == Receipt(1, 0, 1)
    assert (await refused(foreign)).type == "not_your_item"
    assert (await mixed).accepted == (await mixed).duplicates == 1
    assert (await refused(other)).status == 403
    assert watched.failures == []


@pytest.mark.parametrize(
    "limits", [{"queue_max": 10}, {"queue_bytes_max": 10 * len(report().body)}], ids=str
)
async def test_a_full_queue_says_so_and_has_room_again_later(
    store: Store, path: Path, limits: dict[str, int]
) -> None:
    watched = Watched(path, **limits)
    await watched.commit.start()
    bundle = arrival(*(report(item=str(number)) for number in range(9)))
    with Held(path):
        waiting = [watched.commit.append(bundle), watched.commit.append(arrival(report(item="9")))]
        for late in (arrival(report(item="x")), bundle):
            with pytest.raises(Refusal) as caught:
                watched.commit.append(late)
            assert (caught.value.type, caught.value.status) == ("overloaded", 503)
            assert caught.value.retry_after_s == RETRY_AFTER_S
        assert watched.commit.waiting == 10

    await asyncio.gather(*waiting)
    assert watched.commit.waiting == 0
    assert (await watched.commit.append(arrival(report(item="x")))).accepted == 1
    await watched.commit.stop()


async def test_a_sender_that_hung_up_harms_nobody(
    watched: Watched, store: Store, path: Path
) -> None:
    with Held(path):
        futures = [watched.commit.append(arrival(report(item=str(number)))) for number in range(3)]
        await asyncio.sleep(0)
        futures[1].cancel()

    assert [(await futures[0]).accepted, (await futures[2]).accepted] == [1, 1]
    assert items(store) == ["0", "1", "2"]
    assert watched.commit.waiting == 0


async def test_stopping_writes_what_waits(watched: Watched, store: Store) -> None:
    futures = [watched.commit.append(arrival(report(item=str(number)))) for number in range(20)]

    await watched.commit.stop()

    assert all(future.done() and future.result().accepted == 1 for future in futures)
    assert len(items(store)) == 20
    assert not watched.commit.is_up
    with pytest.raises(Refusal, match="written just now") as caught:
        watched.commit.append(arrival(report(item="late")))
    assert caught.value.type == "unavailable"


async def test_stopping_ends_a_writer_that_cannot_write(
    watched: Watched, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "END_S", 0.05)
    with Held(path):
        future = watched.commit.append(arrival())

        await watched.commit.stop()

        # Already, not soon: the server's connections may be closed next.
        assert future.done()
        assert (await refused(future)).type == "unavailable"


async def test_one_post_that_cannot_be_answered_does_not_cost_the_others_their_answers(
    watched: Watched, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(outcome: group_commit.Outcome) -> None:
        raise RuntimeError("nobody there")

    first = watched.commit.append(arrival(report(item="1")))
    watched.commit.hand_in(arrival(report(item="2")), fail)
    last = watched.commit.append(arrival(report(item="3")))

    assert [each.position for each in await asyncio.gather(first, last)] == [1, 3]
    assert items(store) == ["1", "2", "3"]
    assert "nobody there" in caplog.text
    assert watched.failures == [], "the group was written"


async def test_a_writer_that_dies_while_stopping_ends_it(watched: Watched, path: Path) -> None:
    with Held(path):
        future = watched.commit.append(arrival())
        stopping = asyncio.create_task(watched.commit.stop())
        await asyncio.sleep(0)
        kill(watched)

        await asyncio.wait_for(stopping, 30)

    assert (await refused(future)).type == "unavailable"


def kill(watched: Watched, number: int = signal.SIGKILL) -> None:
    assert watched.commit._process is not None
    os.kill(watched.commit._process.pid, number)


async def test_what_a_dead_writer_had_is_answered_503_and_it_is_started_again(
    watched: Watched, store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "RESTART_S", 0.01)
    await watched.commit.append(arrival(report(item="before")))
    with Held(path):
        futures = [watched.commit.append(arrival(report(item=str(number)))) for number in range(3)]
        await asyncio.sleep(0)
        kill(watched)
        refusals = [await refused(future) for future in futures]

    assert {(each.type, each.retry_after_s) for each in refusals} == {("unavailable", 1)}
    assert watched.commit.waiting == 0
    assert "the writer's process ended" in watched.failures[0]

    await until(watched.commit, is_up=True)
    again = [watched.commit.append(arrival(report(item=str(number)))) for number in range(3)]
    assert [(await each).accepted for each in again] == [1, 1, 1]
    assert items(store) == ["before", "0", "1", "2"]


async def test_posts_between_two_writers_are_refused_at_once(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "RESTART_S", 3600)
    kill(watched)
    await until(watched.commit, is_up=False)

    with pytest.raises(Refusal) as caught:
        watched.commit.append(arrival(report(item="3")))
    assert caught.value.type == "unavailable"


async def test_a_writer_that_cannot_be_started_is_tried_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "RESTART_S", 0.01)
    real, tries = writer.start, []

    def start(task: Task) -> object:
        tries.append(task)
        if len(tries) < 3:
            raise OSError("no more processes")
        return real(task)

    monkeypatch.setattr(writer, "start", start)
    kill(watched)
    await until(watched.commit, is_up=False)
    await until(watched.commit, is_up=True)

    assert len(tries) == 3
    assert (await watched.commit.append(arrival())).accepted == 1
    assert sum("no more processes" in failure for failure in watched.failures) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_the_writer_outlives_what_stops_the_server(
    watched: Watched, store: Store, number: int
) -> None:
    await watched.commit.append(arrival(report(item="1")))

    kill(watched, number)

    assert (await watched.commit.append(arrival(report(item="2")))).accepted == 1


async def test_a_store_that_is_away_is_503_and_heals(
    watched: Watched, store: Store, path: Path
) -> None:
    # The writer looks for the file when it has to connect.
    store._database.engine.dispose()
    away = path.with_name("away.db")
    os.rename(path, away)  # noqa: PTH104 - in no time
    assert (await refused(watched.commit.append(arrival()))).type == "unavailable"
    assert watched.groups == [(1, 0)]
    assert "is gone" in watched.failures[0]

    os.rename(away, path)  # noqa: PTH104
    assert (await watched.commit.append(arrival())).accepted == 1
