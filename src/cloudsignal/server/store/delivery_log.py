"""What people see of deliveries, and ask for. Instants are microseconds since 1970."""

from collections.abc import Collection
from typing import Final

from msgspec import Struct
from msgspec.structs import astuple
from sqlalchemy import (
    ColumnElement,
    Connection,
    delete,
    func,
    literal,
    literal_column,
    select,
    tuple_,
    update,
)

from cloudsignal.protocol.units import MINUTE_US
from cloudsignal.protocol.webhooks import CloudprinterOrderCanceled, CloudprinterOrderValidated
from cloudsignal.server.store import facts
from cloudsignal.server.store import messages as messages_of
from cloudsignal.server.store.changes import Notes
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.deliveries import (
    Attempted,
    Noted,
    NotedState,
    ask_for,
    asked_for,
    attempted,
    noted,
    row_of,
)
from cloudsignal.server.store.endpoints import CURSOR_OF, REMOVED, Endpoint, hold
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.owned import UNSAID, read_owned
from cloudsignal.server.store.schema import attempts, cursors, deliveries, endpoints, items, signals

MESSAGES_MAX: Final = 1_000
"""Of how many signals of an order the attempts are looked for."""
ORDER_WEBHOOKS: Final = (CloudprinterOrderValidated, CloudprinterOrderCanceled)
"""What is told of whole orders."""
FORGOTTEN: Final = 1_000
"""How many attempts are forgotten in one transaction."""
LATE_US: Final = 10 * MINUTE_US
"""How much later than one with a higher number an attempt may have begun: they are numbered as they are noted, and
a node that cannot reach the store notes its own later."""


class Standing(Struct, frozen=True):
    """How telling stands: how many endpoints and noted deliveries are in which state.

    ``behind`` is how many positions of the log the active endpoint furthest behind has not passed.
    """

    endpoints: dict[str, int]
    deliveries: dict[str, int]
    behind: int


class Place(Struct, frozen=True):
    """Where a delivery that is noted stands among all that are."""

    endpoint: int
    position: int
    message: str


