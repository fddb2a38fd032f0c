"""How the operator is told of alerts: by which ways, and every message on its way.

News of an alert, raised or cleared, wait for each way until a message is made of them; in one transaction
they become the message, which then is the same each time it is tried. URL and secret are known here as they are
sealed only. Instants are microseconds since 1970.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    false,
    func,
    insert,
    select,
    true,
    update,
)

from cloudsignal.server.store import facts
from cloudsignal.server.store.alerts import ALERTS, Alert, What, alert
from cloudsignal.server.store.changes import Notes
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.schema import (
    WAITING,
    alert_messages,
    alert_news,
    alert_ways,
    alerts,
)

WayName = Literal["webhook", "email"]
WAYS: Final[tuple[WayName, ...]] = get_args(WayName)
Every = Literal["at once", "hourly", "daily"]
EVERY: Final[tuple[Every, ...]] = get_args(Every)
MessageState = Literal["waiting", "told", "dead"]
"""To be told, told, or given up."""
TEST: Final = "alert.test"
"""The type of a message that is about no alert: it is tried once, before everything that waits."""
WHY_CHARS_MAX: Final = 500


class Digest(Struct, frozen=True):
    """When news are told: at once, on the hour, or daily at a minute of the day in a time zone."""

    every: Every = "at once"
    at: int = 0
    timezone: str = "UTC"

    @property
    def time(self) -> str:
        """The time of the day, such as 07:30."""
        return f"{self.at // 60:02}:{self.at % 60:02}"

    def __str__(self) -> str:
        """In words."""
        return f"daily at {self.time} in {self.timezone}" if self.every == "daily" else self.every


class Way(Struct, frozen=True, kw_only=True):
    """A way to tell the operator: a ``url`` and ``secret``, both sealed, or the ``recipients`` of mails.

    ``shown`` is the URL as it may be shown. ``failures`` is how many attempts have failed one after the other,
    ``due`` before when nothing is tried again.
    """

    way: WayName
    url: str = ""
    secret: str = ""
    shown: str = ""
    recipients: tuple[str, ...] = ()
    digest: Digest = Digest()
    failures: int = 0
    failing_since: int | None = None
    due: int = 0


class News(Struct, frozen=True):
    """What there is to tell: of which alert, what, and since when that was to be told."""

    alert: Alert
    what: What
    at: int


class Written(Struct, frozen=True):
    """What a message says, and its type."""

    type: str
    content: str


class Message(Struct, frozen=True):
    """What the operator is told, or was: ``count`` news, the oldest of which was new ``since`` then.

    ``message`` is what it is known by to the receiver; ``why`` is what became of the last attempt.
    """

    id: int
    message: str
    way: WayName
    type: str
    count: int
    content: str
    since: int
    made: int
    state: MessageState
    attempts: int
    changed: int
    why: str

    @property
    def is_test(self) -> bool:
        """Whether it is about no alert."""
        return self.type == TEST


class AlertMessages:
    """The verbs of how the operator is told. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database, notes: Notes) -> None:
        self._database = database
        self._notes = notes

    # ---- ways ----

    def ways(self) -> list[Way]:
        """How the operator is told."""
        with self._database.reading() as connection:
            rows = connection.execute(select(alert_ways).order_by(alert_ways.c.way.desc()))
            return [_way(row) for row in rows]

    def way(self, name: WayName) -> Way | None:
        """One way, if alerts are told by it."""
        with self._database.reading() as connection:
            return _find(connection, name)

    def set_way(self, way: Way) -> None:
        """Tell by this way from now on, also what waits; if it failed, it is tried again at once."""
        with self._changing() as connection:
            before = _find(connection, way.way)
            connection.execute(delete(alert_ways).where(alert_ways.c.way == way.way))
            connection.execute(insert(alert_ways).values(**_row(way)))
            known = None if before is None else _known(before)
            if known != _known(way) or (before and before.secret != way.secret):
                self._notes.note(
                    connection, "alerts told otherwise", way.way, before=known, after=_known(way)
                )

    def remove_way(self, name: WayName, *, now: int) -> None:
        """Tell nothing by a way any more; what waits is given up. Raises NotFound."""
        with self._changing() as connection:
            before = _find(connection, name)
            if before is None:
                raise NotFound(f"alerts are not told by {name}")
            connection.execute(delete(alert_ways).where(alert_ways.c.way == name))
            connection.execute(delete(alert_news).where(alert_news.c.way == name))
            given_up = {"state": "dead", "changed": now, "why": f"the {name} was removed"}
            waiting = alert_messages.c.way == name, WAITING
            connection.execute(update(alert_messages).where(*waiting).values(**given_up))
            self._notes.note(connection, "alerts told no more", name, before=_known(before))

    # ---- messages ----

    def news_since(self, name: WayName) -> int | None:
        """Since when news wait for a message; None if there are none."""
        with self._database.reading() as connection:
            since: int | None = connection.scalar(_oldest(name))
            return since

    def make(
        self,
        name: WayName,
        write: Callable[[list[News]], Written],
        *,
        message: str,
        limit: int,
        now: int,
    ) -> None:
        """Make a message of the oldest news that wait, if there are any and no message waits."""
        with self._database.writing(beside=True) as connection:
            found = connection.execute(_NEWS.where(alert_news.c.way == name).limit(limit)).all()
            if not found or connection.execute(_waiting(name)).first():
                return
            news = [News(alert(row), row.what, row.at) for row in found]
            _insert(connection, name, write(news), message=message, news=news, now=now)
            told = alert_news.c.id.in_([row.news for row in found])
            connection.execute(delete(alert_news).where(told))

    def ask_for_test(self, name: WayName, written: Written, *, message: str, now: int) -> None:
        """Have something told that is about no alert. Raises NotFound when alerts are not told that way."""
        with self._database.writing(beside=True) as connection:
            if _find(connection, name) is None:
                raise NotFound(f"alerts are not told by {name}")
            _insert(connection, name, written, message=message, news=(), now=now)

    def next(self, name: WayName, *, now: int) -> Message | None:
        """What is to be tried now: a test first, else what waits, unless the way has to be left alone."""
        due = select(alert_ways.c.due).where(alert_ways.c.way == name)
        with self._database.reading() as connection:
            rows = connection.execute(_waiting(name))
            waiting = [Message(**row._mapping) for row in rows]
            is_due = (connection.scalar(due) or 0) <= now
        tests = [each for each in waiting if each.is_test]
        others = [each for each in waiting if not each.is_test and is_due]
        return next(iter(tests + others), None)

    def told(self, message: Message, said: str, *, now: int) -> None:
        """Note that something was told; ``said`` is how it was answered."""
        its_way = alert_ways.c.way == message.way
        self._note(message, "told", said, now, [its_way], failures=0, failing_since=None, due=0)

    def failed(
        self, message: Message, way: Way, why: str, *, is_over: bool, due: int, now: int
    ) -> None:
        """Note that an attempt failed: the next one is due then, of this message unless that is given up.

        A test puts nothing off; nor does what failed by a ``way`` that was changed since.
        """
        since = way.failing_since or now
        state: MessageState = "dead" if is_over else "waiting"
        as_tried = [
            false() if message.is_test else true(),
            *(
                alert_ways.c[name] == value
                for name, value in _row(way).items()
                if value is not None
            ),
        ]
        failed = {"failures": way.failures + 1, "failing_since": since, "due": due}
        self._note(message, state, why, now, as_tried, **failed)

    def _note(
        self,
        message: Message,
        state: MessageState,
        why: str,
        now: int,
        which: list[ColumnElement[bool]],
        **of_way: Any,
    ) -> None:
        its_own = alert_messages.c.id == message.id, WAITING
        became = {"state": state, "why": why[:WHY_CHARS_MAX], "changed": now}
        with self._database.writing(beside=True) as connection:
            tried = {"attempts": alert_messages.c.attempts + 1}
            connection.execute(update(alert_messages).where(*its_own).values(**became, **tried))
            connection.execute(update(alert_ways).where(*which).values(**of_way))

    def give_up(self, name: WayName, before: int, why: str, *, message: str, now: int) -> int:
        """Give up what waits since before an instant for a message: how many news; a dead message says so."""
        old = alert_news.c.way == name, alert_news.c.at < before
        counted = select(func.count(), func.min(alert_news.c.at)).where(*old)
        with self._database.writing(beside=True) as connection:
            count, since = connection.execute(counted).one()
            if count:
                connection.execute(delete(alert_news).where(*old))
                values = {"type": "alert.digest", "content": "", "state": "dead", "why": why}
                values |= {"count": count, "since": since}
                _insert_row(connection, name, message, now, **values)
            return int(count)

    def messages(self, *, before: int | None = None, limit: int) -> list[Message]:
        """The newest messages, or those before one's id, the newest first."""
        chosen = select(alert_messages).order_by(alert_messages.c.id.desc()).limit(limit)
        if before is not None:
            chosen = chosen.where(alert_messages.c.id < before)
        with self._database.reading() as connection:
            return [Message(**row._mapping) for row in connection.execute(chosen)]

    def message(self, message: str) -> Message:
        """What is known by that. Raises NotFound."""
        chosen = select(alert_messages).where(alert_messages.c.message == message)
        with self._database.reading() as connection:
            row = connection.execute(chosen).first()
        if row is None:
            raise NotFound(f"there is no message {message!r}")
        return Message(**row._mapping)

    def forget(self, before: int) -> None:
        """Forget messages that were told or given up before an instant."""
        old = alert_messages.c.state != "waiting", alert_messages.c.changed < before
        with self._database.writing(beside=True) as connection:
            connection.execute(delete(alert_messages).where(*old))

    def _changing(self) -> AbstractContextManager[Connection]:
        return self._database.changing(facts.ALERTS_REVISION)


