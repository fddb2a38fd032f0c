"""Commands that run until they are told to end."""

import os
import signal

import pytest

from cloudsignal.cli.ending import told_to_end

ASKED = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("how", ASKED)
def test_the_first_is_heard_and_the_second_interrupts(how: signal.Signals) -> None:
    before = {each: signal.getsignal(each) for each in ASKED}

    with told_to_end() as ending:
        assert not ending.told
        assert not ending.wait(0.0)

        os.kill(os.getpid(), how)

        assert ending.wait(10.0)
        assert ending.told
        assert ending.wait(0.0)
        assert {each: signal.getsignal(each) for each in ASKED} == before

    assert {each: signal.getsignal(each) for each in ASKED} == before


def test_who_is_not_told_gives_the_handlers_back() -> None:
    before = [signal.getsignal(each) for each in ASKED]

    with told_to_end():
        assert [signal.getsignal(each) for each in ASKED] != before

    assert [signal.getsignal(each) for each in ASKED] == before
