"""What people want of endpoints and of what is told there: the bodies of the API, the flags of commands."""

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from cloudsignal.protocol.webhooks import SENT, Format
from cloudsignal.server.bodies import END, LIST_MAX, Name
from cloudsignal.server.delivery.targets import URL_CHARS_MAX

APIKEY_CHARS_MAX: Final = 255
SECRET_CHARS_MAX: Final = 128
OVERLAP_HOURS: Final = 24.0
OVERLAP_HOURS_MAX: Final = 24.0 * 365
POSITION_MAX: Final = 2**53 - 1
"""The last position that every program reads from JSON as it is."""

_TYPES: Final = tuple(each.__name__ for each in SENT)
WebhookType = Annotated[
    str,
    Meta(
        pattern=f"^({'|'.join(_TYPES)}){END}",
        extra={"rule": f"one of the types of webhooks: {', '.join(_TYPES)}"},
    ),
]
Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=URL_CHARS_MAX,
        description="where webhooks are posted; user:password@ in it becomes Basic authorization",
        extra={"rule": "a URL such as https://owner.example/webhooks"},
    ),
]
Types = Annotated[
    list[WebhookType],
    Meta(
        max_length=len(SENT),
        description="which types of webhooks are sent; none for all",
        extra={"rule": f"an array of types of webhooks: {', '.join(_TYPES)}"},
    ),
]
Apikey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=APIKEY_CHARS_MAX,
        pattern=rf"^[\x21-\x7e]+{END}",
        description="what stands in apikey of every webhook; made if it is left out",
        extra={"rule": f"1 to {APIKEY_CHARS_MAX} visible ASCII characters"},
    ),
]
Secret = Annotated[
    str,
    Meta(
        max_length=SECRET_CHARS_MAX,
        pattern=rf"^whsec_[A-Za-z0-9+/]+=*{END}",
        description="what webhooks are signed with, whsec_ and then base64; made if it is left out",
        extra={"rule": "whsec_ and then base64"},
    ),
]
FormatOf = Annotated[
    Format,
    Meta(
        description="2.1 has in ItemShipped where the parcel can be followed",
        extra={"rule": "cloudsignal-2.0 or cloudsignal-2.1"},
    ),
]
NewestOnly = Annotated[
    bool,
    Meta(description="after an outage, send of each item what is newest only"),
]


class EndpointCreation(Struct, frozen=True, forbid_unknown_fields=True):
    """An endpoint to be added."""

    owner: Name
    url: Url
    format: FormatOf = "cloudsignal-2.0"
    types: Types = []
    test: Annotated[bool, Meta(description="send it test signals, and nothing else")] = False
    newest_only: NewestOnly = False
    apikey: Apikey | None = None
    secret: Secret | None = None


class EndpointChange(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be another at an endpoint. What is left out stays as it is."""

    url: Url | UnsetType = UNSET
    format: FormatOf | UnsetType = UNSET
    types: Types | UnsetType = UNSET
    newest_only: NewestOnly | UnsetType = UNSET


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """Another secret for an endpoint, and another key if one is given."""

    overlap_hours: Annotated[
        float,
        Meta(
            ge=0,
            le=OVERLAP_HOURS_MAX,
            description="for how long the old secret signs as well",
            extra={"rule": f"a number of hours from 0 to {OVERLAP_HOURS_MAX:g}"},
        ),
    ] = OVERLAP_HOURS
    secret: Secret | None = None
    apikey: Apikey | None = None


Message = Annotated[
    str,
    Meta(
        pattern=rf"^msg_[0-9a-z_]{{1,60}}{END}",
        extra={"rule": "the id of a message, such as msg_0123abcd_17"},
    ),
]
Messages = Annotated[
    list[Message],
    Meta(
        min_length=1,
        max_length=LIST_MAX,
        description="what deliveries are known by: the webhook-id of what is posted",
        extra={"rule": f"an array of 1 to {LIST_MAX} ids of messages"},
    ),
]
All = Annotated[bool, Meta(description="all that were given up")]


class Redelivery(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be told once more: one of these. Signals of the log also if they were delivered, or never told."""

    messages: Messages | UnsetType = UNSET
    positions: (
        Annotated[
            list[
                Annotated[int, Meta(ge=1, le=POSITION_MAX, extra={"rule": "a position of the log"})]
            ],
            Meta(
                min_length=1,
                max_length=LIST_MAX,
                description="signals of the log",
                extra={"rule": f"an array of 1 to {LIST_MAX} positions of the log"},
            ),
        ]
        | UnsetType
    ) = UNSET
    since: (
        Annotated[
            str,
            Meta(
                max_length=64,
                description="what was given up at this datetime or later; UTC if it names no zone",
                extra={"rule": "a datetime in a string"},
            ),
        ]
        | UnsetType
    ) = UNSET
    all: All = False


class Discarding(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What of that which was given up is to be forgotten: one of these."""

    messages: Messages | UnsetType = UNSET
    all: All = False
