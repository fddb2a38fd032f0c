"""cloudsignal order register."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.server.store.orders import REGISTRATIONS_MAX
from cloudsignal.server.store.store import Store
from tests.cli.conftest import Run

TABLE = """order;owner;partner;reference;due;tracking_url:GLS;item;item_reference
7;Books;Print & Söhne;wp-1;2016-01-20 13:00Z;https://gls.example/{tracking};1;first
8;Books;;;;;;
7;Books;;;;;2;
"""


@pytest.fixture
def books(filled: Store) -> Store:
    """The filled store, with an owner."""
    filled.orders.create_owner("Books", now=3)
    return filled


def written(text: str, name: str = "orders.csv") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


# ---- tables ----


def test_a_table_is_registered_and_its_orders_are_shown(run: Run, books: Store) -> None:
    told = run("order", "register", written(TABLE), "--json").json

    assert told == {"new": 2, "changed": 0, "unchanged": 0, "wrong": []}
    shown = run("order", "show", "7", "--json").json["registration"]
    assert shown["reference"] == "wp-1"
    assert shown["due"] == "2016-01-20T13:00:00+00:00"
    assert shown["tracking_urls"] == {"GLS": "https://gls.example/{tracking}"}
    assert shown["items"] == {"1": "first", "2": ""}
    for_people = run("order", "show", "7").out
    assert "1 (first), 2" in for_people
    assert "Print & Söhne" in for_people
    assert "Signals for its items: none" in run("order", "show", "8").out
    again = run("order", "register", "orders.csv")
    assert (again.code, again.out) == (0, "0 orders are new, 0 changed, 2 were so already.\n")


def test_what_is_wrong_is_told_by_its_line_and_the_rest_is_registered(
    run: Run, books: Store
) -> None:
    table = f"""order,owner,partner,due,item,item_reference
good,Books,,,,
bad date,Books,,tomorrow,,
unknown,Nobody,,,,
two,Books,,,1,
two,Other,,,2,
long,Books,,,1,
long,Books,,,2,{"x" * 256}
,Books,,,,
partner,Books,Nobody,,,
"""

    ran = run("order", "register", written(table), "--json")

    assert ran.code == 3
    told = json.loads(ran.out)
    assert told.pop("wrong") == [
        {
            "at": "line 3: due",
            "info": "cannot be read: write it like 2016-01-20 13:00:00 GMT or"
            " 2016-01-20T14:00:00+01:00 (hours 00 to 23, no zone names but GMT and UTC)",
        },
        {"at": "line 4: owner", "info": "there is no owner called 'Nobody'"},
        {"at": "line 5: owner (line 6)", "info": "is 'Other' here, but another in line 5"},
        {
            "at": "line 8: item_reference",
            "info": "must be a string of at most 255 characters in one line",
        },
        {
            "at": "line 9: order",
            "info": "is missing: it must be a string of 1 to 128 characters without control"
            " characters, not only white space",
        },
        {"at": "line 10: partner", "info": "there is no print partner called 'Nobody'"},
    ]
    assert told == {"new": 1, "changed": 0, "unchanged": 0}
    assert books.orders.order("good") is not None
    assert books.orders.order("two") is None
    assert ran.err.endswith("cloudsignal: 6 of 7 orders are not registered\n")
    for_people = run("order", "register", "orders.csv").err.splitlines()
    assert "cloudsignal: line 4: owner: there is no owner called 'Nobody'" in for_people


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("order,owner,refrence", "there is no column 'refrence': the columns are order, owner"),
        ("order,partner", "order and owner are needed, each once"),
        ("", "order and owner are needed"),
    ],
)
def test_a_table_with_other_columns_is_refused(
    run: Run, books: Store, header: str, words: str
) -> None:
    assert words in run("order", "register", written(header)).failed(6)


def test_a_file_that_is_not_there_is_told(run: Run, books: Store) -> None:
    assert "cannot be read" in run("order", "register", "nothing.csv").failed(6)


# ---- JSON ----


@pytest.mark.parametrize(
    "shape", [lambda orders: orders, lambda orders: {"orders": orders}, lambda orders: orders[0]]
)
def test_json_is_registered_in_every_shape(run: Run, books: Store, shape: Any) -> None:
    name = written(json.dumps(shape([{"order": "9", "owner": "Books"}])), "orders.json")

    assert run("order", "register", name, "--json").json["new"] == 1
    assert books.orders.order("9") is not None


def test_any_number_of_orders_is_registered(run: Run, books: Store) -> None:
    many = [{"order": str(n), "owner": "Books"} for n in range(2 * REGISTRATIONS_MAX + 1)]
    many[REGISTRATIONS_MAX + 5]["owner"] = "Nobody"

    ran = run("order", "register", written(json.dumps(many), "orders.json"), "--json")

    told = json.loads(ran.out)
    assert (ran.code, told["new"]) == (3, 2 * REGISTRATIONS_MAX)
    assert [each["at"] for each in told["wrong"]] == [f"orders[{REGISTRATIONS_MAX + 5}].owner"]


@pytest.mark.parametrize("text", [TABLE, '[{"order": "8", "owner": "Books"}]'])
def test_standard_input_is_a_table_or_json(
    run: Run, books: Store, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    assert run("order", "register", "-").code == 0

    assert books.orders.order("8") is not None
