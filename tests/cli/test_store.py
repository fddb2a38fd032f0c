"""cloudsignal store check, copy, prune, readers and forget."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from cloudsignal.server.store.schema import VERSION, parcels, rollups, states
from cloudsignal.server.store.store import Store, open_store
from tests.cli.conftest import Run
from tests.server.store.rollups_contract import count_all

# ---- check ----


def test_a_check_tells_what_is_in_the_store(run: Run, filled: Store) -> None:
    found = run("store", "check", "--json").json

    log = filled.digest()
    assert found == {
        "schema": VERSION,
        "signals": 4,
        "first": 1,
        "last": 4,
        "digest": log.value,
        "items": 3,
        "differed": 0,
        "left": 0,
        "counts": 0,
        "miscounted": 0,
        "uncompared": "nothing was ever counted",
    }
    ran = run("store", "check")
    told = dict(line.split() for line in ran.out.splitlines()[1:] if line.strip())
    del found["uncompared"]
    assert told == {name: str(value) for name, value in found.items()}
    assert ran.err == "cloudsignal: counts were not compared: nothing was ever counted\n"


def test_a_check_of_an_empty_store_finds_nothing_wrong(run: Run) -> None:
    assert run("store", "check", "--json").json["signals"] == 0


def test_a_check_that_finds_items_wrong_says_so_and_changes_nothing(
    run: Run, filled: Store
) -> None:
    with filled._database.writing() as connection:
        connection.execute(update(states).values(state="packed"))

    for _ in range(2):
        ran = run("store", "check", "--json")
        assert ran.code == 1
        assert json.loads(ran.out)["differed"] == 3
        assert ran.err == (
            "cloudsignal: 3 items are not what their signals say: run cloudsignal rebuild\n"
        )
    assert run("rebuild").code == 0
    assert run("store", "check").code == 0


def test_a_check_that_finds_counts_wrong_says_so_and_changes_nothing(
    run: Run, filled: Store
) -> None:
    count_all(filled)
    found = run("store", "check", "--json").json
    assert (found["counts"] > 9, found["miscounted"], found["uncompared"]) == (True, 0, "")
    with filled._database.writing() as connection:
        connection.execute(update(rollups).where(rollups.c.what == "state").values(count=7))

    for _ in range(2):
        ran = run("store", "check", "--json")
        assert (ran.code, json.loads(ran.out)["miscounted"]) == (1, 4)
        assert ran.err == (
            "cloudsignal: 4 counts are not what there is to count: run cloudsignal rebuild\n"
        )
    assert run("rebuild", "--json").json["counts"] == found["counts"]
    assert run("store", "check").code == 0


# ---- copy ----


def test_a_copy_says_that_all_is_there_and_what_else_is_needed(
    run: Run, filled: Store, url: str, tmp_path: Path
) -> None:
    told = " ".join(run("store", "copy", url, "sqlite:///copy.db").out.split())

    assert told == (
        "Everything is copied: 4 signals and 3 items, up to position 4. The logs have the same"
        f" digest: {filled.digest().value}"
        " Whoever has a key or a token needs the same secret at the new place: bring PATH.secret"
        " there as well, or set CLOUDSIGNAL_SECRET_FILE to it."
    )
    with closing(open_store(f"sqlite:///{tmp_path}/copy.db")) as copy:
        assert copy.digest() == filled.digest()


def test_a_copy_for_programs_counts_every_table(run: Run, filled: Store, url: str) -> None:
    assert run("store", "copy", url, "sqlite:///copy.db", "--json").json == {
        "signals": 4,
        "first": 1,
        "last": 4,
        "digest": filled.digest().value,
        "partners": 1,
        "interfaces": 1,
        "apikeys": 1,
        "tokens": 0,
        "owners": 0,
        "owner_keys": 0,
        "endpoints": 0,
        "users": 0,
        "invitations": 0,
        "sessions": 0,
        "filters": 0,
        "changes": 2,
        "calendars": 0,
        "alert_rules": 0,
        "alert_ways": 0,
        "cursors": 0,
        "facts": 2,
        "orders": 0,
        "order_items": 0,
        "items": 3,
        "states": 3,
        "parcels": 1,
        "deliveries": 0,
        "attempts": 0,
        "rollups": 0,
        "counted_items": 0,
        "counted_orders": 0,
        "recounts": 0,
        "posts": 0,
        "uses": 0,
        "strangers": 0,
        "refusals": 0,
        "alerts": 0,
        "alert_news": 0,
        "alert_messages": 0,
    }


def test_a_copy_that_differs_is_told_and_not_opened(run: Run, filled: Store, url: str) -> None:
    run("store", "copy", url, "sqlite:///copy.db")
    with filled._database.writing() as connection:
        connection.execute(delete(parcels))

    told = run("store", "copy", url, "sqlite:///copy.db").sentence

    assert told.startswith("the copy differs from its source: it has 1 parcels instead of 0")
    assert run("rebuild", "--database", "sqlite:///copy.db").sentence == (
        f"sqlite:///copy.db is an unfinished copy of {url}: run cloudsignal store copy again until it"
        " says that everything is copied"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sqlite:///none.db", "sqlite:///copy.db"], "none.db is gone"),
        (["copy.db", "sqlite:///copy.db"], "'copy.db' is no database URL: write sqlite:///PATH"),
        (["URL", "mysql://host/copy"], "mysql is not supported: write sqlite:///PATH"),
        (["URL", "URL"], "are one store"),
    ],
)
def test_what_cannot_be_copied_is_told(
    run: Run, filled: Store, url: str, words: list[str], told: str, tmp_path: Path
) -> None:
    assert told in run("store", "copy", *(word.replace("URL", url) for word in words)).sentence
    assert not (tmp_path / "copy.db").exists()


# ---- prune ----

NOTHING = {"signals": 0, "position": 0, "first": None, "last": None, "held_by": None}
THREE = {
    "signals": 3,
    "position": 3,
    "first": "2016-01-20T12:00:00+00:00",
    "last": "2016-01-20T12:00:00+00:00",
    "held_by": None,
}


def positions(store: Store) -> list[int]:
    return [each.position for each in store.reading.signals(after=0, limit=100)]


@pytest.mark.parametrize(
    ("date", "found"),
    [
        ("2016-01-20", NOTHING),
        ("2016-01-20T12:00:00Z", NOTHING),
        ("2016-01-20T13:00:00+01:00", NOTHING),
        ("2016-01-20T12:00:01+00:00", THREE),
        ("2016-01-20 14:00+01:00", THREE),
        ("2016-01-21", THREE),
    ],
)
def test_a_dry_run_says_what_would_go_and_leaves_it(
    run: Run, filled: Store, date: str, found: dict[str, Any]
) -> None:
    assert run("store", "prune", "--before", date, "--dry-run", "--json").json == found
    assert positions(filled) == [1, 2, 3, 4]
    assert run("store", "prune", "--before", date, "--json").json == found
    assert positions(filled) == [1, 2, 3, 4][found["signals"] :]


def test_people_are_told_what_went_and_who_holds_the_rest(run: Run, filled: Store) -> None:
    filled.cursors.advance("deliveries", 2)
    words = ["store", "prune", "--before", "2016-01-21"]
    up_to = "up to position 2; they arrived from 2016-01-20 12:00:00 to 2016-01-20 12:00:00 UTC.\n"
    held = "The reader deliveries has come no further: it keeps the rest.\n"

    assert run(*words, "--dry-run").out == f"2 signals would be removed, {up_to}{held}"
    assert run(*words).out == f"2 signals were removed, {up_to}{held}"
    assert run(*words).out == f"No signals were removed.\n{held}"
    assert run("rebuild").out == (
        "1 signals make 1 items; 0 differed.\n"
        "2 items were left as they are: their first signals were pruned.\n"
    )
    assert run("store", "check", "--json").json["left"] == 2


def test_the_archive_is_written_first(run: Run, filled: Store, tmp_path: Path) -> None:
    words = ["store", "prune", "--before", "2016-01-21", "--archive"]

    told = run(*words, "no/such/folder").sentence
    assert told.startswith("the archive no/such/folder cannot be written, so nothing was removed: ")
    assert positions(filled) == [1, 2, 3, 4]

    assert run(*words, "old").code == 0
    assert positions(filled) == [4]
    assert {path.name for path in (tmp_path / "old").iterdir()} == {
        "signals-1-3.jsonl.gz",
        "signals-1-3.jsonl.gz.sha256",
    }


@pytest.mark.parametrize(
    "date", ["", "yesterday", "2016-13-01", "2016-01-20T12:00:00", "20160120T12", "0x\x1b"]
)
def test_a_date_that_is_none_is_told(run: Run, filled: Store, date: str) -> None:
    told = run("store", "prune", "--before", date).sentence

    assert "write a date like 2026-01-31, or a time with its offset" in told
    assert positions(filled) == [1, 2, 3, 4]


# ---- readers ----


def test_readers_are_listed_and_those_that_are_no_more_forgotten(run: Run, filled: Store) -> None:
    filled.cursors.advance("stream:nats", 3)
    run("owner", "create", "Books")
    run("endpoint", "create", "--owner", "Books", "--url", "https://owner.example/")

    assert run("store", "readers", "--json").json == [
        {"reader": "endpoint 1", "position": 4, "behind": 0},
        {"reader": "stream:nats", "position": 3, "behind": 1},
    ]
    assert "\nstream:nats  3         1 " in run("store", "readers").out
    assert run("store", "forget", "stream:nats").out == "The reader stream:nats is forgotten.\n"
    again = run("store", "forget", "stream:nats")
    assert (again.code, again.err) == (1, "cloudsignal: there is no reader 'stream:nats'\n")
    told = run("store", "forget", "endpoint 1")
    assert told.err == "cloudsignal: remove it as what it is: cloudsignal endpoint remove 1\n"
    assert [each["reader"] for each in run("store", "readers", "--json").json] == ["endpoint 1"]
