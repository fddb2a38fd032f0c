"""Deliveries: the log as owners are told of it, what is noted of their telling, and every attempt.

Instants are microseconds since 1970.
"""

from collections.abc import Collection, Iterable
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict, astuple
from sqlalchemy import (
    Connection,
    bindparam,
    case,
    delete,
    insert,
    select,
    update,
)

from cloudsignal.protocol.signals import BY_NAME
from cloudsignal.protocol.webhooks import (
    WEBHOOK_OF,
    CloudprinterOrderCanceled,
    encode,
    moment,
)
from cloudsignal.server.store import endpoints as its_endpoints
from cloudsignal.server.store import facts, messages
from cloudsignal.server.store.batches import insert_all
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.endpoints import Endpoint, EndpointState
from cloudsignal.server.store.owned import OWNED, Owned, page, read_owned
from cloudsignal.server.store.schema import (
    attempts,
    cursors,
    deliveries,
    endpoints,
    signals,
)

NotedState = Literal["asked", "waiting", "dead"]
"""Asked for by people or by a registration; waiting for an attempt, or behind one that does; given up."""


class Noted(Struct, frozen=True, kw_only=True):
    """A delivery that is noted.

    ``number`` is its item's, 0 if it is about a whole order; ``webhook`` is what is told, less the key, empty if
    it is to be made of the signal at ``position``.
    """

    endpoint: int
    message: str
    position: int
    number: int
    type: str
    order: str
    item: str
    webhook: str = ""
    state: NotedState
    attempts: int = 0
    first: int | None = None
    due: int
    why: str = ""
    changed: int = 0


class Attempted(Struct, frozen=True, kw_only=True):
    """One attempt to tell an owner: what was sent, less the key, and how it was answered.

    ``took`` is in microseconds; ``headers`` and ``answer`` are the beginning of the answer.
    """

    id: int = 0
    endpoint: int
    message: str
    type: str
    order: str
    item: str
    attempt: int
    at: int
    took: int
    status: int | None
    error: str
    address: str
    webhook: str
    headers: list[tuple[str, str]]
    answer: bytes


class Health(Struct, frozen=True):
    """How an endpoint is doing; its ``state`` only follows on ``before``, which people may have changed."""

    failures: int
    failing_since: int | None
    before: EndpointState
    state: EndpointState
    why: str


class Progress(Struct):
    """What became of deliveries: noted in one transaction."""

    positions: dict[int, int] = field(default_factory=dict)
    """How far of the log those have come, by the numbers of their endpoints, whose cursors have moved."""
    done: list[tuple[int, str]] = field(default_factory=list)
    """Endpoint and message of what was noted and need not be any more."""
    noted: list[Noted] = field(default_factory=list)
    attempted: list[Attempted] = field(default_factory=list)
    health: dict[int, Health] = field(default_factory=dict)

    @property
    def endpoints(self) -> set[int]:
        """Of which endpoints there is something to note."""
        noted = {each.endpoint for each in self.noted}
        return {*self.positions, *(number for number, _ in self.done), *noted, *self.health}

    def __bool__(self) -> bool:
        return bool(self.positions or self.done or self.noted or self.attempted or self.health)


class Look(Struct, frozen=True):
    """What there is to tell some owners, all at one moment.

    ``asked`` has the deliveries that were asked for, with their signals if they have no webhook yet; if there are
    as many as may come at once, no ``signals`` do. ``until`` is the position up to which the log was looked at,
    ``is_cut`` whether there was more to look at.
    """

    revision: int
    asked: list[tuple[Noted, Owned | None]]
    signals: list[Owned]
    until: int
    is_cut: bool


