"""Orders as they are told to be registered, in JSON or in rows, and everything that is wrong with them."""

import re
from collections.abc import Mapping
from datetime import UTC
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct, field

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.refusals import DETAILS_MAX
from cloudsignal.protocol.signals import Item, Order, ShippingOption
from cloudsignal.server.store.errors import Fault
from cloudsignal.server.store.orders import ITEMS_MAX, REGISTRATIONS_MAX, Registration

T = TypeVar("T")

BODY_BYTES_MAX: Final = 8 << 20
"""The largest body with orders that is read."""
NAME_CHARACTERS_MAX: Final = 255
REFERENCE_CHARACTERS_MAX: Final = 255
URL_CHARACTERS_MAX: Final = 2000
TRACKING_URLS_MAX: Final = 100
"""For how many shipping options an order may have one."""

# Ends as in protocol/signals.py: `$` would let a trailing newline through in Python.
_END: Final = r"(?![\s\S])"
_LINE: Final = rf"^[^\x00-\x1f\x7f-\x9f]*{_END}"

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=NAME_CHARACTERS_MAX,
        pattern=rf"^(?=.*\S)[^\x00-\x1f\x7f-\x9f]+{_END}",
        extra={"rule": f"a name of 1 to {NAME_CHARACTERS_MAX} characters in one line"},
    ),
]
Reference = Annotated[
    str,
    Meta(
        max_length=REFERENCE_CHARACTERS_MAX,
        pattern=_LINE,
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
        pattern=r"^https?://[^\s{}\x00-\x1f\x7f-\x9f]*\{tracking\}[^\s{}\x00-\x1f\x7f-\x9f]*"
        + _END,
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


class Wrong(Struct, frozen=True):
    """One thing that is wrong: where, and a sentence."""

    at: str
    info: str

    def __str__(self) -> str:
        """The sentence with its place."""
        return f"{self.at}: {self.info}" if self.at else self.info


class Unfit(Exception):
    """What was told cannot be taken; ``wrong`` is everything, ``DETAILS_MAX`` things at most."""

    def __init__(self, wrong: list[Wrong]) -> None:
        self.wrong = wrong[:DETAILS_MAX]
        super().__init__(str(wrong[0]))


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
    wrong = _wrong_fields(Registrations, value, "", but="orders")
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


def decoded(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises Unfit."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unfit([Wrong("", f"the body is not JSON: {error}")]) from None
    if not isinstance(value, dict):
        raise Unfit([Wrong("", "the body must be one JSON object")])
    return value


def registration(value: Any, place: str = "") -> Registration:
    """What is told of one order. Raises Unfit with everything that is wrong with it."""
    order = converted(value, OrderRegistration, place)
    names = [each.item for each in order.items]
    wrong = (
        [
            Wrong(_below(place, f"items[{index}].item"), "this item is named twice")
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
        wrong.append(Wrong(_below(place, "due"), f"cannot be read: {error}"))
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


def converted(value: Any, type: type[T], place: str = "") -> T:
    """A value as a Struct of this type. Raises Unfit with everything that is wrong."""
    try:
        return msgspec.convert(value, type)
    except msgspec.ValidationError:
        raise Unfit(_wrong(type, value, place)) from None


# ---- what is wrong: only walked when something is ------------------------------------------------


def _wrong(type: type[Any], value: Any, place: str) -> list[Wrong]:
    if not isinstance(value, dict):
        return [Wrong(place, "must be an object")]
    wrong = _wrong_fields(type, value, place)
    hints = get_type_hints(type, include_extras=True)
    for each in msgspec.structs.fields(type):
        at = _below(place, each.name)
        given = value.get(each.name)
        if given is None and (each.required or each.name in value):
            if each.required:
                wrong.append(Wrong(at, f"is missing: it must be {_rule(hints[each.name])}"))
            elif not _fits(given, hints[each.name]):
                wrong.append(Wrong(at, "must not be null: leave it out"))
        elif given is not None:
            wrong += _wrong_value(hints[each.name], given, at)
    return wrong


def _wrong_fields(
    type: type[Any], value: Mapping[str, Any], place: str, but: str = ""
) -> list[Wrong]:
    known = type.__struct_fields__
    info = f"there is no such field, there are {', '.join(known)}"
    return [Wrong(_below(place, name), info) for name in value if name not in (*known, but)]


def _wrong_value(hint: Any, value: Any, at: str) -> list[Wrong]:
    member = _member(hint)
    if member is None:
        return [] if _fits(value, hint) else [Wrong(at, f"must be {_rule(hint)}")]
    if not isinstance(value, list) or len(value) > ITEMS_MAX:
        return [Wrong(at, f"must be an array of at most {ITEMS_MAX} items")]
    return [
        wrong
        for index, each in enumerate(value)
        if not _fits(each, member)
        for wrong in _wrong(member, each, f"{at}[{index}]")
    ]


def _fits(value: Any, hint: Any) -> bool:
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError:
        return False
    return True


def _member(hint: Any) -> Any:
    """What a list is a list of, None for what is no list."""
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return get_args(plain)[0] if get_origin(plain) is list else None


def _rule(hint: Any) -> str:
    """What a value must be, in words."""
    for meta in getattr(hint, "__metadata__", ()):
        if "rule" in (meta.extra or {}):
            return str(meta.extra["rule"])
    for each in get_args(hint):
        if rule := _rule(each):
            return rule
    return "true or false" if hint is bool else ""


def _below(place: str, name: str) -> str:
    shown = re.sub(r"[^\x20-\x7e]", "?", name)[:NAME_CHARACTERS_MAX]
    return f"{place}.{shown}" if place else shown
