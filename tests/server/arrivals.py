"""Posts on their way into the log, made the way the server makes them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any

from cloudsignal.protocol import wire
from cloudsignal.protocol.refusals import Problem
from cloudsignal.protocol.signals import Signal
from cloudsignal.protocol.wire import Receipt, Report
from cloudsignal.server.store.log import Answer, Arrival
from cloudsignal.server.store.reading import LoggedSignal
from cloudsignal.server.store.store import Store
from tests.strategies import post_body, report_of

SECOND = 1_000_000
MINUTE = 60 * SECOND
NOON = 1_453_291_200 * SECOND
"""2016-01-20 12:00:00 UTC, in microseconds."""


def report(
    type: str = "ItemRegistered", *, item: str = "1", minute: int = 0, **fields: Any
) -> Report:
    """One valid signal of order 7; an ItemShipped gets the fields it needs."""
    if type == "ItemShipped":
        fields = {"tracking": "T1", "shipping_option": "GLS"} | fields
    when = f"2016-01-20 12:{minute:02}:00 GMT"
    common = {"type": type, "order": "7", "item": item, "datetime": when}
    [made] = wire.validate(wire.decode(post_body(**common | fields)), zone=UTC)
    return made


def arrival(
    *reports: Report,
    partner: int = 1,
    interface: int | None = None,
    received: int = NOON,
    test: bool = False,
) -> Arrival:
    """A post of a print partner, by default through the interface of the same number."""
    number = partner if interface is None else interface
    return Arrival(number, partner, test, received, list(reports or [report()]))


def reports_of(*signals: Signal) -> list[Report]:
    """What validation makes of signals."""
    return [report_of(signal) for signal in signals]


def receipt(answer: Answer) -> Receipt:
    """The answer, which must be a receipt."""
    assert isinstance(answer, Receipt), answer
    return answer


def problem(answer: Answer) -> Problem:
    """What is wrong, which must be one thing."""
    assert isinstance(answer, list), answer
    [found] = answer
    return found


def whole_log(store: Store) -> list[LoggedSignal]:
    """Every signal, in the order of the log, however many there are."""
    found: list[LoggedSignal] = []
    while page := store.reading.signals(after=found[-1].position if found else 0, limit=10_000):
        found += page
    return found


def positions(store: Store) -> list[int]:
    """Where the signals of the log stand, in its order."""
    return [each.position for each in whole_log(store)]


@contextmanager
def appending(store: Store, post: Callable[[int], Arrival]) -> Iterator[list[int]]:
    """A thread that appends one post after another; how many signals of each were new.

    It has begun when this begins.
    """
    begun, enough = threading.Event(), threading.Event()
    accepted: list[int] = []

    def append() -> None:
        while not enough.is_set():
            [answer] = store.append([post(len(accepted))])
            accepted.append(receipt(answer).accepted)
            begun.set()

    thread = threading.Thread(target=append)
    thread.start()
    try:
        assert begun.wait(30)
        yield accepted
    finally:
        enough.set()
        thread.join()
