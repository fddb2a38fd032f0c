"""Finding by one text, over HTTP."""

from typing import Any
from urllib.parse import urlencode

import pytest

from cloudsignal.server.api.routes import HITS
from cloudsignal.server.store.search import LIMIT_MAX
from tests.acceptance.conftest import Server, fresh
from tests.server.test_api import post
from tests.server.test_api_access import problem
from tests.server.test_api_orders import owner, send, token

__all__ = ["owner", "token"]


def search(server: Server, **asked: Any) -> list[dict[str, Any]]:
    answer = server.get(f"/api/v1/search?{urlencode(asked)}")
    assert answer.status == 200, answer
    assert list(answer.json) == ["hits"]
    hits: list[dict[str, Any]] = answer.json["hits"]
    return hits


def stem() -> str:
    """A beginning that nothing else has."""
    return f"{fresh('s')}."


def test_everything_about_an_order_is_found_by_how_it_begins(
    server: Server, key: str, token: str, owner: str
) -> None:
    begins = stem()
    order, item, other = (f"{begins}{name}" for name in ("order", "item", "other"))
    shipped = {"tracking": f"{begins}T", "shipping_option": "GLS"}
    post(server, key, "ItemShipped", order=order, item=item, **shipped)
    registered = {
        "order": order,
        "owner": owner,
        "reference": f"{begins}ref",
        "items": [{"item": item, "reference": f"{begins}a"}, {"item": other}],
    }
    assert send(server, token, "orders", registered).status == 200

    assert search(server, q=begins) == [
        {"kind": "order", "order": order, "item": None, "text": order},
        {"kind": "item", "order": order, "item": item, "text": item},
        {"kind": "item", "order": order, "item": other, "text": other},
        {"kind": "parcel", "order": order, "item": item, "text": f"{begins}T"},
    ]
    for text in (f" {begins}ref\n", f"{begins}RE", f"{begins}re"):
        [hit] = search(server, q=text)
        assert hit == {
            "kind": "order_reference",
            "order": order,
            "item": None,
            "text": f"{begins}ref",
        }
    [hit] = search(server, q=f"{begins}a")
    assert (hit["kind"], hit["item"]) == ("item_reference", item)


def test_so_many_are_found_and_no_more(server: Server, key: str) -> None:
    begins = stem()
    ids = [f"{begins}{number:02}" for number in range(HITS + 2)]
    for item in ids:
        post(server, key, order=fresh("order"), item=item)

    assert [hit["text"] for hit in search(server, q=begins)] == ids[:HITS]
    assert [hit["text"] for hit in search(server, q=begins, limit=LIMIT_MAX)] == ids
    assert [hit["text"] for hit in search(server, q=begins, limit=1)] == ids[:1]


@pytest.mark.parametrize("text", ["", " ", "%", "_", "*", "null", "\ufffd", "x" * 4000])
def test_what_nothing_is_called_finds_nothing(server: Server, key: str, text: str) -> None:
    post(server, key)

    assert search(server, q=text) == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "q"),
        ("q=1&limit=0", "limit"),
        (f"q=1&limit={LIMIT_MAX + 1}", "limit"),
        ("q=1&limit=x", "limit"),
        ("q=1&partner=x", "partner: there is no such parameter"),
        ("text=1", "text: there is no such parameter"),
    ],
)
def test_what_is_asked_wrongly_is_told(server: Server, query: str, words: str) -> None:
    assert words in problem(server.get(f"/api/v1/search?{query}"), 400).detail


def test_only_holders_of_a_token_find_anything(server: Server) -> None:
    problem(server.request("GET", "/api/v1/search?q=1"), 401)
