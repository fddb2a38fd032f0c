"""Orders as they are told to be registered, in JSON or in rows, and everything that is wrong with them."""

from datetime import UTC
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.refusals import DETAILS_MAX
from cloudsignal.protocol.signals import Item, Order, ShippingOption
from cloudsignal.server.bodies import (
    END,
    LINE,
    Name,
    Unfit,
    Wrong,
    below,
    converted,
    decoded,
    wrong_fields,
)
from cloudsignal.server.store.errors import Fault
from cloudsignal.server.store.orders import ITEMS_MAX, REGISTRATIONS_MAX, Registration

BODY_BYTES_MAX: Final = 8 << 20
"""The largest body with orders that is read."""
REFERENCE_CHARACTERS_MAX: Final = 255
URL_CHARACTERS_MAX: Final = 2000
TRACKING_URLS_MAX: Final = 100
"""For how many shipping options an order may have one."""

Reference = Annotated[
    str,
    Meta(
        max_length=REFERENCE_CHARACTERS_MAX,
        pattern=LINE,
        description="what the owner calls it",
        extra={"rule": f"a string of at most {REFERENCE_CHARACTERS_MAX} characters in one line"},
    ),
]
Due = Annotated[
    str,
    Meta(
        max_length=64,
        description="when it has to be sent: a datetime as signals have it, UTC if it names no zone",
        extra={"rule": "a datetime in a string"},
    ),
]
TrackingUrl = Annotated[
    str,
    Meta(
        max_length=URL_CHARACTERS_MAX,
        pattern=r"^https?://[^\s{}\x00-\x1f\x7f-\x9f]*\{tracking\}[^\s{}\x00-\x1f\x7f-\x9f]*" + END,
        description="where a parcel can be followed, with {tracking} in place of its number",
        extra={"rule": "an address that begins with https:// and has {tracking} in it once"},
    ),
]


class ItemRegistration(Struct, frozen=True, forbid_unknown_fields=True):
    """An item of an order, and what its owner calls it."""

    item: Item
    reference: Reference | None = None


class OrderRegistration(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to be registered. What is left out, or null, stays as it was."""

    order: Order
    owner: Name
    partner: Name | None = None
    reference: Reference | None = None
    due: Due | None = None
    tracking_urls: (
        Annotated[
            dict[ShippingOption, TrackingUrl],
            Meta(
                max_length=TRACKING_URLS_MAX,
                description="for shipping options, where a parcel can be followed",
                extra={
                    "rule": "an object: for shipping options, addresses with {tracking} in them"
                },
            ),
        ]
        | None
    ) = None
    items: Annotated[list[ItemRegistration], Meta(max_length=ITEMS_MAX)] = field(
        default_factory=list
    )


class Registrations(Struct, frozen=True, forbid_unknown_fields=True):
    """Several orders to be registered: all of them, or none."""

    orders: Annotated[list[OrderRegistration], Meta(min_length=1, max_length=REGISTRATIONS_MAX)]


class OwnerCreation(Struct, frozen=True, forbid_unknown_fields=True):
    """An owner to be added; ``unregistered`` says that it gets what nobody registered."""

    owner: Name
    unregistered: bool = False


class Told(Struct, frozen=True):
    """Orders to be registered, and whether they came as several."""

    registrations: list[Registration]
    is_bulk: bool

    def unfit(self, faults: tuple[Fault, ...]) -> Unfit:
        """What the store says of them, each with its place."""
        return Unfit(
            [
                Wrong(
                    f"orders[{each.index}].{each.field}" if self.is_bulk else each.field, each.info
                )
                for each in faults
            ]
        )


def read(body: bytes) -> Told:
    """The order of a JSON object, or those in its member ``orders``. Raises Unfit."""
    value = decoded(body)
    if "orders" not in value:
        return Told([registration(value)], is_bulk=False)
    wrong = wrong_fields(Registrations, value, "", but="orders")
    listed = value["orders"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= REGISTRATIONS_MAX:
        wrong.append(Wrong("orders", f"must be an array of 1 to {REGISTRATIONS_MAX} orders"))
        raise Unfit(wrong)
    registrations = []
    for index, each in enumerate(listed):
        try:
            registrations.append(registration(each, f"orders[{index}]"))
        except Unfit as error:
            wrong += error.wrong
            if len(wrong) >= DETAILS_MAX:
                break
    if wrong:
        raise Unfit(wrong)
    return Told(registrations, is_bulk=True)


def read_owner(body: bytes) -> OwnerCreation:
    """The owner of a JSON object. Raises Unfit."""
    return converted(decoded(body), OwnerCreation)


def registration(value: Any, place: str = "") -> Registration:
    """What is told of one order. Raises Unfit with everything that is wrong with it."""
    order = converted(value, OrderRegistration, place)
    names = [each.item for each in order.items]
    wrong = (
        [
            Wrong(below(place, f"items[{index}].item"), "this item is named twice")
            for index, name in enumerate(names)
            if name in names[:index]
        ]
        if len(set(names)) < len(names)
        else []
    )
    due = None
    try:
        due = None if order.due is None else datetimes.parse(order.due, UTC)
    except ValueError as error:
        wrong.append(Wrong(below(place, "due"), f"cannot be read: {error}"))
    if wrong:
        raise Unfit(wrong)
    return Registration(
        order=order.order,
        owner_name=order.owner,
        partner_name=order.partner,
        reference=order.reference,
        due=due,
        tracking_urls=order.tracking_urls,
        items={each.item: each.reference for each in order.items},
    )
