"""People who sign in to the panel, and the links by which they choose their passwords.

A link is known here by its keyed digest only, a password by a digest that argon2 made of it. Instants are
microseconds since 1970.
"""

from contextlib import AbstractContextManager
from typing import Any, Final, Literal

from msgspec import Struct
from sqlalchemy import Connection, delete, exists, insert, select, update

from cloudsignal.server.store import facts
from cloudsignal.server.store.changes import Notes
from cloudsignal.server.store.database import Database, inserted
from cloudsignal.server.store.errors import AlreadyThere, LastAdmin, NotFound
from cloudsignal.server.store.schema import (
    filters,
    invitations,
    owners,
    partners,
    sessions,
    users,
)

UserRole = Literal["reader", "operator", "admin", "partner", "owner"]
"""The first three may do what those before them may, everywhere; the others see what is their own."""


class User(Struct, frozen=True, repr_omit_defaults=True):
    """Somebody who signs in.

    ``partner`` or ``owner`` is whose things are seen, for those two roles; ``password`` is its digest, empty before
    one was chosen; ``totp`` is the sealed secret of the second factor, if there is one.
    """

    id: int
    name: str
    role: UserRole
    partner: int | None
    partner_name: str | None
    owner: int | None
    owner_name: str | None
    password: str
    totp: str | None
    disabled: bool
    created: int

    def __repr__(self) -> str:
        return f"User({self.id}, {self.name!r}, {self.role!r})"


class Invitation(Struct, frozen=True):
    """A link that lets somebody choose a password: of a user, or the first one of all."""

    user: int | None
    ends: int


class Users:
    """The verbs of users. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database, notes: Notes) -> None:
        self._database = database
        self._notes = notes

    # ---- who there is ----

    def any(self) -> bool:
        """Whether there is anybody who can sign in, or could once a password is chosen."""
        with self._database.reading() as connection:
            return _is_any(connection)

    def users(self) -> list[User]:
        """Everybody, in order of name."""
        with self._database.reading() as connection:
            return [User(**row._mapping) for row in connection.execute(_USERS)]

    def user(self, number: int) -> User:
        """The user of that number. Raises NotFound."""
        with self._database.reading() as connection:
            return one(connection, number)

    def find(self, name: str) -> User | None:
        """The user of that name, if there is one."""
        with self._database.reading() as connection:
            row = connection.execute(_USERS.where(users.c.name == name)).first()
        return None if row is None else User(**row._mapping)

    # ---- people change ----

    def create(
        self,
        name: str,
        role: UserRole,
        *,
        partner: int | None = None,
        owner: int | None = None,
        now: int,
    ) -> User:
        """Add somebody, who can sign in once invited. Raises AlreadyThere when one has that name."""
        values = {"name": name, "role": role, "partner": partner, "owner": owner}
        with self._changing(f"a user called {name!r} is already there") as connection:
            number = inserted(connection, insert(users).values(**values, **_NEW, created=now))
            made = one(connection, number)
            self._notes.note(connection, "user created", name, after=_shown(made))
            return made

    def set_disabled(self, number: int, disabled: bool) -> User:
        """Keep somebody out from now on, or let them in again. Raises NotFound and LastAdmin."""
        return self._change(number, {"disabled": disabled})

    def set_role(
        self,
        number: int,
        role: UserRole,
        *,
        partner: int | None = None,
        owner: int | None = None,
    ) -> User:
        """What somebody may do and see from now on. Raises NotFound and LastAdmin."""
        values = {"role": role, "partner": partner, "owner": owner}
        return self._change(number, values)

    def remove(self, number: int) -> User:
        """End somebody's access for good; what they changed stays noted. Raises NotFound and LastAdmin."""
        with self._changing() as connection:
            gone = one(connection, number)
            for table in (invitations, sessions, filters):
                connection.execute(delete(table).where(table.c.user == number))
            connection.execute(delete(users).where(users.c.id == number))
            _keep_an_admin(connection, gone)
            self._notes.note(connection, "user removed", gone.name, before=_shown(gone))
            return gone

    # ---- passwords and second factors ----

    def set_password(self, number: int, password: str) -> User:
        """Have another password; everywhere else somebody is signed out. Raises NotFound."""
        with self._changing() as connection:
            user = one(connection, number)
            _set(connection, number, password=password)
            connection.execute(delete(sessions).where(sessions.c.user == number))
            self._notes.note(connection, "password changed", user.name)
            return one(connection, number)

    def set_totp(self, number: int, totp: str | None, *, step: int = 0) -> User:
        """Ask for codes made with this sealed secret from now on, or for none.

        ``step`` is that of the code which showed that the secret has arrived. Raises NotFound.
        """
        with self._changing() as connection:
            user = one(connection, number)
            _set(connection, number, totp=totp, totp_step=step)
            what = "second factor added" if totp else "second factor removed"
            self._notes.note(connection, what, user.name)
            return one(connection, number)

    def use_step(self, number: int, step: int) -> bool:
        """Use up the codes of a time step and all before it; false if they are used up already."""
        unused = users.c.id == number, users.c.totp_step < step
        with self._database.writing() as connection:
            used = connection.execute(update(users).where(*unused).values(totp_step=step))
            return bool(used.rowcount)

    # ---- invitations ----

    def invite(self, number: int, digest: str, *, ends: int) -> User:
        """Let somebody choose a password by a link, in place of any earlier one. Raises NotFound."""
        with self._changing() as connection:
            user = one(connection, number)
            connection.execute(delete(invitations).where(invitations.c.user == number))
            connection.execute(insert(invitations).values(digest=digest, user=number, ends=ends))
            self._notes.note(connection, "user invited", user.name)
            return user

    def invite_first(self, digest: str, *, ends: int) -> bool:
        """Let the first user be made by a link, in place of any earlier one; false if there is somebody."""
        with self._database.writing() as connection:
            if _is_any(connection):
                return False
            connection.execute(delete(invitations).where(invitations.c.user.is_(None)))
            connection.execute(insert(invitations).values(digest=digest, user=None, ends=ends))
            return True

    def invitation(self, digest: str, *, now: int) -> Invitation | None:
        """What a link is for, if it is good now."""
        with self._database.reading() as connection:
            return _invitation(connection, digest, now)

    def accept(self, digest: str, password: str, *, name: str, now: int) -> User:
        """Use a link up: whoever has it has this password now, and ``name`` if it is the first user of all.

        Everywhere else they are signed out. Raises NotFound when the link is not good any more.
        """
        with self._changing("that name is taken") as connection:
            found = _invitation(connection, digest, now)
            if found is None:
                raise NotFound("this link was used, or is too old: ask for another one")
            connection.execute(delete(invitations).where(invitations.c.digest == digest))
            number = found.user or _first(connection, name, now)
            _set(connection, number, password=password)
            connection.execute(delete(sessions).where(sessions.c.user == number))
            user = one(connection, number)
            self._notes.note(connection, "password chosen by a link", user.name, after=_shown(user))
            return user

    def _change(self, number: int, values: dict[str, Any]) -> User:
        with self._changing() as connection:
            known = one(connection, number)
            _set(connection, number, **values)
            changed = one(connection, number)
            _keep_an_admin(connection, known)
            if changed.disabled:
                connection.execute(delete(sessions).where(sessions.c.user == number))
            before, after = _shown(known), _shown(changed)
            if before != after:
                self._notes.note(connection, "user changed", known.name, before=before, after=after)
            return changed

    def _changing(self, taken: str = "") -> AbstractContextManager[Connection]:
        return self._database.changing(facts.USERS_REVISION, taken)


