"""Appending to the log: signals and the items folded from them, in one transaction."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct, field

from cloudsignal.protocol.items import Item
from cloudsignal.protocol.refusals import DETAILS_MAX, Problem
from cloudsignal.protocol.signals import ItemShipped
from cloudsignal.protocol.wire import Receipt, Report, hide_keys
from cloudsignal.server.store.errors import StoreDamaged

encode_item: Final = msgspec.msgpack.Encoder(order="deterministic").encode
decode_item: Final = msgspec.msgpack.Decoder(Item).decode

ORDERS_REVISION: Final = "orders_revision"
"""The fact that grows with every change of owners or orders."""

Row = tuple[Any, ...]
Key = tuple[str, str]
"""The order and the item."""
Same = tuple[int, str, int, int, str]
"""What makes two signals the same (contract, section 5): the item's number, type, datetime,
interface and fingerprint."""


class Overtaken(Exception):
    """An item of the group, or an order, was changed after it was loaded: nothing was written."""


class Changes(Struct):
    """What a group writes: rows of each table, in the order of its columns.

    Positions are given out in the end. Until then a position, or the number of an item that is called
    by it, is negative: -1 is the next one after the last of the log, and so on.
    """

    signals: Sequence[Row] = ()
    items: Sequence[Row] = ()
    states: Sequence[Row] = ()
    changed: Sequence[Row] = ()
    """How items stand that were there: rows of the states, each with its position before."""
    parcels: Sequence[Row] = ()


def placed(number: int, last: int) -> int:
    """The position or number that was meant, where ``last`` is the last position of the log."""
    return last - number if number < 0 else number


class Writer(Protocol):
    """What a backend does for the log. Not for two threads at once."""

    def transaction(self, *, alone: bool) -> AbstractContextManager[None]:
        """Everything inside is on disk at the end, or nothing of it is.

        ``alone`` keeps all other writers waiting from the start, not just while ``write`` writes.
        Raises StoreUnavailable, and Overtaken unless it is alone.
        """

    def registered(self, orders: Sequence[str]) -> dict[str, int]:
        """Those of the orders that are registered, and for which print partner, 0 if for none.

        Asked for before the items are loaded, whose print partners it may change.
        """

    def load(self, keys: Sequence[Key]) -> Iterable[tuple[str, str, int, int, int, bytes]]:
        """Order, item, number, partner, position and summary of the items that are there."""

    def known(self, signals: Sequence[Same]) -> dict[Same, int]:
        """Those of the signals that are in the log, and where they stand."""

    def last_position(self) -> int:
        """The position of the newest signal, 0 in an empty log. Only for one who is alone."""

    def write(self, changes: Changes) -> int:
        """Write what a transaction changes, as its last act; the last position before that."""

    def confirm(self) -> None:
        """Make sure that what was read would survive this machine, as after a commit."""

    def close(self) -> None:
        """Give what is held back; the next transaction takes it again."""


class Arrival(Struct, frozen=True, array_like=True):
    """One authenticated and valid post on its way into the log; ``received`` in microseconds."""

    interface: int
    partner: int
    test: bool
    received: int
    reports: list[Report]


Problems = list[Problem]
"""Everything that is wrong with a post, ``DETAILS_MAX`` things at most."""
Answer = Receipt | Problems
"""What one post of a group is answered."""


class Folded(Struct):
    """An item of a group: whose it is, what is known of it, and what the group makes of it.

    ``number`` is 0 while it has no signal; ``loaded`` is the position at which it was loaded,
    ``position`` that of its last signal. Both are negative as long as positions are.
    """

    key: Key
    partner: int
    item: Item
    number: int = 0
    loaded: int = 0
    position: int = 0
    updated: int = 0

    def merge(self, report: Report, *, received: int, test: bool) -> None:
        """Take in a signal."""
        self.item.merge(report, received=received, test=test)
        self.updated = received

    def may_know(self, report: Report) -> bool:
        """Whether the log may hold this signal already: none is later than the item's latest."""
        latest = self.item.latest
        return self.loaded > 0 and latest is not None and report.datetime <= latest

    def stand(self, position: int) -> None:
        """Say where the last signal taken in stands. An item is numbered by its first."""
        self.position = position
        self.number = self.number or position

    def row(self) -> Row:
        """Its row of the items, in the order of their columns."""
        return (self.number, *self.key, self.partner)

    def state(self) -> Row:
        """Its row of the states, in the order of their columns."""
        item = self.item
        return (
            self.number,
            item.state,
            item.is_delayed,
            not item.live,
            self.position,
            self.updated,
            encode_item(item),
        )


