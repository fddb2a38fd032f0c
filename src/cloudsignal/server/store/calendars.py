"""When print partners work."""

from typing import Final

from sqlalchemy import Connection, delete, insert, select

from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.calendars import read as read_calendar
from cloudsignal.server.insight.calendars import write as write_calendar
from cloudsignal.server.store.changes import Notes
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.names import known_number
from cloudsignal.server.store.schema import calendars, partners


class Calendars:
    """The verbs of calendars. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database, notes: Notes) -> None:
        self._database = database
        self._notes = notes

    def calendars(self) -> dict[str, Calendar]:
        """The calendars of those print partners that have one, by their names."""
        chosen = select(partners.c.name, calendars.c.calendar)
        joined = chosen.join(calendars, calendars.c.partner == partners.c.id)
        with self._database.reading() as connection:
            rows = connection.execute(joined.order_by(partners.c.name))
            return {row.name: read_calendar(row.calendar) for row in rows}

    def set(self, partner_name: str, calendar: Calendar | None) -> None:
        """Have a print partner work so from now on, or always, with None. Raises NotFound."""
        with self._database.writing() as connection:
            partner = known_number(connection, partners, partner_name)
            its_own = calendars.c.partner == partner
            before = connection.scalar(select(calendars.c.calendar).where(its_own))
            connection.execute(delete(calendars).where(its_own))
            after = None if calendar is None else write_calendar(calendar).decode()
            if after is not None:
                connection.execute(insert(calendars).values(partner=partner, calendar=after))
            self._notes.note(
                connection,
                "calendar changed",
                partner_name,
                before={"calendar": before},
                after={"calendar": after},
            )


def read(connection: Connection) -> dict[int, Calendar]:
    """The calendars by the numbers of the print partners, inside a transaction."""
    rows = connection.execute(select(calendars.c.partner, calendars.c.calendar))
    return {row.partner: read_calendar(row.calendar) for row in rows}


ALWAYS: Final = Calendar()
"""When a print partner works that has no calendar."""
