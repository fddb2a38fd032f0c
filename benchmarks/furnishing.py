"""What pages show beside the signals of production, put into a store that is full already."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

from benchmarks import workload
from benchmarks.places import Place
from benchmarks.preload import preload
from benchmarks.servers import Server, ServerFailedError, run_cloudsignal, serving
from benchmarks.stores import CONNECTIONS, Store, make_token
from cloudsignal.protocol.units import DAY_US
from cloudsignal.server.alerting.watching import Watch
from cloudsignal.server.clock import now
from cloudsignal.server.insight.stalling import STATES, Rule
from cloudsignal.server.store.deliveries import Attempted, Noted, Progress
from cloudsignal.server.store.orders import REGISTRATIONS_MAX, Registration
from cloudsignal.server.store.store import open_store

SMALL = "Small"
"""A print partner with few items, of which some are delayed, some are odd and some are tests."""
OWNER = "Owner"
ITEMS = 300
"""How many items the small print partner has, and as many tests."""
ORDERS = 20_000
"""How many orders are registered for the owner, unless there are fewer; a tenth as many are that nobody reports."""
ATTEMPTS = 100_000
DEAD, WAITING = 10_000, 10_000
"""How many deliveries were given up, and how many wait."""
REFUSED = 200
TOGETHER = 5_000
"""How many attempts or deliveries are noted at once."""


def furnish(store: Store) -> None:
    """Add a print partner with few items, and an owner with orders who was told of some."""
    run_cloudsignal("partner", "create", SMALL, "--database", store.place.url)
    # Numbers before the first one: no other item of this run has them.
    post(store, few(make_interface(store.place), store.first_item - ITEMS))
    tests = make_interface(store.place, "--test")
    post(store, few(tests, store.first_item - 2 * ITEMS))
    register(store)
    make_token(store.place)
    make_endpoint(store.place)
    in_parts(store.place, ATTEMPTS, lambda some: Progress(attempted=[*map(attempted, some)]))
    in_parts(store.place, DEAD + WAITING, lambda some: Progress(noted=[*map(noted, some)]))


def make_interface(place: Place, *flags: str) -> str:
    of = ["--partner", SMALL, *flags, "--database", place.url]
    apikey: str = run_cloudsignal("interface", "create", *of)["apikey"]
    return apikey


def few(apikey: str, first: int) -> Iterator[tuple[int, bytes]]:
    """The first signals of some items, of which every third is delayed then, and every tenth shipped and canceled."""
    registered = [workload.first_step(number) for number in range(first, first + ITEMS)]
    date = workload.datetime_text(int(time.time()))
    delayed = {"type": "ItemDelay", "datetime": date, "delay": "24", "cause": "MaterialOutOfStock"}
    canceled = {"type": "ItemCanceled", "datetime": date, "cause": "PaymentCanceled"}
    shipped = {"type": "ItemShipped", "datetime": date, "tracking": "1Z", "shipping_option": "GLS"}
    told = [
        registered,
        [each | delayed for each in registered[::3]],
        [each | canceled for each in registered[::10]],
        [each | shipped for each in registered[::10]],
    ]
    for each in told:
        yield len(each), workload.bundle(apikey, each)


def post(store: Store, posts: Iterator[tuple[int, bytes]]) -> None:
    """Post what is accepted, and some that is not."""
    with serving("ours", store.place, None, ["--no-deliver"]) as server:
        preload(server.port, posts, ITEMS, "few items", CONNECTIONS["ours"])
        for number in range(REFUSED):
            post_refused(server, store.apikey, number)


def post_refused(server: Server, apikey: str, number: int) -> None:
    kind = ("ItemLost", "ItemShipped")[number % 2]
    with suppress(ServerFailedError):
        server.post(workload.single_of(apikey, {"type": kind, "order": f"refused-{number}"}))


def register(store: Store) -> None:
    """Orders that are due around now: the latest of which signals came, and some that nobody reports."""
    count = min(ORDERS, store.signals // 10)
    items = store.signals // len(workload.TYPES)
    latest = range(store.first_item + items - count, store.first_item + items)
    begin, spread = now() - 5 * DAY_US, 10 * DAY_US // count
    registrations = [
        Registration(order, OWNER, due=begin + spread * place, items={f"{order}-1": None})
        for place, order in enumerate(
            [*map(workload.order_id, latest), *(f"unheard-{each}" for each in range(count // 10))]
        )
    ]
    with closing(open_store(store.place.url)) as opened:
        opened.orders.create_owner(OWNER, now=now())
        for start in range(0, len(registrations), REGISTRATIONS_MAX):
            some = registrations[start : start + REGISTRATIONS_MAX]
            opened.orders.register(some, now=now())


def make_endpoint(place: Place) -> None:
    of = ["--owner", OWNER, "--url", "https://owner.example/webhooks", "--database", place.url]
    run_cloudsignal("endpoint", "create", *of)


def in_parts(place: Place, count: int, made: Callable[[range], Progress]) -> None:
    """Note what became of so many deliveries, as the deliverer does."""
    with closing(open_store(place.url)) as opened:
        for start in range(0, count, TOGETHER):
            opened.deliveries.note(made(range(start, min(start + TOGETHER, count))), now=now())


def attempted(number: int) -> Attempted:
    """An attempt to tell the owner; every hundredth failed."""
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


def noted(number: int) -> Noted:
    """A delivery that was given up, or of the later ones one that waits."""
    order = workload.order_id(number)
    return Noted(
        endpoint=1,
        message=f"noted-{number}",
        position=number + 1,
        number=number + 1,
        type=workload.TYPES[-1],
        order=order,
        item=f"{order}-1",
        webhook='{"type":"CloudprinterItemShipped"}',
        state="dead" if number < DEAD else "waiting",
        attempts=10,
        first=now(),
        due=now() + DAY_US,
        why="answered 500",
    )


def count(place: Place) -> None:
    """Have everything counted, as the bookkeeper does."""
    with closing(open_store(place.url)) as store:
        while not store.rollups.step().is_idle:
            pass


def watch(place: Place) -> None:
    """Have alerts raised of whatever has not gone on for a minute, as the bookkeeper does."""
    with closing(open_store(place.url)) as store:
        for state in STATES:
            store.alerts.set_rule(None, state, Rule(60))
        watching = Watch(store, now, time.monotonic)
        while watching.step():
            pass
