"""Removing old signals from the log. Items stay as they are, and so does how they stand."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import Connection, Select, delete, func, select

from cloudsignal.server.store import archive, cursors, facts
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.digest import count
from cloudsignal.server.store.progress import Progress, Steps, silent
from cloudsignal.server.store.reading import CLOCK_SLACK_US, position_at
from cloudsignal.server.store.schema import signals

BATCH: Final = 500
"""How many signals are removed in one transaction: few enough not to keep the server waiting."""


class Pruned(Struct, frozen=True):
    """What was pruned, or would be: how many signals, up to which position.

    ``held_by`` is the reader that would not let more go, if there is one. ``first`` and ``last`` are
    when the first and the last of these signals arrived, in microseconds.
    """

    position: int
    signals: int
    held_by: str | None
    first: int | None
    last: int | None


def plan(database: Database, before: int) -> Pruned:
    """What pruning the signals that arrived before an instant would remove."""
    with database.reading() as connection:
        wanted = _last_before(connection, before)
        name, passed = _slowest(connection)
        allowed = wanted if passed is None else min(wanted, passed)
        # What an earlier run was to remove and did not is removed as well.
        until = max(_last(connection, allowed), facts.pruned(connection))
        return Pruned(
            position=until,
            signals=count(connection, 0, until),
            held_by=name if allowed < wanted else None,
            first=_received(connection, until, signals.c.position),
            last=_received(connection, until, signals.c.position.desc()),
        )


def prune(
    database: Database,
    before: int,
    *,
    folder: Path | None = None,
    progress: Steps = silent,
) -> Pruned:
    """Remove the signals that arrived before an instant, once they are in the archive if there is one.

    May be interrupted at any moment, and run again. Raises ArchiveFailed before anything is removed,
    and StoreUnavailable.
    """
    planned = plan(database, before)
    if folder is not None:
        archive.write(
            database, folder, until=planned.position, progress=partial(progress, "signals archived")
        )
    note(database, planned.position)
    remove(database, planned.position, progress=partial(progress, "signals removed"))
    return planned


def note(database: Database, position: int) -> None:
    """Note that the log begins behind a position, whatever of it is still there."""
    with database.writing() as connection:
        if position > facts.pruned(connection):
            facts.note(connection, facts.PRUNED, str(position))


def remove(
    database: Database,
    until: int,
    *,
    progress: Progress = silent,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Remove the signals up to a position, while the server runs or not."""
    with database.reading() as connection:
        total = count(connection, 0, until)
    database.backend.drop_parts(until)
    with database.reading() as connection:
        left = count(connection, 0, until)
    after = 0
    while left:
        progress(total - left, total)
        began = time.monotonic()
        with database.writing() as connection:
            after, removed = _remove_next(connection, after, until)
        left = left - removed if removed else 0
        # As long as it was kept waiting, the server has the store for itself.
        pause(time.monotonic() - began)
    progress(total, total)


def _remove_next(connection: Connection, after: int, until: int) -> tuple[int, int]:
    """Where the next few signals end, and how many of them were removed."""
    following = _positions(after, until).order_by(signals.c.position)
    end = connection.scalar(following.offset(BATCH - 1).limit(1)) or until
    some = signals.c.position > after, signals.c.position <= end
    return end, connection.execute(delete(signals).where(*some)).rowcount


def _positions(after: int, until: int) -> Select[Any]:
    return select(signals.c.position).where(signals.c.position > after, signals.c.position <= until)


def _last(connection: Connection, until: int) -> int:
    """The last position that is there up to another one, 0 if none is."""
    newest_first = _positions(0, until).order_by(signals.c.position.desc())
    return connection.scalar(newest_first.limit(1)) or 0


def _last_before(connection: Connection, before: int) -> int:
    """The last position that arrived before an instant, but never the newest of the log."""
    # Those that clocks may have put into another order are looked at one by one.
    first = position_at(connection, before - CLOCK_SLACK_US)
    end = position_at(connection, before + CLOCK_SLACK_US)
    unsure = _positions(first - 1, end - 1).where(signals.c.received < before)
    found = connection.scalar(unsure.order_by(signals.c.position.desc()).limit(1)) or first - 1
    newest = connection.scalar(select(func.max(signals.c.position))) or 0
    return min(found, newest - 1)


def _slowest(connection: Connection) -> tuple[str | None, int | None]:
    """The reader that has come least far, and where it is."""
    passed = cursors.positions(connection)
    if not passed:
        return None, None
    name = min(passed, key=lambda name: (passed[name], name))
    return name, passed[name]


def _received(connection: Connection, until: int, order: Any) -> int | None:
    chosen = select(signals.c.received).where(signals.c.position <= until).order_by(order)
    return connection.scalar(chosen.limit(1))
