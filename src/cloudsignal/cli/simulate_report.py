"""How a simulation goes, and how it went: for people, and as JSON for programs."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from cloudsignal.cli.output import Failed, plain, print_json, print_table

if TYPE_CHECKING:
    from rich.table import Table

    from cloudsignal.simulator.comparison import Comparison
    from cloudsignal.simulator.ledger import Ledger
    from cloudsignal.simulator.plan import Plan
    from cloudsignal.simulator.simulation import Result

REFRESHES_PER_S: Final = 4
LINE_EVERY_S: Final = 10.0
"""How often a line is written where standard error is no terminal."""
DIFFERENCES_SHOWN_MAX: Final = 20


@contextmanager
def progress(ledger: "Ledger") -> Iterator[None]:
    """A table that is kept up to date on a terminal; elsewhere a line now and then."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    began = time.monotonic()
    if console.is_terminal:
        with Live(
            get_renderable=lambda: _table(ledger, time.monotonic() - began),
            console=console,
            refresh_per_second=REFRESHES_PER_S,
            transient=True,
        ):
            yield
        return
    ended = threading.Event()

    def write_lines() -> None:
        while not ended.wait(LINE_EVERY_S):
            print(f"cloudsignal: {_line(ledger, time.monotonic() - began)}", file=sys.stderr)

    writer = threading.Thread(target=write_lines, daemon=True)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def _figures(ledger: "Ledger", seconds: float) -> dict[str, str]:
    states = {state: count for state, count in dict(ledger.states).items() if count}
    return {
        "signals sent": f"{ledger.signals}",
        "signals per second": f"{ledger.signals / max(seconds, 0.001):.0f}",
        "items": ", ".join(f"{count} {state}" for state, count in states.items()) or "0",
        "retries": f"{ledger.retries}",
        "posts that failed": f"{ledger.errors}",
    }


def _line(ledger: "Ledger", seconds: float) -> str:
    return "; ".join(f"{name}: {value}" for name, value in _figures(ledger, seconds).items())


def _table(ledger: "Ledger", seconds: float) -> "Table":
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in _figures(ledger, seconds).items():
        table.add_row(name, value)
    return table


def tell(plan: "Plan", ledger: "Ledger", result: "Result", *, json: bool) -> None:
    """The summary; Failed when something is not as it must be."""
    if json:
        print_json(_view(plan, ledger, result))
    else:
        _print_summary(ledger, result)
    if wrong := [*_wrong(ledger, result)]:
        raise Failed("; ".join(wrong))


def _wrong(ledger: "Ledger", result: "Result") -> Iterator[str]:
    if ledger.troubles:
        name, trouble = next(iter(ledger.troubles.items()))
        yield f"{ledger.errors} posts failed, the first: {name}: {plain(trouble.info)}"
    if result.unread:
        yield plain(result.unread)
    if result.comparison and result.comparison.differences:
        yield f"{len(result.comparison.differences)} differences: see above"


def _view(plan: "Plan", ledger: "Ledger", result: "Result") -> dict[str, Any]:
    return {
        "seed": plan.seed,
        "plan": plan.name,
        "seconds": round(result.seconds, 3),
        "stopped": result.was_stopped,
        "posts": ledger.posts,
        "signals": ledger.signals,
        "distinct": ledger.distinct,
        "accepted": ledger.accepted if ledger.has_receipts else None,
        "duplicates": ledger.duplicates if ledger.has_receipts else None,
        "retries": ledger.retries,
        "failed": ledger.troubles,
        "states": ledger.states,
        "signals_beyond": ledger.beyond,
        "comparison": result.comparison,
    }


def _print_summary(ledger: "Ledger", result: "Result") -> None:
    figures = _figures(ledger, result.seconds) | {
        "posts": f"{ledger.posts}",
        "accepted": f"{ledger.accepted}" if ledger.has_receipts else "not told",
        "duplicates": f"{ledger.duplicates}" if ledger.has_receipts else "not told",
        "seconds": f"{result.seconds:.1f}",
    }
    title = "Stopped early; until then" if result.was_stopped else "Sent"
    print_table(title, ["", ""], [[*each] for each in figures.items()], wrapping=("",))
    print()
    if result.comparison is None:
        print("Nothing was compared.")
    else:
        _print_comparison(result.comparison, ledger)


def _print_comparison(comparison: "Comparison", ledger: "Ledger") -> None:
    print(
        f"{comparison.items} items compared with their signals, {comparison.against_plan} of them also"
        " with how the plan ended them."
    )
    if comparison.uncertain:
        print(f"{comparison.uncertain} items left out: something of theirs got no answer.")
    if ledger.beyond:
        print(
            f"{ledger.beyond} signals were of items beyond the first {len(ledger.items)}: those were not compared."
        )
    found = comparison.differences
    if not found:
        print("Zero differences.")
        return
    print_table(
        f"{len(found)} differences, the first {min(len(found), DIFFERENCES_SHOWN_MAX)}",
        ["item", "what", "expected", "found", "by"],
        [
            [each.item, each.what, each.expected, each.found, each.measure]
            for each in found[:DIFFERENCES_SHOWN_MAX]
        ],
        wrapping=("item", "expected", "found"),
    )
