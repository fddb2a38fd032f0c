"""cloudsignal store check, copy and prune."""

import json

from sqlalchemy import update

from cloudsignal.server.store.schema import VERSION, states
from cloudsignal.server.store.store import Store
from tests.cli.conftest import Run

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
    }
    told = dict(line.split() for line in run("store", "check").out.splitlines()[1:] if line.strip())
    assert told == {name: str(value) for name, value in found.items()}


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
