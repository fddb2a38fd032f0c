"""Signals from tables: which column is which field, and how an import goes on after it was interrupted.

The rows of a table are sent in bundles. After each one that is acknowledged, how far that is stands in a small file
beside the table; rows that are wrong are in another, to be corrected and imported.
"""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from msgspec import Raw, Struct

from cloudsignal.partner import tables
from cloudsignal.partner.errors import InvalidSignals, SetupError
from cloudsignal.partner.posts import signal_of
from cloudsignal.partner.sifting import Send, Sifted, send_sifted
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
    """Which column of a table is which field, by its index, and which columns are none."""

    index: dict[str, int]
    unused: list[str]


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
    columns = Columns(index | found, unused)
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

    def _filled(self) -> Iterator[Line]:
        lines = tables.lines(self._path, self.form)
        return (line for line in lines if not line.is_blank)

    def _row(self, line: Line) -> Row:
        values = self._values(line.cells)
        if any(cell.strip() for cell in line.cells[len(self.header) :]):
            fault = f"there are {len(line.cells)} cells below {len(self.header)} columns"
            return self._wrong(line, [f"{fault}: a cell with a delimiter in it needs quotes"])
        problems = []
        try:
            if "datetime" in values:
                values["datetime"] = self._moment(values["datetime"])
        except ValueError as error:
            problems.append(str(error))
        try:
            members = {name: Raw(msgspec.json.encode(value)) for name, value in values.items()}
            signal = signal_of(members)
        except InvalidSignals as error:
            told = [each.info for each in error.problems if not problems or each.at != "datetime"]
            return self._wrong(line, [*told, *problems])
        return self._wrong(line, problems) if problems else Row(line.number, line.cells, signal)

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

    Without a format it is one of the protocol's spellings already. Raises ValueError with a sentence.
    """
    if datetime_format is None:
        return text if zone is None else datetimes.write(datetimes.parse(text, zone))
    try:
        moment = _read(text, datetime_format)
    except ValueError:
        shown = f"datetime {wire.echo(text)} is not written like {wire.echo(datetime_format)}"
        raise ValueError(shown) from None
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


# ---- an import, and how far it is ----------------------------------------------------------------


class Progress(Struct, kw_only=True):
    """How far an import is.

    ``digest`` says of what; ``rows`` are done, ``wrong`` of them are in the file of errors, which had
    ``errors_bytes`` then.
    """

    digest: str
    rows: int = 0
    wrong: int = 0
    errors_bytes: int = 0


class Import:
    """An import of a table to a server, begun or gone on with. Raises SetupError.

    ``to`` says which server. ``table`` is the table, ``lines`` about how many lines it has, ``done`` how many rows
    were done when it was interrupted; ``notes`` are sentences for people.
    """

    def __init__(self, path: Path, layout: Layout, *, to: str) -> None:
        self.table = Table(path, layout)
        self.lines = tables.line_count(path)
        self.notes: list[str] = []
        self.errors_path = path.with_name(f"{path.stem}.errors.csv")
        self._older_errors_path = path.with_name(f"{path.stem}.errors.old.csv")
        self._progress_path = path.with_name(f"{path.name}.progress")
        digest = _digest(path, layout, to)
        before = _load(self._progress_path)
        self._goes_on = before is not None and before.digest == digest
        self._progress = before if before and self._goes_on else Progress(digest=digest)
        self.done = self._progress.rows
        self._tell(was_another=before is not None and not self._goes_on)

    @property
    def wrong(self) -> int:
        """How many rows are in the file of errors."""
        return self._progress.wrong

    def run(self, send: Send, *, most: int) -> Iterator[Sifted[Row]]:
        """Send the rows that are left, and tell of each bundle once it is acknowledged and written down.

        Raises SendError when it cannot go on: to call the same again goes on from there.
        """
        self._take_back_errors()
        self._save()
        for sifted in send_sifted(send, self.table.rows(after=self.done), most=most):
            self._write_errors(_wrong_in(sifted))
            self._progress.rows += len(sifted.found)
            self._save()
            yield sifted
        with _writing(self._progress_path):
            self._progress_path.unlink(missing_ok=True)

    def _tell(self, *, was_another: bool) -> None:
        if self._goes_on:
            self.notes.append(f"it goes on after row {self.done}, where it was interrupted")
            return
        if was_another:
            self.notes.append(
                "the file, the flags or the server are others than when it was interrupted: it begins anew"
            )
        if self.errors_path.exists():
            self.notes.append(
                f"{self.errors_path} of an import before is {self._older_errors_path} now"
            )

    def _take_back_errors(self) -> None:
        """Leave in the file of errors only what is known of this import."""
        with _writing(self.errors_path):
            if not self.errors_path.exists():
                return
            if self._goes_on:
                size = self.errors_path.stat().st_size
                os.truncate(self.errors_path, min(size, self._progress.errors_bytes))
            else:
                # Somebody may have corrected them by now, and not imported them yet.
                self.errors_path.replace(self._older_errors_path)

    def _write_errors(self, wrong: list[tuple[Row, Sequence[str]]]) -> None:
        if not wrong:
            return
        form, header = self.table.form, self.table.header
        kept = [place for place, name in enumerate(header) if _plain(name) != ERROR]
        with (
            _writing(self.errors_path),
            self.errors_path.open(
                "a", encoding=form.encoding, errors="backslashreplace", newline=""
            ) as file,
        ):
            writer = csv.writer(file, delimiter=form.delimiter)
            if not file.tell():
                writer.writerow([*(header[place] for place in kept), ERROR])
            for row, sentences in wrong:
                cells = [row.cells[place] if place < len(row.cells) else "" for place in kept]
                writer.writerow([*cells, "; ".join(sentences)])
            file.flush()
            os.fsync(file.fileno())
        self._progress.wrong += len(wrong)
        self._progress.errors_bytes = self.errors_path.stat().st_size

    def _save(self) -> None:
        """Write down how far it is, so that it is there whole after whatever happens."""
        new = self._progress_path.with_name(f"{self._progress_path.name}.new")
        with _writing(self._progress_path):
            with new.open("wb") as file:
                file.write(msgspec.json.encode(self._progress))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._progress_path)
            _sync_folder(self._progress_path.parent)


def _wrong_in(sifted: Sifted[Row]) -> list[tuple[Row, Sequence[str]]]:
    """The rows of a bundle that are not stored, in their order, each with what is wrong."""
    refused = [(row, error.sentences) for row, error in sifted.refused]
    invalid = [(row, row.problems) for row in sifted.found if row.problems]
    return sorted([*refused, *invalid], key=lambda wrong: wrong[0].line)


def _load(path: Path) -> Progress | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Progress)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Progress(digest="")  # Of an import that is not this one.


def _digest(path: Path, layout: Layout, to: str) -> str:
    """What is imported in which way and where to, as one word."""
    digest = blake2b(msgspec.json.encode([layout, to]), digest_size=16)
    with path.open("rb") as file:
        while block := file.read(tables.READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """See to it that the name of a file is on disk, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"{path} cannot be written: {error.strerror}; an import keeps its progress and its errors beside the table"
        ) from None
