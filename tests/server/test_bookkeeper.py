"""The process that keeps the roll-ups: one node at a time, gently, and only while it is there."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.server import bookkeeper as its
from cloudsignal.server import companion
from cloudsignal.server.bookkeeper import Bookkeeper, Books, Pace
from cloudsignal.server.insight.stalling import Rule
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.rollups import Step
from cloudsignal.server.store.store import Store, open_store
from tests.server.arrivals import NOON, arrival, report
from tests.server.store.contract import furnish
from tests.server.test_deliverer import Lines, eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database=f"sqlite:///{tmp_path}/a.db", log_format="json")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with closing(open_store(settings.database)) as store:
        furnish(store)
        yield store


@pytest.fixture
async def bookkeeper(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bookkeeper]:
    monkeypatch.setattr(companion, "LOOK_S", 0.02)
    made = Bookkeeper(settings, store, Lines())  # type: ignore[arg-type]
    keeping = asyncio.create_task(made.keep())
    yield made
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await made.stop()


async def test_it_counts_once_there_is_anybody_who_can_look(
    bookkeeper: Bookkeeper, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append([arrival(report(item=str(number))) for number in range(3)])
    looked: list[bool] = []
    looking = bookkeeper._is_needed
    monkeypatch.setattr(bookkeeper, "_is_needed", lambda: looked.append(looking()) or looked[-1])
    await eventually(lambda: len(looked) > 2)
    assert not any(looked)

    store.users.create("Ada", "admin", now=1)

    await eventually(lambda: store.rollups.sums("state") == {"registered": 3})
    store.append([arrival(report("ItemPacked", item="1", minute=1))])
    await eventually(lambda: store.rollups.sums("state") == {"registered": 2, "packed": 1})


async def test_where_there_is_no_panel_nothing_is_counted(store: Store) -> None:
    store.users.create("Ada", "admin", now=1)
    settings = Settings(database=store.shown, panel=False)
    assert not Bookkeeper(settings, store, Lines())._is_needed()  # type: ignore[arg-type]


class Rollups:
    """Roll-ups that say how much is left, and raise what they are given instead."""

    NOTHING = Step(0, 0, 0)

    def __init__(self, *done: Step | Exception) -> None:
        self.done = list(done)
        self.forgot: list[int] = []

    def step(self) -> Step:
        each = self.done.pop(0) if self.done else self.NOTHING
        if isinstance(each, Exception):
            raise each
        return each

    def forget_minutes(self, now: int) -> None:
        self.forgot.append(now)


class Leases:
    """A lease that is held as told."""

    def __init__(self) -> None:
        self.held = True

    def hold(self, name: str, holder: str, *, lease_s: float) -> bool:
        return self.held


class Shelf:
    """As much of a store as counting needs."""

    def __init__(self, *done: Step | Exception) -> None:
        self.rollups = Rollups(*done)
        self.leases = Leases()


class Timer:
    """Each time it is asked, half a second has gone by."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.5
        return self.now


class Watch:
    """Watches as often as told that there is more to watch."""

    def __init__(self, more: int = 0) -> None:
        self.more = more
        self.steps = 0

    def step(self) -> bool:
        self.steps += 1
        self.more -= 1
        return self.more >= 0


def books(shelf: Shelf, timer: Callable[[], float], watch: Watch | None = None) -> Books:
    return Books(shelf, "a node", lambda: NOON, timer, watch or Watch())  # type: ignore[arg-type]


