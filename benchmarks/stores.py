"""Stores to measure on: each made once, then copied for every measurement.

A copy per measurement means that no row runs on what an earlier one has left behind, and that
"at a million signals" is not "at a million and whatever the rounds before added".
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import workload
from benchmarks.preload import preload
from benchmarks.servers import USUAL_APIKEY, database, run_cloudsignal, serving
from benchmarks.wrk import Posts

# How many bundles are posted at a time. The usual pick lets a bundle wait for SQLite's lock while
# many later ones pass it, until two of them make the same item and one is answered 500.
CONNECTIONS = {"ours": 4, "usual": 1}


@dataclass
class Store:
    """A server's folder while the server is stopped, and how far its workload has come."""

    kind: str
    folder: Path
    apikey: str
    first_item: int
    next_slot: int = 0
    signals: int = 0
    peak_rss_mb: float = 0.0  # of the process that took in the last signals
    rss_mb: float = 0.0

    def body(self, slot: int) -> bytes:
        return workload.single(self.apikey, self.first_item, slot)

    def posts(self, first_slot: int) -> Posts:
        return Posts(self.apikey, self.first_item, first_slot)

    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.folder.glob("store.db*"))


def make_store(kind: str, parent: Path, first_item: int) -> Store:
    """A store of its own with the first items on their way, so that all five steps happen."""
    folder = parent / kind
    folder.mkdir()
    apikey = make_interface(folder) if kind == "ours" else USUAL_APIKEY
    store = Store(kind, folder, apikey, first_item)
    if kind == "empty":
        store.next_slot = workload.RAMP_SLOTS
    else:
        grow(store, workload.RAMP_SIGNALS)
    return store


def make_interface(folder: Path) -> str:
    place = ["--database", f"sqlite:///{database(folder)}"]
    run_cloudsignal("partner", "create", "Benchmark", *place)
    found = run_cloudsignal("interface", "create", "--partner", "Benchmark", *place)
    apikey: str = found["apikey"]
    return apikey


def grow(store: Store, signals: int) -> None:
    """Posts bundles until the store holds this many signals."""
    missing = signals - store.signals
    if store.signals == 0:
        missing += workload.RAMP_SLOTS - workload.RAMP_SIGNALS
    slots = range(store.next_slot, store.next_slot + missing)
    # The very first slot has an item, so it can be the post that waits for the start.
    with serving(store.kind, store.folder, store.body(store.next_slot)) as server:
        posts = workload.bundles(store.apikey, store.first_item, range(slots.start + 1, slots.stop))
        title = f"{store.kind}: {signals:,} signals"
        preload(server.port, posts, signals - store.signals, title, CONNECTIONS[store.kind])
        store.rss_mb, store.peak_rss_mb = server.rss_mb(), server.peak_rss_mb()
    store.next_slot, store.signals = slots.stop, signals


@contextmanager
def copied(store: Store) -> Iterator[Path]:
    """A folder with a copy of the store, gone afterwards."""
    folder = store.folder.with_name(f"{store.folder.name}-copy")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(store.folder, folder)
    os.sync()  # or the disk would still be writing the copy while fsync is measured
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
