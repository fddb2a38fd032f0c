"""Owners and the registration of orders, over HTTP."""

import json
from typing import Any

import pytest

from cloudsignal.protocol.refusals import DETAILS_MAX
from cloudsignal.server.registrations import BODY_BYTES_MAX
from cloudsignal.server.store.orders import ITEMS_MAX, REGISTRATIONS_MAX
from tests.acceptance.conftest import JSON, Answer, Server, fresh, signal
from tests.server.test_api_access import problem

ID_RULE = "must be a string of 1 to 128 characters without control characters, not only white space"
WRONG: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "no JSON": (b"{", [("", "the body is not JSON: Input data was truncated")]),
    "no object": ([], [("", "the body must be one JSON object")]),
    "nothing": (
        {},
        [
            ("order", f"is missing: it {ID_RULE}"),
            ("owner", "is missing: it must be a name of 1 to 255 characters in one line"),
        ],
    ),
    "no order in the list": ({"orders": []}, [("orders", "must be an array of 1 to 1000 orders")]),
    "too many": (
        {"orders": [{}] * (REGISTRATIONS_MAX + 1)},
        [("orders", "must be an array of 1 to 1000 orders")],
    ),
    "every problem of every order": (
        {
            "orders": [
                {"order": "1", "owner": "Books"},
                7,
                {"order": 7, "owner": "Books", "ref": "x", "items": "all", "due": 5},
                {
                    "order": "",
                    "owner": " ",
                    "tracking_urls": {"GLS": "https://x"},
                    "items": [{"item": "1", "reference": 7}, {"reference": "x" * 256}],
                },
            ]
        },
        [
            ("orders[1]", "must be an object"),
            (
                "orders[2].ref",
                "there is no such field, there are order, owner, partner, reference, due,"
                " tracking_urls, items",
            ),
            ("orders[2].order", ID_RULE),
            ("orders[2].due", "must be a datetime in a string"),
            ("orders[2].items", f"must be an array of at most {ITEMS_MAX} items"),
            ("orders[3].order", ID_RULE),
            ("orders[3].owner", "must be a name of 1 to 255 characters in one line"),
            (
                "orders[3].tracking_urls",
                "must be an object: for shipping options, addresses with {tracking} in them",
            ),
            (
                "orders[3].items[0].reference",
                "must be a string of at most 255 characters in one line",
            ),
            ("orders[3].items[1].item", f"is missing: it {ID_RULE}"),
            (
                "orders[3].items[1].reference",
                "must be a string of at most 255 characters in one line",
            ),
        ],
    ),
    "what only the store knows": (
        {"orders": [{"order": "1", "owner": "x"}, {"order": "2", "owner": "x", "partner": "y"}]},
        [
            ("orders[0].owner", "there is no owner called 'x'"),
            ("orders[1].owner", "there is no owner called 'x'"),
        ],
    ),
    "one order alone": (
        {"order": "1", "owner": "x"},
        [("owner", "there is no owner called 'x'")],
    ),
    "an item twice, and no date": (
        {
            "order": "1",
            "owner": "x",
            "due": "2016-02-30 00:00Z",
            "items": [{"item": "a"}, {"item": "a"}],
        },
        [
            ("items[1].item", "this item is named twice"),
            ("due", "cannot be read: day is out of range for month"),
        ],
    ),
}


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    return server.token("operator")


@pytest.fixture
def owner(server: Server, token: str) -> str:
    """The name of an owner that is there."""
    name = fresh("owner")
    assert send(server, token, "owners", {"owner": name}).status == 201
    return name


def send(server: Server, token: str, path: str, body: Any) -> Answer:
    headers = JSON | {"Authorization": f"Bearer {token}"}
    return server.post(body, path=f"/api/v1/{path}", headers=headers)


# ---- owners ----


def test_owners_are_added_and_listed(server: Server, token: str) -> None:
    name, other = fresh("owner"), fresh("owner")

    added = send(server, token, "owners", {"owner": name, "unregistered": True})
    send(server, token, "owners", {"owner": other, "unregistered": True})

    assert (added.status, added.json["owner"], added.json["unregistered"]) == (201, name, True)
    found = {each["owner"]: each for each in server.get("/api/v1/owners").json}
    assert found[name] == added.json | {"unregistered": False}
    assert found[other]["unregistered"] is True


def test_an_owner_is_there_once(server: Server, token: str, owner: str) -> None:
    told = problem(send(server, token, "owners", {"owner": owner}), 409)
    assert told.detail == f"an owner called {owner!r} is already there"


def test_what_is_wrong_with_an_owner_is_told(server: Server, token: str) -> None:
    told = problem(send(server, token, "owners", {"unregistered": 1, "name": "x"}), 400)
    assert [each.at for each in told.problems or []] == ["name", "owner", "unregistered"]


# ---- orders ----


