"""Importing tables, and how an import goes on after it was interrupted.

The rows of a table are sent in bundles. After each one that is acknowledged, how far that is stands in a small file
beside the table; rows that are wrong are in another, to be corrected and imported.
"""

import csv
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import blake2b
from itertools import chain, count
from pathlib import Path
from typing import Final, Self
from zlib import crc32

import msgspec
from msgspec import Struct

from cloudsignal.partner.claim import Claim, claim
from cloudsignal.partner.errors import SetupError
from cloudsignal.partner.rows import ERROR, Layout, Row, Table
from cloudsignal.partner.sifting import Send, Sifted, send_sifted

READ_BYTES: Final = 1 << 20
"""How much of a table is in memory at once to see whether it is the same."""
_BESIDE: Final = "an import keeps its progress and its errors beside the table"


class Progress(Struct, kw_only=True):
    """How far an import is.

    ``digest`` says of what; ``rows`` are done, ``wrong`` of them are in the file of errors, which had
    ``errors_bytes`` then with ``errors_sum`` as their checksum.
    """

    digest: str
    rows: int = 0
    wrong: int = 0
    errors_bytes: int = 0
    errors_sum: int = 0


class Import:
    """An import of a table to a server, begun or gone on with. Nobody else imports it until it is closed.

    ``to`` says which server. ``table`` is the table, ``count`` how many rows it has, ``done`` how many of them
    were done when it was interrupted; ``notes`` are sentences for people. Raises SetupError.
    """

    def __init__(self, path: Path, layout: Layout, *, to: str) -> None:
        self.table = Table(path, layout)
        self.count = self.table.count()
        self.notes: list[str] = []
        self.errors_path = path.with_name(f"{path.stem}.errors.csv")
        self._aside_path = vacant(path.with_name(f"{path.stem}.errors.old.csv"))
        self._progress_path = path.with_name(f"{path.name}.progress")
        self._digest = partial(_digest, path, layout, to)
        digest = self._digest()
        # By the stem, because tables of one stem have one file of errors.
        self._claim_path = path.with_name(f"{path.stem}.importing")
        self._claim = _claimed(self._claim_path)
        before = _load(self._progress_path)
        goes_on = before is not None and before.digest == digest
        self._progress = before if before and goes_on else Progress(digest=digest)
        self.done = self._progress.rows
        self._keeps_errors = goes_on and self._are_errors_untouched()
        self._tell(goes_on=goes_on, was_another=before is not None and not goes_on)

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
        if self._digest() != self._progress.digest:
            raise SetupError(
                "the file was changed while it was imported: import it again, and what is stored is recognised"
            )
        with _writing(self._progress_path):
            self._progress_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others import it."""
        with suppress(OSError):  # Some systems don't remove what is open.
            self._claim_path.unlink()
        self._claim.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, *, goes_on: bool, was_another: bool) -> None:
        if goes_on:
            self.notes.append(f"it goes on after row {self.done}, where it was interrupted")
        if was_another:
            self.notes.append(
                "the file, the flags or the server are others than when it was interrupted: it begins anew"
            )
        if self.errors_path.exists() and not self._keeps_errors:
            what = "which was changed since then," if goes_on else "of an import before"
            self.notes.append(f"{self.errors_path} {what} is {self._aside_path} now")

    def _are_errors_untouched(self) -> bool:
        """Whether the file of errors still begins with what this import wrote into it."""
        if not self.errors_path.exists():
            return not self._progress.wrong
        with _writing(self.errors_path), self.errors_path.open("rb") as file:
            return crc32(file.read(self._progress.errors_bytes)) == self._progress.errors_sum

    def _take_back_errors(self) -> None:
        """Leave in the file of errors only what is known of this import."""
        with _writing(self.errors_path):
            if self._keeps_errors:
                if self.errors_path.exists():
                    os.truncate(self.errors_path, self._progress.errors_bytes)
                return
            # Somebody may have corrected them by now, and not imported them yet.
            if self.errors_path.exists():
                self.errors_path.rename(self._aside_path)
            self._progress.wrong = self._progress.errors_bytes = self._progress.errors_sum = 0

    def _write_errors(self, wrong: list[tuple[Row, Sequence[str]]]) -> None:
        """Write down rows with all their cells, each behind what is wrong with it."""
        if not wrong:
            return
        form, old = self.table.form, self.table.columns.errors
        with (
            _writing(self.errors_path),
            self.errors_path.open(
                "a", encoding=form.encoding, errors="backslashreplace", newline=""
            ) as file,
        ):
            writer = csv.writer(file, delimiter=form.delimiter)
            if not file.tell():
                writer.writerow([ERROR, *_without(old, self.table.header)])
            for row, sentences in wrong:
                writer.writerow(["; ".join(sentences), *_without(old, row.cells)])
            file.flush()
            os.fsync(file.fileno())
        self._progress.wrong += len(wrong)
        self._note_errors()

    def _note_errors(self) -> None:
        """Know the file of errors again by what it holds now."""
        with self.errors_path.open("rb") as file:
            file.seek(self._progress.errors_bytes)
            added = file.read()
        self._progress.errors_bytes += len(added)
        self._progress.errors_sum = crc32(added, self._progress.errors_sum)

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


def vacant(path: Path) -> Path:
    """A path, or one like it, where there is nothing yet."""
    numbered = (path.with_name(f"{path.stem}.{n}{path.suffix}") for n in count(2))
    return next(each for each in chain([path], numbered) if not os.path.lexists(each))


def _claimed(path: Path) -> Claim:
    """The claim on a file that goes away with it. Raises SetupError while another import has it."""
    while True:
        try:
            found = claim(path)
        except SetupError as error:
            raise SetupError(f"{error}; {_BESIDE}") from None
        if found is None:
            raise SetupError(f"another import of this table is under way, which has {path}")
        if path.exists():
            return found
        found.close()  # It went away with the one before.


def _without(places: Collection[int], cells: Sequence[str]) -> list[str]:
    return [cell for place, cell in enumerate(cells) if place not in places]


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
    try:
        with path.open("rb") as file:
            while block := file.read(READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None
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
        raise SetupError(f"{path} cannot be written: {error.strerror}; {_BESIDE}") from None
