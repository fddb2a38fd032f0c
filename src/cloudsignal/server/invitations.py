"""Links by which people choose their passwords, once: what is secret of them, and how long they are good."""

import secrets
from typing import Final

from cloudsignal.protocol.units import HOUR_US
from cloudsignal.server.keys import Keyring
from cloudsignal.server.store.store import Store

PATH: Final = "/panel/invitation/"
"""Where they lead to; the secret follows."""
GOOD_HOURS: Final = 72
GOOD_US: Final = GOOD_HOURS * HOUR_US


def invite(store: Store, keyring: Keyring, user: int, *, now: int) -> str:
    """The path of a link by which a user chooses a password. Raises NotFound, StoreUnavailable."""
    secret = secrets.token_urlsafe(32)
    store.users.invite(user, keyring.digest(secret), ends=now + GOOD_US)
    return PATH + secret


def invite_first(store: Store, keyring: Keyring, *, now: int) -> str | None:
    """The path of the link by which the first user is made; None if there is somebody. Raises StoreUnavailable."""
    secret = secrets.token_urlsafe(32)
    made = store.users.invite_first(keyring.digest(secret), ends=now + GOOD_US)
    return PATH + secret if made else None
