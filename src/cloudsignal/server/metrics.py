"""Figures of how the server is doing.

Plain numbers, counted on the event loop: a counter of Prometheus' library costs as much as decoding
a signal, so its form is given to them only when they are asked for (prometheus.py).
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Final

from msgspec import Struct, field

from cloudsignal.protocol.refusals import Refusal
from cloudsignal.protocol.wire import Receipt
from cloudsignal.server.store.log import Arrival

GROUP_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
ATTEMPT_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)
TOLD_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 600.0)
COMMIT_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Distribution(Struct):
    """How often a figure fell between which bounds; ``sum`` of all of them."""

    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def note(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add(self, other: "Distribution") -> None:
        """Count what another one with the same bounds has counted."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def buckets(self) -> list[tuple[str, int]]:
        """Each bound with how many values were at most that; the last is ``+Inf``."""
        names = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        return list(zip(names, accumulate(self.counts), strict=True))


class Told(Struct):
    """What is counted of telling order owners.

    ``attempts`` by what became of them; ``attempt_seconds`` is how long each took, ``told_seconds`` how long after a
    signal arrived its owner had taken it, of those that were taken at the first attempt.
    """

    attempts: dict[str, int] = field(default_factory=dict)
    attempt_seconds: Distribution = field(default_factory=lambda: Distribution(ATTEMPT_SECONDS))
    told_seconds: Distribution = field(default_factory=lambda: Distribution(TOLD_SECONDS))

    def note(self, outcome: str, took_s: float) -> None:
        """Count an attempt."""
        self.attempts[outcome] = self.attempts.get(outcome, 0) + 1
        self.attempt_seconds.note(took_s)

    def add(self, other: "Told") -> None:
        """Count what another process has counted."""
        self.attempts = _added(self.attempts, other.attempts)
        self.attempt_seconds.add(other.attempt_seconds)
        self.told_seconds.add(other.told_seconds)


class Figures(Struct):
    """Everything that is counted, of one server process or of several."""

    posts: dict[str, int] = field(default_factory=dict)
    signals: dict[str, int] = field(default_factory=dict)
    repeats: int = 0
    group_sizes: Distribution = field(default_factory=lambda: Distribution(GROUP_SIZES))
    commit_seconds: Distribution = field(default_factory=lambda: Distribution(COMMIT_SECONDS))
    waiting: int = 0
    position: int = 0
    told: Told = field(default_factory=Told)
    failed_sign_ins: dict[str, int] = field(default_factory=dict)

    def add(self, other: "Figures") -> None:
        """Count what another process has counted."""
        self.posts = _added(self.posts, other.posts)
        self.signals = _added(self.signals, other.signals)
        self.repeats += other.repeats
        self.group_sizes.add(other.group_sizes)
        self.commit_seconds.add(other.commit_seconds)
        self.waiting += other.waiting
        self.position = max(self.position, other.position)
        self.told.add(other.told)
        self.failed_sign_ins = _added(self.failed_sign_ins, other.failed_sign_ins)


def total(figures: Iterable[Figures]) -> Figures:
    """All that several processes have counted."""
    found = Figures()
    for each in figures:
        found.add(each)
    return found


def _added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in one.keys() | other.keys()}


class Metrics:
    """Counts; ``waiting`` tells how many signals are on their way to the disk, ``told`` what its deliverer counted."""

    def __init__(self, waiting: Callable[[], int], told: Callable[[], Told] = Told) -> None:
        self._waiting = waiting
        self._told = told
        self.posts: Counter[str] = Counter()
        self.signals: Counter[str] = Counter()
        self.repeats = 0
        self.group_sizes = Distribution(GROUP_SIZES)
        self.commit_seconds = Distribution(COMMIT_SECONDS)
        self.position = 0
        self.failed_sign_ins: Counter[str] = Counter()

    def figures(self) -> Figures:
        """All that was counted so far."""
        return Figures(
            dict(self.posts),
            dict(self.signals),
            self.repeats,
            self.group_sizes,
            self.commit_seconds,
            self._waiting(),
            self.position,
            self._told(),
            dict(self.failed_sign_ins),
        )

    def note_failed_sign_in(self, why: str) -> None:
        """Count a sign-in that failed."""
        self.failed_sign_ins[why] += 1

    def note_refused(self, refusal: Refusal) -> None:
        """Count a refused post."""
        self.posts[refusal.type] += 1

    def note_group(
        self, arrivals: Sequence[Arrival], receipts: Sequence[Receipt | None], seconds: float
    ) -> None:
        """Count a group that was written, or could not be."""
        written = [receipt for receipt in receipts if receipt is not None]
        if not written:
            return
        self.posts["accepted"] += len(written)
        self.repeats += sum([receipt.duplicates for receipt in written])
        self.position = max(self.position, max([receipt.position for receipt in written]))
        types = [
            type(report.signal).__name__
            for arrival, receipt in zip(arrivals, receipts, strict=True)
            if receipt is not None
            for report in arrival.reports
        ]
        self.signals.update(types)
        self.group_sizes.note(len(types))
        self.commit_seconds.note(seconds)
