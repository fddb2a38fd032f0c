"""Which rows are measured on which stores."""

import argparse
from dataclasses import dataclass, field

from rich.console import Console

from benchmarks.asking import FLAGS
from benchmarks.places import Databases, Files, Home, databases, emptied
from benchmarks.report import Fact
from benchmarks.rows import ALONE, Company, Row, bundle_rows, measure_rounds, wrk_row
from benchmarks.servers import serving
from benchmarks.stores import Store, grow, make_store
from benchmarks.workload import first_item_now
from benchmarks.wrk import Load

TELLING = "mnop"
ON_SQLITE, ON_POSTGRESQL = "abcdeklqrs" + TELLING, "fghijnoqrs"
OURS = "bcefgijklqrs" + TELLING

SINGLES = (Load(1), Load(64), Load(256))
CROWDS = (Load(64), Load(256))
SHARED_CROWDS = (Load(64, generators=2), Load(256, generators=2))
BUNDLES = Load(16, bundle=100)
TWO_NODES, THREE_READERS = Company(nodes=2), Company(readers=3)

SIZES, SIZES_QUICK = (100_000, 1_000_000, 5_000_000), (100_000, 1_000_000)
LARGE_MIN = 1_000_000  # smaller ones are not measured on PostgreSQL


@dataclass
class Run:
    """What was asked for, and what has been found so far."""

    options: argparse.Namespace
    console: Console
    machine: dict[str, str]
    first_item: int = field(default_factory=first_item_now)
    rows: list[Row] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)

    def wants(self, letters: str) -> bool:
        return not set(letters).isdisjoint(self.options.rows)

    def make(self, kind: str, home: Home, letters: str) -> Store | None:
        """A store for rows of these letters: making one takes a while, so only if they are wanted."""
        return make_store(kind, home, self.first_item) if self.wants(letters) else None

    def row(
        self, letter: str, name: str, store: Store | None, load: Load, company: Company = ALONE
    ) -> Row:
        if load.bundle > 1:
            name = f"{name}, bundles of {load.bundle}"
        return wrk_row(letter, name, store, load, self.options.seconds, company)

    def wanted(self, rows: list[Row]) -> list[Row]:
        return [row for row in rows if self.wants(row.letter)]

    def measure(self, stage: str, rows: list[Row]) -> None:
        for row in rows:
            row.stage = stage
        measure_rounds(rows, self.options.rounds, self.console)
        self.rows += rows


def measure_all(run: Run) -> None:
    files = Files(run.options.folder)
    empty = make_store("empty", files, run.first_item)
    if run.wants(ON_SQLITE) and run.options.on != "postgresql":
        measure_on_sqlite(run, files, empty)
    if run.wants(ON_POSTGRESQL) and run.options.on != "sqlite":
        with databases(emptied(run.options.folder / "postgresql")) as home:
            run.machine["postgresql"] = home.described()
            run.console.print(f"postgresql: {run.machine['postgresql']}")
            measure_on_postgresql(run, home, empty)


def measure_on_sqlite(run: Run, home: Files, empty: Store) -> None:
    ours = run.make("ours", home, "bcelno")
    usual = run.make("usual", home, "d")
    if ours is not None:
        run.facts += [new_start_fact(home), start_fact(ours)]
    if run.wants("bcd") or not run.wants(ON_POSTGRESQL + "eklqrs" + TELLING):
        run.measure("new store", new_rows(run, empty, ours, usual))
    if run.wants("kl"):
        measure_outbox(run, home, ours)
    if run.wants(TELLING):
        measure_telling(run, home, ours)
    if run.wants("q"):
        measure_searching(run, home)
    if run.wants("rs"):
        measure_looking(run, home)
    if ours is not None and run.wants("e"):
        for size in sizes(run.options.quick):
            grow(ours, size)
            run.facts += size_facts(ours)
            run.measure(ours.amount(), grown_rows(run, "e", empty, ours))


def measure_outbox(run: Run, home: Files, ours: Store | None) -> None:
    from benchmarks import outbox  # It needs cloudsignal, which the peers' rows do without.

    if run.wants("k"):
        run.measure("outbox, in", outbox.put_rows(home, run.options.seconds))
    if run.wants("l"):
        run.measure("outbox, out", outbox.drain_rows(ours, run.options.seconds))


def measure_telling(run: Run, home: Home, ours: Store | None) -> None:
    from benchmarks import telling  # It needs cloudsignal, which the peers' rows do without.
    from benchmarks.receiver import receiving

    seconds, rows = run.options.seconds, list[Row]()
    with receiving(telling.HEALTHY, telling.SILENT) as receiver:
        if not home.where and run.wants("m"):
            rows += telling.rate_rows(home, receiver, run.first_item, quick=run.options.quick)
        if ours is not None and run.wants("n"):
            rows.append(telling.latency_row(ours, receiver, telling.PACED_S * seconds))
        if ours is not None and run.wants("o"):
            rows += telling.ingest_rows(ours, receiver, CROWDS, seconds)
        if not home.where and run.wants("p"):
            rows.append(
                telling.crowd_row(home, receiver, run.first_item, telling.PACED_S * seconds)
            )
        run.measure(f"owners{home.where}", rows)


