"""What only one at a time can have, in any process, and nobody any more once its process has ended."""

import errno
import os
import sys
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Final

from cloudsignal.partner.errors import SetupError

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        # Not lockf: its locks are the process's, so that two in one process would both get it.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_TAKEN: Final = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK})
"""What is said of a lock that another one has."""


class Claim:
    """A lock on a file, held until it is closed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        _claims.add(self)

    def close(self) -> None:
        """Let others have it."""
        if self in _claims:
            _claims.discard(self)
            os.close(self._descriptor)


_claims: Final[weakref.WeakSet[Claim]] = weakref.WeakSet()


def claim(path: Path, *, like: Path | None = None) -> Claim | None:
    """The claim on the file at a path, which is made if it is not there; None while another one has it.

    It belongs to whoever the file ``like`` belongs to: what an administrator did once must not lock the owner out.

    Raises SetupError when there can be no such file.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise SetupError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        if like is not None and hasattr(os, "fchown"):
            owner = like.stat()
            with suppress(OSError):
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        _lock(descriptor)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _TAKEN:
            return None
        raise SetupError(f"{path} cannot be locked: {error.strerror}") from None
    return Claim(descriptor)


def _leave() -> None:
    # A fork has brought the parent's files along: as long as one is open here, its claim would
    # outlive it.
    for each in list(_claims):
        each.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave)