class Deliveries:
    """The verbs of deliveries. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def look(
        self,
        told: Collection[int],
        *,
        after: int,
        until: int | None = None,
        owned_by: Collection[int] | None = None,
        find_outdated: bool = False,
        limit: int,
    ) -> Look:
        """What is there for the endpoints ``told``: what was asked for, and the log beyond a position.

        ``owned_by`` leaves out signals of other owners, ``until`` what is beyond a position;
        ``find_outdated`` marks signals of whose items later facts are known.
        """
        with self._database.reading() as connection:
            revision = facts.number(connection, facts.ENDPOINTS_REVISION)
            asked = _asked(connection, told, limit)
            if len(asked) == limit:
                return Look(revision, asked, [], after, is_cut=True)
            found, last, is_cut = page(
                connection, after, until, owned_by, limit, find_outdated=find_outdated
            )
        if last > after:
            self._database.settle(last)
        return Look(revision, asked, found, last, is_cut)

    def revision(self) -> int:
        """A number that grows with every change of endpoints by people."""
        with self._database.reading() as connection:
            return facts.number(connection, facts.ENDPOINTS_REVISION)

    def waiting(self, told: Collection[int]) -> list[Noted]:
        """What waits at endpoints for another attempt, or behind one that does, in the order of the log."""
        chosen = deliveries.c.endpoint.in_(told), deliveries.c.state == "waiting"
        with self._database.reading() as connection:
            rows = connection.execute(select(deliveries).where(*chosen).order_by(*_IN_ORDER))
            return [noted(row) for row in rows]

    def webhook(self, endpoint: int, message: str) -> str:
        """What is told, less the key, as it is noted; empty if it is no longer."""
        its = deliveries.c.endpoint == endpoint, deliveries.c.message == message
        with self._database.reading() as connection:
            return connection.scalar(select(deliveries.c.webhook).where(*its)) or ""

    def note(self, progress: Progress, *, now: int, node: str | None = None) -> None:
        """Note what became of deliveries; on return that is on disk.

        Nothing is noted of endpoints that are removed, nor, if a ``node`` notes it, of those that it does not
        tell any more: whoever tells them now knows better. Only attempts are, which were made all the same.
        """
        with self._database.writing(beside=True) as connection:
            held = its_endpoints.hold(connection, progress.endpoints, node=node)
            noted = [each for each in progress.noted if each.endpoint in held]
            stale = [each for each in progress.done if each[0] in held]
            _replace(connection, [row_of(each, now) for each in noted], stale)
            insert_all(connection, attempts, [_attempt_row(each) for each in progress.attempted])
            moved = [
                {"its": its_endpoints.cursor_of(number), "to": to}
                for number, to in progress.positions.items()
                if number in held
            ]
            each_row(connection, _MOVE, moved)
            health = progress.health.items()
            each_row(
                connection, _HEALTH, [_health_row(*each) for each in health if each[0] in held]
            )


def is_told(endpoint: Endpoint, type: str, *, test: bool) -> bool:
    """Whether an endpoint is told of a type of webhooks."""
    return endpoint.test == test and (not endpoint.types or type in endpoint.types)


def order_canceled(owned: Owned) -> str:
    """What is told of an order, less the key, with the signal that cancels the last item of it."""
    told = CloudprinterOrderCanceled(
        apikey="",
        order=owned.order,
        order_reference=owned.order_reference,
        datetime=moment(owned.datetime),
    )
    return encode(told).decode()


ORDER_CANCELED: Final = CloudprinterOrderCanceled.__name__


def ask_for(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Ask for these deliveries, in place of what is noted of them."""
    held = its_endpoints.hold(connection, {row["endpoint"] for row in rows})
    _replace(connection, [row for row in rows if row["endpoint"] in held])


def asked_for(
    store: str, endpoint: Endpoint, found: Iterable[Owned], now: int
) -> list[dict[str, Any]]:
    """Rows that ask for these signals to be told at an endpoint, those that it is told of.

    ``store`` is the identity of the store.
    """
    wanted = [
        Noted(
            endpoint=endpoint.id,
            message=messages.of_signal(store, each.position),
            position=each.position,
            number=each.number,
            type=type_of(each.type),
            order=each.order,
            item=each.item,
            state="asked",
            due=now,
        )
        for each in sorted(found, key=lambda each: each.position)
        if is_told(endpoint, type_of(each.type), test=each.test)
    ]
    return [row_of(each, now) for each in wanted]