_NEW: Final[dict[str, Any]] = {"password": "", "totp_step": 0, "disabled": False}

_USERS: Final = (
    select(
        users.c.id,
        users.c.name,
        users.c.role,
        users.c.partner,
        partners.c.name.label("partner_name"),
        users.c.owner,
        owners.c.name.label("owner_name"),
        users.c.password,
        users.c.totp,
        users.c.disabled,
        users.c.created,
    )
    .outerjoin(partners, partners.c.id == users.c.partner)
    .outerjoin(owners, owners.c.id == users.c.owner)
    .order_by(users.c.name)
)


def one(connection: Connection, number: int) -> User:
    """A user, inside a transaction. Raises NotFound."""
    row = connection.execute(_USERS.where(users.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no user {number}")
    return User(**row._mapping)


def _set(connection: Connection, number: int, **values: Any) -> None:
    connection.execute(update(users).where(users.c.id == number).values(**values))


def _is_any(connection: Connection) -> bool:
    return bool(connection.scalar(select(exists(select(users.c.id)))))


def _first(connection: Connection, name: str, now: int) -> int:
    if _is_any(connection):
        raise AlreadyThere("somebody is there already: ask them for an invitation")
    values = {"name": name, "role": "admin", "created": now}
    return inserted(connection, insert(users).values(**values, **_NEW))


def _invitation(connection: Connection, digest: str, now: int) -> Invitation | None:
    good = invitations.c.digest == digest, invitations.c.ends > now
    row = connection.execute(select(invitations.c.user, invitations.c.ends).where(*good)).first()
    return None if row is None else Invitation(*row)


def _keep_an_admin(connection: Connection, changed: User) -> None:
    """Make sure that somebody is left who may change users, if one who might is one no more. Raises LastAdmin."""
    able = [users.c.role == "admin", users.c.disabled.is_(False)]
    if changed.password:
        # Who was invited may never come: they stand in for nobody who can sign in.
        able.append(users.c.password != "")
    if changed.role == "admin" and not connection.scalar(
        select(exists(select(users.c.id).where(*able)))
    ):
        raise LastAdmin(
            f"{changed.name} is the last who may change users: make another one admin first"
        )


def _shown(user: User) -> dict[str, Any]:
    """What may be known of a user: whom the role is for by name, and nothing secret."""
    return {
        "name": user.name,
        "role": user.role,
        "partner": user.partner_name,
        "owner": user.owner_name,
        "disabled": user.disabled,
    }
