"""Where stores lie: files of SQLite, each in a folder, or databases of a PostgreSQL server."""

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests import postgresql

# What any operator sets; everything else, fsync among it, is as PostgreSQL has it by default.
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB"}
SHOWN = ("server_version", "fsync", "synchronous_commit", *SETTINGS)


@dataclass(frozen=True)
class Place:
    """A folder for a server to run in, and the URL of its database."""

    folder: Path
    url: str


class Home(Protocol):
    """Makes places of one kind."""

    where: str
    """What to add to a name to tell it from that of another home."""

    def new(self, name: str) -> Place:
        """A place with nothing in it yet."""

    def copied(self, place: Place) -> AbstractContextManager[Place]:
        """A context with a copy of a place whose server is stopped, gone afterwards."""

    def size_bytes(self, place: Place) -> int:
        """What the database takes on the disk."""


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def database(folder: Path) -> Path:
    return folder / "store.db"


class Files:
    """Databases of SQLite, each in the folder its server runs in."""

    where = ""

    def __init__(self, parent: Path) -> None:
        self.parent = parent

    def new(self, name: str) -> Place:
        folder = emptied(self.parent / name)
        return Place(folder, f"sqlite:///{database(folder)}")

    @contextmanager
    def copied(self, place: Place) -> Iterator[Place]:
        copy = self.new(f"{place.folder.name}-copy")
        shutil.copytree(place.folder, copy.folder, dirs_exist_ok=True)
        os.sync()  # or the disk would still be writing the copy while fsync is measured
        try:
            yield copy
        finally:
            shutil.rmtree(copy.folder)

    def size_bytes(self, place: Place) -> int:
        return sum(file.stat().st_size for file in place.folder.glob("store.db*"))


class Databases:
    """Databases of one PostgreSQL server; they are dropped when the stack is closed."""

    where = " on PostgreSQL"

    def __init__(self, parent: Path, server: str, stack: ExitStack) -> None:
        self.parent, self.server, self.stack = parent, server, stack

    def new(self, name: str) -> Place:
        url = self.stack.enter_context(postgresql.database(self.server))
        return Place(emptied(self.parent / name), url)

    @contextmanager
    def copied(self, place: Place) -> Iterator[Place]:
        template = postgresql.name_of(place.url)
        # By files, which ends with a checkpoint: so every measurement begins with one just done.
        with postgresql.database(self.server, template, strategy="FILE_COPY") as url:
            yield Place(place.folder, url)

    def size_bytes(self, place: Place) -> int:
        return self.number("pg_database_size(current_database())", place.url)

    def wal_bytes(self) -> int:
        """How much the server has written to its log so far, for all of its databases."""
        return self.number("pg_current_wal_lsn() - '0/0'", self.server)

    def number(self, expression: str, url: str) -> int:
        ((found,),) = postgresql.execute(url, f"SELECT {expression}")
        return int(found)

    def described(self) -> str:
        rows = postgresql.execute(
            self.server, f"SELECT name, current_setting(name) FROM unnest(ARRAY{[*SHOWN]}) AS name"
        )
        return ", ".join(f"{name} {value}" for name, value in rows)


@contextmanager
def databases(parent: Path) -> Iterator[Databases]:
    """A PostgreSQL server of the benchmark's own, unless one is given."""
    require_reachable(parent)
    newest = next(iter(postgresql.binaries()), "")
    with postgresql.running(newest, parent, **SETTINGS) as server, ExitStack() as stack:
        yield Databases(parent, server, stack)


def require_postgresql() -> None:
    if postgresql.GIVEN not in os.environ and not postgresql.binaries():
        sys.exit(
            "No PostgreSQL is installed here (Debian: apt-get install postgresql), and"
            f" {postgresql.GIVEN} names no server: --rows a,b,c,d,e,k,l,m,p does without."
        )


def require_reachable(folder: Path) -> None:
    """PostgreSQL doesn't run as root, so root's benchmark runs it as a user that may do nothing."""
    if os.geteuid() != 0:
        return
    for each in (folder, *folder.parents):
        if not each.stat().st_mode & stat.S_IXOTH:
            sys.exit(
                f"PostgreSQL runs as {postgresql.NOBODY} here and cannot reach {each}: --folder"
            )