# ---- inside transactions ----

_encode: Final = msgspec.json.Encoder().encode
_recipients: Final = msgspec.json.Decoder(tuple[str, ...]).decode

_NEWS: Final[Select[Any]] = (
    ALERTS.add_columns(alert_news.c.id.label("news"), alert_news.c.what, alert_news.c.at)
    .join(alert_news, alert_news.c.alert == alerts.c.id)
    .order_by(alert_news.c.id)
)


def _oldest(name: WayName) -> Select[Any]:
    chosen = select(alert_news.c.at).where(alert_news.c.way == name)
    return chosen.order_by(alert_news.c.id).limit(1)


def _waiting(name: WayName) -> Select[Any]:
    """What waits of a way, the oldest first."""
    chosen = select(alert_messages).where(alert_messages.c.way == name, WAITING)
    return chosen.order_by(alert_messages.c.id)


def _find(connection: Connection, name: WayName) -> Way | None:
    row = connection.execute(select(alert_ways).where(alert_ways.c.way == name)).first()
    return None if row is None else _way(row)


def _way(row: Any) -> Way:
    values = dict(row._mapping)
    digest = Digest(values.pop("digest"), values.pop("at"), values.pop("timezone"))
    return Way(**values | {"recipients": _recipients(row.recipients)}, digest=digest)


def _row(way: Way) -> dict[str, Any]:
    values = asdict(way)
    digest: Digest = values.pop("digest")
    return values | {
        "recipients": _encode(way.recipients).decode(),
        "digest": digest.every,
        "at": digest.at,
        "timezone": digest.timezone,
    }


def _known(way: Way) -> dict[str, Any]:
    """What may be known of a way."""
    to = {"URL": way.shown} if way.way == "webhook" else {"to": ", ".join(way.recipients)}
    return to | {"when": str(way.digest)}


def _insert(
    connection: Connection,
    name: WayName,
    written: Written,
    *,
    message: str,
    news: Sequence[News],
    now: int,
) -> None:
    since = min((each.at for each in news), default=now)
    values = {"type": written.type, "content": written.content, "state": "waiting", "why": ""}
    _insert_row(connection, name, message, now, **values, count=len(news), since=since)


def _insert_row(
    connection: Connection, name: WayName, message: str, now: int, **values: Any
) -> None:
    stamp = {"message": message, "way": name, "made": now, "changed": now, "attempts": 0}
    connection.execute(insert(alert_messages).values(**stamp, **values))
