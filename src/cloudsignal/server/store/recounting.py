"""Counting everything again, to keep it or to compare: the proof that roll-ups are nothing but what they count."""

from collections import Counter
from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Column, Connection, Select, func, select

from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.insight import counting
from cloudsignal.server.insight.counting import Counts
from cloudsignal.server.store import facts
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.log import decode_item
from cloudsignal.server.store.progress import Progress, silent
from cloudsignal.server.store.rollups import (
    ALL,
    COUNTED_ITEMS,
    LIVE,
    Rollups,
    Rules,
    decoded,
    newest,
    passed,
    unheard_of,
    waits_anew,
)
from cloudsignal.server.store.schema import items, orders, recounts, rollups, signals

BATCH: Final = 1_000
"""How many signals, items or orders are looked at in one transaction."""
FETCHED: Final = 1_000
"""How many counts are fetched from the database at once."""

Key = tuple[str, int, int, str]
"""What is counted, of which print partner, when, and the key: a row of the roll-ups."""


class Compared(Struct, frozen=True):
    """How many counts there are or should be, and how many of them are not what they should be.

    Where nothing was compared, ``why_not`` says why.
    """

    counts: int = 0
    differed: int = 0
    why_not: str = ""


def count_again(database: Database, *, progress: Progress = silent) -> int | None:
    """Count everything again, if anything ever was counted: how many counts there are now, else None.

    Beside a server others may count meanwhile. ``progress`` is told how many signals of how many are counted. May
    raise StoreUnavailable.
    """
    rolls = Rollups(database)
    with database.reading() as connection:
        if passed(connection) is None:
            return None
        until = newest(connection)
    rolls.begin_anew()
    # What comes meanwhile is not waited for: on a busy store there would be no end.
    is_done = False
    while not is_done:
        rolls.step()
        with database.reading() as connection:
            done = passed(connection) or 0
            is_done = done >= until and not waits_anew(connection)
        progress(min(done, until), until)
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(rollups)) or 0


def compare(database: Database, *, progress: Progress = silent) -> Compared:
    """Count everything without writing anything, and compare.

    ``progress`` is told how many signals, items and orders of how many have been looked at. May raise
    StoreUnavailable.
    """
    with database.reading() as connection:
        before = _Standing.read(connection)
    if before.why_not:
        return Compared(why_not=before.why_not)
    found = _Scan(database, progress).differences()
    with database.reading() as connection:
        if _Standing.read(connection) != before:
            return Compared(why_not="something was counted or registered meanwhile")
    return found


class _Standing(Struct, frozen=True):
    """How far counting is, and what of: as long as it is the same, the same counts are right."""

    passed: int | None
    newest: int
    waiting: int
    revision: int
    pruned: int
    is_prepared: bool

    @classmethod
    def read(cls, connection: Connection) -> "_Standing":
        return cls(
            passed=passed(connection),
            newest=newest(connection),
            waiting=connection.scalar(select(func.count()).select_from(recounts)) or 0,
            revision=facts.number(connection, facts.ORDERS_REVISION),
            pruned=facts.pruned(connection),
            is_prepared=facts.read(connection, facts.COUNTING_ANEW) is None,
        )

    @property
    def why_not(self) -> str:
        """Why nothing can be compared, if nothing can."""
        if self.passed is None:
            return "nothing was ever counted"
        if not self.is_prepared:
            return "counting begins anew just now"
        if self.passed < self.newest:
            return f"{self.newest - self.passed} signals are not counted yet"
        return f"{self.waiting} orders are not counted yet" if self.waiting else ""


