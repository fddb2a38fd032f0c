"""When a failed delivery is tried again, and when it is given up. Time and chance are arguments."""

from typing import Final

ATTEMPTS_MAX: Final = 100
GIVE_UP_AFTER_S: Final = 7 * 24 * 3600.0
"""How long after its first attempt a delivery may still be tried."""
ATTEMPT_S_MAX: Final = 15.0
"""How long one attempt may take."""
FIRST_WAITS_S: Final = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
"""The waits after the first attempts: most endpoints that fail are back within minutes."""
STEADY_WAIT_S: Final = 6690.0
"""Every wait after them, about 1 h 52 min: so all attempts fit, though each may take as long as it may."""
JITTER: Final = 0.1
"""By which part of it a wait may be shorter, so that what failed together does not come back together."""
RETRY_AFTER_MAX_S: Final = 24 * 3600.0
"""The longest wait that an endpoint can ask for: one wrong header must not cost the delivery."""


def wait_s(
    attempt: int, *, since_first_s: float, jitter: float, retry_after_s: float = 0.0
) -> float | None:
    """Seconds to wait after the failed attempt number ``attempt`` (from 1), or None to give up.

    ``since_first_s`` is how long ago the first attempt began. ``jitter``, from 0 to 1, only shortens
    the wait. ``retry_after_s``, what the endpoint asked for, is a floor.
    """
    if attempt >= ATTEMPTS_MAX:
        return None
    wait = max(_longest_s(attempt) * (1 - JITTER * jitter), min(retry_after_s, RETRY_AFTER_MAX_S))
    return wait if since_first_s + wait <= GIVE_UP_AFTER_S else None


def _longest_s(attempt: int) -> float:
    return FIRST_WAITS_S[attempt - 1] if attempt <= len(FIRST_WAITS_S) else STEADY_WAIT_S
