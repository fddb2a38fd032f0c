"""What is counted, and how Prometheus is told."""

import pytest

from cloudsignal.protocol.refusals import refuse
from cloudsignal.protocol.wire import Receipt
from cloudsignal.server import prometheus
from cloudsignal.server.metrics import Distribution, Metrics, Told
from cloudsignal.server.store.delivery_log import Standing
from tests.server.arrivals import arrival, report


def figures(metrics: Metrics, standing: Standing | None = None) -> dict[str, float]:
    """What Prometheus reads."""
    lines = prometheus.text(metrics.figures(), standing).decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], [0, 0, 0]),
        ([0], [1, 1, 1]),
        ([1], [1, 1, 1]),
        ([1.1, 5, 5.1, 99], [0, 2, 4]),
    ],
)
def test_a_value_falls_into_every_bucket_that_is_at_least_as_large(
    values: list[float], expected: list[int]
) -> None:
    distribution = Distribution([1, 5])

    for value in values:
        distribution.note(value)

    assert distribution.buckets() == list(zip(["1.0", "5.0", "+Inf"], expected, strict=True))
    assert distribution.sum == pytest.approx(sum(values))


def test_a_group_is_counted_by_post_and_signal_and_type() -> None:
    metrics = Metrics(lambda: 7)
    posts = [
        arrival(report("ItemShipped"), report(item="2")),
        arrival(report(item="3")),
        arrival(report(item="4")),
    ]

    metrics.note_group(posts, [Receipt(1, 1, 9), None, Receipt(1, 0, 11)], 0.003)
    metrics.note_refused(refuse("not_your_item", "…"))
    metrics.note_refused(refuse("unknown_key", "…"))
    metrics.note_failed_sign_in("wrong_password")

    told = figures(metrics)
    assert told['cloudsignal_posts_total{outcome="accepted"}'] == 2
    assert told['cloudsignal_posts_total{outcome="not_your_item"}'] == 1
    assert told['cloudsignal_posts_total{outcome="unknown_key"}'] == 1
    assert told['cloudsignal_failed_sign_ins_total{why="wrong_password"}'] == 1
    assert told['cloudsignal_signals_total{type="ItemShipped"}'] == 1
    assert told['cloudsignal_signals_total{type="ItemRegistered"}'] == 2
    assert told["cloudsignal_repeated_signals_total"] == 1
    assert told["cloudsignal_group_signals_sum"] == 3
    assert told["cloudsignal_group_signals_count"] == 1
    assert told['cloudsignal_group_signals_bucket{le="2.0"}'] == 0
    assert told['cloudsignal_group_signals_bucket{le="5.0"}'] == 1
    assert told["cloudsignal_commit_seconds_sum"] == pytest.approx(0.003)
    assert told['cloudsignal_commit_seconds_bucket{le="0.002"}'] == 0
    assert told['cloudsignal_commit_seconds_bucket{le="0.005"}'] == 1
    assert told["cloudsignal_queue_signals"] == 7
    assert told["cloudsignal_log_position"] == 11


def test_a_group_of_which_nothing_was_written_is_no_commit() -> None:
    metrics = Metrics(lambda: 0)

    metrics.note_group([arrival()], [None], 5.0)

    told = figures(metrics)
    assert told["cloudsignal_commit_seconds_count"] == 0
    assert told["cloudsignal_group_signals_count"] == 0
    assert not any(name.startswith("cloudsignal_posts_total") for name in told)


def test_the_position_never_goes_back() -> None:
    metrics = Metrics(lambda: 0)

    metrics.note_group([arrival()], [Receipt(1, 0, 9)], 0.1)
    metrics.note_group([arrival()], [Receipt(0, 1, 3)], 0.1)

    assert figures(metrics)["cloudsignal_log_position"] == 9


def test_telling_owners_is_counted_and_how_it_stands_is_told() -> None:
    told = Told()
    told.note("delivered", 0.02)
    told.note("failed", 14.0)
    told.told_seconds.note(0.03)
    both = Told()
    both.add(told)
    both.add(told)
    metrics = Metrics(lambda: 0, lambda: both)

    found = figures(metrics, Standing({"active": 3, "paused": 1}, {"dead": 2}, 70))

    assert found['cloudsignal_webhook_attempts_total{outcome="delivered"}'] == 2
    assert found['cloudsignal_webhook_attempts_total{outcome="failed"}'] == 2
    assert found['cloudsignal_webhook_attempt_seconds_bucket{le="0.025"}'] == 2
    assert found["cloudsignal_webhook_attempt_seconds_count"] == 4
    assert found['cloudsignal_webhook_told_seconds_bucket{le="0.05"}'] == 2
    assert found['cloudsignal_endpoints{state="active"}'] == 3
    assert found['cloudsignal_deliveries{state="dead"}'] == 2
    assert found["cloudsignal_endpoints_behind"] == 70
    assert "cloudsignal_endpoints_behind" not in figures(metrics)
