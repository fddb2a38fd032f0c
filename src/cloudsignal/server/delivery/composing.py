"""What is told at an endpoint of a signal, in its format. Less the key, which is put in on the way out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Struct

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.signals import ItemShipped, Signal
from cloudsignal.protocol.webhooks import encode, webhook_of
from cloudsignal.server.delivery.lineup import Delivery
from cloudsignal.server.store import messages
from cloudsignal.server.store.deliveries import ORDER_CANCELED, is_told, order_canceled, type_of
from cloudsignal.server.store.endpoints import Endpoint
from cloudsignal.server.store.owned import Owned

_NO_KEY: Final = b'"apikey":""'


class _Dated(Struct, frozen=True):
    datetime: str


_dated: Final = msgspec.json.Decoder(_Dated).decode


class Composer:
    """Makes webhooks of signals.

    ``store`` is the identity of the store; ``templates`` has for shipping options how parcels can be followed,
    where their order does not say it.
    """

    def __init__(self, store: str, templates: Mapping[str, str]) -> None:
        self._store = store
        self._templates = templates

    def told(self, owned: Owned, endpoint: Endpoint) -> Iterator[Delivery]:
        """What is told of a signal at an endpoint, in that order; nothing if it does not want to know."""
        kind = type_of(owned.type)
        if is_told(endpoint, kind, test=owned.test):
            yield self.item(owned, endpoint)
        if owned.cancels_order and is_told(endpoint, ORDER_CANCELED, test=owned.test):
            yield self._order_canceled(owned)

    def item(self, owned: Owned, endpoint: Endpoint) -> Delivery:
        """What is told of the item that a signal is about."""
        report = owned.report
        told = webhook_of(
            report.signal,
            report.datetime,
            apikey="",
            order_reference=owned.order_reference,
            item_reference=owned.item_reference,
            url=UNSET if endpoint.format == "cloudsignal-2.0" else self._url(owned, report.signal),
        )
        return Delivery(
            message=messages.of_signal(self._store, owned.position),
            position=owned.position,
            line=owned.number,
            type=type(told).__name__,
            order=owned.order,
            item=owned.item,
            webhook=encode(told).decode(),
            happened=owned.datetime,
            received=owned.received,
        )

    def _order_canceled(self, owned: Owned) -> Delivery:
        return Delivery(
            message=messages.of_order(self._store, ORDER_CANCELED, owned.order),
            position=owned.position,
            line=owned.number,
            type=ORDER_CANCELED,
            order=owned.order,
            item="",
            webhook=order_canceled(owned),
        )

    def _url(self, owned: Owned, signal: Signal) -> str:
        """Where a parcel can be followed; empty if it is not known."""
        if not isinstance(signal, ItemShipped):
            return ""
        return tracking_url(signal, owned.urls, self._templates)


def templates(given: Sequence[str]) -> dict[str, str]:
    """For shipping options, how parcels can be followed, as the settings have it."""
    return dict(each.split("=", 1) for each in given)


class Parcel(Protocol):
    """What a parcel is followed by."""

    @property
    def tracking(self) -> str: ...
    @property
    def shipping_option(self) -> str: ...


def tracking_url(parcel: Parcel, *templates: Mapping[str, str]) -> str:
    """Where a parcel can be followed, by the first of these that knows its shipping option; empty if none does."""
    known = (each.get(parcel.shipping_option) for each in templates)
    return next(filter(None, known), "").replace("{tracking}", quote(parcel.tracking, safe=""))


def happened(webhook: str) -> int:
    """When what is told happened."""
    return datetimes.reread(_dated(webhook).datetime)


def keyed(webhook: str, apikey: str) -> bytes:
    """The body that is posted: with the endpoint's key in it."""
    # The first there is: what comes before it, the type, is none of anybody's words.
    return webhook.encode().replace(_NO_KEY, b'"apikey":' + encode(apikey), 1)
