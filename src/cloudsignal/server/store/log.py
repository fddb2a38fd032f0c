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


class Arrival(Struct, frozen=True):
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

    ``number`` is 0 until its first signal has a position, ``position`` until a signal is merged.
    """

    key: Key
    partner: int
    item: Item
    number: int = 0
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
    """One signal of a group on its way to a position of the log."""

    arrival: Arrival
    report: Report
    folded: Folded
    position: int

    def row(self) -> Row:
        """The row of the log, in the order of its columns."""
        arrival, report = self.arrival, self.report
        return (
            self.position,
            self.folded.number,
            arrival.received,
            arrival.partner,
            arrival.interface,
            arrival.test,
            type(report.signal).__name__,
            report.datetime,
            report.fingerprint,
            report.body.decode(),
        )


Items = dict[Key, Folded]


def append(writer: Writer, arrivals: Sequence[Arrival]) -> list[Answer]:
    """Write a group in one transaction and answer each post of it, once all of it is on disk.

    Raises StoreUnavailable when nothing of it was written.
    """
    with writer.transaction():
        items = _load(writer, arrivals)
        problems = [_claim(arrival, items) for arrival in arrivals]
        welcome = [
            arrival for arrival, problem in zip(arrivals, problems, strict=True) if not problem
        ]
        receipts = iter(_append(writer, welcome, items))
        return [problem or next(receipts) for problem in problems]


def _load(writer: Writer, arrivals: Sequence[Arrival]) -> Items:
    keys = {_key(report) for arrival in arrivals for report in arrival.reports}
    return {
        (order, item): Folded((order, item), partner, decode_item(summary), number)
        for order, item, number, partner, summary in writer.load(list(keys))
    }


def _key(report: Report) -> Key:
    return report.signal.order, report.signal.item


def _claim(arrival: Arrival, items: Items) -> Problem | None:
    """Make items that nobody reported before this partner's; refuse the post if one is another's."""
    fresh: list[Key] = []
    for index, report in enumerate(arrival.reports):
        known = items.get(_key(report))
        if known is None:
            fresh.append(_key(report))
        elif known.partner != arrival.partner:
            return _not_yours(arrival, index)
    for key in fresh:
        items[key] = Folded(key, arrival.partner, Item(), is_new=True)
    return None


def _not_yours(arrival: Arrival, index: int) -> Problem:
    signal = arrival.reports[index].signal
    place = f"items[{index}]" if len(arrival.reports) > 1 else ""
    info = f"item {signal.item} of order {signal.order} is reported by another print partner"
    return Problem(place, "not_your_item", f"{place}: {info}" if place else info)


def _append(writer: Writer, arrivals: Sequence[Arrival], items: Items) -> list[Receipt]:
    placed = _place(arrivals, items, writer.last_position() + 1)
    if not placed:
        return []
    appended = writer.append([each.row() for each in placed])
    known = {} if appended == len(placed) else _known(writer, placed)
    for each in placed:
        if each.position not in known:
            each.folded.merge(
                each.report,
                position=each.position,
                received=each.arrival.received,
                test=each.arrival.test,
            )
    _write_items(writer, items)
    _write_parcels(writer, placed)
    return _receipts(arrivals, placed, known)


def _place(arrivals: Sequence[Arrival], items: Items, position: int) -> list[Placed]:
    placed: list[Placed] = []
    for arrival in arrivals:
        for report in arrival.reports:
            folded = items[_key(report)]
            folded.number = folded.number or position
            placed.append(Placed(arrival, report, folded, position))
            position += 1
    return placed


def _known(writer: Writer, placed: Sequence[Placed]) -> dict[int, int]:
    """For each repeated signal the position it did not get, and the one where it stands."""
    known: dict[int, int] = {}
    for each in placed:
        position, item, _, _, interface, _, name, when, fingerprint, _ = each.row()
        stands = writer.position_of((item, name, when, interface, fingerprint))
        if stands != position:
            known[position] = stands
    return known


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


def _receipts(
    arrivals: Sequence[Arrival], placed: Sequence[Placed], known: dict[int, int]
) -> list[Receipt]:
    receipts: list[Receipt] = []
    end = 0
    for arrival in arrivals:
        start, end = end, end + len(arrival.reports)
        repeats = sum(each.position in known for each in placed[start:end]) if known else 0
        last = placed[end - 1].position
        receipts.append(Receipt(end - start - repeats, repeats, known.get(last, last)))
    return receipts
