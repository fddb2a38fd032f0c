"""What the cursors of the log's readers promise, on any store."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store


class CursorsContract:
    def test_a_reader_goes_on_and_never_back(self, store: Store, another: Store) -> None:
        assert store.cursors.positions() == {}

        store.cursors.advance("a", 7)
        store.cursors.advance("b", 0)
        another.cursors.advance("a", 9)
        store.cursors.advance("a", 8)

        assert store.cursors.positions() == another.cursors.positions() == {"a": 9, "b": 0}

    def test_a_reader_that_was_removed_is_not_there_and_may_begin_anew(self, store: Store) -> None:
        store.cursors.advance("a", 7)

        store.cursors.remove("a")
        with pytest.raises(NotFound, match="there is no reader 'nobody'"):
            store.cursors.remove("nobody")

        assert store.cursors.positions() == {}
        store.cursors.advance("a", 3)
        assert store.cursors.positions() == {"a": 3}

    def test_a_store_has_an_identity_of_its_own(
        self, store: Store, another: Store, new_store: Callable[[], AbstractContextManager[Store]]
    ) -> None:
        assert store.identity() == store.identity() == another.identity()
        with new_store() as other:
            assert other.identity() != store.identity()
