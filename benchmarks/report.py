"""The table, the comparisons drawn from it, and the same as JSON."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.rows import FAULTS, Row, ratio_to

TAKEN = ("conn.", "signals/s", "/ empty", "p50 ms", "p99 ms")
TOLD = ("conn.", "signals/s", "told/s", "p50 ms", "p95 ms")
FOUND = ("p50 ms", "p99 ms")
FAULT_WORDS = {
    "unstored": "ANSWERED 200 AND NOT STORED",
    "unseen": "NOT SHOWN TO A READER IN ORDER",
    "untold": "NOT TOLD THE OWNER",
    "mistold": "TOLD WRONG OR OUT OF ORDER",
    "misfound": "FOUND WRONG",
    "errors": "NOT ANSWERED 200",
}


@dataclass(frozen=True)
class Comparison:
    """One figure to hold against what the project aims at."""

    name: str
    figure: float
    unit: str
    aim: float | None = None
    at_most: bool = False

    def met(self) -> bool | None:
        if self.aim is None:
            return None
        return self.figure <= self.aim if self.at_most else self.figure >= self.aim


@dataclass(frozen=True)
class Fact:
    """What was seen beside the rows: a start, a store's size."""

    name: str
    figure: float
    unit: str
    at_most: float | None = None


def compare(rows: list[Row], facts: list[Fact]) -> list[Comparison]:
    found = [*on_sqlite(rows), *on_postgresql(rows), *of_the_outbox(rows), *of_telling(rows)]
    found += [*of_searching(rows), *of_looking(rows)]
    kept = [one for one in found if one is not None]
    for fact in facts:
        kept.append(Comparison(fact.name, fact.figure, fact.unit, fact.at_most, at_most=True))
    return kept


def on_sqlite(rows: list[Row]) -> Iterator[Comparison | None]:
    yield against_empty("ours", find(rows, "b", 64), 0.35)
    yield against_empty("ours", find(rows, "b", 256), 0.5)
    for connections in (64, 256):
        usual = find(rows, "d", connections)
        yield against("ours / usual pick", find(rows, "b", connections), usual, 40)
    yield against_limit(rows)
    yield grown(rows, "e", 64, 0.6)
    yield grown(rows, "e", 256, 0.6)


def on_postgresql(rows: list[Row]) -> Iterator[Comparison | None]:
    yield against_empty("ours on PostgreSQL", find(rows, "f", 64))
    yield against_empty("ours on PostgreSQL", find(rows, "f", 256), 0.4)
    for connections, aim in ((64, None), (256, 25)):
        ours, usual = find(rows, "f", connections), find(rows, "h", connections)
        yield against("ours / usual pick, both on PostgreSQL", ours, usual, aim)
    for connections in (64, 256):
        one, two = find(rows, "g", connections), find(rows, "g", connections, nodes=2)
        yield against("two nodes together / one node", two, one, 1)
    for connections in (64, 256):
        read = find(rows, "i", connections)
        yield against("while three readers follow / unread", read, find(rows, "f", connections))
        yield behind(read)
    yield grown(rows, "j", 64)
    yield grown(rows, "j", 256)


def of_the_outbox(rows: list[Row]) -> Iterator[Comparison | None]:
    if put := of_letter(rows, "k"):
        alone, several, _, raw_alone, raw_several = put
        yield measured(alone, "p50_ms", "ms, p50", 2, at_most=True)
        yield measured(several, "signals_per_s", "signals/s", 5000)
        yield between(alone, raw_alone)
        yield between(several, raw_several)
    drained = of_letter(rows, "l")
    for server, sender in zip(drained[::2], drained[1::2], strict=True):
        yield between(sender, server, 0.5)


