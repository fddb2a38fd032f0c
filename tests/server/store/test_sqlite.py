"""The store on SQLite keeps the contract."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.server.store.store import Store, open_store
from tests.server.store import told
from tests.server.store.contract import OF_SOME, StoreContract, furnish
from tests.server.store.search_contract import asked


def is_of_few(step: str) -> bool:
    """Whether what is looked through again are the few that were found by an index."""
    return step.split()[-1] in OF_SOME or any(
        each in step for each in ("anon_", "(subquery", "CONSTANT ROW")
    )


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


class TestSQLite(StoreContract):
    @pytest.fixture
    def new_store(self, tmp_path: Path) -> Callable[[], AbstractContextManager[Store]]:
        numbers = count()

        @contextmanager
        def opened() -> Iterator[Store]:
            with closing(open_store(url_of(tmp_path / f"{next(numbers)}.db"))) as store:
                furnish(store)
                yield store

        return opened

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "store.db"

    @pytest.fixture
    def store(self, path: Path) -> Iterator[Store]:
        with closing(open_store(url_of(path))) as store:
            furnish(store)
            yield store

    @pytest.fixture
    def another(self, store: Store, path: Path) -> Iterator[Store]:
        """The same store, opened as another process would."""
        with closing(open_store(url_of(path))) as another:
            yield another

    @pytest.fixture(params=["signals", "items", "parcels"])
    def fault(
        self, path: Path, request: pytest.FixtureRequest
    ) -> Callable[[Store], AbstractContextManager[None]]:
        return lambda store: failing_at(path, request.param)

    @pytest.fixture
    def read_whole(self) -> Callable[[Store, str, Any], list[str]]:
        def steps(store: Store, statement: str, parameters: Any) -> list[str]:
            with store._database.reading() as connection:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                scans = [step for *_, step in plan if step.startswith("SCAN")]
                return [each for each in scans if not is_of_few(each)]

        return steps

    def test_a_store_is_for_its_owner_only(self, store: Store, path: Path) -> None:
        files = [path, *path.parent.glob(f"{path.name}-*")]

        assert len(files) == 3
        assert [each for each in files if each.stat().st_mode & 0o077] == []

    @pytest.mark.parametrize(
        "few", [{"message": "a"}, {"order": "1"}, {"message": "a", "before": 9}]
    )
    def test_attempts_of_few_messages_are_not_looked_for_among_all_at_an_endpoint(
        self, store: Store, few: dict[str, Any]
    ) -> None:
        with asked(store) as questions:
            store.delivery_log.attempts(endpoint=1, limit=50, **few)

        [*_, (statement, parameters)] = questions
        with store._database.reading() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = [step for *_, step in plan if "attempts" in step]
        assert len(steps) == 1
        assert "USING INDEX attempts_message (message=?" in steps[0]

    def test_a_node_that_is_known_to_be_there_writes_nothing(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told.endpoint(store)
        before = store.tellers.stay("a", lease_s=3600)
        monkeypatch.setattr(store._database, "writing", None)

        assert store.tellers.stay("a", lease_s=3600) == before


@contextmanager
def failing_at(path: Path, table: str) -> Iterator[None]:
    """While it lasts, the second row of a group cannot be written to a table."""
    when = {
        "signals": "NEW.position > 2",
        "items": "NEW.item = '2'",
        "parcels": "(SELECT count(*) FROM parcels) = 1",
    }
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            f"CREATE TRIGGER fault BEFORE INSERT ON {table} WHEN {when[table]}"
            " BEGIN SELECT RAISE(ABORT, 'a fault for the test'); END"
        )
        yield
        connection.execute("DROP TRIGGER fault")
