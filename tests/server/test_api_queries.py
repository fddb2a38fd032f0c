"""What a search costs: an index serves every question, whatever the size of the store."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import event

from cloudsignal.server.store.reading import ItemQuery
from cloudsignal.server.store.store import Store, open_store

INSTANT = 1_700_000_000_000_000
QUESTIONS: list[dict[str, Any]] = [
    {"order": "1"},
    {"item": "1"},
    {"order": "1", "item": "2"},
    {"order": "1", "state": "packed", "before": 9},
    {"tracking": "T"},
    {"tracking": "T", "order": "1"},
    {"state": "packed"},
    {"state": "packed", "before": 9},
    {"state": "packed", "partner": "Printer", "since": INSTANT, "until": INSTANT},
    {"partner": "Printer"},
    {"partner": "Printer", "test": True, "before": 9},
    {"delayed": True},
    {"delayed": True, "partner": "Printer", "before": 9},
    {"since": INSTANT},
    {"until": INSTANT},
    {"before": 9},
    {},
    {"delayed": False},
    {"test": True},
    {"test": False, "until": INSTANT},
]
TABLES = ("items", "signals", "parcels", "partners")


Explain = Callable[[Callable[[Store], object]], list[str]]


@pytest.fixture(scope="module")
def explain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explain]:
    """How SQLite answers all that is asked of it."""
    path = tmp_path_factory.mktemp("store") / "store.db"
    store = open_store(f"sqlite:///{path}")
    asked: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    def explained(ask: Callable[[Store], object]) -> list[str]:
        asked.clear()
        ask(store)
        with closing(sqlite3.connect(path)) as connection:
            return [
                row[3]
                for statement, parameters in asked
                for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            ]

    event.listen(store._database.engine, "before_cursor_execute", note)
    yield explained
    store.close()


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({}, "attempts_failed"),
        ({"before": 9}, "attempts_failed"),
        ({"endpoint": 1}, "attempts_failed_endpoint"),
        # From the second page on, SQLite may take that of all attempts of an endpoint as well.
        ({"endpoint": 1, "before": 9}, "attempts_"),
    ],
)
def test_attempts_that_failed_are_found_without_looking_through_all(
    explain: Explain, asked: dict[str, Any], index: str
) -> None:
    steps = explain(lambda store: store.delivery_log.attempts(failed=True, limit=9, **asked))

    assert len(steps) == 1
    assert f" USING INDEX {index}" in steps[0].partition(" (")[0]


def is_scan(step: str) -> bool:
    """Whether a whole table is read."""
    return any(step.startswith(f"SCAN {table}") for table in TABLES)


def search(explain: Explain, question: dict[str, Any]) -> list[str]:
    """How a search is answered."""
    steps = explain(lambda store: store.reading.items(ItemQuery(**question)))
    assert steps
    return steps


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_an_index_serves(explain: Explain, question: dict[str, Any]) -> None:
    steps = search(explain, question)
    assert not [step for step in steps if is_scan(step)], steps


@pytest.mark.parametrize(
    "question",
    [
        {"state": "packed"},
        {"partner": "Printer"},
        {"partner": "Printer", "before": 9},
        {"delayed": True},
        {"test": True, "before": 9},
    ],
)
def test_what_may_be_many_is_never_sorted(explain: Explain, question: dict[str, Any]) -> None:
    steps = search(explain, question)
    assert [step for step in steps if "USING" in step and "INDEX" in step]
    for number, step in enumerate(steps):
        if "TEMP B-TREE" in step:
            # The few that were met may be put in order, and nothing that leads to them.
            led = [each for each in steps[:number] if "anon_" in each]
            assert led[-1].startswith("SCAN anon_"), steps


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.reading.last_position(),
        lambda store: store.reading.item_with_signals("1", "2"),
        lambda store: store.reading.signals(after=5, limit=10),
    ],
    ids=["last_position", "item_with_signals", "signals"],
)
def test_items_and_the_log_are_found_by_their_keys(
    explain: Explain, ask: Callable[[Store], object]
) -> None:
    steps = explain(ask)
    assert steps
    assert not [step for step in steps if is_scan(step)], steps
