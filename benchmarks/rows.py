"""The rows of the table, measured in alternating rounds."""

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field

from rich.console import Console

from benchmarks import limit
from benchmarks.places import Place, database
from benchmarks.readers import Reader, wait_for
from benchmarks.servers import Server, serving
from benchmarks.stores import Store, make_token
from benchmarks.wrk import Load, run_load

WARM_UP_S = 1
FAULTS = ("errors", "unstored", "unseen", "untold", "mistold", "misfound")


@dataclass(frozen=True)
class Company:
    """How many servers share the store and the load, and how many clients read meanwhile."""

    nodes: int = 1
    readers: int = 0


ALONE = Company()


@dataclass(frozen=True)
class Measurement:
    signals_per_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    peak_rss_mb: float | None = None
    errors: int = 0
    unstored: int = 0  # answered 200, yet not in the log: must be 0
    unseen: int = 0  # in the log, yet not shown to a reader, or out of order: must be 0
    behind_s: float | None = None  # how long after the last answer the last reader had it
    told_per_s: float | None = None
    told_p50_ms: float | None = None  # from the 200 at the print partner to the owner's receiver
    told_p95_ms: float | None = None
    untold: int = 0  # in the log, yet not told a healthy owner: must be 0
    mistold: int = 0  # not in order for its item, or not what the log has: must be 0
    misfound: int = 0  # searches that found something else than what is there: must be 0


@dataclass
class Row:
    letter: str
    name: str
    load: Load | None
    measure: Callable[[], Measurement]
    company: Company = ALONE
    stage: str = ""
    rounds: list[Measurement] = field(default_factory=list)
    ratio: float | None = None  # to the empty handler with the same load

    def median(self, figure: str) -> float | None:
        found = [getattr(one, figure) for one in self.rounds]
        return statistics.median(found) if found and None not in found else None

    def total(self, figure: str) -> int:
        return sum(getattr(one, figure) for one in self.rounds)

    def faults(self) -> int:
        return sum(self.total(figure) for figure in FAULTS)


def wrk_row(
    letter: str, name: str, store: Store, load: Load, seconds: int, company: Company = ALONE
) -> Row:
    def measure() -> Measurement:
        with store.copied() as place:
            return measure_load(store, place, load, seconds, company)

    return Row(letter, name, load, measure, company)


def bundle_rows(store: Store, load: Load, seconds: int) -> list[Row]:
    """Our bundles, and behind them SQLite with the rows they became, round by round."""
    written: limit.Rows = []

    def measure() -> Measurement:
        with store.copied() as place:
            found = measure_load(store, place, load, seconds)
            start = limit.last_position(database(store.place.folder))
            written[:] = limit.rows_after(database(place.folder), start)
            return found

    def insert(rows_per_commit: int) -> Callable[[], Measurement]:
        def measure_limit() -> Measurement:
            with store.copied() as place:
                rate = limit.insert_rate(database(place.folder), written, rows_per_commit)
                return Measurement(rate)

        return measure_limit

    rows = [Row("c", f"ours, bundles of {load.bundle}", load, measure)]
    for size in (load.bundle, 1000):
        rows.append(Row("c", f"raw executemany, commit each {size}", None, insert(size)))
    return rows


def measure_load(
    store: Store,
    place: Place,
    load: Load,
    seconds: int,
    company: Company = ALONE,
    *,
    flags: Sequence[str] = (),
    beside: Callable[[Server], AbstractContextManager[None]] = nullcontext,
) -> Measurement:
    """Posts to servers on a store, started with these flags; ``beside`` is what goes on meanwhile."""
    token = make_token(place) if company.readers else ""
    with ExitStack() as stack:
        starting = [
            serving(store.kind, place, store.body(store.next_slot), flags)
            for _ in range(company.nodes)
        ]
        nodes = [stack.enter_context(node) for node in starting]
        stack.enter_context(beside(nodes[0]))
        ports = [node.port for node in nodes]
        warm = run_load(ports, load, WARM_UP_S, store.posts(store.next_slot + 1))
        before = position(nodes[0], store, warm.next_slot)
        readers = [Reader(ports[0], token, before) for _ in range(company.readers)]
        found = run_load(ports, load, seconds, store.posts(warm.next_slot + 1))
        after = position(nodes[0], store, found.next_slot)
        behind_s = wait_for(readers, after) if readers else None
        stored = after - before - 1
        return Measurement(
            signals_per_s=found.posts_per_s * load.bundle,
            p50_ms=found.p50_ms,
            p99_ms=found.p99_ms,
            peak_rss_mb=sum(node.peak_rss_mb() for node in nodes),
            errors=found.errors + warm.errors,
            unstored=max(0, found.posts * load.bundle - stored) if store.kind == "ours" else 0,
            unseen=sum(reader.faults(after) for reader in readers),
            behind_s=behind_s,
        )


def position(server: Server, store: Store, slot: int) -> int:
    """Where the log stands, asked by one more post."""
    return int(server.post(store.body(slot)).get("position", 0))


def measure_rounds(rows: list[Row], rounds: int, console: Console) -> None:
    """Round by round, each row once in each, so that a slow minute hits all rows alike."""
    for number in range(1, rounds + 1):
        for row in rows:
            with console.status(f"{row.stage} round {number} of {rounds}: {row.name}"):
                row.rounds.append(row.measure())
    for row in rows:
        row.ratio = ratio_to(row, empty_row(rows, row.load))


def empty_row(rows: list[Row], load: Load | None) -> Row | None:
    if load is None:
        return None
    return next((row for row in rows if row.letter == "a" and row.load == load), None)


def ratio_to(row: Row | None, other: Row | None, figure: str = "signals_per_s") -> float | None:
    """The median of the ratios within each round."""
    if row is None or other is None:
        return None
    pairs = zip(row.rounds, other.rounds, strict=True)
    return statistics.median(getattr(one, figure) / getattr(two, figure) for one, two in pairs)