class _Scan:
    """Everything that there is, counted."""

    def __init__(self, database: Database, progress: Progress) -> None:
        self._database = database
        self._progress = progress
        self._counts: Counter[Key] = Counter()
        self._done = 0

    def differences(self) -> Compared:
        with self._database.reading() as connection:
            self._rules = Rules.read(connection)
            tables = (signals, items, orders)
            self._total = sum(
                connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables
            )
        self._add_all(LIVE, signals.c.position, self._add_signals)
        self._add_all(COUNTED_ITEMS, items.c.id, self._add_items)
        self._add_all(select(orders.c.due), orders.c.order, self._add_orders)
        return self._compared()

    def _add_all(
        self,
        statement: Select[Any],
        place: Column[Any],
        add: Callable[[Connection, list[Any]], None],
    ) -> None:
        """Count all rows of a statement, a few at a time in the order of a column."""
        in_order = statement.add_columns(place.label("place")).order_by(place).limit(BATCH)
        after: Any = None
        while True:
            chosen = in_order if after is None else in_order.where(place > after)
            with self._database.reading() as connection:
                rows = list(connection.execute(chosen))
                add(connection, rows)
            self._done += len(rows)
            self._progress(min(self._done, self._total), self._total)
            if len(rows) < BATCH:
                return
            after = rows[-1].place

    def _add_signals(self, _: Connection, rows: list[Any]) -> None:
        for row in rows:
            zone = self._rules.zone(row.interface)
            counts = counting.of_signal(row.type, row.datetime, row.received, zone)
            self._add(row.partner, ((count, 1) for count in counts))

    def _add_items(self, _: Connection, rows: list[Any]) -> None:
        for row in rows:
            calendar = self._rules.calendars.get(row.partner)
            found = counting.of_item(decode_item(row.summary), row.due, calendar)
            counts = found.counts if found else Counts()
            noted = Counts() if row.counts is None else Counts(dict(decoded(row.counts)))
            # What was worked may have been counted with a calendar that is another by now.
            is_same = _unworked(noted) == _unworked(counts)
            self._add(row.partner, (noted if is_same else counts).items())

    def _add_orders(self, connection: Connection, rows: list[Any]) -> None:
        due = [row.place for row in rows if row.due is not None]
        for row in unheard_of(connection, due):
            self._add(row.partner, counting.of_unheard(row.unheard, row.due).items())

    def _add(self, partner: int | None, counts: Iterable[tuple[counting.Count, int]]) -> None:
        for (what, at, key), number in counts:
            for whose in {ALL, partner or ALL}:
                self._counts[what, whose, at, key] += number

    def _compared(self) -> Compared:
        """Take all that is kept from what was counted: what is right is nothing then."""
        statement = select(rollups).execution_options(yield_per=FETCHED)
        with self._database.reading() as connection:
            # Minutes are forgotten at any time. Read at another moment than the counts, this would take what
            # was forgotten in between for missing.
            kept = _Kept.read(connection)
            with connection.execute(statement) as rows:
                for what, partner, at, key, count in rows:
                    self._counts[what, partner, at, key] -= count
        comparable = {key: left for key, left in self._counts.items() if kept.is_whole(key)}
        return Compared(len(comparable), sum(map(bool, comparable.values())))


class _Kept(Struct, frozen=True):
    """Since when counts of signals are whole, by what is counted."""

    since: dict[str, float]

    @classmethod
    def read(cls, connection: Connection) -> "_Kept":
        minutes = select(func.min(rollups.c.at)).where(rollups.c.what == "minute")
        # Where no minute is left, all of them are forgotten.
        since: dict[str, float] = {"minute": connection.scalar(minutes) or inf}
        if facts.pruned(connection):
            oldest = connection.scalar(select(func.min(signals.c.received))) or 0
            for what, unit_s in counting.OF_SIGNALS.items():
                # Of the time in which the log begins now, it has a part.
                whole = (oldest // (unit_s * SECOND_US) + 1) * unit_s
                since[what] = max(since.get(what, 0), whole)
        return cls(since)

    def is_whole(self, key: Key) -> bool:
        """Whether everything that is counted so is in the log, and was not forgotten."""
        what, _, at, _ = key
        return at >= self.since.get(what, at)


def _unworked(counts: Counts) -> dict[counting.Count, int]:
    return {each: number for each, number in counts.items() if not each[0].startswith("worked")}
