"""Tables as spreadsheets save them, row by row: CSV in any form, and .xlsx."""

import codecs
import csv
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from cloudsignal.partner.errors import SetupError

DELIMITERS: Final = ",;\t|"
"""What is looked for between cells."""
ENCODING: Final = "utf-8-sig"
"""UTF-8, with or without the mark that Excel puts in front."""
HEADER_CHARACTERS_MAX: Final = 1 << 20
EXCEL: Final = ".xlsx"

_WORKBOOKS: Final = (b"PK", b"\xd0\xcf\x11\xe0")
"""How files of spreadsheets begin, new and old ones."""
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_HINT: Final = re.compile(r"sep=(.)", re.IGNORECASE)
"""The line by which programs tell Excel what stands between cells. It is no row."""

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?", re.ASCII)

_SPELLED: Final = {"tab": "\t", "\\t": "\t"}
"""How people write what they cannot type."""


class Line(Struct, frozen=True):
    """A row of a table: the line of the file in which it begins, and its cells."""

    number: int
    cells: list[str]

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing in it."""
        return not any(cell.strip() for cell in self.cells)


class Form(Struct, frozen=True, kw_only=True):
    """How the cells of a file are written down.

    ``datetime_format`` is how dates that a spreadsheet holds as dates are turned into text, where it says all of them;
    else they are ISO 8601.
    """

    delimiter: str
    encoding: str
    datetime_format: str | None = None


def form_of(
    path: Path, *, delimiter: str | None, encoding: str, datetime_format: str | None
) -> Form:
    """How a file is to be read; the delimiter is guessed from its first line if none is given.

    Raises SetupError.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise SetupError(
            f"{path} can be read only once, and a table is read twice: save it to a file"
        )
    if _is_excel(path):
        return Form(delimiter=",", encoding=ENCODING, datetime_format=datetime_format)
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = ENCODING  # There may be a mark all the same.
    delimiter = _SPELLED.get(delimiter or "", delimiter)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise SetupError(f"the delimiter must be one character, such as ; and not {delimiter!r}")
    return Form(delimiter=delimiter or sniffed(_first_line(path, encoding)), encoding=encoding)


def sniffed(header: str) -> str:
    """The delimiter that a first line names, or makes most columns with; a comma if none makes any."""
    if hint := _HINT.fullmatch(header.rstrip("\r\n")):
        return hint[1]
    return max(DELIMITERS, key=lambda each: len(next(csv.reader([header], delimiter=each), [])))


def lines(path: Path, form: Form) -> Iterator[Line]:
    """The rows of a table, one in memory at a time if it is CSV. Raises SetupError."""
    return _sheet(path, form.datetime_format) if _is_excel(path) else _csv(path, form)


def _is_excel(path: Path) -> bool:
    return path.suffix.lower() == EXCEL


# ---- CSV -----------------------------------------------------------------------------------------


def _first_line(path: Path, encoding: str) -> str:
    """The first line that is not blank."""
    try:
        with path.open(encoding=encoding) as file:
            while line := file.readline(HEADER_CHARACTERS_MAX):
                if line.strip():
                    return line
    except UnicodeError as error:
        raise _undecodable(path, encoding, error) from None
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None
    except LookupError:
        raise SetupError(f"there is no encoding {encoding!r}: utf-8 and cp1252 are usual") from None
    return ""


def _csv(path: Path, form: Form) -> Iterator[Line]:
    number = 1
    try:
        with path.open(encoding=form.encoding, newline="") as file:
            # Strict, or a quote that is never closed would swallow rows without a word.
            reader = csv.reader(file, delimiter=form.delimiter, strict=True)
            for cells in reader:
                if number > 1 or not _HINT.fullmatch(form.delimiter.join(cells)):
                    yield Line(number, cells)
                number = reader.line_num + 1
    except UnicodeError as error:
        raise _undecodable(path, form.encoding, error) from None
    except csv.Error as error:
        raise SetupError(
            f"{path}, line {number} cannot be read: {error}; is there a quote that is never closed, or one within a"
            " cell that is not doubled?"
        ) from None
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None


def _undecodable(path: Path, encoding: str, error: UnicodeError) -> SetupError:
    with path.open("rb") as file:
        beginning = file.read(4)
    if beginning.startswith(_WORKBOOKS):
        return SetupError(f"{path} is a workbook, and no text: save it as {EXCEL} or CSV")
    is_utf_8 = encoding == ENCODING
    other = "utf-16" if beginning.startswith(_UTF_16) else "cp1252" if is_utf_8 else "utf-8"
    return SetupError(
        f"{path}, line {_undecodable_line(path, encoding)} is not {'utf-8' if is_utf_8 else encoding}:"
        f" {error.args[-1]}; try --encoding {other}"
    )


def _undecodable_line(path: Path, encoding: str) -> int:
    """The first line that cannot be decoded: the error does not tell, because text is decoded in blocks."""
    decoder = codecs.getincrementaldecoder(encoding)()
    number = 1
    with path.open("rb") as file:
        for raw in file:
            try:
                number += decoder.decode(raw).count("\n")
            except UnicodeError:
                break
    return number


# ---- .xlsx ---------------------------------------------------------------------------------------


def _sheet(path: Path, datetime_format: str | None) -> Iterator[Line]:
    """The rows of the first sheet."""
    try:
        from python_calamine import CalamineError, load_workbook
    except ModuleNotFoundError:
        raise SetupError(
            f"{EXCEL} files need one more package: pip install 'cloudsignal[xlsx]', or save the table as CSV"
        ) from None
    try:
        rows = load_workbook(path).get_sheet_by_index(0).iter_rows()
        for number, cells in enumerate(rows, start=1):
            yield Line(number, [_text(cell, datetime_format) for cell in cells])
    except (CalamineError, OSError) as error:
        raise SetupError(f"{path} cannot be read: {error}") from None


def _text(cell: Any, datetime_format: str | None) -> str:
    """A cell as it would stand in CSV."""
    if isinstance(cell, float) and cell.is_integer():
        return str(
            int(cell)
        )  # Numbers of a spreadsheet have no kind: an id of digits is one of them.
    if isinstance(cell, date):
        # A time of midnight is not there.
        moment = cell if isinstance(cell, datetime) else datetime.combine(cell, time())
        return _written(moment, datetime_format)
    return str(cell)


def _written(moment: datetime, datetime_format: str | None) -> str:
    """A date as text: in this format if nothing of it gets lost, or as ``date_of`` reads it."""
    if datetime_format is not None:
        written = moment.strftime(datetime_format)
        with suppress(ValueError):  # A zone that it does not have.
            if datetime.strptime(written, datetime_format) == moment:  # noqa: DTZ007 - it has none
                return written
    return moment.isoformat(" ")


def date_of(text: str) -> datetime | None:
    """The date that a cell of a workbook held, by its text as ISO 8601; None if it is no such text."""
    try:
        return datetime.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        return None
