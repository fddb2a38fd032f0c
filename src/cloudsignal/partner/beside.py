"""Files that are kept beside others: under a name that is free, and there whole after whatever happens."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Final

from cloudsignal.partner.errors import SetupError

WHY_BESIDE: Final = "an import keeps its progress and its errors beside the table"


def vacant(path: Path) -> Path:
    """A path, or one like it, where there is nothing yet."""
    numbered = (path.with_name(f"{path.stem}.{n}{path.suffix}") for n in count(2))
    return next(each for each in chain([path], numbered) if not os.path.lexists(each))


def put(path: Path, content: bytes) -> None:
    """Have a file hold this; whenever it is looked at, it holds all of it or what it held before. Raises OSError."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """See to it that the name of a file is on disk, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what keeps a file from being written beside a table that is imported into SetupError."""
    try:
        yield
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}; {WHY_BESIDE}") from None
