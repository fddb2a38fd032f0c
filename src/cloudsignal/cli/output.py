"""How commands speak: tables for people, JSON for programs, a sentence when something is wrong."""

import getpass
import io
import os
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from enum import IntEnum
from pathlib import Path
from shlex import quote
from shutil import which
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TextIO

import msgspec
import typer

if TYPE_CHECKING:
    from cloudsignal.server.settings import InForce, Settings
    from cloudsignal.server.store.changes import Actor
    from cloudsignal.server.store.store import Store

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Database = Annotated[
    str | None,
    typer.Option(
        "--database", metavar="URL", help="Where the store is; else CLOUDSIGNAL_DATABASE."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="A TOML file with settings; else CLOUDSIGNAL_CONFIG."
    ),
]


NUMBER_MAX: Final = (1 << 63) - 1
"""The largest number that a store can look for."""


class Exit(IntEnum):
    """How a command ended, for scripts: the exit code, and what it says."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        """An exit code that knows what it says."""
        known = int.__new__(cls, code)
        known._value_ = code
        known.meaning = meaning
        return known

    DONE = 0, "done"
    FAILED = 1, "something else went wrong"
    USAGE = 2, "the command line makes no sense"
    REFUSED = 3, "the server refused signals, or they were found invalid before they were sent"
    NOT_SENT = 4, "not sent: the same can be tried again later"
    KEY_REFUSED = 5, "the server does not take the key"
    SETUP = 6, "an address, a key or a file cannot be used as it is"


class Failed(Exception):
    """The command cannot do what it was asked; the message says why and what to do."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code


def fail(error: Failed) -> int:
    """Say what went wrong; the exit code."""
    note(str(error))
    return error.code


def note(sentence: str) -> None:
    """Tell people something that is no result of the command."""
    print(f"cloudsignal: {sentence}", file=sys.stderr)


@contextmanager
def telling_if_interrupted(sentence: Callable[[], str]) -> Iterator[None]:
    """Tell who breaks it off how far it is and what remains."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"interrupted: {sentence()}")
        raise


def guard_output() -> None:
    """See to it that what cannot be written, or has no letters in a terminal, is no traceback."""
    sys.stdout = _guarded(sys.stdout, _Output)
    sys.stderr = _guarded(sys.stderr, _Messages)


class _Output(io.FileIO):
    """Where output goes. What is wrong there is said once, and what follows goes nowhere."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self._give_up()
            return self._lost(data, error)

    def _give_up(self) -> None:
        # Or what is still in buffers would fail once more, when the process ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)

    def _lost(self, data: Any, error: OSError) -> int:
        if isinstance(error, BrokenPipeError):
            raise error  # Who reads has seen enough.
        raise Failed(
            f"the output cannot be written: {error.strerror}; what was sent or changed before stays so",
            Exit.SETUP,
        ) from None


class _Messages(_Output):
    """Where sentences for people go. Where none can be said there is the exit code yet."""

    def _lost(self, data: Any, error: OSError) -> int:
        return len(data)


def _guarded(stream: TextIO, kind: type[_Output]) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors="backslashreplace")
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if not isinstance(raw, io.FileIO):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(kind(raw.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,
    )


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    # As bytes: JSON is UTF-8, whatever the terminal takes.
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def print_json_line(value: Any) -> None:
    """One JSON document in one line, at once."""
    typer.echo(msgspec.json.encode(value))


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    wrapping: Collection[str] = (),
) -> None:
    """A table for people. Columns without a value are left out; ``wrapping`` ones give way first."""
    if not rows:
        print(f"{title}: none")
        return
    # Imported by those who print: a server has no table to draw, and a tenth of a second to save.
    from rich.console import Console
    from rich.table import Table

    print(plain(title))
    table = Table(box=None, padding=(0, 2, 0, 0))
    used = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    for index in used:
        name = columns[index]
        table.add_column(name, overflow="fold", no_wrap=name not in wrapping)
    for row in rows:
        table.add_row(*(plain(row[index]) for index in used))
    Console(markup=False, emoji=False, highlight=False).print(table)


def print_facts(facts: dict[str, str]) -> None:
    """Facts for people, a line each. Those without a value are left out."""
    for name, value in facts.items():
        if value:
            print(f"{name:>14}  {plain(value)}")
    print()


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error for each step of a long command, as it is told how far that is."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    # On standard error, so that what a program reads stays JSON.
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}
    with bars:

        def told(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step)
            bars.update(tasks[step], completed=done, total=total)

        yield told


def plain(text: str) -> str:
    """What others wrote, with escapes for what would command a terminal instead of being shown."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def iso(instant: int | None) -> str | None:
    """An instant for programs: ISO 8601 with offset."""
    from cloudsignal.protocol import datetimes

    return None if instant is None else datetimes.write(instant)


def shown(instant: int | None) -> str:
    """An instant for people, to the second, in UTC."""
    return (iso(instant) or "")[:19].replace("T", " ")


def moment(instant: str | None) -> str:
    """An instant as views have it, for people: to the second."""
    return (instant or "")[:19].replace("T", " ")


def program() -> str:
    """How to call this program again: its name where that is enough, else its path."""
    called = Path(sys.argv[0])
    found = which(called.name)
    if found is not None and Path(found).resolve() == called.resolve():
        return called.name
    here = Path.cwd()
    return quote(str(called.relative_to(here) if called.is_relative_to(here) else called))


def where(database: str | None, config: Path | None = None) -> str:
    """The flags that lead another command to the same store."""
    flags = {"--database": database, "--config": config}
    return "".join(f" {flag} {quote(str(value))}" for flag, value in flags.items() if value)


@contextmanager
def opened(database: str | None, config: Path | None) -> Iterator[tuple["Store", "Settings"]]:
    """The store that a flag or the settings name, and the settings. Raises Failed."""
    settings = read_settings({"database": database}, config)
    with open_store(settings) as store:
        yield store, settings


@contextmanager
def open_store(settings: "Settings") -> Iterator["Store"]:
    """The store of these settings. What it says when it cannot be used is raised as Failed."""
    with told():
        from cloudsignal.server.store.store import open_store as open_server_store

        with closing(open_server_store(settings.database)) as store:
            yield store.by(operator())


def operator() -> "Actor":
    """Who runs this command, for what they change."""
    from cloudsignal.server.store.changes import Actor

    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # A container may have no name for its user.
        name = "somebody"
    return Actor(f"{name} on {socket.gethostname()}, by command")


def read_settings(flags: dict[str, Any], config: Path | None) -> "Settings":
    """The settings in force. Raises Failed."""
    return find_settings(flags, config).settings


def find_settings(flags: dict[str, Any], config: Path | None) -> "InForce":
    """The same, with where each comes from. Raises Failed."""
    from cloudsignal.server import settings as server_settings

    with told():
        return server_settings.find(flags, config=config)


@contextmanager
def told() -> Iterator[None]:
    """Turn what is wrong with a store or a setting into Failed, with its sentence."""
    from cloudsignal.server.settings import SettingsError
    from cloudsignal.server.store.errors import StoreError

    try:
        yield
    except (StoreError, SettingsError) as error:
        raise Failed(str(error)) from None
