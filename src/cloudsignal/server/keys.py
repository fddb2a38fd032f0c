"""Making keys and tokens, and the digests by which the store knows them."""

import os
import re
import secrets
import tempfile
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

from cloudsignal.server.settings import Settings, SettingsError
from cloudsignal.server.store.backends import backend_of
from cloudsignal.server.store.errors import StoreUnusable
from cloudsignal.server.store.store import Store

APIKEY: Final = re.compile(r"[0-9a-f]{32}")
"""What a key of an interface looks like: 128 bits in lower-case hex."""
TOKEN_PREFIX: Final = "cst_"
SECRET_BYTES: Final = 32

_KNOWN: Final = "cloudsignal"


class Keyring:
    """Digests keys with a secret: the store alone is of no use to a thief."""

    def __init__(self, secret: str) -> None:
        self._key = blake2b(secret.encode(), digest_size=SECRET_BYTES).digest()

    def digest(self, key: str) -> str:
        """What the store knows a key or token by."""
        return blake2b(key.encode(), key=self._key, digest_size=20).hexdigest()

    def check(self, store: Store) -> None:
        """Make sure that the keys of this store were digested with this secret.

        Raises StoreUnusable when they were not: every key would be unknown.
        """
        mine = self.digest(_KNOWN)
        # Nodes that start together on a new store may each believe to be the first.
        known = store.access.secret_check() or store.access.agree_on_secret_check(mine)
        if not secrets.compare_digest(known, mine):
            raise StoreUnusable(
                "the secret is not the one this store's keys were made with: bring back the file"
                " PATH.secret that belongs to the store, or set CLOUDSIGNAL_SECRET_FILE to it"
            )


def open_keyring(settings: Settings, store: Store) -> Keyring:
    """The keyring that this store's keys were digested with.

    Raises SettingsError when its secret is missing or cannot be read, StoreUnusable when it is
    another one.
    """
    is_new = store.access.secret_check() is None
    keyring = Keyring(secret_of(settings, make=is_new))
    keyring.check(store)
    return keyring


def new_apikey() -> str:
    """A new key for an interface."""
    return secrets.token_hex(16)


def new_token() -> str:
    """A new bearer token; the prefix lets secret scanners find one that was published."""
    return TOKEN_PREFIX + secrets.token_hex(16)


def secret_of(settings: Settings, *, make: bool = True) -> str:
    """The secret from the settings, else the one beside the store, made there if it may be.

    Raises SettingsError when the file cannot be read or made, or there is no place for one.
    """
    if settings.secret:
        return settings.secret
    path = backend_of(settings.database).secret_path
    if path is None:
        raise SettingsError(
            "this store needs a secret that all of its nodes share: write one to a file with"
            " `openssl rand -hex 32`, and set CLOUDSIGNAL_SECRET_FILE to its path"
        )
    try:
        if not path.exists():
            if not make:
                raise SettingsError(
                    f"the secret of this store is missing: bring {path} back, or set"
                    " CLOUDSIGNAL_SECRET_FILE to a copy of it"
                )
            _make_secret(path)
        secret = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingsError(f"the secret in {path} cannot be used: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"the secret in {path} cannot be used: it is not text") from None
    if not secret:
        raise SettingsError(f"the secret in {path} is empty: bring back the one of this store")
    return secret


def _make_secret(path: Path) -> None:
    # Written aside and linked into place, so that of two programs that start together one wins and
    # the other reads a whole file.
    descriptor, draft = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()
