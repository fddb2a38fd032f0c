"""Opening a store: its URL, its schema, and what is no store."""

import sqlite3
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from cloudsignal.protocol.wire import Receipt
from cloudsignal.server.store import database, migrations
from cloudsignal.server.store.backends import backend_of
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.errors import StoreUnavailable, StoreUnusable
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.rebuilding import Rebuilt
from cloudsignal.server.store.schema import VERSION, metadata
from cloudsignal.server.store.sqlite import Backend
from cloudsignal.server.store.store import open_store
from tests.server.arrivals import NOON, arrival, receipt, report
from tests.server.store import told


def database_at(path: Path) -> AbstractContextManager[Database]:
    return closing(Database(backend_of(f"sqlite:///{path}")))


def make(path: Path) -> None:
    open_store(f"sqlite:///{path}").close()


def migrate(path: Path) -> None:
    """Make a store from nothing by every migration."""
    # The reader's engine, as everywhere, opens what is there only.
    sqlite3.connect(path).close()
    with database_at(path) as opened, opened.writing() as connection:
        migrations.upgrade(connection)


# ---- where it is ----


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///a.db", "a.db"),
        ("sqlite:////srv/cloudsignal/a.db", "/srv/cloudsignal/a.db"),
        ("sqlite:///./a b/ü.db", "a b/ü.db"),
    ],
)
def test_a_url_names_a_file(url: str, path: str) -> None:
    backend = backend_of(url)

    assert isinstance(backend, Backend)
    assert (backend.path, backend.shown) == (Path(path), url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "no database URL"),
        ("a.db", "no database URL: write sqlite:///PATH"),
        ("/srv/a.db", "'/srv/a.db' is no database URL"),
        ("me:word@host/a", "^this is no database URL"),
        ("mysql://host/db", "mysql is not supported"),
        ("sqlite://", "a store is a file"),
        ("sqlite:///", "a store is a file"),
        ("sqlite:///:memory:", "a store is a file"),
        ("sqlite://host/a.db", "a store is a file"),
    ],
)
def test_a_url_that_names_no_file_is_refused_with_advice(url: str, words: str) -> None:
    with pytest.raises(StoreUnusable, match=words):
        backend_of(url)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match=r"there is no folder .*missing: make it"):
        make(tmp_path / "missing" / "a.db")


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises((StoreUnusable, StoreUnavailable), match="unable to open"):
        make(tmp_path)


# ---- its schema ----


def test_the_version_is_the_newest_migration() -> None:
    script = ScriptDirectory.from_config(migrations._config())

    assert script.get_heads() == [VERSION]
    assert VERSION in migrations.known()


def test_a_new_store_has_the_newest_version(tmp_path: Path) -> None:
    make(tmp_path / "a.db")

    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [(VERSION,)]


@pytest.mark.parametrize("how", [make, migrate])
def test_the_tables_in_the_code_are_those_of_the_store(tmp_path: Path, how) -> None:
    how(tmp_path / "a.db")

    with database_at(tmp_path / "a.db") as opened, opened.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_new_store_is_like_one_that_was_migrated_from_nothing(tmp_path: Path) -> None:
    make(tmp_path / "new.db")
    migrate(tmp_path / "migrated.db")

    new, migrated = (described(tmp_path / name) for name in ("new.db", "migrated.db"))

    assert new.keys() == migrated.keys()
    for table in new:
        assert new[table] == migrated[table], table


def with_texts(index: Any) -> Any:
    """What is known of an index, its condition as a text: those of two inspectors are never the same."""
    options = index.get("dialect_options", {})
    return index | {"dialect_options": {name: str(value) for name, value in options.items()}}


def described(path: Path) -> dict[str, object]:
    """What a database's tables are made of, in their order, however it was written down."""
    with database_at(path) as opened, opened.reading() as connection:
        inspector = inspect(connection)
        return {
            table: {
                "columns": [
                    each | {"type": str(each["type"])} for each in inspector.get_columns(table)
                ],
                "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
                "foreign keys": by_name(inspector.get_foreign_keys(table)),
                "unique": by_name(inspector.get_unique_constraints(table)),
                "indexes": by_name(map(with_texts, inspector.get_indexes(table))),
                "pragmas": [
                    tuple(row)
                    for row in connection.execute(
                        text(
                            "SELECT type, ncol, wr, strict FROM pragma_table_list WHERE name = :n"
                        ),
                        {"n": table},
                    )
                ],
            }
            for table in inspector.get_table_names()
        }


def by_name(found: Iterable) -> list:
    return sorted(found, key=lambda each: each["name"] or "")


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    make(path)
    before = described(path)

    make(path)

    assert described(path) == before


# ---- too much asked at once ----


