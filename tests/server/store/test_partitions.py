"""Old parts of the log on PostgreSQL go as a whole, beside whoever reads and writes."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from cloudsignal.server.store import pruning
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.log import Arrival
from cloudsignal.server.store.postgresql import partitions
from cloudsignal.server.store.store import Store, open_store
from tests import postgresql
from tests.acceptance.conftest import eventually
from tests.server.arrivals import NOON, appending, arrival, positions, receipt, report
from tests.server.store.contract import furnish
from tests.server.store.test_nodes import parts

PART, OLD = 10, 25


@pytest.fixture
def url(postgresql_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a store with small parts, the first two of which are old and half of the third."""
    monkeypatch.setattr(partitions, "SIGNALS", PART)
    with postgresql.database(postgresql_server) as url:
        with closing(open_store(url)) as store:
            furnish(store)
            for number in range(OLD):
                store.append([arrival(report(item=str(number)), received=NOON)])
            store.append([arrival(report(item="new"), received=2 * NOON)])
        yield url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url)) as store:
        yield store


def tables(url: str) -> set[str]:
    """The tables that are or were parts of the log."""
    found = postgresql.execute(url, "SELECT relname FROM pg_class WHERE relname ~ '^signals_\\d+$'")
    return {name for (name,) in found}


def test_old_parts_are_dropped_and_the_rest_is_deleted(store: Store, url: str) -> None:
    assert parts(url) >= {0, 10, 20}

    assert store.prune(NOON + 1).signals == OLD

    assert min(parts(url)) == 20
    assert tables(url) == {f"signals_{start}" for start in parts(url)}
    assert positions(store) == [OLD + 1]
    [answer] = store.append([arrival(report(item="0", minute=1))])
    assert receipt(answer).position == OLD + 2
    assert store.rebuild().left == OLD


def test_parts_that_end_beyond_what_is_old_stay(store: Store, url: str) -> None:
    store.cursors.advance("a reader", 18)

    store.prune(NOON + 1)

    assert min(parts(url)) == 10
    assert positions(store)[0] == 19
    store.cursors.advance("a reader", 19)
    store.prune(NOON + 1)
    assert min(parts(url)) == 20


def test_a_detach_that_was_interrupted_is_ended_by_the_next_run(store: Store, url: str) -> None:
    with psycopg.connect(url) as reader, ThreadPoolExecutor(1) as pool:
        reader.execute("SELECT 1 FROM signals LIMIT 1")
        pruning_run = pool.submit(store.prune, NOON + 1)
        # It waits for the reader; the server can be written to and read meanwhile.
        eventually(lambda: pending(url) == ["signals_0"])
        [answer] = store.append([arrival(report(item="meanwhile"), received=2 * NOON)])
        assert receipt(answer).position == OLD + 2
        assert store.reading.signals_of("7", "meanwhile")
        postgresql.execute(
            url, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ~ '^ALTER TABLE'"
        )
        with pytest.raises(StoreUnavailable, match="cannot be used just now"):
            pruning_run.result(60)
    assert pending(url) == ["signals_0"]

    pruned = store.prune(NOON + 1)

    assert pruned.position == OLD
    assert pending(url) == []
    assert min(parts(url)) == 20
    assert tables(url) == {f"signals_{start}" for start in parts(url)}
    assert positions(store) == [OLD + 1, OLD + 2]


def pending(url: str) -> list[str]:
    found = postgresql.execute(
        url, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhdetachpending"
    )
    return [name for (name,) in found]


def test_a_part_that_was_detached_and_not_dropped_is_dropped_by_the_next_run(
    store: Store, url: str
) -> None:
    pruning.note(store._database, 9)
    postgresql.execute(url, "ALTER TABLE signals DETACH PARTITION signals_0")
    postgresql.execute(url, "CREATE TABLE signals_of_mine_0 ()")

    store.prune(NOON - 1)

    assert tables(url) == {f"signals_{start}" for start in parts(url)}
    assert positions(store)[0] == 10
    assert postgresql.execute(url, "SELECT count(*) FROM signals_of_mine_0") == [(0,)]


def test_nobody_who_writes_or_reads_notices(store: Store, url: str) -> None:

    def post(number: int) -> Arrival:
        old = report("ItemProduce", item=str(number % OLD), minute=number % 60)
        return arrival(report(item=f"new {number}"), old, received=2 * NOON)

    def read() -> None:
        with closing(open_store(url)) as other:
            while not enough.is_set():
                other.reading.item_with_signals("7", "1")
                other.reading.signals(after=0, limit=5)

    enough = threading.Event()
    with closing(open_store(url)) as other, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            with appending(other, post) as appended:
                store.prune(NOON + 1)
        finally:
            enough.set()
        reading.result(60)

    assert positions(store) == list(range(OLD + 1, OLD + 2 + sum(appended)))
    assert store.rebuild().differed == 0
