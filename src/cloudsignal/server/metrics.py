"""Figures of how the server is doing.

Plain numbers, counted on the event loop: a counter of Prometheus' library costs as much as decoding
a signal, so its form is given to them only when they are asked for (prometheus.py).
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final

from cloudsignal.protocol.refusals import Refusal
from cloudsignal.protocol.wire import Receipt
from cloudsignal.server.store.log import Arrival

GROUP_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
COMMIT_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Distribution:
    """How often a figure fell where; ``sum`` of all of them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def note(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, int]]:
        """Each bound with how many values were at most that; the last is ``+Inf``."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))


class Metrics:
    """Everything that is counted; ``waiting`` tells how many signals are on their way to the disk."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.waiting = waiting
        self.posts: Counter[str] = Counter()
        self.signals: Counter[str] = Counter()
        self.repeats = 0
        self.group_sizes = Distribution(GROUP_SIZES)
        self.commit_seconds = Distribution(COMMIT_SECONDS)
        self.position = 0

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
