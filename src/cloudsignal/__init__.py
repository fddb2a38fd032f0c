"""A self-hosted system around the CloudSignal API 2.0.

What a print partner's program needs has its name here.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cloudsignal.version import __version__

if TYPE_CHECKING:
    from cloudsignal.partner.client import AsyncClient as AsyncClient
    from cloudsignal.partner.client import Client as Client
    from cloudsignal.partner.errors import CloudSignalError as CloudSignalError
    from cloudsignal.partner.errors import InvalidSignals as InvalidSignals
    from cloudsignal.partner.errors import KeyRefused as KeyRefused
    from cloudsignal.partner.errors import NoAnswer as NoAnswer
    from cloudsignal.partner.errors import NotNow as NotNow
    from cloudsignal.partner.errors import NotSent as NotSent
    from cloudsignal.partner.errors import OutboxError as OutboxError
    from cloudsignal.partner.errors import OutboxFull as OutboxFull
    from cloudsignal.partner.errors import OutboxUnusable as OutboxUnusable
    from cloudsignal.partner.errors import Refused as Refused
    from cloudsignal.partner.errors import SendError as SendError
    from cloudsignal.partner.errors import SetupError as SetupError
    from cloudsignal.partner.errors import StrangeAnswer as StrangeAnswer
    from cloudsignal.partner.errors import WrongAddress as WrongAddress
    from cloudsignal.partner.outbox.outbox import Outbox as Outbox
    from cloudsignal.partner.receipts import Receipt as Receipt
    from cloudsignal.partner.times import now as now
    from cloudsignal.partner.times import text_of as text_of
    from cloudsignal.protocol.signals import ItemCanceled as ItemCanceled
    from cloudsignal.protocol.signals import ItemDelay as ItemDelay
    from cloudsignal.protocol.signals import ItemError as ItemError
    from cloudsignal.protocol.signals import ItemPacked as ItemPacked
    from cloudsignal.protocol.signals import ItemProduce as ItemProduce
    from cloudsignal.protocol.signals import ItemProduced as ItemProduced
    from cloudsignal.protocol.signals import ItemRegistered as ItemRegistered
    from cloudsignal.protocol.signals import ItemShipped as ItemShipped
    from cloudsignal.protocol.signals import Signal as Signal

_PLACES = {
    "cloudsignal.partner.receipts": "Receipt",
    "cloudsignal.partner.client": "AsyncClient Client",
    "cloudsignal.partner.errors": "CloudSignalError InvalidSignals KeyRefused NoAnswer NotNow NotSent"
    " OutboxError OutboxFull OutboxUnusable Refused SendError SetupError StrangeAnswer WrongAddress",
    "cloudsignal.partner.outbox.outbox": "Outbox",
    "cloudsignal.partner.times": "now text_of",
    "cloudsignal.protocol.signals": "ItemCanceled ItemDelay ItemError ItemPacked ItemProduce"
    " ItemProduced ItemRegistered ItemShipped Signal",
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names.split()}
__all__ = ["__version__", *sorted(_PLACE_OF)]


def __getattr__(name: str) -> Any:
    # When they are asked for: a server, or a command that needs none of them, starts without.
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACE_OF[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