class Placed(Struct):
    """One signal of a group, and its position in the log: negative until it is given one."""

    arrival: Arrival
    report: Report
    folded: Folded
    position: int = 0
    is_new: bool = True

    def same(self) -> Same:
        """What makes it the same signal as another one in the log."""
        report = self.report
        return (
            self.folded.number,
            type(report.signal).__name__,
            report.datetime,
            self.arrival.interface,
            report.fingerprint,
        )

    def merge(self) -> None:
        """Let the item take it in."""
        arrival = self.arrival
        self.folded.merge(self.report, received=arrival.received, test=arrival.test)

    def stand(self, position: int) -> None:
        """Give it its place in the log."""
        self.position = position
        self.folded.stand(position)

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


class Post(Struct):
    """A post of the group: its signals, and those of them that no other of the group came before."""

    signals: list[Placed] = field(default_factory=list)
    first: list[Placed] = field(default_factory=list)

    def receipt(self) -> Receipt:
        """What it is answered, once all of it has a place."""
        accepted = sum([placed.is_new for placed in self.first])
        return Receipt(accepted, len(self.signals) - accepted, self.signals[-1].position)


Items = dict[Key, Folded]
Group = dict[Any, Placed]
"""Every signal of the group by what makes it the same as another: in its order, and once."""


class Rules(Struct, frozen=True):
    """Which orders signals may be about: what is registered of those of a group."""

    partners: dict[str, int]
    """The registered orders, and for which print partner, 0 if for none."""
    refuse_unregistered: bool

    @property
    def is_any(self) -> bool:
        """Whether there is anything to look at."""
        return self.refuse_unregistered or bool(self.partners)

    def problem(self, arrival: Arrival, index: int) -> Problem | None:
        """What is wrong with the order of a signal."""
        order = arrival.reports[index].signal.order
        partner = self.partners.get(order)
        if partner is None:
            return _unknown_order(arrival, index) if self.refuse_unregistered else None
        if partner in (0, arrival.partner):
            return None
        return _told(
            arrival, index, "not_your_item", f"order {order} is given to another print partner"
        )


def append(
    writer: Writer, arrivals: Sequence[Arrival], *, refuse_unregistered: bool = False
) -> list[Answer]:
    """Write a group in one transaction and answer each post of it, once all of it is on disk.

    Raises StoreUnavailable when nothing of it was written, or when nobody knows whether it was.
    """
    try:
        return _append(writer, arrivals, refuse_unregistered, alone=False)
    except Overtaken:
        # Rare: two nodes got signals of one item in the same moment, or orders were registered in it.
        pass
    try:
        return _append(writer, arrivals, refuse_unregistered, alone=True)
    except Overtaken:
        # By nobody: what was loaded of an item is not what is stored of it.
        raise StoreDamaged(
            "an item has no state, or another one: run cloudsignal rebuild"
        ) from None


def _append(
    writer: Writer, arrivals: Sequence[Arrival], refuse_unregistered: bool, *, alone: bool
) -> list[Answer]:
    with writer.transaction(alone=alone):
        orders = {report.signal.order for arrival in arrivals for report in arrival.reports}
        rules = Rules(writer.registered(list(orders)), refuse_unregistered)
        items = _load(writer, arrivals)
        group: Group = {}
        posts = [_sort(arrival, rules, items, group) for arrival in arrivals]
        _recognise(writer, group)
        new = [placed for placed in group.values() if placed.is_new]
        for placed in new:
            placed.merge()
        if new:
            _write(writer, new)
        elif group:
            # Nothing but repeats. Who wrote them may have been told that their standby is away.
            writer.confirm()
    return [post.receipt() if isinstance(post, Post) else post for post in posts]


