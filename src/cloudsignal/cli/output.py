"""How commands speak: tables for people, JSON for programs, a sentence when something is wrong."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

if TYPE_CHECKING:
    from cloudsignal.server.settings import Settings
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


class Failed(Exception):
    """The command cannot do what it was asked; the message says why and what to do."""


def fail(error: Failed) -> int:
    """Say what went wrong; the exit code."""
    print(f"cloudsignal: {error}", file=sys.stderr)
    return 1


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    print(text.decode())


def print_json_line(value: Any) -> None:
    """One JSON document in one line, at once."""
    print(msgspec.json.encode(value).decode(), flush=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people."""
    # Imported by those who print: a server has no table to draw, and a tenth of a second to save.
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def shown(instant: int | None) -> str:
    """An instant for people, to the second, in UTC."""
    from cloudsignal.protocol import datetimes

    return "" if instant is None else datetimes.write(instant)[:19].replace("T", " ") + " UTC"


@contextmanager
def opened(database: str | None, config: Path | None) -> Iterator[tuple["Store", "Settings"]]:
    """The store that a flag or the settings name, and the settings. Raises Failed."""
    settings = read_settings({"database": database}, config)
    with open_store(settings) as store:
        yield store, settings


@contextmanager
def open_store(settings: "Settings") -> Iterator["Store"]:
    """The store of these settings; its errors become sentences. Raises Failed."""
    from cloudsignal.server.store import errors

    try:
        from cloudsignal.server.store.store import open_store as open_server_store
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    try:
        store = open_server_store(settings.database)
        try:
            yield store
        finally:
            store.close()
    except errors.StoreError as error:
        raise Failed(str(error)) from None


def _missing(error: ModuleNotFoundError) -> Failed:
    return Failed(f"{error.name} is missing: pip install 'cloudsignal[server]' brings it")


def read_settings(flags: dict[str, Any], config: Path | None) -> "Settings":
    """The settings in force. Raises Failed."""
    from cloudsignal.server import settings as server_settings

    try:
        return server_settings.read(flags, config=config)
    except server_settings.SettingsError as error:
        raise Failed(str(error)) from None
