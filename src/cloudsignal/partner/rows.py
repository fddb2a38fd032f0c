"""Rows of tables as signals: which column is which field, and how dates are written."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from msgspec import Raw, Struct

from cloudsignal.partner import tables
from cloudsignal.partner.errors import InvalidSignals, SetupError
from cloudsignal.partner.posts import signal_of
from cloudsignal.partner.tables import ENCODING, Form, Line
from cloudsignal.protocol import datetimes, wire
from cloudsignal.protocol.signals import BY_NAME, SIGNAL_TYPES, Signal, fields

ERROR: Final = "error"
"""The column that says what is wrong with a row. On import it is left out."""
TYPE: Final = "type"
FIELDS: Final = tuple(
    dict.fromkeys([TYPE, *(field.name for each in SIGNAL_TYPES for field in fields(each))])
)
"""What a column can be."""

_SHORTENED: Final = re.compile(r"\d[.,]\d+E\+\d+")
"""How spreadsheets show a number that is too long for them: 1,23457E+11."""
_NEEDED: Final = tuple(field.name for field in fields(Signal) if field.required)
_OWN: Final = {each.__name__: {field.name for field in fields(each)} for each in SIGNAL_TYPES}


class Layout(Struct, frozen=True, kw_only=True):
    """How a table is to be understood.

    ``type`` is that of the rows that name none; ``columns`` says of a header which field it is, where it is not
    called like the field. ``datetime_format`` is how dates are written, as strptime has it, else as the protocol
    has it; ``timezone`` the zone of those that name none. Without a ``delimiter`` it is guessed.
    """

    type: str | None = None
    columns: dict[str, str] = {}
    delimiter: str | None = None
    encoding: str = ENCODING
    datetime_format: str | None = None
    timezone: str | None = None


class Row(Struct, frozen=True):
    """A row of a table: the signal it stands for, or what is wrong with it."""

    line: int
    cells: list[str]
    signal: Signal | None = None
    problems: tuple[str, ...] = ()


# ---- columns -------------------------------------------------------------------------------------


class Columns(Struct, frozen=True):
    """Which column of a table is which field, by its index, which columns are none, and which tell errors."""

    index: dict[str, int]
    unused: list[str]
    errors: frozenset[int]


def columns_of(header: Sequence[str], layout: Layout) -> Columns:
    """Find the columns by their names, in which case, blanks, dashes and underscores do not count.

    Raises SetupError when there is something missing, twice, or unknown.
    """
    index = _mapped(header, layout.columns)
    chosen = set(index.values())
    known = {_plain(name): name for name in FIELDS}
    unused = []
    found: dict[str, int] = {}
    for place, name in enumerate(header):
        field = known.get(_plain(name))
        if place in chosen or _plain(name) in ("", ERROR):
            continue
        if field is None or field in index:
            unused.append(name)
        elif field in found:
            raise SetupError(
                f"the columns {header[found[field]]!r} and {name!r} are both {field}: rename one of them"
            )
        else:
            found[field] = place
    errors = frozenset(place for place, name in enumerate(header) if _plain(name) == ERROR)
    columns = Columns(index | found, unused, errors)
    _check_complete(columns, header, layout)
    return columns


def _mapped(header: Sequence[str], given: Mapping[str, str]) -> dict[str, int]:
    """The columns that are named, by their fields."""
    index: dict[str, int] = {}
    known = {_plain(name): name for name in FIELDS}
    for column, field in given.items():
        places = [place for place, name in enumerate(header) if _plain(name) == _plain(column)]
        if not places:
            raise SetupError(f"there is no column {column!r}: there are {', '.join(header)}")
        if len(places) > 1:
            raise SetupError(f"{len(places)} columns are called {column!r}: rename all but one")
        if _plain(field) not in known:
            advice = _closest(field, FIELDS) or f"there are {', '.join(FIELDS)}"
            raise SetupError(f"{column!r} cannot be {field!r}, which is no field: {advice}")
        if known[_plain(field)] in index:
            raise SetupError(f"two columns cannot both be {known[_plain(field)]}")
        index[known[_plain(field)]] = places[0]
    return index


def _check_complete(columns: Columns, header: Sequence[str], layout: Layout) -> None:
    for name in _NEEDED:
        if name not in columns.index:
            raise SetupError(
                f"no column is {name}: there are {', '.join(header) or 'none'}; say which it is with"
                f" --map 'COLUMN={name}'"
            )
    if TYPE not in columns.index and layout.type is None:
        raise SetupError(
            "no column is type: say with --type which signal each row is, such as ItemShipped"
        )


def _plain(name: str) -> str:
    """A name as it is compared."""
    return "".join(each for each in name.casefold() if not (each.isspace() or each in "-_"))


def _closest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else ""


# ---- rows ----------------------------------------------------------------------------------------


class Table:
    """A table, opened: its header is read. Raises SetupError when it cannot be used as it is."""

    def __init__(self, path: Path, layout: Layout) -> None:
        if layout.type is not None and layout.type not in BY_NAME:
            advice = _closest(layout.type, list(BY_NAME)) or f"the types are {', '.join(BY_NAME)}"
            raise SetupError(f"there is no type {layout.type!r}: {advice}")
        _check_format(layout.datetime_format)
        self._zone = None if layout.timezone is None else zone_of(layout.timezone)
        self._path = path
        self._layout = layout
        self.form: Form = tables.form_of(
            path,
            delimiter=layout.delimiter,
            encoding=layout.encoding,
            datetime_format=layout.datetime_format,
        )
        header = next(self._filled(), None)
        if header is None:
            raise SetupError(f"{path} is empty: its first row must say what the columns are")
        self.header = [cell.strip() for cell in header.cells]
        self.columns = columns_of(self.header, layout)

    def rows(self, *, after: int = 0) -> Iterator[Row]:
        """Every row below the header that is not blank, after the first so many."""
        below = islice(self._filled(), 1 + after, None)
        return map(self._row, below)

    def count(self) -> int:
        """How many rows there are. Raises SetupError when one of them cannot be read."""
        return sum(1 for _ in self._filled()) - 1

    def _filled(self) -> Iterator[Line]:
        lines = tables.lines(self._path, self.form)
        return (line for line in lines if not line.is_blank)

    def _row(self, line: Line) -> Row:
        values = self._values(line.cells)
        if any(cell.strip() for cell in line.cells[len(self.header) :]):
            fault = f"there are {len(line.cells)} cells below {len(self.header)} columns"
            return self._wrong(line, [f"{fault}: a cell with a delimiter in it needs quotes"])
        problems = self._shortened(values)
        try:
            if "datetime" in values:
                values["datetime"] = self._moment(values["datetime"])
        except ValueError as error:
            problems["datetime"] = str(error)
        try:
            members = {name: Raw(msgspec.json.encode(value)) for name, value in values.items()}
            signal = signal_of(members)
        except InvalidSignals as error:
            told = [each.info for each in error.problems if each.at not in problems]
            return self._wrong(line, [*told, *problems.values()])
        if problems:
            return self._wrong(line, list(problems.values()))
        return Row(line.number, line.cells, signal)

    def _shortened(self, values: Mapping[str, str]) -> dict[str, str]:
        """What is wrong with ids of which a spreadsheet has kept the first digits only."""
        return {
            name: f"{name} {wire.echo(values[name])} is a number that the spreadsheet has shortened: make the column"
            " one of texts there, and put the id in again"
            for name in ("order", "item")
            if _SHORTENED.fullmatch(values.get(name, ""))
        }

    def _wrong(self, line: Line, problems: Sequence[str]) -> Row:
        return Row(line.number, line.cells, problems=tuple(problems))

    def _values(self, cells: Sequence[str]) -> dict[str, str]:
        """What a row says of the fields of its type. An empty cell says nothing."""
        given = {
            name: cells[place].strip()
            for name, place in self.columns.index.items()
            if place < len(cells) and cells[place].strip()
        }
        if self._layout.type is not None:
            given.setdefault(TYPE, self._layout.type)
        own = _OWN.get(given.get(TYPE, ""), set(FIELDS))
        return {name: value for name, value in given.items() if name == TYPE or name in own}

    def _moment(self, text: str) -> str:
        """A datetime as the protocol has it. Raises ValueError with a sentence."""
        return moment_of(text, self._layout.datetime_format, self._zone)


def moment_of(text: str, datetime_format: str | None, zone: tzinfo | None) -> str:
    """A datetime in this format, and in this zone if it has none, as the protocol has it.

    Without a format it is one of the protocol's spellings already. A format says how texts are written: the dates of a
    workbook that it cannot say are read all the same. Raises ValueError with a sentence.
    """
    if datetime_format is None:
        return text if zone is None else datetimes.write(datetimes.parse(text, zone))
    try:
        moment = _read(text, datetime_format)
    except ValueError:
        held = tables.date_of(text)
        if held is None:
            shown = f"datetime {wire.echo(text)} is not written like {wire.echo(datetime_format)}"
            raise ValueError(shown) from None
        moment = held
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).isoformat()


def _read(text: str, datetime_format: str) -> datetime:
    return datetime.strptime(text, datetime_format)  # noqa: DTZ007 - a zone in the text counts first


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name. Raises SetupError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        known = available_timezones()
        advice = _closest(name, sorted(known)) or "they are written like Europe/Berlin"
        if not known:
            advice = "this system knows none at all: pip install tzdata brings them"
        raise SetupError(f"there is no time zone {name!r}: {advice}") from None


def _check_format(datetime_format: str | None) -> None:
    """Whether dates can be written and read like this. Raises SetupError."""
    if datetime_format is None:
        return
    if "%Z" in datetime_format.replace("%%", ""):
        # strptime reads the name of a zone, and forgets it.
        raise SetupError(
            "%Z cannot be read, because names of zones mean different ones: write the name itself into the format"
            " and say --timezone, or use %z for +01:00"
        )
    day = datetime(2016, 11, 30, tzinfo=UTC)
    written = day.strftime(datetime_format)
    try:
        tells_year = written != day.replace(year=2017).strftime(datetime_format)
        is_whole = tells_year and _read(written, datetime_format).date() == day.date()
    except ValueError as error:
        raise SetupError(f"no date is written like {datetime_format!r}: {error}") from None
    if not is_whole:
        raise SetupError(
            f"{datetime_format!r} does not tell year, month and day: write it like '%d.%m.%Y %H:%M'"
        )
