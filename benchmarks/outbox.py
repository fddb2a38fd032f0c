"""The print partner's outbox: how fast it takes signals, and how fast a server gets them out of it."""

import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count, islice
from pathlib import Path

import msgspec

from benchmarks import limit, workload
from benchmarks.places import Files
from benchmarks.rows import Measurement, Row, position, wrk_row
from benchmarks.servers import serving
from benchmarks.stores import Store
from benchmarks.wrk import Load
from cloudsignal import Outbox
from cloudsignal.protocol.signals import BY_NAME, ItemShipped, Signal

THREADS = (1, 16, 64)
LIMITS = (1, 16)  # rows in a commit
DRAINED = {100: 60_000, 5: 10_000}  # so many signals, in orders of so many
CONNECTIONS = 16
DRAIN_S_MAX = 300


def put_rows(home: Files, seconds: int) -> list[Row]:
    """Threads that put one signal after the other, each on disk before the next; below it SQLite itself."""
    written: limit.Rows = []

    def putting(threads: int) -> Callable[[], Measurement]:
        def measure() -> Measurement:
            file = new_outbox(home)
            with Outbox(file) as outbox:
                found = put_for(outbox, threads, seconds)
            written[:] = rows_of(file)
            return found

        return measure

    def inserting(rows_per_commit: int) -> Callable[[], Measurement]:
        def measure() -> Measurement:
            file = new_outbox(home)
            Outbox(file).close()
            return Measurement(limit.insert_rate(file, written[: 4000 * seconds], rows_per_commit))

        return measure

    rows = [Row("k", f"outbox, {crowd(n)} put", None, putting(n)) for n in THREADS]
    rows += [Row("k", f"raw insert, commit each {n}", None, inserting(n)) for n in LIMITS]
    return rows


def drain_rows(store: Store, seconds: int) -> list[Row]:
    """What waits in an outbox, sent to our server; beside it what the server takes in such bundles."""
    rows: list[Row] = []
    for size, signals in DRAINED.items():
        load = Load(CONNECTIONS, bundle=size)
        rows.append(wrk_row("l", f"ours, bundles of {size}", store, load, seconds))
        rows.append(Row("l", f"outbox, orders of {size}", None, draining(store, size, signals)))
    return rows


def draining(store: Store, size: int, signals: int) -> Callable[[], Measurement]:
    def measure() -> Measurement:
        with store.copied() as place:
            file = place.folder / "outbox.db"
            with Outbox(file) as outbox:
                for order in islice(orders(size), signals // size):
                    outbox.put(*order)
            with serving(store.kind, place, store.body(store.next_slot)) as server:
                before = position(server, store, store.next_slot + 1)
                started = time.perf_counter()
                url = f"http://127.0.0.1:{server.port}"
                with Outbox(file, url, apikey=store.apikey) as outbox:
                    left = outbox.drain(DRAIN_S_MAX)
                    took_s = time.perf_counter() - started
                stored = position(server, store, store.next_slot + 2) - before - 1
                return Measurement(
                    signals_per_s=signals / took_s, errors=left, unstored=signals - left - stored
                )

    return measure


def put_for(outbox: Outbox, threads: int, seconds: int) -> Measurement:
    """Each thread puts its next signal when it has the id of the last one."""
    took_s: list[float] = []
    end = time.perf_counter() + seconds

    def put(first: int) -> None:
        numbers = count(first)
        while (started := time.perf_counter()) < end:
            outbox.put(one(next(numbers)))
            took_s.append(time.perf_counter() - started)

    running = [threading.Thread(target=put, args=(n * 1_000_000,)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    places = statistics.quantiles(took_s, n=100)
    return Measurement(
        signals_per_s=len(took_s) / seconds,
        p50_ms=places[49] * 1000,
        p99_ms=places[98] * 1000,
        unstored=len(took_s) - outbox.health().waiting,
    )


def one(number: int) -> Signal:
    """A signal of an item of its own, the type that has most to say."""
    return ItemShipped(
        order=f"{number:012}",
        item=f"{number:012}-1",
        datetime="2016-01-20 13:00:00 GMT",
        tracking=f"1Z{number:012}",
        shipping_option="ups_ground",
    )


def orders(size: int) -> Iterator[list[Signal]]:
    """Orders of so many signals, new ones in each run."""
    now_s = int(time.time())
    for number in count(workload.first_item_now()):
        yield [signal_of(members) for members in workload.order_of(number, size, now_s)]


def signal_of(members: dict[str, str]) -> Signal:
    return msgspec.convert(members, BY_NAME[members["type"]])


def new_outbox(home: Files) -> Path:
    return home.new("outbox").folder / "outbox.db"


def rows_of(file: Path) -> limit.Rows:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(f"SELECT {limit.columns(connection)} FROM signals").fetchall()


def crowd(threads: int) -> str:
    return "one thread" if threads == 1 else f"{threads} threads"
