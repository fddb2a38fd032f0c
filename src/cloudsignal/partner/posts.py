"""Signals as posts: checked before they are sent, and in bundles of the size that servers take."""

from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Final

import msgspec
from msgspec import Raw, Struct

from cloudsignal.partner.errors import InvalidSignals
from cloudsignal.partner.keys import ApiKey
from cloudsignal.protocol import http, wire
from cloudsignal.protocol.refusals import Refusal
from cloudsignal.protocol.signals import Signal

POST_BYTES_MAX: Final = http.BODY_BYTES_MAX - 1024
"""How large the signals of a bundle may be together, so that there is room for the key."""

_encode: Final = msgspec.json.Encoder().encode
_members: Final = msgspec.json.Decoder(dict[str, Raw])


class Post(Struct, frozen=True):
    """Signals that are sent together, as the JSON objects that they are on the wire."""

    bodies: tuple[bytes, ...]

    def sealed(self, apikey: ApiKey) -> bytes:
        """The request body, with the key in it."""
        if len(self.bodies) == 1:
            return _encode({"apikey": apikey.reveal(), **_members.decode(self.bodies[0])})
        return _encode({"apikey": apikey.reveal(), "items": [Raw(body) for body in self.bodies]})

    def halves(self) -> "tuple[Post, Post]":
        """The same signals in two posts."""
        middle = len(self.bodies) // 2
        return Post(self.bodies[:middle]), Post(self.bodies[middle:])


def checked(signals: Sequence[Signal]) -> list[bytes]:
    """The signals as they are sent, if a server would take them (contract, section 3).

    Raises InvalidSignals with every problem of every signal.
    """
    if len(signals) == 1:
        members = _members.decode(_encode(signals[0]))
    else:
        members = {"items": Raw(_encode(signals))}
    try:
        reports = wire.validate(wire.Post("", members), zone=UTC, bundle_max=len(signals))
    except Refusal as refusal:
        raise invalid(refusal) from None
    return [report.body for report in reports]


def invalid(refusal: Refusal) -> InvalidSignals:
    """What a refusal on this side is raised as."""
    return InvalidSignals(refusal.info, type=refusal.type, problems=refusal.problems)


def bundled(bodies: Sequence[bytes], *, most: int = wire.BUNDLE_MAX) -> Iterator[Post]:
    """As few posts as there can be, in the order of the signals."""
    bundle: list[bytes] = []
    size = 0
    for body in bodies:
        if bundle and (len(bundle) == most or size + len(body) > POST_BYTES_MAX):
            yield Post(tuple(bundle))
            bundle, size = [], 0
        bundle.append(body)
        size += len(body) + 1
    if bundle:
        yield Post(tuple(bundle))
