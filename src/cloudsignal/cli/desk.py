"""Where keys are given out: what the commands share that make print partners, owners, keys and tokens."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from cloudsignal.cli.output import Failed, opened
from cloudsignal.cli.unseen import HINT, unseen

if TYPE_CHECKING:
    from cloudsignal.server.keys import Keyring
    from cloudsignal.server.settings import Settings
    from cloudsignal.server.store.access import Access, Key
    from cloudsignal.server.store.orders import Orders, OwnerKey
    from cloudsignal.server.store.posts import Posts

HOUR_US: Final = 3600 * 1_000_000
OVERLAP_HOURS_MAX: Final = 8760.0
NAME_MAX: Final = 255

GivenKey = Annotated[
    str | None,
    typer.Option(
        "--apikey",
        metavar="32-HEX",
        callback=unseen,
        help=f"The key to use, instead of a new one. {HINT}",
    ),
]
Overlap = Annotated[
    float,
    typer.Option(
        min=0,
        max=OVERLAP_HOURS_MAX,
        help="For how long the old key stays valid beside the new one.",
    ),
]


class Desk(NamedTuple):
    """What is at hand there.

    Who may speak, whose orders there are, which posts came, how keys are digested, the time, the settings.
    """

    access: "Access"
    orders: "Orders"
    posts: "Posts"
    keyring: "Keyring"
    now: int
    settings: "Settings"

    def is_valid(self, key: "Key | OwnerKey") -> bool:
        """Whether a key still opens what it is for."""
        return key.expires is None or key.expires > self.now

    def hours_from_now(self, hours: float) -> int:
        """The instant so many hours from now."""
        return self.now + int(hours * HOUR_US)


@contextmanager
def at_desk(database: str | None, config: Path | None) -> Iterator[Desk]:
    """The desk of the store that a flag or the settings name. Raises Failed."""
    with opened(database, config) as (store, settings):
        from cloudsignal.server import clock
        from cloudsignal.server.keys import open_keyring

        keyring = open_keyring(settings, store)
        yield Desk(store.access, store.orders, store.posts, keyring, clock.now(), settings)


def checked_name(name: str) -> str:
    """A name, as it was given. Raises Failed when it cannot be one."""
    if not name.strip() or len(name) > NAME_MAX or not name.isprintable():
        raise Failed(f"a name has 1 to {NAME_MAX} printable characters")
    return name


def checked_key(apikey: str | None) -> str:
    """The key that was given, else a new one. Raises Failed when it cannot be one."""
    from cloudsignal.server.keys import APIKEY, new_apikey

    if apikey is None:
        return new_apikey()
    if not APIKEY.fullmatch(apikey):
        raise Failed(
            "--apikey must be 32 lower-case hex characters, such as `openssl rand -hex 16`"
        )
    return apikey
