"""Durations in buckets, each 5 % wider than the one before, so that roll-ups can add counts.

The number of a bucket never changes its meaning: bucket 0 is below a second, bucket n from
1.05**(n - 1) seconds until 1.05**n, and the last one, ``LAST``, is without end. The borders are kept in
whole microseconds, reckoned without floating point, so that every machine puts a duration into the same.

Who takes the middle of a bucket for a duration in it is wrong by at most ``ERROR``, a fortieth of it;
below a second by half a second; beyond a hundred years by anything.
"""

from bisect import bisect_right
from collections.abc import Iterable
from math import sqrt
from typing import Final

from cloudsignal.protocol.units import SECOND_US

WIDTH_PERCENT: Final = 5
ERROR: Final = sqrt(1 + WIDTH_PERCENT / 100) - 1
"""The greatest relative error of a middle."""
LONGEST_S: Final = 100 * 366 * 24 * 3600
"""What is longer falls into the last bucket."""


def _borders() -> Iterable[float]:
    percent, number = 100 + WIDTH_PERCENT, 0
    while True:
        border_us = SECOND_US * percent**number // 100**number
        yield border_us / SECOND_US
        if border_us > LONGEST_S * SECOND_US:
            return
        number += 1


_BORDERS_S: Final = tuple(_borders())
LAST: Final = len(_BORDERS_S)
"""The number of the last bucket."""


def bucket(duration_s: float) -> int:
    """The number of the bucket that a duration belongs to; a negative one counts as none, 0."""
    return bisect_right(_BORDERS_S, duration_s)


def bounds_s(number: int) -> tuple[float, float]:
    """The shortest duration in a bucket, and the one before which it ends.

    Raises ValueError when there is no such bucket.
    """
    if not 0 <= number <= LAST:
        raise ValueError(f"there is no bucket {number}: they are numbered from 0 to {LAST}")
    begin = _BORDERS_S[number - 1] if number else 0.0
    return begin, _BORDERS_S[number] if number < LAST else float("inf")


def middle_s(number: int) -> float:
    """The duration that stands for all in a bucket: as far from its begin as from its end, in ratio.

    For the first it is half a second, for the last one its begin. Raises ValueError as ``bounds_s``.
    """
    begin, end = bounds_s(number)
    if number == 0:
        return end / 2
    return begin if number == LAST else sqrt(begin * end)
