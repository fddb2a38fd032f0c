"""The rows of a table that are not stored, in a file beside it, each behind what is wrong: to be corrected and imported.

Somebody may work on such a file at any time. So it is only gone on with while it is as it was left, else put aside.
"""

import csv
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final
from zlib import crc32

from msgspec import Struct

from cloudsignal.partner.beside import vacant, writing
from cloudsignal.partner.rows import ERROR, Row, Table

Wrong = tuple[Row, Sequence[str]]
"""A row, and what is wrong with it."""


class Known(Struct, frozen=True, kw_only=True):
    """What an import knows of its file of errors: how many rows are in it, its size and its checksum."""

    rows: int = 0
    size_bytes: int = 0
    sum: int = 0


class ErrorsFile:
    """The file of errors of an import.

    ``known`` is what the import knew of it when it was interrupted, None if it begins. Raises SetupError.
    """

    def __init__(self, beside: Path, table: Table, known: Known | None) -> None:
        self.path: Final = beside.with_name(f"{beside.stem}.errors.csv")
        self._aside: Final = vacant(beside.with_name(f"{beside.stem}.errors.old.csv"))
        self._table = table
        self._was_known = known is not None
        self._is_kept = known is not None and self._begins_with(known)
        self.known = known if known and self._is_kept else Known()

    @property
    def note(self) -> str | None:
        """What people have to know of a file that was there before."""
        if self._is_kept or not self.path.exists():
            return None
        what = "which was changed since then," if self._was_known else "of an import before"
        return f"{self.path} {what} is {self._aside} now"

    def begin(self) -> None:
        """Leave in it only what is known; put it aside if that is not known. Raises SetupError."""
        if not self.path.exists():
            return
        with writing(self.path):
            if self._is_kept:
                os.truncate(self.path, self.known.size_bytes)
            else:
                # Somebody may have corrected them by now, and not imported them yet.
                self.path.rename(self._aside)

    def add(self, wrong: Sequence[Wrong]) -> None:
        """Write down rows with all their cells, each behind what is wrong with it. Raises SetupError."""
        if not wrong:
            return
        with writing(self.path):
            self._append(wrong)
            self.known = self._known_with(len(wrong))

    def _begins_with(self, known: Known) -> bool:
        """Whether it still begins with what was written into it."""
        if not self.path.exists():
            return not known.rows
        with writing(self.path), self.path.open("rb") as file:
            return crc32(file.read(known.size_bytes)) == known.sum

    def _append(self, wrong: Sequence[Wrong]) -> None:
        form, old = self._table.form, self._table.columns.errors
        with self.path.open(
            "a", encoding=form.encoding, errors="backslashreplace", newline=""
        ) as file:
            writer = csv.writer(file, delimiter=form.delimiter)
            if not file.tell():
                writer.writerow([ERROR, *_without(old, self._table.header)])
            for row, sentences in wrong:
                writer.writerow(["; ".join(sentences), *_without(old, row.cells)])
            file.flush()
            os.fsync(file.fileno())

    def _known_with(self, rows: int) -> Known:
        """What is known of it with so many rows more."""
        with self.path.open("rb") as file:
            file.seek(self.known.size_bytes)
            added = file.read()
        return Known(
            rows=self.known.rows + rows,
            size_bytes=self.known.size_bytes + len(added),
            sum=crc32(added, self.known.sum),
        )


def _without(places: Collection[int], cells: Sequence[str]) -> list[str]:
    return [cell for place, cell in enumerate(cells) if place not in places]
