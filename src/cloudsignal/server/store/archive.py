"""Signals in files: gzip-compressed JSON Lines, each file beside its checksum."""

import fcntl
import gzip
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec
from msgspec import Raw, Struct
from sqlalchemy import Connection, select

from cloudsignal.protocol import datetimes
from cloudsignal.server.store import facts
from cloudsignal.server.store.batches import batches
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.digest import count
from cloudsignal.server.store.errors import ArchiveFailed
from cloudsignal.server.store.progress import Progress
from cloudsignal.server.store.reading import LOGGED
from cloudsignal.server.store.schema import signals

FILE_SIGNALS: Final = 100_000
"""How many signals one file holds at most."""
COMPRESSION: Final = 6

_NAME: Final = re.compile(r"signals-([0-9]+)-([0-9]+)\.jsonl\.gz")
_encode: Final = msgspec.json.Encoder().encode


class Line(Struct, frozen=True):
    """A signal in a file: everything of it, instants in ISO 8601, ``body`` as it was sent."""

    position: int
    received: str
    partner: str
    interface: int
    test: bool
    order: str
    item: str
    type: str
    datetime: str
    fingerprint: str
    body: Raw


class Span(NamedTuple):
    """The signals of one file: the positions of its first and its last."""

    first: int
    last: int

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"signals-{self.first}-{self.last}.jsonl.gz"


def write(database: Database, folder: Path, *, until: int, progress: Progress) -> None:
    """Write the signals that were not pruned yet, up to a position, to files in a folder.

    A file has its name once all of it is on disk. What an earlier run has written is compared and
    kept, so it may be interrupted at any moment, and run again. Raises ArchiveFailed.
    """
    try:
        folder.mkdir(exist_ok=True)
        with _alone(folder):
            _write(database, folder, until, progress)
    except OSError as error:
        raise ArchiveFailed(
            f"the archive {folder} cannot be written, so nothing was removed: {error.strerror}"
        ) from None


def _write(database: Database, folder: Path, until: int, progress: Progress) -> None:
    for draft in folder.glob("signals-*.part"):
        draft.unlink()
    with database.reading() as connection:
        after = facts.pruned(connection)
        total = count(connection, after, until)
    done = 0
    while True:
        # The signals of one file are read as they are at one moment.
        with database.reading() as connection:
            span = _next(connection, folder, after, until)
            if span is None:
                return
            done += _archive(connection, folder / span.name, span)
        after = span.last
        progress(done, max(done, total))


def _next(connection: Connection, folder: Path, after: int, until: int) -> Span | None:
    """Which signals the next file holds."""
    positions = select(signals.c.position).order_by(signals.c.position)
    there = positions.where(signals.c.position > after, signals.c.position <= until)
    first = connection.scalar(there.limit(1))
    if first is None:
        return None
    begun = [span for span in _spans(folder) if span.first == first]
    if begun:
        return _checked(folder, begun, until)
    return Span(first, connection.scalar(there.offset(FILE_SIGNALS - 1).limit(1)) or until)


def _spans(folder: Path) -> Iterator[Span]:
    for path in folder.iterdir():
        if named := _NAME.fullmatch(path.name):
            yield Span(int(named[1]), int(named[2]))


def _checked(folder: Path, begun: list[Span], until: int) -> Span:
    """The file that an earlier run has written from here on. Raises ArchiveFailed if it went further."""
    span = max(begun)
    if len(begun) > 1 or span.last > until:
        raise ArchiveFailed(
            f"{folder / span.name} holds signals that are to stay in the log: it comes from a run"
            " that was interrupted, so repeat that with its date, or name another folder"
        )
    return span


def _archive(connection: Connection, path: Path, span: Span) -> int:
    """Make sure that a file holds these signals: how many there are."""
    expected = count(connection, span.first - 1, span.last)
    position = signals.c.position
    chosen = LOGGED.where(position >= span.first, position <= span.last).order_by(position)
    with batches(connection, chosen) as found:
        lines = (_encode(_line(row)) + b"\n" for rows in found for row in rows)
        if path.exists():
            _check_same(path, lines)
        else:
            _write_file(path, lines, expected)
    checksum = path.with_name(f"{path.name}.sha256")
    with path.open("rb") as file, _written(checksum) as sums:
        sums.write(f"{file_digest(file, sha256).hexdigest()}  {path.name}\n".encode())
    return expected


def _write_file(path: Path, lines: Iterable[bytes], expected: int) -> None:
    """Write a file of so many lines. Raises ArchiveFailed when there are fewer, and leaves no file."""
    with _written(path) as file, _compressing(file) as packed:
        for line in lines:
            packed.write(line)
            expected -= 1
        if expected:
            raise ArchiveFailed(
                f"{expected} of the signals for {path.name} belong to no item, so nothing was removed:"
                " run cloudsignal rebuild first"
            )


def _check_same(path: Path, lines: Iterable[bytes]) -> None:
    """Raises ArchiveFailed when what is in a file is something else than these lines."""
    try:
        with gzip.open(path) as packed:
            same = all(line == packed.readline() for line in lines) and not packed.read(1)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        same = False
    if not same:
        raise ArchiveFailed(
            f"{path} holds something else than these signals, so nothing was removed: name another"
            " folder"
        )


def _line(row: Any) -> Line:
    return Line(
        position=row.position,
        received=datetimes.write(row.received),
        partner=row.partner_name,
        interface=row.interface,
        test=row.test,
        order=row.order,
        item=row.item,
        type=row.type,
        datetime=datetimes.write(row.datetime),
        fingerprint=row.fingerprint,
        body=Raw(row.body.encode()),
    )


def _compressing(file: IO[bytes]) -> gzip.GzipFile:
    # Without the moment at which it was written, the same signals make the same file.
    return gzip.GzipFile(filename="", mode="wb", compresslevel=COMPRESSION, fileobj=file, mtime=0)


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, that gets its name once all of it is on disk."""
    draft = path.with_name(f"{path.name}.part")
    with draft.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let no other run write to a folder. Raises ArchiveFailed when one does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveFailed(
                f"another run writes to {folder}: wait until it has ended"
            ) from None
        yield
    finally:
        os.close(descriptor)
