"""The one place that knows SQL: the log, the items folded from it, and who may speak."""

from cloudsignal.server.store.errors import (
    AlreadyThere,
    NotFound,
    StoreError,
    StoreUnavailable,
    StoreUnusable,
)
from cloudsignal.server.store.log import Arrival
from cloudsignal.server.store.store import Store, open_store

__all__ = [
    "AlreadyThere",
    "Arrival",
    "NotFound",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "StoreUnusable",
    "open_store",
]
