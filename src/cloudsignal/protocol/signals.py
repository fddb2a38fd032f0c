"""Every signal type and every field of the CloudSignal API 2.0, declared once.

A class is a type: its name is the wire value, its docstring the documentation, its annotations the
validation, ``effect`` what it does to an item. Decoding, error sentences, the OpenAPI document, the
reference and the command line's flags are derived from these classes.
"""

from typing import Annotated, Any, ClassVar, Literal, get_args, get_type_hints

from msgspec import Meta, Struct

Effect = Literal["registered", "producing", "produced", "packed", "shipped", "canceled", "delayed"]

# Written so that Python's and ECMAScript's dialects (JSON Schema) read the same: `(?![\s\S])` is
# the end of the text in both, where `$` would let a trailing newline through in Python.
_END = r"(?![\s\S])"
_LINE = rf"^(?=.*\S)[^\x00-\x1f\x7f-\x9f]+{_END}"
_BELOW_8760 = r"(?:[0-9]{1,3}|[0-7][0-9]{3}|8[0-6][0-9]{2}|87[0-5][0-9])"
_HOURS = rf"^(?:{_BELOW_8760}(?:\.[0-9]{{1,9}})?|8760(?:\.0{{1,9}})?){_END}"

_ID_RULE = "a string of 1 to 128 characters without control characters, not only white space"
_LINE_RULE = "a string of 1 to 255 characters without control characters, not only white space"

Order = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=_LINE,
        description="the order id, as the platform gave it",
        examples=["123456780000"],
        extra={"rule": _ID_RULE},
    ),
]
Item = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=_LINE,
        description="the item id, as the platform gave it",
        examples=["123456780001"],
        extra={"rule": _ID_RULE},
    ),
]
Datetime = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="when it happened at the print partner",
        examples=["2016-01-20 13:00:00 GMT"],
        extra={
            "rule": "a date and time such as 2016-01-20 13:00:00 GMT or 2016-01-20T14:00:00+01:00",
            "error": "invalid_datetime",
        },
    ),
]
Tracking = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=_LINE,
        description="the tracking number of the parcel",
        examples=["1A2B3C4D5E6F"],
        extra={"rule": _LINE_RULE, "empty_is_missing": True},
    ),
]
ShippingOption = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=_LINE,
        description="the shipping option the item left with",
        examples=["GLS"],
        extra={"rule": _LINE_RULE, "empty_is_missing": True},
    ),
]
DelayCause = Annotated[
    str,
    Meta(
        max_length=2000,
        description="why the item will be late",
        examples=["Print error, reprint needed"],
        extra={"rule": "a string of at most 2000 characters"},
    ),
]
CancelCause = Annotated[
    str,
    Meta(
        max_length=255,
        description="why the item is given up: one of the published cancellation causes",
        examples=["CancelBookSize"],
        extra={"rule": "a string of at most 255 characters"},
    ),
]
Message = Annotated[
    str,
    Meta(
        max_length=2000,
        description="the cause in words",
        examples=["Book has wrong width"],
        extra={"rule": "a string of at most 2000 characters"},
    ),
]
Delay = Annotated[
    str,
    Meta(
        max_length=16,
        pattern=_HOURS,
        description="by how many hours the item will be late",
        examples=["24"],
        extra={
            "rule": 'hours as a decimal string from "0" to "8760", such as "24" or "1.5"',
            "error": "invalid_delay",
        },
    ),
]


class Signal(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="type", tag=True):
    """One fact that a print partner reports about one item (contract, section 3)."""

    effect: ClassVar[Effect]

    order: Order
    item: Item
    datetime: Datetime


class ItemRegistered(Signal, frozen=True):
    """The production received the item, checked it and accepted it."""

    effect = "registered"


class ItemProduce(Signal, frozen=True):
    """Production of the item has started."""

    effect = "producing"


class ItemProduced(Signal, frozen=True):
    """Production of the item is complete."""

    effect = "produced"


class ItemPacked(Signal, frozen=True):
    """The item is packed."""

    effect = "packed"


