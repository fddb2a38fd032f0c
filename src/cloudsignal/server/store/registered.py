"""What owners are told when their orders are registered. Instants are microseconds since 1970."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from cloudsignal.protocol.webhooks import CloudprinterOrderValidated, encode, moment
from cloudsignal.server.store import endpoints as its_endpoints
from cloudsignal.server.store import facts, messages
from cloudsignal.server.store.deliveries import (
    ORDER_CANCELED,
    Noted,
    ask_for,
    asked_for,
    is_told,
    order_canceled,
    row_of,
)
from cloudsignal.server.store.endpoints import Endpoint
from cloudsignal.server.store.owned import UNSAID, Owned, canceling, read_owned
from cloudsignal.server.store.schema import items

ORDERS: Final = 50
"""Of how many orders what came before is looked up at once."""
_VALIDATED: Final = CloudprinterOrderValidated.__name__


def tell_registered(
    connection: Connection, registered: Sequence[Mapping[str, Any]], now: int
) -> None:
    """Have owners told of orders that are new, rows of these: that they are valid, and what came before.

    Inside the transaction that registers them.
    """
    told = its_endpoints.of_owners(connection, {row["owner"] for row in registered})
    if not told:
        return
    store = facts.identity(connection)
    rows = [
        _validated(store, endpoint, row, now)
        for endpoint in told
        for row in registered
        if row["owner"] == endpoint.owner and is_told(endpoint, _VALIDATED, test=False)
    ]
    ask_for(connection, rows)
    ids = [row["order"] for row in registered]
    for start in range(0, len(ids), ORDERS):
        _tell_earlier(connection, store, told, ids[start : start + ORDERS], now)


def _tell_earlier(
    connection: Connection, store: str, told: Sequence[Endpoint], ids: Sequence[str], now: int
) -> None:
    """Have endpoints told of the signals that came for orders before these were registered."""
    found = read_owned(connection, UNSAID.where(items.c.order.in_(ids)))
    earlier = canceling(connection, found)
    for endpoint in told:
        its = [each for each in earlier if each.owner == endpoint.owner]
        rows = asked_for(store, endpoint, its, now)
        rows += [
            _canceled(store, endpoint, each, now)
            for each in its
            if each.cancels_order and is_told(endpoint, ORDER_CANCELED, test=each.test)
        ]
        ask_for(connection, rows)


def _validated(store: str, endpoint: Endpoint, row: Mapping[str, Any], now: int) -> dict[str, Any]:
    order = row["order"]
    webhook = CloudprinterOrderValidated(
        apikey="", order=order, order_reference=row["reference"], datetime=moment(now)
    )
    return _of_order(store, endpoint, _VALIDATED, order, encode(webhook).decode(), now)


def _canceled(store: str, endpoint: Endpoint, owned: Owned, now: int) -> dict[str, Any]:
    webhook = order_canceled(owned)
    row = _of_order(store, endpoint, ORDER_CANCELED, owned.order, webhook, now)
    # Behind the signal that it follows from.
    return row | {"position": owned.position, "number": owned.number}


def _of_order(
    store: str, endpoint: Endpoint, type: str, order: str, webhook: str, now: int
) -> dict[str, Any]:
    """The row that asks for a whole order to be told of."""
    noted = Noted(
        endpoint=endpoint.id,
        message=messages.of_order(store, type, order),
        position=0,
        number=0,
        type=type,
        order=order,
        item="",
        webhook=webhook,
        state="asked",
        due=now,
    )
    return row_of(noted, now)
