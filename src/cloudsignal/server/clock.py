"""The clock, for those who take it as an argument."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Tells the instant, in microseconds since 1970."""


def now() -> int:
    """The instant, in microseconds since 1970."""
    return time.time_ns() // 1000
