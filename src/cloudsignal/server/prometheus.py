"""The figures in Prometheus' text format."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cloudsignal.server.metrics import Metrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def text(metrics: Metrics) -> bytes:
    """Every figure, as Prometheus reads it."""
    registry = CollectorRegistry()
    registry.register(_Collector(metrics))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        metrics = self._metrics
        posts = CounterMetricFamily(
            "cloudsignal_posts", "Posts by outcome: accepted, or an error type", labels=["outcome"]
        )
        for outcome, count in sorted(metrics.posts.items()):
            posts.add_metric([outcome], count)
        yield posts
        signals = CounterMetricFamily(
            "cloudsignal_signals", "Signals of accepted posts by type", labels=["type"]
        )
        for type_name, count in sorted(metrics.signals.items()):
            signals.add_metric([type_name], count)
        yield signals
        yield CounterMetricFamily(
            "cloudsignal_repeated_signals", "Signals that were in the log already", metrics.repeats
        )
        yield HistogramMetricFamily(
            "cloudsignal_group_signals",
            "Signals written in one transaction",
            buckets=metrics.group_sizes.buckets(),
            sum_value=metrics.group_sizes.sum,
        )
        yield HistogramMetricFamily(
            "cloudsignal_commit_seconds",
            "How long writing a group took, commit included, in seconds",
            buckets=metrics.commit_seconds.buckets(),
            sum_value=metrics.commit_seconds.sum,
        )
        yield GaugeMetricFamily(
            "cloudsignal_queue_signals", "Signals waiting to be written", metrics.waiting()
        )
        yield GaugeMetricFamily(
            "cloudsignal_log_position",
            "Position of the newest signal written here",
            metrics.position,
        )
