"""Importing tables, and how an import goes on after it was interrupted.

The rows of a table are sent in bundles. After each one that is acknowledged, how far that is stands in a small file
beside the table; rows that are wrong are in another, to be corrected and imported.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Final, Self

import msgspec
from msgspec import Struct

from cloudsignal.partner.beside import WHY_BESIDE, put, writing
from cloudsignal.partner.claim import Claim, claim
from cloudsignal.partner.errors import SetupError
from cloudsignal.partner.errors_file import ErrorsFile, Known, Wrong
from cloudsignal.partner.rows import Layout, Row, Table
from cloudsignal.partner.sifting import Send, Sifted, send_sifted

READ_BYTES: Final = 1 << 20
"""How much of a table is in memory at once to see whether it is the same."""


class Progress(Struct, kw_only=True, forbid_unknown_fields=True):
    """How far an import is: ``digest`` says of what, ``rows`` are done, ``errors`` is known of the file of errors."""

    digest: str
    rows: int = 0
    errors: Known = Known()


class Import:
    """An import of a table to a server, begun or gone on with. Nobody else imports it until it is closed.

    ``to`` says which server. ``table`` is the table, ``count`` how many rows it has, ``done`` how many of them
    were done when it was interrupted; ``notes`` are sentences for people. Raises SetupError.
    """

    def __init__(self, path: Path, layout: Layout, *, to: str) -> None:
        self.table = Table(path, layout)
        self.count = self.table.count()
        self._progress_path = path.with_name(f"{path.name}.progress")
        self._digest = partial(_digest, path, layout, to)
        digest = self._digest()
        with ExitStack() as alone:
            alone.enter_context(_alone(path))
            before = _load(self._progress_path)
            goes_on = before is not None and before.digest == digest
            self._progress = before if before and goes_on else Progress(digest=digest)
            self._errors = ErrorsFile(path, self.table, self._progress.errors if goes_on else None)
            self._alone = alone.pop_all()
        self.done = self._progress.rows
        self.notes = list(
            self._told(goes_on=goes_on, was_another=before is not None and not goes_on)
        )

    @property
    def errors_path(self) -> Path:
        """The file of errors."""
        return self._errors.path

    @property
    def wrong(self) -> int:
        """How many rows are in the file of errors."""
        return self._errors.known.rows

    def run(self, send: Send, *, most: int) -> Iterator[Sifted[Row]]:
        """Send the rows that are left, and tell of each bundle once it is acknowledged and written down.

        Raises SendError when it cannot go on: to call the same again goes on from there.
        """
        self._errors.begin()
        self._save()
        for sifted in send_sifted(send, self.table.rows(after=self.done), most=most):
            self._errors.add(_wrong_in(sifted))
            self._progress.rows += len(sifted.found)
            self._save()
            yield sifted
        if self._digest() != self._progress.digest:
            raise SetupError(
                "the file was changed while it was imported: import it again, and what is stored is recognised"
            )
        with writing(self._progress_path):
            self._progress_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others import it."""
        self._alone.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _told(self, *, goes_on: bool, was_another: bool) -> Iterator[str]:
        if goes_on:
            yield f"it goes on after row {self.done}, where it was interrupted"
        if was_another:
            yield "the file, the flags or the server are others than when it was interrupted: it begins anew"
        if self._errors.note is not None:
            yield self._errors.note

    def _save(self) -> None:
        """Write down how far it is, so that it is there whole after whatever happens."""
        self._progress.errors = self._errors.known
        with writing(self._progress_path):
            put(self._progress_path, msgspec.json.encode(self._progress))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Have nobody else import a table meanwhile, be it by another name, nor write the files that are beside this one."""
    # By the stem, because tables of one stem have one file of errors.
    paths = {
        each.with_name(f"{each.stem}.importing") for each in (_in_real_folder(path), path.resolve())
    }
    with ExitStack() as claims:
        for each in sorted(paths):
            claims.enter_context(_claimed(each))
        yield


def _in_real_folder(path: Path) -> Path:
    return path.parent.resolve() / path.name


@contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Have a claim on a file that goes away with it. Raises SetupError while another import has it."""
    held = _claim_on(path)
    try:
        yield
    finally:
        with suppress(OSError):  # Some systems don't remove what is open.
            path.unlink()
        held.close()


def _claim_on(path: Path) -> Claim:
    while True:
        try:
            found = claim(path)
        except SetupError as error:
            raise SetupError(f"{error}; {WHY_BESIDE}") from None
        if found is None:
            raise SetupError(f"another import of this table is under way, which has {path}")
        if path.exists():
            return found
        found.close()  # It went away with the one before.


def _wrong_in(sifted: Sifted[Row]) -> list[Wrong]:
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
