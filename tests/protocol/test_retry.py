from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.protocol.retry import CAP_S, FIRST_S, delay_s, is_worth_retrying, retry_after_s


@pytest.mark.parametrize("status", [None, 408, 425, 429, 500, 501, 502, 503, 504, 507, 599])
def test_what_may_pass_is_tried_again(status: int | None) -> None:
    assert is_worth_retrying(status)


@pytest.mark.parametrize(
    "status", [200, 201, 204, 301, 302, 400, 401, 403, 404, 405, 410, 413, 415]
)
def test_what_would_be_refused_again_is_not(status: int) -> None:
    assert not is_worth_retrying(status)


@pytest.mark.parametrize(
    ("attempt", "shortest", "longest"),
    [
        (1, 0.25, 0.5),
        (2, 0.5, 1.0),
        (3, 1.0, 2.0),
        (9, 64.0, 128.0),
        (10, 128.0, 256.0),
        (11, 150.0, 300.0),
        (100, 150.0, 300.0),
        (10**9, 150.0, 300.0),
    ],
)
def test_the_wait_doubles_up_to_the_cap(attempt: int, shortest: float, longest: float) -> None:
    assert delay_s(attempt, jitter=0) == shortest
    assert delay_s(attempt, jitter=1) == longest


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_more_attempts_never_wait_less(attempt: int, jitter: float, other: float) -> None:
    assert FIRST_S / 2 <= delay_s(attempt, jitter=jitter) <= CAP_S
    assert delay_s(attempt, jitter=jitter) <= delay_s(attempt + 1, jitter=jitter)
    assert delay_s(attempt, jitter=jitter) <= delay_s(attempt + 1, jitter=other) + CAP_S / 2


@pytest.mark.parametrize(
    ("retry_after_s", "waited"), [(None, 0.5), (0, 0.5), (0.1, 0.5), (30, 30), (3600, 3600)]
)
def test_retry_after_is_a_floor(retry_after_s: float | None, waited: float) -> None:
    assert delay_s(1, jitter=1, retry_after_s=retry_after_s) == waited


def test_the_pace_is_the_callers_to_set() -> None:
    assert delay_s(1, jitter=1, first_s=60, cap_s=600) == 60
    assert delay_s(9, jitter=1, first_s=60, cap_s=600) == 600


@pytest.mark.parametrize(
    ("text", "waited"),
    [
        ("0", 0),
        (" 30 ", 30),
        ("3601", 3600),
        ("9" * 400, 3600),
        ("Thu, 01 Jan 2026 00:00:20 GMT", 20),
        ("Thu, 01 Jan 2026 00:00:20 -0000", 20),
        ("Wed, 31 Dec 2025 23:59:59 GMT", 0),
        ("Fri, 01 Jan 2027 00:00:00 GMT", 3600),
        ("", 0),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("٣", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, waited: float) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after_s(text, now=now, longest_s=3600) == waited
