"""What can go wrong at the print partner's side.

CloudSignalError
├── SetupError              an address, a key or a file that cannot be used as it is
├── SendError               signals that are not known to be stored
│   ├── Refused             the same post would be refused again
│   │   ├── InvalidSignals  something is wrong with the signals (400, 413, or found before sending)
│   │   ├── KeyRefused      something is wrong with the key (401, 403)
│   │   └── WrongAddress    something is wrong with the address (3xx, 404, 405, 410 …)
│   └── NotSent             send the same again later: it may have arrived or not
│       ├── NoAnswer        nothing came back, or not all of it
│       ├── NotNow          the server cannot take it just now (408, 425, 429, 500 and above)
│       └── StrangeAnswer   a 200 that is not from a CloudSignal server
└── OutboxError
├── OutboxFull          the outbox holds as much as it may, or the disk does
└── OutboxUnusable      the file cannot be used as it is
"""

from collections.abc import Sequence

from cloudsignal.partner.receipts import Receipt
from cloudsignal.protocol.refusals import Problem
from cloudsignal.protocol.signals import Signal


class CloudSignalError(Exception):
    """The base of every error that this package raises on purpose."""


class SetupError(CloudSignalError):
    """An address, a key or a file cannot be used as it is; the message says what to do."""


class SendError(CloudSignalError):
    """Signals are not known to be stored.

    ``info`` is the sentence that says why, the server's own if it sent one. ``status`` is the HTTP status, None
    without an answer; ``type`` the server's name for the error, empty if it gave none; ``problems`` everything
    it found; ``retry_after_s`` how long it asked to wait, 0.0 if it did not. ``stored`` is the receipt for those
    signals, always the first ones, that were stored before it came to this, and ``unsent`` are the others.
    """

    def __init__(
        self,
        info: str,
        *,
        status: int | None = None,
        type: str = "",
        problems: Sequence[Problem] = (),
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(info)
        self.info = info
        self.status = status
        self.type = type
        self.problems = tuple(problems)
        self.retry_after_s = retry_after_s
        self.stored: Receipt | None = None
        self.unsent: tuple[Signal, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """Everything that is wrong, a sentence each."""
        return tuple(problem.info for problem in self.problems) or (self.info,)


class Refused(SendError):
    """The same post would be refused again."""


class InvalidSignals(Refused):
    """Something is wrong with the signals: ``problems`` says what, and in which."""


class KeyRefused(Refused):
    """The key is not known, or may not be used: ask the operator of the server."""


class WrongAddress(Refused):
    """There is no CloudSignal server at this address."""


class NotSent(SendError):
    """It may have arrived or not. Send the same again later: a repeat is recognised."""


class NoAnswer(NotSent):
    """Nothing came back, or not all of it."""


class NotNow(NotSent):
    """The server cannot take it just now."""


class StrangeAnswer(NotSent):
    """What answered is not a CloudSignal server: a proxy, or the sign-in page of a network."""


class OutboxError(CloudSignalError):
    """The outbox cannot do what it was asked; the message says why."""


class OutboxFull(OutboxError):
    """The outbox, or its disk, is full: the signal was not taken."""


class OutboxUnusable(OutboxError):
    """The file of the outbox cannot be used as it is; the message says what to do."""
