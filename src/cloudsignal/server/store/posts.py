"""Which posts came: how many, hour by hour, and the newest of those that were refused.

Instants are microseconds since 1970.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, field
from sqlalchemy import ColumnElement, Connection, Table, delete, func, select

from cloudsignal.protocol.refusals import STATUS, Problem
from cloudsignal.protocol.units import HOUR_US
from cloudsignal.server.insight.reporting import Tally, is_own_fault, refused_posts
from cloudsignal.server.store.batches import insert_all, insert_or
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.schema import interfaces, partners, posts, refusals, strangers, uses

ACCEPTED: Final = "accepted"
"""The outcome of a post that was not refused; that of any other is its error type."""
NOBODY: Final = 0
"""The interface of posts with a key that nobody has, or with none."""
REFUSALS_MAX: Final = 20
"""How many refused posts of each type are kept of each interface: so many of one leave the others alone."""
STRANGERS_MAX: Final = 10_000
"""How much is kept of where posts through no interface came from: what is longest ago goes first."""
OWN_FAULT: Final = tuple(type for type in STATUS if is_own_fault(type))
"""The types of posts that were refused through the print partner's own fault."""
FORGOTTEN: Final = 1_000
"""How many refused posts are forgotten in one transaction."""


class Count(Struct):
    """How many posts, and when the last one came."""

    posts: int = 0
    last: int = 0

    def add(self, posts: int, last: int) -> None:
        """Count so many more."""
        self.posts += posts
        if last > self.last:
            self.last = last


class RefusedPost(Struct, frozen=True, kw_only=True):
    """One refused post of an interface: what it was answered, and an excerpt of its body without any key."""

    id: int = 0
    at: int
    interface: int
    partner_name: str = ""
    address: str
    status: int
    type: str
    problems: tuple[Problem, ...]
    body: str


class Gathered(Struct):
    """What came, to be added to what is noted: posts by hour, interface or address, and outcome."""

    posts: dict[tuple[int, int, str], Count] = field(default_factory=dict)
    strangers: dict[tuple[int, str, str], Count] = field(default_factory=dict)
    refused: list[RefusedPost] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.posts or self.refused)


class Traffic(Struct):
    """Posts since an instant, by outcome; ``last`` is when the last one came, whenever that was."""

    outcomes: dict[str, Count] = field(default_factory=dict)
    last: int | None = None

    def add(self, other: "Traffic") -> None:
        """Count those of another interface as well."""
        for outcome, each in other.outcomes.items():
            self.outcomes.setdefault(outcome, Count()).add(each.posts, each.last)
        self.last = max(filter(None, (self.last, other.last)), default=None)

    @property
    def accepted(self) -> int:
        """How many were accepted."""
        return self.outcomes.get(ACCEPTED, Count()).posts

    @property
    def refused(self) -> dict[str, Count]:
        """Those that were not, by error type."""
        return {name: each for name, each in self.outcomes.items() if name != ACCEPTED}

    @property
    def refusals(self) -> int:
        """How many those are."""
        return self.posts - self.accepted

    @property
    def posts(self) -> int:
        """How many there were in all."""
        return sum(each.posts for each in self.outcomes.values())

    @property
    def tally(self) -> Tally:
        """How many of them were refused through the print partner's own fault, for its score."""
        return refused_posts(
            self.accepted, {type: each.posts for type, each in self.refused.items()}
        )


class Stranger(Struct, frozen=True):
    """How many posts of an error type came through no interface from one address, or a network of neighbours."""

    address: str
    type: str
    posts: int
    last: int