def type_of(signal_type: str) -> str:
    """The type of webhook that a type of signal becomes."""
    return WEBHOOK_OF[BY_NAME[signal_type]].__name__


def _asked(
    connection: Connection, told: Collection[int], limit: int
) -> list[tuple[Noted, Owned | None]]:
    """What was asked for, in the order of the log, with the signals of what has no webhook yet."""
    # Mostly nothing is, and looking whether it is of thousands of endpoints takes longer than all the rest.
    if not told or connection.scalar(_ANYTHING_ASKED) is None:
        return []
    chosen = deliveries.c.state == "asked", deliveries.c.endpoint.in_(told)
    listed = select(deliveries).where(*chosen).order_by(*_IN_ORDER).limit(limit)
    rows = [noted(row) for row in connection.execute(listed)]
    positions = {each.position for each in rows if not each.webhook}
    its = {}
    if positions:
        chosen_signals = OWNED.where(signals.c.position.in_(positions))
        its = {each.position: each for each in read_owned(connection, chosen_signals)}
    return [(each, its.get(each.position)) for each in rows]


# ---- rows ----

# What cancels an order stands where the item's own signal does, and is told after it.
_IN_ORDER: Final = (deliveries.c.position, deliveries.c.type.desc())
_ANYTHING_ASKED: Final = select(deliveries.c.endpoint).where(deliveries.c.state == "asked").limit(1)
_headers: Final = msgspec.json.Decoder(list[tuple[str, str]]).decode
_encode: Final = msgspec.json.Encoder().encode

_REMOVE: Final = delete(deliveries).where(
    deliveries.c.endpoint == bindparam("its"), deliveries.c.message == bindparam("own")
)
_MOVE: Final = (
    update(cursors)
    .where(cursors.c.name == bindparam("its"), cursors.c.position < bindparam("to"))
    .values(position=bindparam("to"))
)
_HEALTH: Final = (
    update(endpoints)
    .where(endpoints.c.id == bindparam("its"))
    .values(
        failures=bindparam("failures"),
        failing_since=bindparam("failing_since"),
        state=case(
            (endpoints.c.state == bindparam("before"), bindparam("after")), else_=endpoints.c.state
        ),
        why=case(
            (endpoints.c.state == bindparam("before"), bindparam("because")), else_=endpoints.c.why
        ),
    )
)


def each_row(connection: Connection, statement: Any, rows: list[dict[str, Any]]) -> None:
    """Do the same with each of the rows, if there are any."""
    if rows:
        connection.execute(statement, rows)


def _replace(
    connection: Connection, rows: list[dict[str, Any]], stale: Iterable[tuple[int, str]] = ()
) -> None:
    """Write rows of deliveries in place of those that are there; without some that are there no more."""
    gone = [*stale, *((row["endpoint"], row["message"]) for row in rows)]
    each_row(connection, _REMOVE, [{"its": its, "own": own} for its, own in gone])
    each_row(connection, insert(deliveries), rows)


def row_of(each: Noted, now: int) -> dict[str, Any]:
    """The row of a delivery that is noted now."""
    return asdict(each) | {"webhook": each.webhook or None, "changed": now}


def noted(row: Any) -> Noted:
    """The delivery that a row has."""
    return Noted(**dict(row._mapping) | {"webhook": row.webhook or ""})


def _attempt_row(attempted: Attempted) -> tuple[Any, ...]:
    *row, _, answer = astuple(attempted)[1:]
    return (*row, _encode(attempted.headers).decode(), answer)


def _health_row(number: int, health: Health) -> dict[str, Any]:
    return {
        "its": number,
        "failures": health.failures,
        "failing_since": health.failing_since,
        "before": health.before,
        "after": health.state,
        "because": health.why,
    }


def attempted(row: Any) -> Attempted:
    """The attempt that a row has."""
    return Attempted(**dict(row._mapping) | {"headers": _headers(row.headers)})
