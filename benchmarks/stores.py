"""Stores to measure on: each made once, and copied for every measurement.

A copy per measurement means that no row runs on what an earlier one has left behind, and that
"at a million signals" is not "at a million and whatever the rounds before added".
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from benchmarks import workload
from benchmarks.places import Home, Place
from benchmarks.preload import preload
from benchmarks.servers import USUAL_APIKEY, run_cloudsignal, serving
from benchmarks.wrk import Posts

# How many bundles are posted at a time. The usual pick lets a bundle wait for SQLite's lock while
# many later ones pass it, until two of them make the same item and one is answered 500; on PostgreSQL
# they need not even wait.
CONNECTIONS = {"ours": 4, "usual": 1}


@dataclass
class Store:
    """What a server left when it was stopped, and how far its workload has come."""

    kind: str
    home: Home
    place: Place
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

    def amount(self) -> str:
        return f"{self.signals:,} stored{self.home.where}"

    def size_bytes(self) -> int:
        return self.home.size_bytes(self.place)

    def copied(self) -> AbstractContextManager[Place]:
        """A copy of the store, gone afterwards."""
        return self.home.copied(self.place)


def make_store(kind: str, home: Home, first_item: int) -> Store:
    """A store of its own with the first items on their way, so that all five steps happen."""
    place = home.new(kind)
    apikey = make_interface(place) if kind == "ours" else USUAL_APIKEY
    store = Store(kind, home, place, apikey, first_item)
    if kind == "empty":
        store.next_slot = workload.RAMP_SLOTS
    else:
        grow(store, workload.RAMP_SIGNALS)
    return store


def make_interface(place: Place) -> str:
    of = ["--database", place.url]
    run_cloudsignal("partner", "create", "Benchmark", *of)
    found = run_cloudsignal("interface", "create", "--partner", "Benchmark", *of)
    apikey: str = found["apikey"]
    return apikey


def make_token(place: Place) -> str:
    of = ["--database", place.url]
    token: str = run_cloudsignal("token", "create", "reader", "--role", "reader", *of)["token"]
    return token


def grow(store: Store, signals: int) -> None:
    """Posts bundles until the store holds this many signals."""
    missing = signals - store.signals
    if store.signals == 0:
        missing += workload.RAMP_SLOTS - workload.RAMP_SIGNALS
    slots = range(store.next_slot, store.next_slot + missing)
    # The very first slot has an item, so it can be the post that waits for the start.
    with serving(store.kind, store.place, store.body(store.next_slot)) as server:
        posts = workload.bundles(store.apikey, store.first_item, range(slots.start + 1, slots.stop))
        title = f"{store.kind}: {signals:,} signals"
        preload(server.port, posts, signals - store.signals, title, CONNECTIONS[store.kind])
        store.rss_mb, store.peak_rss_mb = server.rss_mb(), server.peak_rss_mb()
    store.next_slot, store.signals = slots.stop, signals
