"""Stores are copied from and to every kind of database."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cloudsignal.server.store.errors import StoreUnavailable, StoreUnusable
from cloudsignal.server.store.postgresql import partitions
from cloudsignal.server.store.store import copy_store, open_store
from tests import postgresql
from tests.server.arrivals import NOON, arrival, report
from tests.server.store.contract import furnish
from tests.server.store.copying_contract import CopyingContract, content
from tests.server.store.test_nodes import parts


def furnished_at(url: str) -> str:
    with closing(open_store(url)) as store:
        furnish(store)
    return url


class FromSQLite:
    @pytest.fixture
    def source(self, tmp_path: Path) -> str:
        return furnished_at(f"sqlite:///{tmp_path}/source.db")

    @pytest.fixture
    def other(self, tmp_path: Path) -> str:
        """Another furnished store."""
        return furnished_at(f"sqlite:///{tmp_path}/other.db")


class ToSQLite:
    @pytest.fixture
    def target(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/target.db"


class FromPostgreSQL:
    @pytest.fixture
    def source(self, postgresql_server: str, furnished: str) -> Iterator[str]:
        with postgresql.database(postgresql_server, furnished) as url:
            yield url

    @pytest.fixture
    def other(self, postgresql_server: str, furnished: str) -> Iterator[str]:
        """Another furnished store."""
        with postgresql.database(postgresql_server, furnished) as url:
            yield url


class ToPostgreSQL:
    @pytest.fixture
    def target(self, postgresql_server: str) -> Iterator[str]:
        with postgresql.database(postgresql_server) as url:
            yield url


class TestFromSQLiteToSQLite(FromSQLite, ToSQLite, CopyingContract):
    pass


class TestFromSQLiteToPostgreSQL(FromSQLite, ToPostgreSQL, CopyingContract):
    pass


class TestFromPostgreSQLToSQLite(FromPostgreSQL, ToSQLite, CopyingContract):
    pass


class TestFromPostgreSQLToPostgreSQL(FromPostgreSQL, ToPostgreSQL, CopyingContract):
    pass


# ---- one kind only ----


def test_one_store_is_recognised_however_its_url_is_written(tmp_path: Path) -> None:
    url = furnished_at(f"sqlite:///{tmp_path}/a.db")
    (tmp_path / "b.db").symlink_to(tmp_path / "a.db")
    before = content(url)

    for other in (f"sqlite:///{tmp_path}/./a.db", f"sqlite:///{tmp_path}/b.db"):
        # Before it was ever copied it has nothing that tells it from others.
        with pytest.raises(StoreUnusable, match=r"are one store"):
            copy_store(url, other)

    identity = [row for row in content(url)["facts"] if row[0] == "identity"]
    before["facts"] = sorted(before["facts"] + identity)
    assert content(url) == before


def test_a_source_is_not_made_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"source\.db is gone"):
        copy_store(f"sqlite:///{tmp_path}/source.db", f"sqlite:///{tmp_path}/target.db")

    assert list(tmp_path.iterdir()) == []


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    url = furnished_at(f"sqlite:///{tmp_path}/source.db")
    with closing(sqlite3.connect(tmp_path / "target.db")) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")

    with pytest.raises(StoreUnusable, match="something else than a cloudsignal store"):
        copy_store(url, f"sqlite:///{tmp_path}/target.db")

    with closing(sqlite3.connect(tmp_path / "target.db")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]


def test_parts_are_made_for_the_positions_that_are_there(
    tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = furnished_at(f"sqlite:///{tmp_path}/source.db")
    with closing(open_store(url)) as store:
        store.append([arrival(*(report(item=str(n)) for n in range(70)), received=NOON)])
        store.append([arrival(report(item="new"), received=2 * NOON)])
        store.cursors.advance("a reader", 45)
        store.prune(NOON + 1)
    monkeypatch.setattr(partitions, "SIGNALS", 10)

    copy_store(url, postgresql_url)

    assert content(postgresql_url) == content(url)
    assert parts(postgresql_url) == {40, 50, 60, 70, 80}
