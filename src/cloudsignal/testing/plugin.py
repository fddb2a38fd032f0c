"""For pytest: found by itself wherever cloudsignal is installed."""

from collections.abc import Iterator

import pytest

from cloudsignal.testing import FakeServer


@pytest.fixture
def cloudsignal_server() -> Iterator[FakeServer]:
    """A CloudSignal server at ``cloudsignal_server.url``, new for each test."""
    with FakeServer() as server:
        yield server
