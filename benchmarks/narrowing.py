"""What pages are narrowed to in a store that is full already: few items, test items, the orders of an owner."""

import time
from collections.abc import Iterator
from contextlib import closing

from benchmarks import workload
from benchmarks.places import Place
from benchmarks.preload import preload
from benchmarks.servers import run_cloudsignal, serving
from benchmarks.stores import CONNECTIONS, Store
from cloudsignal.server.clock import now
from cloudsignal.server.store.deliveries import Attempted, Progress
from cloudsignal.server.store.orders import REGISTRATIONS_MAX, Registration
from cloudsignal.server.store.store import open_store

SMALL = "Small"
"""A print partner with few items, of which some are delayed and some are tests."""
OWNER = "Owner"
ITEMS = 300
"""How many items the small print partner has, and as many tests."""
ORDERS = 20_000
"""How many orders are registered for the owner, unless there are fewer."""
ATTEMPTS = 100_000
TOGETHER = 5_000
"""How many attempts are noted at once."""


def furnish(store: Store) -> None:
    """Add a print partner with few items, and an owner with orders who was told of some."""
    run_cloudsignal("partner", "create", SMALL, "--database", store.place.url)
    # Numbers before the first one: no other item of this run has them.
    post(store, few(make_interface(store.place), store.first_item - ITEMS))
    tests = make_interface(store.place, "--test")
    post(store, few(tests, store.first_item - 2 * ITEMS))
    register(store)
    note_attempts(store.place)


def make_interface(place: Place, *flags: str) -> str:
    of = ["--partner", SMALL, *flags, "--database", place.url]
    apikey: str = run_cloudsignal("interface", "create", *of)["apikey"]
    return apikey


def few(apikey: str, first: int) -> Iterator[tuple[int, bytes]]:
    """The first signals of some items, of which every third is delayed then."""
    registered = [workload.first_step(number) for number in range(first, first + ITEMS)]
    told = {
        "type": "ItemDelay",
        "datetime": workload.datetime_text(int(time.time())),
        "delay": "24",
        "cause": "MaterialOutOfStock",
    }
    delayed = [each | told for each in registered[::3]]
    for each in (registered, delayed):
        yield len(each), workload.bundle(apikey, each)


def post(store: Store, posts: Iterator[tuple[int, bytes]]) -> None:
    with serving("ours", store.place, None, ["--no-deliver"]) as server:
        preload(server.port, posts, ITEMS + ITEMS // 3, "few items", CONNECTIONS["ours"])


def registered_orders(store: Store) -> range:
    """The numbers of the orders that are registered, which are the first ones."""
    return range(store.first_item, store.first_item + min(ORDERS, store.signals // 10))


def register(store: Store) -> None:
    ids = [workload.order_id(number) for number in registered_orders(store)]
    with closing(open_store(store.place.url)) as opened:
        opened.orders.create_owner(OWNER, now=now())
        for start in range(0, len(ids), REGISTRATIONS_MAX):
            several = ids[start : start + REGISTRATIONS_MAX]
            told = [Registration(order, OWNER, items={f"{order}-1": None}) for order in several]
            opened.orders.register(told, now=now())


def note_attempts(place: Place) -> None:
    """Note attempts to tell the owner, as the deliverer does, of which every hundredth failed."""
    with closing(open_store(place.url)) as opened:
        for start in range(0, ATTEMPTS, TOGETHER):
            made = [attempted(number) for number in range(start, start + TOGETHER)]
            opened.deliveries.note(Progress(attempted=made), now=now())


def attempted(number: int) -> Attempted:
    failed = number % 100 == 0
    order = workload.order_id(number)
    return Attempted(
        endpoint=1,
        message=f"message-{number}",
        type=workload.TYPES[-1],
        order=order,
        item=f"{order}-1",
        attempt=1,
        at=now(),
        took=20_000,
        status=500 if failed else 200,
        error="answered 500" if failed else "",
        address="127.0.0.1",
        webhook='{"type":"CloudprinterItemShipped"}',
        headers=[],
        answer=b"",
    )
