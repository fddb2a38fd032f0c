"""One text looked for among many items, over HTTP: how soon the answer is there."""

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

from benchmarks import workload
from benchmarks.asking import Ask, measured, measurement
from benchmarks.places import Home, Place
from benchmarks.preload import preload
from benchmarks.rows import Measurement, Row
from benchmarks.servers import serving
from benchmarks.stores import CONNECTIONS, make_interface, make_token
from cloudsignal.server.store.orders import REGISTRATIONS_MAX, Registration
from cloudsignal.server.store.store import open_store

ITEMS, ITEMS_QUICK = 10_000_000, 100_000
REGISTERED_EACH = 10  # of so many orders one has references
SEED = 1

Question = Callable[[str], tuple[str, str | None]]
"""For an order that is there, a text to look for, and how what is found first has to begin."""

QUESTIONS: dict[str, Question] = {
    "an order's id": lambda order: (order, order),
    "an item's id": lambda order: (f"{order}-1", f"{order}-1"),
    "a tracking number": lambda order: (f"1Z{order}", f"1Z{order}"),
    "a reference": lambda order: (reference(order), reference(order)),
    "four characters": lambda order: (order[:4], order[:4]),
    "one character": lambda order: (order[:1], order[:1]),
    "nothing is found": lambda order: (f"x{order}", None),
}


def search_rows(home: Home, first_item: int, seconds: int, *, quick: bool) -> list[Row]:
    """One who asks one question after the other, with each kind of text."""
    count = ITEMS_QUICK if quick else ITEMS
    place = home.new("searched")
    orders = make_searched(place, first_item, count)
    token = make_token(place)
    rows: list[Row] = []
    for name, question in QUESTIONS.items():
        measure = searching(place, token, orders, question, seconds)
        rows.append(Row("q", f"{name}, {count:,} items", None, measure))
    return rows


def make_searched(place: Place, first_item: int, count: int) -> list[str]:
    """A store of so many items in as many orders, each with a parcel; the orders that have references."""
    apikey = make_interface(place)
    with serving("ours", place, None, ["--no-deliver"]) as server:
        posts = ((len(each), workload.bundle(apikey, each)) for each in shipped(first_item, count))
        preload(server.port, posts, count, "items to look for", CONNECTIONS["ours"])
    numbers = range(first_item, first_item + count, REGISTERED_EACH)
    orders = [workload.order_id(number) for number in numbers]
    register(place, orders)
    return orders


def shipped(first_item: int, count: int, size: int = 1000) -> Iterator[list[dict[str, str]]]:
    """The last signals of so many items, in lists of at most ``size``."""
    step = len(workload.TYPES) - 1
    for start in range(first_item, first_item + count, size):
        now_s = int(time.time())
        stop = min(start + size, first_item + count)
        orders = [workload.order_id(number) for number in range(start, stop)]
        yield [workload.step_of(step, order, f"{order}-1", now_s) for order in orders]


def register(place: Place, orders: list[str]) -> None:
    with closing(open_store(place.url)) as store:
        store.orders.create_owner("Owner", now=1)
        for start in range(0, len(orders), REGISTRATIONS_MAX):
            several = [
                Registration(
                    order,
                    "Owner",
                    reference=reference(order),
                    items={f"{order}-1": f"i{reference(order)}"},
                )
                for order in orders[start : start + REGISTRATIONS_MAX]
            ]
            store.orders.register(several, now=1)


def reference(order: str) -> str:
    return f"wp-{order[::-1]}"


def searching(
    place: Place, token: str, orders: list[str], question: Question, seconds: int
) -> Callable[[], Measurement]:
    def asks() -> Callable[[], Ask]:
        chosen = random.Random(SEED)  # the same ones in each round

        def ask() -> Ask:
            text, begins = question(chosen.choice(orders))
            path = f"/api/v1/search?{urlencode({'q': text})}"
            return path, lambda status, body: status == 200 and is_right(json.loads(body), begins)

        return ask

    def measure() -> Measurement:
        headers = {"Authorization": f"Bearer {token}"}
        took_s, misfound, peak_rss_mb = measured(place, seconds, headers, asks)
        return measurement(took_s, peak_rss_mb, misfound=misfound)

    return measure


def is_right(answer: Any, begins: str | None) -> bool:
    hits = answer["hits"]
    return not hits if begins is None else bool(hits) and hits[0]["text"].startswith(begins)
