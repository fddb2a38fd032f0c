"""The schedule: all attempts fit into a week, and nobody is asked again too early."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.server.delivery.schedule import (
    ATTEMPT_S_MAX,
    ATTEMPTS_MAX,
    FIRST_WAITS_S,
    GIVE_UP_AFTER_S,
    JITTER,
    RETRY_AFTER_MAX_S,
    STEADY_WAIT_S,
    wait_s,
)

HOUR = 3600.0
DAY = 24 * HOUR
jitters = st.floats(0, 1)
attempts = st.integers(1, ATTEMPTS_MAX - 1)


def attempts_at(took_s: float, *, jitter: Callable[[int], float]) -> list[float]:
    """When each attempt of a delivery that always fails begins, in seconds after the first."""
    at_s, begun = 0.0, [0.0]
    while True:
        at_s += took_s
        wait = wait_s(len(begun), since_first_s=at_s, jitter=jitter(len(begun)))
        if wait is None:
            return begun
        at_s += wait
        begun.append(at_s)


@pytest.mark.parametrize(
    ("attempt", "waited"),
    [
        (1, 5),
        (2, 15),
        (3, 30),
        (4, 60),
        (5, 120),
        (6, 300),
        (7, 600),
        (8, 1200),
        (9, 1800),
        (10, HOUR),
        (11, STEADY_WAIT_S),
        (99, STEADY_WAIT_S),
        (100, None),
        (101, None),
    ],
)
def test_it_is_fast_at_first_and_then_even(attempt: int, waited: float | None) -> None:
    assert wait_s(attempt, since_first_s=0, jitter=0) == waited


def test_the_steady_wait_is_the_longest_that_lets_all_attempts_fit() -> None:
    steady_waits = ATTEMPTS_MAX - 1 - len(FIRST_WAITS_S)
    room_s = GIVE_UP_AFTER_S - sum(FIRST_WAITS_S) - ATTEMPTS_MAX * ATTEMPT_S_MAX
    assert room_s - 5 * steady_waits < steady_waits * STEADY_WAIT_S <= room_s


@pytest.mark.parametrize("took_s", [0, ATTEMPT_S_MAX])
@given(st.lists(jitters, min_size=ATTEMPTS_MAX, max_size=ATTEMPTS_MAX))
def test_all_attempts_are_made_within_a_week(took_s: float, chances: list[float]) -> None:
    begun = attempts_at(took_s, jitter=lambda attempt: chances[attempt - 1])
    assert len(begun) == ATTEMPTS_MAX
    assert 6 * DAY < begun[-1] <= begun[-1] + took_s <= GIVE_UP_AFTER_S


@given(attempts, jitters)
def test_jitter_only_shortens_and_by_a_tenth_at_most(attempt: int, jitter: float) -> None:
    longest = wait_s(attempt, since_first_s=0, jitter=0)
    wait = wait_s(attempt, since_first_s=0, jitter=jitter)
    assert longest is not None
    assert wait is not None
    assert longest * (1 - JITTER) <= wait <= longest


@given(attempts, jitters, st.floats(0, 10 * DAY), st.floats(0, 8 * DAY))
def test_retry_after_is_a_floor_up_to_a_day(
    attempt: int, jitter: float, asked_s: float, since_first_s: float
) -> None:
    wait = wait_s(attempt, since_first_s=since_first_s, jitter=jitter, retry_after_s=asked_s)
    unasked = wait_s(attempt, since_first_s=0, jitter=jitter)
    assert unasked is not None
    expected = max(unasked, min(asked_s, RETRY_AFTER_MAX_S))
    assert wait == (expected if since_first_s + expected <= GIVE_UP_AFTER_S else None)


@pytest.mark.parametrize("asked_s", [float("inf"), 10.0**18, 365 * DAY])
def test_one_wrong_header_does_not_cost_the_delivery(asked_s: float) -> None:
    assert wait_s(1, since_first_s=0, jitter=0, retry_after_s=asked_s) == DAY


@given(attempts, jitters, st.floats(GIVE_UP_AFTER_S, 1e9))
def test_after_a_week_it_is_given_up(attempt: int, jitter: float, since_first_s: float) -> None:
    assert wait_s(attempt, since_first_s=since_first_s, jitter=jitter) is None
