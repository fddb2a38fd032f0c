"""How often each of many did something lately."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.clock import Clock

REMEMBERED_MAX: Final = 10_000
"""How many are remembered; the longest quiet one is forgotten first."""


class Windows:
    """Counts for each of many, in a window of time that begins with its first act."""

    def __init__(self, window_s: int, clock: Clock) -> None:
        self._window_us = window_s * SECOND_US
        self._clock = clock
        self._windows: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()

    def of(self, who: Hashable) -> tuple[int, int]:
        """How often in the current window, and how many whole seconds are left of it."""
        ends, times = self._windows.get(who, (0, 0))
        left_us = ends - self._clock()
        return (times, -(-left_us // SECOND_US)) if left_us > 0 else (0, 0)

    def count(self, who: Hashable) -> None:
        """Count one act."""
        now = self._clock()
        ends, times = self._windows.pop(who, (0, 0))
        self._windows[who] = (ends, times + 1) if ends > now else (now + self._window_us, 1)
        if len(self._windows) > REMEMBERED_MAX:
            self._windows.popitem(last=False)
