"""Who may speak: print partners, their interfaces and keys, and tokens for the API.

A key or token is known here by its keyed digest only. Instants are microseconds since 1970.
"""

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, func, insert, or_, select, update

from cloudsignal.protocol.datetimes import write as moment
from cloudsignal.server.store import facts
from cloudsignal.server.store.changes import Notes
from cloudsignal.server.store.database import Database, inserted
from cloudsignal.server.store.errors import KEY_IN_USE, NotFound
from cloudsignal.server.store.schema import apikeys, interfaces, partners, tokens

Role = Literal["reader", "operator", "admin"]
ROLES: Final[tuple[Role, ...]] = ("reader", "operator", "admin")
"""Each may do what those before it may."""


class Partner(Struct, frozen=True):
    """A company that prints and reports."""

    id: int
    name: str
    created: int


class Interface(Struct, frozen=True):
    """A CloudSignal API interface: what a print partner's keys open."""

    id: int
    partner: int
    partner_name: str
    timezone: str
    allow: tuple[str, ...]
    test: bool
    disabled: bool
    revoked: int | None
    created: int

    @property
    def state(self) -> Literal["active", "disabled", "revoked"]:
        """Whether its keys open it."""
        if self.revoked is not None:
            return "revoked"
        return "disabled" if self.disabled else "active"


class Key(Struct, frozen=True):
    """A key of an interface, by its digest; one being rotated out expires."""

    digest: str
    interface: int
    created: int
    expires: int | None


class Token(Struct, frozen=True):
    """A bearer token for the API, by its digest."""

    digest: str
    name: str
    role: Role
    created: int
    revoked: int | None


