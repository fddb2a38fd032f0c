"""The figures in Prometheus' text format."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cloudsignal.server.metrics import Figures

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def text(figures: Figures) -> bytes:
    """Every figure, as Prometheus reads it."""
    registry = CollectorRegistry()
    registry.register(_Collector(figures))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        figures = self._figures
        posts = CounterMetricFamily(
            "cloudsignal_posts", "Posts by outcome: accepted, or an error type", labels=["outcome"]
        )
        for outcome, count in sorted(figures.posts.items()):
            posts.add_metric([outcome], count)
        yield posts
        signals = CounterMetricFamily(
            "cloudsignal_signals", "Signals of accepted posts by type", labels=["type"]
        )
        for type_name, count in sorted(figures.signals.items()):
            signals.add_metric([type_name], count)
        yield signals
        yield CounterMetricFamily(
            "cloudsignal_repeated_signals", "Signals that were in the log already", figures.repeats
        )
        yield HistogramMetricFamily(
            "cloudsignal_group_signals",
            "Signals written in one transaction",
            buckets=figures.group_sizes.buckets(),
            sum_value=figures.group_sizes.sum,
        )
        yield HistogramMetricFamily(
            "cloudsignal_commit_seconds",
            "How long writing a group took, commit included, in seconds",
            buckets=figures.commit_seconds.buckets(),
            sum_value=figures.commit_seconds.sum,
        )
        yield GaugeMetricFamily(
            "cloudsignal_queue_signals", "Signals waiting to be written", figures.waiting
        )
        yield GaugeMetricFamily(
            "cloudsignal_log_position",
            "Position of the newest signal written here",
            figures.position,
        )