def _load(writer: Writer, arrivals: Sequence[Arrival]) -> Items:
    keys = {_key(report) for arrival in arrivals for report in arrival.reports}
    return {
        (order, item): Folded((order, item), partner, decode_item(summary), number, position)
        for order, item, number, partner, position, summary in writer.load(list(keys))
    }


def _key(report: Report) -> Key:
    signal = report.signal
    return signal.order, signal.item


def _sort(arrival: Arrival, rules: Rules, items: Items, group: Group) -> Post | Problems:
    """Put the signals of a post into the group, unless some of them may not be in the log."""
    problems = list(islice(_forbidden(arrival, rules, items), DETAILS_MAX))
    if problems:
        return problems
    post = Post()
    for report in arrival.reports:
        key = _key(report)
        same = (key, type(report.signal), report.datetime, arrival.interface, report.fingerprint)
        placed = group.get(same)
        if placed is None:
            folded = items.get(key)
            if folded is None:
                # Nobody reported it before, so it is this print partner's.
                folded = items[key] = Folded(key, arrival.partner, Item())
            placed = group[same] = Placed(arrival, report, folded)
            post.first.append(placed)
        post.signals.append(placed)
    return post


def _forbidden(arrival: Arrival, rules: Rules, items: Items) -> Iterator[Problem]:
    for index, report in enumerate(arrival.reports):
        problem = rules.problem(arrival, index) if rules.is_any else None
        known = items.get(_key(report))
        if problem is None and known is not None and known.partner != arrival.partner:
            problem = _not_yours(arrival, index)
        if problem is not None:
            yield problem


def _not_yours(arrival: Arrival, index: int) -> Problem:
    signal = arrival.reports[index].signal
    info = f"item {signal.item} of order {signal.order} is reported by another print partner"
    return _told(arrival, index, "not_your_item", info)


def _unknown_order(arrival: Arrival, index: int) -> Problem:
    order = arrival.reports[index].signal.order
    info = f"order {order} is not registered here: check it, or ask the platform to register it"
    return _told(arrival, index, "unknown_order", f"{info}, and send this again")


def _told(arrival: Arrival, index: int, type: str, info: str) -> Problem:
    """A problem with a signal, with its place if there are several in the post, less keys put in place of ids."""
    info = hide_keys(info)
    place = f"items[{index}]" if len(arrival.reports) > 1 else ""
    return Problem(place, type, f"{place}: {info}" if place else info)


def _recognise(writer: Writer, group: Group) -> None:
    """Find those signals that are in the log already. Looked for only where one may be."""
    doubtful = {
        placed.same(): placed for placed in group.values() if placed.folded.may_know(placed.report)
    }
    if doubtful:
        for same, position in writer.known(list(doubtful)).items():
            doubtful[same].position = position
            doubtful[same].is_new = False


def _write(writer: Writer, new: Sequence[Placed]) -> None:
    for place, placed in enumerate(new, 1):
        placed.stand(-place)
    touched = {placed.folded.key: placed.folded for placed in new}.values()
    added = [folded for folded in touched if not folded.loaded]
    last = writer.write(
        Changes(
            signals=[placed.row() for placed in new],
            items=[folded.row() for folded in added],
            states=[folded.state() for folded in added],
            changed=[(*folded.state(), folded.loaded) for folded in touched if folded.loaded],
            parcels=[
                (placed.report.signal.tracking, placed.folded.number)
                for placed in new
                if isinstance(placed.report.signal, ItemShipped)
            ],
        )
    )
    for place, each in enumerate(new, 1):
        each.position = last + place