def test_who_gets_no_reader_in_time_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "a.db")
    monkeypatch.setattr(database, "READER_WAIT_S", 0.01)
    with database_at(tmp_path / "a.db") as opened, ExitStack() as readers:
        for _ in range(database.READERS_MAX):
            readers.enter_context(opened.reading())

        with pytest.raises(StoreUnavailable, match="all readers are busy"):
            readers.enter_context(opened.reading())


# ---- what is no store of ours ----


def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    make(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(StoreUnusable, match=f"schema 9999, this program knows {VERSION} at most"):
        make(path)

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [("9999",)]


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")

    with pytest.raises(StoreUnusable, match="something else than a cloudsignal store"):
        make(path)

    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == [("recipes",)]


@pytest.mark.parametrize(
    "content", [b"not a database at all, " * 100, b"SQLite format 3\x00" + b"?" * 4096]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(content)

    with pytest.raises(StoreUnusable, match=r"a\.db is no cloudsignal store"):
        make(path)

    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()

    make(path)

    assert "signals" in described(path)


def test_stores_made_by_two_programs_at_once_are_one(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    path = tmp_path / "a.db"
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(make, path) for _ in range(8)]:
            done.result()

    assert "signals" in described(path)


# ---- a store of an older version ----

INDEXES_OF_0004 = ("orders_owner_registered_order", "orders_owner_reference")
INDEXES_OF_0005 = (
    *("orders_reference", "order_items_item", "order_items_reference"),
    *("states_delayed_position", "states_test_position"),
)


def test_a_store_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    sqlite3.connect(path).close()
    with database_at(path) as opened, opened.writing() as connection:
        migrations.upgrade(connection, "0001")
    body = '{"type":"ItemRegistered","order":"7","item":"1","datetime":"2016-01-20 12:00:00 GMT"}'
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO partners VALUES (1, 'Alpha', 1)")
        connection.execute(
            "INSERT INTO signals VALUES (5, 5, ?, 1, 1, 0, 'ItemRegistered', ?, '', ?)",
            (NOON, NOON, body),
        )

    with closing(open_store(f"sqlite:///{path}")) as store:
        assert store.rebuild() == Rebuilt(signals=1, items=1, differed=1)
        repeat, new = store.append([arrival(report()), arrival(report(minute=1))])

        assert receipt(repeat) == Receipt(accepted=0, duplicates=1, position=5)
        assert receipt(new) == Receipt(accepted=1, duplicates=0, position=6)
    make(tmp_path / "new.db")
    assert described(path) == described(tmp_path / "new.db")


OF_THE_PANEL = (
    "alert_rules",
    "alert_ways",
    "alert_news",
    "alert_messages",
    "alerts",
    "invitations",
    "sessions",
    "users",
    "tries",
    "changes",
    "filters",
    "calendars",
    "rollups",
    "counted_items",
    "counted_orders",
    "recounts",
    "leases",
    "posts",
    "uses",
    "strangers",
    "refusals",
)


def test_a_store_from_before_there_was_a_panel_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.orders.create_owner("Books", now=1)
        store.orders.register([Registration("7", "Books", reference="wp-1", due=9)], now=2)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table in OF_THE_PANEL:
            connection.execute(f"DROP TABLE {table}")
        for index in INDEXES_OF_0005:
            connection.execute(f"DROP INDEX {index}")
        connection.execute("UPDATE alembic_version SET version_num = '0004'")

    with closing(open_store(f"sqlite:///{path}")) as store:
        assert [hit.order for hit in store.search.find("wp", limit=9)] == ["7"]
        assert store.users.create("Ada", "admin", now=1).id == 1
        assert store.rollups.step().orders == 1
    make(tmp_path / "new.db")
    assert described(path) == described(tmp_path / "new.db")


def test_a_store_from_before_there_were_webhooks_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.append([arrival(report(), report("ItemProduce", minute=1))])
        store.orders.create_owner("Books", now=1)
        store.orders.register([Registration("7", "Books", reference="wp-1")], now=2)
        before = store.orders.owners(), store.orders.order("7"), store.digest()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table in ("endpoints", "nodes", "deliveries", "attempts", *OF_THE_PANEL):
            connection.execute(f"DROP TABLE {table}")
        for index in (*INDEXES_OF_0004, *INDEXES_OF_0005):
            connection.execute(f"DROP INDEX {index}")
        connection.execute("UPDATE alembic_version SET version_num = '0003'")

    with closing(open_store(f"sqlite:///{path}")) as store:
        assert (store.orders.owners(), store.orders.order("7"), store.digest()) == before
        assert told.endpoint(store, "Books").position == 2
        signal = store.deliveries.look({1}, after=1, limit=9).signals[0]
        assert (signal.owner, signal.order_reference) == (1, "wp-1")
    make(tmp_path / "new.db")
    assert described(path) == described(tmp_path / "new.db")
