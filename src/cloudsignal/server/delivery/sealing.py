"""Secrets of endpoints, encrypted at rest: the store alone is of no use to a thief.

A sealed secret is ``v1``, the mark of the key, a nonce and the encrypted text, as one word of ASCII.
"""

import binascii
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION: Final = "v1"
_NONCE_BYTES: Final = 12
# Each use of the server's secret has a key of its own, told apart by these.
_KEY: Final = b"cs sealing v1"
_MARK: Final = b"cs mark v1"


class SealError(Exception):
    """A sealed secret cannot be opened."""


class WrongSecret(SealError):
    """It was sealed with another secret of the server."""


class Sealer:
    """Seals and opens with a key that follows from the server's secret; shows neither."""

    def __init__(self, secret: str, *, random: Callable[[int], bytes] = os.urandom) -> None:
        key = blake2b(secret.encode(), digest_size=32, person=_KEY).digest()
        self._cipher = AESGCM(key)
        self._mark = blake2b(key, digest_size=4, person=_MARK).hexdigest()
        self._random = random

    def seal(self, plain: str, *, of: str) -> str:
        """A secret as it may be stored; ``of`` says whose it is, and only as that one's can it be opened."""
        nonce = self._random(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, plain.encode(), of.encode())
        return ".".join((_VERSION, self._mark, urlsafe_b64encode(sealed).decode()))

    def open(self, sealed: str, *, of: str) -> str:
        """The secret that was sealed.

        Raises WrongSecret when the server's secret is another one now, SealError when what was stored is
        damaged, somebody else's, or of a newer version.
        """
        version, _, rest = sealed.partition(".")
        mark, _, text = rest.partition(".")
        if version != _VERSION or not text:
            raise SealError(
                "it is not sealed as this version of the server does it: was the store used by a newer one?"
            )
        if mark != self._mark:
            raise WrongSecret(
                "it was sealed with another secret than the server's: bring back the file PATH.secret that"
                " belongs to the store, or set CLOUDSIGNAL_SECRET_FILE to it; or give the endpoint new secrets"
            )
        try:
            found = urlsafe_b64decode(text)
            nonce, encrypted = found[:_NONCE_BYTES], found[_NONCE_BYTES:]
            return self._cipher.decrypt(nonce, encrypted, of.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError):
            raise SealError(
                f"it is damaged, or not that of {of}: give the endpoint new secrets"
            ) from None
