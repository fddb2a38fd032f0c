"""Passwords, by the digests by which they are known."""

import asyncio
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from cloudsignal.server.rules import PASSWORD_CHARS_MAX

AT_ONCE_MAX: Final = 2
"""How many are digested at once: each takes 64 MiB meanwhile."""

_hasher: Final = PasswordHasher()
# What is compared where nobody has that name, so that it takes as long as where somebody has.
_NOBODYS: Final = _hasher.hash("nobody's password")


class Passwords:
    """Digests and compares passwords in threads, a few at once; made where an event loop runs."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE_MAX)

    async def digest(self, password: str) -> str:
        """What a password is known by from now on."""
        async with self._room:
            return await asyncio.to_thread(_hasher.hash, password)

    async def is_right(self, password: str, digest: str) -> bool:
        """Whether that is the password of a digest; never where there is none, which takes as long."""
        if len(password) > PASSWORD_CHARS_MAX:
            return False
        async with self._room:
            return await asyncio.to_thread(_is_right, password, digest)


def _is_right(password: str, digest: str) -> bool:
    try:
        _hasher.verify(digest or _NOBODYS, password)
    except (VerificationError, InvalidHashError):
        return False
    return bool(digest)
