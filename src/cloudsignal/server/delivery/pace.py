"""How fast an endpoint is told: as fast as it takes it, and ever more seldom while it fails. Time is an argument.

An endpoint that fails is tried as one delivery is: 100 times within 7 days, then it is disabled.
"""

from typing import Final

from msgspec import Struct

from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.delivery.schedule import ATTEMPTS_MAX, wait_s

AT_ONCE_MAX: Final = 16
"""How many attempts are made at an endpoint at the same time."""
AT_ONCE_FIRST: Final = 4
"""How many of one that has not yet taken anything."""
RESTS_AFTER: Final = 5
"""After how many failures, one after the other, an endpoint is left alone for a while: what fails is then
hardly what it is told."""
DISABLED_AFTER: Final = ATTEMPTS_MAX
WARNED_AT: Final = (50, 70, 90)
"""The failures at which the operator is told that an endpoint is going to be disabled."""
SLOW_S: Final = 2.0
"""Whoever takes longer is not proven by it: many slow ones together would leave no room for the others."""
RESTS_WITH: Final = frozenset({429, 503})
"""The answers whose Retry-After is about all that is sent, not about one webhook."""


class Pace(Struct):
    """How an endpoint is doing, and what follows for the next attempt. Instants in microseconds."""

    failures: int = 0
    """How many failed, one after the other. Those that were under way at the same time are one."""
    failing_since: int | None = None
    at_once: int = AT_ONCE_FIRST
    is_proven: bool = False
    """Whether it took the last that it was told, and soon."""
    rests_until: int = 0
    _counts_from: int = 0

    def may_send(self, under_way: int, now: int) -> bool:
        """Whether another attempt may begin beside those that are under way."""
        return under_way < self.at_once and now >= self.rests_until

    @property
    def is_down(self) -> bool:
        """Whether it is tried with one webhook at a time only, after rests."""
        return self.failures >= RESTS_AFTER

    @property
    def is_out(self) -> bool:
        """Whether it failed too often."""
        return self.failures >= DISABLED_AFTER

    def delivered(self, took_s: float) -> None:
        """Take in that something was delivered, within so many seconds."""
        self.failures = 0
        self.failing_since = None
        self.is_proven = took_s <= SLOW_S
        self.rests_until = 0
        self.at_once = min(self.at_once * 2, AT_ONCE_MAX)

    def failed(
        self, *, begun: int, now: int, jitter: float, status: int | None, retry_after_s: float
    ) -> bool:
        """Take in that an attempt, begun then, has failed: whether it counts."""
        if status in RESTS_WITH and retry_after_s:
            self._rest(now, retry_after_s)
        if begun < self._counts_from:
            return False
        self._counts_from = now
        self.failures += 1
        self.is_proven = False
        self.failing_since = self.failing_since or begun
        self.at_once = max(1, self.at_once // 2)
        if self.is_down:
            self.at_once = 1
            times = min(self.failures - RESTS_AFTER + 1, ATTEMPTS_MAX - 1)
            self._rest(now, wait_s(times, since_first_s=0.0, jitter=jitter) or 0.0)
        return True

    def hurry(self) -> None:
        """Rest no longer: somebody wants to see whether it works again."""
        self.rests_until = 0

    def _rest(self, now: int, for_s: float) -> None:
        self.rests_until = max(self.rests_until, now + int(for_s * SECOND_US))
