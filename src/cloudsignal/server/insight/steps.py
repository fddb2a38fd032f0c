"""The steps of an item's production as spans of time, finished or not: what survival curves are made of.

Instants are microseconds since 1970.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from msgspec import Struct

from cloudsignal.protocol.items import PROGRESS, Item

Step = tuple[str, str]
"""From when one thing was reported of an item until when another was."""

WAY: Final = (*PROGRESS, "shipped")
"""What is reported of an item on its way, in that order."""
STEPS: Final[tuple[Step, ...]] = tuple(pairwise(WAY))
"""The steps of the production: registered to producing, and so on to packed to shipped."""
TO_SHIPPED: Final[tuple[Step, ...]] = tuple((state, "shipped") for state in PROGRESS)
"""The whole way from each state on: what an expected ship time follows from."""
ALL_STEPS: Final[tuple[Step, ...]] = (*STEPS, *TO_SHIPPED[:-1])
"""Each step once; packed to shipped is of both kinds."""


class Span(Struct, frozen=True):
    """How long an item took for a step. If it did not end, it is known to have lasted until ``end``."""

    step: Step
    begin: int
    end: int
    ended: bool


def spans(item: Item, now: int) -> Iterator[Span]:
    """The spans of an item that tell how long steps take, one for each step at most.

    A step that began and did not end is still going on, or went on until the item was shipped or canceled.
    Nothing is told of a step whose end was skipped, since another after it was reported; nor of one
    that begins after the item's end. Where an item was sent back, what was reported before does not count.
    """
    until = now if item.final is None else getattr(item, item.final)
    times = item.times
    for begun, done in ALL_STEPS:
        if (begin := times.get(begun)) is None:
            continue
        end = times.get(done)
        if end is not None and end >= begin:
            yield Span((begun, done), begin, end, True)
        elif begin <= until and not _went_on(times, done, begin):
            yield Span((begun, done), begin, until, False)


def _went_on(times: dict[str, int], skipped: str, begin: int) -> bool:
    """Whether a step after the one that was not reported was reported since an instant."""
    later = WAY[WAY.index(skipped) + 1 :]
    return any(times[step] >= begin for step in later if step in times)
