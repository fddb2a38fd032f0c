"""What all processes of one server have counted: whichever is asked tells the sum.

Each process writes its figures to a file of its own in a folder they share, once in a while and
when it ends. The files of processes that ended stay, so that no counter ever goes back.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from cloudsignal.server.metrics import Figures, total

EVERY_S: Final = 1.0
"""How old the figures of the other processes may be."""
_SUFFIX: Final = ".figures"


class Scoreboard:
    """One process's part of it; ``own`` tells what this process has counted."""

    def __init__(self, folder: Path | None, own: Callable[[], Figures]) -> None:
        """Without a folder there is no other process."""
        self._path = folder and folder / f"{os.getpid()}{_SUFFIX}"
        self._own = own

    def publish(self) -> None:
        """Let the others know what was counted here so far."""
        if self._path is not None:
            _write(self._path, self._own())

    async def keep_published(self) -> None:
        """Do so for as long as the server runs."""
        while self._path is not None:
            self.publish()
            await asyncio.sleep(EVERY_S)

    def total(self) -> Figures:
        """What all processes have counted."""
        figures = [self._own()]
        if self._path is not None:
            others = set(self._path.parent.glob(f"*{_SUFFIX}")) - {self._path}
            figures += [_read(path) for path in others]
        return total(figures)


def settle(folder: Path, pid: int) -> None:
    """Note that a process has ended: what waited in it waits no longer."""
    path = folder / f"{pid}{_SUFFIX}"
    if path.exists():
        figures = _read(path)
        figures.waiting = 0
        _write(path, figures)


def _write(path: Path, figures: Figures) -> None:
    # Aside and then into place: whoever reads finds all of it.
    draft = path.with_suffix(".draft")
    draft.write_bytes(msgspec.msgpack.encode(figures))
    draft.replace(path)


def _read(path: Path) -> Figures:
    return msgspec.msgpack.decode(path.read_bytes(), type=Figures)
