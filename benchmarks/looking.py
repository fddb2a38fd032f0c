"""The panel: how soon its pages are there when much is stored, and what it costs those who post that one looks."""

import http.client
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress

from benchmarks import workload
from benchmarks.asking import FLAGS, Ask, measured, measurement
from benchmarks.narrowing import furnish, registered_orders
from benchmarks.places import Place
from benchmarks.rows import Measurement, Row, measure_load
from benchmarks.servers import SECRET, Server
from benchmarks.stores import Store
from benchmarks.wrk import Load
from cloudsignal.server.clock import now
from cloudsignal.server.keys import Keyring
from cloudsignal.server.store.sessions import Session
from cloudsignal.server.store.store import open_store

SIGNALS, SIGNALS_QUICK = 10_000_000, 200_000
SESSION = "the session of a benchmark"
DAY_US = 86_400_000_000
PAGES = {
    "overview": "/panel/",
    "overview, 30 days": "/panel/?span=30d",
    "items": "/panel/items",
    "items that are packed": "/panel/items?state=packed",
    "items of a print partner": "/panel/items?partner=Benchmark",
    "items of it that are producing": "/panel/items?partner=Benchmark&state=producing",
    "items of it that are shipped": "/panel/items?partner=Benchmark&state=shipped",
    "items of a small one": "/panel/items?partner=Small",
    "items of it that are registered": "/panel/items?partner=Small&state=registered",
    "delayed items of it": "/panel/items?partner=Small&delayed=yes",
    "delayed items": "/panel/items?delayed=yes",
    "test items": "/panel/items?test=yes",
    "test items that are packed": "/panel/items?test=yes&state=packed",
    "orders of an owner": "/panel/orders?owner=Owner",
    "an order": "/panel/order?order={order}",
    "an item": "/panel/item?order={order}&item={order}-1",
    "refused posts": "/panel/refusals",
    "interfaces": "/panel/interfaces",
    "print partners": "/panel/partners",
    "deliveries": "/panel/deliveries",
    "deliveries that failed": "/panel/deliveries?failed=true",
    "dead letters": "/panel/dead-letters",
    "insight": "/panel/insight",
    "insight of a print partner": "/panel/insight/{partner}",
    "late signals of it": "/panel/insight/{partner}/offending/slow",
    "open items of it": "/panel/insight/{partner}/open/producing",
    "at risk": "/panel/at-risk",
    "changes": "/panel/changes",
}


def page_rows(store: Store, seconds: int) -> list[Row]:
    """One who loads a page again and again."""
    sign_in(store.place)
    furnish(store)
    count(store.place)
    values = {"order": workload.order_id(registered_orders(store)[0]), "partner": number_of(store)}
    return [
        Row(
            "r",
            f"{title}, {store.signals:,} signals",
            None,
            looking(store, path.format_map(values), seconds),
        )
        for title, path in PAGES.items()
    ]


def number_of(store: Store) -> int:
    """The number of the print partner who has nearly all items."""
    with closing(open_store(store.place.url)) as opened:
        return opened.access.partner("Benchmark").id


def looking(store: Store, path: str, seconds: int) -> Callable[[], Measurement]:
    def ask() -> Ask:
        return path, lambda status, _: status == 200

    def measure() -> Measurement:
        took_s, failed, peak_rss_mb = measured(store.place, seconds, COOKIE, lambda: ask)
        return measurement(took_s, peak_rss_mb, errors=failed)

    return measure


COOKIE = {"Cookie": f"cloudsignal={SESSION}"}


def cost_rows(store: Store, loads: Sequence[Load], seconds: int) -> list[Row]:
    """Posts while nobody looks and nothing is counted; and while it is, and somebody looks."""
    rows: list[Row] = []
    for load in loads:
        rows.append(Row("s", "ours, no panel", load, posting(store, load, seconds, looks=False)))
        rows.append(Row("s", "ours, one looks", load, posting(store, load, seconds, looks=True)))
    return rows


def posting(store: Store, load: Load, seconds: int, *, looks: bool) -> Callable[[], Measurement]:
    def measure() -> Measurement:
        with store.copied() as place:
            if looks:
                sign_in(place)
                return measure_load(store, place, load, seconds, flags=FLAGS, beside=watching)
            flags = (*FLAGS, "--no-panel")
            return measure_load(store, place, load, seconds, flags=flags)

    return measure


@contextmanager
def watching(server: Server) -> Iterator[None]:
    """Somebody has the first page open, which is live."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/panel/live", headers=COOKIE)
    answer = connection.getresponse()
    if answer.status != 200:
        raise RuntimeError(f"the live page was answered {answer.status}")
    reading = threading.Thread(target=lambda: read_on(answer), daemon=True)
    reading.start()
    try:
        yield
    finally:
        connection.sock.shutdown(2)
        reading.join()
        connection.close()


def read_on(answer: http.client.HTTPResponse) -> None:
    with suppress(http.client.HTTPException, OSError):  # It is cut off in the end.
        while answer.read1(1 << 16):
            pass


def sign_in(place: Place) -> None:
    """Let somebody be signed in there."""
    with closing(open_store(place.url)) as store:
        digest = Keyring(SECRET["CLOUDSIGNAL_SECRET"]).digest(SESSION)
        if store.users.any():
            return
        user = store.users.create("Benchmark", "admin", now=now())
        begun = now()
        session = Session(digest, user.id, begun, begun, begun + DAY_US, "127.0.0.1", "benchmark")
        store.sessions.begin(session)


def count(place: Place) -> None:
    """Have everything counted, as the bookkeeper does."""
    with closing(open_store(place.url)) as store:
        while not store.rollups.step().is_idle:
            pass
