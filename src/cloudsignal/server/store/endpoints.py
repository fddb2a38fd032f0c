"""Endpoints: where owners are told, and what may be told there.

URL, key and secrets are known here as they are sealed only. Instants are microseconds since 1970.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Struct
from sqlalchemy import (
    Connection,
    Select,
    String,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from cloudsignal.server.store import facts
from cloudsignal.server.store.changes import Notes
from cloudsignal.server.store.database import Database, inserted
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.names import known_number
from cloudsignal.server.store.schema import cursors, deliveries, endpoints, owners, signals

EndpointState = Literal["active", "probing", "paused", "disabled"]
"""Active; being tried whether it can be active again; paused by people or by its own wish; failed too often."""
STATES: Final[tuple[EndpointState, ...]] = get_args(EndpointState)
REMOVED: Final = "removed"
"""The state of what is there no more: its number is not given to another."""


class Sealed(Struct, frozen=True):
    """What is secret of an endpoint, as it is stored."""

    url: str
    apikey: str
    secret: str


class Endpoint(Struct, frozen=True, kw_only=True):
    """Where an owner is told.

    ``types`` are those of webhooks, none for all; a ``test`` endpoint is told of test signals, any other
    one of all others. ``failures`` is how many attempts have failed one after the other.
    """

    id: int
    owner: int
    owner_name: str
    sealed: Sealed
    old_secret: str | None = None
    old_secret_until: int | None = None
    shown: str
    format: str
    types: tuple[str, ...]
    test: bool
    newest_only: bool
    state: EndpointState
    why: str
    failures: int
    failing_since: int | None
    created: int
    node: str | None = None
    """Which node tells it."""
    position: int
    """How far of the log its owner was told, or what is left of it is noted."""

    @property
    def cursor(self) -> str:
        """The name under which that position is kept."""
        return cursor_of(self.id)

    def has_same_secrets(self, other: "Endpoint") -> bool:
        """Whether nothing of what is secret is another."""
        return (self.sealed, self.old_secret, self.old_secret_until) == (
            other.sealed,
            other.old_secret,
            other.old_secret_until,
        )


class Wanted(Struct, frozen=True, kw_only=True):
    """What people want of an endpoint; ``seal`` is given its number."""

    seal: Callable[[int], Sealed]
    shown: str
    format: str
    types: tuple[str, ...] = ()
    test: bool = False
    newest_only: bool = False


def cursor_of(number: int) -> str:
    """The name of an endpoint's cursor."""
    return f"{_CURSOR.value}{number}"


class Endpoints:
    """The verbs of endpoints. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database, notes: Notes) -> None:
        self._database = database
        self._notes = notes

    def create(self, owner_name: str, wanted: Wanted, *, now: int) -> Endpoint:
        """Add an endpoint of an owner, who is told there what comes from now on. Raises NotFound."""
        with self._changing() as connection:
            owner = known_number(connection, owners, owner_name)
            number = inserted(
                connection,
                insert(endpoints).values(
                    owner=owner,
                    url="",
                    apikey="",
                    secret="",
                    shown=wanted.shown,
                    format=wanted.format,
                    types=_encode(wanted.types).decode(),
                    test=wanted.test,
                    newest_only=wanted.newest_only,
                    state="active",
                    why="",
                    failures=0,
                    created=now,
                ),
            )
            _set(connection, number, **msgspec.structs.asdict(wanted.seal(number)))
            last = connection.scalar(select(func.max(signals.c.position))) or 0
            connection.execute(insert(cursors).values(name=cursor_of(number), position=last))
            facts.identity(connection)  # What tells its messages from those of other stores.
            made = _one(connection, number)
            self._notes.note(connection, "endpoint created", _named(made), after=_known(made))
            return made

    def endpoints(
        self, owner_name: str | None = None, *, after: int = 0, limit: int | None = None
    ) -> list[Endpoint]:
        """Every endpoint, or those of an owner, by their numbers; the next page is ``after`` the last one's."""
        chosen = _ENDPOINTS.where(endpoints.c.id > after).limit(limit)
        if owner_name is not None:
            chosen = chosen.where(owners.c.name == owner_name)
        with self._database.reading() as connection:
            return read(connection, chosen)

    def endpoint(self, number: int) -> Endpoint:
        """The endpoint of that number. Raises NotFound."""
        with self._database.reading() as connection:
            return _one(connection, number)

    def any(self) -> bool:
        """Whether there is any."""
        there = select(endpoints.c.id).where(endpoints.c.state != REMOVED).limit(1)
        with self._database.reading() as connection:
            return connection.scalar(there) is not None

    def change(self, number: int, **values: Any) -> Endpoint:
        """Change ``types``, ``newest_only``, ``format``, ``url`` (sealed) or ``shown``. Raises NotFound."""
        if "types" in values:
            values["types"] = _encode(values["types"]).decode()
        with self._changing() as connection:
            known = _one(connection, number)
            if values:
                _set(connection, number, **values)
            return self._changed(connection, "endpoint changed", known)

    def rotate(
        self, number: int, *, secret: str | None, apikey: str | None, overlap_until: int
    ) -> Endpoint:
        """Give an endpoint other secrets, sealed; both secrets sign until then. Raises NotFound."""
        with self._changing() as connection:
            endpoint = _one(connection, number)
            if secret is not None:
                _set(
                    connection,
                    number,
                    secret=secret,
                    old_secret=endpoint.sealed.secret,
                    old_secret_until=overlap_until,
                )
            if apikey is not None:
                _set(connection, number, apikey=apikey)
            for given, what in ((secret, "secret rotated"), (apikey, "endpoint's key changed")):
                if given is not None:
                    self._notes.note(connection, what, _named(endpoint))
            return _one(connection, number)

    def set_state(self, number: int, state: EndpointState, why: str = "") -> Endpoint:
        """Have an endpoint in a state. Raises NotFound.

        One that failed too often is not active before it is tried: it is ``probing``, and ``disabled`` still if it
        is to be paused.
        """
        with self._changing() as connection:
            endpoint = _one(connection, number)
            if endpoint.state in ("disabled", "probing"):
                if state == "active":
                    state = "probing"
                elif state == "paused":
                    state, why = "disabled", endpoint.why
            _set(connection, number, state=state, why=why)
            return self._changed(connection, f"endpoint {state}", endpoint)

    def remove(self, number: int) -> Endpoint:
        """End an endpoint, with all that waits for it and its secrets. Raises NotFound."""
        with self._changing() as connection:
            endpoint = _one(connection, number)
            _set(connection, number, state=REMOVED, url="", apikey="", secret="", old_secret=None)
            connection.execute(delete(deliveries).where(deliveries.c.endpoint == number))
            connection.execute(delete(cursors).where(cursors.c.name == endpoint.cursor))
            before = _known(endpoint)
            self._notes.note(connection, "endpoint removed", _named(endpoint), before=before)
            return endpoint

    def _changed(self, connection: Connection, what: str, known: Endpoint) -> Endpoint:
        """The endpoint as it is now; what was changed of it is noted."""
        changed = _one(connection, known.id)
        before, after = _known(known), _known(changed)
        if before != after:
            self._notes.note(connection, what, _named(changed), before=before, after=after)
        return changed

    def _changing(self) -> AbstractContextManager[Connection]:
        return self._database.changing(facts.ENDPOINTS_REVISION)


