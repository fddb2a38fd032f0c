"""For tests of programs that send signals: a server that is not there.

``FakeServer`` checks and answers as a cloudsignal server does, fails when it is told to, and shows what it
was sent. With pytest the fixture ``cloudsignal_server`` gives one that listens on a port.
"""

from cloudsignal.testing.fakes import FakeServer, ReceivedSignal
from cloudsignal.testing.faults import (
    Fault,
    answering,
    garbage,
    hanging_up,
    silent,
    some_page,
    unavailable,
)

__all__ = [
    "FakeServer",
    "Fault",
    "ReceivedSignal",
    "answering",
    "garbage",
    "hanging_up",
    "silent",
    "some_page",
    "unavailable",
]