def measure_searching(run: Run, home: Home) -> None:
    from benchmarks import searching  # It needs cloudsignal, which the peers' rows do without.

    options = run.options
    rows = searching.search_rows(home, run.first_item, options.seconds, quick=options.quick)
    run.measure(f"a search{home.where}", rows)


def measure_looking(run: Run, home: Home) -> None:
    # They need cloudsignal, which the peers' rows do without.
    from benchmarks import browsing, looking

    store, seconds = make_store("ours", home, run.first_item), run.options.seconds
    if run.wants("s"):
        run.measure(f"the panel{home.where}", looking.cost_rows(store, CROWDS, seconds))
    if run.wants("r"):
        grow(store, browsing.SIGNALS_QUICK if run.options.quick else browsing.SIGNALS)
        browsing.prepare(store)
        with serving("ours", store.place, None, FLAGS) as server:
            run.facts += browsing.first_loads(store, server)
            run.measure(f"a page{home.where}", browsing.page_rows(store, server, seconds))


def new_rows(run: Run, empty: Store, ours: Store | None, usual: Store | None) -> list[Row]:
    """Rows a to d: every store has just begun."""
    rows = [run.row("a", "empty handler", empty, load) for load in (*SINGLES, BUNDLES)]
    rows += [run.row("b", "ours", ours, load) for load in SINGLES]
    rows += bundle_rows(ours, BUNDLES, run.options.seconds)
    rows += [run.row("d", "usual pick", usual, load) for load in CROWDS]
    return run.wanted(rows)


def measure_on_postgresql(run: Run, home: Databases, empty: Store) -> None:
    ours = run.make("ours", home, "fgijno")
    usual = run.make("usual", home, "h")
    if ours is not None:
        run.facts.append(start_fact(ours))
    if run.wants("fghi"):
        run.measure(f"new store{home.where}", new_rows_on_postgresql(run, empty, ours, usual))
    if run.wants("no"):
        measure_telling(run, home, ours)
    if run.wants("q"):
        measure_searching(run, home)
    if run.wants("rs"):
        measure_looking(run, home)
    if ours is not None and run.wants("j"):
        for size in sizes(run.options.quick, LARGE_MIN):
            run.facts.append(grow_and_count_wal(home, ours, size))
            run.facts += size_facts(ours)
            run.measure(ours.amount(), grown_rows(run, "j", empty, ours))


def new_rows_on_postgresql(
    run: Run, empty: Store, ours: Store | None, usual: Store | None
) -> list[Row]:
    """Rows f to i: every store has just begun. What is compared is measured in turn."""
    rows: list[Row] = []
    for load in CROWDS:
        rows.append(run.row("a", "empty handler", empty, load))
        rows.append(run.row("f", "ours", ours, load))
        rows.append(run.row("i", "ours, three readers", ours, load, THREE_READERS))
        rows.append(run.row("h", "usual pick", usual, load))
    rows.append(run.row("a", "empty handler", empty, BUNDLES))
    rows.append(run.row("f", "ours", ours, BUNDLES))
    for load in SHARED_CROWDS:
        rows.append(run.row("g", "ours, one node, two wrk", ours, load))
        rows.append(run.row("g", "ours, two nodes, two wrk", ours, load, TWO_NODES))
    return run.wanted(rows)


def sizes(quick: bool, least: int = 0) -> list[int]:
    return [size for size in (SIZES_QUICK if quick else SIZES) if size >= least]


def grown_rows(run: Run, letter: str, empty: Store, ours: Store) -> list[Row]:
    """Row e or j, and the empty handler again, so that the ratio is of the same round too."""
    rows: list[Row] = []
    for load in CROWDS:
        rows.append(run.row("a", "empty handler", empty, load))
        rows.append(run.row(letter, "ours", ours, load))
    return rows


def new_start_fact(home: Home) -> Fact:
    """A server that has to make its store first knows no key yet, so /readyz is asked."""
    with serving("ours", home.new("new"), None) as server:
        return Fact("start to first 200 of /readyz, no store yet", server.first_200_s, "s", 1)


def start_fact(store: Store) -> Fact:
    name = f"start to first post answered 200, {store.amount()}"
    with store.copied() as place, serving("ours", place, store.body(store.next_slot)) as server:
        return Fact(name, server.first_200_s, "s", 1)


def grow_and_count_wal(home: Databases, store: Store, size: int) -> Fact:
    signals, wal_bytes = store.signals, home.wal_bytes()
    grow(store, size)
    each = (home.wal_bytes() - wal_bytes) / (size - signals)
    return Fact(f"PostgreSQL's log per signal, up to {store.amount()}", each, "bytes")


def size_facts(store: Store) -> list[Fact]:
    stored = store.amount()
    memory_mb_max = 150 if store.signals == 1_000_000 else None
    return [
        start_fact(store),
        Fact(f"disk per signal, {stored}", store.size_bytes() / store.signals, "bytes"),
        Fact(
            f"memory of the server that took them in, {stored}", store.rss_mb, "MB", memory_mb_max
        ),
        Fact(f"its peak, {stored}", store.peak_rss_mb, "MB", memory_mb_max),
    ]
