"""Signals as posts: checked before they are sent, and in bundles of the size that servers take."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec
from msgspec import Raw, Struct

from cloudsignal.partner.errors import InvalidSignals
from cloudsignal.partner.keys import ApiKey, Sealed
from cloudsignal.protocol import http, wire
from cloudsignal.protocol.refusals import Problem, Refusal
from cloudsignal.protocol.signals import Signal

POST_BYTES_MAX: Final = http.BODY_BYTES_MAX - 1024
"""How large the signals of a bundle may be together, so that there is room for the key."""

_EACH_BY_ITSELF: Final = "give each by itself, those of a list as send(*signals)"

Thing = TypeVar("Thing")

_encode: Final = msgspec.json.Encoder().encode
_members: Final = msgspec.json.Decoder(dict[str, Raw])


class Post(Struct, frozen=True):
    """Signals that are sent together, as the JSON objects that they are on the wire."""

    bodies: tuple[bytes, ...]

    def sealed(self, apikey: ApiKey) -> Sealed:
        """The request body, with the key in it."""
        if len(self.bodies) == 1:
            return Sealed(_encode({"apikey": apikey.reveal(), **_members.decode(self.bodies[0])}))
        items = [Raw(body) for body in self.bodies]
        return Sealed(_encode({"apikey": apikey.reveal(), "items": items}))

    def halves(self) -> "tuple[Post, Post]":
        """The same signals in two posts."""
        middle = len(self.bodies) // 2
        return Post(self.bodies[:middle]), Post(self.bodies[middle:])


def check_of(apikey: ApiKey) -> Sealed:
    """The body of a post that only asks whether a key is good, and holds nothing that could be stored."""
    return Sealed(_encode({"apikey": apikey.reveal(), "items": [], wire.CHECK: True}))


def checked(signals: Sequence[Signal]) -> list[bytes]:
    """The signals as they are sent, if a server would take them (contract, section 3).

    Raises InvalidSignals with every problem of every signal, TypeError for what is none.
    """
    for each in signals:
        if not isinstance(each, Signal):
            raise TypeError(f"this is no signal but a {type(each).__name__}: {_EACH_BY_ITSELF}")
    if flaws := [*_flaws(signals)]:
        raise invalid(Refusal(flaws))
    if len(signals) == 1:
        members = _members.decode(_encode(signals[0]))
    else:
        members = {"items": Raw(_encode(signals))}
    try:
        reports = wire.validate(wire.Post("", members), zone=UTC, bundle_max=len(signals))
    except Refusal as refusal:
        raise invalid(refusal) from None
    return [report.body for report in reports]


def _flaws(signals: Sequence[Signal]) -> Iterator[Problem]:
    """What JSON cannot show, or would show as something else, such as bytes as base64."""
    for index, signal in enumerate(signals):
        place = f"items[{index}]." if len(signals) > 1 else ""
        for name in signal.__struct_fields__:
            flaw = _flaw(getattr(signal, name))
            if flaw is not None:
                yield Problem(place + name, "invalid_parameter", f"{place}{name} {flaw}")


def _flaw(value: object) -> str | None:
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                return "is no text: it holds bytes that were read in the wrong encoding"
        case datetime():
            return "must be a string, not a datetime: cloudsignal.text_of makes one of it"
        case None | int() | float() | list() | dict():
            return None  # What is wrong with these is said as a server says it.
        case _:
            return f"must be a string, not {type(value).__name__}"
    return None


def invalid(refusal: Refusal) -> InvalidSignals:
    """What a refusal on this side is raised as."""
    return InvalidSignals(refusal.info, type=refusal.type, problems=refusal.problems)


def signal_of(members: dict[str, Raw]) -> Signal:
    """The signal that a JSON object with these members is, if a server would take it.

    Raises InvalidSignals with everything that is wrong with it.
    """
    try:
        [report] = wire.validate(wire.Post("", members), zone=UTC)
    except Refusal as refusal:
        raise invalid(refusal) from None
    return report.signal


def bundled(bodies: Iterable[bytes], *, most: int = wire.BUNDLE_MAX) -> Iterator[Post]:
    """As few posts as there can be, in the order of the signals."""
    for bundle in grouped(bodies, len, most=most):
        yield Post(tuple(bundle))


def grouped(
    things: Iterable[Thing], size_of: Callable[[Thing], int], *, most: int
) -> Iterator[list[Thing]]:
    """Things in their order, in groups of at most so many that fit into one post."""
    group: list[Thing] = []
    size = 0
    for thing in things:
        own = size_of(thing)
        if group and (len(group) == most or size + own > POST_BYTES_MAX):
            yield group
            group, size = [], 0
        group.append(thing)
        size += own + 1
    if group:
        yield group
