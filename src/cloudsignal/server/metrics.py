"""Figures for Prometheus.

Counted with plain numbers, all on the event loop, and put into Prometheus' form only when asked for:
a counter of its library costs as much as decoding a signal.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

from cloudsignal.protocol.refusals import Refusal
from cloudsignal.protocol.wire import Receipt
from cloudsignal.server.store import Arrival

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
GROUP_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
COMMIT_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Distribution:
    """How often a figure fell where."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def note(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self, name: str, help: str) -> HistogramMetricFamily:
        """The distribution as Prometheus' cumulative histogram."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(name, help, buckets=buckets, sum_value=self._sum)


class Metrics:
    """Everything that is counted; a collector of the Prometheus library."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._waiting = waiting
        self.posts: Counter[str] = Counter()
        self.signals: Counter[str] = Counter()
        self.repeats = 0
        self.group_sizes = Distribution(GROUP_SIZES)
        self.commit_seconds = Distribution(COMMIT_SECONDS)
        self.position = 0
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def note_refused(self, refusal: Refusal) -> None:
        """Count a refused post."""
        self.posts[refusal.type] += 1

    def note_group(
        self, arrivals: Sequence[Arrival], receipts: Sequence[Receipt | None], seconds: float
    ) -> None:
        """Count a group that was written, or could not be."""
        size = 0
        for arrival, receipt in zip(arrivals, receipts, strict=True):
            if receipt is None:
                continue
            size += len(arrival.reports)
            self.posts["accepted"] += 1
            self.repeats += receipt.duplicates
            self.position = max(self.position, receipt.position)
            for report in arrival.reports:
                self.signals[type(report.signal).__name__] += 1
        if size:
            self.group_sizes.note(size)
            self.commit_seconds.note(seconds)

    def collect(self) -> Iterable[Metric]:
        """The figures in Prometheus' form."""
        posts = CounterMetricFamily(
            "cloudsignal_posts", "Posts by outcome: accepted, or an error type", labels=["outcome"]
        )
        for outcome, count in sorted(self.posts.items()):
            posts.add_metric([outcome], count)
        yield posts
        signals = CounterMetricFamily(
            "cloudsignal_signals", "Signals of accepted posts by type", labels=["type"]
        )
        for type_name, count in sorted(self.signals.items()):
            signals.add_metric([type_name], count)
        yield signals
        yield CounterMetricFamily(
            "cloudsignal_repeated_signals", "Signals that were in the log already", self.repeats
        )
        yield self.group_sizes.family(
            "cloudsignal_group_signals", "Signals written in one transaction"
        )
        yield self.commit_seconds.family(
            "cloudsignal_commit_seconds", "How long writing a group took, in seconds"
        )
        yield GaugeMetricFamily(
            "cloudsignal_queue_signals", "Signals waiting to be written", self._waiting()
        )
        yield GaugeMetricFamily(
            "cloudsignal_log_position", "Position of the newest signal written here", self.position
        )

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)
