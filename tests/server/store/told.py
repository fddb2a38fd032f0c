"""Endpoints and deliveries for tests of the store."""

from typing import Any

from cloudsignal.server.store.deliveries import Attempted, Noted
from cloudsignal.server.store.endpoints import Endpoint, Sealed, Wanted
from cloudsignal.server.store.store import Store


def wanted(**values: Any) -> Wanted:
    """What is wanted of an endpoint."""
    given = {
        "seal": lambda number: Sealed(f"url {number}", f"key {number}", f"secret {number}"),
        "shown": "https://books.example/",
        "format": "cloudsignal-2.0",
    }
    return Wanted(**given | values)


def endpoint(store: Store, owner: str = "Books", *, now: int = 9, **values: Any) -> Endpoint:
    """An endpoint of an owner, who is added if need be."""
    if owner not in [each.name for each in store.orders.owners()]:
        store.orders.create_owner(owner, now=now)
    return store.endpoints.create(owner, wanted(**values), now=now)


def noted(number: int, message: str = "m", **values: Any) -> Noted:
    """A delivery that waits at an endpoint."""
    given = {
        "position": 1,
        "number": 1,
        "type": "ItemProduce",
        "order": "7",
        "item": "1",
        "webhook": "{}",
        "state": "waiting",
        "due": 5,
    }
    return Noted(endpoint=number, message=message, **given | values)


def attempted(number: int, message: str = "m", **values: Any) -> Attempted:
    """An attempt at an endpoint."""
    given = {
        "type": "ItemProduce",
        "order": "7",
        "item": "1",
        "attempt": 1,
        "at": 10,
        "took": 20,
        "status": 500,
        "error": "it answered 500",
        "address": "192.0.2.1",
        "webhook": "{}",
        "headers": [("server", "s")],
        "answer": b"no\xff",
    }
    return Attempted(endpoint=number, message=message, **given | values)
