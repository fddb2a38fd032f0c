"""How commands that run until they are told to end hear of it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Ending:
    """Whether the process was asked to end, by SIGTERM or Ctrl-C."""

    def __init__(self) -> None:
        self.told = False
        # Not an Event: the handler runs in the thread that waits, and would wait for the Event's lock.
        self._gate = threading.Lock()
        self._gate.acquire()

    def tell(self) -> None:
        """Say it, once."""
        self.told = True
        self._gate.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait so many seconds, or until it is said: whether it was."""
        return self.told or self._gate.acquire(timeout=timeout_s)


@contextmanager
def told_to_end() -> Iterator[Ending]:
    """Hear of SIGTERM and Ctrl-C instead of being interrupted by them.

    So what is being written is written once and whole. A second one does what it does elsewhere, for
    when the first is not heeded.
    """
    ending = Ending()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def give_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def tell(*_: object) -> None:
        give_back()
        ending.tell()

    for number in before:
        signal.signal(number, tell)
    try:
        yield ending
    finally:
        give_back()
