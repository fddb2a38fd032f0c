"""Who is signed in to the panel, and who tries to.

A session is known here by the keyed digest of what the browser holds, and so are names and addresses of those
who try. Instants are microseconds since 1970.
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import delete, insert, select, update

from cloudsignal.server.store.changes import Notes
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.schema import sessions
from cloudsignal.server.store.schema import tries as attempted
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


class Sessions:
    """The verbs of who is signed in. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database, notes: Notes) -> None:
        self._database = database
        self._notes = notes

    def begin(self, session: Session) -> None:
        """Have somebody signed in, and forget the sessions that have ended by then."""
        with self._database.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.ends <= session.begun))
            connection.execute(insert(sessions).values(**asdict(session)))
            self._notes.note(connection, "signed in", one(connection, session.user).name)

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

    def end_others(self, user: int, digest: str) -> int:
        """Have somebody signed out everywhere but there: at how many browsers. Raises NotFound."""
        others = sessions.c.user == user, sessions.c.digest != digest
        with self._database.writing() as connection:
            ended = connection.execute(delete(sessions).where(*others)).rowcount
            if ended:
                self._notes.note(connection, "signed out elsewhere", one(connection, user).name)
            return ended

    # ---- who tries to sign in ----

    def attempt(self, who: str, *, pause: Callable[[int], int], forget: int, now: int) -> int:
        """Count an attempt to sign in before it is known how it ends: 0, or how long nobody is listened to still.

        ``pause`` says how long that is from after so many attempts, in microseconds. Those whose last one was
        before ``forget`` are forgotten.
        """
        with self._database.writing() as connection:
            connection.execute(delete(attempted).where(attempted.c.last < forget))
            chosen = select(attempted).where(attempted.c.who == who)
            row = connection.execute(chosen).first()
            if row is not None and row.until > now:
                left: int = row.until - now
                return left
            count = 1 + (0 if row is None else row.failures)
            connection.execute(delete(attempted).where(attempted.c.who == who))
            connection.execute(
                insert(attempted).values(
                    who=who, failures=count, until=now + pause(count), last=now
                )
            )
            return 0

    def forgive(self, who: str) -> None:
        """Forget all attempts, as the last one has succeeded."""
        with self._database.writing() as connection:
            connection.execute(delete(attempted).where(attempted.c.who == who))

    def take_back(self, who: str) -> None:
        """Forget the last attempt, which has succeeded, but none before it."""
        with self._database.writing() as connection:
            connection.execute(
                update(attempted)
                .where(attempted.c.who == who)
                .values(failures=attempted.c.failures - 1, until=0)
            )
