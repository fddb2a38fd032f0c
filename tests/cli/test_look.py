"""cloudsignal search, item, order, signals and rebuild."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, update

from cloudsignal.cli import look
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.schema import rollups, states
from cloudsignal.server.store.search import LIMIT_MAX
from cloudsignal.server.store.store import Store
from cloudsignal.server.views import (
    hit_view,
    item_view,
    order_view,
    registered_order_view,
    signal_view,
)
from tests.cli.conftest import Run
from tests.server.arrivals import arrival, report
from tests.server.store.rollups_contract import count_all

COMMAND = Path(sys.executable).with_name("cloudsignal")


def built(view: Any) -> Any:
    """A view as the API sends it."""
    return json.loads(msgspec.json.encode(view))


# ---- item show ----


@pytest.mark.parametrize("item", ["a/b", "c", "d"])
def test_an_item_for_programs_is_the_apis_view(run: Run, filled: Store, item: str) -> None:
    stored = filled.reading.item("7", item)
    assert stored is not None

    shown = run("item", "show", "7", item, "--json").json

    assert shown == built(item_view(stored, filled.reading.signals_of("7", item)))
    assert shown["signals"][0]["body"]["item"] == item


def test_an_item_for_people_tells_what_is_known_of_it(run: Run, filled: Store) -> None:
    told = [line.split(maxsplit=1) for line in run("item", "show", "7", "c").out.splitlines()]

    facts = dict(words for words in told if len(words) == 2)
    assert facts["state"] == "canceled"
    assert facts["cause"] == "other"
    assert facts["message"] == "torn"
    assert facts["delay"] == "1.5 hours"
    assert facts["findings"] == "unlisted_cause"
    assert facts["print"] == "partner  Print & Söhne"
    assert facts["3"].split() == [
        "ItemCanceled", "2016-01-20", "12:02:00", "2016-01-20", "12:00", "unlisted_cause"
    ]  # fmt: skip


def test_a_test_item_is_marked_and_its_parcels_are_named(run: Run, filled: Store) -> None:
    told = run("item", "show", "7", "d").out

    assert "state  shipped, test\n" in told
    assert "parcels  T1 (GLS)\n" in told


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["item", "show", "7", "z"], "no signal has come for item z of order 7"),
        (["item", "show", "8", "c"], "no signal has come for item c of order 8"),
        (["order", "show", "8"], "order 8 is not registered, and no signal has come for it"),
        (["item", "show", "7", ""], "no signal has come for item  of order 7"),
        (
            ["item", "show", "7", "a\n\x1b[31m"],
            r"no signal has come for item a\n\x1b[31m of order 7",
        ),
        (["item", "show", "7", "\udcff"], r"'\udcff' is not valid UTF-8"),
    ],
)
def test_what_is_not_there_is_told(
    run: Run, filled: Store, words: list[str], sentence: str
) -> None:
    assert run(*words).sentence == sentence


def test_an_id_that_looks_like_a_flag_is_asked_for_after_two_dashes(
    run: Run, filled: Store
) -> None:
    filled.append([arrival(report(order="-7", item="--json"))])

    assert run("item", "show", "--json", "--", "-7", "--json").json["item"] == "--json"


HOSTILE = "[bold]x[/bold] :smile: \u202ex\x9b31m\x1b[31mx"


@pytest.mark.parametrize(
    "words",
    [["item", "show", "7", "e"], ["order", "show", "7"], ["signals", "tail"]],
)
def test_what_partners_write_is_shown_and_never_obeyed(
    run: Run, store: Store, words: list[str]
) -> None:
    name = "[red]P[/red]"
    partner = store.access.create_partner(name, now=1)
    store.access.create_interface(partner, "digest", timezone="UTC", allow=(), test=False, now=2)
    delay = report("ItemDelay", item="e", message=HOSTILE, cause=HOSTILE)
    shipped = report("ItemShipped", item="e", tracking="[red]T[/red]:smile:", minute=1)
    store.append([arrival(delay, shipped)])

    told = run(*words).out

    assert all(each.isprintable() for each in told.replace("\n", ""))
    assert name in told
    if words[0] == "item":
        assert r"[bold]x[/bold] :smile: \u202ex\x9b31m\x1b[31mx" in told
        assert "[red]T[/red]:smile:" in told


def test_what_partners_write_is_found_and_never_obeyed(run: Run, store: Store) -> None:
    partner = store.access.create_partner("Printer", now=1)
    store.access.create_interface(partner, "digest", timezone="UTC", allow=(), test=False, now=2)
    shipped = report("ItemShipped", item="\u202ee", tracking="[red]T[/red]:smile:")
    store.append([arrival(shipped)])

    told = run("search", "[red]").out

    assert "[red]T[/red]:smile:" in told
    assert r"\u202ee" in told
    assert all(each.isprintable() for each in told.replace("\n", ""))


# ---- search ----


def test_hits_for_programs_are_the_apis_views(run: Run, books: Store) -> None:
    found = books.search.find("wp", limit=20)

    assert run("search", " wp ", "--json").json == built([hit_view(each) for each in found])
    assert [each.order for each in found] == ["7", "8", "9 a"]


def test_hits_for_people_are_a_table_with_what_each_is(run: Run, books: Store) -> None:
    partner = books.access.create_partner("Printer", now=1)
    books.access.create_interface(partner, "digest", timezone="UTC", allow=(), test=False, now=2)
    books.append([arrival(report("ItemShipped", order="5", item="x", tracking="wp-7"))])

    told = run("search", "wp-7")

    assert [line.split() for line in told.out.splitlines()] == [
        ["Found"],
        ["what", "is", "called", "order", "item"],
        ["parcel", "wp-7", "5", "x"],
        ["order", "reference", "wp-7", "7"],
    ]
    assert told.err == ""


def test_a_search_that_is_cut_says_so(run: Run, books: Store) -> None:
    told = run("search", "wp", "--limit", "2")

    assert [line.split()[2] for line in told.out.splitlines()[2:]] == ["wp-7", "wp-8"]
    assert told.err == (
        "cloudsignal: there may be more: a longer text or a larger --limit finds it\n"
    )


@pytest.mark.parametrize("json", [[], ["--json"]])
@pytest.mark.parametrize("text", ["wp-1", " %\x1b[31m ", ""])
def test_what_is_not_found_is_told(run: Run, books: Store, text: str, json: list[str]) -> None:
    shown = text.strip().replace("\x1b", r"\x1b")

    assert run("search", *json, "--", text).sentence == (
        f"nothing is called {shown}, and nothing begins so"
    )


def test_a_search_takes_as_large_a_limit_as_the_store(run: Run, books: Store) -> None:
    assert look.HITS_MAX == LIMIT_MAX
    assert len(run("search", "wp", "--limit", str(LIMIT_MAX), "--json").json) == 3
    assert run("search", "wp", "--limit", str(LIMIT_MAX + 1)).code == 2


# ---- order list ----


@pytest.fixture
def books(store: Store) -> Store:
    """A store with three orders of an owner, and one of another's."""
    for name in ("Books", "Ink"):
        store.orders.create_owner(name, now=1)
    told = [Registration(each, "Books", reference=f"wp-{each}") for each in ("7", "8", "9 a")]
    store.orders.register([*told, Registration("6", "Ink")], now=2)
    return store


