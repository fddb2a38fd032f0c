"""The table, the comparisons drawn from it, and the same as JSON."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, ratio_to
from rich.console import Console
from rich.table import Table


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
    found = [against_empty(rows, 64, 0.35), against_empty(rows, 256, 0.5)]
    found += [against_usual(rows, 64), against_usual(rows, 256), against_limit(rows)]
    found += [grown(rows, 64), grown(rows, 256)]
    kept = [one for one in found if one is not None]
    for fact in facts:
        kept.append(Comparison(fact.name, fact.figure, fact.unit, fact.at_most, at_most=True))
    return kept


def against_empty(rows: list[Row], connections: int, aim: float) -> Comparison | None:
    row = find(rows, "b", connections)
    if row is None or row.ratio is None:
        return None
    return Comparison(f"ours / empty handler, {connections} connections", row.ratio, "x", aim)


def against_usual(rows: list[Row], connections: int) -> Comparison | None:
    ratio = ratio_to(find(rows, "b", connections), find(rows, "d", connections))
    name = f"ours / usual pick, {connections} connections"
    return None if ratio is None else Comparison(name, ratio, "x", 40)


def against_limit(rows: list[Row]) -> Comparison | None:
    bundles = [row for row in rows if row.letter == "c"]
    if not bundles:
        return None
    ratio = ratio_to(bundles[0], bundles[1])
    name = "ours, bundles / raw executemany with as many rows a commit"
    return None if ratio is None else Comparison(name, ratio, "x", 0.5)


def grown(rows: list[Row], connections: int) -> Comparison | None:
    """The largest store against the smallest. Not of one round, so a ratio of medians."""
    found = [row for row in rows if is_at(row, "e", connections)]
    if len(found) < 2:
        return None
    first, last = (row.median("signals_per_s") or 0 for row in (found[0], found[-1]))
    name = f"{found[-1].stage} / {found[0].stage}, {connections} connections"
    return Comparison(name, last / first, "x", 0.6)


def find(rows: list[Row], letter: str, connections: int) -> Row | None:
    return next((row for row in rows if is_at(row, letter, connections)), None)


def is_at(row: Row, letter: str, connections: int) -> bool:
    return row.letter == letter and row.load is not None and row.load.connections == connections


def print_rows(console: Console, rows: list[Row], rounds: int) -> None:
    table = Table(title=f"Signals in, medians of {rounds} alternating rounds")
    table.add_column("row", no_wrap=True)
    for name in ("conn.", "signals/s", "/ empty", "p50 ms", "p99 ms", "RSS MB", "errors"):
        table.add_column(name, justify="right", no_wrap=True)
    stage = ""
    for row in rows:
        if row.stage != stage:
            stage = row.stage
            table.add_section()
            table.add_row(f"[bold]{stage}")
        table.add_row(*cells(row))
    console.print(table)


def cells(row: Row) -> list[str]:
    return [
        f"({row.letter}) {row.name}",
        str(row.load.connections) if row.load else "",
        number(row.median("signals_per_s"), 0),
        number(row.ratio, 2),
        number(row.median("p50_ms"), 2),
        number(row.median("p99_ms"), 2),
        number(row.median("peak_rss_mb"), 0),
        fault(row),
    ]


def fault(row: Row) -> str:
    errors, unstored = row.total("errors"), row.total("unstored")
    if unstored:
        return f"[bold white on red] {unstored} ANSWERED 200 AND NOT STORED "
    return f"[bold white on red] {errors} NOT ANSWERED 200 " if errors else "0"


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
    medians = ("signals_per_s", "p50_ms", "p99_ms", "peak_rss_mb")
    return {
        "row": row.letter,
        "name": row.name,
        "stage": row.stage,
        "load": asdict(row.load) if row.load else None,
        "ratio_to_empty": row.ratio,
        **{name: row.median(name) for name in medians},
        "errors": row.total("errors"),
        "unstored": row.total("unstored"),
        "rounds": [asdict(one) for one in row.rounds],
    }
