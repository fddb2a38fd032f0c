"""Which causes items are canceled for, the most frequent first: Pareto's chart as numbers."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

CAUSES_MAX: Final = 25
"""How many causes are told by themselves: the 21 published ones, and some that are not."""


class Share(Struct, frozen=True):
    """A cause as on the wire, ``""`` for none, and None for all those that are not told by themselves.

    ``share`` and ``cumulated`` go from 0 to 1; the latter is that of this cause and all before it.
    """

    cause: str | None
    count: int
    share: float
    cumulated: float


def pareto(counts: Mapping[str, int], *, most: int = CAUSES_MAX) -> list[Share]:
    """The causes from the most frequent on; those as frequent as each other by name.

    Print partners write what they like into a cause, so only the ``most`` frequent ones are told by
    themselves. The rest is the last share. Causes that never happened are left out.
    """
    ranked = sorted(
        ((cause, count) for cause, count in counts.items() if count > 0),
        key=lambda each: (-each[1], each[0]),
    )
    told: list[tuple[str | None, int]] = [*ranked[:most]]
    if rest := sum(count for _, count in ranked[most:]):
        told.append((None, rest))
    return _shares(told)


def _shares(told: list[tuple[str | None, int]]) -> list[Share]:
    total = sum(count for _, count in told)
    shares, before = [], 0
    for cause, count in told:
        before += count
        shares.append(Share(cause, count, count / total, before / total))
    return shares
