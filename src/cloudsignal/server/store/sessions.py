"""Who is signed in to the panel, and who could not sign in.

A session is known here by the keyed digest of what the browser holds, and so are names and addresses of those
who were refused. Instants are microseconds since 1970.
"""

from msgspec import Struct
from sqlalchemy import delete, insert, select, update

from cloudsignal.server.store.changes import Actor, note
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.schema import refusals, sessions
from cloudsignal.server.store.users import User, one


class Session(Struct, frozen=True):
    """Somebody, signed in at a browser; ``ends`` whatever is done with it."""

    digest: str
    user: int
    begun: int
    seen: int
    ends: int
    address: str
    agent: str


class Refused(Struct, frozen=True):
    """How often somebody could not sign in, one after the other, when the last time, and until when to wait."""

    failures: int = 0
    until: int = 0
    last: int = 0


class Sessions:
    """The verbs of who is signed in. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, session: Session) -> None:
        """Have somebody signed in, and forget the sessions that have ended by then."""
        with self._database.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.ends <= session.begun))
            values = {name: getattr(session, name) for name in Session.__struct_fields__}
            connection.execute(insert(sessions).values(**values))
            user = one(connection, session.user)
            by = Actor(user.name, session.address)
            note(connection, by, "signed in", user.name, now=session.begun)

    def find(self, digest: str) -> tuple[Session, User] | None:
        """The session of that digest, ended or not, and whose it is."""
        with self._database.reading() as connection:
            row = connection.execute(select(sessions).where(sessions.c.digest == digest)).first()
            return None if row is None else (Session(**row._mapping), one(connection, row.user))

    def of(self, user: int) -> list[Session]:
        """Where somebody is signed in, the last seen first."""
        chosen = select(sessions).where(sessions.c.user == user)
        with self._database.reading() as connection:
            rows = connection.execute(chosen.order_by(sessions.c.seen.desc(), sessions.c.digest))
            return [Session(**row._mapping) for row in rows]

    def see(self, digest: str, *, now: int) -> None:
        """Note that a session is in use."""
        with self._database.writing() as connection:
            connection.execute(update(sessions).where(sessions.c.digest == digest).values(seen=now))

    def end(self, digest: str) -> None:
        """Have somebody signed out."""
        with self._database.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.digest == digest))

    def end_others(self, user: int, digest: str, *, by: Actor, now: int) -> int:
        """Have somebody signed out everywhere but there: at how many browsers. Raises NotFound."""
        others = sessions.c.user == user, sessions.c.digest != digest
        with self._database.writing() as connection:
            ended = connection.execute(delete(sessions).where(*others)).rowcount
            if ended:
                note(connection, by, "signed out elsewhere", one(connection, user).name, now=now)
            return ended

    # ---- who could not sign in ----

    def refused(self, who: str) -> Refused:
        """How somebody has fared who tried to sign in."""
        with self._database.reading() as connection:
            row = connection.execute(select(refusals).where(refusals.c.who == who)).first()
        return Refused() if row is None else Refused(row.failures, row.until, row.last)

    def refuse(self, who: str, refused: Refused, *, forget: int) -> None:
        """Note that somebody could not sign in; those whose last time was before ``forget`` are forgotten."""
        with self._database.writing() as connection:
            connection.execute(
                delete(refusals).where((refusals.c.who == who) | (refusals.c.last < forget))
            )
            connection.execute(
                insert(refusals).values(
                    who=who, failures=refused.failures, until=refused.until, last=refused.last
                )
            )

    def forgive(self, who: str) -> None:
        """Forget how somebody has fared, who could sign in now."""
        with self._database.writing() as connection:
            connection.execute(delete(refusals).where(refusals.c.who == who))
