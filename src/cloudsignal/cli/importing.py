"""``cloudsignal import``: signals from the tables of spreadsheets."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from msgspec import Struct

from cloudsignal.cli.flags import with_flags
from cloudsignal.cli.output import (
    Exit,
    Failed,
    Json,
    note,
    plain,
    print_json_line,
    progress_bars,
    telling_if_interrupted,
)
from cloudsignal.cli.profile import (
    Reach,
    client_of,
    failing,
    in_force,
    reaching,
)
from cloudsignal.cli.send import print_receipt

if TYPE_CHECKING:
    from cloudsignal.partner.importing import Import
    from cloudsignal.partner.rows import Layout, Row, Table
    from cloudsignal.partner.sifting import Send

FIRST_ROWS: Final = 500
"""So many rows a dry run shows to people whatever they are like: more nobody reads."""
WRONG_MAX: Final = 500
"""How many of those that come later and are wrong."""


RowType = Annotated[
    str | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        help="Which signal a row is that does not say so in a column `type`.",
    ),
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="COLUMN=FIELD",
        help="Which field a column is that is not called like one. Can be given many times.",
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option(metavar="C", help="What stands between cells; else it is guessed."),
]
Encoding = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="How the text is encoded, such as cp1252; else UTF-8."),
]
DatetimeFormat = Annotated[
    str | None,
    typer.Option(
        metavar="FORMAT",
        help="How dates are written, such as `%d.%m.%Y %H:%M`; else as the protocol has them. Cells of a workbook"
        " that are dates need none.",
    ),
]
Timezone = Annotated[
    str | None,
    typer.Option(
        metavar="ZONE",
        help="The zone of dates that name none, such as Europe/Berlin; else that of the interface.",
    ),
]


_LAYOUT: Final = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
    for name, annotation in {
        "type": RowType,
        "map": Map,
        "delimiter": Delimiter,
        "encoding": Encoding,
        "datetime_format": DatetimeFormat,
        "timezone": Timezone,
    }.items()
]


def laid_out(command: Callable[..., None]) -> Callable[..., None]:
    """The command with flags that say how tables are to be understood, in the place of its parameter ``layout``."""
    return with_flags(command, "layout", _LAYOUT, _layout)


def _layout(
    type: str | None,
    map: list[str] | None,
    delimiter: str | None,
    encoding: str | None,
    datetime_format: str | None,
    timezone: str | None,
) -> "Layout":
    """How tables are to be understood, as the flags say it."""
    from cloudsignal.partner.rows import Layout
    from cloudsignal.partner.tables import ENCODING

    columns = [map_of(each) for each in map or []]
    if len(dict(columns)) < len(columns):
        raise typer.BadParameter("--map names a column twice: one column is one field")
    return Layout(
        type=type,
        columns=dict(columns),
        delimiter=delimiter,
        encoding=encoding or ENCODING,
        datetime_format=datetime_format,
        timezone=timezone,
    )


def map_of(text: str) -> tuple[str, str]:
    """What ``--map`` says: a column, and the field that it is."""
    column, equals, field = text.rpartition("=")
    if not equals:
        raise typer.BadParameter(f"write --map 'COLUMN=FIELD', not {text!r}")
    return column, field


@reaching
@laid_out
def import_table(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A table, CSV or .xlsx.")],
    *,
    layout: "Layout",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help=f"Only show what would be sent, and what is wrong: the first {FIRST_ROWS} rows and those that are wrong"
            " later, or with `--json` every row.",
        ),
    ] = False,
    json: Json = False,
    reach: Reach,
) -> None:
    """Send the rows of a table as signals.

    Rows that are wrong or refused go into FILE.errors.csv with what is wrong, to be corrected and imported. After an
    interruption the same command goes on where it was.
    """
    with failing():
        from cloudsignal.partner.importing import Import
        from cloudsignal.partner.rows import Table

        if dry_run:
            _show(Table(file, layout), json=json)
            return
        in_use = in_force(reach)
        with (
            client_of(in_use) as client,
            Import(file, layout, to=client.address.endpoint) as begun,
        ):
            _run(begun, client.send, most=in_use.bundle_max, json=json)


def _run(begun: "Import", send: "Send", *, most: int | None, json: bool) -> None:
    from cloudsignal.partner.receipts import Receipt
    from cloudsignal.protocol.wire import BUNDLE_MAX

    _tell_unused(begun.table)
    for sentence in begun.notes:
        note(sentence)
    stored, rows = Receipt(0, 0, 0), begun.done
    with telling_if_interrupted(_how_to_go_on), progress_bars() as progress:
        for sifted in begun.run(send, most=most or BUNDLE_MAX):
            stored = stored + sifted.receipt
            rows += len(sifted.found)
            progress("rows done", rows, begun.count)
    print_receipt(stored, json=json)
    if begun.wrong:
        raise Failed(
            f"{begun.wrong} of {rows} rows are not stored: they are in {begun.errors_path} with what is wrong;"
            " correct them there, and import that file",
            Exit.REFUSED,
        )


def _how_to_go_on() -> str:
    return "the same command goes on from here"


def _tell_unused(table: "Table") -> None:
    if table.columns.unused:
        note(f"these columns are no fields, and not sent: {plain(', '.join(table.columns.unused))}")


# ---- a dry run -----------------------------------------------------------------------------------


def _show(table: "Table", *, json: bool) -> None:
    _tell_unused(table)
    count = Count()
    rows = count.counted(table.rows())
    if json:
        for row in rows:
            print_json_line(_for_programs(row))
    else:
        shown = _print_some(rows)
        _tell_left_out(count.rows - shown.rows, count.wrong - shown.wrong)
    if count.wrong:
        raise Failed(f"{count.wrong} of {count.rows} rows are wrong", Exit.REFUSED)


class Count(Struct):
    """How many rows went by, and how many of them were wrong."""

    rows: int = 0
    wrong: int = 0

    def counted(self, rows: Iterable["Row"]) -> Iterator["Row"]:
        """The same rows; each is counted as it goes by."""
        for row in rows:
            self.rows += 1
            self.wrong += row.signal is None
            yield row


def _print_some(rows: Iterator["Row"]) -> Count:
    """Show the first rows, and of all others those that are wrong, as long as they can be read: what was shown."""
    shown = Count()
    for row in shown.counted(islice(rows, FIRST_ROWS)):
        _print_row(row)
    wrong = (row for row in rows if row.signal is None)
    for row in shown.counted(islice(wrong, WRONG_MAX)):
        _print_row(row)
    for _ in rows:
        pass  # They are counted.
    return shown


def _tell_left_out(rows: int, wrong: int) -> None:
    if rows:
        told = f"{wrong} of them wrong" if wrong else "none of them wrong"
        note(f"{rows} more rows are not shown, {told}: with --json all are")


def _for_programs(row: "Row") -> dict[str, Any]:
    if row.signal is None:
        return {"line": row.line, "problems": row.problems}
    return {"line": row.line, "signal": row.signal}


def _print_row(row: "Row") -> None:
    """What a row would be sent as, or what is wrong with it; in a line, as no table of both is so narrow as a terminal."""
    if row.signal is None:
        print(plain(f"FAIL  line {row.line}: {'; '.join(row.problems)}"))
        return
    import msgspec

    values: dict[str, str] = msgspec.to_builtins(row.signal)
    type = values.pop("type")
    fields = ", ".join(f"{name} {value}" for name, value in values.items())
    print(plain(f"ok    line {row.line}: {type} {fields}"))