def of_telling(rows: list[Row]) -> Iterator[Comparison | None]:
    rates = of_letter(rows, "m")
    for ours, bare in zip(rates[::2], rates[1::2], strict=True):
        yield between(ours, bare, 0.5, "told_per_s")
    for row in of_letter(rows, "n"):
        yield soon(row, 50)
    ingest = of_letter(rows, "o")
    for alone, telling in zip(ingest[::2], ingest[1::2], strict=True):
        ratio = ratio_to(telling, alone) or 0
        name = f"{telling.name} / {alone.name}, {crowd(alone)}, {alone.stage}"
        yield Comparison(name, ratio, "x")
    for row in of_letter(rows, "p"):
        yield soon(row)


def of_searching(rows: list[Row]) -> Iterator[Comparison]:
    for row in of_letter(rows, "q"):
        name = f"{row.stage}: {row.name}"
        yield Comparison(name, p99_ms(row), "ms, p99", 100, at_most=True)


def of_looking(rows: list[Row]) -> Iterator[Comparison]:
    pages = of_letter(rows, "r")
    for stage in dict.fromkeys(row.stage for row in pages):
        slowest = max((row for row in pages if row.stage == stage), key=p99_ms)
        name = f"{stage}, the slowest: {slowest.name}"
        yield Comparison(name, p99_ms(slowest), "ms, p99", 200, at_most=True)
    posts = of_letter(rows, "s")
    for alone, looked in zip(posts[::2], posts[1::2], strict=True):
        name = f"{looked.name} / {alone.name}, {crowd(alone)}, {alone.stage}"
        yield Comparison(name, ratio_to(looked, alone) or 0, "x", 0.95)


def p99_ms(row: Row) -> float:
    return row.median("p99_ms") or 0


def soon(row: Row, aim: float | None = None) -> Comparison:
    figure = row.median("told_p95_ms") or 0
    return Comparison(f"{row.stage} told, {row.name}", figure, "ms, p95", aim, at_most=True)


def measured(row: Row, figure: str, unit: str, aim: float, *, at_most: bool = False) -> Comparison:
    return Comparison(row.name, row.median(figure) or 0, unit, aim, at_most)


def between(
    row: Row, other: Row, aim: float | None = None, figure: str = "signals_per_s"
) -> Comparison:
    return Comparison(f"{row.name} / {other.name}", ratio_to(row, other, figure) or 0, "x", aim)


def against_empty(name: str, row: Row | None, aim: float | None = None) -> Comparison | None:
    if row is None or row.ratio is None:
        return None
    return Comparison(f"{name} / empty handler, {crowd(row)}", row.ratio, "x", aim)


def against(
    name: str, row: Row | None, other: Row | None, aim: float | None = None
) -> Comparison | None:
    ratio = ratio_to(row, other)
    return None if ratio is None else Comparison(f"{name}, {crowd(row)}", ratio, "x", aim)


def crowd(row: Row) -> str:
    return f"{connections(row)} connections"


def behind(row: Row | None) -> Comparison | None:
    behind_s = row.median("behind_s") if row else None
    name = "the last of three readers has the last signal after"
    return None if behind_s is None else Comparison(f"{name}, {crowd(row)}", behind_s, "s")


def against_limit(rows: list[Row]) -> Comparison | None:
    bundles = of_letter(rows, "c")
    if not bundles:
        return None
    ratio = ratio_to(bundles[0], bundles[1])
    name = "ours, bundles / raw executemany with as many rows a commit"
    return None if ratio is None else Comparison(name, ratio, "x", 0.5)


def grown(
    rows: list[Row], letter: str, connections: int, aim: float | None = None
) -> Comparison | None:
    """The largest store against the smallest. Not of one round, so a ratio of medians."""
    found = [row for row in rows if is_at(row, letter, connections)]
    if len(found) < 2:
        return None
    first, last = (row.median("signals_per_s") or 0 for row in (found[0], found[-1]))
    name = f"{found[-1].stage} / {found[0].stage}, {connections} connections"
    return Comparison(name, last / first, "x", aim)


def of_letter(rows: list[Row], letter: str) -> list[Row]:
    return [row for row in rows if row.letter == letter]


def find(rows: list[Row], letter: str, connections: int, nodes: int = 1) -> Row | None:
    found = (row for row in rows if is_at(row, letter, connections) and row.company.nodes == nodes)
    return next(found, None)


