"""What order owners are told: the CloudSignal Webhooks 2.0 and 2.1, each type declared once.

A class is a type: its name is the wire value, its docstring the documentation. The server makes them from
signals, and the receiver's helper reads them, Cloudprinter's own too.
"""

from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType

from cloudsignal.protocol import datetimes, signals
from cloudsignal.protocol.signals import Signal
from cloudsignal.protocol.units import SECOND_US

Format = Literal["cloudsignal-2.0", "cloudsignal-2.1"]
"""2.1 has the address at which a parcel can be followed, ``url``, in ItemShipped."""
FORMATS: Final[tuple[Format, ...]] = get_args(Format)


class Webhook(Struct, kw_only=True, frozen=True, tag_field="type", tag=True):
    """One fact that an order's owner is told.

    ``order`` is the platform's id, ``order_reference`` the owner's own, empty if it is not known; ``datetime`` is
    ISO 8601 in whole seconds, with offset. ``apikey`` is the owner's, to be checked by the receiver.
    """

    apikey: str
    order: str
    order_reference: str = ""
    datetime: str


class CloudprinterOrderValidated(Webhook, frozen=True):
    """The platform received the order and accepted it."""


class CloudprinterOrderCanceled(Webhook, frozen=True):
    """The order is canceled: every item of it."""


class ItemWebhook(Webhook, kw_only=True, frozen=True):
    """One fact about one item; ``item_reference`` is the owner's own, empty if it is not known."""

    item: str
    item_reference: str = ""


class ItemValidated(ItemWebhook, frozen=True):
    """The production received the item, checked it and accepted it."""


class ItemProduce(ItemWebhook, frozen=True):
    """Production of the item has started."""


class ItemProduced(ItemWebhook, frozen=True):
    """Production of the item is complete."""


class ItemPacked(ItemWebhook, frozen=True):
    """The item is packed."""


class ItemShipped(ItemWebhook, kw_only=True, frozen=True):
    """The item left the house."""

    tracking: str = ""
    shipping_option: str = ""
    url: str | UnsetType = UNSET


class ItemError(ItemWebhook, kw_only=True, frozen=True):
    """Something went wrong that can be mended; ``delay`` is in hours, as a string."""

    cause: str = ""
    delay: str = ""


class ItemCanceled(ItemWebhook, kw_only=True, frozen=True):
    """The production gave up the item."""

    cause: str = ""
    message: str = ""


class ItemDeliveryStarted(ItemWebhook, kw_only=True, frozen=True):
    """The carrier has the parcel. Only Cloudprinter sends it, in 2.1."""

    message: str = ""


class ItemDeliveryCompleted(ItemWebhook, kw_only=True, frozen=True):
    """The parcel was delivered. Only Cloudprinter sends it, in 2.1."""

    message: str = ""


class ItemDeliveryFailed(ItemWebhook, kw_only=True, frozen=True):
    """The parcel could not be delivered. Only Cloudprinter sends it, in 2.1."""

    message: str = ""


AnyWebhook = (
    CloudprinterOrderValidated
    | CloudprinterOrderCanceled
    | ItemValidated
    | ItemProduce
    | ItemProduced
    | ItemPacked
    | ItemShipped
    | ItemError
    | ItemCanceled
    | ItemDeliveryStarted
    | ItemDeliveryCompleted
    | ItemDeliveryFailed
)
"""One of the webhook types, told apart by ``type``."""

WEBHOOK_OF: Final[dict[type[Signal], type[ItemWebhook]]] = {
    signals.ItemRegistered: ItemValidated,
    signals.ItemProduce: ItemProduce,
    signals.ItemProduced: ItemProduced,
    signals.ItemPacked: ItemPacked,
    signals.ItemShipped: ItemShipped,
    signals.ItemDelay: ItemError,
    signals.ItemError: ItemError,
    signals.ItemCanceled: ItemCanceled,
}
"""What becomes of each type of signal on its way to the owner."""
SENT: Final[tuple[type[Webhook], ...]] = (
    CloudprinterOrderValidated,
    CloudprinterOrderCanceled,
    *dict.fromkeys(WEBHOOK_OF.values()),
)
"""The types that the server sends: those an endpoint can choose from."""

WEBHOOK_TYPES: Final[tuple[type[AnyWebhook], ...]] = get_args(AnyWebhook)
KNOWN: Final = {webhook.__name__: webhook for webhook in WEBHOOK_TYPES}
encode: Final = msgspec.json.Encoder().encode


def webhook_of(
    signal: Signal,
    instant: int,
    *,
    apikey: str,
    order_reference: str = "",
    item_reference: str = "",
    url: str | UnsetType = UNSET,
) -> ItemWebhook:
    """What the owner is told of a signal that happened at an instant, in microseconds since 1970.

    ``url`` is where the parcel can be followed, for those who want 2.1; it counts for ItemShipped only.
    """
    kind = WEBHOOK_OF[type(signal)]
    told: dict[str, Any] = {
        name: getattr(signal, name, None) or "" for name in _own_fields(kind) if name != "url"
    }
    if kind is ItemShipped:
        told["url"] = url
    return kind(
        apikey=apikey,
        order=signal.order,
        order_reference=order_reference,
        item=signal.item,
        item_reference=item_reference,
        datetime=moment(instant),
        **told,
    )


def moment(instant: int) -> str:
    """An instant, in microseconds since 1970, as ``datetime`` has it: in whole seconds.

    Fractions would be ISO 8601 too, but no webhook of the field has any, and who reads these may expect none.
    """
    return datetimes.write(instant - instant % SECOND_US)


def _own_fields(kind: type[ItemWebhook]) -> tuple[str, ...]:
    return kind.__struct_fields__[len(ItemWebhook.__struct_fields__) :]
