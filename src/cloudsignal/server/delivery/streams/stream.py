"""What a stream has to do. One more stream is one more module that has a class like this."""

from collections.abc import Sequence
from typing import Protocol

from cloudsignal.server.delivery.streams.messages import Message


class StreamUnavailable(Exception):
    """Nothing more can be published just now; the message says why, and what to do if one has to."""


class Stream(Protocol):
    """Where every signal is published, in the order of the log."""

    name: str
    """What it is called in the name of its cursor and in log lines."""

    async def publish(self, messages: Sequence[Message]) -> int:
        """Publish messages in their order: how many of them, from the first on, it now holds for good.

        One at least, perhaps not all; none of them before those that come before it. What it holds
        already, and was published a short while ago, it does not take again. Raises StreamUnavailable.
        """

    async def close(self) -> None:
        """Let go of the stream. Publishing connects again."""
