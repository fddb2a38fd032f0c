"""Appending to the log: signals and the items folded from them, in one transaction."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from cloudsignal.protocol.items import Item
from cloudsignal.protocol.refusals import Problem
from cloudsignal.protocol.signals import ItemShipped
from cloudsignal.protocol.wire import Receipt, Report
from cloudsignal.server.store.sqlite import Key, Row, Writer

encode_item: Final = msgspec.msgpack.Encoder(order="deterministic").encode
decode_item: Final = msgspec.msgpack.Decoder(Item).decode


class Arrival(Struct, frozen=True, array_like=True):
    """One authenticated and valid post on its way into the log; ``received`` in microseconds."""

    interface: int
    partner: int
    test: bool
    received: int
    reports: list[Report]


Answer = Receipt | Problem
"""What one post of a group is answered."""


class Folded(Struct):
    """An item of a group: whose it is, what is known of it, and what the group makes of it.

    ``position`` is 0 until a signal is merged.
    """

    key: Key
    partner: int
    item: Item
    number: int
    is_new: bool = False
    position: int = 0
    updated: int = 0

    def merge(self, report: Report, *, position: int, received: int, test: bool) -> None:
        """Take in the signal at a position of the log."""
        self.item.merge(report, received=received, test=test)
        self.position = position
        self.updated = received

    def folded(self) -> Row:
        """What signals change of its row, in the order in which the writer takes it."""
        item = self.item
        return (
            item.state,
            item.is_delayed,
            not item.live,
            self.position,
            self.updated,
            encode_item(item),
        )

    def row(self) -> Row:
        """The whole row of the items table, in the order of its columns."""
        return (self.number, *self.key, self.partner, *self.folded())


class Placed(Struct):
    """One signal of a group at the position it gets unless it is known."""

    position: int
    arrival: Arrival
    report: Report
    folded: Folded

    def same(self) -> Row:
        """What makes it the same signal as another one."""
        report = self.report
        return (
            self.folded.number,
            type(report.signal).__name__,
            report.datetime,
            self.arrival.interface,
            report.fingerprint,
        )

    def row(self) -> Row:
        """The row of the log, in the order in which the writer takes it."""
        arrival = self.arrival
        return (
            self.position,
            arrival.received,
            arrival.partner,
            arrival.test,
            self.report.body.decode(),
            *self.same(),
        )

    def merge(self) -> None:
        """Let the item take it in."""
        self.folded.merge(
            self.report,
            position=self.position,
            received=self.arrival.received,
            test=self.arrival.test,
        )


Items = dict[Key, Folded]
Span = tuple[int, int]
"""Where the signals of a post begin and end among those of its group."""


def append(writer: Writer, arrivals: Sequence[Arrival]) -> list[Answer]:
    """Write a group in one transaction and answer each post of it, once all of it is on disk.

    Raises StoreUnavailable when nothing of it was written.
    """
    with writer.transaction():
        items = _load(writer, arrivals)
        placed, posts = _place(arrivals, items, writer.last_position() + 1)
        known = _append(writer, placed)
        for each in placed:
            if each.position not in known:
                each.merge()
        _write_items(writer, items)
        _write_parcels(writer, placed)
    return [
        post if isinstance(post, Problem) else _receipt(placed[slice(*post)], known)
        for post in posts
    ]


def _load(writer: Writer, arrivals: Sequence[Arrival]) -> Items:
    keys = {_key(report) for arrival in arrivals for report in arrival.reports}
    return {
        (order, item): Folded((order, item), partner, decode_item(summary), number)
        for order, item, number, partner, summary in writer.load(list(keys))
    }


def _key(report: Report) -> Key:
    signal = report.signal
    return signal.order, signal.item


def _place(
    arrivals: Sequence[Arrival], items: Items, position: int
) -> tuple[list[Placed], list[Span | Problem]]:
    """Give every signal a position, except those of a post with an item that is another's."""
    placed: list[Placed] = []
    posts: list[Span | Problem] = []
    for arrival in arrivals:
        problem = _foreign(arrival, items)
        if problem is not None:
            posts.append(problem)
            continue
        start = len(placed)
        for report in arrival.reports:
            place = position + len(placed)
            key = _key(report)
            folded = items.get(key)
            if folded is None:
                # Nobody reported it before, so it is this print partner's.
                folded = items[key] = Folded(key, arrival.partner, Item(), place, is_new=True)
            placed.append(Placed(place, arrival, report, folded))
        posts.append((start, len(placed)))
    return placed, posts


def _foreign(arrival: Arrival, items: Items) -> Problem | None:
    for index, report in enumerate(arrival.reports):
        known = items.get(_key(report))
        if known is not None and known.partner != arrival.partner:
            return _not_yours(arrival, index)
    return None


def _not_yours(arrival: Arrival, index: int) -> Problem:
    signal = arrival.reports[index].signal
    place = f"items[{index}]" if len(arrival.reports) > 1 else ""
    info = f"item {signal.item} of order {signal.order} is reported by another print partner"
    return Problem(place, "not_your_item", f"{place}: {info}" if place else info)


def _append(writer: Writer, placed: Sequence[Placed]) -> dict[int, int]:
    """Append what is not known; for each repeat the position it did not get, and where it stands."""
    if writer.append([each.row() for each in placed]) == len(placed):
        return {}
    stands = {each.position: writer.position_of(each.same()) for each in placed}
    return {position: known for position, known in stands.items() if position != known}


def _write_items(writer: Writer, items: Items) -> None:
    changed = [folded for folded in items.values() if folded.position]
    writer.add_items(folded.row() for folded in changed if folded.is_new)
    writer.change_items(
        (*folded.folded(), folded.number) for folded in changed if not folded.is_new
    )


def _write_parcels(writer: Writer, placed: Sequence[Placed]) -> None:
    rows = [
        (each.report.signal.tracking, each.folded.number)
        for each in placed
        if isinstance(each.report.signal, ItemShipped)
    ]
    if rows:
        writer.add_parcels(rows)


def _receipt(placed: Sequence[Placed], known: dict[int, int]) -> Receipt:
    repeats = sum(each.position in known for each in placed) if known else 0
    last = placed[-1].position
    return Receipt(len(placed) - repeats, repeats, known.get(last, last))
