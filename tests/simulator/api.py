"""The JSON API of a server that is not there: what a FakeServer holds, or what is made of it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import httpx2

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.items import Item
from cloudsignal.simulator.reader import Reader
from cloudsignal.testing import FakeServer

TOKEN = "cst_of_tests"
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
Shown = dict[str, Any]


def view(key: tuple[str, str], item: Item) -> Shown:
    """An item as the API shows it."""
    return {
        "order": key[0],
        "item": key[1],
        "partner": "Printer",
        "state": item.state,
        "delayed": item.is_delayed,
        "parcels": [
            {
                "tracking": each.tracking,
                "shipping_option": each.shipping_option,
                "datetime": datetimes.write(each.datetime),
            }
            for each in item.parcels
        ],
        "cause": item.cause and item.cause.value,
        "message": item.message and item.message.value,
        "delay_hours": item.delay_hours,
        "findings": item.findings,
        "times": {step: datetimes.write(when) for step, when in item.times.items()},
    }


class FakeApi:
    """Answers for a FakeServer. ``lie`` changes what it says; with ``lists_nothing`` no item has changed lately."""

    def __init__(self, server: FakeServer, *, page: int = 7) -> None:
        self.server = server
        self.page = page
        self.lie: Callable[[list[Shown]], list[Shown]] = lambda items: items
        self.lists_nothing = False
        self.answers: list[httpx2.Response] = []
        self.requests: list[httpx2.Request] = []

    def reader(self, token: str = TOKEN) -> Reader:
        async def sleep(_: float) -> None:
            return

        transport = httpx2.MockTransport(self._answer)
        return Reader("http://fake", token, transport=transport, sleep=sleep)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if self.answers:
            return self.answers.pop(0)
        if request.headers["authorization"] != f"Bearer {TOKEN}":
            return httpx2.Response(401)
        items = self.lie([view(*each) for each in self.server.items.items()])
        path = request.url.raw_path.decode().partition("?")[0].removeprefix("/api/v1/items")
        if path:
            order, item = map(unquote, path[1:].split("/"))
            found = [each for each in items if (each["order"], each["item"]) == (order, item)]
            return httpx2.Response(200, json=found[0]) if found else httpx2.Response(404)
        return httpx2.Response(200, content=json.dumps(self._listed(items, request.url.params)))

    def _listed(self, items: list[Shown], asked: Any) -> Shown:
        if "order" in asked:
            items = [each for each in items if each["order"] == asked["order"]]
        elif self.lists_nothing:
            items = []
        begin = int(asked.get("cursor", "0"))
        end = begin + self.page
        return {"items": items[begin:end], "next": str(end) if end < len(items) else None}
