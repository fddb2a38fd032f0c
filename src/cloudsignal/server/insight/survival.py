"""How long things take, where some are not finished yet: the estimate of Kaplan and Meier.

To leave out what is unfinished makes a print partner look the faster the more it is stuck with. So an
unfinished item counts for as long as it has lasted: of all that were still going after some time, we see
which part ended then, and the parts that did not, multiplied, are what is left.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Final

from msgspec import Struct

from cloudsignal.server.insight import buckets

EXACTNESS: Final = 1e-9
"""Shares that differ by less are the same: 1 - 0.9 is not quite 0.1 in floating point."""
POINTS: Final = 50
"""How many equally likely durations stand for a curve where curves are added: each for 2 %."""


class Observation(Struct, frozen=True):
    """So many things that lasted so long, and whether they ended then or are still going on."""

    duration_s: float
    ended: bool
    count: int = 1


class Curve(Struct, frozen=True):
    """Which share lasts longer than how long.

    ``times_s`` are the durations at which something ended, in order; ``left`` the share that lasts longer
    than each, ``at_risk`` how many lasted at least so long, and ``ends`` how many ended just then.
    ``observed`` is how many things there are, finished and unfinished.
    """

    times_s: tuple[float, ...]
    left: tuple[float, ...]
    at_risk: tuple[int, ...]
    ends: tuple[int, ...]
    observed: int

    @property
    def ended(self) -> int:
        """How many of them ended."""
        return sum(self.ends)

    def left_after(self, duration_s: float) -> float:
        """The share that lasts longer than a duration, from 0 to 1."""
        index = bisect_right(self.times_s, duration_s)
        return self.left[index - 1] if index else 1.0

    def precedents(self, waited_s: float) -> int:
        """How many things the estimate of what comes after a duration rests on, 0 if there is none.

        They are those that lasted at least until the first end after it.
        """
        index = bisect_right(self.times_s, waited_s)
        return self.at_risk[index] if index < len(self.at_risk) else 0

    def quantile(self, share: float) -> float | None:
        """The shortest duration within which at least this share ends, in seconds.

        None when the curve does not come so far: then too much is unfinished to say. Raises ValueError
        when ``share`` is not above 0 and at most 1.
        """
        return self.remaining_s(-1.0, share)

    @property
    def median_s(self) -> float | None:
        """Within how many seconds half of them end."""
        return self.quantile(0.5)

    @property
    def ninth_decile_s(self) -> float | None:
        """Within how many seconds nine of ten end, the 90th percentile."""
        return self.quantile(0.9)

    def remaining_s(self, waited_s: float, share: float) -> float | None:
        """Of those that lasted longer than ``waited_s``, what of their time is still to come.

        That is the shortest further time within which at least this share of them ends, in seconds. None
        when the curve does not come so far, or nothing lasted so long. Raises ValueError as ``quantile``.
        """
        if not 0 < share <= 1:
            raise ValueError(f"a share must be above 0 and at most 1, not {share}")
        left = self.left_after(waited_s)
        goal = left * (1 - share + EXACTNESS)
        index = bisect_left(self.left, -goal, key=lambda each: -each)
        if index == len(self.left) or left == 0:
            return None
        return self.times_s[index] - max(waited_s, 0.0)

    def after(self, waited_s: float) -> "Curve":
        """The curve of the further time of those that lasted longer than ``waited_s``.

        It has nothing in it when nothing lasted so long; those whose end was not seen count in it only if
        they lasted until the next end that was.
        """
        left, begin = self.left_after(waited_s), bisect_right(self.times_s, waited_s)
        return Curve(
            times_s=tuple(time_s - waited_s for time_s in self.times_s[begin:]),
            left=tuple(each / left for each in self.left[begin:]),
            at_risk=self.at_risk[begin:],
            ends=self.ends[begin:],
            observed=self.precedents(waited_s),
        )

    def chance(self, waited_s: float, within_s: float) -> float | None:
        """Of those that lasted longer than ``waited_s``, the share that ends within a further time.

        None when nothing lasted so long. Where the curve ends before that, it is the share that is known to
        have ended: no more than the true one.
        """
        left = self.left_after(waited_s)
        if left == 0:
            return None
        return 1 - self.left_after(waited_s + max(within_s, 0.0)) / left


def curve(observations: Iterable[Observation]) -> Curve:
    """The estimate from observations in any order; negative durations count as 0.

    Of what ended and what went on after the same duration, the latter is taken to have lasted longer.
    """
    ended: dict[float, int] = {}
    unfinished: dict[float, int] = {}
    for each in observations:
        counts = ended if each.ended else unfinished
        duration_s = max(each.duration_s, 0.0)
        counts[duration_s] = counts.get(duration_s, 0) + each.count
    return _curve(ended, unfinished)


def curve_of_buckets(ended: Mapping[int, int], unfinished: Mapping[int, int]) -> Curve:
    """The estimate from counts by bucket (``buckets.bucket``), where each stands for its middle.

    Its quantiles are those of the durations themselves, wrong by ``buckets.ERROR``, when all ended. What is
    unfinished is taken to have lasted longer than what ended in the same bucket.
    """
    return _curve(_by_middle(ended), _by_middle(unfinished))


def _by_middle(counts: Mapping[int, int]) -> dict[float, int]:
    return {buckets.middle_s(number): count for number, count in counts.items()}


def _curve(ended: Mapping[float, int], unfinished: Mapping[float, int]) -> Curve:
    observed = going = sum(ended.values()) + sum(unfinished.values())
    times_s: list[float] = []
    left: list[float] = []
    at_risk: list[int] = []
    ends: list[int] = []
    share = 1.0
    for duration_s in sorted({*ended, *unfinished}):
        if ending := ended.get(duration_s, 0):
            share *= (going - ending) / going
            times_s.append(duration_s)
            left.append(share)
            at_risk.append(going)
            ends.append(ending)
        going -= ending + unfinished.get(duration_s, 0)
    return Curve(tuple(times_s), tuple(left), tuple(at_risk), tuple(ends), observed)


def in_a_row(curves: Sequence[Curve]) -> Curve:
    """The curve of things that follow each other, each as long as its own curve tells.

    A single curve is given back. Of several, which are taken to be independent, only times and shares are
    told; these are wrong by a few hundredths, as each curve is stood for by ``POINTS`` durations.
    """
    if len(curves) == 1:
        return curves[0]
    sums = [0.0]
    for each in curves:
        points = _points(each)
        sums = sorted(before + point for before in _thinned(sums) for point in points)
    times_s = sorted({each for each in sums if each < inf})
    left = tuple(1 - bisect_right(sums, time_s) / len(sums) for time_s in times_s)
    return Curve(tuple(times_s), left, (), (), 0)


def _points(curve: Curve) -> list[float]:
    """Equally likely durations that stand for a curve; where it does not come so far, without end."""
    found = (curve.quantile((place + 0.5) / POINTS) for place in range(POINTS))
    return [inf if each is None else each for each in found]


def _thinned(ordered: Sequence[float]) -> Sequence[float]:
    """``POINTS`` of many, equally far from each other in their order."""
    if len(ordered) <= POINTS:
        return ordered
    return [ordered[(2 * place + 1) * len(ordered) // (2 * POINTS)] for place in range(POINTS)]
