"""What all processes of one server have counted: whichever is asked tells the sum.

Each process writes its figures to a file of its own in a folder they share, once in a while and
when it ends. What a process that has ended counted is added to one file for all such, so that no
counter ever goes back.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from cloudsignal.server.metrics import Figures, total

EVERY_S: Final = 1.0
"""How old the figures of the other processes may be."""
ENDED: Final = "ended"
"""The name of those that have ended, all together."""
_SUFFIX: Final = ".figures"


class Scoreboard:
    """One process's part of it; ``own`` tells what this process has counted."""

    def __init__(self, path: Path | None, own: Callable[[], Figures]) -> None:
        """``path`` is the process's own in the shared folder. Without one there is no other process."""
        self._path = path and path.with_suffix(_SUFFIX)
        self._own = own

    def publish(self) -> None:
        """Let the others know what was counted here so far."""
        if self._path is not None:
            with suppress(OSError):  # A full disk costs figures and nothing else.
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


def settle(path: Path) -> None:
    """Keep what a process counted that has ended; what waited in it waits no longer."""
    own, ended = path.with_suffix(_SUFFIX), path.with_name(ENDED + _SUFFIX)
    figures = total([_read(ended), _read(own)])
    figures.waiting = 0
    with suppress(OSError):
        _write(ended, figures)
        own.unlink(missing_ok=True)


def _write(path: Path, figures: Figures) -> None:
    # Aside and then into place: whoever reads finds all of it.
    draft = path.with_suffix(".draft")
    draft.write_bytes(msgspec.msgpack.encode(figures))
    draft.replace(path)


def _read(path: Path) -> Figures:
    """The figures in a file; none if it is not there, or gone by now."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Figures)
    except (OSError, msgspec.DecodeError):
        return Figures()
