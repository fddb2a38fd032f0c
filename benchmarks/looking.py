"""What it costs those who post that everything is counted for the panel, and that somebody looks at it."""

import http.client
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress

from benchmarks.asking import FLAGS
from benchmarks.places import Place
from benchmarks.rows import Measurement, Row, measure_load
from benchmarks.servers import SECRET, Server
from benchmarks.stores import Store
from benchmarks.wrk import Load
from cloudsignal.protocol.units import DAY_US
from cloudsignal.server.clock import now
from cloudsignal.server.keys import Keyring
from cloudsignal.server.panel.places import PREFIX
from cloudsignal.server.store.sessions import Session
from cloudsignal.server.store.store import open_store

SESSION = "the session of a benchmark"
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
    connection.request("GET", f"{PREFIX}/live", headers=COOKIE)
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
