"""Who has tried too many unknown keys."""

import pytest

from cloudsignal.protocol.refusals import Refusal
from cloudsignal.server.settings import Settings
from cloudsignal.server.strangers import Strangers
from tests.server.clock import Clock

HERE, THERE = "192.0.2.7", "192.0.2.8"
LIMIT, WINDOW_S = 2, 60


def test_an_address_may_try_so_many_unknown_keys_in_a_while() -> None:
    clock = Clock()
    settings = Settings(failed_keys_max=LIMIT, failed_keys_window_s=WINDOW_S)
    strangers = Strangers(settings, clock)
    for _ in range(LIMIT):
        strangers.check(HERE)
        strangers.count(HERE)
    clock.pass_s(1)

    with pytest.raises(Refusal) as caught:
        strangers.check(HERE)

    assert (caught.value.type, caught.value.retry_after_s) == ("too_many_requests", WINDOW_S - 1)
    strangers.check(THERE)
    clock.pass_s(WINDOW_S)
    strangers.check(HERE)
