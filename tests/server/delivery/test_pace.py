"""How fast an endpoint is told: as fast as it takes it, and 100 times in a week while it takes nothing."""

import pytest

from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.delivery.pace import (
    AT_ONCE_FIRST,
    AT_ONCE_MAX,
    DISABLED_AFTER,
    RESTS_AFTER,
    SLOW_S,
    Pace,
)

DAY = 24 * 3600


def fail(pace: Pace, at_s: float, *, begun_s: float | None = None, **values: float) -> bool:
    """Have an attempt fail: whether it counts."""
    given = {"jitter": 0.0, "status": 500, "retry_after_s": 0.0}
    begun = at_s if begun_s is None else begun_s
    return pace.failed(begun=int(begun * SECOND_US), now=int(at_s * SECOND_US), **given | values)  # type: ignore[arg-type]


def failing(times: int) -> Pace:
    """How it is after so many failures, a minute apart."""
    pace = Pace()
    for minute in range(times):
        assert fail(pace, 60 * (minute + 1))
    return pace


def rests_s(pace: Pace, at_s: float) -> float:
    """For how long it is left alone after that instant."""
    return pace.rests_until / SECOND_US - at_s


def test_it_is_told_ever_faster_while_it_takes_what_it_is_told() -> None:
    pace = Pace()
    seen = [pace.at_once]
    for _ in range(3):
        pace.delivered(0.1)
        seen.append(pace.at_once)
    assert seen == [AT_ONCE_FIRST, 8, AT_ONCE_MAX, AT_ONCE_MAX]
    assert [pace.may_send(n, 1) for n in (0, 15, 16)] == [True, True, False]


def test_it_is_told_at_half_the_pace_after_each_failure() -> None:
    pace = Pace(at_once=AT_ONCE_MAX)
    seen = []
    for minute in range(1, RESTS_AFTER + 2):
        fail(pace, 60 * minute)
        seen.append(pace.at_once)
    assert seen == [8, 4, 2, 1, 1, 1]


def test_what_was_under_way_at_the_same_time_fails_once() -> None:
    pace = Pace(at_once=AT_ONCE_MAX)

    counted = [fail(pace, 16 + n / 10, begun_s=1 + n / 10) for n in range(16)]

    assert (counted.count(True), pace.failures, pace.at_once) == (1, 1, 8)
    assert fail(pace, 40, begun_s=20)
    assert (pace.failures, pace.failing_since) == (2, SECOND_US)


def test_what_it_took_slowly_is_no_proof() -> None:
    pace = Pace()
    seen = []
    for took_s in (SLOW_S, SLOW_S + 0.1, 0.1, 14.0):
        pace.delivered(took_s)
        seen.append(pace.is_proven)

    assert seen == [True, False, True, False]


def test_it_is_proven_by_the_last_that_it_took() -> None:
    pace = Pace()
    assert not pace.is_proven
    pace.delivered(0.1)
    assert pace.is_proven
    fail(pace, 5)
    assert not pace.is_proven


def test_after_some_failures_it_rests_ever_longer() -> None:
    pace = failing(RESTS_AFTER - 1)
    assert (pace.is_down, pace.rests_until) == (False, 0)
    rests = []
    for minute in range(10, 15):
        fail(pace, 60 * minute)
        rests.append(rests_s(pace, 60 * minute))
        pace.rests_until = 0
    assert (pace.is_down, rests) == (True, [5, 15, 30, 60, 120])


def test_while_it_rests_nothing_is_sent() -> None:
    pace = failing(RESTS_AFTER)
    assert not pace.may_send(0, pace.rests_until - 1)
    assert pace.may_send(0, pace.rests_until)
    assert not pace.may_send(1, pace.rests_until)


def test_the_first_that_it_takes_ends_all_that() -> None:
    pace = failing(60)

    pace.delivered(0.1)

    assert (pace.failures, pace.failing_since, pace.rests_until) == (0, None, 0)
    assert (pace.is_down, pace.is_out, pace.at_once) == (False, False, 2)


@pytest.mark.parametrize(("status", "rests"), [(429, 90), (503, 90), (500, 0), (404, 0)])
def test_who_is_asked_to_wait_with_everything_does(status: int, rests: float) -> None:
    pace = Pace()
    fail(pace, 10, status=status, retry_after_s=90.0)
    assert max(0.0, rests_s(pace, 10)) == rests


def test_the_longer_of_two_rests_counts_also_of_what_was_under_way_before() -> None:
    pace = Pace()
    fail(pace, 10, status=503, retry_after_s=90.0)
    assert not fail(pace, 11, begun_s=9, status=503, retry_after_s=30.0)
    assert rests_s(pace, 10) == 90
    assert not fail(pace, 12, begun_s=9, status=429, retry_after_s=200.0)
    assert rests_s(pace, 12) == 200


@pytest.mark.parametrize("jitter", [0.0, 1.0])
def test_it_is_out_after_a_hundred_failures_and_nearly_a_week(jitter: float) -> None:
    pace, at_s, begun = Pace(), 1.0, 1.0
    while not pace.is_out:
        fail(pace, at_s + 15, begun_s=at_s, jitter=jitter)
        at_s = max(at_s + 15, pace.rests_until / SECOND_US)
    assert pace.failures == DISABLED_AFTER
    assert 5.9 * DAY < at_s - begun <= 7 * DAY
    assert pace.failing_since == SECOND_US