class Posts:
    """The verbs of which posts came. Every one may raise StoreUnavailable.

    They are counted by the hour, so ``since`` an instant is since its hour began.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---- noting them ----

    def add(self, gathered: Gathered) -> None:
        """Add what came to what is noted: all of it, or nothing."""
        with self._database.writing(beside=True) as connection:
            _count(connection, posts, gathered.posts)
            _use(connection, gathered.posts)
            _count(connection, strangers, gathered.strangers)
            if gathered.strangers:
                _forget_strangers(connection)
            insert_all(connection, refusals, [_row(each) for each in gathered.refused])
            for interface, type in sorted(
                {(each.interface, each.type) for each in gathered.refused}
            ):
                _forget_refused(connection, interface, type)

    def forget(self, before: int) -> int:
        """Forget what came before an instant, by the hour: how much of it.

        A few at a time; 0 says that there is no more. When an interface was last used is never forgotten.
        """
        first = select(func.min(posts.c.hour)).where(posts.c.hour < _hour(before))
        some = select(refusals.c.id).where(refusals.c.at < before)
        some = some.order_by(refusals.c.id).limit(FORGOTTEN)
        with self._database.writing(beside=True) as connection:
            hour = connection.scalar(first)
            gone = (
                delete(posts).where(posts.c.hour == hour),
                delete(strangers).where(strangers.c.last < before),
                delete(refusals).where(refusals.c.id.in_(some)),
            )
            return sum(connection.execute(each).rowcount for each in gone)

    # ---- how many ----

    def of_interfaces(self, since: int) -> dict[int, Traffic]:
        """What came through each interface that there is."""
        with self._database.reading() as connection:
            return _of_interfaces(connection, since)

    def of_partners(self, since: int, *, live: bool = False) -> dict[str, Traffic]:
        """What came through the interfaces of each print partner that has any, by its name.

        ``live`` leaves out those that are for tests now.
        """
        its = select(interfaces.c.id, partners.c.name)
        its = its.join(partners, partners.c.id == interfaces.c.partner).order_by(partners.c.name)
        if live:
            its = its.where(~interfaces.c.test)
        found: dict[str, Traffic] = {}
        with self._database.reading() as connection:
            traffic = _of_interfaces(connection, since)
            for interface, name in connection.execute(its):
                found.setdefault(name, Traffic()).add(traffic[interface])
        return found

    def of_strangers(self, since: int) -> dict[str, Count]:
        """What came through no interface, by error type."""
        with self._database.reading() as connection:
            return _outcomes(connection, since, posts.c.interface == NOBODY).get(NOBODY, {})

    def strangers(self, since: int, *, limit: int) -> list[Stranger]:
        """From where that came: first from where most did."""
        total, last = func.sum(strangers.c.posts), func.max(strangers.c.last)
        its = strangers.c.address, strangers.c.outcome
        counted = select(*its, total, last).where(strangers.c.hour >= _hour(since)).group_by(*its)
        with self._database.reading() as connection:
            rows = connection.execute(counted.order_by(total.desc(), *its).limit(limit))
            return [Stranger(address, type, int(sum), at) for address, type, sum, at in rows]

    # ---- which were refused ----

    def refused(
        self,
        *,
        partner: str | None = None,
        interface: int | None = None,
        type: str | None = None,
        scored: bool = False,
        before: int | None = None,
        limit: int,
    ) -> list[RefusedPost]:
        """Refused posts that are kept, the newest first; the next page is ``before`` the last one's id.

        ``scored`` leaves out those that count for nothing in the score of a print partner's reporting.
        """
        chosen: list[ColumnElement[bool]] = []
        if partner is not None:
            chosen.append(partners.c.name == partner)
        if interface is not None:
            chosen.append(refusals.c.interface == interface)
        if type is not None:
            chosen.append(refusals.c.type == type)
        if scored:
            chosen += (refusals.c.type.in_(OWN_FAULT), ~interfaces.c.test)
        if before is not None:
            chosen.append(refusals.c.id < before)
        listed = _REFUSED.where(*chosen).order_by(refusals.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            return [_refused(row) for row in connection.execute(listed)]


_REFUSED: Final = (
    select(refusals, partners.c.name.label("partner_name"))
    .join(interfaces, interfaces.c.id == refusals.c.interface)
    .join(partners, partners.c.id == interfaces.c.partner)
)
_problems: Final = msgspec.json.Decoder(tuple[Problem, ...]).decode


def _hour(instant: int) -> int:
    """When the hour of an instant begins."""
    return instant - instant % HOUR_US


def _count(connection: Connection, table: Table, counts: Mapping[Any, Count]) -> None:
    """Add to what is counted. In one order: of two nodes none then waits for the other."""
    change = f"posts = {table.name}.posts + excluded.posts, {_latest(table)}"
    rows = [(*key, each.posts, each.last) for key, each in sorted(counts.items())]
    insert_or(connection, table, rows, change)


def _use(connection: Connection, counts: Mapping[tuple[int, int, str], Count]) -> None:
    """Note when interfaces were last used."""
    lasts: dict[int, int] = {}
    for (_, interface, _), each in counts.items():
        lasts[interface] = max(each.last, lasts.get(interface, 0))
    insert_or(connection, uses, sorted(lasts.items()), _latest(uses))


def _latest(table: Table) -> str:
    """The change after which ``last`` is the later one."""
    own = f"{table.name}.last"
    return f"last = CASE WHEN excluded.last > {own} THEN excluded.last ELSE {own} END"


def _forget_strangers(connection: Connection) -> None:
    """Keep the last places where strangers came from."""
    newest_first = select(strangers.c.last).order_by(strangers.c.last.desc())
    too_old = newest_first.offset(STRANGERS_MAX).limit(1).scalar_subquery()
    connection.execute(delete(strangers).where(strangers.c.last <= too_old))


def _forget_refused(connection: Connection, interface: int, type: str) -> None:
    """Keep the newest of an interface's refused posts of a type."""
    its = refusals.c.interface == interface, refusals.c.type == type
    newest_first = select(refusals.c.id).where(*its).order_by(refusals.c.id.desc())
    too_old = newest_first.offset(REFUSALS_MAX).limit(1).scalar_subquery()
    connection.execute(delete(refusals).where(*its, refusals.c.id <= too_old))


def _of_interfaces(connection: Connection, since: int) -> dict[int, Traffic]:
    found = _outcomes(connection, since, posts.c.interface != NOBODY)
    its = interfaces.outerjoin(uses, uses.c.interface == interfaces.c.id)
    lasts = connection.execute(select(interfaces.c.id, uses.c.last).select_from(its))
    return {number: Traffic(found.get(number, {}), last) for number, last in lasts}


def _outcomes(
    connection: Connection, since: int, which: ColumnElement[bool]
) -> dict[int, dict[str, Count]]:
    """How many posts had which outcome, by interface."""
    its = posts.c.interface, posts.c.outcome
    counted = select(*its, func.sum(posts.c.posts), func.max(posts.c.last))
    counted = counted.where(posts.c.hour >= _hour(since), which).group_by(*its)
    found: dict[int, dict[str, Count]] = {}
    for interface, outcome, sum, last in connection.execute(counted):
        found.setdefault(interface, {})[outcome] = Count(int(sum), last)
    return found


def _row(refused: RefusedPost) -> tuple[Any, ...]:
    return (
        refused.at,
        refused.interface,
        refused.address,
        refused.status,
        refused.type,
        msgspec.json.encode(refused.problems).decode(),
        refused.body,
    )


def _refused(row: Any) -> RefusedPost:
    return RefusedPost(**dict(row._mapping) | {"problems": _problems(row.problems)})
