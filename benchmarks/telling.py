"""Order owners told by webhooks: how many a second, how soon, what it costs those who post, and beside dead ones."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from benchmarks import posting, proof, workload
from benchmarks.paced import Paced, post_paced
from benchmarks.places import Home, Place
from benchmarks.preload import preload
from benchmarks.proof import Told
from benchmarks.receiver import Arrival, Receiver
from benchmarks.rows import WARM_UP_S, Measurement, Row, position, wrk_row
from benchmarks.servers import SECRET, TELL, Server, serving
from benchmarks.stores import CONNECTIONS, Store, make_interface
from benchmarks.wrk import Load, run_load
from cloudsignal.server import clock
from cloudsignal.server.delivery.desk import Desk, EndpointCreation
from cloudsignal.server.delivery.pace import AT_ONCE_MAX
from cloudsignal.server.delivery.sealing import Sealer
from cloudsignal.server.delivery.targets import Rules
from cloudsignal.server.keys import secret_of
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.store import open_store

WAITING, WAITING_QUICK = 20_000, 5_000
SEVERAL = 10  # endpoints
PACE_PER_S, PACE_OF_MANY_PER_S = 200, 500
PACED_S = 5  # times as long as other measurements
OWNERS, REFUSING, SILENT = 1000, 50, 50
HEALTHY = OWNERS - REFUSING - SILENT
STALLED_S_MAX = 30  # until what has not come counts as missing


@dataclass
class Due:
    """A store whose owners have endpoints, and what was there before they had."""

    place: Place
    apikey: str
    told: list[Told]
    after: int = 0


# ---- who is told ----


def rules() -> Rules:
    return Rules.of(Settings(webhook_networks=(TELL[-1],), webhook_http=True))


def add_endpoints(place: Place, receiver: Receiver, owners: Sequence[str]) -> list[Told]:
    """An endpoint for each of the owners, who are there; the same one may be there several times."""
    settings = Settings(database=place.url, secret=SECRET["CLOUDSIGNAL_SECRET"])
    with closing(open_store(place.url)) as store:
        desk = Desk(store, Sealer(secret_of(settings)), rules())
        return [
            Told(
                number, desk.create(EndpointCreation(owner, receiver.url(number)), now=clock.now())
            )
            for number, owner in enumerate(owners)
        ]


def add_owner_of_all(place: Place, receiver: Receiver, endpoints: int = 1) -> list[Told]:
    with closing(open_store(place.url)) as store:
        store.orders.create_owner("Owner", unregistered=True, now=clock.now())
    return add_endpoints(place, receiver, ["Owner"] * endpoints)


# ---- (m): how many a second ----


def rate_rows(home: Home, receiver: Receiver, first_item: int, *, quick: bool) -> list[Row]:
    """All that waits, told; behind it a bare client that posts the very same, round by round."""
    total = WAITING_QUICK if quick else WAITING
    rows: list[Row] = []
    for endpoints in (1, SEVERAL):
        due = make_waiting(home, receiver, first_item, endpoints, total // endpoints)
        rows += rate_pair(home, receiver, due)
        first_item += total
    return rows


def make_waiting(
    home: Home, receiver: Receiver, first_item: int, endpoints: int, signals: int
) -> Due:
    """A store in which so many signals of distinct items wait for each of so many endpoints of one owner."""
    place = home.new(f"waiting-{endpoints}")
    apikey = make_interface(place)
    told = add_owner_of_all(place, receiver, endpoints)
    reports = distinct(first_item, signals)
    with serving("ours", place, None, ["--no-deliver"]) as server:
        posts = iter([(len(each), workload.bundle(apikey, each)) for each in reports])
        preload(server.port, posts, signals, "signals that wait", CONNECTIONS["ours"])
    return Due(place, apikey, told)


def distinct(first_item: int, signals: int, size: int = 1000) -> Iterator[list[dict[str, str]]]:
    """So many signals of as many items, in lists of at most ``size``."""
    for start in range(first_item, first_item + signals, size):
        stop = min(start + size, first_item + signals)
        yield [workload.first_step(number) for number in range(start, stop)]


def rate_pair(home: Home, receiver: Receiver, due: Due) -> list[Row]:
    told: list[Arrival] = []

    def tell() -> Measurement:
        with home.copied(due.place) as place:
            receiver.forget()
            with serving("ours", place, None, TELL) as server:
                expected = proof.expected(place, due.told, due.after)
                came = receiver.wait_for(expected.count, STALLED_S_MAX)
                peak_rss_mb = server.peak_rss_mb()
            told[:] = receiver.arrivals()
            return Measurement(
                told_per_s=(came.count - 1) / (came.last_ns - came.first_ns) * 1e9,
                peak_rss_mb=peak_rss_mb,
                **expected.faults(told),
            )

    def post() -> Measurement:
        receiver.forget()
        posting.post_all(due.place.folder / "webhooks", told, receiver.port, AT_ONCE_MAX)
        came = receiver.came()
        return Measurement(
            told_per_s=(came.count - 1) / (came.last_ns - came.first_ns) * 1e9,
            untold=len(told) - came.count,
        )

    crowd = counted(len(due.told))
    return [
        Row("m", f"ours, {crowd}", None, tell),
        Row("m", f"bare aiohttp, {crowd}", None, post),
    ]


# ---- (n): how soon ----


def latency_row(store: Store, receiver: Receiver, seconds: int) -> Row:
    def measure() -> Measurement:
        with store.copied() as place:
            told = add_owner_of_all(place, receiver)
            slots = range(store.next_slot + 1, store.next_slot + 1 + PACE_PER_S * seconds)
            bodies = [store.body(slot) for slot in slots]
            due = Due(place, store.apikey, told, store.signals)
            return measure_paced(due, receiver, store.body(store.next_slot), bodies, PACE_PER_S)

    return Row("n", "ours, one endpoint", None, measure)


def measure_paced(
    due: Due, receiver: Receiver, first: bytes, bodies: Sequence[bytes], per_s: int
) -> Measurement:
    """The first signal wakes who tells; the others come at an even pace once that one was told."""
    receiver.forget()
    with serving("ours", due.place, first, TELL) as server:
        receiver.wait_for(1, STALLED_S_MAX)
        paced = post_paced(server.port, bodies, per_s)
        expected = proof.expected(due.place, due.told, due.after)
        receiver.wait_for(expected.count, STALLED_S_MAX)
        peak_rss_mb = server.peak_rss_mb()
    arrivals = receiver.arrivals()
    took_ms = latencies_ms(paced, expected, arrivals)
    places = statistics.quantiles(took_ms, n=100)
    return Measurement(
        signals_per_s=paced.per_s,
        told_p50_ms=places[49],
        told_p95_ms=places[94],
        peak_rss_mb=peak_rss_mb,
        errors=paced.errors,
        **expected.faults(arrivals),
    )


def latencies_ms(
    paced: Paced, expected: proof.Expected, arrivals: Sequence[Arrival]
) -> list[float]:
    """Below zero where the owner had it before the print partner had its answer."""
    return [
        (each.at_ns - paced.answered_ns[where]) / 1e6
        for each in arrivals
        if (where := expected.position(each)) in paced.answered_ns
    ]


# ---- (o): what it costs those who post ----


def ingest_rows(store: Store, receiver: Receiver, loads: Sequence[Load], seconds: int) -> list[Row]:
    rows: list[Row] = []
    for load in loads:
        rows.append(wrk_row("o", "ours, nobody is told", store, load, seconds))
        rows.append(Row("o", "ours, one endpoint", load, ingesting(store, receiver, load, seconds)))
    return rows


def ingesting(
    store: Store, receiver: Receiver, load: Load, seconds: int
) -> Callable[[], Measurement]:
    def measure() -> Measurement:
        with store.copied() as place:
            due = Due(place, store.apikey, add_owner_of_all(place, receiver), store.signals)
            receiver.forget()
            with serving("ours", place, store.body(store.next_slot), TELL) as server:
                receiver.wait_for(1, STALLED_S_MAX)
                return measure_ingest(store, due, server, receiver, load, seconds)

    return measure


def measure_ingest(
    store: Store, due: Due, server: Server, receiver: Receiver, load: Load, seconds: int
) -> Measurement:
    warm = run_load([server.port], load, WARM_UP_S, store.posts(store.next_slot + 1))
    before, came_before = position(server, store, warm.next_slot), receiver.came().count
    found = run_load([server.port], load, seconds, store.posts(warm.next_slot + 1))
    came = receiver.came().count
    after = position(server, store, found.next_slot)
    expected = proof.expected(due.place, due.told, due.after)
    receiver.wait_for(expected.count, STALLED_S_MAX)
    return Measurement(
        signals_per_s=found.posts_per_s,
        p50_ms=found.p50_ms,
        p99_ms=found.p99_ms,
        peak_rss_mb=server.peak_rss_mb(),
        errors=found.errors + warm.errors,
        unstored=max(0, found.posts - (after - before - 1)),
        told_per_s=(came - came_before) / seconds,
        **expected.faults(receiver.arrivals()),
    )


# ---- (p): many, and some of them dead ----


def crowd_row(home: Home, receiver: Receiver, first_item: int, seconds: int) -> Row:
    """Owners whose endpoints are healthy, silent, or, the last of them, refuse connections."""
    place = home.new("owners")
    due = make_owners(place, receiver, first_item)

    def body(number: int) -> bytes:
        time, owner = divmod(number, OWNERS)
        order = workload.order_id(first_item + owner)
        report = workload.first_step(first_item + owner) | {"item": f"{order}-{time}"}
        return workload.single_of(due.apikey, report)

    def measure() -> Measurement:
        with home.copied(place) as copy:
            copied = Due(copy, due.apikey, due.told)
            bodies = [body(OWNERS + number) for number in range(PACE_OF_MANY_PER_S * seconds)]
            return measure_paced(copied, receiver, body(0), bodies, PACE_OF_MANY_PER_S)

    name = f"ours, {OWNERS:,} endpoints, {SILENT + REFUSING} dead"
    return Row("p", name, None, measure)


def make_owners(place: Place, receiver: Receiver, first_item: int) -> Due:
    """A thousand owners of an order each, registered before they had endpoints: of that none is told."""
    apikey = make_interface(place)
    names = [f"Owner {number}" for number in range(OWNERS)]
    with closing(open_store(place.url)) as store:
        for name in names:
            store.orders.create_owner(name, now=clock.now())
        registrations = [
            Registration(workload.order_id(first_item + number), name)
            for number, name in enumerate(names)
        ]
        store.orders.register(registrations, now=clock.now())
    return Due(place, apikey, add_endpoints(place, receiver, names)[:HEALTHY])


def counted(endpoints: int) -> str:
    return "one endpoint" if endpoints == 1 else f"{endpoints} endpoints"