def test_orders_for_programs_are_the_apis_view(run: Run, books: Store) -> None:
    found = books.orders.orders("Books", limit=9)

    assert run("order", "list", "--owner", "Books", "--json").json == [
        built(registered_order_view(each)) for each in found
    ]


def test_orders_for_people_are_a_table_that_goes_on_where_it_ended(run: Run, books: Store) -> None:
    first = run("order", "list", "--owner", "Books", "--limit", "2")
    rest = run("order", "list", "--owner", "Books", "--after", "8")

    assert [line.split()[:2] for line in first.out.splitlines()] == [
        ["Orders", "of"], ["order", "reference"], ["7", "wp-7"], ["8", "wp-8"]
    ]  # fmt: skip
    assert first.err == "cloudsignal: there may be more: --after 8 goes on\n"
    assert "wp-9 a" in rest.out
    assert rest.err == ""


def test_an_owner_that_is_not_there_is_told(run: Run, books: Store) -> None:
    told = run("order", "list", "--owner", "books").sentence
    assert told == "there is no owner called 'books'"


# ---- order show ----


def test_an_order_for_programs_is_the_apis_view(run: Run, filled: Store) -> None:
    stored = filled.reading.order("7")
    assert stored is not None

    shown = run("order", "show", "7", "--json").json

    assert shown == built(order_view("7", stored))
    assert [each["item"] for each in shown["items"]] == ["a/b", "c", "d"]


def test_an_order_for_people_has_a_line_for_each_item(run: Run, filled: Store) -> None:
    filled.append([arrival(report("ItemDelay", item="a/b", minute=9))])

    title, *lines = run("order", "show", "7").out.splitlines()
    lines = [line for line in lines if line[:5].strip() in ("a/b", "c", "d")]

    assert title == "Order 7: 1 canceled, 1 registered, 1 shipped"
    assert [line.split()[0] for line in lines] == ["a/b", "c", "d"]
    assert "registered, delayed" in lines[0]
    assert "shipped, test" in lines[2]
    assert "T1" in lines[2].split()