def is_at(row: Row, letter: str, connections: int) -> bool:
    return row.letter == letter and row.load is not None and row.load.connections == connections


def print_rows(console: Console, rows: list[Row], rounds: int) -> None:
    told = [row for row in rows if is_of_telling(row)]
    waited = [row for row in rows if row.letter in "qr"]
    taken = [row for row in rows if row not in told and row not in waited]
    if taken:
        console.print(filled(table_of("Signals in", TAKEN, rounds), taken, taken_cells))
    if told:
        console.print(filled(table_of("Owners told", TOLD, rounds), told, told_cells))
    if waited:
        console.print(filled(table_of("Searches and pages", FOUND, rounds), waited, found_cells))


def is_of_telling(row: Row) -> bool:
    return row.letter in "mnop"


def table_of(title: str, columns: Sequence[str], rounds: int) -> Table:
    table = Table(title=f"{title}, medians of {rounds} alternating rounds")
    table.add_column("row", no_wrap=True)
    for name in (*columns, "RSS MB", "errors"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def filled(table: Table, rows: list[Row], cells: Callable[[Row], list[str]]) -> Table:
    stage = ""
    for row in rows:
        if row.stage != stage:
            stage = row.stage
            table.add_section()
            table.add_row(f"[bold]{stage}")
        memory = number(row.median("peak_rss_mb"), 0)
        table.add_row(f"({row.letter}) {row.name}", *cells(row), memory, fault(row))
    return table


def taken_cells(row: Row) -> list[str]:
    return [
        connections(row),
        number(row.median("signals_per_s"), 0),
        number(row.ratio, 2),
        number(row.median("p50_ms"), 2),
        number(row.median("p99_ms"), 2),
    ]


def told_cells(row: Row) -> list[str]:
    return [
        connections(row),
        number(row.median("signals_per_s"), 0),
        number(row.median("told_per_s"), 0),
        number(row.median("told_p50_ms"), 1),
        number(row.median("told_p95_ms"), 1),
    ]


def found_cells(row: Row) -> list[str]:
    return [number(row.median("p50_ms"), 2), number(row.median("p99_ms"), 2)]


def connections(row: Row) -> str:
    return str(row.load.connections) if row.load else ""


def fault(row: Row) -> str:
    for name, words in FAULT_WORDS.items():
        if count := row.total(name):
            return f"[bold white on red] {count} {words} "
    return "0"


def number(figure: float | None, digits: int) -> str:
    return "" if figure is None else f"{figure:,.{digits}f}"


def print_comparisons(console: Console, comparisons: list[Comparison]) -> None:
    table = Table(title="Held against the aims")
    table.add_column("comparison")
    for name in ("figure", "aim", "met"):
        table.add_column(name, justify="right")
    for one in comparisons:
        sign = "at most" if one.at_most else "at least"
        aim = "" if one.aim is None else f"{sign} {one.aim:g} {one.unit}"
        met = {None: "", True: "[green]yes", False: "[bold red]no"}[one.met()]
        table.add_row(one.name, f"{one.figure:,.2f} {one.unit}", aim, met)
    console.print(table)


def write_json(
    path: Path, machine: dict[str, str], rows: list[Row], comparisons: list[Comparison]
) -> None:
    found = {
        "machine": machine,
        "rows": [as_figures(row) for row in rows],
        "comparisons": [asdict(one) | {"met": one.met()} for one in comparisons],
    }
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def as_figures(row: Row) -> dict[str, Any]:
    medians = ("signals_per_s", "p50_ms", "p99_ms", "peak_rss_mb", "behind_s")
    medians += ("told_per_s", "told_p50_ms", "told_p95_ms")
    return {
        "row": row.letter,
        "name": row.name,
        "stage": row.stage,
        "load": asdict(row.load) if row.load else None,
        "company": asdict(row.company),
        "ratio_to_empty": row.ratio,
        **{name: row.median(name) for name in medians},
        **{name: row.total(name) for name in FAULTS},
        "rounds": [asdict(one) for one in row.rounds],
    }
