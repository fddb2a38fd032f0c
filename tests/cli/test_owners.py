"""cloudsignal owner."""

from cloudsignal.server.keys import APIKEY
from cloudsignal.server.store.store import Store
from tests.cli.conftest import Run
from tests.cli.test_access import digest, is_recent


def test_owners_are_created_and_listed_for_programs(run: Run, store: Store) -> None:
    made = run("owner", "create", "Ink & Söhne", "--unregistered", "--json").json
    run("owner", "create", "Books")

    assert is_recent(made.pop("created"))
    assert made == {"owner": "Ink & Söhne", "unregistered": True}
    listed = run("owner", "list", "--json").json
    assert [(each["owner"], each["keys"]) for each in listed] == [("Books", 0), ("Ink & Söhne", 0)]
    assert "Books" in run("owner", "list").out
    assert run("owner", "create", "Books").sentence == "an owner called 'Books' is already there"


def test_an_owners_key_is_shown_once_and_rotated(run: Run, store: Store, url: str) -> None:
    run("owner", "create", "Books")

    first = run("owner", "key", "Books", "--json").json["apikey"]
    second = run("owner", "key", "Books", "--overlap-hours", "0").out.splitlines()[2].strip()

    assert APIKEY.fullmatch(second)
    found = {key: store.orders.find_owner_key(digest(url, key)) for key in (first, second)}
    assert found[first] is not None
    assert found[first][1].expires is not None
    assert found[second] is not None
    assert found[second][1].expires is None
    assert run("owner", "list", "--json").json[0]["keys"] == 1
    assert run("owner", "key", "x").sentence == "there is no owner called 'x'"