async def rests(made: Books, count: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it rested, so many times."""
    rested: list[float] = []

    async def sleep(rest_s: float) -> None:
        rested.append(rest_s)
        if len(rested) == count:
            raise asyncio.CancelledError

    monkeypatch.setattr(its.asyncio, "sleep", sleep)
    with suppress(asyncio.CancelledError):
        await made.keep()
    return rested


async def test_it_rests_longer_than_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Timer()
    made = books(Shelf(Step(10, 0, 90), Step(10, 0, 0)), slow)
    rested = await rests(made, 2, monkeypatch)
    assert all(each >= 0.5 * its.RESTS_TIMES for each in rested)


def rests_times(*done: tuple[float, Step]) -> list[int]:
    """How many times as long as it works it rests after each, where each took an eighth of a second."""
    pace = Pace()
    found = []
    for begun, step in done:
        pace.see(step, begun, begun + 0.125)
        found.append(pace.rests_times)
    return found


def test_where_more_comes_than_it_counts_it_rests_much_longer_until_less_comes() -> None:
    found = rests_times(
        (0.0, Step(100, 0, 5_000)),  # After a start: it is not known since when these came.
        (0.625, Step(100, 0, 5_000)),  # As many came as it counts, so that it keeps up.
        (1.25, Step(100, 0, 5_010)),
        (4.375, Step(100, 0, 5_410)),  # As many as it would have counted, resting as usual.
        (5.0, Step(100, 0, 5_310)),
        (1004.0, Step(100, 0, 5_210)),
    )
    assert found == [
        its.RESTS_TIMES,
        its.RESTS_TIMES,
        its.OUTRUN_RESTS_TIMES,
        its.RESTS_TIMES,
        its.RESTS_TIMES,
        its.RESTS_TIMES,
    ]


def test_where_everything_is_counted_anew_nothing_has_come() -> None:
    prepared = Step(0, 0, 1_000_000, again=True)
    found = rests_times((0.0, Step(100, 0, 0)), (0.5, prepared), (1.0, Step(100, 0, 999_900)))
    assert found == [its.RESTS_TIMES] * 3


async def test_while_it_is_outrun_others_have_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = books(Shelf(Step(10, 0, 90), Step(10, 0, 80), Step(10, 0, 1_000)), Timer())
    _, usual, outrun = await rests(made, 3, monkeypatch)
    assert outrun / its.OUTRUN_RESTS_TIMES == usual / its.RESTS_TIMES


async def test_where_there_is_nothing_to_do_it_looks_every_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = Step(10, 0, 90), Step(0, 0, 0, again=True), StoreUnavailable("away")
    at_once = books(Shelf(*done), lambda: 1000.0)
    assert await rests(at_once, 4, monkeypatch) == [0.0, 0.0, its.EVERY_S, its.EVERY_S]


def test_another_counts_while_it_does_not_hold_the_lease() -> None:
    shelf = Shelf(Step(10, 0, 90))
    shelf.leases.held = False
    made = books(shelf, Timer())
    assert made.step().is_idle
    shelf.leases.held = True
    assert made.step().signals == 10


async def test_what_is_stalled_is_watched_by_the_one_that_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf, watch = Shelf(), Watch(more=2)
    made = books(shelf, lambda: 1000.0, watch)
    assert await rests(made, 3, monkeypatch) == [0.0, 0.0, its.EVERY_S]
    assert made.is_the_one()
    shelf.leases.held = False
    assert await rests(made, 1, monkeypatch) == [its.EVERY_S]
    assert (watch.steps, made.is_the_one()) == (3, False)


def test_who_was_not_heard_of_in_time_is_not_the_one_any_more() -> None:
    now = [100.0]
    made = books(Shelf(), lambda: now[0])
    made.step()
    now[0] += its.LEASE_S - 0.1
    assert made.is_the_one()
    now[0] += 0.2
    assert not made.is_the_one()


async def test_where_there_is_no_panel_it_counts_for_alerts(store: Store) -> None:
    settings = Settings(database=store.shown, panel=False)
    made = Bookkeeper(settings, store, Lines())  # type: ignore[arg-type]
    assert not made._is_needed()
    store.alerts.set_rule(None, "packed", Rule(None))
    assert made._is_needed()


def test_what_is_not_kept_is_forgotten_now_and_then() -> None:
    shelf, now = Shelf(), [0.0]
    made = books(shelf, lambda: now[0])
    for now[0] in (0.0, 1.0, its.FORGET_S - 1, its.FORGET_S):
        made.step()
    assert shelf.rollups.forgot == [NOON, NOON]


async def test_who_ends_it_waits_until_what_is_being_counted_is_written() -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()
    began = asyncio.Event()
    done: list[Any] = []

    def act() -> None:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        done.append(True)

    acting = asyncio.create_task(its._whole(act))
    await began.wait()
    acting.cancel()
    await asyncio.sleep(0)
    release.set()
    with suppress(asyncio.CancelledError):
        await acting
    assert done
