"""Sending many signals of which a server refuses some: all the others are stored all the same."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct

from cloudsignal.partner.errors import InvalidSignals, SendError
from cloudsignal.partner.posts import grouped
from cloudsignal.partner.receipts import Receipt
from cloudsignal.protocol.signals import Signal

Send = Callable[..., Receipt]
"""What sends signals: ``Client.send``."""


class Found(Protocol):
    """What stands at some place: a signal, or None when it is none."""

    @property
    def signal(self) -> Signal | None: ...


Place = TypeVar("Place", bound=Found)
Thing = TypeVar("Thing")

_PLACE: Final = re.compile(r"items\[(\d{1,9})\]")
"""How a server says which signal of a bundle it means (contract, section 1)."""


class Sifted(Struct, Generic[Place], frozen=True):
    """What became of one bundle.

    ``found`` is what was in it, with or without a signal; ``receipt`` is for the signals that are stored,
    ``refused`` are those that the server does not take, each with its error.
    """

    found: list[Place]
    receipt: Receipt
    refused: list[tuple[Place, InvalidSignals]]


def send_sifted(send: Send, found: Iterable[Place], *, most: int) -> Iterator[Sifted[Place]]:
    """Send the signals in what was found, in bundles of at most so many.

    A bundle that is refused is split until each bad signal stands alone: where the server says which these are, right
    there, else in halves. Raises SendError when it cannot go on;
    its ``stored`` tells what was stored before.
    """
    stored = Receipt(0, 0, 0)
    for bundle in grouped(found, _size, most=most):
        try:
            sifted = _sift(send, bundle)
        except SendError as error:
            error.stored = stored if error.stored is None else stored + error.stored
            raise
        stored = stored + sifted.receipt
        yield sifted


def _sift(send: Send, found: list[Place]) -> Sifted[Place]:
    stored = Receipt(0, 0, 0)
    refused: list[tuple[Place, InvalidSignals]] = []
    waiting = deque([[(each, each.signal) for each in found if each.signal is not None]])
    while waiting:
        bundle = waiting.popleft()
        if not bundle:
            continue
        try:
            stored = stored + send(*(signal for _, signal in bundle))
        except InvalidSignals as error:
            if error.stored is not None:
                stored = stored + error.stored
                bundle = bundle[error.stored.signals :]
            if len(bundle) == 1:
                refused.append((bundle[0][0], error))
            else:
                waiting.extendleft(reversed(_split(bundle, error)))
        except SendError as error:
            error.stored = stored if error.stored is None else stored + error.stored
            raise
    return Sifted(found, stored, refused)


def _split(bundle: list[Thing], error: InvalidSignals) -> list[list[Thing]]:
    """A bundle in parts, in which those signals stand alone that the error names."""
    named = [int(found[1]) for each in error.problems if (found := _PLACE.match(each.at))]
    cuts = {cut for place in named for cut in (place, place + 1) if 0 < cut < len(bundle)}
    ends = [0, *sorted(cuts or {len(bundle) // 2}), len(bundle)]
    return [bundle[begin:end] for begin, end in pairwise(ends)]


def _size(found: Found) -> int:
    return 0 if found.signal is None else len(msgspec.json.encode(found.signal))
