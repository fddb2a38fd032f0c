"""``cloudsignal partner calendar``: when print partners work."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cloudsignal.cli.output import (
    Config,
    Database,
    Exit,
    Failed,
    note,
    opened,
    plain,
    program,
    where,
)
from cloudsignal.protocol.units import HOUR_S

if TYPE_CHECKING:
    from cloudsignal.server.insight.calendars import Calendar

calendar = typer.Typer(help="When print partners work.", no_args_is_help=True)

BYTES_MAX: Final = 1 << 16
"""The largest calendar that is read."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="The print partner's.")]


@calendar.command("set")
def set_calendar(
    name: Name,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The calendar, in JSON; - is standard input.")
    ],
    database: Database = None,
    config: Config = None,
) -> None:
    """Have a print partner work as a file says, from now on.

    Everything that is wrong with it is said at once, and changes nothing. What was counted before is counted with the
    new calendar by cloudsignal rebuild.
    """
    found = _read(file)
    with opened(database, config) as (store, _):
        store.calendars.set(name, found)
    print(plain(f"{name} works {found.weekly_s / HOUR_S:g} hours a week, in {found.timezone}."))
    print("What was counted before is counted with it by:")
    print(f"  {program()} rebuild{where(database, config)}")


@calendar.command("show")
def show_calendar(name: Name, database: Database = None, config: Config = None) -> None:
    """Print the calendar of a print partner, as it can be set again."""
    with opened(database, config) as (store, _):
        from cloudsignal.server.insight import calendars

        partner = store.access.partner(name)
        found = store.calendars.calendars().get(partner.name)
    if found is None:
        raise Failed(f"{plain(name)} has no calendar, and is taken to work always")
    print(calendars.shown(found), end="")


@calendar.command("remove")
def remove_calendar(name: Name, database: Database = None, config: Config = None) -> None:
    """Have a print partner work always, from now on."""
    with opened(database, config) as (store, _):
        store.calendars.set(name, None)
    print(plain(f"{name} has no calendar, and is taken to work always."))


def _read(file: Path) -> "Calendar":
    from cloudsignal.server.insight.calendars import UnfitCalendar, read

    try:
        return read(_content(file))
    except UnfitCalendar as error:
        for each in error.wrong:
            note(plain(each))
        raise Failed("this is no calendar, and nothing is changed") from None


def _content(file: Path) -> bytes:
    if str(file) == "-":
        content = sys.stdin.buffer.read(BYTES_MAX + 1)
    else:
        try:
            with file.open("rb") as opened:
                content = opened.read(BYTES_MAX + 1)
        except OSError as error:
            raise Failed(f"{file} cannot be read: {error.strerror}", Exit.SETUP) from None
    if len(content) > BYTES_MAX:
        raise Failed(f"a calendar has {BYTES_MAX} bytes at most")
    return content
