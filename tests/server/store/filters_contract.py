"""What is promised of the filters that people save, on any store."""

import pytest

from cloudsignal.server.store import filters
from cloudsignal.server.store.errors import NotFound, TooMany
from cloudsignal.server.store.store import Store


def people(store: Store) -> tuple[int, int]:
    """Two users."""
    ada, grace = (store.users.create(name, "reader", now=1) for name in ("Ada", "Grace"))
    return ada.id, grace.id


def saved(store: Store, user: int, of: str = "items") -> dict[str, str]:
    return {each.name: each.query for each in store.filters.of(user, of)}


class FiltersContract:
    def test_a_filter_is_its_users_and_its_lists(self, store: Store, another: Store) -> None:
        ada, grace = people(store)
        store.filters.save(ada, "items", "late", "delayed=yes")
        store.filters.save(ada, "items", "gone", "state=canceled")
        store.filters.save(ada, "orders", "late", "owner=Books")
        store.filters.save(grace, "items", "late", "state=packed")

        assert saved(another, ada) == {"gone": "state=canceled", "late": "delayed=yes"}
        assert saved(store, ada, "orders") == {"late": "owner=Books"}
        assert saved(store, grace) == {"late": "state=packed"}
        assert saved(store, grace, "orders") == {}

    def test_one_of_the_same_name_is_replaced(self, store: Store) -> None:
        ada, _ = people(store)
        store.filters.save(ada, "items", "late", "delayed=yes")
        store.filters.save(ada, "items", "late", "delayed=no")

        assert saved(store, ada) == {"late": "delayed=no"}

    def test_nobody_removes_anothers(self, store: Store) -> None:
        ada, grace = people(store)
        store.filters.save(ada, "items", "late", "delayed=yes")
        [late] = store.filters.of(ada, "items")

        with pytest.raises(NotFound, match="there is no filter"):
            store.filters.remove(grace, late.id)
        assert store.filters.of(ada, "items") == [late]
        store.filters.remove(ada, late.id)
        assert store.filters.of(ada, "items") == []
        with pytest.raises(NotFound):
            store.filters.remove(ada, late.id)

    def test_there_are_not_more_than_there_may_be(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(filters, "FILTERS_MAX", 2)
        ada, grace = people(store)
        store.filters.save(ada, "items", "late", "delayed=yes")
        store.filters.save(ada, "orders", "mine", "owner=Books")

        with pytest.raises(TooMany, match="You have 2 filters, which is as many as there may be"):
            store.filters.save(ada, "items", "gone", "state=canceled")
        store.filters.save(ada, "items", "late", "delayed=no")
        store.filters.save(grace, "items", "gone", "state=canceled")

        assert saved(store, ada) == {"late": "delayed=no"}

    def test_they_go_with_their_user_and_nobody_else_saves_any(self, store: Store) -> None:
        ada, _ = people(store)
        store.filters.save(ada, "items", "late", "delayed=yes")
        store.users.remove(ada)

        assert store.filters.of(ada, "items") == []
        with pytest.raises(NotFound):
            store.filters.save(ada, "items", "late", "delayed=yes")