def test_an_order_is_registered_and_shown_beside_its_items(
    server: Server, token: str, key: str, owner: str
) -> None:
    posted = signal()
    order = posted["order"]
    told = {
        "order": order,
        "owner": owner,
        "partner": "Printer",
        "reference": "wp-1",
        "due": "2016-01-20 13:00:00 GMT",
        "tracking_urls": {"GLS": "https://gls.example/{tracking}"},
        "items": [{"item": posted["item"], "reference": "99"}, {"item": "other"}],
    }

    answer = send(server, token, "orders", told)

    assert (answer.status, answer.json) == (200, {"new": 1, "changed": 0, "unchanged": 0})
    before = server.get(f"/api/v1/orders/{order}").json
    assert (before["items"], before["states"]) == ([], {})
    assert server.post({"apikey": key} | posted).status == 200
    shown = server.get(f"/api/v1/orders/{order}").json
    assert [each["item"] for each in shown["items"]] == [posted["item"]]
    registered = shown["registration"].pop("registered")
    assert shown["registration"].pop("changed") == registered
    assert shown["registration"] == {
        "owner": owner,
        "partner": "Printer",
        "reference": "wp-1",
        "due": "2016-01-20T13:00:00+00:00",
        "tracking_urls": {"GLS": "https://gls.example/{tracking}"},
        "items": {posted["item"]: "99", "other": ""},
    }


def test_an_order_that_nobody_registered_says_so(server: Server, key: str) -> None:
    posted = signal()
    assert server.post({"apikey": key} | posted).status == 200
    assert server.get(f"/api/v1/orders/{posted['order']}").json["registration"] is None


def test_several_orders_are_registered_at_once_and_any_number_of_times(
    server: Server, token: str, owner: str
) -> None:
    orders = [{"order": fresh("order"), "owner": owner} for _ in range(REGISTRATIONS_MAX)]

    first = send(server, token, "orders", {"orders": orders})
    orders[3] = orders[3] | {"reference": "new"}
    again = send(server, token, "orders", {"orders": orders})

    assert first.json == {"new": REGISTRATIONS_MAX, "changed": 0, "unchanged": 0}
    assert again.json == {"new": 0, "changed": 1, "unchanged": REGISTRATIONS_MAX - 1}


def test_an_owners_orders_are_listed_page_by_page(server: Server, token: str, owner: str) -> None:
    ids = sorted(fresh("order") for _ in range(3))
    orders = [{"order": each, "owner": owner, "items": [{"item": "1"}]} for each in ids]
    send(server, token, "orders", {"orders": orders})

    first = server.get(f"/api/v1/orders?owner={owner}&limit=2").json
    rest = server.get(f"/api/v1/orders?owner={owner}&limit=2&after={first['next']}").json

    assert [each["order"] for each in first["orders"]] == ids[:2]
    assert [each["order"] for each in rest["orders"]] == ids[2:]
    assert rest["next"] is None
    shown = server.get(f"/api/v1/orders/{ids[2]}").json["registration"]
    assert shown.pop("items") == {"1": ""}
    assert rest["orders"][0]["registration"] == shown


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("", "Missing required query parameter 'owner' for path /api/v1/orders"),
        ("owner=nobody", "owner: there is no owner called 'nobody'"),
        ("owner=a%00", "owner: no id and no name has a character NUL"),
        ("owner=Books&after=%00", "after: no id and no name has a character NUL"),
        ("owner=Books&limit=0", "limit: Expected `int` >= 1"),
    ],
)
def test_orders_that_cannot_be_listed_are_told_why(server: Server, query: str, detail: str) -> None:
    told = problem(server.get(f"/api/v1/orders?{query}"), 400)
    assert told.detail.startswith(detail)


@pytest.mark.parametrize("case", WRONG)
def test_everything_that_is_wrong_is_told_with_its_place(
    server: Server, token: str, case: str
) -> None:
    body, expected = WRONG[case]

    told = problem(send(server, token, "orders", body), 400)

    assert [(each.at, each.info) for each in told.problems or []] == expected
    assert told.detail == ": ".join(filter(None, expected[0]))


def test_one_wrong_order_has_none_registered(server: Server, token: str, owner: str) -> None:
    good, bad = fresh("order"), fresh("order")
    orders = [{"order": good, "owner": owner}, {"order": bad, "owner": owner, "partner": "nobody"}]

    told = problem(send(server, token, "orders", {"orders": orders}), 400)

    assert told.detail == "orders[1].partner: there is no print partner called 'nobody'"
    assert server.get(f"/api/v1/orders/{good}").status == 404


def test_so_many_problems_are_listed_and_no_more(server: Server, token: str) -> None:
    told = problem(send(server, token, "orders", {"orders": [{}] * REGISTRATIONS_MAX}), 400)
    assert len(told.problems or []) == DETAILS_MAX


def test_a_body_that_is_too_large_is_413(server: Server, token: str) -> None:
    body = json.dumps({"order": "x" * BODY_BYTES_MAX}).encode()
    problem(send(server, token, "orders", body), 413)


def test_a_reader_may_neither_register_nor_add_owners(server: Server) -> None:
    for path in ("orders", "owners"):
        problem(send(server, server.token(), path, {}), 403)
