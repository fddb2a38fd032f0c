"""What can go wrong with a store."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

KEY_IN_USE: Final = "this key is already in use: keys are never shared"
"""What AlreadyThere says of keys."""


class StoreError(Exception):
    """The base of every error of the store."""


class StoreUnavailable(StoreError):
    """The store cannot be read or written just now: full, locked, read-only, or gone."""


class StoreDamaged(StoreUnavailable):
    """What is in the store's file is no database, or not all of one."""


class StoreUnusable(StoreError):
    """The store is not one this program can work with; the message says what to do."""


class ArchiveFailed(StoreError):
    """The archive cannot be written; the message says why, and what to do."""


class CopyDiffers(StoreError):
    """What was copied is not what was to be copied; the message says in what."""


class NotFound(StoreError):
    """There is nothing of that name or number."""


class AlreadyThere(StoreError):
    """Something of that name is already there."""


class TooMany(StoreError):
    """There are as many as there may be; the message says how many, and what to do."""


class LastAdmin(StoreError):
    """Nobody would be left who may change users; the message says whom that is about."""


class Fault(Struct, frozen=True):
    """What is wrong with one of the orders to be registered: with which, in what, and a sentence."""

    index: int
    field: str
    info: str


class RegistrationRefused(StoreError):
    """Orders cannot be registered as they are told, and none of them was; ``faults`` has every reason."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(faults[0].info)
        self.faults = tuple(faults)
