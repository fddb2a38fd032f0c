"""Importing tables, and how an import goes on after it was interrupted.

The rows of a table are sent in bundles. After each one that is acknowledged, how far that is stands in a small file
beside the table; rows that are wrong are in another, to be corrected and imported.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import msgspec
from msgspec import Struct

from cloudsignal.partner import tables
from cloudsignal.partner.errors import SetupError
from cloudsignal.partner.rows import ERROR, Layout, Row, Table
from cloudsignal.partner.sifting import Send, Sifted, send_sifted


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
        kept = [place for place in range(len(header)) if place not in self.table.columns.errors]
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