def test_a_large_order_is_cut_and_says_so(
    run: Run, filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudsignal.server.store.reading.ORDER_ITEMS_MAX", 2)

    ran = run("order", "show", "7", "--json")

    assert [each["item"] for each in ran.json["items"]] == ["c", "d"]
    assert sum(ran.json["states"].values()) == 3
    assert ran.err == "cloudsignal: only the 2 items that changed last are shown\n"


@pytest.mark.parametrize(
    "words", [["item", "show", "7", "x" * 128], ["order", "show", "7"]], ids=lambda words: words[0]
)
def test_long_ids_stay_readable_on_a_narrow_terminal(
    run: Run, filled: Store, words: list[str]
) -> None:
    parcels = [
        report("ItemShipped", item="x" * 128, tracking=f"T{n}" * 9, minute=n) for n in range(9)
    ]
    filled.append([arrival(*reversed(parcels))])

    lines = run(*words).out.splitlines()

    table = lines[lines.index("") + 1 :] if "" in lines else lines
    assert max(map(len, table)) <= 80
    assert any("2016-01-20 12:00" in line for line in table)


# ---- signals tail ----


def tailed(run: Run, *words: str) -> list[int]:
    ran = run("signals", "tail", "--json", *words)
    assert ran.code == 0, ran
    return [json.loads(line)["position"] for line in ran.out.splitlines()]


def test_the_tail_for_programs_is_a_view_a_line(run: Run, filled: Store) -> None:
    lines = run("signals", "tail", "--json").out.splitlines()

    logged = filled.reading.signals(after=0, limit=10)
    assert [json.loads(line) for line in lines] == [built(signal_view(each)) for each in logged]


def test_the_tail_for_people_is_a_line_for_each_signal(run: Run, filled: Store) -> None:
    lines = [line.split() for line in run("signals", "tail").out.splitlines()]

    assert [line[0] for line in lines] == ["1", "2", "3", "4"]
    assert lines[3] == [
        "4", "2016-01-20", "12:00:00", "ItemShipped", "7", "d", "Print", "&", "Söhne", "test"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "positions"),
    [
        ([], [1, 2, 3, 4]),
        (["-n", "2"], [3, 4]),
        (["--lines", "0"], []),
        (["-n", str(2**63 - 1)], [1, 2, 3, 4]),
        (["--after", "3"], [4]),
        (["--after", "0"], [1, 2, 3, 4]),
        (["--after", "4"], []),
        (["--after", str(2**63 - 1)], []),
        (["--after", "2", "-n", "1"], [3, 4]),
    ],
)
def test_the_tail_begins_where_it_is_told(
    run: Run, filled: Store, words: list[str], positions: list[int]
) -> None:
    assert tailed(run, *words) == positions


def test_the_tail_is_as_long_as_asked_though_repeats_left_gaps(run: Run, filled: Store) -> None:
    for minute in range(3):
        repeats = [arrival(report(item="a/b"))] * 5
        filled.append([*repeats, arrival(report("ItemPacked", item="a/b", minute=minute))])

    positions = tailed(run, "-n", "3")

    assert len(positions) == 3
    assert positions[-1] == filled.reading.last_position()


@pytest.mark.parametrize(("page", "bytes_max"), [(2, 1 << 20), (500, 1)])
def test_the_tail_comes_in_pages_and_ends_with_the_last(
    run: Run, filled: Store, monkeypatch: pytest.MonkeyPatch, page: int, bytes_max: int
) -> None:
    monkeypatch.setattr("cloudsignal.cli.look.PAGE", page)
    monkeypatch.setitem(type(filled.reading).signals.__kwdefaults__, "bytes_max", bytes_max)

    assert tailed(run) == [1, 2, 3, 4]


def test_the_tail_follows_until_it_is_interrupted(filled: Store, url: str) -> None:
    words = [COMMAND, "signals", "tail", "--follow", "-n", "1", "--json", "--database", url]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet()
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert json.loads(tail.stdout.readline())["item"] == "d"
        for item in ("new", "newer"):
            filled.append([arrival(report(item=item))])
            assert json.loads(tail.stdout.readline())["item"] == item

        tail.send_signal(signal.SIGINT)

        assert tail.wait(10) == 0
        assert tail.stdout.read() == tail.stderr.read() == ""


def quiet() -> dict[str, str]:
    """This environment without settings of ours."""
    return {k: v for k, v in os.environ.items() if not k.startswith("CLOUDSIGNAL_")}


# ---- rebuild ----


def test_a_rebuild_says_how_many_items_differed(run: Run, filled: Store) -> None:
    assert run("rebuild").out == "4 signals make 3 items; 0 differed.\n"

    with filled._database.writing() as connection:
        connection.execute(update(states).values(state="packed"))

    right = {"signals": 4, "items": 3, "differed": 0, "left": 0, "counts": None}
    assert run("rebuild", "--json").json == right | {"differed": 3}
    assert run("rebuild", "--json").json == right


def test_a_rebuild_tells_people_that_it_put_things_right(run: Run, filled: Store) -> None:
    with filled._database.writing() as connection:
        connection.execute(update(states).where(states.c.position == 1).values(delayed=True))

    assert run("rebuild").out == "4 signals make 3 items; 1 differed and were put right.\n"


def test_a_rebuild_counts_again_what_was_ever_counted(run: Run, filled: Store) -> None:
    count_all(filled)
    before = filled.rollups.sums("state")
    with filled._database.writing() as connection:
        connection.execute(delete(rollups).where(rollups.c.what == "state"))

    told = run("rebuild").out.splitlines()

    assert told[0] == "4 signals make 3 items; 0 differed."
    assert re.fullmatch(r"Everything was counted again: [0-9]+ counts\.", told[1])
    assert filled.rollups.sums("state") == before == {"registered": 1, "canceled": 1}
