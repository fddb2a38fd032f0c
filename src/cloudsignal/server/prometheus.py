"""The figures in Prometheus' text format."""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cloudsignal.server.metrics import Figures, Told
from cloudsignal.server.store.delivery_log import Standing

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def text(figures: Figures, standing: Standing | None) -> bytes:
    """Every figure, as Prometheus reads it; how endpoints stand only if that is known."""
    registry = CollectorRegistry()
    registry.register(_Collector(figures))
    registry.register(_Told(figures.told, standing))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        figures = self._figures
        posts = CounterMetricFamily(
            "cloudsignal_posts", "Posts by outcome: accepted, or an error type", labels=["outcome"]
        )
        yield _filled(posts, figures.posts)
        signals = CounterMetricFamily(
            "cloudsignal_signals", "Signals of accepted posts by type", labels=["type"]
        )
        yield _filled(signals, figures.signals)
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
        failed = CounterMetricFamily(
            "cloudsignal_failed_sign_ins",
            "Sign-ins to the panel that failed by reason",
            labels=["why"],
        )
        yield _filled(failed, figures.failed_sign_ins)


class _Told(Collector):
    def __init__(self, told: Told, standing: Standing | None) -> None:
        self._told = told
        self._standing = standing

    def collect(self) -> Iterable[Metric]:
        told = self._told
        attempts = CounterMetricFamily(
            "cloudsignal_webhook_attempts",
            "Attempts to tell order owners by outcome: delivered, failed, or given_up with it",
            labels=["outcome"],
        )
        yield _filled(attempts, told.attempts)
        yield HistogramMetricFamily(
            "cloudsignal_webhook_attempt_seconds",
            "How long an attempt took, in seconds",
            buckets=told.attempt_seconds.buckets(),
            sum_value=told.attempt_seconds.sum,
        )
        yield HistogramMetricFamily(
            "cloudsignal_webhook_told_seconds",
            "From a signal's arrival until its owner had taken it at the first attempt, in seconds",
            buckets=told.told_seconds.buckets(),
            sum_value=told.told_seconds.sum,
        )
        if self._standing is not None:
            yield from _standing(self._standing)


def _standing(standing: Standing) -> Iterable[Metric]:
    for name, text, counts in (
        ("cloudsignal_endpoints", "Endpoints by state", standing.endpoints),
        ("cloudsignal_deliveries", "Deliveries that are noted by state", standing.deliveries),
    ):
        yield _filled(GaugeMetricFamily(name, text, labels=["state"]), counts)
    yield GaugeMetricFamily(
        "cloudsignal_endpoints_behind",
        "Positions of the log that the active endpoint furthest behind has not passed",
        standing.behind,
    )


def _filled(family: CounterMetricFamily | GaugeMetricFamily, counts: Mapping[str, int]) -> Metric:
    for label, count in sorted(counts.items()):
        family.add_metric([label], count)
    return family
