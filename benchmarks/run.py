"""Compares cloudsignal with an empty handler, the usual pick and SQLite itself: see README.md."""

import argparse
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.report import Fact, compare, print_comparisons, print_rows, write_json
from benchmarks.rows import Row, bundle_rows, measure_rounds, wrk_row
from benchmarks.servers import CLOUDSIGNAL, serving
from benchmarks.stores import Store, copied, grow, make_store
from benchmarks.workload import first_item_now
from benchmarks.wrk import Load, require_wrk
from rich.console import Console

LETTERS = "abcde"
SINGLES = (Load(1), Load(64), Load(256))
CROWDS = (Load(64), Load(256))
BUNDLES = Load(16, bundle=100)
SIZES, SIZES_QUICK = (100_000, 1_000_000, 5_000_000), (100_000, 1_000_000)

TABLE_WIDTH = 120

# Not the system's temporary folder: that may be memory, where durable costs nothing.
FOLDER = Path(__file__).with_name(".data")


def main() -> None:
    options = read_options()
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)  # cut off figures help nobody
    require(options.rows)
    with_clean_folder(options.folder)
    machine = describe(options.folder)
    console.print(*(f"{name}: {text}" for name, text in machine.items()), sep="\n")
    rows, facts = measure_all(options, console)
    comparisons = compare(rows, facts)
    print_rows(console, rows, options.rounds)
    if comparisons:
        print_comparisons(console, comparisons)
    if options.json:
        write_json(options.json, machine, rows, comparisons)
    shutil.rmtree(options.folder)
    sys.exit(any(row.total("errors") or row.total("unstored") for row in rows))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--seconds", type=int, help="of each measurement, default 4")
    parser.add_argument("--rows", default=",".join(LETTERS), help="default a,b,c,d,e")
    parser.add_argument("--quick", action="store_true", help="2 s each, stops at a million signals")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for stores; is emptied")
    options = parser.parse_args()
    options.seconds = options.seconds or (2 if options.quick else 4)
    options.folder = options.folder.absolute()
    options.rows = options.rows.split(",")
    if unknown := set(options.rows) - set(LETTERS):
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    return options


def require(letters: list[str]) -> None:
    require_wrk()
    if {"b", "c", "e"} & set(letters) and not CLOUDSIGNAL.exists():
        sys.exit(f"{CLOUDSIGNAL} is missing: `make setup` installs it, --rows a,d does without.")
    missing = [name for name in ("fastapi", "aiosqlite", "greenlet") if find_spec(name) is None]
    if "d" in letters and missing:
        sys.exit(f"Row d needs {', '.join(missing)}: install the benchmark dependencies.")


def with_clean_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def measure_all(options: argparse.Namespace, console: Console) -> tuple[list[Row], list[Fact]]:
    first_item = first_item_now()
    empty = make_store("empty", options.folder, first_item)
    rows: list[Row] = []
    facts: list[Fact] = []
    if {"b", "c", "e"} & set(options.rows):
        ours = make_store("ours", options.folder, first_item)
        facts.append(new_start_fact(options))
        facts.append(start_fact(ours))
    else:
        ours = None
    rows += measure_new(options, console, empty, ours)
    if "e" in options.rows and ours is not None:
        for size in SIZES_QUICK if options.quick else SIZES:
            grow(ours, size)
            facts += size_facts(ours)
            rows += measure_grown(options, console, empty, ours)
    return rows, facts


def measure_new(
    options: argparse.Namespace, console: Console, empty: Store, ours: Store | None
) -> list[Row]:
    """Rows a to d: every store has just begun."""
    seconds, rows = options.seconds, []
    if "a" in options.rows:
        for load in (*SINGLES, BUNDLES):
            name = "empty handler" + (f", bundles of {load.bundle}" if load.bundle > 1 else "")
            rows.append(wrk_row("a", name, empty, load, seconds))
    if "b" in options.rows and ours is not None:
        rows += [wrk_row("b", "ours", ours, load, seconds) for load in SINGLES]
    if "c" in options.rows and ours is not None:
        rows += bundle_rows(ours, BUNDLES, seconds)
    if "d" in options.rows:
        usual = make_store("usual", options.folder, empty.first_item)
        rows += [wrk_row("d", "usual pick", usual, load, seconds) for load in CROWDS]
    return measured(options, console, rows, "new store")


def measure_grown(
    options: argparse.Namespace, console: Console, empty: Store, ours: Store
) -> list[Row]:
    """Row e, and the empty handler again, so that its ratio is of the same round too."""
    rows = []
    for load in CROWDS:
        rows.append(wrk_row("a", "empty handler", empty, load, options.seconds))
        rows.append(wrk_row("e", "ours", ours, load, options.seconds))
    return measured(options, console, rows, f"{ours.signals:,} stored")


def measured(
    options: argparse.Namespace, console: Console, rows: list[Row], stage: str
) -> list[Row]:
    for row in rows:
        row.stage = stage
    measure_rounds(rows, options.rounds, console)
    return rows


def new_start_fact(options: argparse.Namespace) -> Fact:
    """A server that has to make its store first knows no key yet, so /readyz is asked."""
    folder = options.folder / "new"
    with_clean_folder(folder)
    with serving("ours", folder, None) as server:
        return Fact("start to first 200 of /readyz, no store yet", server.first_200_s, "s", 1)


def start_fact(store: Store) -> Fact:
    name = f"start to first post answered 200, {store.signals:,} stored"
    with copied(store) as folder, serving("ours", folder, store.body(store.next_slot)) as server:
        return Fact(name, server.first_200_s, "s", 1)


def size_facts(store: Store) -> list[Fact]:
    stored = f"{store.signals:,} stored"
    memory_mb_max = 150 if store.signals == 1_000_000 else None
    return [
        start_fact(store),
        Fact(f"disk per signal, {stored}", store.size_bytes() / store.signals, "bytes"),
        Fact(
            f"memory of the server that took them in, {stored}", store.rss_mb, "MB", memory_mb_max
        ),
        Fact(f"its peak, {stored}", store.peak_rss_mb, "MB", memory_mb_max),
    ]


if __name__ == "__main__":
    main()
