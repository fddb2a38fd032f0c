"""Who has tried too many unknown keys, and has to wait before the next."""

from cloudsignal.protocol.refusals import refuse
from cloudsignal.server import addresses
from cloudsignal.server.clock import Clock
from cloudsignal.server.settings import Settings
from cloudsignal.server.windows import Windows


class Strangers:
    """Counts the unknown keys that came from each address, of whatever kind they should have been."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._most = settings.failed_keys_max
        self._failures = Windows(settings.failed_keys_window_s, clock)

    def check(self, address: str) -> None:
        """Whether another key may be tried from there. Raises Refusal (``too_many_requests``)."""
        failures, left_s = self._failures.of(addresses.neighbourhood(address))
        if failures >= self._most:
            raise refuse(
                "too_many_requests",
                "too many unknown keys came from this address: check the apikey, then wait",
                retry_after_s=left_s,
            )

    def count(self, address: str) -> None:
        """Count an unknown key that came from there."""
        self._failures.count(addresses.neighbourhood(address))
