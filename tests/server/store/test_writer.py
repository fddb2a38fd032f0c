"""A store that is away is said to be so, and works again once it is back, without a restart."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cloudsignal import files
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store, open_store
from tests.server.arrivals import arrival, receipt, report, whole_log
from tests.server.store.contract import furnish


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(files, "BUSY_S", 0.05)
    with closing(open_store(f"sqlite:///{path}")) as store:
        furnish(store)
        store.append([arrival(report(item="before"))])
        yield store


def big_post(name: str) -> list:
    return [arrival(*(report(item=f"{name} {n}", extra="x" * 4000) for n in range(20)))]


def assert_only(store: Store, *items: str) -> None:
    assert [each.item for each in whole_log(store)] == list(items)
    assert store.rebuild().differed == 0


def test_a_full_disk_takes_nothing_of_a_group_and_heals(store: Store) -> None:
    connection = store._writer._open()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    with pytest.raises(StoreUnavailable, match="cannot be used just now: database or disk is full"):
        store.append(big_post("full"))
    assert_only(store, "before")

    [answer] = store.append(big_post("room"))
    assert receipt(answer).accepted == 20


def test_a_locked_store_takes_nothing_and_heals(store: Store, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            store.append([arrival(report(item="locked"))])
        with pytest.raises(StoreUnavailable, match="locked"):
            store.access.create_partner("locked", now=1)
        other.execute("ROLLBACK")

    [answer] = store.append([arrival(report(item="after"))])

    assert receipt(answer).accepted == 1
    assert_only(store, "before", "after")


def test_reading_goes_on_while_another_writes(store: Store, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM signals")

        assert store.reading.last_position() == 1


def test_a_read_only_store_takes_nothing_and_heals(store: Store) -> None:
    store._writer._open().execute("PRAGMA query_only = ON")

    with pytest.raises(StoreUnavailable, match="readonly"):
        store.append([arrival(report(item="refused"))])

    [answer] = store.append([arrival(report(item="after"))])
    assert receipt(answer).accepted == 1
    assert_only(store, "before", "after")


def test_a_store_whose_file_is_gone_is_unavailable_and_never_begun_anew(
    path: Path, tmp_path: Path
) -> None:
    with closing(open_store(f"sqlite:///{path}")) as store:
        furnish(store)
    away = tmp_path / "away.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        store._database.engine.dispose()
        path.rename(away)

        with pytest.raises(StoreUnavailable, match="gone"):
            store.append([arrival()])
        with pytest.raises(StoreUnavailable):
            store.reading.last_position()
        assert not path.exists()

        away.rename(path)
        [answer] = store.append([arrival()])
        assert receipt(answer).accepted == 1
        assert store.reading.last_position() == 1


def test_every_connection_is_durable(store: Store) -> None:
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    driver_connections = [store._writer._open()]
    pooled = [store._database.engine.raw_connection() for _ in range(3)]
    driver_connections += [each.driver_connection for each in pooled]

    for connection in driver_connections:
        for pragma, value in wanted.items():
            assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,), pragma

    for each in pooled:
        each.close()


def test_a_group_of_more_items_than_one_statement_looks_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudsignal.server.store.sqlite.writer.ID_BATCH", 3)
    post = arrival(*(report(item=str(number)) for number in range(8)))
    store.append([post])

    [again] = store.append([post])

    assert receipt(again).duplicates == 8
    assert store.rebuild().items == 9
