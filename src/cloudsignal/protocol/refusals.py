"""Every answer but 200: its type, its status, its sentence, and the one error that carries it."""

from collections.abc import Sequence
from typing import Final

import msgspec

DETAILS_MAX: Final = 100
"""How many problems of one post are listed in its answer."""
RETRY_AFTER_S: Final = 1
"""After how many seconds to come back to a server that could not take a post just now."""


class ErrorType(msgspec.Struct, frozen=True):
    """What is known of a type of errors: its HTTP status, and for people what to do about it."""

    status: int
    advice: str


ERROR_TYPES: Final[dict[str, ErrorType]] = {
    "invalid_http": ErrorType(
        400, "No request could be made out: look at the program or the proxy that sends it"
    ),
    "invalid_content_type": ErrorType(400, "Send the header Content-Type: application/json"),
    "invalid_json": ErrorType(
        400,
        "Send one JSON object in UTF-8, made by a JSON library and not put together by hand; the sentence says where it breaks",
    ),
    "not_an_object": ErrorType(
        400, "Send one JSON object, not a list or a text; each member of items is an object, too"
    ),
    "missing_parameter": ErrorType(
        400,
        "Send the field that the sentence names; null and, for some fields, an empty text count as missing",
    ),
    "invalid_parameter": ErrorType(
        400, "Send the field as the sentence says: a text in quotes, neither too short nor too long"
    ),
    "invalid_datetime": ErrorType(
        400,
        "Write datetime like 2016-01-20 13:00:00 GMT, with an offset such as +01:00 instead of GMT if you like",
    ),
    "invalid_delay": ErrorType(400, 'Write delay as hours in a text, such as "24", from 0 to 8760'),
    "unlisted_cause": ErrorType(
        400, "Use one of the published cancellation causes; CancelMiscError is for everything else"
    ),
    "unknown_type": ErrorType(
        400, "Use one of the types that the sentence names, in this spelling"
    ),
    "type_removed": ErrorType(
        400, "Send what the sentence names instead: the program still speaks version 1.1"
    ),
    "ambiguous_post": ErrorType(400, "Send either one signal with a type, or a bundle with items"),
    "empty_bundle": ErrorType(400, "Don't post when there is nothing to report"),
    "bundle_too_large": ErrorType(400, "Split the bundle"),
    "unknown_order": ErrorType(
        400,
        "Check the order's id; if it is right, the platform has to register the order, and the post can be sent again then",
    ),
    "unknown_key": ErrorType(
        401,
        "Compare the apikey with the one that was given out for this server; one that is lost is replaced by a new one",
    ),
    "key_disabled": ErrorType(
        403, "The platform closed this interface: ask it to open it again, or for another one"
    ),
    "key_expired": ErrorType(403, "Use the interface's new key: this one was replaced"),
    "address_not_allowed": ErrorType(
        403,
        "Send from one of the addresses that the interface allows, or ask the platform to allow this one",
    ),
    "wrong_kind_of_key": ErrorType(
        403, "Use the key of an interface: this is an API token or the key of an owner"
    ),
    "not_your_item": ErrorType(
        403, "Check the ids of order and item: another print partner has them"
    ),
    "method_not_allowed": ErrorType(405, "Send signals with POST"),
    "version_removed": ErrorType(
        410, "Post to the address of version 2.0; the sentence names it and says what else is new"
    ),
    "body_too_large": ErrorType(413, "Send smaller bundles"),
    "too_many_requests": ErrorType(
        429,
        "Wait as long as Retry-After says. If it comes often, send bundles; after unknown keys, check the apikey first",
    ),
    "defect": ErrorType(
        500,
        'Send the same post again later. The log of the server has a line "defect", which its maintainers need',
    ),
    "overloaded": ErrorType(
        503,
        "Send the same post again in a moment. If it comes often, the server's disk is too slow for what comes in",
    ),
    "unavailable": ErrorType(
        503,
        "Send the same post again in a moment. If it lasts, the log of the server says why its store cannot be written",
    ),
}
"""The whole list of error types (contract, section 1)."""

STATUS: Final = {name: each.status for name, each in ERROR_TYPES.items()}
"""The HTTP status of each."""


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a post: where, which type of error, and a sentence to act on."""

    at: str
    type: str
    info: str


class Refusal(Exception):
    """The post was not accepted, and nothing of it was stored.

    ``status`` is the HTTP status, ``type`` and ``info`` those of the first problem, ``problems``
    all of them (at most ``DETAILS_MAX``), ``retry_after_s`` after how many seconds to try again, if
    ever.
    """

    def __init__(self, problems: Sequence[Problem], *, retry_after_s: int | None = None) -> None:
        self.problems = tuple(problems[:DETAILS_MAX])
        self.retry_after_s = retry_after_s
        super().__init__(self.info)

    @property
    def type(self) -> str:
        """The stable snake_case name of the first problem."""
        return self.problems[0].type

    @property
    def info(self) -> str:
        """The first problem in one sentence."""
        return self.problems[0].info

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return STATUS[self.type]

    def body(self) -> bytes:
        """The JSON body of the answer, in the shape the field already uses."""
        return msgspec.json.encode(
            {"error": {"type": self.type, "info": self.info, "details": self.problems}}
        )


def refuse(type: str, info: str, *, at: str = "", retry_after_s: int | None = None) -> Refusal:
    """A refusal with one problem, to be raised."""
    return Refusal([Problem(at, type, info)], retry_after_s=retry_after_s)


def not_now(type: str, info: str) -> Refusal:
    """A refusal of a post that can be taken in a moment, to be raised."""
    return refuse(type, info, retry_after_s=RETRY_AFTER_S)
