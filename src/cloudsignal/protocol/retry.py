"""Which answers to try again, and after how long. Chance is an argument."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

RETRY_STATUSES: Final = frozenset({408, 425, 429})
"""Answers below 500 after which the same post may succeed later."""
FIRST_S: Final = 0.5
CAP_S: Final = 300.0


def is_worth_retrying(status: int | None) -> bool:
    """Whether the same post may succeed later. None stands for no answer at all.

    A 400, 401 or 403 never is: the same post would be refused again.
    """
    return status is None or status >= 500 or status in RETRY_STATUSES


def delay_s(
    attempt: int,
    *,
    jitter: float,
    retry_after_s: float | None = None,
    first_s: float = FIRST_S,
    cap_s: float = CAP_S,
) -> float:
    """Seconds to wait after the failed attempt number ``attempt`` (from 1).

    The wait doubles with every attempt up to ``cap_s``; ``jitter``, from 0 to 1, picks a point in
    its upper half, so that many senders do not come back at once. ``retry_after_s``, what the
    server asked for, is a floor.
    """
    longest = min(cap_s, first_s * 2.0 ** min(attempt - 1, 60))
    return max(retry_after_s or 0.0, longest * (0.5 + jitter / 2))


def retry_after_s(text: str, *, now: datetime, longest_s: float) -> float:
    """Seconds to wait, as ``Retry-After`` says it: a number, or a date (RFC 9110, section 10.2.3).

    Never more than ``longest_s``; 0.0 for what is neither.
    """
    text = text.strip()
    if text.isdecimal() and text.isascii():
        return min(float(text), longest_s)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(0.0, (until - now).total_seconds()), longest_s)
