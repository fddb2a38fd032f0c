r"""What is kept of a refused post to be shown: the signals that something is wrong with, and never a key.

Anything that looks like a key goes, whoever's it is and wherever it stands: a post may bear a second one, in a member
of another name, in the place of an item's id, or spelt with escapes (``\u0031``). An excerpt of a large post costs
about as much as one of a small post.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Raw

from cloudsignal.protocol.refusals import Problem
from cloudsignal.protocol.wire import Members, Report, hide_keys, without_keys

CHARACTERS_MAX: Final = 4_000
"""How long an excerpt is at most."""
NAME_MAX: Final = 64
"""The longest name of a member that is shown."""
LEFT_OUT: Final = "…"
"""What stands for anything that is not shown."""

Sent = Members | list[Report]
"""What a post held: its members, still unread, or its valid signals."""

_members: Final = msgspec.json.Decoder(Members)
_array: Final = msgspec.json.Decoder(list[Raw])
_encode: Final = msgspec.json.Encoder().encode

_TOO_LONG: Final = Raw(_encode(LEFT_OUT))
_PLACE: Final = re.compile(r"items\[(\d+)\]")
# An escaped backslash, or a digit or letter of a key written as an escape.
_ESCAPE: Final = re.compile(r"\\(?:\\|u00(3[0-9]|[46][1-6]))")


def excerpt(sent: Sent, problems: Sequence[Problem]) -> str:
    """What a post held: of a bundle each signal that has a problem, with its place, else all of it.

    It is for reading: one value a line, less what is long, and cut to ``CHARACTERS_MAX``.
    """
    text = ""
    for place, value in _chosen(sent, problems):
        room = CHARACTERS_MAX - len(text)
        if room <= 0:
            break
        text += f"{place}: " if place else ""
        text += f"{_shown(value, room)}\n"
    return text.rstrip("\n") if len(text) <= CHARACTERS_MAX else text[:CHARACTERS_MAX] + LEFT_OUT


def _chosen(sent: Sent, problems: Iterable[Problem]) -> list[tuple[str, Raw]]:
    """What is to be shown: values, each with its place."""
    found = [place for each in problems if (place := _PLACE.match(each.at))]
    if isinstance(sent, list):
        signals = [Raw(each.body) for each in sent]
    else:
        signals = _array.decode(sent["items"]) if found else [Raw(_encode(sent))]
    if not found:
        return [("", each) for each in signals]
    places = {place[0]: int(place[1]) for place in found}
    return [(place, signals[index]) for place, index in places.items()]


def _shown(value: Raw, room: int) -> str:
    """A value as it was sent, less what is long and what looks like a key."""
    if bytes(memoryview(value)[:1]) == b"{":
        text = _encode(_shortened(_members.decode(value), room))
    else:
        text = bytes(_TOO_LONG if _size(value) > room else without_keys(value))
    return hide_keys(_ESCAPE.sub(_unescaped, text.decode()))


def _shortened(members: Members, room: int) -> Members:
    """The members without any called apikey, less values that are longer than what room is left."""
    kept: Members = {}
    for name, value in members.items():
        if room <= 0:
            kept[LEFT_OUT] = _TOO_LONG
            break
        if name != "apikey":
            shown = name if len(name) <= NAME_MAX else LEFT_OUT
            kept[shown] = _TOO_LONG if _size(value) > room else without_keys(value)
            room -= len(shown) + _size(kept[shown])
    return kept


def _size(value: Raw) -> int:
    return memoryview(value).nbytes


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else found[0]
