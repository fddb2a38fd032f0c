"""A database server that crashes while commits are on their way to its disk."""

import gc
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.reading import LoggedSignal
from cloudsignal.server.store.store import Store, open_store
from tests import postgresql
from tests.acceptance.conftest import eventually
from tests.server.arrivals import arrival, receipt, report, whole_log
from tests.server.store.contract import furnish

CRASHES = 5
# A commit takes a tenth of a second to reach the disk, and nothing gets there before.
SLOW = {"commit_delay": 100_000, "commit_siblings": 0, "wal_writer_delay": "10s"}


@pytest.fixture
def server(postgresql_programs: str) -> Iterator[postgresql.Server]:
    server = postgresql.Server(postgresql.binaries()[postgresql_programs]).initialise()
    try:
        yield server.start(**SLOW)
    finally:
        server.remove()


def follow(url: str, after: int, enough: threading.Event) -> list[LoggedSignal]:
    """What a reader of the log gets beyond a position until it is told to end, or the server does."""
    seen: list[LoggedSignal] = []
    with suppress(StoreUnavailable), closing(open_store(url)) as store:
        while not enough.is_set():
            seen += store.reading.signals(after=seen[-1].position if seen else after, limit=9)
    return seen


def is_accepted(store: Store, number: int) -> bool:
    try:
        [answer] = store.append([arrival(report(item=str(number)))])
    except StoreUnavailable:
        return False
    return receipt(answer).accepted == 1


# The driver says of a cursor that it could not be closed: the server it was open on is gone.
@pytest.mark.filterwarnings("ignore:.*ServerCursor:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_nobody_reads_or_is_acknowledged_what_a_crash_takes_away(
    server: postgresql.Server,
) -> None:
    url = server.url()
    lost = 0
    with closing(open_store(url)) as store, ThreadPoolExecutor(2) as pool:
        furnish(store)
        for number in range(CRASHES):
            assert is_accepted(store, 2 * number)
            before = len(log_of(url))
            enough = threading.Event()
            reading = pool.submit(follow, url, before, enough)
            appending = pool.submit(is_accepted, store, 2 * number + 1)
            can_be_seen = f"SELECT 1 FROM signals WHERE position > {before}"
            eventually(lambda asked=can_be_seen: server.execute(asked))
            server.execute("SELECT 1")  # The reader has the time to look as well.

            server.stop(signal.SIGQUIT)
            enough.set()
            seen, accepted = reading.result(30), appending.result(30)
            server.start(**SLOW)

            there = eventually(lambda: log_of(url))
            assert there[before:][: len(seen)] == seen
            if accepted:
                assert len(there) == before + 1
            lost += len(there) == before
            # The first try may be on a connection that ended with the server.
            eventually(lambda number=number: is_accepted(store, 1000 + number))
        there = [each.position for each in log_of(url)]
        assert there == list(range(1, len(there) + 1))
    gc.collect()  # What the driver says of its cursors, it says here and not in the next test.
    assert lost, "no crash came in time: the test has shown nothing"


def log_of(url: str) -> list[LoggedSignal]:
    with closing(open_store(url)) as store:
        return whole_log(store)