class Access:
    """The verbs of who may speak. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database, notes: Notes) -> None:
        self._database = database
        self._notes = notes

    # ---- print partners ----

    def create_partner(self, name: str, *, now: int) -> Partner:
        """Add a print partner. Raises AlreadyThere when one has that name."""
        with self._changing(f"a print partner called {name!r} is already there") as connection:
            key = inserted(connection, insert(partners).values(name=name, created=now))
            self._notes.note(connection, "print partner created", name)
            return Partner(key, name, now)

    def partners(self, *, after: str = "", limit: int | None = None) -> list[Partner]:
        """Print partners in order of name: every one, or so many after a name."""
        chosen = select(partners).where(partners.c.name > after).order_by(partners.c.name)
        with self._database.reading() as connection:
            rows = connection.execute(chosen.limit(limit))
            return [Partner(**row._mapping) for row in rows]

    def partner(self, name: str) -> Partner:
        """The print partner of that name. Raises NotFound."""
        return self._partner(partners.c.name == name, f"called {name!r}")

    def numbered_partner(self, number: int) -> Partner:
        """The print partner of that number. Raises NotFound."""
        return self._partner(partners.c.id == number, str(number))

    def _partner(self, condition: Any, named: str) -> Partner:
        with self._database.reading() as connection:
            row = connection.execute(select(partners).where(condition)).first()
        if row is None:
            raise NotFound(f"there is no print partner {named}")
        return Partner(**row._mapping)

    def interface_counts(self, numbers: Collection[int]) -> dict[int, int]:
        """How many interfaces print partners have, less those that were revoked; none is left out."""
        theirs = interfaces.c.partner.in_(numbers), interfaces.c.revoked.is_(None)
        counted = select(interfaces.c.partner, func.count()).where(*theirs)
        with self._database.reading() as connection:
            rows = connection.execute(counted.group_by(interfaces.c.partner))
            return {row[0]: row[1] for row in rows}

    # ---- interfaces and their keys ----

    def create_interface(
        self,
        partner: Partner,
        digest: str,
        *,
        timezone: str,
        allow: tuple[str, ...],
        test: bool,
        now: int,
    ) -> Interface:
        """Add an interface with its first key. Raises AlreadyThere when the key is in use."""
        values = {"partner": partner.id, "timezone": timezone, "test": test, "disabled": False}
        with self._changing(KEY_IN_USE) as connection:
            number = inserted(
                connection,
                insert(interfaces).values(
                    **values, allow=msgspec.json.encode(allow).decode(), created=now
                ),
            )
            _add_key(connection, digest, number, now)
            made = _one(connection, number)
            self._notes.note(connection, "interface created", _named(made), after=_shown(made))
            return made

    def interfaces(self) -> list[Interface]:
        """Every interface in order of its number."""
        with self._database.reading() as connection:
            return [_interface(row) for row in connection.execute(_INTERFACES)]

    def newest_interfaces(
        self, *, partner: int | None = None, before: int | None = None, limit: int
    ) -> list[Interface]:
        """The newest interfaces, of one print partner or of all, or those before one, the newest first."""
        chosen = _INTERFACES.order_by(None).order_by(interfaces.c.id.desc()).limit(limit)
        if partner is not None:
            chosen = chosen.where(interfaces.c.partner == partner)
        if before is not None:
            chosen = chosen.where(interfaces.c.id < before)
        with self._database.reading() as connection:
            return [_interface(row) for row in connection.execute(chosen)]

    def interface(self, number: int) -> Interface:
        """The interface of that number. Raises NotFound."""
        with self._database.reading() as connection:
            return _one(connection, number)

    def apikeys(self) -> list[Key]:
        """Every key of every interface, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(apikeys).order_by(apikeys.c.created))
            return [Key(**row._mapping) for row in rows]

    def newest_keys(self, number: int, *, limit: int) -> list[Key]:
        """The newest keys of an interface, the newest first."""
        chosen = select(apikeys).where(apikeys.c.interface == number)
        with self._database.reading() as connection:
            rows = connection.execute(chosen.order_by(apikeys.c.created.desc()).limit(limit))
            return [Key(**row._mapping) for row in rows]

    def find_key(self, digest: str) -> tuple[Interface, Key] | None:
        """The interface that a key opens, whatever its state."""
        with self._database.reading() as connection:
            key = connection.execute(select(apikeys).where(apikeys.c.digest == digest)).first()
            if key is None:
                return None
            row = connection.execute(_INTERFACES.where(interfaces.c.id == key.interface)).one()
        return _interface(row), Key(**key._mapping)

    def rotate_key(self, number: int, digest: str, *, expires: int, now: int) -> Interface:
        """Give an interface a new key; the ones it has expire then, or earlier if they did before.

        Raises NotFound, and AlreadyThere when the new key is in use.
        """
        interface = self.interface(number)
        with self._changing(KEY_IN_USE) as connection:
            older = apikeys.c.interface == number
            outlives = or_(apikeys.c.expires.is_(None), apikeys.c.expires > expires)
            connection.execute(update(apikeys).where(older, outlives).values(expires=expires))
            _add_key(connection, digest, number, now)
            after = {"old keys end": moment(expires)}
            self._notes.note(connection, "key rotated", _named(interface), after=after)
        return interface

    def change_interface(
        self,
        number: int,
        *,
        timezone: str | None = None,
        allow: tuple[str, ...] | None = None,
        test: bool | None = None,
    ) -> Interface:
        """Change an interface for what comes in from now on; what is None stays as it is. Raises NotFound."""
        allowed = None if allow is None else msgspec.json.encode(allow).decode()
        given = {"timezone": timezone, "allow": allowed, "test": test}
        values = {name: value for name, value in given.items() if value is not None}
        return self._change_interface(number, **values) if values else self.interface(number)

    def set_disabled(self, number: int, disabled: bool) -> Interface:
        """Close an interface, or open it again. Raises NotFound."""
        return self._change_interface(number, disabled=disabled)

    def revoke(self, number: int, *, now: int) -> Interface:
        """Close an interface for good. Raises NotFound."""
        known = self.interface(number)
        return known if known.state == "revoked" else self._change_interface(number, revoked=now)

    def _change_interface(self, number: int, **values: Any) -> Interface:
        with self._changing() as connection:
            known = _one(connection, number)
            connection.execute(update(interfaces).where(interfaces.c.id == number).values(**values))
            changed = _one(connection, number)
            before, after = _shown(known), _shown(changed)
            if before != after:
                is_same = known.state == changed.state
                what = f"interface {'changed' if is_same else changed.state}"
                self._notes.note(connection, what, _named(changed), before=before, after=after)
            return changed

    # ---- tokens ----

    def create_token(self, name: str, role: Role, digest: str, *, now: int) -> Token:
        """Add a token for the API. Raises AlreadyThere when one has that name."""
        token = Token(digest, name, role, now, None)
        with self._changing(f"a token called {name!r} is already there") as connection:
            connection.execute(insert(tokens).values(**msgspec.structs.asdict(token)))
            self._notes.note(connection, "token created", name, after={"role": role})
        return token

    def tokens(self, *, after: str = "", limit: int | None = None) -> list[Token]:
        """Tokens in order of name: every one, or so many after a name."""
        chosen = select(tokens).where(tokens.c.name > after).order_by(tokens.c.name)
        with self._database.reading() as connection:
            rows = connection.execute(chosen.limit(limit))
            return [Token(**row._mapping) for row in rows]

    def find_token(self, digest: str) -> Token | None:
        """The token of that digest, revoked or not."""
        with self._database.reading() as connection:
            row = connection.execute(select(tokens).where(tokens.c.digest == digest)).first()
        return None if row is None else Token(**row._mapping)

    def revoke_token(self, name: str, *, now: int) -> Token:
        """End a token. Raises NotFound."""
        with self._changing() as connection:
            done = connection.execute(
                update(tokens)
                .where(tokens.c.name == name, tokens.c.revoked.is_(None))
                .values(revoked=now)
            )
            if done.rowcount:
                self._notes.note(connection, "token revoked", name)
        found = [token for token in self.tokens() if token.name == name]
        if not done.rowcount and not found:
            raise NotFound(f"there is no token called {name!r}")
        return found[0]

    # ---- what the store knows of itself ----

    def revision(self) -> int:
        """A number that grows with every change of who may speak."""
        return int(self._fact(facts.REVISION) or 0)

    def secret_check(self) -> str | None:
        """What the secret of this store was known by when its first key was made."""
        return self._fact(facts.SECRET_CHECK)

    def agree_on_secret_check(self, check: str) -> str:
        """What the secret is known by: this, unless it is known by something else already."""
        with self._database.writing() as connection:
            known = facts.read(connection, facts.SECRET_CHECK)
            if known is None:
                facts.note(connection, facts.SECRET_CHECK, check)
            return known or check

    def _fact(self, name: str) -> str | None:
        with self._database.reading() as connection:
            return facts.read(connection, name)

    def _changing(self, taken: str = "") -> AbstractContextManager[Connection]:
        """A transaction after which every node reads anew who may speak."""
        return self._database.changing(facts.REVISION, taken)


_INTERFACES: Final = (
    select(interfaces, partners.c.name.label("partner_name"))
    .join(partners, partners.c.id == interfaces.c.partner)
    .order_by(interfaces.c.id)
)


def _one(connection: Connection, number: int) -> Interface:
    row = connection.execute(_INTERFACES.where(interfaces.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no interface {number}")
    return _interface(row)


def _named(interface: Interface) -> str:
    return f"{interface.id} of {interface.partner_name}"


def _shown(interface: Interface) -> dict[str, Any]:
    """What may be known of an interface."""
    return {
        "state": interface.state,
        "time zone": interface.timezone,
        "allowed": ", ".join(interface.allow) or "anybody",
        "test": interface.test,
    }


def _interface(row: Any) -> Interface:
    values = dict(row._mapping)
    allow = msgspec.json.decode(values.pop("allow"), type=tuple[str, ...])
    return Interface(**values, allow=allow)


def _add_key(connection: Connection, digest: str, interface: int, now: int) -> None:
    connection.execute(insert(apikeys).values(digest=digest, interface=interface, created=now))
