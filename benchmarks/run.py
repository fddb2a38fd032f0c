"""Compares cloudsignal with an empty handler, the usual pick, SQLite and aiohttp themselves: see README.md."""

import argparse
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from benchmarks.machine import describe
from benchmarks.places import emptied, require_postgresql
from benchmarks.report import compare, print_comparisons, print_rows, write_json
from benchmarks.servers import CLOUDSIGNAL
from benchmarks.stages import ON_POSTGRESQL, ON_SQLITE, OURS, Run, measure_all
from benchmarks.wrk import require_wrk

LETTERS = sorted({*ON_SQLITE, *ON_POSTGRESQL})
PEERS_NEED = {"d": ("fastapi", "aiosqlite", "greenlet"), "h": ("fastapi", "asyncpg", "greenlet")}

TABLE_WIDTH = 120

# Not the system's temporary folder: that may be memory, where durable costs nothing.
FOLDER = Path(__file__).with_name(".data")


def main() -> None:
    options = read_options()
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)  # cut off figures help nobody
    require(options.rows, with_postgresql=options.on != "sqlite")
    machine = describe(emptied(options.folder))
    console.print(*(f"{name}: {text}" for name, text in machine.items()), sep="\n")
    run = Run(options, console, machine)
    measure_all(run)
    comparisons = compare(run.rows, run.facts)
    print_rows(console, run.rows, options.rounds)
    if comparisons:
        print_comparisons(console, comparisons)
    if options.json:
        write_json(options.json, machine, run.rows, comparisons)
    shutil.rmtree(options.folder)
    sys.exit(any(row.faults() for row in run.rows))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--seconds", type=int, help="of each measurement, default 4")
    letters = ",".join(LETTERS)
    parser.add_argument("--rows", default=letters, help=f"default {letters}")
    stores = ("sqlite", "postgresql")
    parser.add_argument("--on", choices=stores, help="only there, default both")
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


def require(letters: list[str], *, with_postgresql: bool) -> None:
    require_wrk()
    if set(OURS) & set(letters) and not CLOUDSIGNAL.exists():
        sys.exit(f"{CLOUDSIGNAL} is missing: `make setup` installs it, --rows a,d,h does without.")
    for letter, names in PEERS_NEED.items():
        missing = [name for name in names if find_spec(name) is None]
        if letter in letters and missing:
            needed = ", ".join(missing)
            sys.exit(f"Row {letter} needs {needed}: install the benchmark dependencies.")
    if with_postgresql and set(ON_POSTGRESQL) & set(letters):
        require_postgresql()


if __name__ == "__main__":
    main()
