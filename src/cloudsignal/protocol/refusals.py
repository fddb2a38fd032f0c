"""Every answer but 200: its type, its status, its sentence, and the one error that carries it."""

from collections.abc import Sequence
from typing import Final

import msgspec

DETAILS_MAX: Final = 100
"""How many problems of one post are listed in its answer."""
RETRY_AFTER_S: Final = 1
"""After how many seconds to come back to a server that could not take a post just now."""

STATUS: Final[dict[str, int]] = {
    "invalid_http": 400,
    "invalid_content_type": 400,
    "invalid_json": 400,
    "not_an_object": 400,
    "missing_parameter": 400,
    "invalid_parameter": 400,
    "invalid_datetime": 400,
    "invalid_delay": 400,
    "unlisted_cause": 400,
    "unknown_type": 400,
    "type_removed": 400,
    "ambiguous_post": 400,
    "empty_bundle": 400,
    "bundle_too_large": 400,
    "unknown_order": 400,
    "unknown_key": 401,
    "key_disabled": 403,
    "key_expired": 403,
    "address_not_allowed": 403,
    "wrong_kind_of_key": 403,
    "not_your_item": 403,
    "method_not_allowed": 405,
    "version_removed": 410,
    "body_too_large": 413,
    "too_many_requests": 429,
    "defect": 500,
    "overloaded": 503,
    "unavailable": 503,
}
"""The whole list of error types with their HTTP status (contract, section 1)."""


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