_CURSOR: Final = literal("endpoint ")
CURSOR_OF: Final = _CURSOR + cast(endpoints.c.id, String)
"""The name of an endpoint's cursor, in SQL."""
_encode: Final = msgspec.json.Encoder().encode
_types: Final = msgspec.json.Decoder(tuple[str, ...]).decode

_ENDPOINTS: Final[Select[Any]] = (
    select(endpoints, owners.c.name.label("owner_name"), cursors.c.position)
    .join(owners, owners.c.id == endpoints.c.owner)
    .join(cursors, cursors.c.name == CURSOR_OF)
    .where(endpoints.c.state != REMOVED)
)


def read(connection: Connection, chosen: Select[Any] = _ENDPOINTS) -> list[Endpoint]:
    """Endpoints by their numbers, inside a transaction."""
    rows = connection.execute(chosen.order_by(endpoints.c.id))
    return [_endpoint(row) for row in rows]


def _one(connection: Connection, number: int) -> Endpoint:
    found = read(connection, _ENDPOINTS.where(endpoints.c.id == number))
    if not found:
        raise NotFound(f"there is no endpoint {number}")
    return found[0]


def _named(endpoint: Endpoint) -> str:
    return f"{endpoint.id} of {endpoint.owner_name}"


def _known(endpoint: Endpoint) -> dict[str, Any]:
    """What may be known of an endpoint."""
    return {
        "URL": endpoint.shown,
        "format": endpoint.format,
        "types": ", ".join(endpoint.types) or "all",
        "test": endpoint.test,
        "newest only": endpoint.newest_only,
        "state": endpoint.state,
        "why": endpoint.why,
    }


def of_owners(connection: Connection, numbers: Iterable[int]) -> list[Endpoint]:
    """The endpoints of owners, inside a transaction."""
    return read(connection, _ENDPOINTS.where(endpoints.c.owner.in_(set(numbers))))


TOLD: Final = endpoints.c.state.in_(("active", "probing"))
"""Whether anything is sent to an endpoint."""


def on_node(connection: Connection, node: str) -> list[Endpoint]:
    """Those that a node tells, inside a transaction."""
    return read(connection, _ENDPOINTS.where(endpoints.c.node == node, TOLD))


def hold(connection: Connection, numbers: Iterable[int], *, node: str | None = None) -> set[int]:
    """Those of the endpoints that are there, and a node's if one is given.

    Until the transaction ends they stay so, and nobody else who holds them notes anything of their deliveries.
    """
    there = select(endpoints.c.id).where(
        endpoints.c.id.in_(set(numbers)), endpoints.c.state != REMOVED
    )
    if node is not None:
        there = there.where(endpoints.c.node == node)
    # By their numbers, or two who hold some of the same might wait for each other.
    return set(connection.scalars(there.order_by(endpoints.c.id).with_for_update()))


def _endpoint(row: Any) -> Endpoint:
    values = dict(row._mapping)
    sealed = Sealed(values.pop("url"), values.pop("apikey"), values.pop("secret"))
    return Endpoint(**values | {"types": _types(values["types"])}, sealed=sealed)


def _set(connection: Connection, number: int, **values: Any) -> None:
    connection.execute(update(endpoints).where(endpoints.c.id == number).values(**values))