class DeliveryLog:
    """The verbs of the delivery log. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database, notes: Notes) -> None:
        self._database = database
        self._notes = notes

    def standing(self) -> Standing:
        """How telling stands."""
        of = select(endpoints.c.state, func.count()).where(endpoints.c.state != REMOVED)
        passed = select(func.min(cursors.c.position)).where(
            cursors.c.name.in_(select(CURSOR_OF).where(endpoints.c.state == "active"))
        )
        with self._database.reading() as connection:
            states = connection.execute(of.group_by(endpoints.c.state)).all()
            counted = select(deliveries.c.state, func.count()).group_by(deliveries.c.state)
            noted = connection.execute(counted).all()
            last = connection.scalar(select(func.max(signals.c.position))) or 0
            slowest = connection.scalar(passed)
        return Standing(
            {row[0]: row[1] for row in states},
            {row[0]: row[1] for row in noted},
            last - (last if slowest is None else slowest),
        )

    def counts(self) -> dict[int, dict[NotedState, int]]:
        """How many deliveries of each endpoint are noted, by their states."""
        counted = select(deliveries.c.endpoint, deliveries.c.state, func.count())
        found: dict[int, dict[NotedState, int]] = {}
        with self._database.reading() as connection:
            grouped = counted.group_by(deliveries.c.endpoint, deliveries.c.state)
            for endpoint, state, count in connection.execute(grouped):
                found.setdefault(endpoint, {})[state] = count
        return found

    def noted(
        self, endpoint: int, state: NotedState | None = None, *, after: str = "", limit: int
    ) -> list[Noted]:
        """What is noted of an endpoint's deliveries, by message; the next page is ``after`` the last one's."""
        chosen = [deliveries.c.endpoint == endpoint, deliveries.c.message > after]
        if state is not None:
            chosen.append(deliveries.c.state == state)
        listed = select(deliveries).where(*chosen).order_by(deliveries.c.message).limit(limit)
        with self._database.reading() as connection:
            return [noted(row) for row in connection.execute(listed)]

    def newest(
        self,
        *states: NotedState,
        endpoints: Collection[int] | None = None,
        before: Place | None = None,
        limit: int,
    ) -> list[Noted]:
        """What is noted in these states, of certain ``endpoints`` or of all: by endpoint, what is newest of each first.

        The next page is ``before`` the place of the last one.
        """
        chosen: list[ColumnElement[bool]] = [deliveries.c.state.in_(states)]
        if endpoints is not None:
            chosen.append(deliveries.c.endpoint.in_(endpoints))
        if before is not None:
            chosen.append(tuple_(*_PLACE) < tuple_(*map(literal, astuple(before))))
        downward = (column.desc() for column in _PLACE)
        listed = select(deliveries).where(*chosen).order_by(*downward).limit(limit)
        with self._database.reading() as connection:
            return [noted(row) for row in connection.execute(listed)]

    def find(self, endpoint: int, message: str) -> Noted | None:
        """What is noted of a delivery, if anything is."""
        its = deliveries.c.endpoint == endpoint, deliveries.c.message == message
        with self._database.reading() as connection:
            row = connection.execute(select(deliveries).where(*its)).first()
        return None if row is None else noted(row)

    def attempt(self, number: int) -> Attempted:
        """The attempt of that number. Raises NotFound."""
        with self._database.reading() as connection:
            row = connection.execute(select(attempts).where(attempts.c.id == number)).first()
        if row is None:
            raise NotFound(f"there is no attempt {number}")
        return attempted(row)

    def attempts(
        self,
        *,
        endpoint: int | None = None,
        message: str | None = None,
        order: str | None = None,
        item: str | None = None,
        failed: bool | None = None,
        since: int | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[Attempted]:
        """Attempts, the newest first, begun ``since`` an instant; the next page is ``before`` the last one's id.

        Those of an ``order``, or of an ``item`` of it, are found by its signals that are in the log.
        """
        chosen: list[ColumnElement[bool]] = []
        is_of_few = message is not None or order is not None
        if endpoint is not None:
            # Of few messages, SQLite would still go through all attempts at the endpoint, which are in order.
            chosen.append(
                (attempts.c.endpoint + 0 if is_of_few else attempts.c.endpoint) == endpoint
            )
        if message is not None:
            chosen.append(attempts.c.message == message)
        if failed is not None:
            # Not a parameter: the index of what failed is only for what is seen to be so.
            nothing: ColumnElement[str] = literal_column("''")
            chosen.append(attempts.c.error != nothing if failed else attempts.c.error == nothing)
        if before is not None:
            chosen.append(attempts.c.id < before)
        with self._database.reading() as connection:
            if since is not None:
                older = _last_before(connection, since - LATE_US)
                chosen += [attempts.c.id > older, attempts.c.at >= since]
            if order is not None:
                chosen.append(attempts.c.message.in_(_messages_of(connection, order, item)))
            listed = select(attempts).where(*chosen).order_by(attempts.c.id.desc()).limit(limit)
            return [attempted(row) for row in connection.execute(listed)]

    def redeliver(
        self,
        endpoint: int,
        *,
        messages: Collection[str] | None = None,
        since: int | None = None,
        now: int,
    ) -> int:
        """Ask for what was given up, or waits, once more, as if it had never been tried: how many.

        Those of certain ``messages``, or those given up ``since`` an instant, or all that were given up.
        """
        chosen = [deliveries.c.endpoint == endpoint]
        if messages is not None:
            chosen.append(deliveries.c.message.in_(messages))
        else:
            chosen.append(deliveries.c.state == "dead")
        if since is not None:
            chosen.append(deliveries.c.changed >= since)
        with self._database.writing(beside=True) as connection:
            hold(connection, {endpoint})
            asked = _ask_again(connection, chosen, now)
            return self._noted(connection, "told once more", endpoint, asked)

    def tell_again(self, endpoint: int, message: str, *, now: int) -> None:
        """Ask for a delivery once more, with the content it had, whatever became of it.

        Raises NotFound when nothing is known of it any more.
        """
        its = [deliveries.c.endpoint == endpoint, deliveries.c.message == message]
        with self._database.writing(beside=True) as connection:
            if not hold(connection, {endpoint}):
                raise NotFound(f"there is no endpoint {endpoint}")
            if not _ask_again(connection, its, now):
                ask_for(connection, [row_of(_as_tried(connection, endpoint, message, now), now)])
            self._noted(connection, "told once more", endpoint, 1)

    def ask(self, endpoint: Endpoint, positions: Collection[int], *, now: int) -> list[str]:
        """Ask for signals of the log to be told at an endpoint, once more or for the first time.

        Their messages. Raises NotFound when one of them is not there, or not its owner's.
        """
        with self._database.writing(beside=True) as connection:
            chosen = signals.c.position.in_(set(positions))
            found = read_owned(connection, UNSAID.where(chosen))
            its = {each.position: each for each in found if each.owner == endpoint.owner}
            for position in positions:
                if position not in its:
                    raise NotFound(f"there is no signal {position} for {endpoint.owner_name!r}")
            rows = asked_for(facts.identity(connection), endpoint, its.values(), now)
            ask_for(connection, rows)
            self._noted(connection, "told once more", endpoint.id, len(rows))
            return [row["message"] for row in rows]

    def tell(self, noted: Noted, *, now: int) -> None:
        """Ask for a delivery that follows from no signal, such as a test. It replaces one of that message."""
        with self._database.writing(beside=True) as connection:
            ask_for(connection, [row_of(noted, now)])

    def discard(self, endpoint: int, *, messages: Collection[str] | None = None) -> int:
        """Forget what was given up, all of it or certain ``messages``: how many."""
        chosen = [deliveries.c.endpoint == endpoint, deliveries.c.state == "dead"]
        if messages is not None:
            chosen.append(deliveries.c.message.in_(messages))
        with self._database.writing(beside=True) as connection:
            gone = connection.execute(delete(deliveries).where(*chosen)).rowcount
            return self._noted(connection, "deliveries discarded", endpoint, gone)

    def _noted(self, connection: Connection, what: str, endpoint: int, count: int) -> int:
        """So many; noted as what was done at an endpoint, if there are any."""
        if count:
            self._notes.note(connection, what, f"endpoint {endpoint}", after={"how many": count})
        return count

    def forget(self, before: int) -> int:
        """Forget attempts, and deliveries that were given up, before an instant: how many attempts.

        A few at a time; 0 says that there are no more.
        """
        old = select(attempts.c.id).order_by(attempts.c.id).limit(FORGOTTEN).subquery()
        last = select(func.max(old.c.id)).join(attempts, attempts.c.id == old.c.id)
        with self._database.writing(beside=True) as connection:
            until = connection.scalar(last.where(attempts.c.at < before)) or 0
            dead = deliveries.c.state == "dead", deliveries.c.changed < before
            connection.execute(delete(deliveries).where(*dead))
            gone = connection.execute(
                delete(attempts).where(attempts.c.id <= until, attempts.c.at < before)
            )
            return gone.rowcount


# As the index of what is noted has them.
_PLACE: Final = (deliveries.c.endpoint, deliveries.c.position, deliveries.c.message)


def _ask_again(connection: Connection, chosen: list[ColumnElement[bool]], now: int) -> int:
    """Ask for what is noted of deliveries as if it had never been tried: of how many it was."""
    again = {"state": "asked", "attempts": 0, "first": None, "due": now, "changed": now}
    return connection.execute(update(deliveries).where(*chosen).values(**again)).rowcount


def _as_tried(connection: Connection, endpoint: int, message: str, now: int) -> Noted:
    """A delivery that is not noted, as it was when it was tried last. Raises NotFound."""
    its = attempts.c.endpoint == endpoint, attempts.c.message == message
    newest = select(attempts).where(*its).order_by(attempts.c.id.desc()).limit(1)
    row = connection.execute(newest).first()
    if row is None:
        raise NotFound(f"there is no delivery {message} of endpoint {endpoint}")
    about = items.c.order == row.order, items.c.item == row.item
    return Noted(
        endpoint=endpoint,
        message=message,
        position=messages_of.position_of(message),
        number=connection.scalar(select(items.c.id).where(*about)) or 0,
        type=row.type,
        order=row.order,
        item=row.item,
        webhook=row.webhook,
        state="asked",
        due=now,
    )


def _last_before(connection: Connection, instant: int) -> int:
    """A number up to which all attempts begun before an instant, where they began in the order of their numbers."""
    low, high = 0, connection.scalar(select(func.max(attempts.c.id))) or 0
    while low < high:
        middle = (low + high) // 2
        after = select(attempts.c.id, attempts.c.at).where(attempts.c.id > middle)
        row = connection.execute(after.order_by(attempts.c.id).limit(1)).first()
        if row is None or row.at >= instant:
            high = middle
        else:
            low = row.id
    return low


def _messages_of(connection: Connection, order: str, item: str | None) -> list[str]:
    """What is told of an order, or of one of its items, is known by these; of very many, the newest."""
    store = facts.read(connection, facts.IDENTITY)
    if store is None:
        return []
    its = select(signals.c.position).join(items, items.c.id == signals.c.item)
    chosen = its.where(items.c.order == order, signals.c.position >= items.c.id)
    if item is not None:
        chosen = chosen.where(items.c.item == item)
    newest = chosen.order_by(signals.c.position.desc()).limit(MESSAGES_MAX)
    found = [messages_of.of_signal(store, position) for position in connection.scalars(newest)]
    if item is None:
        found += [messages_of.of_order(store, each.__name__, order) for each in ORDER_WEBHOOKS]
    return found