class ItemShipped(Signal, kw_only=True, frozen=True):
    """The item left the house. Final, unless the item is canceled at a later datetime."""

    effect = "shipped"

    tracking: Tracking
    shipping_option: ShippingOption


class ItemDelay(Signal, kw_only=True, frozen=True):
    """Something went wrong that can be mended: the item will be late."""

    effect = "delayed"

    cause: DelayCause | None = None
    delay: Delay | None = None


class ItemError(ItemDelay, frozen=True):
    """Another name for ItemDelay, deprecated, but the one partners are told to send."""


class ItemCanceled(Signal, kw_only=True, frozen=True):
    """The production gives up the item. Final, unless the item is shipped at a later datetime."""

    effect = "canceled"

    cause: CancelCause | None = None
    message: Message | None = None
    delay: Delay | None = None


AnySignal = (
    ItemRegistered
    | ItemProduce
    | ItemProduced
    | ItemPacked
    | ItemShipped
    | ItemDelay
    | ItemError
    | ItemCanceled
)
"""One of the signal types, told apart by ``type``."""

SIGNAL_TYPES: tuple[type[AnySignal], ...] = get_args(AnySignal)
BY_NAME: dict[str, type[Signal]] = {signal.__name__: signal for signal in SIGNAL_TYPES}

REMOVED_TYPES: dict[str, str] = {
    "OrderRegistered": "OrderRegistered was removed in 2.0: send ItemRegistered for each item",
}
"""Types of version 1.1 that are gone, each with the sentence that says what to send instead."""

CANCELLATION_CAUSES: dict[str, str] = {
    "CancelCoverSpine": "wrong cover spine width",
    "CancelBookSize": "wrong size or orientation of the book block",
    "CancelCoverSize": "wrong size or orientation of the cover",
    "CancelBookCorrupt": "corrupt book block file",
    "CancelCoverCorrupt": "corrupt cover file",
    "CancelBookTrim": "wrong trim size of the book block",
    "CancelCoverTrim": "wrong trim size of the cover",
    "CancelPageCount": "wrong page count of the book block",
    "CancelUnknownFont": "unknown fonts used",
    "CancelBookMargins": "wrong margin size of the book block",
    "CancelCoverMargins": "wrong margin size of the cover",
    "CancelBookRip": "RIP error on the book block",
    "CancelCoverRip": "RIP error on the cover",
    "CancelUserRequest": "asked for by the customer",
    "CancelInkjetCoverage": "too high inkjet coverage",
    "CancelDownloadError": "a file could not be downloaded",
    "CancelValidateError": "validation error",
    "CancelInvalidAddress": "invalid shipping address",
    "CancelTestOrder": "the order is marked as a test",
    "CancelFilesCorrupt": "corrupt files",
    "CancelMiscError": "something else",
}
"""The published cancellation causes 1.0 and what each says of the item."""


class Field(Struct, frozen=True):
    """What is known of one field of a signal type, read from its annotation."""

    name: str
    type: Any
    required: bool
    description: str
    rule: str
    error: str
    empty_is_missing: bool
    example: str


def fields(signal: type[Signal]) -> tuple[Field, ...]:
    """The fields of a signal type in wire order, the common ones first."""
    hints = get_type_hints(signal, include_extras=True)
    required = len(signal.__struct_fields__) - len(signal.__struct_defaults__)
    return tuple(
        _field(name, hints[name], required=index < required or name in _COMMON)
        for index, name in enumerate(signal.__struct_fields__)
    )


_COMMON = Signal.__struct_fields__


def _field(name: str, hint: Any, *, required: bool) -> Field:
    annotated = hint if required else get_args(hint)[0]
    meta: Meta = annotated.__metadata__[0]
    extra = meta.extra or {}
    return Field(
        name=name,
        type=annotated,
        required=required,
        description=meta.description or "",
        rule=extra["rule"],
        error=extra.get("error", "invalid_parameter"),
        empty_is_missing=extra.get("empty_is_missing", False),
        example=(meta.examples or [""])[0],
    )


def example(signal: type[Signal]) -> dict[str, str]:
    """A documented body of this type, less the key, made from the fields' examples."""
    return {"type": signal.__name__} | {field.name: field.example for field in fields(signal)}
