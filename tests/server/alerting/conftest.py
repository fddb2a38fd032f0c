"""A store with items that are packed, and a clock."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cloudsignal.server.store.store import Store, open_store
from tests.server.arrivals import NOON
from tests.server.clock import Clock
from tests.server.store.contract import furnish


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/a.db")) as store:
        furnish(store)
        yield store


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.now = NOON
    return clock
