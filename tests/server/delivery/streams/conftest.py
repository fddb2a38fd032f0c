"""A store to follow, and a signal or many in it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cloudsignal.server.store.store import Store, open_store
from tests.server.store.contract import furnish


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path / 'store.db'}")) as store:
        furnish(store)
        yield store
